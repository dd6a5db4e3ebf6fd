# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What DNS says beside what is declared."""

from __future__ import annotations

import collections.abc as c

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.published import Finding as Difference
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.published import FindingKind, explain
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord, shares

from .declared import DeclaredHost
from .finding import Finding, Kind, fail, warn

#: Why a host could not publish itself, by its inventory name and the domain.
Refusals = c.Mapping[tuple[str, str], str]


def judge_records(
    records: c.Sequence[SrvRecord], hosts: c.Sequence[DeclaredHost], refusals: Refusals | None = None
) -> list[Finding]:
    """Return how DNS differs from what is declared, in every domain that ``records`` or ``hosts`` name.

    A value whose target is a declared host, but which is not declared, tells of a list that was changed or of a host
    that was moved: nobody will take it away by itself. Any other value that is not declared is not approved.
    """
    wanted = [record for host in hosts for record in host.wanted]
    approved = {host.fqdn: host for host in hosts if host.fqdn}
    named = {record.domain for record in wanted}
    findings = [_judge(item, approved, refusals or {}, wanted) for item in explain(records, wanted)]
    elsewhere = [record for record in records if record.domain not in named]
    return findings + [_judge_elsewhere(record, share, approved) for record, share in _with_shares(elsewhere)]


def _judge(
    item: Difference, approved: c.Mapping[str, DeclaredHost], refusals: Refusals, wanted: c.Sequence[SrvRecord]
) -> Finding:
    if item.wanted is not None:
        host = approved[item.wanted.target]
        if item.found is not None:
            text = f"{data(item.found)} should be {data(item.wanted)}"
            return fail(Kind.DIFFERENT, item.domain, text, host.name)
        reason = refusals.get((host.name, item.domain))
        text = f"no record {data(item.wanted)}" + (f": {reason}" if reason else "")
        return fail(Kind.MISSING, item.domain, text, host.name)
    assert item.found is not None
    if item.found.target in approved:
        return _undeclared(item.found, approved)
    if item.kind is FindingKind.EXTRA:
        text = f"{data(item.found)} is NOT APPROVED; clients ask it only when every KMS host is down"
        return warn(Kind.NOT_APPROVED_BEHIND, item.domain, text)
    return fail(Kind.NOT_APPROVED, item.domain, _outranks(item.found, item.share, approved, wanted))


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


def table(records: c.Sequence[SrvRecord], notes: c.Mapping[SrvRecord, str], domains: c.Sequence[str]) -> list[str]:
    """Return what DNS says as lines, each record with its note; a domain without a record gets a line, too."""
    rows = [
        (r.domain, f"{r.priority:>5} {r.weight:>5} {r.port:>5}", r.target, notes.get(r, ""))
        for r in sorted(records, key=lambda record: record.sort_key)
    ]
    rows += [(domain, "", "no record", "") for domain in sorted(set(domains) - {r.domain for r in records})]
    rows.sort(key=lambda row: row[0])
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
