# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which domain is steered to which host, until when, and what each host is then to publish."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import steering
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.steering import Standing, standing_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import PublishEntry, format_entry

CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1, KMS2 = f"kms1.{CORP}", f"kms2.{CORP}"
PRIMARY = declare("kms1", {"kms_host_rank": "primary", "kms_host_domains": [CORP, BRANCH]}, KMS1)
SECONDARY = declare("kms2", {"kms_host_rank": "secondary", "kms_host_domains": [CORP, BRANCH]}, KMS2)
APPROVED = ApprovedHosts.of([KMS1, KMS2])
AS_DECLARED = [*PRIMARY.wanted, *SECONDARY.wanted]
BOTH = [CORP, BRANCH]


def reading(name: str = "kms1", count: int = 50, **more: t.Any) -> Reading:
    key = {"role": "kms_host", "application": "windows", "license_status": 1, "is_addon": False}
    product = {**key, "current_count": count, "required_count": 25, **more.pop("product", {})}
    priority = 10 if name == "kms1" else 20
    publish = [f"{CORP}, {priority}, 100", f"{BRANCH}, {priority}, 100"]
    return Reading(name, {"products": [product], "publish_list": publish, **more})


def standings(first: int = 50, second: int = 0, **more: t.Any) -> list[Standing]:
    return [
        standing_of(PRIMARY, reading("kms1", first, **more)),
        standing_of(SECONDARY, reading("kms2", second)),
    ]


def rogue(domain: str = CORP, priority: int = 0, weight: int = 0, target: str = f"web07.{CORP}") -> SrvRecord:
    return SrvRecord(domain, target, 1688, priority, weight)


def listed(host: Standing, plan: steering.DomainPlan) -> list[str] | None:
    """The publish list that a host gets, None when it keeps the one it has."""
    entries = steering.publish_of(host, [plan])
    return None if entries is None else [format_entry(entry) for entry in entries]


def values(records: t.Iterable[SrvRecord]) -> set[tuple[str, int, int]]:
    return {(record.target, record.priority, record.weight) for record in records}


def test_only_the_domain_of_the_rogue_is_steered_and_the_others_keep_their_rank() -> None:
    (plan,) = steering.steer(standings(), [*AS_DECLARED, rogue()], APPROVED, BOTH)
    assert plan.domain == CORP and plan.host == PRIMARY and plan.reasons == (rogue(),)
    assert values(plan.wanted) == {(KMS1, 0, 65535), (KMS2, 20, 100)}
    assert listed(standings()[0], plan) == [f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]
    assert listed(standings()[1], plan) is None


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [(50, 50, "kms1"), (0, 50, "kms2"), (10, 3, "kms1"), (3, 10, "kms2"), (0, 0, "kms1")],
)
def test_the_host_that_has_its_count_is_taken_else_the_one_with_the_highest(
    first: int, second: int, chosen: str
) -> None:
    (plan,) = steering.steer(standings(first, second), [rogue()], APPROVED, [CORP])
    assert plan.host is not None and plan.host.name == chosen
    assert bool(plan.notes) == (max(first, second) < 25)


def test_a_host_that_is_not_ready_is_not_chosen_and_keeps_its_rank() -> None:
    (plan,) = steering.steer(standings(50, 50), [*AS_DECLARED, rogue()], APPROVED, [CORP], ready=["kms2"])
    assert plan.host == SECONDARY
    assert values(plan.wanted) == {(KMS1, 10, 100), (KMS2, 0, 65535)}
    (plan,) = steering.steer(standings(50, 50), [*AS_DECLARED, rogue()], APPROVED, [CORP], ready=[])
    assert plan.host is None and plan.wanted == ()


def test_a_domain_stays_with_the_host_that_it_is_steered_to_as_long_as_that_has_its_count() -> None:
    now = SrvRecord(CORP, KMS2, 1688, 0, 65535)
    (plan,) = steering.steer(standings(50, 50), [now, rogue()], APPROVED, [CORP])
    assert plan.host == SECONDARY
    (plan,) = steering.steer(standings(50, 0), [now, rogue()], APPROVED, [CORP])
    assert plan.host == PRIMARY and (KMS2, 20, 100) in values(plan.wanted)


