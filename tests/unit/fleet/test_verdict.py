# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the verification, each with a fleet in which it alone speaks."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.filter import fleet as filters
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.finding import Finding, Kind, Severity, fail, gather
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading, reading_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.verdict import Fleet, domains_to_ask, judge, verdict

CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1, KMS2 = f"kms1.{CORP}", f"kms2.{CORP}"
Data = dict[str, t.Any]

PRIMARY = declare("kms1", {"kms_host_rank": "primary", "kms_host_domains": [CORP, BRANCH]}, KMS1)
SECONDARY = declare("kms2", {"kms_host_rank": "secondary", "kms_host_domains": [CORP, BRANCH]}, KMS2)


def product(role: str = "kms_host", **more: t.Any) -> Data:
    return {
        "role": role,
        "application": "windows",
        "description": "Windows(R) Operating System, VOLUME_KMS_WS22 channel",
        "license_status": 1,
        "is_addon": False,
        "current_count": 50,
        "required_count": 25,
        **more,
    }


def event(code: int, *fields: str) -> Data:
    return {"code": code, "log": "Application", "time": None, "fields": list(fields)}


SUCCESSES = [event(12294, CORP), event(12294, BRANCH)]


def host(priority: int = 10, **more: t.Any) -> Data:
    return {
        "is_kms_host": True,
        "products": [product()],
        "publish_list": [f"{CORP}, {priority}, 100", f"{BRANCH}, {priority}, 100"],
        "dns_publishing": True,
        "events": SUCCESSES,
        **more,
    }


def client(**more: t.Any) -> Data:
    return {
        "role": "kms_client",
        "is_kms_host": False,
        "license_status": 1,
        "license_status_name": "licensed",
        "activation_type": "kms",
        "fqdn": f"pc1.{CORP}",
        "search_domains": [],
        "build": 20348,
        "is_server": True,
        "edition_id": "ServerStandard",
        "kms_server": None,
        "kms_server_used": KMS1,
        "products": [],
        **more,
    }


HEALTHY = Fleet(
    hosts=[PRIMARY, SECONDARY],
    readings={"kms1": Reading("kms1", host()), "kms2": Reading("kms2", host(20))},
    clients=[Reading("pc1", client(client_machine_id="1")), Reading("pc2", client(client_machine_id="2"))],
    records=[*PRIMARY.wanted, *SECONDARY.wanted],
    probes=[{"name": "kms1", "address": "192.0.2.1", "reachable": True, "error": ""}],
)


def fleet(**changes: t.Any) -> Fleet:
    return dataclasses.replace(HEALTHY, **changes)


def with_host(**more: t.Any) -> Fleet:
    return fleet(readings={**HEALTHY.readings, "kms1": Reading("kms1", host(**more))})


def with_client(**more: t.Any) -> Fleet:
    return fleet(clients=[Reading("pc1", client(**more))])


def without(*records: SrvRecord) -> list[SrvRecord]:
    return [record for record in HEALTHY.records if record not in records]


def told(findings: t.Iterable[Finding]) -> list[tuple[str, Kind]]:
    return [(item.severity.value, item.kind) for item in findings]


def only(findings: list[Finding], severity: str, kind: Kind) -> Finding:
    assert told(findings) == [(severity, kind)]
    return findings[0]


def test_a_healthy_fleet_has_no_findings() -> None:
    assert judge(HEALTHY) == []
    result = verdict(HEALTHY)
    assert (result["failed"], result["warned"], result["clients_licensed"]) == (0, 0, 2)
    assert [line.split()[0:5] for line in result["records"]] == [
        [BRANCH, "10", "100", "1688", KMS1],
        [BRANCH, "20", "100", "1688", KMS2],
        [CORP, "10", "100", "1688", KMS1],
        [CORP, "20", "100", "1688", KMS2],
    ]


# -- DNS


