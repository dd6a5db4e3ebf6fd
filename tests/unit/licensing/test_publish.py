# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish lists: many spellings in, one out."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import (
    PublishEntry,
    PublishError,
    format_entry,
    normalise,
    parse_entry,
    parse_list,
    same_list,
)

NUMBERS = st.integers(min_value=0, max_value=65535)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("corp.example.com, 10, 100", PublishEntry("corp.example.com", 10, 100)),
        ("corp.example.com,10,100", PublishEntry("corp.example.com", 10, 100)),
        ("  Corp.Example.COM. , 0 ,100 ", PublishEntry("corp.example.com", 0, 100)),
        ("corp.example.com", PublishEntry("corp.example.com", 0, 0)),
        ("corp.example.com, 7", PublishEntry("corp.example.com", 7, 0)),
        ("corp.example.com, 0, 65535", PublishEntry("corp.example.com", 0, 65535)),
        ("corp_ad.example.com", PublishEntry("corp_ad.example.com")),
        ("bücher.example", PublishEntry("xn--bcher-kva.example")),
        ("a" * 63 + ".example", PublishEntry("a" * 63 + ".example")),
    ],
)
def test_parse(text: str, entry: PublishEntry) -> None:
    assert parse_entry(text) == entry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no domain"),
        (", 10, 100", "no domain"),
        (".", "no domain"),
        ("corp.example.com, 65536", "65536"),
        ("corp.example.com, -1", "-1"),
        ("corp.example.com, 10, x", "weight"),
        ("corp.example.com, ten", "priority"),
        ("corp.example.com, 1.5", "1.5"),
        ("corp.example.com, ١", "priority"),
        ("corp.example.com, , 100", "priority"),
        ("corp.example.com, 1, 2, 3", "more than"),
        ("corp example.com", "not a DNS name"),
        ("-corp.example.com", "not a DNS name"),
        ("corp-.example.com", "not a DNS name"),
        ("corp..example.com", "not a DNS name"),
        ("*.example.com", "not a DNS name"),
        ("a" * 64 + ".example", "63"),
        (".".join(["a" * 49] * 6), "253"),
    ],
)
def test_what_is_no_entry_is_refused_and_named(text: str, said: str) -> None:
    with pytest.raises(PublishError, match=said):
        parse_entry(text)


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{2,10}){0,3}", fullmatch=True), NUMBERS, NUMBERS)
def test_what_is_written_is_read_back(domain: str, priority: int, weight: int) -> None:
    entry = PublishEntry(domain, priority, weight)
    assert parse_entry(format_entry(entry)) == entry
    assert format_entry(entry) == f"{domain}, {priority}, {weight}"


@given(st.text(max_size=60))
def test_a_machines_list_never_fails(text: str) -> None:
    for entry in parse_list([text]):
        assert format_entry(entry)


def test_normalise_takes_every_form() -> None:
    wanted: list[t.Any] = [
        "B.example.com",
        {"domain": "a.example.com.", "priority": "10", "weight": 100},
        {"domain": "c.example.com", "priority": None, "weight": None},
        PublishEntry("D.example.com", 1, 2),
    ]
    assert [format_entry(entry) for entry in normalise(wanted)] == [
        "b.example.com, 0, 0",
        "a.example.com, 10, 100",
        "c.example.com, 0, 0",
        "d.example.com, 1, 2",
    ]
    assert normalise([]) == ()


@pytest.mark.parametrize(
    "entries",
    [
        ["corp.example.com, 10", "CORP.example.com., 20"],
        [{"domain": "corp.example.com"}, "corp.example.com"],
        [{"priority": 1}],
        [{"domain": "corp.example.com", "priority": True}],
        [{"domain": "corp.example.com", "priority": 65536}],
        [None],
        [7],
        [PublishEntry("corp example com, x", malformed=True)],
    ],
)
def test_a_list_that_cannot_be_is_refused(entries: list[t.Any]) -> None:
    with pytest.raises(PublishError):
        normalise(entries)


def test_a_repeated_domain_is_named() -> None:
    with pytest.raises(PublishError, match=r"corp\.example\.com"):
        normalise(["corp.example.com", "corp.example.com, 10"])


def test_order_has_no_meaning_but_numbers_and_repetition_have() -> None:
    ab = normalise(["a.example.com, 10, 100", "b.example.com, 10, 100"])
    assert same_list(ab, parse_list(["B.example.com,10,100", "a.example.com, 10 ,100", ""]))
    assert not same_list(ab, parse_list(["a.example.com, 10, 100"]))
    assert not same_list(ab, parse_list(["a.example.com, 10, 100", "b.example.com, 20, 100"]))
    assert not same_list(ab, [*ab, ab[0]])


def test_a_malformed_entry_of_a_machine_is_kept_and_equals_no_good_one() -> None:
    (entry,) = parse_list([" corp.example.com, high "])
    assert entry.malformed
    assert format_entry(entry) == "corp.example.com, high"
    assert not same_list([entry], normalise(["corp.example.com"]))
