# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rogue KMS hosts turned into clients: predicted, done with sick machines among them, stopped, and gone on with."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest
from integration.clean_up.rogue_fleet import (
    BRANCH,
    CONVERT,
    CORP,
    FIND,
    HEALED,
    OFFICE_KEY,
    ROGUE_KEY,
    fleet,
    key_calls,
    records,
    rows,
    run,
    shown,
    targets,
)
from integration.kit import Ansible, Data, Run, task_name, writes

from lab.client import LabProcess

PLATFORM = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"
FIXED = "KeyManagementServiceName"
SHOP, DESK, SICK, DEAD = (f"{name}.{CORP}" for name in ("shop", "desk", "web03", "web04"))
HEALTHY = [SHOP, f"web01.{CORP}", f"web02.{CORP}"]
OLDER_OFFICE_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HKF4X"
BE_A_CLIENT, NO_OFFICE_KEY = "Turn the machine into a client", "Remove the KMS host keys of Office"


def changes(done: Run) -> dict[str, set[tuple[str, str, str]]]:
    """What each machine was changed, or would be, by all of its tasks."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for row in done.rows:
        if row["kind"] == "stats" or "Convert" in row["task"]:
            continue
        if task_name(row["task"]) in (
            BE_A_CLIENT,
            NO_OFFICE_KEY,
            "Clear the publish list, now that its records are gone",
        ):
            for item in row["result"].get("changes") or ():
                change = (item["setting"], str(item["before"]), str(item["after"]))
                found.setdefault(row["host"], set()).add(change)
    return found


@dataclasses.dataclass(frozen=True)
class Story:
    checked: Run
    checked_writes: list[str]
    checked_dns: set[tuple[str, str, str, str]]
    before: set[tuple[str, str, str, str]]
    first: Run
    first_targets: set[str]
    first_calls: dict[str, list[str]]
    mended: Run
    calls: dict[str, list[str]]
    dns: set[tuple[str, str, str, str]]
    again_writes: list[str]
    again: Run


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    described = fleet(rogues=5)
    office = {"office_pack": ["office-2021"], "keys": [{"key": OFFICE_KEY, "activated": True}]}
    described["machines"]["kms1"].update(office)
    # One rogue is fixed to another.
    described["machines"]["shop"]["registry"] = {PLATFORM: {FIXED: ["sz", SICK]}}
    described["keys"].append({"key": OLDER_OFFICE_KEY, "kind": "csvlk", "product": "office-2019"})
    described["machines"]["desk"] = {
        "windows": "windows10/Enterprise",
        "domain": CORP,
        "activated": True,
        "office_pack": ["office-2019", "office-2021"],
        "keys": [{"key": key, "activated": True} for key in (OFFICE_KEY, OLDER_OFFICE_KEY)],
        "publish": [f"{CORP}, 0, 0", f"{BRANCH}, 0, 0"],
        "kms_rule": True,
    }
    with LabProcess(described) as running:
        yield running


@pytest.fixture(scope="module")
def story(lab: LabProcess, ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Story:
    report = tmp_path_factory.mktemp("report") / "rogues.json"
    run(ansible, lab, FIND, "-e", f"kms_report_path={report}").assert_ok()
    given = ("-e", f"kms_convert_report={report}", "-e", "kms_convert_max_fail_percentage=50")
    before = records(lab)
    lab.reset_stats()
    checked = run(ansible, lab, CONVERT, *given, "--check", "--diff")
    checked_writes, checked_dns = writes(lab), records(lab)
    lab.set_fault({"fault": "error", "method": "InstallProductKey", "code": 0xC004F069}, SICK)
    lab.stop_machine(DEAD)
    first = run(ansible, lab, CONVERT, *given)
    lab.call("settle")
    first_targets, first_calls = targets(lab), key_calls(lab)
    lab.clear_faults()
    lab.start_machine(DEAD)
    mended = run(ansible, lab, CONVERT)
    lab.call("settle")
    calls, dns = key_calls(lab), records(lab)
    lab.reset_stats()
    again = run(ansible, lab, CONVERT)
    return Story(
        checked,
        checked_writes,
        checked_dns,
        before,
        first,
        first_targets,
        first_calls,
        mended,
        calls,
        dns,
        writes(lab),
        again,
    )


def test_check_mode_shows_every_change_and_sends_none(story: Story) -> None:
    story.checked.assert_ok()
    assert (story.checked_writes, story.checked_dns) == ([], story.before)
    predicted, done = changes(story.checked), changes(story.first)
    assert {name: predicted[name] for name in (*HEALTHY, DESK)} == {name: done[name] for name in (*HEALTHY, DESK)}
    assert {setting for setting, _before, _after in done[DESK]} == {
        "dns_publishing",
        "product_key",
        "firewall",
        "publish_list",
    }


def test_sick_machines_end_nothing_and_are_told_with_their_reasons(story: Story) -> None:
    assert story.first.returncode != 0
    found = rows(story.first)
    assert {name: row["state"] for name, row in found.items()} == {
        **dict.fromkeys([*HEALTHY, DESK], "converted"),
        SICK: "failed",
        DEAD: "unreachable",
    }
    assert "0xC004F069" in found[SICK]["text"]
    told = "\n".join(shown(story.first, "Show what came of it")[0])
    assert SICK in told
    assert DEAD in told


def test_a_sick_machine_keeps_its_record_and_a_converted_one_does_not(story: Story) -> None:
    assert story.first_targets & {*HEALTHY, DESK, SICK, DEAD} == {SICK, DEAD}


def test_the_state_before_is_kept(story: Story) -> None:
    before = rows(story.first)[SHOP]["before"]
    assert (before["role"], before["partial_product_key"]) == ("kms_host", ROGUE_KEY[-5:])
    assert before["publish_list"] == [f"{CORP}, 0, 0", f"{BRANCH}, 0, 0"]


def test_no_new_client_stays_fixed_to_a_rogue(story: Story, lab: LabProcess) -> None:
    assert ("server", SICK, "") in changes(story.first)[SHOP]
    assert FIXED not in str(lab.call("state", machine=SHOP)["registry"])


def test_progress_is_told_after_each_batch(story: Story) -> None:
    lines = [message[0] for message in shown(story.first, "Show how far it is")]
    assert lines[0].startswith("1 of 6 machines: 1 turned into clients")
    assert len(lines) >= 4


def test_a_host_key_of_office_goes_and_windows_is_left_alone(story: Story) -> None:
    assert story.first_calls[DESK] == ["UninstallProductKey"] * 2


def test_the_next_run_goes_on_from_where_the_machines_are(story: Story) -> None:
    story.mended.assert_ok()
    assert {name for name, row in rows(story.mended).items() if row["state"] == "converted"} == {SICK, DEAD}
    assert story.dns == HEALED
    calls = {name: done for name, done in story.calls.items() if name not in (DESK, SICK)}
    assert calls == dict.fromkeys([*HEALTHY, DEAD], ["InstallProductKey", "Activate"])


def test_a_run_with_nothing_to_do_writes_nothing(story: Story) -> None:
    story.again.assert_ok()
    assert story.again_writes == []
    assert rows(story.again) == {}


def test_null_is_what_is_not_given(story: Story, lab: LabProcess, ansible: Ansible) -> None:
    """A pattern that is null must not pass for a fleet without machines, nor a number that is null for 0."""
    nulls = dict.fromkeys(
        [
            *("kms_rogues_pattern", "kms_approved_hosts", "kms_domains", "kms_dns_tsig_name", "kms_report_path"),
            *(f"kms_convert_{name}" for name in ("report", "report_max_age", "batches", "max_fail_percentage", "fail")),
            *(f"kms_convert_{name}" for name in ("retries", "delay", "host_caching", "nameservers", "report_path")),
        ]
    )
    done = run(ansible, lab, CONVERT, "-e", json.dumps(nulls)).assert_ok()
    looked_at = "11 machines looked at"
    assert looked_at in str(shown(story.again, "Show who is a KMS host"))
    assert looked_at in str(shown(done, "Show who is a KMS host"))


def test_no_key_is_shown(story: Story) -> None:
    for done in (story.checked, story.first, story.mended):
        assert ROGUE_KEY not in done.output
        assert OFFICE_KEY not in done.output


def test_a_failing_canary_stops_the_run_but_not_the_report(ansible: Ansible) -> None:
    with LabProcess(fleet(rogues=4)) as lab:
        lab.set_fault({"fault": "error", "method": "InstallProductKey", "code": 0xC004F069}, SHOP)
        done = run(ansible, lab, CONVERT, "-e", "kms_dns_via=none")
        assert done.returncode != 0
        report: Data = done.custom["kms_convert"]
        assert (report["failed"], report["converted"]) == (1, 0)
        assert "kms_convert_max_fail_percentage" in report["stopped"]
        assert len(report["no_turn"]) == 3

        # Without anybody who removes records they are told, and the publish list stays as the memory of them.
        lab.clear_faults()
        report = run(ansible, lab, CONVERT, "-e", "kms_dns_via=none").assert_ok().custom["kms_convert"]
        assert (report["converted"], report["values_left"]) == (4, 5)
        assert "DnsDomainPublishList" in str(lab.call("state", machine=SHOP)["registry"])
        tidied = run(ansible, lab, CONVERT).assert_ok()
        assert records(lab) == HEALED
        assert "DnsDomainPublishList" not in str(lab.call("state", machine=SHOP)["registry"])
        assert {row["state"] for row in rows(tidied).values()} == {"settled"}


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("strange") / "report.json"
    path.write_text(json.dumps({"schema": "fleetops.kms.rogues", "version": 99}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "wrong",
    [
        "kms_convert_batches=[0]",
        '{"kms_convert_batches": ["150%"]}',
        "kms_convert_max_fail_percentage=101",
        "kms_convert_max_fail_percentage=many",
        "kms_dns_via=magic",
        "kms_approved_hosts=*",
        "kms_convert_report={strange}",
        "kms_rogues_pattern=labb",
        "kms_dns_timeout=soon",
    ],
)
def test_bad_input_is_refused_before_any_machine_is_touched(
    story: Story, lab: LabProcess, ansible: Ansible, strange: pathlib.Path, wrong: str
) -> None:
    lab.reset_stats()
    done = run(ansible, lab, CONVERT, "-e", wrong.replace("{strange}", str(strange)))
    assert done.returncode != 0, done.output
    assert lab.totals()["requests"] == 0