@pytest.mark.parametrize(
    "bad",
    [
        reading("kms1", product={"license_status": 5}),
        reading("kms1", product={"role": "kms_client"}),
        reading("kms1", product={"application": "office"}),
        Reading("kms1", problem="unreachable"),
    ],
)
def test_a_host_that_cannot_serve_is_never_steered_to(bad: Reading) -> None:
    hosts = [standing_of(PRIMARY, bad), standing_of(SECONDARY, reading("kms2", 0))]
    (plan,) = steering.steer(hosts, [rogue()], APPROVED, [CORP])
    assert plan.host == SECONDARY
    (plan,) = steering.steer(hosts[:1], [rogue()], APPROVED, [CORP])
    assert plan.host is None and plan.wanted == ()


@pytest.mark.parametrize(("priority", "is_reason"), [(0, True), (10, True), (20, True), (21, False)])
def test_a_value_behind_every_declared_one_is_no_reason(priority: int, is_reason: bool) -> None:
    found = steering.reasons([*AS_DECLARED, rogue(priority=priority)], [PRIMARY, SECONDARY], APPROVED)
    assert bool(found) == is_reason


def test_an_approved_host_is_no_reason_nor_is_a_value_in_a_domain_of_nobody() -> None:
    other = [rogue(target=f"kms9.{CORP}"), rogue(domain="elsewhere.example.org")]
    assert steering.reasons(other, [PRIMARY, SECONDARY], ApprovedHosts.of([f"kms?.{CORP}"])) == {}


def test_a_rogue_with_a_weight_of_its_own_is_told_to_be_still_asked() -> None:
    (plan,) = steering.steer(standings(), [rogue(weight=65535)], APPROVED, [CORP])
    assert any("50 %" in note for note in plan.notes)


def test_a_domain_is_unsteered_only_when_its_reason_is_gone() -> None:
    steered = [SrvRecord(CORP, KMS1, 1688, 0, 65535), SrvRecord(BRANCH, KMS1, 1688, 0, 65535), *SECONDARY.wanted]
    (branch, corp) = steering.unsteer(standings(), [*steered, rogue()], APPROVED, BOTH)
    assert corp.reasons and corp.wanted == () and "web07" in corp.notes[0]
    assert values(branch.wanted) == {(KMS1, 10, 100), (KMS2, 20, 100)}


def test_a_domain_that_dns_says_nothing_of_stays_steered() -> None:
    hosts = standings(publish_list=[f"{CORP}, 0, 65535", f"{BRANCH}, 0, 65535"])
    (branch, corp) = steering.unsteer(hosts, PRIMARY.wanted[:1], APPROVED, BOTH)
    assert (branch.domain, branch.wanted, branch.host) == (BRANCH, (), PRIMARY)
    assert corp.wanted and not corp.reasons


def test_a_domain_that_dns_did_not_tell_of_wholly_stays_steered() -> None:
    """Of a malformed answer some values are known; who else is there is not."""
    steered = [SrvRecord(CORP, KMS1, 1688, 0, 65535), *SECONDARY.wanted]
    assert steering.unsteer(standings(), steered, APPROVED, BOTH)[0].wanted
    (plan,) = steering.unsteer(standings(), steered, APPROVED, BOTH, silent=[CORP])
    assert (plan.domain, plan.wanted, plan.host) == (CORP, (), PRIMARY)
    assert "DNS did not tell" in plan.notes[0]


