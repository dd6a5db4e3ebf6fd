# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS hosts by accident: how they come, what they do to a fleet, how they die half-way, and what is remembered."""

from __future__ import annotations

import asyncio
import pathlib
import typing as t

import pytest
from unit.lab.fleet.kit import run_fleet

from lab import fleet
from lab.cim import CimError, Instance
from lab.fleet import Fleet, FleetError
from lab.serving import Lab
from lab.windows.machine import Machine

FLEETS = pathlib.Path(fleet.__file__).parent / "fleets"
CORP, BRANCH = "corp.example.com", "branch.example.net"
APPROVED_KEY, ROGUE_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK2X2", "XXXXX-XXXXX-NXXXX-XXXXX-HK229"
CLIENT_KEY_2019 = "N69G4-B89J2-4G8F4-WWYCC-J464C"
COUNT_TOO_LOW = "0xC004F038"


def _description(clients: int = 30, **machines: t.Any) -> dict[str, t.Any]:
    """One approved host at its threshold, clients, and a web server."""
    return {
        "clock": "2026-03-02T08:00:00Z",
        "policy": {"pending_seconds": 0, "publish_seconds": 0},
        "keys": [
            {"key": APPROVED_KEY, "kind": "csvlk", "product": "server-2025"},
            {"key": ROGUE_KEY, "kind": "csvlk", "product": "server-2019"},
        ],
        "dns": {"zones": {CORP: None, BRANCH: None}},
        "machines": {
            "kms1": {
                "windows": "server2025/ServerStandard",
                "domain": CORP,
                "licence": APPROVED_KEY,
                "activated": True,
                "counted": 50,
                "kms_rule": True,
                "publish": [f"{CORP}, 10, 100"],
            },
            "web": {"windows": "server2019/ServerStandard", "domain": CORP},
            "pc": {"count": clients, "windows": "windows10/Enterprise", "domain": CORP},
            **machines,
        },
    }


def _web(made: Fleet) -> Machine:
    return made.machines[f"web.{CORP}"]


async def _invoke(machine: Machine, class_name: str, method: str, **arguments: t.Any) -> int:
    """Call a method as Ansible does; the HRESULT, 0 for success."""
    repository = machine.repository
    cim_class = repository.find_class("root/cimv2", class_name)
    assert cim_class is not None
    found = cim_class.find_method(method)
    assert found is not None
    try:
        await repository.invoke(cim_class, _keyed(repository.instances(cim_class)), found, arguments)
    except CimError as error:
        return error.code
    finally:
        await machine.world.settle()
    return 0


def _keyed(instances: t.Sequence[Instance]) -> Instance:
    return next((i for i in instances if i.values.get("PartialProductKey")), instances[0])


async def _install(machine: Machine, key: str) -> int:
    return await _invoke(machine, "SoftwareLicensingService", "InstallProductKey", ProductKey=key)


async def _activate(machine: Machine) -> int:
    return await _invoke(machine, "SoftwareLicensingProduct", "Activate")


# -- how they come


def test_a_rogue_outranks_the_real_host_and_no_client_is_activated_any_more() -> None:
    async def work(made: Fleet) -> None:
        assert set((await made.commands["activate"]()).values()) == {"0x00000000"}
        assert await made.commands["go_rogue"](f"web.{CORP}") == {f"web.{CORP}": "HK229"}
        assert made.commands["dns"](CORP) == [
            f"_vlmcs._tcp.{CORP}. 3600 IN SRV 0 0 1688 web.{CORP}.",
            f"_vlmcs._tcp.{CORP}. 3600 IN SRV 10 100 1688 kms1.{CORP}.",
        ]
        for machine in made.machines.values():
            machine.spp.discovered = ("", 0, "")
        clients = [name for name in made.machines if name.startswith("pc")]
        answers = await made.commands["activate"](clients[:10])
        assert set(answers.values()) == {COUNT_TOO_LOW}

    run_fleet(_description(), work)


def test_a_rogue_that_was_never_activated_does_not_publish_itself() -> None:
    async def work(made: Fleet) -> None:
        await made.commands["go_rogue"](f"web.{CORP}", activated=False)
        assert made.commands["state"](f"web.{CORP}")["kms_port"] == 1688
        assert not [line for line in made.commands["dns"]() if "web" in line]

    run_fleet(_description(), work)


def test_a_rogue_publishes_in_the_domains_that_it_is_told() -> None:
    async def work(made: Fleet) -> None:
        await made.commands["go_rogue"](f"web.{CORP}", publish=[f"{BRANCH}, 5, 7"])
        assert made.commands["dns"](BRANCH) == [f"_vlmcs._tcp.{BRANCH}. 3600 IN SRV 5 7 1688 web.{CORP}."]

    run_fleet(_description(), work)


