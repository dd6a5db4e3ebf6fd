# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verification says of a domain whose clients are steered past a host that is not approved."""

from __future__ import annotations

import dataclasses
import typing as t

from unit.fleet.test_verdict import BRANCH, CORP, HEALTHY, KMS1, PRIMARY, SECONDARY, fleet, with_host

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.finding import Kind, Severity
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.verdict import judge

STEERED = [SrvRecord(CORP, KMS1, 1688, 0, 65535), *PRIMARY.wanted[1:], *SECONDARY.wanted]
ROGUE = SrvRecord(CORP, f"web07.{CORP}", 1688, 0, 0)


def told(records: list[SrvRecord], **more: t.Any) -> list[tuple[Severity, Kind]]:
    entries = [f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]
    steered = dataclasses.replace(with_host(publish_list=entries, **more), records=records)
    return [(item.severity, item.kind) for item in judge(steered)]


def test_a_steered_domain_is_a_warning_and_so_is_the_rogue_that_clients_are_led_past() -> None:
    assert sorted(told([*STEERED, ROGUE]), key=str) == [
        (Severity.WARN, Kind.NOT_APPROVED),
        (Severity.WARN, Kind.STEERED),
    ]


def test_a_rogue_that_is_still_asked_by_many_fails_all_the_same() -> None:
    heavy = dataclasses.replace(ROGUE, weight=65535)
    assert (Severity.FAIL, Kind.NOT_APPROVED) in told([*STEERED, heavy])


def test_an_older_value_beside_the_steered_one_is_no_finding() -> None:
    assert told([*STEERED, PRIMARY.wanted[0], ROGUE]).count((Severity.WARN, Kind.STEERED)) == 1
    assert not [kind for severity, kind in told([*STEERED, PRIMARY.wanted[0], ROGUE]) if severity is Severity.FAIL]


def test_a_steered_domain_without_a_reason_is_to_be_unsteered() -> None:
    (finding,) = judge(
        dataclasses.replace(with_host(publish_list=[f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]), records=STEERED)
    )
    assert finding.kind is Kind.STEERED and "unsteer" in finding.text


def test_a_host_that_is_approved_but_not_declared_is_no_finding() -> None:
    approval = ApprovedHosts.of([f"web*.{CORP}"])
    found = judge(fleet(records=[*HEALTHY.records, ROGUE], approval=approval))
    assert not [item for item in found if item.kind in (Kind.NOT_APPROVED, Kind.NOT_APPROVED_BEHIND)]
