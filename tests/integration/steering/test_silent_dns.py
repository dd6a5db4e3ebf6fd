# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain that DNS does not tell of, beside a healthy one: left exactly as it is, told, and the run ends failing."""

from __future__ import annotations

import typing as t

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CLEAN_UP, CORP, FIND, HEALED, KMS1, fleet, records, run, shown
from integration.kit import Ansible, Data, Run, writes

from lab.client import LabProcess

STEER, VERIFY = "fleetops.kms.steer_clients", "fleetops.kms.verify"
SHOP = f"xshop.{CORP}"
UNSTEER = ("-e", "kms_steer_state=unsteered")


def described() -> Data:
    """One rogue in the healthy domain, and one in both whose turn comes after it."""
    content = fleet(rogues=2)
    machines = content["machines"]
    machines["xshop"] = machines.pop("shop")
    return content


def of(lab: LabProcess, domain: str) -> set[tuple[str, str, str]]:
    return {(target, priority, weight) for name, target, priority, weight in records(lab) if name == domain}


def fails(lab: LabProcess, failure: str | None) -> None:
    lab.call("dns_fail", zone=BRANCH, failure=failure)


def unanswered(findings: t.Iterable[Data]) -> list[Data]:
    return [item for item in findings if item["kind"] == "dns_unanswered"]


def assert_told(done: Run, lab: LabProcess, words: str) -> None:
    """It ends failing, and the last word names domain, server and reason."""
    assert done.returncode != 0
    (last,) = shown(done, "Prove that DNS told of every domain")
    (line,) = last[1:]
    assert BRANCH in line
    assert str(lab.dns) in line
    assert words in line


@pytest.mark.parametrize(("failure", "words"), [("servfail", "SERVFAIL"), ("timeout", "did not answer in time")])
def test_steering_leaves_a_silent_domain_alone_and_does_the_others(ansible: Ansible, failure: str, words: str) -> None:
    with LabProcess(described()) as lab:
        before = of(lab, BRANCH)
        fails(lab, failure)
        done = run(ansible, lab, STEER)
        lab.call("settle")
        assert_told(done, lab, words)
        assert (KMS1, "0", "65535") in of(lab, CORP)
        assert of(lab, BRANCH) == before
        assert [item["subject"] for item in unanswered(done.custom["kms_steer"]["findings"])] == [BRANCH]

        # It is steered once DNS answers, and then stays so while DNS does not.
        fails(lab, None)
        run(ansible, lab, STEER).assert_ok()
        lab.call("settle")
        steered = of(lab, BRANCH)
        assert (KMS1, "0", "65535") in steered
        for domain in (CORP, BRANCH):
            keep = [value for value in of(lab, domain) if value[0].startswith("kms")]
            lab.call("dns_remove", zone=domain, name="_vlmcs._tcp")
            for target, priority, weight in keep:
                lab.call("dns_add", zone=domain, name="_vlmcs._tcp", data=f"{priority} {weight} 1688 {target}.")
        fails(lab, failure)
        done = run(ansible, lab, STEER, *UNSTEER)
        lab.call("settle")
        assert_told(done, lab, words)
        assert (KMS1, "10", "100") in of(lab, CORP)
        assert (KMS1, "0", "65535") in of(lab, BRANCH)


def test_a_clean_up_does_what_it_can_and_ends_failing_until_dns_answers(ansible: Ansible) -> None:
    with LabProcess(described()) as lab:
        run(ansible, lab, STEER).assert_ok()
        lab.call("settle")
        before = of(lab, BRANCH)
        assert {(KMS1, "0", "65535"), (SHOP, "0", "0")} <= before
        fails(lab, "servfail")

        lab.reset_stats()
        found = run(ansible, lab, FIND).assert_ok()
        assert writes(lab) == []
        (told,) = unanswered(found.custom["kms_rogues"]["unanswered"])
        verified = run(ansible, lab, VERIFY)
        assert told in verified.custom["kms_verify"]["findings"]
        assert "SERVFAIL" in told["text"]

        done = run(ansible, lab, CLEAN_UP)
        lab.call("settle")
        assert done.returncode != 0
        assert of(lab, BRANCH) == before
        assert of(lab, CORP) == {
            (name, priority, weight) for domain, name, priority, weight in HEALED if domain == CORP
        }
        assert BRANCH in str(done.custom["kms_convert"]["unanswered"])

        fails(lab, None)
        run(ansible, lab, CLEAN_UP).assert_ok()
        lab.call("settle")
        assert records(lab) == HEALED