def test_a_missing_record_fails() -> None:
    lost = next(record for record in SECONDARY.wanted if record.domain == BRANCH)
    found = only(judge(fleet(records=without(lost))), "fail", Kind.MISSING)
    assert (found.subject, found.machines) == (BRANCH, ("kms2",))


def test_a_missing_record_says_why_if_the_host_knows() -> None:
    lost = next(record for record in PRIMARY.wanted if record.domain == BRANCH)
    events = [event(12294, CORP), event(12293, "0x80072338", BRANCH)]
    changed = with_host(events=events)
    found = only(judge(dataclasses.replace(changed, records=without(lost))), "fail", Kind.MISSING)
    assert "12293" in found.text
    assert "0x80072338" in found.text


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"products": []}, "kms1 has no KMS host key"),
        ({"products": [product(license_status=5)]}, "kms1 is not activated"),
        ({"dns_publishing": False}, "kms1 does not publish itself (dns_publishing is off)"),
        ({"publish_list": [f"{CORP}, 10, 100"]}, "the publish list of kms1 leaves that domain out"),
        ({"publish_list": [f"{CORP}, 10, 100", f"{BRANCH}, 5, 1"]}, f"the publish list of kms1 says {BRANCH}, 5, 1"),
        ({"listening_port": 1689}, "kms1 listens on TCP 1689"),
        ({"events": []}, "no event tells that kms1 has tried lately"),
        ({}, "kms1 has published itself there (event 12294)"),
    ],
)
def test_a_missing_record_says_what_its_host_tells(changes: Data, cause: str) -> None:
    lost = next(record for record in PRIMARY.wanted if record.domain == BRANCH)
    found = judge(dataclasses.replace(with_host(**changes), records=without(lost)))
    (missing,) = [item for item in found if item.kind is Kind.MISSING]
    assert f"1688 {KMS1}: {cause}" in missing.line


def test_a_missing_record_of_a_host_that_is_off_says_so() -> None:
    readings = {**HEALTHY.readings, "kms1": reading_of("kms1", off("kms1"))}
    (missing, unread) = judge(fleet(records=without(PRIMARY.wanted[0]), readings=readings))
    assert (missing.kind, unread.kind) == (Kind.MISSING, Kind.NOT_READ)
    assert missing.line.endswith(": kms1 cannot be reached")
    assert "http://kms1:5985/wsman: Connection refused" in unread.line


def test_records_of_a_host_outside_of_the_limit_only_warn() -> None:
    lost = next(record for record in SECONDARY.wanted if record.domain == BRANCH)
    changed = fleet(records=without(lost), readings={"kms1": HEALTHY.readings["kms1"]})
    assert only(judge(changed), "warn", Kind.MISSING).line.endswith("(left out of this run)")
    rogue = SrvRecord(CORP, f"web07.{CORP}", 1688, 0, 0)
    left = fleet(records=[*HEALTHY.records, rogue], readings={})
    assert only(judge(left), "fail", Kind.NOT_APPROVED).subject == CORP  # the clients within the limit ask it


def test_another_priority_fails() -> None:
    wanted = PRIMARY.wanted[0]
    other = dataclasses.replace(wanted, priority=15)
    only(judge(fleet(records=[*without(wanted), other])), "fail", Kind.DIFFERENT)


@pytest.mark.parametrize(("priority", "share"), [(0, "100 %"), (10, "50 %"), (20, "0 %")])
def test_an_unapproved_value_that_outranks_or_equals_a_host_fails(priority: int, share: str) -> None:
    rogue = SrvRecord(CORP, f"web07.{CORP}", 1688, priority, 100)
    found = only(judge(fleet(records=[*HEALTHY.records, rogue])), "fail", Kind.NOT_APPROVED)
    assert f"takes {share}" in found.text


def test_an_unapproved_value_behind_all_hosts_warns() -> None:
    rogue = SrvRecord(CORP, f"web07.{CORP}", 1688, 21, 100)
    only(judge(fleet(records=[*HEALTHY.records, rogue])), "warn", Kind.NOT_APPROVED_BEHIND)


