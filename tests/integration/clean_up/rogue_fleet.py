# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet in which machines have become KMS hosts by accident, and what to ask of it afterwards."""

from __future__ import annotations

import typing as t

from integration.kit import Ansible, Data, Run, task_name

from lab.client import LabProcess

HOST_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK222"
ROGUE_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK2V2"
OFFICE_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HKF22"
CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1, KMS2 = f"kms1.{CORP}", f"kms2.{CORP}"
#: A domain that no KMS host is declared for, and a machine that publishes itself there: it is at home there.
ATTIC_DOMAIN = "attic.example.org"
ATTIC = f"attic.{ATTIC_DOMAIN}"
FIND, CONVERT, CLEAN_UP, RETIRE = (
    f"fleetops.kms.{name}" for name in ("find_rogues", "convert_rogues", "clean_up", "retire_host")
)

_HOST: Data = {
    "windows": "server2022/ServerStandard",
    "domain": CORP,
    "group": "kms_hosts",
    "updates": ["KB5034765"],
    "licence": HOST_KEY,
    "activated": True,
    "kms_rule": True,
}
_ROGUE: Data = {
    "windows": "server2019/ServerStandard",
    "domain": CORP,
    "licence": ROGUE_KEY,
    "activated": True,
    "kms_rule": True,
}


def fleet(rogues: int = 6, clients: int = 3, **more: t.Any) -> Data:
    """Two approved hosts, the primary with its count; rogues of which one publishes in both domains by its own list."""
    return {
        "seed": 1,
        "policy": {"publish_seconds": 0.01, "pending_seconds": 0.01},
        "keys": [
            {"key": HOST_KEY, "kind": "csvlk", "product": "server-2022"},
            {"key": ROGUE_KEY, "kind": "csvlk", "product": "server-2019", "limit": 100},
            {"key": OFFICE_KEY, "kind": "csvlk", "product": "office-2021"},
        ],
        "dns": {"zones": {CORP: None, BRANCH: None}},
        "machines": {
            "kms1": {
                **_HOST,
                "counted": 30,
                "publish": [f"{CORP}, 10, 100", f"{BRANCH}, 10, 100"],
                "vars": {"kms_host_rank": "primary"},
            },
            "kms2": {
                **_HOST,
                "publish": [f"{CORP}, 20, 100", f"{BRANCH}, 20, 100"],
                "vars": {"kms_host_rank": "secondary"},
            },
            "web": {"count": rogues - 1, **_ROGUE},
            "shop": {**_ROGUE, "publish": [f"{CORP}, 0, 0", f"{BRANCH}, 0, 0"]},
            "pc": {"count": clients, "windows": "windows11/Enterprise", "domain": CORP, "activated": True},
        },
        "inventory": {"vars": {"kms_host_product_key": HOST_KEY, "kms_host_domains": [CORP, BRANCH]}},
        **more,
    }


def with_attic(described: Data) -> Data:
    """The fleet, with a rogue that publishes itself in its home domain alone, which is not declared."""
    dns, machines = described["dns"], described["machines"]
    return {
        **described,
        "dns": {**dns, "zones": {**dns["zones"], ATTIC_DOMAIN: None}},
        "machines": {**machines, "attic": {**_ROGUE, "domain": ATTIC_DOMAIN}},
    }


def quickly(lab: LabProcess) -> tuple[str, ...]:
    """Extra variables: the lab's name server takes the updates, and nothing is gained by waiting for it."""
    variables = {
        "kms_dns_via": "rfc2136",
        "kms_dns_server": lab.dns,
        "kms_convert_delay": 0,
        "kms_convert_retries": 2,
        "kms_steer_delay": 0,
        "kms_host_verify_delay": 0,
        "kms_host_verify_retries": 3,
    }
    return tuple(part for name, value in variables.items() for part in ("-e", f"{name}={value}"))


def records(lab: LabProcess) -> set[tuple[str, str, str, str]]:
    """Domain, target, priority and weight of all values."""
    return {
        (words[0].removeprefix("_vlmcs._tcp.").rstrip("."), words[7].rstrip("."), words[4], words[5])
        for words in map(str.split, lab.call("dns"))
    }


def targets(lab: LabProcess) -> set[str]:
    return {target for _domain, target, _priority, _weight in records(lab)}


#: What DNS is to show of the approved hosts when all is well.
HEALED = {
    (domain, name, priority, "100") for domain in (CORP, BRANCH) for name, priority in ((KMS1, "10"), (KMS2, "20"))
}


def key_calls(lab: LabProcess) -> dict[str, list[str]]:
    """The methods that dealt with keys, by machine, since the fleet was started."""
    return {name: [call["method"] for call in calls] for name, calls in lab.call("key_calls").items() if calls}


def rows(run: Run) -> dict[str, Data]:
    """What was reported of each machine that had its turn."""
    return {row["machine"]: row for row in run.custom["kms_convert"]["machines"]}


def shown(run: Run, task: str) -> list[t.Any]:
    """What a task has printed, each time that it ran."""
    return [row["result"].get("msg") for row in run.rows if row["kind"] != "stats" and task_name(row["task"]) == task]


def run(ansible: Ansible, lab: LabProcess, playbook: str, *arguments: str) -> Run:
    return ansible.playbook(playbook, lab.inventory_path, *quickly(lab), *arguments)
