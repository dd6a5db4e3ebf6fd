# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules as tasks of Ansible: wrong arguments and connections, delegation, loops, batches, forks."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from integration.kit import Ansible, Data, host_vars, inventory, play, task, writes

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
OFFICE = {
    "fbdb3e18-a8ef-4fb3-9183-dffd60bd0984": "FXYTK-NJJ8C-GB6DW-3DYQT-6F7TH",
    "8d368fc1-9470-4be2-8d66-90e836cbb051": "XJ2XN-FW8RK-P4HMP-DKDBV-GCVGB",
}

FLEET: Data = {
    "seed": 1,
    "keys": [{"key": HOST_KEY, "kind": "csvlk", "product": "server-2025"}],
    "dns": {"zones": {"corp.example.com": None}},
    "active_directory": {"activation_objects": [{"name": "all", "key": HOST_KEY}]},
    "machines": {
        "one": {"windows": "server2022/ServerStandard", "domain": "corp.example.com"},
        "office": {
            "windows": "windows11/Enterprise",
            "domain": "corp.example.com",
            "office": ["Professional Plus/2021", "Professional Plus/2024"],
            "keys": [{"key": key} for key in OFFICE.values()],
        },
        "kms": {"windows": "server2022/ServerStandard", "updates": ["KB5034765"], "domain": "corp.example.com"},
        "pc": {"count": 6, "windows": "windows11/Professional", "domain": "corp.example.com"},
    },
}
CLIENTS = [f"pc{number:02d}" for number in range(1, 7)]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    with LabProcess(FLEET) as lab:
        yield lab


@pytest.fixture(scope="module")
def machines(lab: LabProcess) -> dict[str, Data]:
    return host_vars(lab)


@dataclasses.dataclass(frozen=True)
class Wrong:
    """A task that is refused before anything is sent, and what it says."""

    module: str
    arguments: Data
    says: tuple[str, ...]
    keywords: Data = dataclasses.field(default_factory=dict)
    variables: Data = dataclasses.field(default_factory=dict)


WRONG: dict[str, Wrong] = {
    "unknown option": Wrong("client", {"sever": "kms1"}, ("sever", "server")),
    "unknown option of info": Wrong("info", {"gather": True}, ("gather", "events")),
    "type": Wrong("host", {"listening_port": "kms"}, ("listening_port", "int")),
    "choice": Wrong("client", {"activation_type": "dns"}, ("activation_type", "all, ad, kms, token")),
    "low interval": Wrong("host", {"activation_interval": 14}, ("activation_interval", "15 to 43200")),
    "high interval": Wrong("host", {"renewal_interval": 43201}, ("renewal_interval", "15 to 43200")),
    "listening port": Wrong("host", {"listening_port": 0}, ("listening_port", "1 to 65535")),
    "client port": Wrong("client", {"port": 65536}, ("port", "0 to 65535")),
    "priority": Wrong("host", {"publish": [{"domain": "corp.example.com", "priority": 65536}]}, ("65535",)),
    "weight": Wrong("host", {"publish": [{"domain": "corp.example.com", "weight": -1}]}, ("65535",)),
    "no domain": Wrong("host", {"publish": [{"priority": 10}]}, ("domain", "publish")),
    "bad domain": Wrong("host", {"publish": [{"domain": "corp example.com"}]}, ("publish", "corp example.com")),
    "twice": Wrong(
        "host", {"publish": [{"domain": "a.example.com"}, {"domain": "A.example.com."}]}, ("a.example.com",)
    ),
    "key syntax": Wrong("host", {"product_key": "ABCDE"}, ("product_key",)),
    "no key": Wrong("product_key", {}, ("product_key", "client_setup")),
    "confirmation": Wrong("activation", {"confirmation_id": "12345x"}, ("confirmation_id", "digits")),
    "hours": Wrong("info", {"events": True, "event_hours": 0}, ("event_hours", "1", "8760")),
    "become": Wrong("info", {}, ("become",), {"become": True, "become_method": "runas", "become_user": "SYSTEM"}),
    "ssh": Wrong("info", {}, ("winrm or psrp", "ssh"), variables={"ansible_connection": "ssh"}),
    "local": Wrong("info", {}, ("winrm or psrp", "local"), variables={"ansible_connection": "local"}),
}