@pytest.mark.parametrize(
    "record",
    [
        SrvRecord(CORP, KMS1, 1688, 0, 0),
        SrvRecord(CORP, KMS1, 1688, 99, 0),
        SrvRecord("old.example.com", KMS2, 1688, 0, 0),
    ],
)
def test_an_undeclared_value_of_an_approved_host_fails(record: SrvRecord) -> None:
    only(judge(fleet(records=[*HEALTHY.records, record])), "fail", Kind.UNDECLARED)


UNANSWERED = Unanswered(BRANCH, "192.0.2.53", "servfail", "192.0.2.53 failed to find an answer (SERVFAIL)")


def test_a_domain_that_dns_does_not_answer_for_has_no_missing_record() -> None:
    left = [record for record in HEALTHY.records if record.domain != BRANCH]
    changed = fleet(records=left, unanswered=[UNANSWERED])
    found = only(judge(changed), "fail", Kind.DNS_UNANSWERED)
    assert (found.subject, found.machines) == (BRANCH, ("kms1", "kms2"))
    assert found.text == f"DNS could not be asked: {BRANCH}: 192.0.2.53 failed to find an answer (SERVFAIL)"
    assert [line.split()[:3] for line in verdict(changed)["records"]][0] == [BRANCH, "no", "answer"]


def test_a_run_in_check_mode_would_not_make_dns_answer() -> None:
    changed = fleet(records=PRIMARY.wanted[1:], unanswered=[UNANSWERED], changing={"kms1", "kms2"})
    assert ("fail", Kind.DNS_UNANSWERED) in told(judge(changed))


def test_where_dns_does_not_answer_a_refusal_is_still_told() -> None:
    left = [record for record in HEALTHY.records if record.domain != BRANCH]
    refusal = with_host(events=[event(12294, CORP), event(12293, "0x80072338", BRANCH)])
    changed = dataclasses.replace(refusal, records=left, unanswered=[UNANSWERED])
    assert told(judge(changed)) == [("fail", Kind.DNS_UNANSWERED), ("fail", Kind.PUBLISHING_REFUSED)]
    assert "from before" not in judge(changed)[1].text


def test_a_client_is_not_blamed_for_a_domain_that_dns_does_not_answer_for() -> None:
    lost = dataclasses.replace(UNANSWERED, domain="lost.example.org")
    changed = dataclasses.replace(with_client(fqdn="pc1.lost.example.org"), unanswered=[lost])
    assert only(judge(changed), "warn", Kind.DNS_UNANSWERED).subject == "lost.example.org"


def test_a_domain_that_denies_the_service_has_its_records_missing() -> None:
    denied = dataclasses.replace(UNANSWERED, outcome="not_available")
    left = [record for record in HEALTHY.records if record.domain != BRANCH]
    found = told(judge(fleet(records=left, unanswered=[denied])))
    assert found == [("fail", Kind.SERVICE_DENIED), ("fail", Kind.MISSING), ("fail", Kind.MISSING)]


def test_another_value_says_why_if_the_host_knows() -> None:
    wanted = next(record for record in PRIMARY.wanted if record.domain == BRANCH)
    changed = with_host(events=[event(12294, CORP), event(12293, "0x80072338", BRANCH)])
    records = [*without(wanted), dataclasses.replace(wanted, priority=15)]
    assert any("12293" in item.text for item in judge(dataclasses.replace(changed, records=records)))


# -- hosts


