# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet with KMS hosts that nobody approved: found, steered past, left steered by a deployment, and unsteered."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CORP, FIND, HOST_KEY, KMS1, KMS2, ROGUE_KEY, records
from integration.kit import Ansible, Data, Run, task_name, writes

from lab.client import LabProcess

WEB, SHOP = f"web07.{CORP}", f"shop.{CORP}"
STEER, DEPLOY, VERIFY = (f"fleetops.kms.{name}" for name in ("steer_clients", "deploy_hosts", "verify"))
SOON = ("-e", "kms_host_verify_delay=0", "-e", "kms_host_verify_retries=3", "-e", "kms_steer_delay=0")
UNSTEER = ("-e", "kms_steer_state=unsteered", *SOON)
PLATFORM = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"
HOST: Data = {
    "windows": "server2022/ServerStandard",
    "domain": CORP,
    "group": "kms_hosts",
    "updates": ["KB5034765"],
    "licence": HOST_KEY,
    "activated": True,
    "kms_rule": True,
    # What slmgr leaves on a host: without it a deployment takes its restart to be due.
    "registry": {PLATFORM: {"KeyManagementServiceVersion": ["sz", "10.0.20348.1"]}},
}
FLEET: Data = {
    "seed": 1,
    "policy": {"publish_seconds": 0.01, "pending_seconds": 0.01},
    "keys": [
        {"key": HOST_KEY, "kind": "csvlk", "product": "server-2022"},
        {"key": ROGUE_KEY, "kind": "csvlk", "product": "server-2019"},
    ],
    "dns": {"zones": {CORP: None, BRANCH: None}},
    "machines": {
        "kms1": {
            **HOST,
            "counted": 30,
            "publish": [f"{CORP}, 10, 100", f"{BRANCH}, 10, 100"],
            "vars": {"kms_host_rank": "primary"},
        },
        "kms2": {
            **HOST,
            "publish": [f"{CORP}, 20, 100", f"{BRANCH}, 20, 100"],
            "vars": {"kms_host_rank": "secondary"},
        },
        # The inventory calls it otherwise than it calls itself.
        "shop": {
            "host_name": "web07",
            "windows": "server2019/ServerStandard",
            "domain": CORP,
            "licence": ROGUE_KEY,
            "activated": True,
            "kms_rule": True,
        },
        "pc": {"count": 4, "windows": "windows11/Enterprise", "domain": CORP},
    },
    "inventory": {"vars": {"kms_host_product_key": HOST_KEY}},
}


def remove(lab: LabProcess, domain: str, target: str) -> None:
    """Take one value out of a domain."""
    kept = [row for row in records(lab) if row[0] == domain and row[1] != target]
    lab.call("dns_remove", zone=domain, name="_vlmcs._tcp")
    for _domain, name, priority, weight in kept:
        lab.call("dns_add", zone=domain, name="_vlmcs._tcp", data=f"{priority} {weight} 1688 {name}.")


def of(run: Run, name: str) -> dict[str, Data]:
    return {row["host"]: row["result"] for row in run.rows if row["kind"] != "stats" and task_name(row["task"]) == name}


def kinds(run: Run) -> set[tuple[str, str, str]]:
    return {(item["severity"], item["kind"], item["subject"]) for item in run.custom["kms_verify"]["findings"]}


def changed(run: Run) -> list[str]:
    return [row["task"] for row in run.rows if row["kind"] != "stats" and row["result"].get("changed")]


def entry(report: Data, fqdn: str) -> Data:
    (found,) = [host for host in report["hosts"] if host["fqdn"] == fqdn]
    return t.cast(Data, found)


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    with LabProcess(FLEET) as running:
        running.call("activate", machine=[f"pc{number:02}.{CORP}" for number in range(1, 5)])
        running.call("dns_add", zone=BRANCH, name="_vlmcs._tcp", data=f"0 0 1688 gone.{BRANCH}.")
        yield running


@dataclasses.dataclass(frozen=True)
class Story:
    """Every run of the way out, with what DNS said after it."""

    found: Run
    report: Data
    checked: Run
    checked_writes: list[str]
    steered: Run
    steered_dns: set[tuple[str, str, str, str]]
    again: Run
    again_writes: list[str]
    verified: Run
    deployed: Run
    deployed_writes: list[str]
    kept: Run
    kept_dns: set[tuple[str, str, str, str]]
    unsteered: Run
    unsteered_dns: set[tuple[str, str, str, str]]
    redeployed: Run


@pytest.fixture(scope="module")
def story(lab: LabProcess, ansible: Ansible, tmp_path_factory: pytest.TempPathFactory) -> Story:
    def run(name: str, *arguments: str) -> tuple[Run, list[str], set[tuple[str, str, str, str]]]:
        lab.reset_stats()
        done = ansible.playbook(name, lab.inventory_path, *arguments)
        sent = writes(lab)
        lab.call("settle")
        return done, sent, records(lab)

    path = pathlib.Path(tmp_path_factory.mktemp("report")) / "rogues.json"
    found, found_writes, _rest = run(FIND, "-e", f"kms_report_path={path}")
    assert found_writes == [], "find_rogues is read-only"
    checked, checked_writes, _rest = run(STEER, "--check", "--diff", *SOON)
    steered, _rest, steered_dns = run(STEER, "--diff", *SOON)
    again, again_writes, _rest = run(STEER, *SOON)
    verified, _rest, _rest = run(VERIFY)
    deployed, deployed_writes, _rest = run(DEPLOY, *SOON)
    remove(lab, BRANCH, f"gone.{BRANCH}")
    kept, _rest, kept_dns = run(STEER, *UNSTEER)
    lab.call("stop_machine", machine=SHOP)
    remove(lab, CORP, WEB)
    unsteered, _rest, unsteered_dns = run(STEER, *UNSTEER)
    redeployed, _rest, _rest = run(DEPLOY, *SOON)
    return Story(
        found,
        json.loads(path.read_text(encoding="utf-8")),
        checked,
        checked_writes,
        steered,
        steered_dns,
        again,
        again_writes,
        verified,
        deployed,
        deployed_writes,
        kept,
        kept_dns,
        unsteered,
        unsteered_dns,
        redeployed,
    )


