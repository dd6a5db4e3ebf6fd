# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""When DNS counts as saying what is wanted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.published import (
    FindingKind,
    explain,
    published,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord

CORP, BRANCH = "corp.example.com", "branch.example.net"


def srv(target: str, priority: int, weight: int, port: int = 1688, domain: str = CORP) -> SrvRecord:
    return SrvRecord(domain, f"{target}.corp.example.com", port, priority, weight, ttl=600)


PRIMARY, SECONDARY = srv("kms1", 10, 100), srv("kms2", 20, 100)
WANTED = [PRIMARY, SECONDARY]
MISSING, DIFFERENT, OUTRANKING, EXTRA = FindingKind


@pytest.mark.parametrize(
    ("there", "kinds", "result"),
    [
        (WANTED, [], True),
        ([*WANTED, srv("rogue", 0, 0)], [OUTRANKING], False),
        ([*WANTED, srv("rogue", 20, 0)], [OUTRANKING], False),
        ([*WANTED, srv("rogue", 21, 0)], [EXTRA], True),
        ([*WANTED, srv("kms1", 0, 0)], [OUTRANKING], False),
        ([*WANTED, srv("rogue", 0, 0, domain=BRANCH)], [], True),
        ([PRIMARY], [MISSING], False),
        ([], [MISSING, MISSING], False),
        ([srv("kms1", 0, 0), SECONDARY], [DIFFERENT], False),
        ([srv("kms1", 10, 50), SECONDARY], [DIFFERENT], False),
        ([srv("kms1", 10, 100, port=1689), SECONDARY], [DIFFERENT], False),
        ([srv("kms1", 30, 100), srv("kms1", 0, 0), SECONDARY], [DIFFERENT, EXTRA], False),
        ([srv("rogue", 0, 0)], [MISSING, MISSING, OUTRANKING], False),
    ],
)
def test_rule(there: list[SrvRecord], kinds: list[FindingKind], result: bool) -> None:
    assert [finding.kind for finding in explain(there, WANTED)] == kinds
    assert published(there, WANTED) is result


def test_worst_wanted_priority_counts_per_domain() -> None:
    wanted = [PRIMARY, srv("kms2", 30, 100, domain=BRANCH)]
    assert published([*wanted, srv("other", 20, 0)], wanted)
    assert not published([*wanted, srv("other", 20, 0, domain=BRANCH)], wanted)


def test_messages_name_what_matters() -> None:
    (finding,) = explain([*WANTED, srv("web07", 0, 0)], WANTED)
    assert finding.message == (
        "corp.example.com: 0 0 1688 web07.corp.example.com is not wanted and outranks or equals a wanted record: "
        "100 % of the clients ask it first"
    )
    (missing,) = explain([PRIMARY], WANTED)
    assert missing.message == "corp.example.com: 20 100 1688 kms2.corp.example.com is missing"
    (different,) = explain([srv("kms1", 5, 0), SECONDARY], WANTED)
    assert different.message.startswith("corp.example.com: 5 0 1688 kms1")
    assert different.share == 1


values = st.lists(
    st.builds(srv, st.sampled_from(["kms1", "kms2", "web"]), st.integers(0, 3), st.integers(0, 2)),
    max_size=6,
    unique=True,
)


@given(values, values)
def test_rule_against_its_wording(there: list[SrvRecord], wanted: list[SrvRecord]) -> None:
    worst = max((record.priority for record in wanted), default=-1)
    expected = set(wanted) <= set(there) and all(record.priority > worst for record in set(there) - set(wanted))
    assert published(there, wanted) is expected


@given(values, values)
def test_every_difference_is_told_once(there: list[SrvRecord], wanted: list[SrvRecord]) -> None:
    findings = explain(there, wanted)
    found = [finding.found for finding in findings if finding.found]
    absent = [finding.wanted for finding in findings if finding.wanted]
    assert len(found) == len(set(found))
    assert set(absent) == set(wanted) - set(there)
    assert set(found) == (set(there) - set(wanted) if wanted else set())