def test_a_wrong_task_is_refused_before_anything_is_sent(
    ansible: Ansible, lab: LabProcess, machines: dict[str, Data]
) -> None:
    lab.reset_stats()
    plays = [
        play(
            "all",
            task(name, wrong.module, wrong.arguments, ignore_errors=True, vars=wrong.variables, **wrong.keywords),
        )
        for name, wrong in WRONG.items()
    ]
    run = ansible.playbook(plays, inventory({"machines": {"one": machines["one"]}}))
    for name, wrong in WRONG.items():
        result = run.result("one", name)
        assert result["kind"] == "failed", (name, result)
        assert [part for part in wrong.says if part not in result["msg"]] == [], (name, result["msg"])
        assert result["msg"].startswith("Refused on one, nothing was changed: ")
        assert result["changed"] is False and result["changes"] == []
    assert lab.totals()["requests"] == 0


def test_a_task_is_delegated_to_the_machine_that_it_names(
    ansible: Ansible, lab: LabProcess, machines: dict[str, Data]
) -> None:
    where = inventory({"machines": {name: machines[name] for name in ("one", "pc01")}})
    where["all"]["hosts"] = {"controller": {"ansible_connection": "local"}}
    run = ansible.playbook(
        [
            play(
                "controller",
                task("from the controller", "info", delegate_to="one"),
                task(
                    "refused there",
                    "client",
                    {"product_key": "keep", "replace": ["all"]},
                    delegate_to="one",
                    ignore_errors=True,
                ),
            ),
            play("pc01", task("from a machine", "info", delegate_to="one")),
        ],
        where,
    )
    assert run.result("controller", "from the controller")["kms"]["fqdn"] == "one.corp.example.com"
    assert run.result("pc01", "from a machine")["kms"]["fqdn"] == "one.corp.example.com"
    assert "on one" in run.result("controller", "refused there")["msg"]


def test_a_task_loops_over_products(ansible: Ansible, lab: LabProcess, machines: dict[str, Data]) -> None:
    looped = task(
        "each",
        "client",
        {
            "application": "office",
            "activation_id": "{{ item.activation_id | upper }}",
            "product_key": "keep",
            "server": "kms-{{ item.partial_product_key }}.example.com",
            "activate": False,
        },
        loop="{{ told.kms.products | selectattr('application', 'equalto', 'office') | list }}",
        loop_control={"label": "{{ item.name }}"},
    )
    where = inventory({"machines": {"office": machines["office"]}})
    plays = [play("all", task("read", "info", register="told"), looped, task("after", "info"))]
    first = ansible.playbook(plays, where).assert_ok()
    assert first.result("office", "each")["changed"] is True
    shown = {
        product["activation_id"]: product["kms_server"]
        for product in first.result("office", "after")["kms"]["products"]
        if product["application"] == "office"
    }
    assert shown == {activation_id: f"kms-{key[-5:].lower()}.example.com" for activation_id, key in OFFICE.items()}
    assert first.result("office", "after")["kms"]["kms_server"] is None
    lab.reset_stats()
    second = ansible.playbook(plays, where).assert_ok()
    assert second.result("office", "each")["changed"] is False
    assert writes(lab) == []


@pytest.mark.parametrize(
    ("keywords", "arguments"), [({"serial": 2}, ()), ({}, ("--forks", "1")), ({"strategy": "free"}, ("--forks", "20"))]
)
def test_every_machine_is_done_in_batches_and_with_any_number_of_forks(
    ansible: Ansible, lab: LabProcess, machines: dict[str, Data], keywords: Data, arguments: tuple[str, ...]
) -> None:
    where = inventory({"machines": {name: machines[name] for name in CLIENTS}})
    plays = [
        play("all", task(f"caching {wanted}", "client", {"host_caching": wanted}), **keywords)
        for wanted in (False, True)
    ]
    run = ansible.playbook(plays, where, *arguments).assert_ok()
    for wanted in (False, True):
        results = run.results(f"caching {wanted}")
        assert sorted(results) == CLIENTS
        assert {row["kms"]["host_caching"] for row in results.values()} == {wanted}
        assert {row["kms"]["license_status_name"] for row in results.values()} == {"licensed"}
    assert lab.totals()["shells"] == 0


