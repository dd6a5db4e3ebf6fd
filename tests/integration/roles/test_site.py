# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks against a fleet from its first day on: predicted, done, done again, and verified on bad days."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing as t

import pytest
import yaml
from integration.kit import Ansible, Data, Run, task_name, writes

from lab.client import LabProcess

HOST_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK222"
OLD_HOST_KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK2V2"
CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1, KMS2 = f"kms1.{CORP}", f"kms2.{CORP}"
SITE, DEPLOY, CONFIGURE, VERIFY = (
    f"fleetops.kms.{name}" for name in ("site", "deploy_hosts", "configure_clients", "verify")
)
#: DNS of the lab answers at once: nothing is gained by waiting.
SOON = ("-e", "kms_host_verify_delay=0", "-e", "kms_host_verify_retries=2")
BE_A_HOST, BE_A_CLIENT = "Be a KMS host", "Be a KMS client"
HOST: Data = {"windows": "server2022/ServerStandard", "domain": CORP, "group": "kms_hosts", "updates": ["KB5034765"]}


def fleet(clients: int, **more: t.Any) -> Data:
    """Two servers that are to become KMS hosts, and clients in two domains."""
    return {
        "seed": 1,
        "keys": [
            {"key": HOST_KEY, "kind": "csvlk", "product": "server-2025"},
            {"key": OLD_HOST_KEY, "kind": "csvlk", "product": "server-2022"},
        ],
        "dns": {"zones": {CORP: None, BRANCH: None}},
        "machines": {
            "kms1": {**HOST, "vars": {"kms_host_rank": "primary"}},
            "kms2": {**HOST, "vars": {"kms_host_rank": "secondary"}},
            "pc": {"count": clients, "windows": "windows11/Enterprise", "domain": [CORP, BRANCH]},
            "srv": {"windows": "server2019/ServerStandard", "domain": CORP},
        },
        "inventory": {"vars": {"kms_host_product_key": HOST_KEY}},
        **more,
    }


def of(run: Run, name: str) -> list[tuple[str, Data]]:
    """Every result of a task, which may run in several plays."""
    return [
        (row["host"], {"kind": row["kind"], **row["result"]})
        for row in run.rows
        if row["kind"] != "stats" and task_name(row["task"]) == name
    ]


