# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole fleet: from its description to its inventory, its DNS, its ports and its clock."""

from __future__ import annotations

import asyncio
import pathlib
import re
import typing as t

import pytest
import yaml
from unit.lab.fleet.kit import run_fleet

from lab import fleet
from lab.addresses import AddressBlock
from lab.fleet import Fleet, FleetError
from lab.windows.machine import Machine

FLEETS = pathlib.Path(fleet.__file__).parent / "fleets"
START = "2026-03-02T08:00:00Z"
HOST_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK2X2"
CORP, BRANCH = "corp.example.com", "branch.example.net"


def _description(clients: int = 26, **machines: t.Any) -> dict[str, t.Any]:
    return {
        "clock": START,
        "seed": 3,
        "policy": {"pending_seconds": 0, "publish_seconds": 0},
        "keys": [{"key": HOST_KEY, "kind": "csvlk", "product": "server-2025"}],
        "dns": {"zones": {CORP: None, BRANCH: None}},
        "machines": {
            "kms1": _host(f"{CORP}, 10, 100", f"{BRANCH}, 10, 100"),
            "kms2": _host(f"{CORP}, 20, 100", f"{BRANCH}, 20, 100"),
            "pc": {"count": clients, "windows": ["windows11", "windows10/Enterprise"], "domain": [CORP, BRANCH]},
            **machines,
        },
    }


def _host(*publish: str, **more: t.Any) -> dict[str, t.Any]:
    return {
        "windows": "server2025/ServerStandard",
        "domain": CORP,
        "group": "kms_hosts",
        "licence": HOST_KEY,
        "activated": True,
        "kms_rule": True,
        "publish": list(publish),
        **more,
    }


def _host_of(made: Fleet, name: str) -> Machine:
    return made.machines[f"{name}.{CORP}"]


# -- time


def test_clients_renew_in_time_and_stay_licensed_and_counted() -> None:
    async def work(made: Fleet) -> None:
        await made.advance(3 * 3600)
        await made.advance(3 * 3600)
        assert made.commands["summary"]()["licensed"] == {f"kms1.{CORP}": 26}
        await made.advance(60 * 86400)
        summary = made.commands["summary"]()
        assert summary["licensed"] == {f"kms1.{CORP}": 26}
        assert summary["counts"][f"kms1.{CORP}"] == {"server-2025": 26}

    run_fleet(_description(), work)


def test_when_the_primary_dies_clients_renew_at_the_secondary_once_it_has_its_count() -> None:
    async def work(made: Fleet) -> None:
        await made.advance(6 * 3600)
        _host_of(made, "kms1").powered = False
        await made.advance(8 * 86400)
        assert made.commands["summary"]()["licensed"] == {f"kms2.{CORP}": 26}
        requests = _host_of(made, "kms2").spp.roles[0].requests
        assert requests["Failed"] == 24

    run_fleet(_description(), work)


def test_without_any_host_licences_run_out_after_180_days() -> None:
    async def work(made: Fleet) -> None:
        for number in range(25):
            _host_of(made, "kms1").spp.roles[0].seen[f"seen-{number}"] = (made.world.clock.now(), 25)
        assert set((await made.commands["activate"]()).values()) == {"0x00000000"}
        for name in ("kms1", "kms2"):
            _host_of(made, name).powered = False
        await made.advance(179 * 86400)
        assert made.commands["summary"]()["not_licensed"] == 0
        await made.advance(2 * 86400)
        rows = [row for found in made.commands["licences"]().values() for row in found if row["kind"] == "gvlk"]
        assert [row["license_status"] for row in rows] == [3, 3]

    run_fleet(_description(clients=2), work)


def test_a_living_host_puts_its_deleted_record_back_within_a_day() -> None:
    async def work(made: Fleet) -> None:
        made.commands["dns_remove"](CORP, "_vlmcs._tcp")
        await made.advance(23 * 3600)
        assert made.commands["dns"](CORP) == []
        await made.advance(2 * 3600)
        assert len(made.commands["dns"](CORP)) == 2

    run_fleet(_description(clients=1), work)


# -- DNS and ports


def test_hosts_are_in_dns_with_priority_and_weight_and_every_machine_has_its_address() -> None:
    async def work(made: Fleet) -> None:
        assert made.commands["dns"]() == sorted(
            f"_vlmcs._tcp.{zone}. 3600 IN SRV {priority} 100 1688 {name}.{CORP}."
            for zone in (CORP, BRANCH)
            for priority, name in ((10, "kms1"), (20, "kms2"))
        )
        addresses = "\n".join(made.commands["dns"](type="A"))
        for machine in made.machines.values():
            assert re.search(rf"^{re.escape(machine.fqdn)}\. \d+ IN A {machine.address}$", addresses, re.M)

    run_fleet(_description(clients=2), work)


