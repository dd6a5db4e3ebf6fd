# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs of a whole fleet: refused before any machine is touched, and never different for two machines."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.filter.fleet import input_check
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_input import (
    fleet_notes,
    fleet_problems,
    publish_problems,
)

ROLES = ["kms_rogues", "kms_steer", "kms_convert"]
Data = dict[str, t.Any]
SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"

#: Ways to write records that fail at the first one, and what is said of them.
UNFIT: list[tuple[Data, str]] = [
    ({"kms_dns_server": None}, "needs kms_dns_server"),
    ({"kms_dns_server": "not a name!!"}, "kms_dns_server: "),
    ({"kms_dns_tsig_name": "k"}, "belong together"),
    ({"kms_dns_tsig_name": "k", "kms_dns_tsig_secret": "%%%SECRET"}, "is not base64"),
    ({"kms_dns_tsig_name": "k..k", "kms_dns_tsig_secret": SECRET}, "kms_dns_tsig_name, kms_dns_tsig_secret: "),
    (
        {"kms_dns_tsig_name": "k", "kms_dns_tsig_secret": SECRET, "kms_dns_gss_tsig": "yes"},
        "kms_dns_tsig_name and kms_dns_gss_tsig",
    ),
    ({"kms_dns_gss_tsig": True}, "kms_dns_server: give its host name"),
    ({"kms_dns_gss_principal": "kms@EXAMPLE.COM"}, "kms_dns_server: give its host name"),
]


def problems(own: Data, **hosts: Data) -> list[str]:
    return fleet_problems({"pc1": own, "dns1": {}, **hosts}, "pc1", list(hosts), ROLES)


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"kms_approved_hosts": ["kms*.corp.example.com"], "kms_domains": ["corp.example.com"]},
        {"kms_dns_via": "none", "kms_dns_server": None},
        {
            "kms_dns_via": "rfc2136",
            "kms_dns_server": "192.0.2.1:53",
            "kms_dns_tsig_name": "k",
            "kms_dns_tsig_secret": SECRET,
        },
        {"kms_dns_via": "windows_dns", "kms_dns_server": "dns1"},
        # Left over from dynamic updates: the roles hand it on to these alone.
        {"kms_dns_via": "windows_dns", "kms_dns_server": "dns1", "kms_dns_gss_tsig": True},
        {"kms_convert_nameservers": ["192.0.2.1:5353", "[2001:db8::1]:53", "ns1.example.net"]},
    ],
)
def test_what_fits_is_taken(good: Data) -> None:
    assert problems(good, kms1=good) == []


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"kms_approved_hosts": ["*"]}, "any machine"),
        ({"kms_approved_hosts": ["kms1"]}, "fully qualified"),
        ({"kms_domains": ["two words"]}, "kms_domains"),
        ({"kms_steer_state": "sideways"}, "kms_steer_state"),
        ({"kms_steer_retries": 10_001}, "out of range"),
        ({"kms_dns_via": "magic"}, "kms_dns_via"),
        ({"kms_dns_timeout": "soon"}, "kms_dns_timeout is to be a number"),
        ({"kms_dns_tcp_timeout": 0}, "0.1 to 600"),
        ({"kms_rogues_clients_served": "perhaps"}, "kms_rogues_clients_served"),
        ({"kms_convert_nameservers": ["::bad::"]}, "kms_convert_nameservers"),
        ({"kms_dns_via": "windows_dns", "kms_dns_server": "nobody"}, "inventory"),
        ({"kms_dns_tsig_name": "k"}, "belong together"),
    ],
)
def test_what_does_not_is_refused_by_name(bad: Data, word: str) -> None:
    (problem,) = problems(bad)
    assert word in problem


@pytest.mark.parametrize(("bad", "word"), UNFIT)
def test_who_cannot_write_the_records_is_refused(bad: Data, word: str) -> None:
    way = {"kms_dns_server": "192.0.2.1", **bad}
    (problem,) = problems({"kms_dns_via": "rfc2136", **way})
    (same,) = publish_problems({"kms1": {"kms_host_publish_via": "rfc2136", **way}}, ["kms1"])
    assert word in problem
    assert problem.replace("kms_dns_via", "kms_host_publish_via") == same
    assert SECRET not in problem and "%%%" not in problem


def test_it_is_refused_wherever_hosts_are_checked() -> None:
    hosts = {"kms1": {}, "kms2": {"kms_host_publish_via": "rfc2136", "kms_dns_server": "192.0.2.1"}}
    hosts = {name: {**own, "kms_host_fqdn": f"{name}.corp.example.com"} for name, own in hosts.items()}
    (problem,) = input_check(hosts, ["kms1", "kms2"], [])["problems"]
    assert "kms_host_publish_via is not the same" in problem
    assert input_check(hosts, ["kms2"], [])["problems"] == []


def test_a_host_is_published_through_a_server_of_the_inventory() -> None:
    way = {"kms_host_publish_via": "windows_dns", "kms_dns_server": "dns1"}
    assert publish_problems({"kms1": way, "dns1": {}}, ["kms1"]) == []
    (problem,) = publish_problems({"kms1": way}, ["kms1"])
    assert "dns1 is to be the inventory name" in problem


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ({}, {"kms_host_publish_via": "rfc2136"}, "kms_host_publish_via"),
        ({"kms_host_publish_via": "rfc2136"}, {"kms_host_publish_via": ""}, "kms_host_publish_via"),
        (
            {"kms_host_publish_via": "rfc2136"},
            {"kms_host_publish_via": "rfc2136", "kms_dns_server": "192.0.2.2"},
            "kms_dns_server",
        ),
        ({}, {"kms_host_publish_via": "host", "kms_dns_server": "192.0.2.2"}, ""),
        ({"kms_host_publish_via": None}, {"kms_host_publish_via": "host"}, ""),
        ({"kms_host_publish_via": "rfc2136"}, {"kms_host_publish_via": "rfc2136", "kms_dns_gss_tsig": False}, ""),
    ],
)
def test_who_publishes_the_hosts_is_one_choice_for_all_of_them(first: Data, second: Data, word: str) -> None:
    server = {"kms_dns_server": "192.0.2.1"}
    found = publish_problems({"kms1": {**server, **first}, "kms2": {**server, **second}}, ["kms1", "kms2"])
    assert [word in text and "kms2 and kms1" in text for text in found] == [True] * bool(word)


def test_two_machines_are_never_told_different_things() -> None:
    approved = ["kms*.corp.example.com"]
    (problem,) = problems({}, kms1={"kms_approved_hosts": approved})
    assert "kms_approved_hosts" in problem and "kms1" in problem
    assert problems({"kms_approved_hosts": approved}, kms1={"kms_approved_hosts": approved}) == []


def test_a_secret_is_not_repeated() -> None:
    assert "SECRET" not in str(problems({"kms_dns_tsig_secret": {"x": "SECRET"}}))


def test_a_mistyped_name_is_told_once_and_one_of_another_role_is_none() -> None:
    """Ansible passes over a variable that nobody knows: records would be left in DNS without a word."""
    own = {
        "kms_dns_vai": "rfc2136",
        "kms_convert_batchs": [1],
        "kms_host_domains": [],
        "kms_srv_domains": [],
        "other": 1,
    }
    notes = sorted(fleet_notes(own, ROLES))
    assert [note.partition(" ")[0] for note in notes] == ["kms_convert_batchs", "kms_dns_vai"]
    assert "kms_dns_via" in notes[1]
