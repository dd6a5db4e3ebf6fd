# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks are told of a conversion: whom it leaves alone, what stops it, and what is left."""

from __future__ import annotations

import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from unit.fleet.test_conversion_plan import DONE, EVERYBODY, NAMES, OFFICE, RECORDS, SERVER, WEB
from unit.fleet.test_rogues import BRANCH, CORP, KMS1, PRIMARY, WEB7, fleet, machine

from ansible_collections.fleetops.kms.plugins.filter.conversion import (
    CONVERTED,
    convert_batch,
    convert_plan,
    convert_problems,
    convert_report,
    convert_tally,
    convert_values,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import survey

Data = dict[str, t.Any]

REPORT = survey(fleet(*EVERYBODY, records=RECORDS))
DECLARED = [PRIMARY.as_dict()]
OTHER = f"oldname.{CORP}"


def made(machines: t.Sequence[str] = NAMES, declared: t.Any = None, **more: t.Any) -> Data:
    declared = DECLARED if declared is None else declared
    return t.cast(Data, convert_plan(REPORT, machines, [1, "100%"], declared=declared, **more))


def test_an_earlier_report_is_no_reason_to_touch_who_is_declared_or_approved_now() -> None:
    web = declare("web", {}, None).as_dict()  # not read in this run, and its inventory name is no full name
    assert "web" in made()["hosts"]
    assert "web" not in made(declared=[*DECLARED, web])["hosts"]
    assert "web" not in made(approved=[WEB7])["hosts"]


def test_a_run_that_knows_of_nobody_approved_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="no KMS host is approved"):
        made(declared=[])


def test_an_approved_host_outside_of_the_run_stops_it() -> None:
    assert made()["stop"] == []
    assert "kms1" in made(outside=["kms1"])["stop"][0]


def test_a_port_that_the_controller_does_not_reach_is_told_and_stops_nothing() -> None:
    probe = {"name": "kms1", "address": "192.0.2.1", "port": 1688, "error": "timed out"}
    told = made(probes=[{**probe, "reachable": False}])
    assert (told["stop"], told["hosts"]) == ([], made()["hosts"])
    assert "kms1: TCP 1688 was not reached" in told["lines"][0]
    assert made(probes=[{**probe, "reachable": False}, {**probe, "reachable": True}])["lines"] == made()["lines"]


def tally(left: t.Sequence[Data], **more: t.Any) -> Data:
    result = DONE | {"published_as": [{"domain": BRANCH, "target": OTHER}]}
    done = convert_tally({}, made()["json"], {"web": {CONVERTED: result}}, ["web"], left, 0.0, 10, **more)
    return t.cast(Data, done)


def test_office_has_batches_and_a_first_machine_of_its_own() -> None:
    desks = [machine(f"desk{n}", f"desk{n}.{CORP}", OFFICE) for n in range(4)]
    report = survey(fleet(SERVER, WEB, *desks, records=RECORDS))
    planned = convert_plan(report, ["web", *(one.name for one in desks)], [1, "100%"], declared=DECLARED)
    assert planned["sizes"] == {"hosts": [1], "office": [1, 3]}
    good, bad = {CONVERTED: DONE}, {CONVERTED: {"msg": "no", "changes": []}}
    first = convert_tally({}, planned["json"], {"web": good}, ["web"], [], 0.0, 60)
    batch = convert_batch(planned["json"], first, "office")
    assert batch == ["desk0"]
    # One of two machines so far is less than 60 %, but the first one of Office has failed.
    failed = convert_tally(first, planned["json"], {"desk0": bad}, batch, [], 0.0, 60, kind="office")
    assert "1 of 1 machines failed" in failed["stop"]
    assert convert_batch(planned["json"], failed, "office") == ["desk1", "desk2", "desk3"]
    assert convert_batch(planned["json"], failed) == []


def test_the_sizes_of_batches_may_be_text() -> None:
    wanted = made()["sizes"]
    for text in ("1, 100%", "[1,100%]"):
        given = convert_plan(REPORT, NAMES, text, declared=DECLARED)
        assert (given["sizes"], convert_problems(None, text)) == (wanted, [])
    assert "kms_convert_batches: 'some'" in convert_problems(None, "some")[0]
    assert convert_problems(None, "")


def test_an_empty_report_is_refused_where_one_is_given() -> None:
    assert convert_problems("", [1], is_given=False) == []
    assert "no JSON" in convert_problems("", [1], is_given=True)[0]
    assert "no result of find_rogues" in convert_problems(True, [1], is_given=True)[0]


def test_a_list_is_not_cleared_while_any_name_of_its_machine_is_in_dns() -> None:
    assert tally([], via="rfc2136", cleanup={"domains_failed": []})["to_clear"] == ["web"]
    assert tally([{"domain": BRANCH, "target": OTHER}])["to_clear"] == []


@pytest.mark.parametrize("cleanup", [{"domains_failed": [CORP, BRANCH]}, {"msg": "no server"}, None])
def test_a_removal_that_fails_everywhere_stops_the_run(cleanup: Data | None) -> None:
    left = [{"domain": BRANCH, "target": OTHER}]
    assert "none of the domains" in tally(left, via="rfc2136", cleanup=cleanup)["stop"]
    assert tally(left, via="none")["stop"] == ""
    assert tally([], via="rfc2136", cleanup=cleanup, check_mode=True)["stop"] == ""


def test_an_approved_name_is_never_handed_on_for_removal() -> None:
    result = DONE | {"published_as": [{"domain": CORP, "target": KMS1}]}
    values = convert_values(made()["json"], {"web": {CONVERTED: result}}, ["web"])
    assert [value["target"] for value in values] == [WEB7]


def test_the_summary_tells_of_rogues_that_are_left() -> None:
    planned = made(["web"])
    summed = convert_report(planned["json"], tally([]), {"web": {}})
    told = "\n".join(summed["lines"])
    assert "5 rogues are outside of this run" in told
    assert "2 are left as they are" in told
    (open_one,) = summed["open"]  # one of them is off, and known for nothing
    assert open_one.startswith("1 are left as they are") and f"ghost.{CORP}" in open_one