@pytest.mark.parametrize(
    ("changes", "severity", "kind"),
    [
        ({"is_kms_host": False, "products": [product("kms_client")]}, "fail", Kind.NO_HOST_KEY),
        ({"products": [product(license_status=5)]}, "fail", Kind.NOT_ACTIVATED),
        ({"products": [product(), product(application="office", license_status=0)]}, "fail", Kind.NOT_ACTIVATED),
        ({"products": [product(current_count=24)]}, "warn", Kind.BELOW_THRESHOLD),
        ({"publish_list": [f"{CORP}, 10, 100"]}, "warn", Kind.PUBLISH_LIST),
        ({"events": [*SUCCESSES, event(12293, "0x80072338", CORP)]}, "fail", Kind.PUBLISHING_REFUSED),
        ({"events": [event(12294, CORP)]}, "warn", Kind.PUBLISHING_UNPROVEN),
        ({"events": [*SUCCESSES, event(12293, "0x80072338", "old.example.com")]}, "warn", Kind.PUBLISHING_UNDECLARED),
        ({"products": [product(description="VOLUME_KMS_WS99 channel")]}, "warn", Kind.HOST_KEY_UNKNOWN),
    ],
)
def test_what_a_host_says_of_itself(changes: Data, severity: str, kind: Kind) -> None:
    assert only(judge(with_host(**changes)), severity, kind).subject == "kms1"


@pytest.mark.parametrize(
    "changes",
    [
        {"events": [event(12293, "0x80072338", CORP), *SUCCESSES]},
        {"events": [event(12294, f"_vlmcs._tcp.{CORP}."), event(12294, BRANCH.upper())]},
        {"events": [event(12294)]},
        {"events": None},
        {"events": [], "dns_publishing": False},
        {"events": [*SUCCESSES, event(12293, "0x80072338", CORP)], "dns_publishing": False},
        {"events": [event(12293, "0x80072338", "old.example.com"), event(12294, "old.example.com"), *SUCCESSES]},
        {"publish_list": [f"{BRANCH},10,100", f" {CORP.upper()}, 10 ,100"]},
        {"publish_list": None},
        {"products": [product(current_count=None)]},
    ],
)
def test_what_is_no_finding_of_a_host(changes: Data) -> None:
    assert judge(with_host(**changes)) == []


@pytest.mark.parametrize("fields", [("0x80072338",), ("0x80072338", "10.0.17763.2028"), ("0x80072338", KMS1), ()])
def test_a_refusal_that_names_no_domain_counts_for_all(fields: tuple[str, ...]) -> None:
    found = judge(with_host(events=[*SUCCESSES, event(12293, *fields)]))
    assert told(found) == [("fail", Kind.PUBLISHING_REFUSED)] * 2


def test_a_refusal_elsewhere_says_nothing_of_the_declared_domains() -> None:
    found = judge(with_host(events=[event(12293, "0x80072338", "old.example.com")]))
    assert told(found) == [("warn", Kind.PUBLISHING_UNDECLARED), ("warn", Kind.PUBLISHING_UNPROVEN)]
    assert "old.example.com" in found[0].text
    assert "0x80072338" in found[0].text


def test_a_host_that_stands_by_collects_no_count() -> None:
    readings = {**HEALTHY.readings, "kms2": Reading("kms2", host(20, products=[product(current_count=0)]))}
    assert only(judge(fleet(readings=readings)), "warn", Kind.NO_COUNT).subject == "kms2"


def test_a_host_that_could_not_be_read_fails() -> None:
    readings = {**HEALTHY.readings, "kms1": Reading("kms1", problem="no route to host")}
    assert "no route to host" in only(judge(fleet(readings=readings)), "fail", Kind.NOT_READ).text


def test_a_host_that_was_not_looked_at_is_still_approved() -> None:
    assert judge(fleet(readings={"kms1": HEALTHY.readings["kms1"]})) == []


def test_a_port_that_answers_at_one_address_is_open() -> None:
    closed = {"name": "kms1", "address": "2001:db8::1", "reachable": False, "error": "timed out"}
    assert judge(fleet(probes=[closed, *HEALTHY.probes])) == []
    assert "timed out" in only(judge(fleet(probes=[closed])), "warn", Kind.PORT_CLOSED).text


