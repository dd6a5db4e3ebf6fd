# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs of a whole fleet: refused before any machine is touched, and never different for two machines."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_input import fleet_problems

ROLES = ["kms_rogues", "kms_steer"]
Data = dict[str, t.Any]


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
            "kms_dns_tsig_secret": "c2",
        },
        {"kms_dns_via": "windows_dns", "kms_dns_server": "dns1"},
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
        ({"kms_dns_via": "rfc2136"}, "kms_dns_server"),
        ({"kms_dns_via": "windows_dns", "kms_dns_server": "nobody"}, "inventory"),
        ({"kms_dns_tsig_name": "k"}, "belong together"),
    ],
)
def test_what_does_not_is_refused_by_name(bad: Data, word: str) -> None:
    (problem,) = problems(bad)
    assert word in problem


def test_two_machines_are_never_told_different_things() -> None:
    approved = ["kms*.corp.example.com"]
    (problem,) = problems({}, kms1={"kms_approved_hosts": approved})
    assert "kms_approved_hosts" in problem and "kms1" in problem
    assert problems({"kms_approved_hosts": approved}, kms1={"kms_approved_hosts": approved}) == []


def test_a_secret_is_not_repeated() -> None:
    assert "SECRET" not in str(problems({"kms_dns_tsig_secret": {"x": "SECRET"}}))
