# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains that DNS does not tell of: how a survey, a plan to steer and a plan to convert name them."""

from __future__ import annotations

import json

import pytest
from unit.fleet.test_rogues import BRANCH, CORP, KMS1, PRIMARY, REAL, WEB7, fleet, key, machine, value

from ansible_collections.fleetops.kms.plugins.filter import conversion, rogues
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import survey_table
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.dns_rules import judge_records
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import precheck, survey

SILENT = Unanswered(BRANCH, "192.0.2.1", "timeout", "192.0.2.1 did not answer in time (no answer by TCP in 10 s)")
DENIED = Unanswered(BRANCH, "192.0.2.1", "not_available", "192.0.2.1 says that it is not available")
WEB = machine("web", WEB7, key())


def test_a_survey_names_it_in_the_words_of_a_verification() -> None:
    report = survey(fleet(WEB, records=[value()], unanswered=[SILENT]))
    (found,) = report["unanswered"]
    assert found in [item.as_dict() for item in judge_records([], [PRIMARY], unanswered=[SILENT])]
    assert (found["kind"], found["subject"]) == ("dns_unanswered", BRANCH)
    lines = "\n".join(survey_table.lines(report))
    assert "192.0.2.1 did not answer in time" in lines
    assert f"What is published in {BRANCH} is not known" in lines


def test_a_conversion_planned_on_it_is_not_called_done() -> None:
    for unanswered, count in ((SILENT, 1), (DENIED, 0)):
        report = survey(fleet(unanswered=[unanswered]))
        plan = conversion.convert_plan(report, [], ["100%"], approved=[KMS1])
        done = conversion.convert_report(plan["json"], {}, {})
        assert len(done["open"]) == count
        assert json.loads(done["json"])["unanswered"] == done["open"]


def test_a_windows_dns_server_that_could_not_be_asked_is_told_and_nothing_is_called_done() -> None:
    read = {"kms": dict(REAL.kms)}
    attic = value(WEB7, "attic.example.org").as_dict()
    hostvars = {
        "kms1": {"_kms_verify_read": read},
        # A blank in a name, as Windows shows it, and a domain that nobody can ask for: they hide no other value.
        "dns1": {
            "_kms_rogues_zones": {"kms": {"srv_records": [{**attic, "target": "a b"}, {**attic, "domain": ""}, attic]}}
        },
        "dns2": {"_kms_rogues_zones": {"unreachable": True, "msg": "no route to host"}},
        "dns3": {},
    }
    declared, servers = [PRIMARY.as_dict()], ["dns1", "dns2", "dns3"]
    found = rogues.rogue_survey(hostvars, declared, ["kms1"], dns_servers=servers)
    report = json.loads(found["json"])
    assert [item["machine"] for item in report["unread_zones"]] == ["dns2", "dns3"]
    assert any("dns2  no route to host" in line for line in found["lines"])
    plan = conversion.convert_plan(report, [], ["100%"], approved=[KMS1])
    left = conversion.convert_report(plan["json"], {}, {})["open"]
    assert "no route to host" in left[0] and "dns3" in left[1]
    assert WEB7 in left[2]  # whom nobody knows
    # DNS is asked where such a server knows of values: whether their targets have addresses is seen there.
    assert rogues.rogue_domains(hostvars, declared, ["kms1"], dns_servers=servers) == ["attic.example.org", CORP]


@pytest.mark.parametrize("is_silent", [True, False])
def test_that_nobody_is_published_is_said_only_where_dns_has_answered(is_silent: bool) -> None:
    empty = fleet(WEB)
    silent = [Unanswered(record.domain, "192.0.2.1", "servfail", "SERVFAIL") for record in PRIMARY.wanted]
    unknown = type(empty)(empty.hosts, empty.approved, empty.readings, unanswered=silent if is_silent else [])
    found = precheck(unknown)
    assert found["ready"] == []
    assert ("SERVFAIL" in found["stop"][0], "deploy_hosts" in found["stop"][0]) == (is_silent, not is_silent)
    assert any("not known" in line for line in found["warn"]) == is_silent


def test_what_is_waited_for_tells_of_a_server_that_fell_silent() -> None:
    wanted = [record.as_dict() for record in PRIMARY.wanted if record.domain == CORP]
    plan = {"prove": wanted, "records": wanted}
    silent = Unanswered(CORP, "192.0.2.1", "servfail", "SERVFAIL").as_dict()
    (line,) = rogues.steer_waiting(plan, [silent])
    assert "SERVFAIL" in line
    assert rogues.steer_waiting(plan, wanted) == []


def test_only_an_older_value_beside_the_planned_one_is_replaced() -> None:
    (wanted,) = [record.as_dict() for record in PRIMARY.wanted if record.domain == CORP]
    plan = {"prove": [wanted], "records": [wanted]}
    older = {**wanted, "priority": 0, "weight": 65535}
    assert rogues.steer_leftovers(plan, [wanted]) == []
    # Nothing is created for a host that has not published itself.
    assert rogues.steer_leftovers(plan, [older]) == []
    (found,) = rogues.steer_leftovers(plan, [wanted, older])
    assert (found["priority"], found["weight"]) == (wanted["priority"], wanted["weight"])
    assert rogues.steer_waiting(plan, [wanted, older], older=False) == []
    assert len(rogues.steer_waiting(plan, [wanted, older])) == 1
