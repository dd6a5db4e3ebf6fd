# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS hosts in zones in which they may not write: the controller does it, and their own publishing is off."""

from __future__ import annotations

import pytest
from integration.clean_up.rogue_fleet import (
    BRANCH,
    CORP,
    HEALED,
    KMS1,
    KMS2,
    RETIRE,
    fleet,
    key_calls,
    quickly,
    records,
)
from integration.kit import Ansible, writes

from lab.client import LabProcess

DEPLOY, STEER, VERIFY = (f"fleetops.kms.{name}" for name in ("deploy_hosts", "steer_clients", "verify"))
SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"


def test_the_controller_writes_what_the_hosts_may_not(ansible: Ansible) -> None:
    described = fleet(rogues=2, clients=1)
    described["dns"] = {"zones": {CORP: {"tsig": "kms-key"}, BRANCH: {"tsig": "kms-key"}}, "tsig": {"kms-key": SECRET}}
    for name in ("kms1", "kms2"):
        described["machines"][name]["publish_refused"] = ["*"]
    with LabProcess(described) as lab:
        signed = (
            *quickly(lab),
            *("-e", "kms_host_publish_via=rfc2136", "-e", "kms_dns_tsig_name=kms-key"),
            *("-e", f"kms_dns_tsig_secret={SECRET}"),
        )
        assert not records(lab) & HEALED
        done = ansible.playbook(DEPLOY, lab.inventory_path, *signed).assert_ok()
        assert records(lab) >= HEALED
        assert SECRET not in done.output
        for host in (KMS1, KMS2):
            assert done.result(host, "Be a KMS host")["kms"]["dns_publishing"] is False
        lab.reset_stats()
        again = ansible.playbook(DEPLOY, lab.inventory_path, *signed).assert_ok()
        assert writes(lab) == []
        assert not [row for row in again.rows if row["kind"] != "stats" and row["result"].get("changed")]


def test_what_the_controller_publishes_it_steers_keeps_unsteers_and_retires(ansible: Ansible) -> None:
    described = fleet(rogues=2, clients=1)
    described["dns"] = {"zones": {CORP: {"tsig": "kms-key"}, BRANCH: {"tsig": "kms-key"}}, "tsig": {"kms-key": SECRET}}
    for name in ("web", "shop"):
        del described["machines"][name]
    for name in ("kms1", "kms2"):
        described["machines"][name] |= {"publish_refused": ["*"], "counted": 30}
    with LabProcess(described) as lab:
        signed = (
            *quickly(lab),
            *("-e", "kms_host_publish_via=rfc2136", "-e", "kms_dns_via=none"),
            *("-e", "kms_dns_tsig_name=kms-key", "-e", f"kms_dns_tsig_secret={SECRET}"),
        )

        def run(playbook: str, *more: str) -> set[tuple[str, str, str, str]]:
            done = ansible.playbook(playbook, lab.inventory_path, *signed, *more, "-vvv").assert_ok()
            assert SECRET not in done.output
            return records(lab)

        assert run(DEPLOY) == HEALED
        rogue = (CORP, f"web01.{CORP}", "0", "0")
        lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"0 0 1688 {rogue[1]}.")
        steered = {*(value for value in HEALED if value[:2] != (CORP, KMS1)), (CORP, KMS1, "0", "65535"), rogue}
        assert run(STEER) == steered
        # What is steered stays so while the reason lasts, and is known as such.
        lab.reset_stats()
        assert run(DEPLOY) == run(STEER) == run(VERIFY) == steered
        assert writes(lab) == []

        lab.call("dns_remove", zone=CORP, name="_vlmcs._tcp")
        for _domain, name, priority, weight in steered - {rogue}:
            if _domain == CORP:
                lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"{priority} {weight} 1688 {name}.")
        assert run(STEER, "-e", "kms_steer_state=unsteered") == HEALED

        left = run(RETIRE, "-e", f"kms_retire_host={KMS1}", "-e", "kms_retire_delay=0")
        assert left == {value for value in HEALED if value[1] == KMS2}
        assert key_calls(lab) == {KMS1: ["InstallProductKey", "Activate"]}


@pytest.mark.parametrize(
    "wrong", ["kms_host_publish_via=magic", "kms_host_publish_via=windows_dns kms_dns_server=dns9"]
)
def test_a_way_that_leads_nowhere_is_refused_before_any_machine_is_touched(ansible: Ansible, wrong: str) -> None:
    with LabProcess(fleet(rogues=2, clients=1)) as lab:
        run = ansible.playbook(DEPLOY, lab.inventory_path, "-e", wrong)
        assert run.returncode != 0
        assert lab.totals()["requests"] == 0
