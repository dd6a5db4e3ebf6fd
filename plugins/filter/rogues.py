# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""KMS hosts that are not approved: the survey of a fleet, and how clients are steered past them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_filter import (
    READ,
    Filter,
    fleet_filter,
    plain,
    reading,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_input import fleet_notes, fleet_problems
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import (
    addresses_of,
    not_answered_at_all,
    records_of,
    split_answers,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord, domain_of_term
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import steering, survey_table, verdict
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import approved_hosts, as_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import DeclaredHost
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.dns_rules import data, silent_domains
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.finding import Finding, Kind
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading, reading_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.rogues import domains_to_ask
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import Survey, precheck, survey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import (
    PublishEntry,
    format_entry,
    parse_list,
)

#: Where the role kms_rogues keeps what a Windows DNS server has told of its zones.
_ZONES = "_kms_rogues_zones"

#: What the hosts are given as their key; only its last five characters are ever looked at here.
_HOST_KEY = "kms_host_product_key"


def _readings(hostvars: Mapping[str, Any], names: Iterable[str]) -> Iterator[Reading]:
    """What was read of the machines; one that was skipped, because it is no Windows machine, is left out."""
    for name in names:
        result = hostvars[name].get(READ)  # worked out anew at each call
        if not (isinstance(result, Mapping) and result.get("skipped")):
            yield reading_of(name, result)


def _hosts(declared: Iterable[Mapping[str, Any]]) -> list[DeclaredHost]:
    return [DeclaredHost.from_dict(item) for item in declared]


def _domains(given: Any, hosts: Sequence[DeclaredHost]) -> list[str]:
    """The domains that a run is about, in the spelling of records: those given, or where hosts are declared."""
    return list(dict.fromkeys(map(domain_of_term, as_list(given)))) or verdict.domains_of(hosts)


@fleet_filter
def rogue_inputs(
    hostvars: Mapping[str, Any], name: str, hosts: Sequence[str], roles: Sequence[str]
) -> dict[str, list[str]]:
    """Return what is wrong with the inputs of a whole fleet, as the machine ``name`` has them, and what is doubtful."""
    return {
        "problems": fleet_problems(hostvars, name, hosts, roles),
        "notes": fleet_notes(hostvars[name], roles),
    }


@fleet_filter
def rogue_domains(
    hostvars: Mapping[str, Any],
    declared: Sequence[Mapping[str, Any]],
    machines: Iterable[str],
    domains: Any = None,
    dns_servers: Iterable[str] = (),
) -> list[str]:
    """Return the domains to ask: those given or declared, and where machines and Windows DNS servers know of values."""
    given = [*_domains(domains, _hosts(declared)), *(one.domain for one in _of_dns_servers(hostvars, dns_servers))]
    return domains_to_ask(given, _readings(hostvars, machines))


@fleet_filter
def rogue_survey(
    hostvars: Mapping[str, Any],
    declared: Sequence[Mapping[str, Any]],
    machines: Iterable[str],
    records: Any = (),
    approved: Any = None,
    dns_servers: Iterable[str] = (),
    generated: str = "",
) -> dict[str, Any]:
    """Return the survey of a fleet as ``json`` and ``lines``; ``generated`` is the time, in UTC, that it is told with.

    JSON is one text: Ansible works its way through all parts of larger data each time that a variable is looked at.
    """
    hosts = _hosts(declared)
    answers, unanswered = split_answers(records)
    found, names = list(answers), list(machines)
    fleet = Survey(
        hosts=hosts,
        approved=approved_hosts(as_list(approved), hosts),
        readings={one.name: one for one in _readings(hostvars, names)},
        records=[*records_of(found), *_of_dns_servers(hostvars, dns_servers)],
        addresses=addresses_of(found),
        declared_keys=[str(hostvars[host.name].get(_HOST_KEY) or "").strip()[-5:] for host in hosts],
        unseen=sorted(set(map(str, hostvars)) - set(names)),
        unanswered=not_answered_at_all(found, unanswered),
        unread_zones=dict(_unread_zones(hostvars, dns_servers)),
    )
    report = {**survey(fleet), "generated": generated}
    return {
        "json": json.dumps(plain(report)),
        "lines": survey_table.lines(report),
        "summary": survey_table.summary(report),
    }


def _of_dns_servers(hostvars: Mapping[str, Any], names: Iterable[str]) -> Iterator[SrvRecord]:
    """The values that Windows DNS servers have told; one of a name that DNS cannot ask for hides no other.

    A server may give names in a spelling of its own, with a blank for one. DNS shows such a value, escaped.
    """
    for name in names:
        for record in reading_of(name, hostvars[name].get(_ZONES)).kms.get("srv_records") or []:
            with suppress(ValueError):
                yield from records_of([record])


def _unread_zones(hostvars: Mapping[str, Any], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The Windows DNS servers that could not be asked, and why."""
    for name in names:
        found = reading_of(name, hostvars[name].get(_ZONES))
        if found.kms.get("srv_records") is None:
            yield name, found.problem or "it did not tell of its zones"


@fleet_filter
def approved_names(declared: Sequence[Mapping[str, Any]], approved: Any = None) -> list[str]:
    """Return the names and globs of the approved hosts: those given, or else the declared hosts."""
    return list(approved_hosts(as_list(approved), _hosts(declared)).patterns)


@fleet_filter
def steer_plan(
    hostvars: Mapping[str, Any],
    declared: Sequence[Mapping[str, Any]],
    records: Any,
    state: str = "steered",
    approved: Any = None,
    domains: Any = None,
    outside: Iterable[str] = (),
    probes: Sequence[Mapping[str, Any]] = (),
    publish_via: str = "host",
) -> dict[str, Any]:
    """Return how to steer or unsteer the domains of a fleet, or why not.

    ``publish_via`` says who publishes the hosts: ``host`` is each for itself, by its own list.
    """
    answers, unanswered = split_answers(records)
    hosts, found = _hosts(declared), list(answers)
    names = _domains(domains, hosts)
    silent = [item for item in unanswered if item.domain in names]
    fleet = Survey(
        hosts=hosts,
        approved=approved_hosts(as_list(approved), hosts),
        readings={host.name: reading(hostvars, host.name) for host in hosts},
        records=records_of(found),
        addresses=addresses_of(found),
        unanswered=not_answered_at_all(found, silent),
    )
    standings = fleet.standings()
    checked = precheck(fleet, list(outside), probes)
    if state == "steered":
        plans = steering.steer(standings, fleet.records, fleet.approved, names, checked["ready"])
    else:
        # One server is enough for a reason; that there is none is to be told by all of them.
        plans = steering.unsteer(standings, fleet.records, fleet.approved, names, silent_domains(silent))
        kept = {plan.domain for plan in plans if not plan.wanted and not plan.reasons}
        more = [item for item in silent if item.domain in kept and item not in fleet.unanswered]
        fleet = dataclasses.replace(fleet, unanswered=[*fleet.unanswered, *more])
    publish = {one.host.name: steering.publish_of(one, plans) for one in standings} if publish_via == "host" else {}
    due = [one.host.name for one in standings if publish_via == "host" and steering.is_due(one, plans, fleet.records)]
    publish |= {one.host.name: publish[one.host.name] or one.publish for one in standings if one.host.name in due}
    leading = {one.host.fqdn for one in standings if publish.get(one.host.name)}
    leading |= {plan.host.fqdn for plan in plans if plan.host}
    wanted = [record for plan in plans for record in plan.wanted]
    findings = fleet.findings()
    return plain(
        {
            **checked,
            "domains": [_domain(plan) for plan in plans],
            "publish": {name: [format_entry(e) for e in entries] for name, entries in publish.items() if entries},
            "due": due,
            "records": [record.as_dict() for record in wanted],
            # What a host that this run has nothing to do with does not publish is for verify to tell.
            "prove": [r.as_dict() for r in wanted if publish_via != "host" or r.target in leading],
            "findings": [finding.as_dict() for finding in findings],
            "unread": [finding.line for finding in findings if finding.kind is Kind.DNS_UNANSWERED],
            "lines": [line for plan in plans for line in _plan_lines(plan)] + _unread_lines(findings, plans),
        }
    )


def _unread_lines(findings: Iterable[Finding], plans: Iterable[steering.DomainPlan]) -> list[str]:
    """What is told of the domains that DNS was of no use for: those without a plan are left as they are."""
    planned = {plan.domain for plan in plans}
    return [
        finding.line if finding.subject in planned else f"{finding.subject}: left as it is. {finding.line}"
        for finding in findings
    ]


def _domain(plan: steering.DomainPlan) -> dict[str, Any]:
    return {
        "domain": plan.domain,
        "steered_to": plan.host.fqdn if plan.host else None,
        "reasons": [record.as_dict() for record in plan.reasons],
        "wanted": [record.as_dict() for record in plan.wanted],
        "notes": list(plan.notes),
    }


def _plan_lines(plan: steering.DomainPlan) -> list[str]:
    past = survey_table.named([record.target for record in plan.reasons])
    if plan.host and plan.wanted:
        first = f"{plan.domain}: steered to {plan.host.fqdn}, past {past}"
    elif plan.host:
        first = f"{plan.domain}: steered to {plan.host.fqdn}"
    else:
        first = f"{plan.domain}: {'left as it is' if plan.reasons else 'as declared'}"
    return [first, *(f"  {data(record)}" for record in plan.wanted), *(f"  {note}" for note in plan.notes)]


@fleet_filter
def steer_waiting(plan: Mapping[str, Any], records: Any, older: bool = True) -> list[str]:
    """Return, as lines, what DNS does not show yet of a plan; without ``older``, whatever else it still shows."""
    answers, unanswered = split_answers(records)
    there = set(records_of(answers))
    silent = {item.domain: item.error for item in unanswered}
    waiting = [
        f"{record.domain}: no record {data(record)}"
        + (f" (DNS could not be asked: {silent[record.domain]})" if record.domain in silent else "")
        for record in records_of(plan["prove"])
        if record not in there
    ]
    left = [record for record in _leftovers(plan, there) if older and steering.is_steered(record)]
    return waiting + [f"{record.domain}: {data(record)} is still there" for record in left]


def _leftovers(plan: Mapping[str, Any], there: Iterable[SrvRecord]) -> list[SrvRecord]:
    plans = [steering.DomainPlan("", (), None, tuple(records_of(plan["records"])))]
    return steering.leftovers(plans, there)


@fleet_filter
def steer_leftovers(plan: Mapping[str, Any], records: Any) -> list[dict[str, Any]]:
    """Return the planned records beside which DNS shows older values of the same host: made present, they replace them.

    Only those that DNS shows: the record of a host that publishes itself is not for others to create.
    """
    there = set(records_of(split_answers(records)[0]))
    older = {(record.domain, record.target, record.port) for record in _leftovers(plan, there)}
    wanted = [record for record in records_of(plan["records"]) if record in there]
    return [record.as_dict() for record in wanted if (record.domain, record.target, record.port) in older]


@fleet_filter
def steered_domains(declared: Mapping[str, Any], publish_list: Any) -> list[str]:
    """Return the domains that a host is steered to by its publish list."""
    host = DeclaredHost.from_dict(declared)
    return [entry.domain for entry in steering.steered_entries(host, parse_list(publish_list or ()))]


@fleet_filter
def keep_steered(
    declared: Mapping[str, Any],
    publish_list: Any,
    records: Any,
    fleet: Sequence[Mapping[str, Any]],
    approved: Any = None,
) -> list[dict[str, Any]]:
    """Return what a host is to publish: as declared, but steered where it is steered now and a reason lasts.

    Raises ValueError where a server that was asked did not tell whether there is a reason.
    """
    host, hosts = DeclaredHost.from_dict(declared), _hosts(fleet)
    answers, unanswered = split_answers(records)
    lasting = steering.reasons(records_of(answers), hosts, approved_hosts(as_list(approved), hosts))
    open_ones = [f"{item.domain}: {item.error}" for item in unanswered if item.domain not in lasting]
    if open_ones:
        raise ValueError(f"whether clients are still to be steered is not known: {'; '.join(open_ones)}")
    kept: tuple[PublishEntry, ...] = steering.keep_steered(host, parse_list(publish_list or ()), lasting)
    return [{"domain": entry.domain, "priority": entry.priority, "weight": entry.weight} for entry in kept]


class FilterModule:
    """Hand the filters to Ansible."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by their names."""
        filters = (
            approved_names,
            keep_steered,
            rogue_domains,
            rogue_inputs,
            rogue_survey,
            steer_leftovers,
            steer_plan,
            steer_waiting,
            steered_domains,
        )
        return {function.__name__: function for function in filters}