def test_wrong_ways_to_go_rogue_are_refused() -> None:
    async def work(made: Fleet) -> None:
        go_rogue = made.commands["go_rogue"]
        with pytest.raises(ValueError, match="no such host key fits pc01"):
            await go_rogue(f"pc01.{CORP}")
        _web(made).powered = False
        with pytest.raises(ValueError, match="is off"):
            await go_rogue(f"web.{CORP}")

    run_fleet(_description(), work)


def test_records_of_a_host_that_is_dead_or_not_activated_may_stand_from_the_start() -> None:
    gone: dict[str, t.Any] = {
        "windows": "server2019/ServerStandard",
        "domain": CORP,
        "licence": ROGUE_KEY,
        "published": True,
    }

    async def work(made: Fleet) -> None:
        lines = made.commands["dns"](CORP)
        assert {line.split()[-1] for line in lines} == {f"{name}.{CORP}." for name in ("kms1", "old", "asleep")}
        made.commands["dns_remove"](CORP, "_vlmcs._tcp")
        await made.advance(2 * 86400)
        assert [line.split()[-1] for line in made.commands["dns"](CORP)] == [f"kms1.{CORP}."]

    run_fleet(_description(old={**gone, "powered": False}, asleep=gone), work)


def test_clones_of_one_image_count_as_one_client() -> None:
    twins = {"count": 6, "windows": "server2019", "domain": BRANCH, "client_machine_id": "one-for-all"}

    async def work(made: Fleet) -> None:
        await made.commands["go_rogue"](f"web.{CORP}", publish=[BRANCH])
        names = [name for name in made.machines if name.startswith("twin")]
        await made.commands["activate"](names)
        role = _web(made).spp.roles[0]
        assert (role.count(_web(made).now()), role.requests["Total"]) == (1, 6)

    run_fleet(_description(twin=twins), work)


# -- how they are turned back


def test_a_machine_that_dies_of_a_call_goes_on_from_there_when_it_is_switched_on() -> None:
    async def work(made: Fleet) -> None:
        web = _web(made)
        await made.commands["go_rogue"](web.name)
        made.commands["set_state"](web.name, die_on_method="InstallProductKey")
        await _install(web, CLIENT_KEY_2019)
        assert not web.powered and web.kms_port() is None
        web.powered = True
        await made.world.settle()
        assert [row["kind"] for row in made.commands["licences"](web.name)[web.name]] == ["gvlk"]
        assert web.kms_port() is None
        assert any("web" in line for line in made.commands["dns"](CORP))  # nobody has withdrawn its record
        made.commands["dns_remove"](CORP, "_vlmcs._tcp")
        await made.advance(25 * 3600)
        assert await _activate(web) == 0

    run_fleet(_description(), work)


def test_a_machine_dies_after_so_many_writes_and_only_once() -> None:
    async def work(made: Fleet) -> None:
        web = _web(made)
        made.commands["set_state"](web.name, die_after_writes=2)
        service = "SoftwareLicensingService"
        await _invoke(web, service, "SetKeyManagementServiceMachine", MachineName="kms1")
        assert web.powered
        await _invoke(web, service, "ClearKeyManagementServiceMachine")
        assert not web.powered
        web.powered = True
        await _invoke(web, service, "SetKeyManagementServiceMachine", MachineName="kms1")
        assert web.powered

    run_fleet(_description(), work)


def test_a_conversion_done_once_is_no_repetition() -> None:
    async def work(made: Fleet) -> None:
        web = _web(made)
        await made.commands["go_rogue"](web.name)
        assert await _install(web, CLIENT_KEY_2019) == 0
        assert await _activate(web) == int(COUNT_TOO_LOW, 16)  # its own record leads to its own host part
        calls = made.commands["key_calls"]()
        assert list(calls) == [web.name]
        assert [(c["method"], c["kind"], c["partial_product_key"], c["code"]) for c in calls[web.name]] == [
            ("InstallProductKey", "gvlk", "J464C", "0x00000000"),
            ("Activate", "gvlk", "J464C", COUNT_TOO_LOW),
        ]
        assert made.commands["repeated"]() == []

    run_fleet(_description(), work)


def test_keys_installed_again_and_host_keys_activated_again_are_told() -> None:
    async def work(made: Fleet) -> None:
        web, kms1 = _web(made), made.machines[f"kms1.{CORP}"]
        await _activate(kms1)
        await _install(web, CLIENT_KEY_2019)
        await _install(web, ROGUE_KEY)
        await _activate(web)
        await _install(web, CLIENT_KEY_2019)
        assert made.commands["repeated"]() == [
            f"kms1.{CORP}: Activate *****-HK2X2 (csvlk)",
            f"web.{CORP}: InstallProductKey *****-J464C (gvlk)",
            f"web.{CORP}: InstallProductKey *****-J464C (gvlk)",
        ]

    run_fleet(_description(), work)