def test_a_host_is_changed_step_by_step(ansible: Ansible, lab: LabProcess, machines: dict[str, Data]) -> None:
    def step(name: str, arguments: Data) -> Data:
        return task(name, "host", arguments)

    run = ansible.playbook(
        [
            play(
                "all",
                step("silent", {"product_key": HOST_KEY, "dns_publishing": False, "listening_port": 1700}),
                step("published", {"dns_publishing": True, "publish": [{"domain": "corp.example.com", "weight": 7}]}),
                step("withheld", {"restart": "never", "renewal_interval": 1440, "listening_port": 1688}),
                step("restarted", {"restart": "always"}),
                step("opened", {"firewall": True}),
                step("closed", {"firewall": False}),
                step("refused", {"firewall": True, "listening_port": 1701}) | {"ignore_errors": True},
                step("cleared", {"publish": []}),
            )
        ],
        inventory({"machines": {"kms": machines["kms"]}}),
    ).assert_ok()
    said = {row["task"]: row["result"] for row in run.rows if row["kind"] != "stats"}
    assert [row["setting"] for row in said["silent"]["changes"]] == [
        "dns_publishing",
        "listening_port",
        "product_key",
        "activated",
    ]
    assert said["silent"]["kms"]["listening_port"] == 1700
    assert [row["setting"] for row in said["published"]["changes"]] == ["publish_list", "dns_publishing"]
    assert said["withheld"]["restarted"] is False and said["withheld"]["restart_required"] is True
    assert said["withheld"]["verified"] is None
    assert said["restarted"]["restarted"] is True and said["restarted"]["changes"] == []
    assert "enabled (Domain, Private)" in said["opened"]["changes"][0]["after"][0]
    assert "disabled" in said["closed"]["changes"][0]["after"][0]
    assert "1688" in said["refused"]["msg"]
    assert said["cleared"]["kms"]["publish_list"] == []
    lab.call("settle")
    state = lab.call("state", machine="kms.corp.example.com")
    platform = next(
        values
        for path, values in state["registry"].items()
        if path.lower().endswith("\\softwareprotectionplatform") and "wow" not in path.lower()
    )
    assert platform["KeyManagementServiceListeningPort"] == "1688"
    assert "DnsDomainPublishList" not in platform
    assert lab.call("dns") == ["_vlmcs._tcp.corp.example.com. 3600 IN SRV 0 0 1688 kms.corp.example.com."]


def test_check_mode_and_diff_of_a_single_task(ansible: Ansible, lab: LabProcess, machines: dict[str, Data]) -> None:
    lab.reset_stats()
    wish = {"lookup_domain": "branch.example.net"}
    run = ansible.playbook(
        [play("all", task("foreseen", "client", wish, check_mode=True, diff=True))],
        inventory({"machines": {"pc01": machines["pc01"]}}),
    ).assert_ok()
    result = run.result("pc01")
    assert result["changed"] is True and result["verified"] is None
    assert "lookup_domain: branch.example.net" in result["diff"]["after"]
    assert writes(lab) == []


def test_defaults_are_given_to_the_whole_group(ansible: Ansible, machines: dict[str, Data]) -> None:
    """An option that none of them knows is refused by all: the group reaches each module."""
    modules = ("info", "product_key", "activation", "client", "host")
    run = ansible.playbook(
        [
            play(
                "all",
                *(task(module, module, ignore_errors=True) for module in modules),
                module_defaults={"group/fleetops.kms.kms": {"unheard_of": 1}},
            )
        ],
        inventory({"machines": {"pc01": machines["pc01"]}}),
    )
    for module in modules:
        assert "unheard_of" in run.result("pc01", module)["msg"]
