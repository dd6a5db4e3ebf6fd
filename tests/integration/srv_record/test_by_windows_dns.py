# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records written and removed on a Windows DNS server, in the fleet of which the hosts may not write themselves."""

from __future__ import annotations

import typing as t

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CORP, HEALED, KMS1, KMS2, fleet, records
from integration.kit import Ansible, Data, play, task, writes

from lab.client import LabProcess

DEPLOY = "fleetops.kms.deploy_hosts"
DNS1 = f"dns1.{CORP}"
WEB, SHOP = f"web.{CORP}", f"shop.{CORP}"
WAYS = ("-e", "kms_host_publish_via=windows_dns", "-e", f"kms_dns_server={DNS1}")
SOON = ("-e", "kms_host_verify_delay=0", "-e", "kms_host_verify_retries=3")


@pytest.fixture
def lab() -> t.Iterator[LabProcess]:
    described = fleet(rogues=2, clients=1)
    for name in ("kms1", "kms2"):
        described["machines"][name]["publish_refused"] = ["*"]
    described["machines"]["dns1"] = {"windows": "server2022/ServerStandard", "domain": CORP, "dns_server": True}
    with LabProcess(described) as running:
        yield running


def publishing(lab: LabProcess, machine: str) -> bool:
    """Whether a host publishes itself."""
    return "DisableDnsPublishing" not in str(lab.call("state", machine=machine)["registry"])


def changed(results: t.Iterable[Data]) -> list[Data]:
    return [row for row in results if row["kind"] != "stats" and row["result"].get("changed")]


def test_a_windows_dns_server_publishes_the_hosts(ansible: Ansible, lab: LabProcess) -> None:
    before = records(lab)
    assert not before & HEALED
    checked = ansible.playbook(DEPLOY, lab.inventory_path, *WAYS, *SOON, "--check", "--diff").assert_ok()
    assert (writes(lab), records(lab)) == ([], before)
    planned = {host: checked.result(host, "Be a KMS host")["changes"] for host in (KMS1, KMS2)}

    done = ansible.playbook(DEPLOY, lab.inventory_path, *WAYS, *SOON).assert_ok()
    assert records(lab) == before | HEALED
    assert {host: done.result(host, "Be a KMS host")["changes"] for host in (KMS1, KMS2)} == planned
    for host in (KMS1, KMS2):
        assert done.result(host, "Be a KMS host")["kms"]["dns_publishing"] is False
        assert not publishing(lab, host)

    lab.reset_stats()
    again = ansible.playbook(DEPLOY, lab.inventory_path, *WAYS, *SOON).assert_ok()
    assert writes(lab) == []
    assert changed(again.rows) == []


@pytest.mark.parametrize("connection", ["winrm", "psrp"])
def test_values_of_many_machines_are_removed_there_and_no_others(
    ansible: Ansible, lab: LabProcess, connection: str
) -> None:
    lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"5 7 1689 {SHOP}.")
    before = records(lab)
    gone = [{"domain": CORP, "target": SHOP}, {"domain": BRANCH, "target": SHOP}]
    remove = task("remove", "srv_cleanup", {"values": gone, "via": "windows_dns"})
    inventory = lab.inventory(connection)
    path = ansible.folder / f"{connection}.yml"
    path.write_text(inventory, encoding="utf-8")

    checked = ansible.playbook([play(DNS1, remove)], path, "--check", "--diff").assert_ok().result(DNS1, "remove")
    assert (writes(lab), records(lab)) == ([], before)
    done = ansible.playbook([play(DNS1, remove)], path).assert_ok().result(DNS1, "remove")
    assert done["changes"] == checked["changes"]
    assert (done["verified"], checked["verified"], done["left"]) == (True, None, [])
    assert records(lab) == {row for row in before if row[1] != SHOP}
    assert len([row for row in before if row[1] == SHOP]) == len(done["removed"]) == 3

    lab.reset_stats()
    again = ansible.playbook([play(DNS1, remove)], path).assert_ok().result(DNS1, "remove")
    assert (again["changed"], writes(lab)) == (False, [])


def test_a_zone_that_the_server_does_not_hold_fails_and_the_others_are_done(ansible: Ansible, lab: LabProcess) -> None:
    values = [{"domain": "example.org", "target": SHOP}, {"domain": CORP, "target": SHOP}]
    remove = task("remove", "srv_cleanup", {"values": values, "via": "windows_dns"})
    done = ansible.playbook([play(DNS1, remove)], lab.inventory_path).result(DNS1, "remove")
    assert done["kind"] == "failed" and "holds no zone" in done["msg"]
    assert done["domains_failed"] == ["example.org"]
    assert (CORP, SHOP) not in {row[:2] for row in records(lab)}
