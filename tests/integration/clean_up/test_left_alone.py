# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a conversion leaves alone, whatever a machine calls itself or an earlier report says, and what stops it."""

from __future__ import annotations

import json
import pathlib
import re
import typing as t

import pytest
import yaml
from integration.clean_up.rogue_fleet import (
    CONVERT,
    CORP,
    FIND,
    KMS1,
    KMS2,
    fleet,
    key_calls,
    records,
    rows,
    run,
    shown,
    targets,
)
from integration.kit import Ansible, Data, Run, writes

from lab.client import LabProcess

RENAMED, SHOP = f"renamed.{CORP}", f"shop.{CORP}"
WEBS = [f"web{number:02}.{CORP}" for number in (1, 2)]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    """The secondary calls itself otherwise than it is declared."""
    described = fleet(rogues=3, clients=1)
    described["machines"]["kms2"].update(host_name="renamed", vars={"kms_host_fqdn": KMS2})
    with LabProcess(described) as running:
        yield running


@pytest.fixture(scope="module")
def report(lab: LabProcess, ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """What was found when the secondary was not declared yet: a rogue like the others."""
    path = tmp_path_factory.mktemp("report") / "rogues.json"
    run(ansible, lab, FIND, "-e", f"kms_hosts_pattern={KMS1}", "-e", f"kms_report_path={path}").assert_ok()
    found: Data = json.loads(path.read_text(encoding="utf-8"))
    assert entry(found, RENAMED)["treatment"] == "convert"
    return found


def entry(report: Data, fqdn: str) -> Data:
    (found,) = [host for host in report["hosts"] if host["fqdn"] == fqdn]
    return t.cast(Data, found)


def convert(ansible: Ansible, lab: LabProcess, given: Data | str, folder: pathlib.Path, *more: str) -> Run:
    path = folder / "given.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given), encoding="utf-8")
    return run(ansible, lab, CONVERT, "-e", f"kms_convert_report={path}", *more)


def test_an_approved_host_outside_of_the_run_stops_it(lab: LabProcess, ansible: Ansible) -> None:
    done = run(ansible, lab, CONVERT, "--limit", ",".join([KMS1, *WEBS]))
    assert done.returncode != 0
    assert f"{KMS2}: approved KMS hosts outside of this run" in done.output
    assert writes(lab) == []


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda text: re.sub('"generated": "[^"]*"', '"generated": "2026-01-01T00:00:00Z"', text), "hours ago"),
        (lambda text: text[: len(text) // 2], "was cut"),
        (lambda text: json.dumps({**json.loads(text), "hosts": None}), "lacks hosts"),
        (lambda text: text.replace('"identity"', '"who"'), "lacks identity of a host"),
    ],
    ids=["too old", "cut", "a part is gone", "a field is gone"],
)
def test_a_report_that_is_not_whole_is_refused(
    lab: LabProcess,
    ansible: Ansible,
    report: Data,
    tmp_path: pathlib.Path,
    spoil: t.Callable[[str], str],
    word: str,
) -> None:
    lab.reset_stats()
    done = convert(ansible, lab, spoil(json.dumps(report)), tmp_path)
    assert done.returncode != 0
    assert word in done.output
    assert lab.totals()["requests"] == 0


def test_a_machine_that_is_another_than_the_report_says_is_not_touched(
    lab: LabProcess, ansible: Ansible, report: Data, tmp_path: pathlib.Path
) -> None:
    before = records(lab)
    mixed = json.loads(json.dumps(report))
    entry(mixed, WEBS[0])["machine"], entry(mixed, WEBS[1])["machine"] = WEBS[1], WEBS[0]
    entry(mixed, SHOP)["fqdn"] = ""  # it had no full name then
    done = convert(
        ansible, lab, mixed, tmp_path, "-e", "kms_convert_max_fail_percentage=100", "--limit", ",".join([*WEBS, SHOP])
    )
    assert {name: row["state"] for name, row in rows(done).items()} == dict.fromkeys([*WEBS, SHOP], "failed")
    assert "out of date" in rows(done)[WEBS[0]]["text"]
    assert (key_calls(lab), records(lab)) == ({}, before)


