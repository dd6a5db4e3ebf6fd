# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of a host declare."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import DeclaredHost, declare, host_fqdn

CORP = "corp.example.com"
KMS1 = f"kms1.{CORP}"


def published(host: DeclaredHost) -> dict[str, tuple[int, int]]:
    return {record.domain: (record.priority, record.weight) for record in host.wanted}


@pytest.mark.parametrize(("rank", "priority"), [("primary", 10), ("secondary", 20), ("tertiary", 30), (None, 10)])
def test_the_rank_stands_for_a_priority(rank: str | None, priority: int) -> None:
    host = declare("kms1", {"kms_host_rank": rank, "kms_host_domains": ["branch.example.net"]}, KMS1)
    assert published(host) == {"branch.example.net": (priority, 100), CORP: (priority, 100)}


def test_priority_and_weight_have_precedence_over_the_rank() -> None:
    variables = {"kms_host_rank": "secondary", "kms_host_srv_priority": 0, "kms_host_srv_weight": 0}
    assert published(declare("kms1", variables, KMS1)) == {CORP: (0, 0)}


def test_the_home_domain_is_not_named_twice() -> None:
    assert published(declare("kms1", {"kms_host_domains": ["CORP.example.com."]}, KMS1)) == {CORP: (10, 100)}


def test_a_list_given_as_a_whole_stands_as_it_is() -> None:
    variables = {
        "kms_host_publish": [{"domain": "a.example.com", "priority": 5, "weight": 1}],
        "kms_host_domains": ["b.example.com"],
    }
    assert published(declare("kms1", variables, KMS1)) == {"a.example.com": (5, 1)}


@pytest.mark.parametrize("text", ["a.example.com, 5, 1", "A.example.com.,5,1"])
def test_a_list_may_be_text_as_it_is_shown(text: str) -> None:
    for given in (text, [text]):
        assert published(declare("kms1", {"kms_host_publish": given}, KMS1)) == {"a.example.com": (5, 1)}


def test_without_a_list_windows_publishes_in_the_home_domain_with_zeros() -> None:
    host = declare("kms1", {"kms_host_publish": []}, KMS1)
    assert host.publish == ()
    assert published(host) == {CORP: (0, 0)}


def test_what_is_empty_is_not_given() -> None:
    variables = dict.fromkeys(("kms_host_publish", "kms_host_srv_priority", "kms_host_listening_port"), "")
    host = declare("kms1", {**variables, "kms_host_domains": [CORP]}, KMS1)
    assert published(host) == {CORP: (10, 100)}
    assert host.port == 1688


@pytest.mark.parametrize(
    ("given", "machine", "port"), [(None, None, 1688), (None, 1689, 1689), (1690, 1689, 1690), ("", 1689, 1689)]
)
def test_a_port_that_is_not_given_stays_as_the_machine_has_it(given: t.Any, machine: int | None, port: int) -> None:
    host = declare("kms1", {"kms_host_listening_port": given}, KMS1, machine)
    assert [record.port for record in host.wanted] == [port]


@pytest.mark.parametrize(
    "variables",
    [
        {"kms_host_rank": "first"},
        {"kms_host_domains": [CORP, "Corp.example.com"]},
        {"kms_host_domains": ["not a domain"]},
        {"kms_host_srv_priority": 65536, "kms_host_domains": [CORP]},
        {"kms_host_srv_weight": -1, "kms_host_domains": [CORP]},
        {"kms_host_fqdn": "kms1"},
        {"kms_host_fqdn": "192.0.2.1"},
    ],
)
def test_what_cannot_be_is_refused(variables: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        declare("kms1", variables)


@pytest.mark.parametrize(
    ("name", "given", "machine", "expected"),
    [
        ("kms1", "KMS9.corp.example.com.", KMS1, f"kms9.{CORP}"),
        ("other.example.com", None, KMS1, KMS1),
        (KMS1, None, None, KMS1),
        ("192.0.2.7", None, None, ""),
        ("kms1", None, "", ""),
        (KMS1, None, "kms1", ""),
        (KMS1, None, "", ""),
        ("192.0.2.7", None, KMS1, KMS1),
    ],
)
def test_the_name_in_dns(name: str, given: str | None, machine: str | None, expected: str) -> None:
    assert host_fqdn(name, given, machine) == expected


def test_a_host_without_a_name_wants_nothing() -> None:
    assert declare("kms1", {"kms_host_domains": [CORP]}).wanted == ()


def test_a_declaration_survives_the_way_through_a_fact() -> None:
    host = declare("kms1", {"kms_host_domains": [CORP], "kms_host_nameservers": ["192.0.2.53:5353"]}, KMS1)
    assert DeclaredHost.from_dict(json.loads(json.dumps(host.as_dict()))) == host
