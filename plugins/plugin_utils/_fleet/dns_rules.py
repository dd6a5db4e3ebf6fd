# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DNS says beside what is declared."""

from __future__ import annotations

import collections.abc as c

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.published import Finding as Difference
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.published import FindingKind, explain
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord, shares

from . import steering
from .approval import ApprovedHosts
from .declared import DeclaredHost
from .finding import NAMED_MACHINES, Finding, Kind, fail, warn

#: Why a host could not publish itself, by its inventory name and the domain.
Refusals = c.Mapping[tuple[str, str], str]


def judge_records(
    records: c.Sequence[SrvRecord],
    hosts: c.Sequence[DeclaredHost],
    refusals: Refusals | None = None,
    approval: ApprovedHosts | None = None,
    unanswered: c.Sequence[Unanswered] = (),
) -> list[Finding]:
    """Return how DNS differs from what is declared, in every domain that ``records`` or ``hosts`` name.

    A value whose target is a declared host, but which is not declared, tells of a list that was changed or of a host
    that was moved: nobody will take it away by itself. Unless steering has put it there: that is a state to be told.
    Any other value that is not declared is not approved, if ``approval`` does not say otherwise.
    Of a domain that is ``unanswered`` nothing is known, so that no record of it is called missing.
    """
    wanted = [record for host in hosts for record in host.wanted]
    approved = {host.fqdn: host for host in hosts if host.fqdn}
    named = {record.domain for record in wanted}
    share_of = dict(_with_shares(list(dict.fromkeys(records))))
    judged = [r for r in share_of if r.target in approved or approval is None or r.target not in approval]
    steered = steering.steered_records(judged, hosts)
    # A steered value is judged as the declared one in whose place it stands.
    differences = explain((steered.get(record, record) for record in judged), wanted)
    past = {record.domain for record in steered}
    silent = silent_domains(unanswered)
    return [
        *judge_unanswered(unanswered, hosts),
        *(
            _judge(item, approved, refusals or {}, wanted, share_of, past)
            for item in differences
            if item.found is not None or item.domain not in silent
        ),
        *_judge_steered(steered, judged, hosts, approved),
        *(_judge_elsewhere(record, share_of[record], approved) for record in judged if record.domain not in named),
    ]


def silent_domains(unanswered: c.Iterable[Unanswered]) -> set[str]:
    """Return the domains of which nothing is known, because DNS did not answer."""
    return {item.domain for item in unanswered if not item.denies}


def judge_unanswered(unanswered: c.Iterable[Unanswered], hosts: c.Sequence[DeclaredHost]) -> list[Finding]:
    """Return the domains of which DNS would not tell, each with the server that was asked and the reason.

    Where KMS hosts are declared or live, not knowing is a failure; elsewhere it is told.
    """
    return [_judge_unanswered(item, hosts) for item in dict.fromkeys(unanswered)]


def _judge_unanswered(item: Unanswered, hosts: c.Sequence[DeclaredHost]) -> Finding:
    concerned = [host.name for host in hosts if item.domain in {record.domain for record in host.wanted}]
    severity = fail if concerned or item.domain in {host.home_domain for host in hosts} else warn
    if item.denies:
        text = f"clients are told not to look for a KMS host here: {item.error}; take that record away"
        return severity(Kind.SERVICE_DENIED, item.domain, text, *concerned)
    text = f"DNS could not be asked: {item.domain}: {item.error}"
    return severity(Kind.DNS_UNANSWERED, item.domain, text, *concerned)


def _judge_steered(
    steered: c.Mapping[SrvRecord, SrvRecord],
    records: c.Sequence[SrvRecord],
    hosts: c.Sequence[DeclaredHost],
    approved: c.Mapping[str, DeclaredHost],
) -> list[Finding]:
    """Whether a domain is steered is a state, not a fault; without a reason any more it is to be ended."""
    if not steered:
        return []
    reasons = steering.reasons(records, hosts, approved)
    findings = []
    for record, declared in sorted(steered.items(), key=lambda item: item[0].sort_key):
        host = approved[record.target]
        text = f"is steered to {host.name} ({record.priority} {record.weight}, declared"
        text += f" {declared.priority} {declared.weight})"
        names = list(dict.fromkeys(other.target for other in reasons.get(record.domain, ())))
        named = ", ".join(names[:NAMED_MACHINES]) + (" and others" if len(names) > NAMED_MACHINES else "")
        text += f", past {named}" if names else ", but no host that is not approved is left: unsteer it (steer_clients)"
        findings.append(warn(Kind.STEERED, record.domain, text, host.name))
    return findings