@pytest.mark.parametrize("products", [[], [product(license_status=5)]])
def test_a_port_is_not_expected_to_be_open_without_an_activated_host_key(products: list[Data]) -> None:
    closed = {"name": "kms1", "address": "192.0.2.1", "reachable": False, "error": "timed out"}
    found = judge(dataclasses.replace(with_host(products=products), probes=[closed]))
    assert Kind.PORT_CLOSED not in [item.kind for item in found]


def test_a_host_key_that_is_too_old_for_a_machine_fails() -> None:
    found = judge(with_client(build=26100))
    assert told(found) == [("fail", Kind.HOST_KEY_TOO_OLD)] * 2
    assert [item.subject for item in found] == ["kms1", "kms2"]
    assert "Windows Server 2025" in found[0].text


@pytest.mark.parametrize("changes", [{"activation_type": "ad"}, {"role": "mak"}, {"build": 1}])
def test_who_never_asks_needs_no_newer_host_key(changes: Data) -> None:
    assert Kind.HOST_KEY_TOO_OLD not in [item.kind for item in judge(with_client(**{"build": 26100, **changes}))]


# -- clients


@pytest.mark.parametrize(
    ("changes", "severity", "kind"),
    [
        ({"license_status": 5, "license_status_name": "notification"}, "fail", Kind.NOT_LICENSED),
        ({"role": "mak"}, "warn", Kind.NOT_A_CLIENT),
        ({"is_kms_host": True}, "warn", Kind.UNDECLARED_HOST),
        ({"kms_server": "old.example.com", "kms_server_used": "old.example.com"}, "warn", Kind.FIXED_ELSEWHERE),
        ({"kms_server_used": "web07.corp.example.com"}, "warn", Kind.SERVED_ELSEWHERE),
        ({"fqdn": "pc1.lost.example.org"}, "warn", Kind.NOTHING_PUBLISHED),
        ({"lookup_domain": "lost.example.org"}, "warn", Kind.NOTHING_PUBLISHED),
        ({"fqdn": "pc1"}, "warn", Kind.NOTHING_PUBLISHED),
        ({"products": [product("kms_client", kms_server="old.example.com")]}, "warn", Kind.FIXED_ELSEWHERE),
        (
            {"kms_server": KMS1, "products": [product("kms_client", application="office", kms_server="192.0.2.9")]},
            "warn",
            Kind.FIXED_ELSEWHERE,
        ),
        (
            {"kms_server": "old.example.com", "products": [product("kms_client", kms_server="old.example.com")]},
            "warn",
            Kind.FIXED_ELSEWHERE,
        ),
    ],
)
def test_what_a_client_says_of_itself(changes: Data, severity: str, kind: Kind) -> None:
    assert only(judge(with_client(**changes)), severity, kind).machines == ("pc1",)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation_type": "ad", "fqdn": "pc1.lost.example.org", "kms_server": "old.example.com"},
        {"kms_server": KMS2.upper(), "fqdn": "pc1.lost.example.org"},
        {"fqdn": "pc1.lost.example.org", "search_domains": [BRANCH]},
        {"kms_server_used": None},
        {"products": [product("kms_client", kms_server=KMS2.upper())]},
        {"products": [product("kms_client", kms_server="old.example.com", activation_type="ad")]},
        {"products": [product("mak", kms_server="old.example.com")]},
    ],
)
def test_what_is_no_finding_of_a_client(changes: Data) -> None:
    assert judge(with_client(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, f"{KMS1} has 7 of 25"),
        ({"is_server": True}, f"{KMS1} has 7 of 5"),
        ({"kms_server_used": None}, "no KMS host has more than 50 of 25"),
    ],
)
def test_a_client_that_waits_for_the_count_is_told_so(changes: Data, text: str) -> None:
    waiting = product("kms_client", license_status=5, license_status_reason="0xC004F038")
    unlicensed = {"license_status": 5, "is_server": False, "products": [waiting], **changes}
    readings = {**HEALTHY.readings, "kms1": Reading("kms1", host(products=[product(current_count=7)]))}
    changed = dataclasses.replace(with_client(**unlicensed), readings=readings)
    (found,) = [item for item in judge(changed) if item.kind is Kind.NOT_LICENSED]
    assert found.severity is Severity.FAIL
    assert f": pc1 (waits for the count, {text}, and asks again by itself)" in found.line


