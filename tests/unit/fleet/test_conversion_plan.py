# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is turned into a client and how, what came of it, and which values in DNS go."""

from __future__ import annotations

import typing as t

import pytest
from unit.fleet.test_rogues import BRANCH, CORP, KMS1, PRIMARY, WEB7, fleet, key, machine, value

from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.batches import State
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.conversion import (
    answering_hosts,
    judge,
    orders_in_short,
    plan,
    retire_problems,
    retirement,
    row_of,
    still_there,
    values_of,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import survey

Data = dict[str, t.Any]

KMS2 = f"kms2.{CORP}"
OFFICE = key("office", activation_id="0f0f")
WEB = machine("web", WEB7, key(partial_product_key="ROGUE", current_count=3))
LAB = machine("lab", f"lab.{CORP}", OFFICE)
BOTH = machine("both", f"both.{CORP}", key(), OFFICE)
LEFT = machine("left", f"left.{CORP}")
MAK = machine("mak", f"mak.{CORP}", role="mak")
HALF = machine("half", f"half.{CORP}", publish_list=[f"{BRANCH}, 0, 0"])
DEAD = Reading("dead", problem="Connecting failed on dead: refused")
#: It serves Office, too.
SERVER = machine("kms1", KMS1, key(), key("office", activation_id="1f1f"), publish_list=[f"{CORP}, 10, 100"])
EVERYBODY = [SERVER, WEB, LAB, BOTH, LEFT, MAK, HALF, DEAD]
RECORDS = [value(), value(f"left.{CORP}"), value(f"mak.{CORP}"), value(f"both.{CORP}"), value(f"ghost.{CORP}")]
NAMES = [one.name for one in EVERYBODY]


def planned(*names: str, approved: ApprovedHosts | None = None, **more: t.Any) -> Data:
    return plan(survey(fleet(*EVERYBODY, records=RECORDS, **more)), names or NAMES, approved)


def test_who_has_a_turn_and_who_is_left_out_with_a_reason() -> None:
    made = planned()
    assert set(made["hosts"]) == {"web", "both", "left", "mak", "half"}
    assert made["office"] == ["lab"]
    assert made["stop"] == []
    told = {item["machine"] or item["fqdn"]: item for item in made["left_out"]}
    assert set(told) == {"dead", f"ghost.{CORP}"}
    assert "refused" in told["dead"]["reason"]
    assert told[f"ghost.{CORP}"]["inventory_line"] == f"ghost.{CORP}: {{}}"


def test_what_is_left_out_is_told_once_and_a_stale_name_is_not_to_be_added() -> None:
    dead, stale = Reading(f"dead.{CORP}", problem="refused"), f"ghost.{CORP}"
    values = [value(), value(dead.name), value(stale)]
    report = survey(fleet(WEB, dead, records=values, addresses={stale: [], KMS1: ["192.0.2.1"]}))
    left = plan(report, ["web"])["left_out"]
    assert sorted((item["machine"], item["fqdn"], item["inventory_line"]) for item in left) == [
        ("", stale, ""),
        (dead.name, dead.name, ""),
    ]
    assert "could not be read: refused" in [item["reason"] for item in left]


def test_what_a_person_has_to_do_is_open_and_what_another_run_does_is_not() -> None:
    named, nobody, elsewhere = f"dead.{CORP}", f"ghost.{CORP}", f"later.{CORP}"
    dead, off = Reading(named, problem="refused"), Reading("off", problem="refused")
    azure = machine("azure", f"azure.{CORP}", key(), edition_id="ServerTurbine")
    values = [value(), *map(value, (named, nobody, elsewhere))]
    report = survey(fleet(WEB, dead, off, azure, records=values, unseen=[elsewhere]))
    found = {item["machine"] or item["fqdn"]: item["is_open"] for item in plan(report, ["web", "azure"])["left_out"]}
    # Nobody knows what the one is that is off; the last one was not to be looked at.
    assert found == {named: True, nobody: True, "azure": True, "off": False, elsewhere: False}
    # A slice tells of its own machines, and of what is no machine's.
    report["earlier"] = {}
    found = {item["machine"] or item["fqdn"]: item["is_open"] for item in plan(report, ["web", named])["left_out"]}
    assert found == {named: True, nobody: True, "azure": False, "off": False, elsewhere: False}


def test_an_approved_host_is_never_among_them_whatever_an_older_report_says() -> None:
    assert "kms1" not in planned()["orders"]
    assert "web" not in planned(approved=ApprovedHosts.of([KMS1, WEB7]))["orders"]


def test_a_declared_host_is_never_among_them_whatever_it_calls_itself() -> None:
    for fqdn in (f"renamed.{CORP}", "kms1", ""):
        for keys in ([key()], []):
            renamed = machine("kms1", fqdn, *keys)
            report = survey(fleet(renamed, WEB, records=[value(f"renamed.{CORP}")]))
            assert "kms1" not in plan(report, ["kms1", "web"])["orders"]


def test_a_host_declared_after_an_earlier_report_is_left_alone_with_a_reason() -> None:
    report = survey(fleet(*EVERYBODY, machine("bare", "", key()), records=RECORDS))
    made = plan(report, [*NAMES, "bare"], declared=["web", "left", "bare"])
    assert not {"web", "left", "bare"} & {*made["orders"], *made["outside"]}
    told = {item["machine"]: item["reason"] for item in made["left_out"]}
    assert all("declared as a KMS host" in told[name] for name in ("web", "left", "bare"))


def test_the_first_turn_is_that_of_a_machine_that_is_to_be_converted() -> None:
    tidied = machine("a-left", f"a-left.{CORP}")
    report = survey(fleet(tidied, *EVERYBODY, records=[*RECORDS, value(f"a-left.{CORP}")]))
    hosts = plan(report, ["a-left", *NAMES])["hosts"]
    assert hosts[:2] == ["web", "both"] and "a-left" in hosts  # a host of Office proves less


def test_what_is_outside_of_the_run_is_counted_and_left_alone() -> None:
    made = planned("web")
    assert list(made["orders"]) == ["web"]
    assert made["outside"] == ["both", "half", "lab", "left", "mak"]


def test_how_each_is_treated() -> None:
    orders = planned()["orders"]
    against = f"{KMS1}:1688"
    keep = {name for name, order in orders.items() if order["keeps_key"]}
    assert keep == {"left", "mak", "half"}
    # A client, and a machine that is none, with a stale value in DNS: neither is one that a run left half done.
    assert {name for name, order in orders.items() if not order["is_touched"]} == {"left", "mak"}
    assert orders["lab"]["activation_ids"] == ["0f0f"]
    assert orders["both"]["stays_host"] and not orders["lab"]["stays_host"]
    assert orders["web"] | {"against": against} == orders["web"]
    assert orders_in_short(planned()) == {
        "against": against,
        "other": {},
        "keep": ["half", "left", "mak"],
        "untouched": ["left", "mak"],
        "look": [],
        "misled": [],
        "stays_host": ["both"],
        "fqdn": {name: f"{name}.{CORP}" for name in orders if name != "web"} | {"web": WEB7},
    }


def test_what_is_left_of_a_host_of_office_goes_whatever_its_windows_is() -> None:
    died = machine("mak", f"mak.{CORP}", role="mak", host_version="10.0")
    listed = machine("oem", f"oem.{CORP}", role="oem", publish_list=[f"{CORP}, 0, 0"])
    made = plan(survey(fleet(SERVER, died, listed, HALF, records=RECORDS)), ["mak", "oem", "half"])
    assert (set(made["office"]), made["hosts"]) == ({"mak", "oem"}, ["half"])
    for name in ("mak", "oem"):
        order = made["orders"][name]
        assert (order["is_touched"], order["keeps_key"], order["activation_ids"]) == (True, True, [])


def test_a_rogue_that_is_fixed_to_another_one_is_not_to_ask_that_one_as_a_client() -> None:
    misled = machine("misled", f"misled.{CORP}", key(), kms_server=WEB7)
    fixed = machine("fixed", f"fixed.{CORP}", key(), kms_server=KMS1)
    client = machine("left", f"left.{CORP}", kms_server=WEB7)  # only its values in DNS go
    report = survey(fleet(WEB, misled, fixed, client, records=RECORDS))
    assert orders_in_short(plan(report, ["web", "misled", "fixed", "left"]))["misled"] == ["misled"]


def test_nobody_is_activated_against_a_host_below_its_threshold_or_one_that_does_not_serve_it() -> None:
    young = machine("kms1", KMS1, key(current_count=3), publish_list=[f"{CORP}, 10, 100"])
    report = survey(fleet(WEB, records=RECORDS, approved=ApprovedHosts.of([KMS1])))
    assert answering_hosts(report) == {"kms1": f"{KMS1}:1688"}
    report = survey(fleet(young, WEB, records=RECORDS))
    assert answering_hosts(report) == {}
    made = plan(report, ["web"])
    assert (made["orders"]["web"]["against"], made["stop"]) == ("", [])


def test_without_an_approved_host_that_is_ready_nothing_is_planned() -> None:
    dead = Reading("kms1", problem="off")
    made = plan(survey(fleet(dead, WEB, LEFT, records=RECORDS)), ["web", "left"])
    assert made["orders"].keys() == {"left"}  # nobody could serve the other as a client
    assert "no approved KMS host" in made["stop"][0]


def test_what_only_a_host_serves_that_nobody_finds_is_left_out() -> None:
    second = machine("kms2", KMS2, key(description="Windows(R) Operating System, VOLUME_KMS_WS25 channel"), OFFICE)
    newer = machine("newer", f"newer.{CORP}", key(), build=26100)
    known = ApprovedHosts.of([KMS1, KMS2])
    everybody = (second, newer, LAB, WEB)
    made = plan(survey(fleet(*everybody, approved=known)), ["newer", "lab", "web"])
    assert (list(made["orders"]), made["stop"]) == (["web"], [])
    assert {item["machine"] for item in made["left_out"] if "not published" in item["reason"]} == {"newer", "lab"}
    found = plan(survey(fleet(*everybody, records=[value(KMS2)], approved=known)), ["newer", "lab", "web"])
    assert set(found["orders"]) == {"newer", "lab", "web"}


def test_office_is_left_alone_without_an_approved_host_that_serves_office() -> None:
    for other in (machine("kms1", KMS1, key()), machine("kms1", KMS1, key(), key("office", license_status=5))):
        made = plan(survey(fleet(other, WEB, LAB, BOTH, records=RECORDS)), ["web", "lab", "both"])
        assert (set(made["orders"]), made["office"], made["stop"]) == ({"web", "both"}, [], [])
        (left,) = [item for item in made["left_out"] if item["machine"] == "lab"]
        assert "activation_id: 0f0f" in left["reason"]


def test_a_run_stops_when_nobody_serves_any_of_its_rogues() -> None:
    newer = machine("newer", f"newer.{CORP}", key(), build=26100)
    for other in (LAB, newer):
        made = plan(survey(fleet(other)), [other.name])
        assert made["orders"] == {} and "serve any of the 1 rogues" in made["stop"][0]
    assert plan(survey(fleet(LAB, WEB)), ["lab", "web"])["stop"] == []
    assert plan(survey(fleet(LAB)), [])["stop"] == []  # it has nothing to do here


def test_an_approved_host_that_the_inventory_lists_twice_still_serves_and_says_so() -> None:
    again = machine("kms1-again", KMS1, key(), publish_list=[f"{CORP}, 10, 100"])
    report = survey(fleet(again, WEB, records=RECORDS))
    made = plan(report, ["web", "kms1", "kms1-again"])
    assert (list(made["orders"]), made["stop"]) == (["web"], [])
    assert made["orders"]["web"]["against"] == f"{KMS1}:1688"
    (own,) = [host for host in report["hosts"] if host["fqdn"] == KMS1]
    assert own["identity"] == "ambiguous" and "kms1, kms1-again" in own["advice"]


DONE: Data = {
    "changes": [{"setting": "product_key"}],
    "verified": True,
    "kms": {"is_kms_host": False, "publish_list": [f"{BRANCH}, 0, 0"]},
    "kms_before": {"role": "kms_host", "partial_product_key": "ROGUE"},
    "published_as": [{"domain": BRANCH, "target": WEB7.upper()}, {"domain": CORP, "target": WEB7}],
}
FAILED: Data = {"changes": [], "msg": "Installing the key failed"}


@pytest.mark.parametrize(
    ("name", "result", "state"),
    [
        ("web", DONE, State.CONVERTED),
        ("web", DONE | {"changes": []}, State.SETTLED),
        ("web", DONE | {"changes": [{"setting": "publish_list"}]}, State.SETTLED),
        ("web", DONE | {"kms": {"is_kms_host": True}}, State.STAYS_HOST),
        ("both", DONE, State.STAYS_HOST),
        ("web", FAILED, State.FAILED),
        ("web", {"unreachable": True, "msg": "no route"}, State.UNREACHABLE),
        ("web", None, State.FAILED),
        ("mak", {"skipped": True}, State.SETTLED),
        ("lab", {"results": [DONE, DONE]}, State.CONVERTED),
        ("lab", {"results": [DONE, FAILED]}, State.FAILED),
    ],
)
def test_what_came_of_a_machine(name: str, result: t.Any, state: State) -> None:
    assert judge(name, planned()["orders"][name], result).state is state


def left_behind(name: str, result: t.Any) -> set[tuple[str, str]]:
    order = planned()["orders"][name]
    return {(one["domain"], one["target"]) for one in values_of(judge(name, order, result), order, result)}


def test_the_values_of_a_machine_go_once_it_is_no_host() -> None:
    assert left_behind("web", DONE) == {(BRANCH, WEB7), (CORP, WEB7)}
    # It has its client key, only the activation failed.
    assert left_behind("web", FAILED | {"changes": DONE["changes"]}) == {(CORP, WEB7)}
    assert left_behind("mak", {"skipped": True}) == {(CORP, f"mak.{CORP}")}
    # Read in this run: there is nothing to do on it.
    assert left_behind("left", None) == {(CORP, f"left.{CORP}")}


def test_the_name_of_an_approved_host_is_never_removed() -> None:
    order = planned()["orders"]["web"]
    result = DONE | {"published_as": [*DONE["published_as"], {"domain": CORP, "target": KMS1.upper()}]}
    found = values_of(judge("web", order, result), order, result, ApprovedHosts.of([KMS1]))
    assert {one["target"] for one in found} == {WEB7}
    assert values_of(judge("web", order, result), order, result, ApprovedHosts.of([KMS1, WEB7])) == []
    assert planned()["approved"] == [KMS1]


def test_the_values_of_a_machine_that_may_still_be_a_host_stay() -> None:
    for name, result in (("web", FAILED), ("web", {"unreachable": True}), ("both", DONE), ("web", None)):
        assert left_behind(name, result) == set()


def test_the_values_of_a_machine_that_keeps_its_key_stay_until_it_was_read() -> None:
    # Another one answers under its name (expected_fqdn), it is gone, or the run did not get to it.
    for result in (FAILED, {"unreachable": True, "msg": "no route"}, None):
        assert left_behind("half", result) == set()
    # It is the one that is meant and has no host key; only its activation failed.
    read = FAILED | {"published_as": [{"domain": BRANCH, "target": f"half.{CORP}"}]}
    assert left_behind("half", read) == {(BRANCH, f"half.{CORP}")}


def test_a_value_is_gone_when_a_server_of_its_zone_says_so() -> None:
    values = [{"domain": domain, "target": WEB7} for domain in (CORP, BRANCH)]
    other = {"domain": CORP, "target": KMS1}
    (left,) = still_there(values, [other], [])  # nothing there: it may not have answered
    assert left["domain"] == BRANCH and "clear_publish_list" in left["error"]  # or there is no such domain any more
    assert still_there(values, [other], [BRANCH]) == []
    assert still_there(values, [other, values[0]], [CORP, BRANCH]) == [values[0]]  # another server shows it


def test_a_value_is_not_gone_while_a_server_is_silent_unless_the_one_that_removed_it_says_so() -> None:
    value = {"domain": CORP, "target": WEB7}
    shown = [{"domain": CORP, "target": KMS1}]
    silent = {CORP: "192.0.2.1 did not answer in time"}
    (left,) = still_there([value], shown, [], silent)
    assert row_of(judge("web", planned()["orders"]["web"], None), planned()["orders"]["web"], None, [left])[
        "values_left"
    ] == [f"{CORP}: {WEB7} (not proven gone: 192.0.2.1 did not answer in time)"]
    assert still_there([value], shown, [CORP], silent) == []


def test_the_state_before_is_kept_without_what_nobody_needs() -> None:
    order = planned()["orders"]["web"]
    row = row_of(judge("web", order, DONE), order, DONE, [{"domain": CORP, "target": WEB7}])
    assert row["before"]["partial_product_key"] == "ROGUE"
    assert row["values_left"] == [f"{CORP}: {WEB7}"]


# ---- a host that leaves


SECOND = declare("kms2", {"kms_host_domains": [CORP], "kms_host_rank": "secondary"}, KMS2)


def two_hosts(count: int, *domains: str, leaving: Reading | None = None, **more: t.Any) -> Data:
    real = machine("kms2", KMS2, key(current_count=count, **more))
    found = fleet(real, *([leaving] if leaving else []), records=SECOND.wanted, approved=ApprovedHosts.of([KMS1, KMS2]))
    extra = [value(KMS1, domain, 10) for domain in domains]
    hosts = [PRIMARY, SECOND]
    return survey(type(found)(hosts, found.approved, found.readings, [*found.records, *extra]))


def test_a_host_leaves_only_what_another_one_serves() -> None:
    assert retire_problems(two_hosts(30), "kms1") == []
    assert "threshold" in retire_problems(two_hosts(3), "kms1")[0]
    assert BRANCH in retire_problems(two_hosts(30, BRANCH), "kms1")[0]
    assert "no declared KMS host" in retire_problems(two_hosts(30), "web")[0]


def test_a_host_that_is_gone_is_not_retired_but_told_what_is_left_to_do() -> None:
    (problem,) = retire_problems(two_hosts(30, leaving=Reading("kms1", problem="Connecting failed.")), "kms1")
    assert "Connecting failed. If it is gone for good" in problem and "srv_cleanup" in problem


def test_a_host_with_a_key_of_another_application_is_refused_with_its_activation_id() -> None:
    both = machine("kms1", KMS1, key(), OFFICE)
    (problem,) = retire_problems(two_hosts(30, leaving=both), "kms1")
    assert "0f0f" in problem


def test_another_host_must_activate_what_the_leaving_one_does() -> None:
    older = "Windows(R) Operating System, VOLUME_KMS_WS16 channel"
    (missing, itself) = retire_problems(two_hosts(30, description=older), "kms1")
    assert CORP in missing and "Windows Server 2022" in missing and "Windows Server 2016" not in missing
    assert "kms1 itself" in itself
    newer = machine("kms1", KMS1, key(), build=26100)  # it runs what no host of the fleet has a key for
    (problem,) = retire_problems(two_hosts(30, leaving=newer), "kms1")
    assert "kms1 itself" in problem


def test_what_retiring_a_host_takes() -> None:
    assert retirement(two_hosts(30), "kms1") == {
        "fqdn": KMS1,
        "is_kms_host": True,
        "against": f"{KMS2}:1688",
        "values": [{"domain": CORP, "target": KMS1}],
    }


@pytest.mark.parametrize(
    ("listed", "domains"), [([f"{BRANCH}, 10, 100", f"{CORP}, 10, 100"], [BRANCH, CORP]), ([], [CORP])]
)
def test_a_host_that_publishes_itself_no_more_still_leaves_every_domain_it_was_published_in(
    listed: list[str], domains: list[str]
) -> None:
    """The second start of a run that died after that: it asks nobody but the host where its values are."""
    stopped = machine("kms1", KMS1, key(), publish_list=listed, dns_publishing=False)
    values = retirement(two_hosts(30, leaving=stopped), "kms1")["values"]
    assert values == [{"domain": domain, "target": KMS1} for domain in domains]
