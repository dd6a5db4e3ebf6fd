# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the roles decide about a whole fleet, from hostvars and DNS: the rules themselves are in plugin_utils/_fleet."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_filter import (
    READ,
    Filter,
    fleet_filter,
    newest,
    plain,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_input import publish_problems
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.role_input import default_of, role_problems
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import records_of, split_answers
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import problems, rounds, verdict
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts, as_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.client_rules import is_settled
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import VARIABLES, DeclaredHost, declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.dns_rules import judge_records
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.finding import Kind, Severity, lines, soften
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.host_rules import causes_of, refusals_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading, reading_of

# What the roles keep of each machine during a run.
DECLARED = "_kms_host_declared"
HOST_READ = "_kms_host_read"
HOST_RESULT = "_kms_host_result"
CLIENT_RESULT = "_kms_client_result"
RESULTS = (HOST_RESULT, CLIENT_RESULT)
EVENTS = "_kms_host_events"

# What time may bring: a host publishes itself some time after it was told to, and a server may come back.
WAITED_FOR = (Kind.MISSING, Kind.DIFFERENT, Kind.DNS_UNANSWERED, Kind.SERVICE_DENIED)


@fleet_filter
def declared_host(
    variables: Mapping[str, Any], name: str, fqdn: str | None = None, port: int | None = None
) -> dict[str, Any]:
    """Return what the variables of the role kms_host declare of one host, whose own name and port these are."""
    return declare(name, variables, fqdn, port).as_dict()