def test_a_client_may_be_fixed_to_the_address_of_a_host() -> None:
    changed = with_client(kms_server="192.0.2.1")
    assert judge(dataclasses.replace(changed, aliases={"192.0.2.1"})) == []


def test_machines_that_share_an_identity_are_told_together() -> None:
    clients = [Reading(name, client(client_machine_id=cmid)) for name, cmid in (("a", "X"), ("b", "x"), ("c", "y"))]
    assert only(judge(fleet(clients=clients)), "warn", Kind.DUPLICATE_CMID).machines == ("a", "b")


def test_clients_with_the_same_trouble_are_one_finding() -> None:
    clients = [client(license_status=5, license_status_name="notification", client_machine_id=str(n)) for n in range(7)]
    found = only(
        judge(fleet(clients=[Reading(f"pc{n}", one) for n, one in enumerate(clients)])), "fail", Kind.NOT_LICENSED
    )
    assert len(found.machines) == 7
    assert found.line == "not licensed (notification) (7 machines): pc0, pc1, pc2, pc3, pc4 and 2 more"


def off(name: str) -> Data:
    text = f"Connecting failed on {name}: no connection to http://{name}:5985/wsman: Connection refused. Check it."
    return {"unreachable": True, "msg": f"{text} Nothing was changed."}


def test_machines_that_cannot_be_reached_for_the_same_reason_are_one_line() -> None:
    refused = {
        "unreachable": True,
        "msg": "Connecting failed on pc9: the credentials were refused. Nothing was changed.",
    }
    results = {**{f"pc{number}": off(f"pc{number}") for number in range(7)}, "pc9": refused}
    clients = [reading_of(name, result) for name, result in results.items()]
    many, one = judge(fleet(clients=clients))
    assert many.line == (
        "cannot be reached (7 machines): pc0, pc1, pc2, pc3, pc4 and 2 more"
        " (no connection to its address: Connection refused. Check it)"
    )
    assert one.line == "cannot be reached: pc9 (the credentials were refused)"
    unread = verdict(fleet(clients=clients))["unread"]
    assert [row["machine"] for row in unread] == list(results)
    assert "http://pc3:5985" in unread[3]["problem"]


def test_a_machine_that_failed_earlier_says_how() -> None:
    failed = {"failed": True, "msg": "Refused on pc1, nothing was changed: it has a licence."}
    found = judge(fleet(clients=[reading_of("pc1", None, [None, {"changed": True}, failed])]))
    text = "left out after it failed earlier in this run: pc1 (Refused, nothing was changed: it has a licence)"
    assert [item.line for item in found] == [text]
    assert "cannot be reached: pc1" in judge(fleet(clients=[reading_of("pc1", None, [off("pc1")])]))[0].line


# -- the whole


def test_check_mode_does_not_fail_for_what_the_run_would_mend() -> None:
    fresh = fleet(
        readings={"kms1": Reading("kms1", {"products": []}), "kms2": Reading("kms2", {"products": []})},
        clients=[Reading("pc1", client(license_status=5))],
        records=[],
        probes=[],
    )
    assert {item.severity for item in judge(fresh)} == {Severity.FAIL, Severity.WARN}
    planned = judge(dataclasses.replace(fresh, changing={"kms1", "kms2", "pc1"}))
    assert {item.severity for item in planned} == {Severity.WARN}
    assert all(item.text.endswith("(this run would change that)") for item in planned)
    assert {item.kind for item in planned} == {Kind.MISSING, Kind.NO_HOST_KEY, Kind.NOT_LICENSED}


