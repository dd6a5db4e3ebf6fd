# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of every documentation are run as they are printed by ansible-doc."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing as t

import pytest
import yaml
from integration.kit import ROOT, Ansible, Data, Run, environment, host_vars, inventory, play, program, task

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
OFFICE_HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HKVVV"
BOTH = ["corp.example.com, 10, 100", "branch.example.net, 10, 100"]

FLEET: Data = {
    "seed": 1,
    "keys": [
        {"key": HOST_KEY, "kind": "csvlk", "product": "server-2022"},
        {"key": OFFICE_HOST_KEY, "kind": "csvlk", "product": "office-2016"},
    ],
    "dns": {"zones": dict.fromkeys(("corp.example.com", "branch.example.net", "office.example.net"))},
    "active_directory": {"activation_objects": [{"name": "all", "key": HOST_KEY}]},
    "machines": {
        "kms1": {
            "windows": "server2022/ServerStandard",
            "domain": "corp.example.com",
            "group": "kms_hosts",
            "licence": HOST_KEY,
            "activated": True,
            "kms_rule": True,
            "publish": BOTH,
            "vars": {"kms_host_rank": "primary"},
        },
        "kms2": {
            "windows": "server2022/ServerStandard",
            "domain": "corp.example.com",
            "group": "kms_hosts",
            "licence": HOST_KEY,
            "activated": True,
            "kms_rule": True,
            "publish": [entry.replace(" 10,", " 20,") for entry in BOTH],
            "vars": {"kms_host_rank": "secondary"},
        },
        "new": {"windows": "server2022/ServerStandard", "domain": "corp.example.com"},
        # Not in the domains of the examples: as a KMS host of Office it publishes itself, too.
        "srv": {
            "windows": "server2019/ServerStandard",
            "domain": "office.example.net",
            "office_pack": ["office-2016"],
            "keys": [{"key": OFFICE_HOST_KEY, "activated": True}],
        },
        "pc": {"count": 5, "windows": "server2019/ServerDatacenter", "domain": "corp.example.com"},
    },
}

#: The machine on which the examples of a module run.
MACHINES = {"host": "new", "info": "kms1", "product_key": "srv", "activation": "srv", "client": "pc01"}

#: Examples that need what this lab has not: a Kerberos realm, a Windows DNS server, or what earlier steps of a
#: conversion have found (``tests/integration/clean_up`` runs those). Their syntax is checked.
NOT_RUN = {
    "convert_batch": "filter",
    "convert_left": "filter",
    "convert_plan": "filter",
    "convert_problems": "filter",
    "convert_questions": "filter",
    "convert_recheck": "filter",
    "convert_report": "filter",
    "convert_tally": "filter",
    "convert_values": "filter",
    "retire_problems": "filter",
    "retirement": "filter",
    "srv_cleanup": "module",
    "srv_record": "module",
}

#: Modules last: they change what the others look at.
PLUGIN_TYPES = ("lookup", "filter", "test", "module")


def plugins(kind: str) -> list[str]:
    folder = ROOT / "plugins" / ("modules" if kind == "module" else kind)
    documented = [path.stem for path in folder.glob("*.yml")]
    own = [path.stem for path in folder.glob("*.py") if "DOCUMENTATION" in path.read_text(encoding="utf-8")]
    return sorted({*documented, *own})


ALL = [(kind, name) for kind in PLUGIN_TYPES for name in plugins(kind)]


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Data]:
    """What ansible-doc tells of each plugin."""
    home = tmp_path_factory.mktemp("doc")
    found = {}
    for kind in PLUGIN_TYPES:
        names = [f"fleetops.kms.{name}" for name in plugins(kind)]
        done = subprocess.run(
            [program("ansible-doc"), "--type", kind, "--json", *names],
            stdout=subprocess.PIPE,
            env=environment(home),
            timeout=120,
            check=True,
        )
        for full, entry in json.loads(done.stdout).items():
            found[kind, full.removeprefix("fleetops.kms.")] = entry
    return found