def test_a_host_whose_list_is_right_publishes_anew_only_where_clients_are_led_and_dns_does_not_show_it() -> None:
    hosts = standings(publish_list=[f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"])
    (plan,) = steering.steer(hosts, [*AS_DECLARED, rogue()], APPROVED, [CORP])
    assert [steering.is_due(host, [plan], [*AS_DECLARED, rogue()]) for host in hosts] == [True, False]
    assert not steering.is_due(hosts[0], [plan], [*plan.wanted, rogue()])
    # The secondary is not led to: that its value is missing is for the verification to tell.
    assert not steering.is_due(hosts[1], [plan], [rogue()])
    # Back again: the list is as declared, DNS still has the steered value.
    now = [SrvRecord(CORP, KMS1, 1688, 0, 65535), *SECONDARY.wanted]
    (plan,) = steering.unsteer(standings(), now, APPROVED, [CORP])
    assert [steering.is_due(host, [plan], now) for host in standings()] == [True, False]


def test_a_domain_that_only_the_publish_list_still_steers_is_unsteered_too() -> None:
    hosts = standings(publish_list=[f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"])
    (plan,) = steering.unsteer(hosts, AS_DECLARED, APPROVED, BOTH)
    assert listed(hosts[0], plan) == [
        f"{CORP}, 10, 100",
        f"{BRANCH}, 10, 100",
    ]


def test_what_is_as_declared_is_not_unsteered() -> None:
    assert steering.unsteer(standings(), [*AS_DECLARED, rogue()], APPROVED, BOTH) == []


def test_a_declared_0_65535_is_no_steered_state() -> None:
    first = declare("kms1", {"kms_host_publish": [{"domain": CORP, "priority": 0, "weight": 65535}]}, KMS1)
    assert steering.steered_records(first.wanted, [first]) == {}
    assert steering.steered_entries(first, first.publish) == []


def test_an_empty_publish_list_is_the_home_domain() -> None:
    one = standing_of(PRIMARY, reading("kms1", publish_list=[]))
    (plan,) = steering.steer([one], [rogue(BRANCH)], APPROVED, BOTH)
    assert listed(one, plan) == [f"{CORP}, 0, 0", f"{BRANCH}, 0, 65535"]


def test_other_entries_of_a_list_are_left_alone() -> None:
    mine = [f"{CORP}, 10, 100", f"{BRANCH}, 10, 100", "extra.example.org, 7, 7"]
    one = standing_of(PRIMARY, reading("kms1", publish_list=mine))
    (plan,) = steering.steer([one], [rogue()], APPROVED, BOTH)
    assert listed(one, plan) == [f"{CORP}, 0, 65535", *mine[1:]]


def test_a_host_that_could_not_be_read_or_has_its_entries_is_left_alone() -> None:
    (plan,) = steering.steer(standings(), [rogue()], APPROVED, BOTH)
    assert listed(standing_of(PRIMARY, Reading("kms1", problem="dead")), plan) is None
    assert listed(standings(publish_list=[f"{CORP}, 0, 65535"])[0], plan) is None


def test_a_list_that_windows_cannot_read_is_written_as_declared() -> None:
    one = standing_of(PRIMARY, reading("kms1", publish_list=["what, is, this, here"]))
    (plan,) = steering.steer([one], [rogue()], APPROVED, BOTH)
    assert listed(one, plan) == [f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]


def test_a_deployment_keeps_what_is_steered_with_a_reason_and_nothing_else() -> None:
    now = [PublishEntry(CORP, 0, 65535), PublishEntry(BRANCH, 0, 65535)]
    kept = steering.keep_steered(PRIMARY, now, [CORP])
    assert [format_entry(entry) for entry in kept] == [f"{CORP}, 0, 65535", f"{BRANCH}, 10, 100"]
    assert steering.keep_steered(PRIMARY, [PublishEntry(CORP, 5, 5)], [CORP]) == PRIMARY.publish


def test_an_older_value_of_a_steered_host_is_told() -> None:
    (plan,) = steering.steer(standings(), [*AS_DECLARED, rogue()], APPROVED, [CORP])
    after = [*plan.wanted, PRIMARY.wanted[0], rogue()]
    assert steering.leftovers([plan], after) == [PRIMARY.wanted[0]]
