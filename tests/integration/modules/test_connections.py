# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module over every connection: predicted, done, proven, and nothing left to do."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from integration.kit import Ansible, Data, Run, host_vars, inventory, play, task, writes

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
SPP = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to reach a machine: what its listener offers, and how Ansible asks for it."""

    name: str
    connection: str
    transport: str
    endpoint: Data = dataclasses.field(default_factory=dict)
    encrypted: bool = True


PLAIN = {"auth": ["basic"], "allow_unencrypted": True}
TLS = {"auth": ["basic"], "tls": True}
WAYS = (
    Way("winrm-ntlm", "winrm", "ntlm"),
    Way("psrp-ntlm", "psrp", "ntlm"),
    Way("psrp-negotiate", "psrp", "negotiate"),
    Way("winrm-https", "winrm", "basic", TLS),
    Way("psrp-https", "psrp", "basic", TLS),
    Way("winrm-http", "winrm", "basic", PLAIN, encrypted=False),
    Way("psrp-http", "psrp", "basic", PLAIN, encrypted=False),
)
NAMES = [way.name for way in WAYS]

#: What one machine of each way becomes.
KINDS: dict[str, Data] = {
    "host": {"windows": "server2022/ServerStandard"},
    "client": {"windows": "windows11/Enterprise"},
    "keyed": {"windows": "server2019/ServerDatacenter", "licence": "retail", "activated": False},
}

PLAYBOOK = [
    play(
        "host",
        task(
            "host",
            "host",
            {
                "product_key": HOST_KEY,
                "publish": [
                    {"domain": "corp.example.com", "priority": 10, "weight": 100},
                    {"domain": "branch.example.net", "priority": 20, "weight": 50},
                ],
                "firewall": True,
                "low_cpu_priority": True,
                "activation_interval": 30,
                "renewal_interval": 1440,
                "allow_unencrypted": "{{ not encrypted }}",
            },
        ),
    ),
    play(
        "client",
        task(
            "client",
            "client",
            {
                "server": "kms0.corp.example.com",
                "port": 1690,
                "lookup_domain": "branch.example.net",
                "host_caching": False,
                "activation_type": "kms",
            },
        ),
    ),
    play("keyed", task("key", "product_key", {"product_key": "client_setup"}), task("activate", "activation")),
    play("all", task("info", "info")),
]


def fleet() -> Data:
    machines: Data = {
        "kms0": {
            "windows": "server2022/ServerStandard",
            "licence": HOST_KEY,
            "activated": True,
            "open_ports": [1690],
            "registry": {SPP: {"KeyManagementServiceListeningPort": ["sz", "1690"]}},
            "domain": "corp.example.com",
        },
        # Servers and workstations that have the host count its 25 clients.
        "filler": {"count": 25, "windows": "windows11/Professional", "domain": "corp.example.com"},
    }
    for way in WAYS:
        for kind, machine in KINDS.items():
            machines[f"{kind}-{way.name}"] = {**machine, **way.endpoint, "domain": "corp.example.com"}
    return {
        "seed": 1,
        "keys": [{"key": HOST_KEY, "kind": "csvlk", "product": "server-2022", "limit": 20}],
        "dns": {"zones": {"corp.example.com": None, "branch.example.net": None}},
        "machines": machines,
    }


def hosts(lab: LabProcess) -> Data:
    groups: dict[str, dict[str, Data]] = {kind: {} for kind in KINDS}
    for way in WAYS:
        variables = host_vars(lab, way.connection, way.transport)
        for kind in KINDS:
            name = f"{kind}-{way.name}"
            groups[kind][name] = {**variables[name], "encrypted": way.encrypted}
    return inventory(groups)


@dataclasses.dataclass(frozen=True)
class Story:
    """The same playbook three times: in check mode, for real, and again."""

    checked: Run
    first: Run
    second: Run
    checked_writes: list[str]
    second_writes: list[str]
    totals: Data
    dns: list[str]


@pytest.fixture(scope="module")
def story(ansible: Ansible) -> t.Iterator[Story]:
    with LabProcess(fleet()) as lab:
        lab.call("activate", machine=[name for name in names_of(lab) if name.startswith("filler")])
        where = hosts(lab)
        lab.reset_stats()
        checked = ansible.playbook(PLAYBOOK, where, "--check", "--diff")
        checked_writes = writes(lab)
        first = ansible.playbook(PLAYBOOK, where, "--diff")
        lab.call("settle")
        totals = lab.totals()
        lab.reset_stats()
        second = ansible.playbook(PLAYBOOK, where)
        yield Story(checked, first, second, checked_writes, writes(lab), totals, lab.call("dns"))


def names_of(lab: LabProcess) -> list[str]:
    return [machine["name"] for machine in lab.machines()]


def changes(run: Run, task_name: str, host: str) -> list[tuple[str, str, str]]:
    """(setting, before, after) in the order in which they were made."""
    rows = run.results(task_name)[host]["changes"]
    return [(row["setting"], str(row["before"]), str(row["after"])) for row in rows]


HOST_SETTINGS = {
    "publish_list",
    "firewall",
    "low_cpu_priority",
    "activation_interval",
    "renewal_interval",
    "product_key",
    "activated",
}


def test_all_runs_succeed(story: Story) -> None:
    assert [run.returncode for run in (story.checked, story.first, story.second)] == [0, 0, 0], story.first.output


@pytest.mark.parametrize("way", NAMES)
def test_a_host_is_made(story: Story, way: str) -> None:
    result = story.first.results("host")[f"host-{way}"]
    assert result["changed"] and result["verified"] is True and result["restarted"] is True
    assert {row["setting"] for row in result["changes"]} == HOST_SETTINGS
    assert result["kms"]["license_status_name"] == "licensed"
    assert result["kms"]["role"] == "kms_host"
    published = [line for line in story.dns if f"host-{way}." in line]
    assert len(published) == 2, story.dns
    assert any(f" SRV 10 100 1688 host-{way}.corp.example.com." in line for line in published)
    assert any(f" SRV 20 50 1688 host-{way}.corp.example.com." in line for line in published)


@pytest.mark.parametrize("way", NAMES)
def test_a_client_is_made(story: Story, way: str) -> None:
    result = story.first.results("client")[f"client-{way}"]
    assert {row["setting"]: row["after"] for row in result["changes"]} == {
        "server": "kms0.corp.example.com",
        "port": 1690,
        "lookup_domain": "branch.example.net",
        "host_caching": False,
        "activation_type": "kms",
        "activated": True,
    }
    assert result["verified"] is True
    assert result["kms"]["license_status_name"] == "licensed"
    assert result["kms"]["activation_type"] == "kms"
    assert result["kms"]["kms_server_used"] == "kms0.corp.example.com"


@pytest.mark.parametrize("way", NAMES)
def test_a_key_is_installed_and_activated(story: Story, way: str) -> None:
    assert story.first.results("key")[f"keyed-{way}"]["changes"] == [
        {"setting": "product_key", "before": "*****-XRTXX", "after": "*****-63DFG"}
    ]
    activated = story.first.results("activate")[f"keyed-{way}"]
    assert activated["changes"] == [{"setting": "activated", "before": False, "after": True}]
    assert activated["verified"] is True
    assert len(activated["installation_id"]) == 63


@pytest.mark.parametrize("way", NAMES)
@pytest.mark.parametrize("kind", list(KINDS))
def test_info_reads_the_same_over_every_connection(story: Story, kind: str, way: str) -> None:
    own = {"fqdn", "client_machine_id", "grace_minutes", "products", "kms_server_used", "requests", "current_count"}

    def told(way_name: str) -> Data:
        kms = story.second.results("info")[f"{kind}-{way_name}"]["kms"]
        return {name: value for name, value in kms.items() if name not in own}

    assert told(way) == told(NAMES[0])
    assert story.second.results("info")[f"{kind}-{way}"]["kms"]["fqdn"] == f"{kind}-{way}.corp.example.com"


@pytest.mark.parametrize("way", NAMES)
@pytest.mark.parametrize(("name", "kind"), [("host", "host"), ("client", "client"), ("key", "keyed")])
def test_check_mode_predicts_the_run(story: Story, name: str, kind: str, way: str) -> None:
    host = f"{kind}-{way}"
    predicted, made = changes(story.checked, name, host), changes(story.first, name, host)
    assert predicted == made and made
    assert story.checked.results(name)[host]["diff"] == story.first.results(name)[host]["diff"]


def test_check_mode_writes_nothing(story: Story) -> None:
    assert story.checked_writes == []


def test_a_second_run_changes_nothing_and_sends_no_write(story: Story) -> None:
    for name in ("host", "client", "key", "activate"):
        results = story.second.results(name)
        assert {host: row["changes"] for host, row in results.items() if row["changed"]} == {}
        assert {row["verified"] for row in results.values()} == {True}
    assert story.second_writes == []


def test_no_shell_and_no_runspace_is_opened(story: Story) -> None:
    assert story.totals["requests"] > 0
    assert story.totals["shells"] == 0


def test_a_diff_reads_like_the_settings(story: Story) -> None:
    diff = story.first.results("host")["host-winrm-ntlm"]["diff"]
    assert diff["before_header"] == "host-winrm-ntlm"
    assert "publish_list: []\n" in diff["before"]
    assert "publish_list:\n- corp.example.com, 10, 100\n- branch.example.net, 20, 50\n" in diff["after"]
    assert "product_key: '*****-HK222 (host key, as given)'" in diff["after"]
    assert diff["after"].endswith("restart: sppsvc\n")