def _judge(
    item: Difference,
    approved: c.Mapping[str, DeclaredHost],
    refusals: Refusals,
    wanted: c.Sequence[SrvRecord],
    share_of: c.Mapping[SrvRecord, float],
    steered: c.Collection[str],
) -> Finding:
    if item.wanted is not None:
        host = approved[item.wanted.target]
        reason = refusals.get((host.name, item.domain))
        why = f": {reason}" if reason else ""
        if item.found is not None:
            text = f"{data(item.found)} should be {data(item.wanted)}{why}"
            return fail(Kind.DIFFERENT, item.domain, text, host.name)
        return fail(Kind.MISSING, item.domain, f"no record {data(item.wanted)}{why}", host.name)
    if item.found is None:
        raise ValueError("a finding has a wanted record, a found one, or both")
    if item.found.target in approved:
        return _undeclared(item.found, approved)
    if item.kind is FindingKind.EXTRA:
        text = f"{data(item.found)} is NOT APPROVED; clients ask it only when every KMS host is down"
        return warn(Kind.NOT_APPROVED_BEHIND, item.domain, text)
    share = share_of[item.found]
    text = _outranks(item.found, share, approved, wanted)
    # It still is to go, but clients are led past it: a fleet that can be cleaned up no further does not fail for ever.
    led_past = item.domain in steered and share < steering.NOTICEABLE_SHARE
    return (warn if led_past else fail)(Kind.NOT_APPROVED, item.domain, text)


def _outranks(
    found: SrvRecord, share: float, approved: c.Mapping[str, DeclaredHost], wanted: c.Sequence[SrvRecord]
) -> str:
    overtaken = [record for record in wanted if record.domain == found.domain and record.priority >= found.priority]
    first = min(overtaken, key=lambda record: record.priority)
    verb = "equals" if first.priority == found.priority else "outranks"
    who = f"{approved[first.target].name} ({first.priority} {first.weight})"
    return f"{data(found)} is NOT APPROVED, {verb} {who}: takes {share * 100:.0f} % of the clients"


def _judge_elsewhere(record: SrvRecord, share: float, approved: c.Mapping[str, DeclaredHost]) -> Finding:
    if record.target in approved:
        return _undeclared(record, approved)
    where = "in a domain that no KMS host is declared for"
    text = f"{data(record)} is NOT APPROVED, {where}: takes {share * 100:.0f} % of the clients"
    return warn(Kind.NOT_APPROVED_BEHIND, record.domain, text)


def _undeclared(record: SrvRecord, approved: c.Mapping[str, DeclaredHost]) -> Finding:
    text = f"{data(record)} is not declared of {approved[record.target].name}: remove it, or declare it"
    return fail(Kind.UNDECLARED, record.domain, text)


def _with_shares(records: c.Sequence[SrvRecord]) -> list[tuple[SrvRecord, float]]:
    return list(zip(records, shares(records), strict=True))


def data(record: SrvRecord) -> str:
    """The data of a record in the order of RFC 2782: priority, weight, port, target."""
    return f"{record.priority} {record.weight} {record.port} {record.target}"


def table(
    records: c.Sequence[SrvRecord],
    notes: c.Mapping[SrvRecord, str],
    domains: c.Sequence[str],
    silent: c.Collection[str] = (),
) -> list[str]:
    """Return what DNS says as lines, each record with its note; a domain without a record gets a line, too.

    Of the ``silent`` domains it is not known whether they have one.
    """
    rows = [
        (r.domain, f"{r.priority:>5} {r.weight:>5} {r.port:>5}", r.target, notes.get(r, ""))
        for r in sorted(records, key=lambda record: record.sort_key)
    ]
    empty = set(domains) | set(silent)
    rows += [
        (domain, "", "no answer" if domain in silent else "no record", "")
        for domain in sorted(empty - {record.domain for record in records})
    ]
    rows.sort(key=lambda row: row[0])
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