@fleet_filter
def declared_hosts(hostvars: Mapping[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the inventory declares of hosts."""
    return [_declared(hostvars, name).as_dict() for name in names]


def _declared(hostvars: Mapping[str, Any], name: str) -> DeclaredHost:
    variables = hostvars[name]
    kept = variables.get(DECLARED)
    if kept:
        return DeclaredHost.from_dict(kept)
    read = _part(variables.get(READ), "kms")
    given = {key: variables[key] for key in VARIABLES if key in variables}
    return declare(name, given, read.get("fqdn") or "", read.get("listening_port")) if read else declare(name, given)


def _part(result: Any, name: str) -> Mapping[str, Any]:
    value = result.get(name) if isinstance(result, Mapping) else None
    return value if isinstance(value, Mapping) else {}


@fleet_filter
def input_check(
    hostvars: Mapping[str, Any], hosts: Sequence[str], clients: Sequence[str], fleet: Iterable[str] = ()
) -> dict[str, list[str]]:
    """Return what is wrong with the input of hosts and clients, and what is worth saying.

    ``fleet`` are all KMS hosts, those included that the run leaves out: none of them may be among the clients.
    """
    found: list[str] = []
    notes: list[str] = []
    machines = {name: hostvars[name] for name in (*hosts, *clients)}  # worked out anew at each call
    for role, names in (("kms_host", hosts), ("kms_client", clients), ("kms_verify", machines)):
        wrong, doubtful = role_problems(role, {name: machines[name] for name in names})
        found += wrong
        notes += doubtful
    if not found:
        declared = [_declared(hostvars, name) for name in hosts]
        found += publish_problems(hostvars, hosts) + problems.clashes(declared, clients, fleet)
        notes += problems.notes(declared)
    return {"problems": found, "notes": notes}


@fleet_filter
def or_default(value: Any, name: str) -> Any:
    """Return the value of a role's variable, or its default by the role's spec where it is null."""
    return plain(default_of(name) if value is None else value)


@fleet_filter
def record_findings(
    records: Any,
    declared: Sequence[Mapping[str, Any]],
    deployed: Iterable[str],
    changing: Iterable[str] = (),
    approved: Any = None,
    hostvars: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return, as lines, which records of the deployed hosts DNS does not have yet, and what else is not as declared.

    ``hostvars`` may hold what each host has read of its own events: then it is told why a record is not there, and
    ``pending`` are only those that may still come, because their host was not refused since it was told to publish.
    """
    hosts = [DeclaredHost.from_dict(item) for item in declared]
    own = set(deployed)
    causes: dict[tuple[str, str], str] = {}
    refused: set[tuple[str, str]] = set()
    for host in hosts:
        variables = hostvars[host.name] if hostvars is not None and host.name in own else {}
        if _was_read(variables.get(EVENTS)):
            said = reading_of(host.name, variables[EVENTS])
            causes |= {(host.name, domain): why for domain, why in causes_of(host, said).items()}
            refused |= {(host.name, domain) for domain in refusals_of(host, said, _events_before(variables))}
    answers, unanswered = split_answers(records)
    found = judge_records(records_of(answers), hosts, causes, _approval(approved), unanswered)
    found = [item for item in found if not item.machines or own & set(item.machines)]
    found = soften(found, set(changing))
    waiting = [item for item in found if item.kind in WAITED_FOR and item.severity is Severity.FAIL]
    concerned = {name: [item for item in waiting if name in item.machines] for name in sorted(own)}
    return {
        "waiting": lines(waiting),
        "pending": lines([one for one in waiting if not {(name, one.subject) for name in one.machines} & refused]),
        "hosts": {name: lines(items) for name, items in concerned.items() if items},
        "other": lines([item for item in found if item not in waiting]),
    }


def _was_read(result: Any) -> bool:
    """Whether a registered result is one of a machine that was asked, whatever came of it."""
    return isinstance(result, Mapping) and not result.get("skipped")


def _events_before(variables: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The events of a host that publishes itself anew in this run, from before that."""
    restarted = bool((variables.get(HOST_RESULT) or {}).get("restarted"))
    return _part(variables.get(HOST_READ), "kms").get("events") or () if restarted else ()


def _reading(hostvars: Mapping[str, Any], name: str, known: Container[str] = ()) -> Reading:
    """What was read of a machine, be it by the role that it failed in, or why nothing was.

    One that is ``known`` was converted after it was read, if it was, and not the other way round.
    """
    variables = hostvars[name]  # worked out anew at each call
    read = newest(variables) if name in known else variables.get(READ)
    if read is None and _part(variables.get(EVENTS), "kms"):
        read = variables[EVENTS]
    return reading_of(name, read, (variables.get(one) for one in (HOST_READ, *RESULTS)))


@fleet_filter
def clients_to_read(hostvars: Mapping[str, Any], clients: Iterable[str]) -> list[str]:
    """Return the clients that a run has to read again before it judges them: all but those that it has seen well."""
    found = []
    for name in clients:
        variables = hostvars[name]  # worked out anew at each call
        if not is_settled(reading_of(name, newest(variables))):
            found.append(name)
    return found


@fleet_filter
def domains_to_ask(
    declared: Sequence[Mapping[str, Any]], hostvars: Mapping[str, Any], clients: Iterable[str]
) -> list[str]:
    """Return the domains whose records matter to the hosts and clients."""
    hosts = [DeclaredHost.from_dict(item) for item in declared]
    return verdict.domains_to_ask(hosts, (_reading(hostvars, name) for name in clients))


@fleet_filter
def host_endpoints(records: Any, declared: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return where to reach each host: at the addresses of its name, or by its name."""
    addresses: dict[str, list[str]] = {}
    for record in split_answers(records)[0]:
        addresses.setdefault(record["target"], []).extend(record.get("addresses") or ())
    return [
        {"name": host["name"], "address": address, "port": host["port"]}
        for host in declared
        if host["fqdn"]
        for address in dict.fromkeys(addresses.get(host["fqdn"]) or [host["fqdn"]])
    ]


@fleet_filter
def findings(
    hostvars: Mapping[str, Any],
    declared: Sequence[Mapping[str, Any]],
    hosts: Iterable[str],
    clients: Iterable[str],
    records: Any = (),
    probes: Sequence[Mapping[str, Any]] = (),
    check_mode: bool = False,
    approved: Any = None,
    known: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the verification of a fleet: findings, their table, the table of records, and counts.

    ``known`` are the clients that ``clients_to_read`` left out.
    """
    hosts, clients, known = list(hosts), list(clients), set(known)
    records, unanswered = split_answers(records)
    fleet = verdict.Fleet(
        hosts=[DeclaredHost.from_dict(item) for item in declared],
        readings={name: _reading(hostvars, name) for name in hosts},
        clients=[_reading(hostvars, name, known) for name in clients],
        records=list(dict.fromkeys(records_of(records))),
        probes=probes,
        changing={name for name in (*hosts, *clients) if check_mode and _would_change(hostvars[name])},
        aliases={address for record in records for address in record.get("addresses") or ()},
        approval=_approval(approved),
        unanswered=unanswered,
    )
    return verdict.verdict(fleet)


def _approval(approved: Any) -> ApprovedHosts | None:
    names = as_list(approved)
    return ApprovedHosts.of(names) if names else None


def _would_change(variables: Mapping[str, Any]) -> bool:
    return any(bool((variables.get(name) or {}).get("changes")) for name in RESULTS)


@fleet_filter
def waiting_clients(
    hostvars: Mapping[str, Any], names: Iterable[str], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return which clients wait for the count of their KMS host, and whether to ask it once more.

    ``before`` is what the filter returned after the round before: only who waited then was asked since.
    """
    names = list(before["waiting"] if before else names)
    asked = before["asked"] if before else len(names)
    now = rounds.Round.of({name: hostvars[name].get(CLIENT_RESULT) for name in names})
    return {
        "asked": asked,
        "waiting": dict(now.waiting),
        "again": rounds.is_worth_another(now, rounds.Round(before["waiting"]) if before else None),
        "summary": rounds.summary(now, asked),
    }


class FilterModule:
    """Hand the filters to Ansible."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by their names."""
        filters = (
            clients_to_read,
            declared_host,
            declared_hosts,
            domains_to_ask,
            findings,
            host_endpoints,
            input_check,
            or_default,
            record_findings,
            waiting_clients,
        )
        return {function.__name__: function for function in filters}
