# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role kms_steer on what users write and what DNS answers."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from unit.fleet.test_steering import AS_DECLARED, BOTH, BRANCH, CORP, KMS1, PRIMARY, SECONDARY, reading, rogue

from ansible_collections.fleetops.kms.plugins.filter import rogues
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered

Data = dict[str, t.Any]
DECLARED = [PRIMARY.as_dict(), SECONDARY.as_dict()]
HOSTVARS = {name: {"_kms_verify_read": {"kms": dict(reading(name).kms)}} for name in ("kms1", "kms2")}
ADDRESSES = {"addresses": ["192.0.2.1"]}


def answers(*records: t.Any, **more: t.Any) -> list[Data]:
    return [{**record.as_dict(), **ADDRESSES, **more} for record in records]


def plan(records: list[Data], **more: t.Any) -> Data:
    return t.cast(Data, rogues.steer_plan(HOSTVARS, DECLARED, records, **more))


def steered(planned: Data) -> dict[str, str | None]:
    return {item["domain"]: item["steered_to"] for item in planned["domains"]}


NS1, NS2 = {"nameserver": "192.0.2.53"}, {"nameserver": "198.51.100.53"}
LED = [rogue(CORP, 0, 65535, KMS1), *(record for record in AS_DECLARED if record.target != KMS1)]


def silent(domain: str, server: Data) -> Data:
    return Unanswered(domain, server["nameserver"], "timeout", f"{server['nameserver']} did not answer").as_dict()


def test_a_reason_that_one_of_the_servers_shows_is_enough_to_steer() -> None:
    found = plan([*answers(*AS_DECLARED, **NS1), *answers(*AS_DECLARED, rogue(), **NS2)])
    assert steered(found) == {CORP: KMS1}
    half = plan([*answers(*AS_DECLARED, rogue(), **NS1), silent(CORP, NS2), silent(BRANCH, NS2)])
    assert (steered(half), half["unread"], half["stop"]) == ({CORP: KMS1}, [], [])
    torn = plan([*answers(*AS_DECLARED, rogue(), **NS1), silent(CORP, NS1)])  # a malformed answer
    assert (steered(torn), len(torn["unread"])) == ({CORP: KMS1}, 1)


def test_that_no_reason_is_left_is_told_by_all_of_the_servers() -> None:
    state = {"state": "unsteered"}
    assert steered(plan([*answers(*LED, **NS1), *answers(*LED, **NS2)], **state)) == {CORP: None}
    late = plan([*answers(*LED, **NS1), *answers(*LED, rogue(), **NS2)], **state)
    assert (steered(late), late["unread"]) == ({CORP: KMS1}, [])
    unknown = plan([*answers(*LED, **NS1), silent(CORP, NS2), silent(BRANCH, NS2)], **state)
    assert steered(unknown) == {CORP: KMS1}
    # What is not steered is as declared, whatever the second server would have said.
    (line,) = unknown["unread"]
    assert CORP in line and NS2["nameserver"] in line


def test_a_deployment_ends_what_is_steered_only_if_every_server_shows_no_reason() -> None:
    def kept(*records: Data) -> list[int]:
        own = [f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]
        return [entry["priority"] for entry in rogues.keep_steered(DECLARED[0], own, list(records), DECLARED)]

    assert kept(*answers(*LED, **NS1), *answers(*LED, **NS2)) == [10, 10]
    assert kept(*answers(*LED, **NS1), *answers(*LED, rogue(), **NS2)) == [0, 10]
    assert kept(*answers(*LED, rogue(), **NS1), silent(CORP, NS2)) == [0, 10]
    with pytest.raises(AnsibleFilterError, match=r"198\.51\.100\.53"):
        kept(*answers(*LED, **NS1), silent(CORP, NS2))


@pytest.mark.parametrize("written", [CORP, CORP.upper(), f"{CORP}.", f"_vlmcs._tcp.{CORP}", f"_VLMCS._tcp.{CORP}."])
def test_a_domain_is_the_same_in_every_spelling(written: str) -> None:
    rogue_there = answers(*AS_DECLARED, rogue(), rogue(BRANCH))
    assert steered(plan(rogue_there, domains=[written])) == {CORP: KMS1}
    kept = [record for record in AS_DECLARED if record.target != KMS1]
    by_dns = answers(*kept, *(rogue(domain, 0, 65535, KMS1) for domain in BOTH))
    assert steered(plan(by_dns, domains=[written], state="unsteered")) == {CORP: None}
    assert rogues.rogue_domains(HOSTVARS, DECLARED, [], [written]) == [CORP]