def planned(run: Run) -> dict[str, list[tuple[str, str, str]]]:
    """What each machine was changed, or would be."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for name in (BE_A_HOST, BE_A_CLIENT):
        for host, result in of(run, name):
            rows = [(row["setting"], str(row["before"]), str(row["after"])) for row in result["changes"]]
            found.setdefault(host, []).extend(rows)
    return found


def findings(run: Run) -> set[tuple[str, str, str]]:
    return {(item["severity"], item["kind"], item["subject"]) for item in run.custom["kms_verify"]["findings"]}


def changed(run: Run) -> list[str]:
    return [row["task"] for row in run.rows if row["kind"] != "stats" and row["result"].get("changed")]


@dataclasses.dataclass(frozen=True)
class Story:
    """A site run in check mode, done, and done again."""

    checked: Run
    checked_writes: list[str]
    first: Run
    second: Run
    second_writes: list[str]
    dns: list[str]


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    with LabProcess(fleet(clients=26)) as running:
        yield running


@pytest.fixture(scope="module")
def story(lab: LabProcess, ansible: Ansible) -> Story:
    lab.reset_stats()
    checked = ansible.playbook(SITE, lab.inventory_path, "--check", "--diff", "-vvvv")
    checked_writes = writes(lab)
    first = ansible.playbook(SITE, lab.inventory_path, "--diff", "-vvvv", *SOON)
    lab.call("settle")
    lab.reset_stats()
    second = ansible.playbook(SITE, lab.inventory_path, *SOON)
    return Story(checked, checked_writes, first, second, writes(lab), lab.call("dns"))


def test_check_mode_runs_through_on_a_fresh_fleet_and_sends_no_write(story: Story) -> None:
    story.checked.assert_ok()
    assert story.checked_writes == []


def test_check_mode_tells_nothing_of_a_fresh_fleet_but_what_the_run_would_change(story: Story) -> None:
    told = story.checked.custom["kms_verify"]["findings"]
    assert {(item["severity"], item["kind"]) for item in told} == {
        ("warn", "missing"),
        ("warn", "no_host_key"),
        ("warn", "not_licensed"),
    }
    assert all("(this run would change that)" in item["text"] for item in told)


def test_check_mode_shows_every_change_of_the_run_that_follows(story: Story) -> None:
    done = planned(story.first.assert_ok())
    for host, rows in planned(story.checked).items():
        foreseen = [(name, before) for name, before, _after in rows]
        assert sorted(foreseen) == sorted((name, before) for name, before, _after in done[host]), host
    assert all(planned(story.checked).values())


def test_the_hosts_are_published_in_both_domains(story: Story) -> None:
    found = {(line.split()[0], *line.split()[4:6], line.split()[7]) for line in story.dns}
    wanted = {
        (f"_vlmcs._tcp.{domain}.", priority, "100", f"{name}.")
        for domain in (CORP, BRANCH)
        for name, priority in ((KMS1, "10"), (KMS2, "20"))
    }
    assert found == wanted


def test_clients_that_wait_are_asked_again_until_all_are_licensed(story: Story) -> None:
    rounds = of(story.first, BE_A_CLIENT)
    waited = [host for host, result in rounds if result.get("pending")]
    assert waited
    assert len(rounds) == 27 + len(set(waited))
    verdict = story.first.custom["kms_verify"]
    assert (verdict["clients_licensed"], verdict["clients"], verdict["failed"]) == (27, 27, 0)


def test_only_what_stands_by_is_worth_a_warning(story: Story) -> None:
    assert findings(story.first) == {("warn", "no_count", KMS2)}


def test_a_second_run_changes_nothing_and_sends_no_write(story: Story) -> None:
    assert changed(story.second.assert_ok()) == []
    assert story.second_writes == []


def test_the_key_is_nowhere_in_the_output(story: Story) -> None:
    for run in (story.checked, story.first, story.second):
        assert HOST_KEY not in run.output
        assert HOST_KEY not in str(run.rows)


def test_a_limit_to_a_client_is_verified_alone(story: Story, lab: LabProcess, ansible: Ansible) -> None:
    run = ansible.playbook(VERIFY, lab.inventory_path, "--limit", f"pc01.{CORP}").assert_ok()
    assert run.custom["kms_verify"]["clients"] == 1
    assert findings(run) == set()


@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        (DEPLOY, ("--limit", f"pc01.{CORP}")),
        (CONFIGURE, ("--limit", KMS1)),
        (SITE, ("-e", "kms_hosts_pattern=none", "-e", "kms_clients_pattern=none")),
        (VERIFY, ("-e", "kms_hosts_pattern=none")),
        (DEPLOY, ("-e", "kms_host_srv_priority=70000", "--tags", "of_nothing")),
        (SITE, ("-e", "kms_client_activation_type=magic")),
        (CONFIGURE, ("-e", "kms_client_server={{ nothing }}")),
        (SITE, ("-e", "kms_clients_pattern=all")),
        (CONFIGURE, ("-e", "kms_clients_pattern=all")),
        (SITE, ("-e", "kms_verify_timeout=abc")),
        (DEPLOY, ("-e", "kms_host_nameservers=192.0.2.1:dns")),
    ],
)
def test_what_cannot_be_is_refused_before_any_machine_is_touched(
    story: Story, lab: LabProcess, ansible: Ansible, playbook: str, arguments: tuple[str, ...]
) -> None:
    lab.reset_stats()
    run = ansible.playbook(playbook, lab.inventory_path, *arguments)
    assert run.returncode != 0
    assert lab.totals()["requests"] == 0


def test_null_is_what_is_not_given(story: Story, lab: LabProcess, ansible: Ansible, tmp_path: pathlib.Path) -> None:
    """Every variable of the roles that a user may leave out, at once: nothing but the defaults are left."""
    roles = pathlib.Path(__file__).resolve().parents[3] / "roles"
    specs = [
        yaml.safe_load((roles / f"kms_{name}/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
        for name in ("host", "client", "verify")
    ]
    options = [name for spec in specs for entry in spec.values() for name in entry["options"]]
    kept = ("_key", "_domains", "_rank", "_fleet", "_nameservers", "_hosts", "_clients", "_round", "_verify_delay")
    nulls = {name: None for name in options if not name.endswith(kept)}
    file = tmp_path / "nulls.json"
    file.write_text(json.dumps(nulls), encoding="utf-8")
    run = ansible.playbook(SITE, lab.inventory_path, "-e", f"@{file}", "-e", "kms_host_verify_delay=0").assert_ok()
    assert changed(run) == []
    assert findings(run) == {("warn", "no_count", KMS2)}
    failing = ansible.playbook(VERIFY, lab.inventory_path, "-e", f"@{file}", "-e", "kms_host_domains=c.example.com")
    assert failing.returncode != 0


def test_the_hosts_are_no_clients_whatever_their_group_is_called(
    story: Story, lab: LabProcess, ansible: Ansible
) -> None:
    arguments = ("-e", f"kms_hosts_pattern=kms_hosts:pc01.{CORP}", "--limit", f"pc01.{CORP},srv.{CORP}")
    run = ansible.playbook(CONFIGURE, lab.inventory_path, *arguments).assert_ok()
    assert [host for host, _result in of(run, BE_A_CLIENT)] == [f"srv.{CORP}"]


def test_a_port_that_is_not_given_stays_and_is_what_dns_is_held_against(
    story: Story, lab: LabProcess, ansible: Ansible
) -> None:
    deploy = (DEPLOY, lab.inventory_path, "--limit", KMS2, *SOON)
    ansible.playbook(*deploy, "-e", "kms_host_listening_port=1689").assert_ok()
    run = ansible.playbook(*deploy).assert_ok()
    assert run.result(KMS2, BE_A_HOST)["changes"] == []
    assert any(line.endswith(f"20 100 1689 {KMS2}.") for line in lab.call("dns"))
    ansible.playbook(*deploy, "-e", "kms_host_listening_port=1688").assert_ok()


def test_bad_days(story: Story, lab: LabProcess, ansible: Ansible) -> None:
    """Many things at once, each of which must be told."""
    lab.call("dns_add", zone=CORP, name="_vlmcs._tcp", data=f"0 0 1688 web07.{CORP}.")
    lab.call("dns_add", zone=BRANCH, name="_vlmcs._tcp", data=f"30 0 1688 web07.{CORP}.")
    lab.call("dns_add", zone=BRANCH, name="_vlmcs._tcp", data=f"5 0 1688 {KMS1}.")
    lab.call(
        "set_state", machine=[f"pc01.{CORP}", f"pc03.{CORP}"], client_machine_id="11111111-2222-3333-4444-555555555555"
    )
    lab.call("stop_machine", machine=f"pc05.{CORP}")
    lab.call("stop_machine", machine=KMS2)
    run = ansible.playbook(VERIFY, lab.inventory_path)
    lab.call("start_machine", machine=KMS2)
    lab.call("start_machine", machine=f"pc05.{CORP}")
    assert run.returncode != 0
    assert findings(run) >= {
        ("fail", "not_approved", CORP),
        ("warn", "not_approved_behind", BRANCH),
        ("fail", "undeclared", BRANCH),
        ("warn", "duplicate_cmid", "clients"),
        ("fail", "not_read", KMS2),
        ("fail", "not_read", "clients"),
        ("warn", "port_closed", KMS2),
    }
    assert {row["machine"] for row in run.custom["kms_verify"]["unread"]} == {KMS2, f"pc05.{CORP}"}
    assert run.custom["kms_verify"]["failed"] == 4, run.output


def test_dns_that_does_not_answer_is_not_taken_for_dns_without_records(
    story: Story, lab: LabProcess, ansible: Ansible
) -> None:
    run = ansible.playbook(VERIFY, lab.inventory_path, "-e", "kms_verify_nameservers=127.0.0.1:9")
    assert run.returncode != 0
    told = [item for item in run.custom["kms_verify"]["findings"] if item["severity"] == "fail"]
    assert {(item["kind"], item["subject"]) for item in told} == {("dns_unanswered", CORP), ("dns_unanswered", BRANCH)}
    assert "127.0.0.1:9" in told[0]["text"]
    deploy = ansible.playbook(DEPLOY, lab.inventory_path, "-e", "kms_host_nameservers=127.0.0.1:9", *SOON)
    results = dict(of(deploy, "Prove that DNS has the records"))
    assert {host: result["kind"] for host, result in results.items()} == {KMS1: "failed", KMS2: "failed"}
    assert "DNS could not be asked" in str(results[KMS1]["msg"])
    assert "no record" not in str(results[KMS1]["msg"])


@pytest.fixture(scope="module")
def refused(ansible: Ansible) -> t.Iterator[tuple[LabProcess, Run]]:
    """A small fleet whose second host is refused by one zone, and whose host key is old."""
    small = fleet(clients=1)
    small["machines"]["srv"]["windows"] = "server2025/ServerStandard"
    small["inventory"] = {"vars": {"kms_host_product_key": OLD_HOST_KEY}}
    with LabProcess(small) as lab:
        lab.call("set_state", machine=KMS2, publish_refused=[BRANCH])
        yield lab, ansible.playbook(SITE, lab.inventory_path, *SOON, "-e", "kms_host_verify_retries=10000")


def test_a_refused_update_fails_the_host_concerned_and_tells_why(refused: tuple[LabProcess, Run]) -> None:
    _lab, run = refused
    assert run.returncode != 0
    results = dict(of(run, "Prove that DNS has the records"))
    assert {host: result["kind"] for host, result in results.items()} == {KMS1: "ok", KMS2: "failed"}
    told = str(results[KMS2]["msg"])
    assert f"20 100 1688 {KMS2}" in told
    assert KMS1 not in told
    assert "event 12293" in told  # known after a few of the 10000 retries
    assert "0x80072338" in told
    assert "Give all KMS hosts' accounts the right to write that record" in told


def test_verify_then_tells_why(refused: tuple[LabProcess, Run], ansible: Ansible) -> None:
    lab, _run = refused
    configured = ansible.playbook(CONFIGURE, lab.inventory_path)
    assert configured.result(f"srv.{CORP}", BE_A_CLIENT)["hresult"] == "0xC004F042"
    (_host, warned), *_others = of(configured, "Warn of the clients that still wait")
    assert "1 of 2 clients wait" in warned["msg"]
    run = ansible.playbook(VERIFY, lab.inventory_path)
    told = findings(run)
    assert ("fail", "missing", BRANCH) in told
    assert ("fail", "host_key_too_old", KMS1) in told
    assert ("fail", "not_licensed", "clients") in told
    assert ("warn", "below_threshold", KMS1) in told
    (missing,) = [item for item in run.custom["kms_verify"]["findings"] if item["kind"] == "missing"]
    assert "12293" in missing["text"]
    assert "0x80072338" in missing["text"]


def test_once_the_zone_lets_it_the_next_run_needs_only_the_service_to_start(
    refused: tuple[LabProcess, Run], ansible: Ansible
) -> None:
    lab, _run = refused
    lab.call("set_state", machine=KMS2, publish_refused=[])
    lab.call("advance", seconds=86_400)
    ansible.playbook(DEPLOY, lab.inventory_path, *SOON).assert_ok()
