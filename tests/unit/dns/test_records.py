# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names, order and shares of SRV records."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import (
    SrvRecord,
    domain_of_term,
    normalise_name,
    shares,
)

uint16 = st.integers(0, 65535)
record_values = st.builds(
    SrvRecord,
    domain=st.sampled_from(["a.example.com", "b.example.com"]),
    target=st.sampled_from(["kms1.example.com", "kms2.example.com", "kms3.example.com"]),
    port=st.sampled_from([1688, 1689]),
    priority=st.integers(0, 3),
    weight=st.one_of(st.just(0), uint16),
    ttl=st.one_of(st.none(), st.integers(0, 86400)),
)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Corp.Example.COM.", "corp.example.com"),
        (" kms1 ", "kms1"),
        (".", "."),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("_VLMCS._TCP.corp", "_vlmcs._tcp.corp"),
        ("münchen。example", "xn--mnchen-3ya.example"),
        ("A\\..\\032b.", "a\\..\\032b"),
        ("\\200" * 63 + ".corp", "\\200" * 63 + ".corp"),
    ],
)
def test_normal_names(name: str, normal: str) -> None:
    assert normalise_name(name) == normal
    assert normalise_name(normal) == normal


@pytest.mark.parametrize(
    "name", ["", "  ", "..", "a..b", ".a", "a b", "a\tb", "x" * 64, "\\200" * 64, ".".join(["x" * 63] * 5)]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="no DNS name"):
        normalise_name(name)


def test_terms() -> None:
    assert domain_of_term("_vlmcs._tcp.Corp.example.com.") == "corp.example.com"
    assert domain_of_term("corp.example.com") == "corp.example.com"
    assert domain_of_term("_ldap._tcp.corp", service="_ldap._tcp") == "corp"
    with pytest.raises(ValueError, match="no domain"):
        domain_of_term(".")


@pytest.mark.parametrize("field", ["port", "priority", "weight"])
@pytest.mark.parametrize("value", [-1, 65536, "x", None, True, 1.5])
def test_numbers_out_of_range(field: str, value: object) -> None:
    values = {"domain": "a", "target": "b", "port": 1688, "priority": 0, "weight": 0, field: value}
    with pytest.raises(ValueError, match=f"{field} of an SRV record"):
        SrvRecord.from_mapping(values)


def test_mapping_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="needs port, weight"):
        SrvRecord.from_mapping({"domain": "a", "target": "b", "priority": 1})


@given(record_values)
def test_mapping_there_and_back(record: SrvRecord) -> None:
    again = SrvRecord.from_mapping(record.as_dict())
    assert again == record
    assert again.ttl == record.ttl


def test_ttl_is_no_part_of_identity() -> None:
    assert SrvRecord("a", "b", 1, 2, 3, ttl=60) == SrvRecord("A.", "B.", 1, 2, 3)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([(10, 100), (20, 100)], [1, 0]),
        ([(0, 50), (0, 50)], [0.5, 0.5]),
        ([(0, 100), (0, 300)], [0.25, 0.75]),
        ([(0, 0), (0, 0), (0, 0), (0, 0)], [0.25] * 4),
        ([(0, 0), (0, 7)], [0, 1]),
        ([(0, 0), (10, 100)], [1, 0]),
        ([], []),
    ],
)
def test_shares(ranks: list[tuple[int, int]], expected: list[float]) -> None:
    records = [SrvRecord("a", f"kms{n}", 1688, *rank) for n, rank in enumerate(ranks)]
    assert list(shares(records)) == expected


@given(st.lists(record_values, max_size=12))
def test_shares_sum_to_one_in_each_domain(records: list[SrvRecord]) -> None:
    found = shares(records)
    for domain in {record.domain for record in records}:
        own = [(record, share) for record, share in zip(records, found, strict=True) if record.domain == domain]
        assert sum(share for _record, share in own) == pytest.approx(1)
        lowest = min(record.priority for record, _share in own)
        assert all(share == 0 for record, share in own if record.priority > lowest)


@given(st.lists(st.integers(1, 65535), min_size=1, max_size=6), st.integers(1, 9))
def test_weights_are_relative(weights: list[int], factor: int) -> None:
    base = shares([SrvRecord("a", "b", 1688, 0, min(weight, 65535 // factor)) for weight in weights])
    scaled = shares([SrvRecord("a", "b", 1688, 0, min(weight, 65535 // factor) * factor) for weight in weights])
    assert [Fraction(share).limit_denominator(10**9) for share in base] == pytest.approx(
        [Fraction(share).limit_denominator(10**9) for share in scaled]
    )


@given(st.lists(record_values, max_size=10), st.randoms())
def test_order_does_not_depend_on_arrival(records: list[SrvRecord], random: Random) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    order = sorted(records, key=lambda record: record.sort_key)
    assert sorted(shuffled, key=lambda record: record.sort_key) == order
    for before, after in zip(order, order[1:], strict=False):
        assert before.domain <= after.domain
        if before.domain == after.domain:
            assert before.priority <= after.priority
            if before.priority == after.priority:
                assert before.weight >= after.weight
