# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is approved, who is behind a name, and what the survey says of each machine."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import survey as survey_module
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import (
    ApprovedHosts,
    Identity,
    Machines,
    approved_hosts,
    inventory_line,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.rogues import (
    domains_to_ask,
    installed_on,
    served_by,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import (
    Survey,
    machines_to_convert,
    precheck,
    report_of,
    survey,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey_table import SHOWN, lines

Data = dict[str, t.Any]
CORP, BRANCH = "corp.example.com", "branch.example.net"
KMS1, WEB7 = f"kms1.{CORP}", f"web07.{CORP}"
PRIMARY = declare("kms1", {"kms_host_domains": [CORP]}, KMS1)


def key(application: str = "windows", **more: t.Any) -> Data:
    return {
        "role": "kms_host",
        "application": application,
        "description": "Windows(R) Operating System, VOLUME_KMS_WS22 channel",
        "partial_product_key": "HK222",
        "product_key_id": "06401-00206-471-002062-03-1033-20348.0000-2232026",
        "license_status": 1,
        "license_status_name": "licensed",
        "is_addon": False,
        "current_count": 50,
        "required_count": 25,
        **more,
    }


def machine(name: str, fqdn: str, *keys: Data, **more: t.Any) -> Reading:
    kms = {
        "role": "kms_host" if keys else "kms_client",
        "fqdn": fqdn,
        "build": 20348,
        "is_server": True,
        "edition_id": "ServerStandard",
        "os_name": "Microsoft Windows Server 2022 Standard",
        "products": list(keys),
        "publish_list": [],
        **more,
    }
    return Reading(name, kms)


REAL = machine("kms1", KMS1, key(), publish_list=[f"{CORP}, 10, 100"])


def fleet(*readings: Reading, records: t.Sequence[SrvRecord] = (), **more: t.Any) -> Survey:
    read = {one.name: one for one in (REAL, *readings)}
    approved = more.pop("approved", ApprovedHosts.of([KMS1]))
    return Survey([PRIMARY], approved, read, [*PRIMARY.wanted, *records], **more)


def value(target: str = WEB7, domain: str = CORP, priority: int = 0) -> SrvRecord:
    return SrvRecord(domain, target, 1688, priority, 0)


def entry(report: Data, fqdn: str) -> Data:
    (found,) = [host for host in report["hosts"] if host["fqdn"] == fqdn]
    return t.cast(Data, found)


# ---- approval


def test_names_and_globs_approve_whatever_their_spelling() -> None:
    approved = ApprovedHosts.of(["KMS1.corp.example.com.", "kms-*.branch.example.net"])
    assert KMS1 in approved and f"{KMS1.upper()}." in approved and f"kms-9.{BRANCH}" in approved
    assert WEB7 not in approved and "" not in approved and None not in approved
    assert "kms1xcorp.example.com" not in approved


@pytest.mark.parametrize("patterns", [[], ["*"], ["*.*"], ["kms1"], ["?*"], ["[a-z0-9]*"]])
def test_what_approves_nobody_or_anybody_is_refused(patterns: list[str]) -> None:
    with pytest.raises(ValueError):
        ApprovedHosts.of(patterns)


def test_the_declared_hosts_are_approved_unless_others_are_named() -> None:
    assert KMS1 in approved_hosts([], [PRIMARY])
    assert f"kms9.{CORP}" in approved_hosts([f"kms?.{CORP}"], [PRIMARY])
    with pytest.raises(ValueError, match=KMS1):
        approved_hosts([f"other.{CORP}"], [PRIMARY])
    with pytest.raises(ValueError):
        approved_hosts([], [declare("kms1", {})])


def test_a_machine_is_told_by_its_own_name_alone() -> None:
    machines = Machines.of([machine("a", f"{WEB7}."), machine(WEB7, f"other.{CORP}"), Reading("dead", problem="dead")])
    assert machines.named(WEB7) == ("a",)
    assert machines.identity(WEB7.upper()) is Identity.KNOWN
    assert machines.identity("dead") is Identity.UNKNOWN
    assert Machines.of([machine("a", WEB7), machine("b", WEB7)]).identity(WEB7) is Identity.AMBIGUOUS


@pytest.mark.parametrize("name", ["-oProxyCommand=x.example.com", "{{ x }}.example.com", "web07", "10.0.0.1"])
def test_a_name_that_no_machine_can_have_makes_no_line_of_an_inventory(name: str) -> None:
    assert inventory_line(name) == ""
    assert inventory_line(WEB7) == f"{WEB7}: {{}}"


# ---- one machine


@pytest.mark.parametrize(
    ("pid", "day"),
    [
        ("03612-03311-000-000001-03-1033-26200.0000-2232026", "2026-08-11"),
        ("05426-00206-234-001162-03-1033-9200.0000-0992013", "2013-04-09"),
        ("03612-03311", None),
        ("x-0000000", None),
        (None, None),
    ],
)
def test_the_day_of_installation_stands_at_the_end_of_the_product_key_id(pid: str | None, day: str | None) -> None:
    assert installed_on(pid) == day


def test_a_host_serves_what_its_key_is_for_and_only_when_activated() -> None:
    newer = machine("new", WEB7, key(), build=26100)
    assert served_by(machine("old", WEB7, key()), [REAL]) == ("kms1",)
    assert served_by(newer, [REAL]) == ()
    assert served_by(machine("odd", WEB7, key(), build=99999), [REAL]) == ("kms1",)
    assert served_by(machine("old", WEB7, key()), [machine("kms1", KMS1, key(license_status=5))]) == ()


def test_wherever_a_machine_may_ever_have_published_itself_is_asked() -> None:
    listed = machine("a", WEB7, key(), publish_list=[f"{BRANCH}, 0, 0"])
    silent = machine("b", f"b.lab.{CORP}", key(), dns_publishing=False)
    client = machine("c", f"c.other.{CORP}", publish_list=["old.example.org, 0, 0"])
    rogue = machine("d", f"d.dev.{CORP}", key())
    assert domains_to_ask([CORP], [listed, silent, client, rogue]) == sorted(
        [CORP, BRANCH, f"lab.{CORP}", f"other.{CORP}", "old.example.org", f"dev.{CORP}"]
    )


def test_the_home_domain_of_a_client_that_was_a_rogue_is_asked() -> None:
    """Its mark and its list are gone, or were never there: only its name tells where it published itself."""
    assert domains_to_ask([CORP], [machine("web01", "web01.lab.example.org")]) == [CORP, "lab.example.org"]


@pytest.mark.parametrize("fqdn", ["web07", "", "web07.my lab.example.org", "web07.10.0.0.1"])
def test_what_is_no_domain_is_not_asked(fqdn: str) -> None:
    """A machine says of itself what it likes, and one odd name must not end the run for all."""
    assert domains_to_ask([CORP], [machine("a", fqdn), machine("b", WEB7, publish_list=["x y, 0, 0"])]) == [CORP]


# ---- the survey


def test_a_rogue_is_described_by_what_it_says_and_what_it_takes() -> None:
    web = machine("web-prod-7", WEB7, key(license_status=5, current_count=3), requests={"total": 14})
    report = survey(fleet(web, records=[value(), value(domain=BRANCH)], declared_keys=["hk222"]))
    found = entry(report, WEB7)
    assert (found["status"], found["treatment"], found["machine"]) == ("rogue", "convert", "web-prod-7")
    assert found["keys"][0]["is_declared_key"] and not found["keys"][0]["activated"]
    assert found["keys"][0]["installed"] == "2026-08-11"
    assert [(r["domain"], r["share"], r["outranks"]) for r in found["records"]] == [
        (BRANCH, 1.0, False),
        (CORP, 1.0, True),
    ]
    assert machines_to_convert(report) == ["web-prod-7"]
    assert entry(report, KMS1)["status"] == "approved"


def test_a_machine_with_a_host_key_is_a_rogue_without_any_record() -> None:
    report = survey(fleet(machine("web07", WEB7, key())))
    assert entry(report, WEB7)["status"] == "rogue" and entry(report, WEB7)["records"] == []
    assert machines_to_convert(survey(fleet(machine("bare", "", key())))) == ["bare"]


@pytest.mark.parametrize(
    ("reading", "status", "treatment", "word"),
    [
        (machine("w", WEB7, key("office", activation_id="0f0f")), "rogue", "report", "activation_id: 0f0f"),
        (machine("w", WEB7, key(), key("office")), "rogue", "convert", "Office"),
        (machine("w", WEB7, key(), edition_id="ServerStandardEval"), "rogue", "report", "evaluation"),
        (machine("w", WEB7, key(), edition_id="ServerAzureStackHCICor"), "rogue", "report", "Azure"),
        (machine("w", WEB7, key(), build=26100), "rogue", "report", "Windows Server 2025"),
        (machine("w", WEB7), "left_behind", "remove_records", "no KMS host key"),
        (machine("w", WEB7, host_version="10.0.20348.1"), "left_behind", "remove_records", "not come to its end"),
        (machine("w", WEB7, role="mak"), "left_behind", "remove_records", "mak"),
    ],
)
def test_what_can_be_done_depends_on_the_machine(reading: Reading, status: str, treatment: str, word: str) -> None:
    found = entry(survey(fleet(reading, records=[value()])), WEB7)
    assert (found["status"], found["treatment"]) == (status, treatment)
    assert word in found["advice"]


def test_a_host_key_of_office_goes_when_an_approved_host_serves_office() -> None:
    serving = machine("kms1", KMS1, key(), key("office"))
    found = entry(survey(fleet(serving, machine("w", WEB7, key("office")), records=[value()])), WEB7)
    assert (found["status"], found["treatment"]) == ("rogue", "remove_office_key")


@pytest.mark.parametrize(
    ("left", "treated"),
    [
        ({"host_version": "10.0.20348.1"}, ["w"]),
        ({"publish_list": [f"{BRANCH}, 0, 0"]}, ["w"]),
        ({"host_version": "10.0.20348.1", "role": "mak"}, ["w"]),
        ({"role": "mak"}, []),
        ({"listening_port": 1688}, []),
    ],
)
def test_a_conversion_that_died_is_found_without_any_record(left: Data, treated: list[str]) -> None:
    report = survey(fleet(machine("w", WEB7, **left)))
    assert machines_to_convert(report) == treated
    assert ("1 have only something left" in lines(report)[-1]) is bool(treated)


def test_one_computer_listed_twice_is_told_from_clones_and_neither_is_touched() -> None:
    def advice(*ids: str | None) -> str:
        twins = [machine(name, WEB7, key(installation_id=one)) for name, one in zip("ab", ids, strict=True)]
        report = survey(fleet(*twins, records=[value()]))
        assert machines_to_convert(report) == []
        return str(entry(report, WEB7)["advice"])

    same = advice("0123", "0123")
    assert "lists more than once, as a, b" in same and "'all:!b'" in same
    for other in (advice("0123", "4567"), advice(None, None)):
        assert "a, b" in other and "a name of its own" in other


def test_a_name_that_belongs_to_no_machine_or_to_several_is_never_acted_on() -> None:
    clones = [machine("a", WEB7, key()), machine("b", WEB7, key())]
    report = survey(fleet(*clones, records=[value(), value(f"lab9.{CORP}")], addresses={f"lab9.{CORP}": ["192.0.2.9"]}))
    assert entry(report, WEB7)["treatment"] == "report" and "a, b" in entry(report, WEB7)["advice"]
    lab = entry(report, f"lab9.{CORP}")
    assert (lab["status"], lab["treatment"]) == ("rogue", "report")
    assert lab["inventory_line"] == f"lab9.{CORP}: {{}}"
    assert machines_to_convert(report) == []
    assert any(f"lab9.{CORP}: {{}}" in line for line in lines(report))


def test_a_name_that_may_be_that_of_an_unread_machine_is_not_to_be_added_once_more() -> None:
    dead = Reading(f"WEB07.{CORP}", problem="no answer")
    found = entry(survey(fleet(dead, records=[value()], addresses={WEB7: []})), WEB7)
    assert (found["status"], found["identity"], found["inventory_line"]) == ("rogue", "unknown", "")
    assert dead.name in found["advice"] and found["machine"] is None


def test_a_machine_that_was_not_looked_at_is_not_to_be_added_to_the_inventory() -> None:
    found = entry(survey(fleet(records=[value()], unseen=["web07"])), WEB7)
    assert (found["treatment"], found["inventory_line"]) == ("report", "")
    assert "web07, not looked at in this run" in found["advice"]
    itself = entry(survey(fleet(records=[value()], unseen=[WEB7, "web07"])), WEB7)
    assert "web07, not looked at" in itself["advice"]  # which of the two it is, nobody knows
    itself = entry(survey(fleet(records=[value()], unseen=[WEB7])), WEB7)
    assert (itself["treatment"], "--limit" in itself["advice"]) == ("report", True)


@pytest.mark.parametrize("own", [f"renamed.{CORP}", "kms1", ""])
def test_a_declared_host_that_calls_itself_otherwise_is_reported_and_never_converted(own: str) -> None:
    report = survey(fleet(machine("kms1", own, key()), records=[value(f"renamed.{CORP}")]))
    (found,) = [host for host in report["hosts"] if host["machine"] == "kms1"]
    assert (found["status"], found["treatment"]) == ("rogue", "report")
    assert f"declared as {KMS1}, says it is {own or 'nobody'}" in found["advice"]
    assert machines_to_convert(report) == []


def test_a_name_without_an_address_and_without_a_machine_is_stale() -> None:
    report = survey(fleet(records=[value()], addresses={WEB7: [], KMS1: ["192.0.2.1"]}))
    assert entry(report, WEB7)["status"] == "stale"
    assert report["summary"]["stale"] == 1 and report["summary"]["rogue"] == 0
    unknown = survey(fleet(records=[value()], addresses={KMS1: ["192.0.2.1"]}))
    assert (entry(unknown, WEB7)["status"], entry(unknown, WEB7)["addresses"]) == ("rogue", None)


def test_an_approved_host_is_never_treated_even_if_it_is_not_declared() -> None:
    other = machine("team2", f"kms9.{CORP}", key())
    approved = ApprovedHosts.of([f"kms*.{CORP}"])
    report = survey(fleet(other, records=[value(f"kms9.{CORP}")], approved=approved))
    assert entry(report, f"kms9.{CORP}")["treatment"] == "leave" and machines_to_convert(report) == []
    assert report["domains"][0]["outranking"] == []


@pytest.mark.parametrize(
    ("approved", "told"),
    [
        (Reading("kms1", problem="no answer"), "could not be read"),
        (machine("kms1", KMS1), "has NO KMS host key"),
        (machine("kms1", KMS1, key()), ""),
    ],
)
def test_what_keeps_clients_from_an_approved_host_is_told(approved: Reading, told: str) -> None:
    rogue = machine("web07", WEB7, key())
    found = survey(fleet(approved, rogue, records=[value()]))
    assert told in entry(found, KMS1)["advice"] and bool(told) == bool(entry(found, KMS1)["advice"])
    wanted = "could be looked at" if told else "can be turned into a client"
    assert wanted in entry(found, WEB7)["advice"]


def test_a_domain_that_denies_the_service_beside_others_is_no_machine() -> None:
    found = entry(survey(fleet(records=[value(".")])), ".")
    assert (found["status"], found["treatment"], found["inventory_line"]) == ("stale", "report", "")
    assert "target: '.'" in found["advice"]


def test_an_approved_host_that_is_nowhere_published_is_told() -> None:
    dark = Survey([PRIMARY], ApprovedHosts.of([KMS1]), {"kms1": REAL}, [])
    assert entry(survey(dark), KMS1)["advice"] == "is published in no domain"


def test_clients_of_a_rogue_are_told_fixed_or_found() -> None:
    readings = [
        machine("pc1", f"pc1.{CORP}", kms_server=WEB7, kms_server_used=WEB7),
        machine("pc2", f"pc2.{CORP}", kms_server_used=WEB7.upper()),
        machine("pc3", f"pc3.{CORP}", kms_server="192.0.2.1"),
        machine("pc4", f"pc4.{CORP}", kms_server_used=WEB7, activation_type="ad"),
        machine("pc5", f"pc5.{CORP}", kms_server_used=KMS1),
    ]
    report = survey(fleet(*readings, addresses={KMS1: ["192.0.2.1"]}))
    assert [(row["machine"], row["how"], row["host"]) for row in report["clients"]] == [
        ("pc1", "fixed_to", WEB7),
        ("pc2", "served_by", WEB7),
    ]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (f"lab9.{CORP}", f"lab9.{CORP}"),
        ("192.0.2.9", "192.0.2.9"),
        (KMS1.upper(), ""),
        ("kms1", ""),
        ("192.0.2.1", ""),
        ("azkms.core.windows.net", ""),
        ("", ""),
    ],
)
def test_a_rogue_that_is_fixed_to_a_host_which_is_not_approved_is_told(server: str, told: str) -> None:
    rogue = machine("web07", WEB7, key(), kms_server=server)
    assert entry(survey(fleet(rogue, addresses={KMS1: ["192.0.2.1"]})), WEB7)["fixed_to"] == told


def test_an_address_may_be_that_of_an_approved_host_which_nobody_told() -> None:
    rogue = machine("web07", WEB7, key(), kms_server="192.0.2.9")
    client = machine("pc1", f"pc1.{CORP}", kms_server="192.0.2.9")
    report = survey(fleet(rogue, client))
    assert (entry(report, WEB7)["fixed_to"], report["clients"]) == ("", [])


def test_machines_with_the_same_key_of_the_same_day_come_from_one_image() -> None:
    clones = [machine(f"web{n}", f"web{n}.{CORP}", key(partial_product_key="HK2X2")) for n in range(3)]
    other = machine("lab", f"lab.{CORP}", key(product_key_id=None))
    (first, second) = survey(fleet(*clones, other))["origins"]
    assert (first["count"], first["installed"], first["partial_product_key"]) == (3, "2026-08-11", "HK2X2")
    assert second["machines"] == ["lab"]


def test_the_report_is_plain_data_that_is_told_apart_from_others() -> None:
    report = survey(fleet(machine("web07", WEB7, key()), records=[value()]))
    assert report_of(json.loads(json.dumps(report))) == report_of(json.dumps(report)) == report
    with pytest.raises(ValueError, match="version"):
        report_of({**report, "version": survey_module.VERSION + 1})
    for other in ({}, [], None, {"version": 1}):
        with pytest.raises(ValueError):
            report_of(other)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (["hosts"], "hosts"),
        (["unread"], "unread"),
        (["hosts", 0, "identity"], "identity of a host"),
        (["hosts", 1, "records", 0, "target"], "target in records of a host"),
        (["hosts", 1, "keys", 0, "activation_id"], "activation_id in keys of a host"),
    ],
)
def test_a_report_that_is_not_whole_is_refused(path: list[t.Any], word: str) -> None:
    report = json.loads(json.dumps(survey(fleet(machine("web07", WEB7, key()), records=[value()]))))
    part = report
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    with pytest.raises(ValueError, match=word):
        report_of(report)


