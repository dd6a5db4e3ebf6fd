# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done to a record set, told from plain objects, and the update that says so to a server."""

from __future__ import annotations

import dns.name
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import Edit, Wish, plan, update_message
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import RecordSet

DOMAIN = "corp.example.com"


def value(text: str, ttl: int | None = 600) -> SrvRecord:
    """``priority weight port target``; the target without its domain."""
    priority, weight, port, target = text.split()
    return SrvRecord(DOMAIN, f"{target}.{DOMAIN}", int(port), int(priority), int(weight), ttl)


def present(text: str, ttl: int | None = None) -> Wish:
    return Wish(value(text, ttl), ttl=ttl)


def absent(text: str) -> Wish:
    return Wish(value(text), present=False)


OTHER = value("20 100 1688 kms2")


@pytest.mark.parametrize(
    ("found", "wish", "after"),
    [
        ([], present("10 100 1688 kms1"), ["10 100 1688 kms1"]),
        (["0 0 1688 kms1"], present("10 100 1688 kms1"), ["10 100 1688 kms1"]),
        (["0 0 1688 kms1", "10 100 1688 kms1"], present("10 100 1688 kms1"), ["10 100 1688 kms1"]),
        (["0 0 1688 kms1", "5 5 1688 kms1"], present("10 100 1688 kms1"), ["10 100 1688 kms1"]),
        (["0 0 1689 kms1"], present("10 100 1688 kms1"), ["0 0 1689 kms1", "10 100 1688 kms1"]),
        (["0 0 1688 kms1", "5 5 1688 kms1", "5 5 1689 kms1"], absent("7 7 1688 kms1"), ["5 5 1689 kms1"]),
        (["20 100 1688 kms2"], present("10 100 1688 kms1"), ["10 100 1688 kms1", "20 100 1688 kms2"]),
    ],
)
def test_a_value_is_there_once_or_not_at_all_and_others_stay(found: list[str], wish: Wish, after: list[str]) -> None:
    records = [value(text) for text in found]
    edit = plan(records, wish)
    assert edit is not None
    assert sorted(edit.result(records), key=str) == sorted((value(text) for text in after), key=str)


@pytest.mark.parametrize(
    ("found", "wish"),
    [
        (["10 100 1688 kms1"], present("10 100 1688 kms1")),
        (["10 100 1688 kms1"], present("10 100 1688 kms1", ttl=600)),
        (["10 100 1688 kms1"], absent("10 100 1689 kms1")),
        ([], absent("10 100 1688 kms1")),
    ],
)
def test_nothing_to_do_is_no_edit(found: list[str], wish: Wish) -> None:
    assert plan([value(text) for text in found], wish) is None


@pytest.mark.parametrize(
    ("found", "wish", "ttl"),
    [
        ([], present("10 100 1688 kms1"), 3600),
        ([value("20 0 1688 kms2", 120)], present("10 100 1688 kms1"), 120),
        ([value("20 0 1688 kms2", 120), value("0 0 1688 kms1", 900)], present("10 100 1688 kms1"), 900),
        ([value("0 0 1688 kms1", 900)], present("10 100 1688 kms1", ttl=60), 60),
        ([value("10 100 1688 kms1", 900)], present("10 100 1688 kms1", ttl=60), 60),
        ([value("10 100 1688 kms1", 900)], present("10 100 1688 kms1", ttl=0), 0),
    ],
)
def test_a_value_keeps_its_ttl_joins_the_others_or_gets_the_wished_one(
    found: list[SrvRecord], wish: Wish, ttl: int
) -> None:
    edit = plan(found, wish)
    assert edit is not None and edit.add is not None
    assert edit.add.ttl == ttl


records = st.builds(
    SrvRecord,
    st.just(DOMAIN),
    st.sampled_from([f"kms{number}.{DOMAIN}" for number in range(3)]),
    st.sampled_from([1688, 1689]),
    st.integers(0, 2),
    st.integers(0, 1),
    st.just(600),
)


@given(st.sets(records), records, st.booleans(), st.sampled_from([None, 600, 60]))
def test_a_plan_fulfils_the_wish_in_one_step_and_touches_nothing_else(
    found: set[SrvRecord], wished: SrvRecord, is_present: bool, ttl: int | None
) -> None:
    wish = Wish(wished, is_present, ttl if is_present else None)
    edit = plan(found, wish)
    after = edit.result(found) if edit else tuple(found)
    assert plan(after, wish) is None
    assert [record for record in after if wish.concerns(record)] == ([wished] if is_present else [])
    assert {record for record in after if not wish.concerns(record)} == {
        record for record in found if not wish.concerns(record)
    }


def test_an_update_holds_only_for_the_whole_set_that_was_read() -> None:
    old = value("0 0 1688 kms1")
    found = RecordSet(DOMAIN, (old, OTHER))
    message = update_message(dns.name.from_text(DOMAIN), found, Edit((old,), value("10 100 1688 kms1", 60)))
    required = {(rdata.to_text(), rrset.rdclass, rrset.deleting) for rrset in message.prerequisite for rdata in rrset}
    assert required == {
        (f"0 0 1688 kms1.{DOMAIN}.", dns.rdataclass.IN, None),
        (f"20 100 1688 kms2.{DOMAIN}.", dns.rdataclass.IN, None),
    }
    done = {(rdata.to_text(), rrset.deleting, rrset.ttl) for rrset in message.update for rdata in rrset}
    assert done == {
        (f"0 0 1688 kms1.{DOMAIN}.", dns.rdataclass.NONE, 0),
        (f"10 100 1688 kms1.{DOMAIN}.", None, 60),
    }


def test_a_first_value_holds_only_while_there_is_none() -> None:
    message = update_message(dns.name.from_text(DOMAIN), RecordSet(DOMAIN), Edit(add=value("0 0 1688 kms1")))
    (required,) = message.prerequisite
    assert (required.rdtype, required.rdclass) == (dns.rdatatype.SRV, dns.rdataclass.NONE)
