# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who writes when clients are steered: the host itself; the controller only takes away what a host leaves behind."""

from __future__ import annotations

from integration.clean_up.rogue_fleet import BRANCH, CORP, KMS1, KMS2, fleet, records, run
from integration.kit import Ansible, Data

from lab.client import LabProcess

STEER = "fleetops.kms.steer_clients"
UNSTEER = ("-e", "kms_steer_state=unsteered")
ROGUE = f"old.{CORP}"


def described(**more: Data) -> Data:
    """Two approved hosts; the rogue is a record only."""
    content = fleet(rogues=2, clients=1, **more)
    for name in ("web", "shop"):
        del content["machines"][name]
    return content


def of(lab: LabProcess, target: str, domain: str = CORP) -> set[tuple[str, str]]:
    return {(priority, weight) for where, name, priority, weight in records(lab) if (where, name) == (domain, target)}


def leave_alone(lab: LabProcess, *targets: str) -> None:
    """Take every value but those of some targets out of a domain."""
    kept = [row for row in records(lab) if row[0] == CORP and row[1] in targets]
    lab.call("dns_remove", zone=CORP, name="_vlmcs._tcp")
    for _domain, target, priority, weight in kept:
        lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"{priority} {weight} 1688 {target}.")


def test_a_host_in_a_secure_zone_keeps_its_own_records(ansible: Ansible) -> None:
    """The zone takes updates of the host that wrote the name first, and of nobody else."""
    content = described(dns={"zones": {CORP: {"policy": "secure"}, BRANCH: None}})
    del content["machines"]["kms2"]
    with LabProcess(content) as lab:
        lab.call("settle")
        assert of(lab, KMS1) == {("10", "100")}
        lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"0 0 1688 {ROGUE}.")
        run(ansible, lab, STEER).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("0", "65535")}
        leave_alone(lab, KMS1)
        run(ansible, lab, STEER, *UNSTEER).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("10", "100")}


def test_older_values_that_hosts_leave_behind_are_taken_away(ansible: Ansible) -> None:
    policy = {"publish_seconds": 0.01, "pending_seconds": 0.01, "republish": "add"}
    with LabProcess(described(policy=policy)) as lab:
        lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"0 0 1688 {ROGUE}.")
        run(ansible, lab, STEER).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("0", "65535")}
        leave_alone(lab, KMS1, KMS2)

        # Nobody takes the steered value away: that is told, and nothing is called done.
        alone = run(ansible, lab, STEER, *UNSTEER, "-e", "kms_dns_via=none", "-e", "kms_steer_retries=2")
        lab.call("settle")
        assert alone.returncode != 0
        assert f"0 65535 1688 {KMS1} is still there" in alone.output
        assert of(lab, KMS1) == {("0", "65535"), ("10", "100")}

        run(ansible, lab, STEER, *UNSTEER).assert_ok()
        assert (of(lab, KMS1), of(lab, KMS2)) == ({("10", "100")}, {("20", "100")})