def test_a_report_that_was_cut_is_refused_as_such() -> None:
    text = json.dumps(survey(fleet(machine("web07", WEB7, key()))))
    with pytest.raises(ValueError, match="was cut"):
        report_of(text[: len(text) // 2])


def test_two_thousand_rogues_make_no_two_thousand_lines() -> None:
    many = [machine(f"web{n}", f"web{n}.{CORP}", key()) for n in range(500)]
    why = "Connecting failed on pc{0}: no connection to http://127.0.1.{0}:5985/wsman: refused. Check that pc{0} is up."
    dead = [Reading(f"pc{n}", problem=why.format(n)) for n in range(60)]
    records = [value(f"web{n}.{CORP}") for n in range(500)]
    found = lines(survey(fleet(*many, *dead, records=records)))
    assert len(found) < 4 * SHOWN
    assert any(line.split()[1:5] == ["10", "100", "1688", KMS1] for line in found)
    assert any(line.strip().startswith("60 (pc0") for line in found)
    assert "500 KMS hosts are not approved" in found[-1]


# ---- before anything is touched


def test_the_way_is_free_when_an_approved_host_is_published_resolvable_and_activated() -> None:
    found = precheck(fleet(addresses={KMS1: ["192.0.2.1"]}))
    assert found == {"stop": [], "warn": [], "ready": ["kms1"]}


@pytest.mark.parametrize(
    "sick",
    [
        fleet(addresses={KMS1: []}),
        fleet(machine("kms1", KMS1, key(license_status=5)), addresses={KMS1: ["192.0.2.1"]}),
        fleet(Reading("kms1", problem="dead"), addresses={KMS1: ["192.0.2.1"]}),
        Survey([PRIMARY], ApprovedHosts.of([KMS1]), {"kms1": REAL}, [], {KMS1: ["192.0.2.1"]}),
    ],
    ids=["no address", "not activated", "dead", "not published"],
)
def test_without_such_a_host_nothing_is_touched(sick: Survey) -> None:
    assert precheck(sick)["stop"]


def test_a_host_whose_address_dns_did_not_tell_is_counted_on_with_a_warning() -> None:
    found = precheck(fleet())
    assert (found["stop"], found["ready"]) == ([], ["kms1"])
    (line,) = found["warn"]
    assert KMS1 in line and "did not tell" in line


def test_hosts_outside_the_run_stop_it_and_a_closed_port_only_warns() -> None:
    healthy = fleet(addresses={KMS1: ["192.0.2.1"]})
    assert "kms2" in precheck(healthy, outside=["kms2"])["stop"][0]
    found = precheck(healthy, probes=[{"name": "kms1", "port": 1688, "reachable": False, "error": "refused"}])
    assert not found["stop"] and "1688" in found["warn"][0]