def test_a_refused_key_is_remembered_with_its_code() -> None:
    async def work(made: Fleet) -> None:
        await _install(made.machines[f"pc01.{CORP}"], ROGUE_KEY)
        (call,) = made.commands["key_calls"]()[f"pc01.{CORP}"]
        assert (call["code"], call["needless"]) == ("0xC004E016", False)
        assert made.commands["repeated"]() == []

    run_fleet(_description(), work)


# -- faults by share


def test_shares_of_faults_are_disjoint_seeded_and_reported(tmp_path: pathlib.Path) -> None:
    shares = {"dead": "10%", "wrong_password": "5%", "slow": {"share": "2%", "seconds": 0.1}}
    group = {"count": 40, "windows": "windows10", "domain": CORP, "faults": shares}

    def deal(seed: int) -> dict[str, list[str]]:
        async def run() -> t.Any:
            lab = Lab(fleet.load({**_description(clients=1, sick=group), "seed": seed}), tmp_path)
            await lab.start()
            try:
                await lab.command("stop_machine", {"machine": f"web.{CORP}"})
                return await lab.command("sick", {})
            finally:
                await lab.stop()

        return t.cast("dict[str, list[str]]", asyncio.run(run()))

    first = deal(1)
    assert {name: len(machines) for name, machines in first.items()} == {
        "dead": 4, "wrong_password": 2, "slow": 1, "off": 1,
    }  # fmt: skip
    everyone = [machine for machines in first.values() for machine in machines]
    assert len(set(everyone)) == len(everyone)
    assert deal(1) == first
    assert deal(2)["dead"] != first["dead"]


@pytest.mark.parametrize(
    ("faults", "count", "message"),
    [
        ({"dead": 3}, 10, "a percentage such as 3%"),
        ({"dead": "60%", "slow": "60%"}, 10, "more than the machines"),
        ({"dead": "3%"}, None, "need a count"),
        ({"tired": "3%"}, 10, "no fault is named 'tired'"),
        ({"slow": {"share": "3%", "minutes": 1}}, 10, "takes no minutes"),
        ([{"fault": "tired"}], None, "no fault is named 'tired'"),
    ],
)
def test_wrong_faults_of_a_group_are_refused(faults: t.Any, count: int | None, message: str) -> None:
    entry: dict[str, t.Any] = {"windows": "windows10", "domain": CORP, "faults": faults}
    if count is not None:
        entry["count"] = count
    with pytest.raises(FleetError, match=message):
        fleet.load(_description(clients=1, sick=entry))


# -- the fleets that come with the lab


def test_six_machines_of_the_rogues_fleet_go_rogue_at_once() -> None:
    async def work(made: Fleet) -> None:
        demo = fleet.read(FLEETS / "demo.yml")["machines"]
        assert set(demo) < set(fleet.read(FLEETS / "rogues.yml")["machines"])
        assert made.commands["dns"]() == []
        assert sorted((await made.commands["go_rogue"]()).values()) == ["HK229"] * 2 + ["HK2X2"] * 2 + ["HKW22"] * 2
        lines = made.commands["dns"]()
        assert len(lines) == 6
        assert {line.split()[4:6] == ["0", "0"] for line in lines} == {True}
        assert {len(made.commands["dns"](zone)) for zone in (CORP, BRANCH)} == {4, 2}

    description = fleet.read(FLEETS / "rogues.yml")
    run_fleet({**description, "policy": {"pending_seconds": 0, "publish_seconds": 0}}, work)


def test_the_bench_fleet_comes_in_small_too() -> None:
    async def work(made: Fleet) -> None:
        assert len(made.machines) == 62
        assert len(made.commands["dns"]()) == 8 + 40
        assert sorted(fault["fault"] for m in made.machines.values() for fault in m.faults) == [
            "dead", "dead", "slow", "slow", "wrong_password", "wrong_password",
        ]  # fmt: skip

    description = fleet.read(FLEETS / "bench_fleet.yml", {"rogues": 40, "clients": 20})
    run_fleet({**description, "policy": {"pending_seconds": 0, "publish_seconds": 0}}, work)


# -- size


def test_a_week_of_many_clients_and_rogues_asks_dns_no_more_than_it_must() -> None:
    """Living hosts publish once a day without a new serial number, whatever the number of clients that look up."""

    async def work(made: Fleet) -> None:
        assert made.dns is not None
        zone = made.dns.zone_of_text(CORP)
        assert zone is not None
        await made.commands["go_rogue"](f"web.{CORP}")
        before = zone.serial
        await made.advance(7 * 86400)
        assert zone.serial == before
        published = made.commands["events"](f"web.{CORP}", code=12294)
        assert len(published) == 8

    run_fleet(_description(clients=50), work)