def test_check_mode_fails_for_what_the_run_would_not_mend() -> None:
    rogue = SrvRecord(CORP, f"web07.{CORP}", 1688, 0, 0)
    readings = {**HEALTHY.readings, "kms2": Reading("kms2", problem="no route to host")}
    changed = fleet(records=[*HEALTHY.records, rogue], readings=readings, changing={"kms1", "kms2"})
    assert told(judge(changed)) == [("fail", Kind.NOT_APPROVED), ("fail", Kind.NOT_READ)]
    lost = PRIMARY.wanted[0]
    only(judge(fleet(records=without(lost), changing={"kms2"})), "fail", Kind.MISSING)


def test_what_fails_comes_first() -> None:
    changed = fleet(clients=[Reading("a", client(role="mak")), Reading("b", client(license_status=0))])
    assert told(judge(changed)) == [("fail", Kind.NOT_LICENSED), ("warn", Kind.NOT_A_CLIENT)]


def test_gathering_names_a_machine_once() -> None:
    same = fail(Kind.NOT_LICENSED, "clients", "not licensed", "a")
    assert gather([same, same])[0].machines == ("a",)


def test_every_domain_that_matters_is_asked() -> None:
    moved = declare("kms3", {"kms_host_publish": [f"{BRANCH}, 1, 1"]}, "kms3.home.example.org")
    seen = [
        Reading("pc1", client(fqdn="pc1.a.example.com", search_domains=["B.example.com"])),
        Reading("pc2", problem="x"),
    ]
    assert domains_to_ask([moved], seen) == ["a.example.com", "b.example.com", BRANCH, "home.example.org"]


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (None, "earlier in this run"),
        ({"unreachable": True, "msg": "no route\n to  host"}, "no route to host"),
        ({"failed": False, "msg": ""}, "no reason"),
    ],
)
def test_a_machine_that_was_not_read_says_why(result: object, problem: str) -> None:
    assert problem in reading_of("pc1", result).problem


# -- what was seen in the same run before


def test_clients_that_were_seen_licensed_are_not_read_again() -> None:
    rogue = client(license_status=5, is_kms_host=True, role="kms_host")
    converted = {"kms": client(search_domains=None), "verified": True}
    hostvars = {
        "well": {"_kms_verify_read": {"kms": client()}},
        "ill": {"_kms_verify_read": {"kms": client(license_status=5)}},
        "host": {"_kms_verify_read": {"kms": client(is_kms_host=True)}},
        "dead": {"_kms_verify_read": {"unreachable": True, "msg": "no answer"}},
        "unseen": {},
        "converted": {"_kms_verify_read": {"kms": rogue}, "_kms_convert_result": converted},
        "failed": {"_kms_verify_read": {"kms": rogue}, "_kms_convert_result": {"failed": True, "msg": "0xC004F074"}},
        "passed over": {"_kms_verify_read": {"kms": rogue}, "_kms_convert_result": {"skipped": True}},
    }
    assert filters.clients_to_read(hostvars, list(hostvars)) == [
        "ill",
        "host",
        "dead",
        "unseen",
        "failed",
        "passed over",
    ]


def test_a_machine_is_judged_by_what_its_conversion_left_unless_it_was_read_since() -> None:
    before = client(license_status=5, is_kms_host=True, role="kms_host", search_domains=["attic.example.org"])
    after = {"kms": client(client_machine_id="7", search_domains=None, fqdn="pc1"), "verified": True}
    hostvars = {"pc1": {"_kms_verify_read": {"kms": before}, "_kms_convert_result": after}}
    known = filters.findings(hostvars, [], [], ["pc1"], known=["pc1"])
    assert (known["clients_licensed"], known["failed"]) == (1, 0)
    assert any("attic.example.org" in line for line in known["lines"])  # where it looks is told by its reading alone
    read = filters.findings(hostvars, [], [], ["pc1"])
    assert (read["clients_licensed"], read["failed"]) == (0, 1)