def test_in_a_secure_zone_the_second_host_is_refused_and_says_so() -> None:
    description = _description(clients=1)
    description["dns"]["zones"][BRANCH] = {"policy": "secure"}

    async def work(made: Fleet) -> None:
        assert len(made.commands["dns"](BRANCH)) == 1
        events = [e for name in ("kms1", "kms2") for e in made.commands["events"](f"{name}.{CORP}", 12293)]
        assert [event["strings"] for event in events] == [["0x80072338", BRANCH]]

    run_fleet(description, work)


def test_port_1688_accepts_and_closes_while_the_host_answers() -> None:
    async def answers(machine: Machine, port: int = 1688) -> bool:
        try:
            reader, writer = await asyncio.open_connection(machine.address, port)
        except ConnectionRefusedError:
            return False
        assert await reader.read() == b""
        writer.close()
        return True

    async def work(made: Fleet) -> None:
        host = _host_of(made, "kms1")
        assert await answers(host)
        assert not await answers(made.machines[f"pc01.{CORP}"])
        for enabled, powered, open_ in ((2, True, False), (1, True, True), (1, False, False), (1, True, True)):
            host.rules[0].enabled, host.powered = enabled, powered
            made.world.changed(host)
            await made.world.settle()
            assert await answers(host) == open_

    run_fleet(_description(clients=1), work)


def test_another_name_server_serves_as_well() -> None:
    """The machines of a fleet publish into a server that the fleet knows by address only, as with a real BIND."""

    async def work(outer: Fleet) -> None:
        inner = fleet.load({**_description(clients=2), "dns": {"server": outer.dns_address}})
        block = AddressBlock()
        inner.assign_addresses(block)
        await inner.start()
        assert inner.dns_address == outer.dns_address
        assert len(outer.commands["dns"](BRANCH)) == 2
        assert any(f"pc02.{BRANCH}" in line for line in outer.commands["dns"](type="A"))
        results = await inner.commands["activate"]()
        assert set(results.values()) == {"0xC004F038"}
        await inner.stop()
        block.release()

    run_fleet({"dns": {"zones": {CORP: None, BRANCH: None}}}, work)


def test_a_name_server_that_refuses_the_machines_is_named() -> None:
    async def work(outer: Fleet) -> None:
        inner = fleet.load({**_description(clients=2), "dns": {"server": outer.dns_address}})
        with pytest.raises(FleetError, match=re.escape(str(outer.dns_address))):
            await inner.start()

    run_fleet({"dns": {"zones": {CORP: {"policy": "deny"}, BRANCH: None}}}, work)


# -- first states


def test_a_mature_host_and_core_and_cloned_machines() -> None:
    key = "11111111-2222-3333-4444-555555555555"
    description = _description(
        clients=1,
        core={"windows": "server2019/ServerStandardCor", "domain": CORP},
        clone={"count": 3, "windows": "windows10", "domain": CORP, "client_machine_id": key},
    )
    description["machines"]["kms1"]["counted"] = 24

    async def work(made: Fleet) -> None:
        results = await made.commands["activate"]([f"clone0{number}.{CORP}" for number in (1, 2, 3)])
        assert set(results.values()) == {"0x00000000"}
        assert made.commands["summary"]()["counts"][f"kms1.{CORP}"] == {"server-2025": 25}
        assert made.commands["state"](f"core.{CORP}")["edition"] == "ServerStandardCor"

    run_fleet(description, work)