def test_one_computer_under_two_names_is_told_and_not_touched(
    lab: LabProcess, ansible: Ansible, tmp_path: pathlib.Path
) -> None:
    inventory = yaml.safe_load(lab.inventory())
    servers = inventory["all"]["children"]["kms_clients"]["children"]["servers"]["hosts"]
    servers["old-shop"] = servers[SHOP]
    path = tmp_path / "twice.yml"
    path.write_text(yaml.safe_dump(inventory), encoding="utf-8")
    found = ansible.playbook(FIND, path).assert_ok()
    shop = entry(found.custom["kms_rogues"], SHOP)
    assert (shop["identity"], shop["treatment"], shop["machine"]) == ("ambiguous", "report", None)
    assert "--limit 'all:!old-shop'" in shop["advice"]
    assert "could not match supplied host pattern" not in found.output.lower()


def test_an_approved_host_that_is_gone_since_the_report_stops_it(
    lab: LabProcess, ansible: Ansible, report: Data, tmp_path: pathlib.Path
) -> None:
    lab.stop_machine(KMS1)
    lab.reset_stats()
    done = convert(ansible, lab, report, tmp_path, "--limit", ",".join([KMS1, *WEBS]))
    lab.start_machine(KMS1)
    assert done.returncode != 0
    assert "no approved KMS host is published" in done.output
    assert f"{KMS1}: could not be read" in done.output
    assert writes(lab) == []


def test_a_slice_says_that_it_could_not_look_at_the_approved_host(
    lab: LabProcess, ansible: Ansible, report: Data, tmp_path: pathlib.Path
) -> None:
    done = convert(ansible, lab, report, tmp_path, "--limit", WEBS[0], "--check").assert_ok()
    (told,) = [line for line in shown(done, "Show the plan")[0] if line.startswith("WARNING")]
    assert f"{KMS1} cannot be looked at in this run" in told


def test_values_of_a_machine_that_is_a_host_again_stay(
    lab: LabProcess, ansible: Ansible, report: Data, tmp_path: pathlib.Path
) -> None:
    """The report says that it has no host key; by its own account it has."""
    outdated = json.loads(json.dumps(report))
    entry(outdated, WEBS[0]).update(treatment="remove_records", is_kms_host=False, is_unfinished=False, keys=[])
    before = records(lab)
    done = convert(ansible, lab, outdated, tmp_path, "--limit", WEBS[0])
    assert done.returncode != 0
    assert "has a KMS host key again" in rows(done)[WEBS[0]]["text"]
    assert records(lab) == before


def test_records_that_can_be_removed_nowhere_stop_it_after_the_first_machine(
    lab: LabProcess, ansible: Ansible, tmp_path: pathlib.Path, report: Data
) -> None:
    done = convert(ansible, lab, report, tmp_path, "-e", "kms_dns_server=127.0.0.1:9")
    assert done.returncode != 0
    result = done.custom["kms_convert"]
    assert len(result["machines"]) == 1
    assert "none of the domains" in result["stopped"]
    assert {result["machines"][0]["fqdn"]} < targets(lab)


def test_a_declared_host_is_not_touched_whatever_it_calls_itself_or_a_report_says(
    lab: LabProcess, ansible: Ansible, report: Data, tmp_path: pathlib.Path
) -> None:
    by_report = convert(ansible, lab, report, tmp_path).custom["kms_convert"]
    by_itself = run(ansible, lab, CONVERT).custom["kms_convert"]
    for result in (by_report, by_itself):
        told = {item["machine"]: item["reason"] for item in result["left_out"]}
        assert f"says it is {RENAMED}" in told[KMS2]
    assert set(key_calls(lab)) == {*WEBS, SHOP}
    assert targets(lab) == {KMS1, RENAMED}