def examples(entry: Data) -> list[Data]:
    return t.cast("list[Data]", yaml.safe_load(entry["examples"]))


@pytest.fixture(scope="module")
def run(
    ansible: Ansible, documentation: dict[tuple[str, str], Data], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Run]:
    """All examples in one playbook, each plugin's in a play of its own."""
    with LabProcess(FLEET) as lab:
        address, _colon, port = str(lab.dns).partition(":")
        for zone in FLEET["dns"]["zones"]:
            lab.call("dns_add", zone=zone, name="ns", data=address, type="A")
        lab.call("activate", machine=[f"pc{number:02d}.corp.example.com" for number in range(2, 6)])
        lab.call("settle")
        plays = [
            play(
                "kms_hosts:kms_clients",
                task("read", "info", {"events": True}, register="_kms_verify_read"),
                task("keep", "ansible.builtin.set_fact", {"result": "{{ _kms_verify_read }}"}),
            )
        ]
        for kind, name in ALL:
            if name not in NOT_RUN:
                found = yaml.safe_load(_reachable(documentation[kind, name]["examples"], lab))
                plays.append(
                    play(MACHINES.get(name, "kms1"), *found, ignore_errors=True, vars={"at": f"{kind} {name}"})
                )
                for item in found:
                    item["name"] = f"{kind} {name}: {item['name']}"
        yield ansible.playbook(plays, _fleet_inventory(lab, [address, port]))


def _reachable(text: str, lab: LabProcess) -> str:
    """The documentation's addresses (RFC 5737, RFC 3849) as those of the lab."""
    return (
        text.replace("[2001:db8::10]:5353", str(lab.dns))
        .replace("192.0.2.10", str(lab.dns))
        .replace("192.0.2.22", "127.0.0.1")
    )


def _fleet_inventory(lab: LabProcess, dns: list[str]) -> Data:
    machines = host_vars(lab)
    hosts = {name: machines[name] for name in ("kms1", "kms2")}
    clients = {name: variables for name, variables in machines.items() if name not in hosts}
    return inventory(
        {"kms_hosts": hosts, "kms_clients": clients},
        kms_host_product_key=HOST_KEY,
        kms_host_domains=["corp.example.com", "branch.example.net"],
        kms_nameservers=[lab.dns],
        kms_dns_port=int(dns[1]),
    )


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_a_plugin_has_examples(documentation: dict[tuple[str, str], Data], kind: str, name: str) -> None:
    found = examples(documentation[kind, name])
    assert found
    for item in found:
        assert item["name"][0].isupper()
        assert "ignore_errors" not in item and "when" not in item


@pytest.mark.parametrize(("kind", "name"), [row for row in ALL if row[1] not in NOT_RUN])
def test_the_examples_of_a_plugin_run(
    run: Run, documentation: dict[tuple[str, str], Data], kind: str, name: str
) -> None:
    for item in examples(documentation[kind, name]):
        result = run.result(MACHINES.get(name, "kms1"), f"{kind} {name}: {item['name']}")
        assert result["kind"] == "ok", (item["name"], result)


def test_the_examples_that_are_not_run_are_playbooks_all_the_same(
    ansible: Ansible, documentation: dict[tuple[str, str], Data], tmp_path: pathlib.Path
) -> None:
    for name, kind in NOT_RUN.items():
        content = yaml.safe_dump([play("all", *examples(documentation[kind, name]))])
        (tmp_path / f"{name}.yml").write_text(content, encoding="utf-8")
    paths = sorted(map(str, tmp_path.glob("*.yml")))
    done = subprocess.run(
        [program("ansible-playbook"), "--syntax-check", "-i", "localhost,", *paths],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(ansible.folder),
        timeout=120,
        check=False,
    )
    told = done.stdout.decode()
    assert done.returncode == 0, told
    assert [path for path in paths if f"playbook: {path}" not in told] == []
