# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that deploys hosts waits for: records that may still come, and no longer."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.filter.fleet import findings, record_findings
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare

CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1 = f"kms1.{CORP}"
HOST = declare("kms1", {"kms_host_domains": [CORP, BRANCH]}, KMS1)
THERE = [record.as_dict() for record in HOST.wanted if record.domain == CORP]
Data = dict[str, t.Any]


def refusal(time: str) -> Data:
    return {"code": 12293, "log": "Application", "time": time, "fields": ["0x80072338", BRANCH]}


def success(domain: str, time: str) -> Data:
    return {"code": 12294, "log": "Application", "time": time, "fields": [domain]}


def read(*events: Data) -> Data:
    product = {"role": "kms_host", "application": "windows", "license_status": 1}
    return {"kms": {"products": [product], "dns_publishing": True, "events": list(events)}}


def variables(before: t.Sequence[Data], now: t.Sequence[Data] | None, *, restarted: bool) -> dict[str, Data]:
    events = {"skipped": True} if now is None else read(*now)
    return {
        "kms1": {
            "_kms_host_read": read(*before),
            "_kms_host_result": {"changed": restarted, "restarted": restarted},
            "_kms_host_events": events,
        }
    }


OLD, NEW = refusal("2026-03-01T08:00:00+00:00"), refusal("2026-03-02T08:00:00+00:00")


@pytest.mark.parametrize(
    ("before", "now", "restarted", "waits"),
    [
        ([], None, True, True),  # nobody has asked the host yet
        ([], [], True, True),  # it has not tried yet
        ([], [NEW], True, False),
        ([OLD], [OLD], True, True),  # it was told to try anew
        ([OLD], [OLD, NEW], True, False),
        ([OLD], [OLD, success(BRANCH, "2026-03-02T08:00:00+00:00")], True, True),  # DNS will show it
        ([OLD], [OLD], False, False),  # nothing makes it try again
    ],
)
def test_a_record_is_waited_for_until_its_host_was_refused(
    before: t.Sequence[Data], now: t.Sequence[Data] | None, restarted: bool, waits: bool
) -> None:
    hostvars = variables(before, now, restarted=restarted)
    found = record_findings(THERE, [HOST.as_dict()], ["kms1"], hostvars=hostvars)
    assert bool(found["pending"]) is waits
    assert len(found["waiting"]) == 1
    assert list(found["hosts"]) == ["kms1"]


def test_one_that_was_refused_ends_no_wait_for_another() -> None:
    found = record_findings([], [HOST.as_dict()], ["kms1"], hostvars=variables([], [NEW], restarted=True))
    assert len(found["waiting"]) == 2
    (pending,) = found["pending"]
    assert CORP in pending


def test_a_host_that_failed_at_its_records_is_still_judged_by_what_it_said() -> None:
    hostvars = variables([], [NEW], restarted=True)
    told = findings(hostvars, [HOST.as_dict()], ["kms1"], [], records=THERE)
    assert told["unread"] == []
    (missing,) = [item for item in told["findings"] if item["kind"] == "missing"]
    assert "was refused (event 12293, 0x80072338" in missing["text"]