def test_licences_of_the_first_day() -> None:
    made = fleet.load(
        _description(
            clients=1,
            oem={"windows": "windows11/Professional", "domain": CORP, "licence": "oem"},
            evaluation={"windows": "server2022/ServerStandardEval", "domain": CORP},
            bare={"windows": "server2022", "domain": CORP, "licence": "none"},
            old={"windows": "windows10", "domain": CORP, "activated": True, "age_days": 170},
        )
    )
    licences = made.commands["licences"]()
    (oem,), (evaluation,), bare, (old,) = (licences[f"{n}.{CORP}"] for n in ("oem", "evaluation", "bare", "old"))
    assert (oem["license_status"], oem["license_status_reason"], oem["grace_minutes"]) == (1, "0x4004F401", 0)
    assert (evaluation["kind"], evaluation["license_status"], evaluation["grace_minutes"]) == ("eval", 1, 259200)
    assert bare == []
    assert (old["license_status"], old["grace_minutes"]) == (1, 14400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machines": {"a": {"colour": "red"}}}, "machine a knows no colour"),
        ({"machines": {"a": {"windows": "windows95"}}}, "no Windows is named windows95"),
        ({"machines": {"a": {"windows": "server2022/Professional"}}}, "has no edition"),
        ({"machines": {"a": {"windows": "server2022", "licence": HOST_KEY}}}, "does not fit"),
        ({"machines": {"a": {"licence": "csvlk"}}, "keys": []}, "no key of kind csvlk"),
        ({"keys": [{"key": "ABCDE", "kind": "mak"}]}, "malformed"),
        ({"dns": {"server": "somewhere"}}, "ADDRESS:PORT"),
        ({"colour": "red"}, "the fleet knows no colour"),
        ({"machines": {"a": {"count": "${size}"}}}, "needs a parameter size"),
    ],
)
def test_mistakes_in_a_description_are_named(change: dict[str, t.Any], message: str) -> None:
    with pytest.raises(FleetError, match=message):
        fleet.load({**_description(), **change})


# -- the sample fleets


@pytest.mark.parametrize("path", sorted(FLEETS.glob("*.yml")), ids=lambda path: path.name)
def test_sample_fleets_load_and_hold_no_key_but_published_and_invented_ones(path: pathlib.Path) -> None:
    made = fleet.load(path)
    assert made.machines
    for key in re.findall(r"\b(?:[A-Z0-9]{5}-){4}[A-Z0-9]{5}\b", path.read_text(encoding="utf-8")):
        assert key.startswith("XXXXX-XXXXX-NXXXX-XXXXX-")


def test_demo_is_the_fleet_that_the_readme_promises() -> None:
    made = fleet.load(FLEETS / "demo.yml")
    groups: dict[str, int] = {}
    for place in made.places.values():
        groups[place.group] = groups.get(place.group, 0) + 1
    assert groups == {"kms_hosts": 2, "workstations": 30, "servers": 8}
    assert len({m.dns_suffix for m in made.machines.values()}) == 2
    assert made.machines[f"kms1.{CORP}"].spp.roles == []


def test_parameters_change_the_size_of_a_fleet() -> None:
    assert len(fleet.load(FLEETS / "bench.yml").machines) == 52
    assert len(fleet.load(FLEETS / "bench.yml", {"clients": 3000}).machines) == 3002


# -- inventory


def _hosts(inventory: t.Any, *path: str) -> dict[str, t.Any]:
    node = inventory["all"]
    for name in path:
        node = node["children"][name]
    return t.cast("dict[str, t.Any]", node["hosts"])


def test_inventory_of_both_connections() -> None:
    async def work(made: Fleet) -> None:
        for connection, variable in (("winrm", "ansible_winrm_transport"), ("psrp", "ansible_psrp_auth")):
            inventory = yaml.safe_load(made.inventory_text(connection))
            variables = inventory["all"]["vars"]
            assert variables["ansible_connection"] == connection
            assert variables["kms_host_nameservers"] == [made.dns_address]
            assert variables["kms_host_domains"] == [CORP, BRANCH]
            host = _hosts(inventory, "kms_hosts")[f"kms1.{CORP}"]
            assert (host["ansible_host"], host["ansible_port"], host[variable]) == (
                _host_of(made, "kms1").address,
                5985,
                "ntlm",
            )
            assert set(_hosts(inventory, "kms_clients", "workstations")) == {f"pc01.{CORP}", f"pc02.{BRANCH}"}

    run_fleet(_description(clients=2), work)


def test_inventory_follows_tls_and_basic() -> None:
    description = _description(
        clients=1,
        tls={"domain": CORP, "tls": True},
        basic={"domain": CORP, "auth": ["basic"], "allow_unencrypted": True, "accounts": {"operator": "Simulated-2"}},
    )

    async def work(made: Fleet) -> None:
        servers = _hosts(made.inventory(), "kms_clients", "servers")
        secure, basic = servers[f"tls.{CORP}"], servers[f"basic.{CORP}"]
        assert (secure["ansible_port"], secure["ansible_winrm_scheme"]) == (5986, "https")
        assert (basic["ansible_winrm_transport"], basic["ansible_user"]) == ("basic", "operator")

    run_fleet(description, work)
