# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verification of a fleet: every rule over everything that was read, as one list and one table."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord

from . import client_rules, dns_rules, host_rules
from .approval import ApprovedHosts
from .declared import DeclaredHost
from .finding import Finding, Kind, Severity, gather, leave_out, lines, soften, warn
from .reading import Reading


@dataclasses.dataclass(frozen=True)
class Fleet:
    """What was declared and what was read. ``hosts`` are all declared ones, ``readings`` those that were looked at."""

    hosts: c.Sequence[DeclaredHost]
    readings: c.Mapping[str, Reading]
    clients: c.Sequence[Reading] = ()
    records: c.Sequence[SrvRecord] = ()
    probes: c.Sequence[c.Mapping[str, t.Any]] = ()
    #: Machines that a run in check mode would have changed.
    changing: c.Collection[str] = ()
    #: Further names and addresses of the hosts, to which a client may be fixed.
    aliases: c.Collection[str] = ()
    #: Who is approved beside the declared hosts; None: nobody.
    approval: ApprovedHosts | None = None
    #: Domains for which DNS gave no useful answer.
    unanswered: c.Sequence[Unanswered] = ()


def judge(fleet: Fleet) -> list[Finding]:
    """Return all findings, what fails first."""
    read = [(host, fleet.readings[host.name]) for host in fleet.hosts if host.name in fleet.readings]
    causes = {
        (host.name, domain): why
        for host, reading in read
        for domain, why in host_rules.causes_of(host, reading).items()
    }
    approved = {host.fqdn for host in fleet.hosts} - {""} | set(fleet.aliases)
    if fleet.approval:
        approved |= {record.target for record in fleet.records if record.target in fleet.approval}
    published = {record.domain for record in fleet.records if record.target in approved}
    published |= {record.domain for host in fleet.hosts if host.name in fleet.changing for record in host.wanted}
    silent = dns_rules.silent_domains(fleet.unanswered)
    counts = {
        host.fqdn: count for host, reading in read if host.fqdn and (count := host_rules.count_of(reading)) is not None
    }
    findings = dns_rules.judge_records(fleet.records, fleet.hosts, causes, fleet.approval, fleet.unanswered)
    findings += [_name_unknown(host) for host in fleet.hosts if not host.fqdn]
    for host, reading in read:
        own = {record.domain for record in fleet.records if record.target == host.fqdn}
        findings += host_rules.judge_host(host, reading, fleet.hosts)
        findings += host_rules.judge_publishing(host, reading, own, silent)
        findings += host_rules.judge_generations(host, reading, fleet.clients)
        findings += host_rules.judge_ports(host, reading, fleet.probes)
    for client in fleet.clients:
        findings += client_rules.judge_client(client, approved, published, silent, counts)
    findings += client_rules.judge_identities(fleet.clients)
    findings = leave_out(findings, {host.name for host in fleet.hosts} - set(fleet.readings))
    return gather(soften(findings, fleet.changing))


def _name_unknown(host: DeclaredHost) -> Finding:
    text = "its name in DNS is not known, so that its records cannot be told from others: set kms_host_fqdn"
    return warn(Kind.NAME_UNKNOWN, host.name, text, host.name)


def verdict(fleet: Fleet) -> dict[str, t.Any]:
    """Return findings, their table, the table of records and the counts, as plain data."""
    findings = judge(fleet)
    licensed = [client for client in fleet.clients if client.kms.get("license_status") == 1]
    return {
        "failed": sum(item.severity is Severity.FAIL for item in findings),
        "warned": sum(item.severity is Severity.WARN for item in findings),
        "hosts": len(fleet.hosts),
        "clients": len(fleet.clients),
        "clients_licensed": len(licensed),
        "unread": [
            {"machine": one.name, "problem": one.problem}
            for one in (*fleet.readings.values(), *fleet.clients)
            if one.problem
        ],
        "findings": [item.as_dict() for item in findings],
        "lines": lines(findings),
        "records": dns_rules.table(
            fleet.records, _notes(fleet), domains_of(fleet.hosts), dns_rules.silent_domains(fleet.unanswered)
        ),
    }


def _notes(fleet: Fleet) -> dict[SrvRecord, str]:
    by_fqdn = {host.fqdn: host for host in fleet.hosts}
    return {
        record: host_rules.describe_host(host, fleet.readings.get(host.name))
        if (host := by_fqdn.get(record.target))
        else "approved"
        if fleet.approval and record.target in fleet.approval
        else "NOT APPROVED"
        for record in fleet.records
    }


def domains_of(hosts: c.Iterable[DeclaredHost]) -> list[str]:
    """Return the domains that hosts are declared for."""
    return sorted({record.domain for host in hosts for record in host.wanted})


def domains_to_ask(hosts: c.Sequence[DeclaredHost], clients: c.Iterable[Reading]) -> list[str]:
    """Return every domain whose records matter: where hosts are declared, where they live, where clients look."""
    homes = {host.home_domain for host in hosts} - {""}
    looked_in = {domain for client in clients for domain in client_rules.search_domains(client)}
    return sorted({*domains_of(hosts), *homes, *looked_in})
