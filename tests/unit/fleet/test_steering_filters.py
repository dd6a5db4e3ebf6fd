# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role kms_steer on what users write and what DNS answers."""

from __future__ import annotations

import typing as t

import pytest
from unit.fleet.test_steering import AS_DECLARED, BOTH, BRANCH, CORP, KMS1, PRIMARY, SECONDARY, reading, rogue

from ansible_collections.fleetops.kms.plugins.filter import rogues

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


@pytest.mark.parametrize("written", [CORP, CORP.upper(), f"{CORP}.", f"_vlmcs._tcp.{CORP}", f"_VLMCS._tcp.{CORP}."])
def test_a_domain_is_the_same_in_every_spelling(written: str) -> None:
    rogue_there = answers(*AS_DECLARED, rogue(), rogue(BRANCH))
    assert steered(plan(rogue_there, domains=[written])) == {CORP: KMS1}
    kept = [record for record in AS_DECLARED if record.target != KMS1]
    by_dns = answers(*kept, *(rogue(domain, 0, 65535, KMS1) for domain in BOTH))
    assert steered(plan(by_dns, domains=[written], state="unsteered")) == {CORP: None}
    assert rogues.rogue_domains(HOSTVARS, DECLARED, [], [written]) == [CORP]
