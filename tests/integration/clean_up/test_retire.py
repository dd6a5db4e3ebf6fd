# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KMS host that leaves: only when another one answers, and with nothing of it left behind."""

from __future__ import annotations

import typing as t

import pytest
from integration.clean_up.rogue_fleet import (
    ATTIC_DOMAIN,
    BRANCH,
    CORP,
    KMS1,
    KMS2,
    RETIRE,
    fleet,
    key_calls,
    records,
    run,
    shown,
)
from integration.kit import Ansible, writes

from lab.client import LabProcess

LEAVES = ("-e", f"kms_retire_host={KMS1}", "-e", "kms_retire_delay=0")


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    described = fleet(rogues=2, clients=1)
    for name in ("web", "shop"):
        del described["machines"][name]
    with LabProcess(described) as running:
        yield running


def test_a_host_that_is_needed_stays(lab: LabProcess, ansible: Ansible) -> None:
    done = run(ansible, lab, RETIRE, *LEAVES)
    assert done.returncode != 0
    assert "at its threshold" in str(shown(done, "Refuse to retire a host that is needed"))
    assert writes(lab) == []


@pytest.mark.parametrize("wrong", ["kms_retire_host=pc01.corp.example.com", "kms_retire_host=", "kms_dns_via=magic"])
def test_bad_input_is_refused_before_any_machine_is_touched(lab: LabProcess, ansible: Ansible, wrong: str) -> None:
    lab.reset_stats()
    assert run(ansible, lab, RETIRE, *LEAVES, "-e", wrong).returncode != 0
    assert lab.totals()["requests"] == 0


def test_a_limit_that_leaves_it_out_is_no_success(lab: LabProcess, ansible: Ansible) -> None:
    lab.reset_stats()
    done = run(ansible, lab, RETIRE, *LEAVES, "--limit", KMS2)
    assert done.returncode != 0
    assert f"{KMS1} is outside of this run" in done.output
    assert lab.totals()["requests"] == 0


def test_it_leaves_when_another_one_answers_and_goes_on_after_it_was_stopped(ansible: Ansible) -> None:
    described = fleet(rogues=2, clients=1)
    for name in ("web", "shop"):
        del described["machines"][name]
    described["machines"]["kms2"]["counted"] = 30
    # Both publish themselves in a domain that is not declared, too: only their own lists tell of it.
    described["dns"]["zones"][ATTIC_DOMAIN] = None
    for name, priority in (("kms1", 10), ("kms2", 20)):
        described["machines"][name]["publish"].append(f"{ATTIC_DOMAIN}, {priority}, 100")
    with LabProcess(described) as lab:
        before = records(lab)
        assert (ATTIC_DOMAIN, KMS1, "10", "100") in before
        checked = run(ansible, lab, RETIRE, *LEAVES, "--check", "--diff").assert_ok()
        assert checked.result(KMS1, "Be a KMS client")["changes"]
        assert (writes(lab), records(lab)) == ([], before)

        warned = run(ansible, lab, RETIRE, *LEAVES, "-e", "kms_dns_via=none", "--check")
        assert warned.returncode != 0 and "kms_dns_via" in str(
            warned.results("Prove that its records are gone before it stops answering")
        )

        # Nobody removes its records: it keeps answering until somebody has.
        alone = run(ansible, lab, RETIRE, *LEAVES, "-e", "kms_dns_via=none")
        assert alone.returncode != 0
        (told,) = shown(alone, "Prove that its records are gone before it stops answering")
        assert {f"{domain}: {KMS1}" for domain in (CORP, BRANCH, ATTIC_DOMAIN)} <= set(told)
        assert key_calls(lab) == {}
        assert records(lab) == before

        done = run(ansible, lab, RETIRE, *LEAVES).assert_ok()
        kms = done.result(KMS1, "Be a KMS client")["kms"]
        assert (kms["role"], kms["is_kms_host"], kms["license_status"]) == ("kms_client", False, 1)
        assert kms["publish_list"] == []
        assert records(lab) == {(domain, KMS2, "20", "100") for domain in (CORP, BRANCH, ATTIC_DOMAIN)}
        assert key_calls(lab) == {KMS1: ["InstallProductKey", "Activate"]}

        lab.reset_stats()
        run(ansible, lab, RETIRE, *LEAVES).assert_ok()
        assert writes(lab) == []