def test_the_rogue_is_found_by_its_own_name_and_told_with_its_key(story: Story) -> None:
    report = story.found.assert_ok().custom["kms_rogues"]
    assert report == story.report
    web = entry(report, WEB)
    assert (web["machine"], web["status"], web["treatment"]) == (SHOP, "rogue", "convert")
    assert (web["keys"][0]["partial_product_key"], web["keys"][0]["activated"]) == ("HK2V2", True)
    assert [(r["domain"], r["outranks"]) for r in web["records"]] == [(CORP, True)]
    assert {entry(report, name)["status"] for name in (KMS1, KMS2)} == {"approved"}
    assert entry(report, f"gone.{BRANCH}")["status"] == "stale"
    assert HOST_KEY not in story.found.output


def test_who_was_served_is_told(story: Story) -> None:
    web = entry(story.report, WEB)
    assert web["requests"]["total"] == 4
    assert {row["client"] for row in web["clients_served"]} == {f"pc{number:02}.{CORP}" for number in range(1, 5)}
    assert web["clients_served_count"] == 4


def test_the_event_of_each_request_stays_on_the_machine(story: Story) -> None:
    """A KMS host writes one for every request: thousands a day, which Ansible would keep for the rest of the run."""
    for run, is_told in ((story.found, True), (story.steered, False)):
        for kms in (result["kms"] for result in of(run, "Read the machine").values()):
            assert 12290 not in {event["code"] for event in kms["events"] or ()}
            assert (kms["clients_served"] is not None) == (is_told and kms["is_kms_host"])


def test_check_mode_shows_the_change_and_sends_nothing(story: Story) -> None:
    assert story.checked_writes == []
    before = of(story.checked.assert_ok(), "Publish as planned")[KMS1]["changes"]
    done = of(story.steered.assert_ok(), "Publish as planned")[KMS1]["changes"]
    assert before == done
    assert f"{CORP}, 0, 65535" in done[0]["after"]


def test_each_domain_with_a_reason_is_steered_to_the_host_that_has_its_count(story: Story) -> None:
    assert {row for row in story.steered_dns if row[1] in (KMS1, KMS2)} == {
        (CORP, KMS1, "0", "65535"),
        (CORP, KMS2, "20", "100"),
        (BRANCH, KMS1, "0", "65535"),
        (BRANCH, KMS2, "20", "100"),
    }


def test_a_second_run_writes_nothing(story: Story) -> None:
    assert changed(story.again.assert_ok()) == [] and story.again_writes == []


def test_verify_knows_the_steered_state_as_a_warning(story: Story) -> None:
    found = kinds(story.verified)
    assert {("warn", "steered", CORP), ("warn", "steered", BRANCH), ("warn", "not_approved", CORP)} <= found
    assert not any(kind in ("different", "undeclared", "publish_list") for _severity, kind, _where in found)


def test_a_deployment_leaves_what_is_steered_alone_while_the_reason_lasts(story: Story) -> None:
    done = of(story.deployed.assert_ok(), "Be a KMS host")
    assert {host: result["changes"] for host, result in done.items()} == {KMS1: [], KMS2: []}
    assert changed(story.deployed) == [] and story.deployed_writes == []


def test_only_a_domain_without_a_reason_is_unsteered(story: Story) -> None:
    story.kept.assert_ok()
    mine = {row for row in story.kept_dns if row[1] == KMS1}
    assert mine == {(CORP, KMS1, "0", "65535"), (BRANCH, KMS1, "10", "100")}
    assert "stays steered" in story.kept.output


def test_when_the_rogue_is_gone_all_is_as_declared(story: Story) -> None:
    story.unsteered.assert_ok()
    assert story.unsteered_dns == {
        (domain, name, priority, "100") for domain in (CORP, BRANCH) for name, priority in ((KMS1, "10"), (KMS2, "20"))
    }
    assert changed(story.redeployed.assert_ok()) == []


@pytest.mark.parametrize("playbook", [STEER, FIND])
def test_bad_inputs_are_refused_before_any_machine_is_touched(
    story: Story, lab: LabProcess, ansible: Ansible, playbook: str
) -> None:
    lab.reset_stats()
    run = ansible.playbook(playbook, lab.inventory_path, "-e", "kms_dns_via=rfc2136")
    assert run.returncode != 0 and "kms_dns_server" in run.output
    assert lab.totals()["requests"] == 0


def test_approved_hosts_outside_the_limit_stop_it(story: Story, lab: LabProcess, ansible: Ansible) -> None:
    lab.reset_stats()
    run = ansible.playbook(STEER, lab.inventory_path, "--limit", KMS1, *SOON)
    assert run.returncode != 0 and KMS2 in run.output
    assert writes(lab) == []
