# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a host leaves its older value behind, the records are made right by dynamic update or on the DNS server."""

from __future__ import annotations

import typing as t

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CORP, FIND, KMS1, KMS2, records
from integration.kit import Ansible, Data
from integration.rogues.test_find_and_steer import FLEET, SHOP, SOON, STEER, UNSTEER, WEB, entry, remove

from lab.client import LabProcess

#: A zone that nobody has declared: only the DNS server knows of it.
UNKNOWN = "attic.example.org"
#: Named there alone, and without an address.
GHOST = f"ghost.{UNKNOWN}"


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    fleet: Data = {
        **FLEET,
        "policy": {**FLEET["policy"], "republish": "add"},
        "dns": {"zones": {CORP: None, BRANCH: None, UNKNOWN: None}},
        "machines": {
            **{name: machine for name, machine in FLEET["machines"].items() if name != "pc"},
            "dns1": {
                "windows": "server2022/ServerStandard",
                "domain": CORP,
                "dns_server": True,
                "group": "kms_dns_servers",
            },
        },
    }
    with LabProcess(fleet) as running:
        for target in (WEB, GHOST):
            running.call("dns_add", zone=UNKNOWN, name="_vlmcs._tcp", data=f"0 0 1688 {target}.")
        yield running


def test_steered_and_unsteered_through_dns(lab: LabProcess, ansible: Ansible) -> None:
    def run(name: str, *arguments: str) -> set[tuple[str, str, str, str]]:
        ansible.playbook(name, lab.inventory_path, *arguments).assert_ok()
        return {row for row in records(lab) if row[0] != UNKNOWN}

    report = ansible.playbook(FIND, lab.inventory_path).assert_ok().custom["kms_rogues"]
    assert [record["domain"] for record in entry(report, WEB)["records"]] == [UNKNOWN, CORP]
    assert (entry(report, GHOST)["status"], entry(report, GHOST)["addresses"]) == ("stale", [])
    assert report["unread_zones"] == []

    through_server = ("-e", "kms_dns_via=windows_dns", "-e", f"kms_dns_server=dns1.{CORP}")
    after = run(STEER, *through_server, *SOON)
    assert {row for row in after if row[1] == KMS1} == {(CORP, KMS1, "0", "65535"), (BRANCH, KMS1, "10", "100")}

    lab.call("stop_machine", machine=SHOP)
    remove(lab, CORP, WEB)
    by_update = ("-e", "kms_dns_via=rfc2136", "-e", f"kms_dns_server={lab.dns}")
    assert run(STEER, *by_update, *UNSTEER) == {
        (domain, name, priority, "100") for domain in (CORP, BRANCH) for name, priority in ((KMS1, "10"), (KMS2, "20"))
    }


def test_a_dns_server_that_cannot_be_asked_is_told(lab: LabProcess, ansible: Ansible) -> None:
    lab.call("stop_machine", machine=f"dns1.{CORP}")
    found = ansible.playbook(FIND, lab.inventory_path).assert_ok()
    (unread,) = found.custom["kms_rogues"]["unread_zones"]
    assert unread["machine"] == f"dns1.{CORP}"
    assert "Windows DNS servers whose zones could not be read" in found.output
