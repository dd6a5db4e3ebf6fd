# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KMS hosts in zones in which they may not write: the controller does it, and their own publishing is off."""

from __future__ import annotations

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CORP, HEALED, KMS1, KMS2, fleet, quickly, records
from integration.kit import Ansible, writes

from lab.client import LabProcess

DEPLOY = "fleetops.kms.deploy_hosts"
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


@pytest.mark.parametrize(
    "wrong", ["kms_host_publish_via=magic", "kms_host_publish_via=windows_dns kms_dns_server=dns9"]
)
def test_a_way_that_leads_nowhere_is_refused_before_any_machine_is_touched(ansible: Ansible, wrong: str) -> None:
    with LabProcess(fleet(rogues=2, clients=1)) as lab:
        run = ansible.playbook(DEPLOY, lab.inventory_path, "-e", wrong)
        assert run.returncode != 0
        assert lab.totals()["requests"] == 0
