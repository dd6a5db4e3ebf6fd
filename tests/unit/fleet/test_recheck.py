# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An earlier report: how old it may be, and what DNS and the machines have to say to it today."""

from __future__ import annotations

import typing as t

import pytest
from unit.fleet.test_conversion_plan import EVERYBODY, NAMES, RECORDS, SERVER
from unit.fleet.test_rogues import BRANCH, CORP, KMS1, PRIMARY, WEB7, fleet, key, machine, value

from ansible_collections.fleetops.kms.plugins.filter.conversion import (
    CONVERTED,
    convert_plan,
    convert_problems,
    convert_tally,
    convert_values,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_filter import READ
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.conversion import plan
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.recheck import questions, recheck
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import survey

Data = dict[str, t.Any]
NOON = "2026-11-21T12:00:00Z"
REPORT: Data = {**survey(fleet(*EVERYBODY, records=RECORDS)), "generated": NOON}
LEFT = f"left.{CORP}"


def again(
    records: t.Sequence[SrvRecord] = (*PRIMARY.wanted, *RECORDS),
    *readings: Reading,
    addresses: dict[str, list[str]] | None = None,
    unanswered: t.Sequence[Unanswered] = (),
) -> Data:
    return recheck(REPORT, records, addresses or {}, unanswered, {one.name: one for one in readings}, [PRIMARY])


# ---- its age


@pytest.mark.parametrize(
    ("now", "word"),
    [
        (NOON, ""),
        ("2026-11-22T12:00:00Z", ""),
        ("2026-11-22T12:00:01Z", "kms_convert_report_max_age"),
        ("2026-12-21T12:00:00Z", "720 hours ago"),
        ("2026-11-21T11:55:00Z", ""),  # clocks differ a little
        ("2026-11-21T10:00:00Z", "clocks"),
    ],
)
def test_a_report_is_refused_when_it_is_too_old(now: str, word: str) -> None:
    problems = convert_problems(REPORT, [1], now=now)
    assert (word in problems[0]) if word else problems == []


@pytest.mark.parametrize("made", [None, "", "yesterday", 1763726400])
def test_a_report_that_does_not_tell_its_age_is_refused(made: object) -> None:
    (problem,) = convert_problems({**REPORT, "generated": made}, [1], now=NOON)
    assert "does not say when it was made" in problem


def test_how_old_a_report_may_be_is_for_the_user_to_say() -> None:
    late = "2026-11-24T12:00:00Z"
    assert convert_problems(REPORT, [1], now=late)
    assert convert_problems(REPORT, [1], now=late, max_age_hours=72) == []


# ---- what has become of the approved hosts


def test_all_that_a_report_knows_of_is_asked_again() -> None:
    asked = questions(REPORT)
    assert asked == {"domains": [BRANCH, CORP], "targets": [KMS1]}  # one only by a publish list, of a machine half done


def test_a_fleet_that_is_as_it_was_is_treated_as_it_would_have_been() -> None:
    before, now = plan(REPORT, NAMES), plan(again((*PRIMARY.wanted, *RECORDS), SERVER), NAMES)
    assert now["orders"].keys() == before["orders"].keys()
    assert (now["stop"], now["notes"]) == ([], [])


@pytest.mark.parametrize(
    ("records", "reading", "addresses", "word"),
    [
        (RECORDS, SERVER, {}, "DNS shows it no more"),
        ([*PRIMARY.wanted, *RECORDS], SERVER, {KMS1: []}, "no address"),
        ([*PRIMARY.wanted, *RECORDS], Reading("kms1", problem="refused"), {}, "could not be read: refused"),
        ([*PRIMARY.wanted, *RECORDS], machine("kms1", KMS1, key(license_status=5)), {}, "no activated KMS host key"),
        ([*PRIMARY.wanted, *RECORDS], machine("kms1", KMS1), {}, "no activated KMS host key"),
        ([*PRIMARY.wanted, *RECORDS], machine("kms1", f"new.{CORP}", key()), {}, f"says it is new.{CORP}"),
    ],
    ids=["unpublished", "no address", "dead", "not activated", "no key", "another machine"],
)
def test_no_machine_is_converted_when_the_approved_host_is_gone_since(
    records: list[SrvRecord], reading: Reading, addresses: dict[str, list[str]], word: str
) -> None:
    assert plan(REPORT, ["web"])["stop"] == []
    stop = plan(again(records, reading, addresses=addresses), ["web"])["stop"]
    assert "no approved KMS host" in stop[0]
    assert word in " ".join(stop)


def test_an_approved_host_that_dns_does_not_tell_of_any_more_is_not_counted_on() -> None:
    silent = [Unanswered(CORP, "192.0.2.1", "timeout", "no answer")]
    made = plan(again([], SERVER, unanswered=silent), NAMES)
    assert "no approved KMS host" in made["stop"][0]
    assert "no answer" in made["unanswered"][0]
    told = " ".join(made["stop"])
    assert f"DNS does not tell ({CORP})" in told and "no more" not in told


def test_an_approved_host_outside_of_a_slice_is_warned_of() -> None:
    made = plan(again(), ["web"])
    assert made["stop"] == []
    (note,) = made["notes"]
    assert KMS1 in note and NOON in note


def test_nobody_is_activated_against_a_host_that_has_lost_its_count() -> None:
    young = machine("kms1", KMS1, key(current_count=3))
    assert plan(REPORT, ["web"])["orders"]["web"]["against"]
    assert plan(again((*PRIMARY.wanted, *RECORDS), young), ["web"])["orders"]["web"]["against"] == ""


# ---- what has become of DNS


def test_what_dns_says_now_is_removed() -> None:
    moved = [*PRIMARY.wanted, value(WEB7, BRANCH), value("late.lab.example.org", BRANCH)]
    made = plan(again(moved, SERVER), NAMES)
    assert made["orders"]["web"]["domains"] == [BRANCH, CORP]  # its own domain is what it publishes in by itself
    assert made["orders"]["left"]["domains"] == []
    (note,) = made["notes"]
    assert "1 hosts that the report does not know" in note and "late.lab.example.org" in note


def test_values_in_a_domain_that_does_not_answer_are_still_to_be_removed() -> None:
    silent = [Unanswered(CORP, "192.0.2.1", "timeout", "no answer")]
    made = plan(again([value(KMS1, BRANCH, 10)], SERVER, unanswered=silent), NAMES)
    assert made["orders"]["left"]["domains"] == [CORP]


# ---- machines of which only values are to be removed


def tally(seen: object) -> tuple[Data, set[str]]:
    hostvars = {"left": {READ: seen, CONVERTED: {"skipped": True}}}
    made = convert_plan(again((*PRIMARY.wanted, *RECORDS), SERVER), NAMES, [1], declared=[PRIMARY.as_dict()])
    assert made["short"]["look"] == ["left", "mak"]
    values = {one["target"] for one in convert_values(made["json"], hostvars, ["left"])}
    return convert_tally({}, made["json"], hostvars, ["left"], [], 0.0, 100), values


def test_the_values_of_a_machine_go_by_an_earlier_report_if_it_still_is_no_host() -> None:
    told, values = tally({"kms": machine("left", LEFT).kms})
    assert values == {LEFT}


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({"kms": machine("left", LEFT, key()).kms}, "host key again"),
        ({"kms": machine("left", f"other.{CORP}").kms}, f"other.{CORP}"),
        ({"unreachable": True, "msg": "no route"}, "no route"),
        (None, "could not be looked at"),
    ],
    ids=["a host again", "another machine", "dead", "not looked at"],
)
def test_the_values_of_a_machine_stay_when_an_earlier_report_is_wrong_about_it(seen: object, word: str) -> None:
    told, values = tally(seen)
    assert values == set()
    assert word in " ".join(told["lines"])


def test_in_the_run_that_has_read_them_machines_are_not_looked_at_again() -> None:
    assert convert_plan(REPORT, NAMES, [1], declared=[PRIMARY.as_dict()])["short"]["look"] == []
