# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A survey as lines for people: what is most urgent first, and never one line for each of thousands of machines."""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord

from .dns_rules import data, table
from .finding import Kind
from .rogues import Treatment
from .survey import Status

Host = c.Mapping[str, t.Any]

#: So many lines of a kind are shown; the data have all.
SHOWN = 20
_NAMED = 5

_TREATED = {
    Treatment.CONVERT.value: "can be turned into clients",
    Treatment.REMOVE_OFFICE_KEY.value: "have an Office host key that can be removed",
    Treatment.REMOVE_RECORDS.value: "have only something left to be removed",
    Treatment.REPORT.value: "need a person",
}


def lines(report: c.Mapping[str, t.Any]) -> list[str]:
    """Return a report in sections, each with a heading and at most so many lines."""
    hosts = report["hosts"]
    rogues = [host for host in hosts if host["status"] == Status.ROGUE.value]
    sections = [
        ("What DNS says", _records(hosts)),
        (
            "Domains that DNS was of no use for",
            _shown([f"{row['subject']}  {row['text']}" for row in _unanswered(report)]),
        ),
        (
            "Windows DNS servers whose zones could not be read",
            _shown([f"{row['machine']}  {row['problem']}" for row in report.get("unread_zones") or ()]),
        ),
        ("Approved KMS hosts", _shown([_host(host) for host in hosts if host["approved"]])),
        (f"KMS hosts that are not approved ({len(rogues)})", _shown([_host(host) for host in _by_harm(rogues)])),
        ("Where their keys came from", _shown([_origin(row) for row in report["origins"]])),
        (
            "Not in the inventory, to be added below hosts",
            _shown([host["inventory_line"] for host in hosts if _adds(host)]),
        ),
        (
            "What is left of machines that are no KMS host any more, or of none",
            _shown([_left(host) for host in hosts if host["status"] in (Status.LEFT_BEHIND.value, Status.STALE.value)]),
        ),
        ("Clients of hosts that are not approved", _clients(report["clients"])),
        ("Machines that could not be read", _unread(report["unread"])),
        ("Steered domains", _steered(report["domains"])),
    ]
    found = [line for heading, rows in sections if rows for line in (f"{heading}:", *(f"  {row}" for row in rows))]
    return [*found, summary(report)]


def summary(report: c.Mapping[str, t.Any]) -> str:
    """Return one sentence on a report."""
    numbers = report["summary"]
    rogues = numbers["rogue"]
    text = f"{rogues} KMS hosts are not approved" if rogues else "No KMS host that is not approved was found"
    kinds = [f"{count} {_TREATED[kind]}" for kind, count in numbers["treatments"].items() if count]
    text += f"; of what was found {', '.join(kinds)}" if kinds else ""
    unread = f", {numbers['unread']} could not be read" if numbers["unread"] else ""
    silent = [row["subject"] for row in _unanswered(report) if row["kind"] == Kind.DNS_UNANSWERED.value]
    unknown = f" What is published in {named(silent)} is not known: DNS did not answer." if silent else ""
    return f"{text} ({numbers['machines']} machines looked at{unread}).{unknown}"


def _unanswered(report: c.Mapping[str, t.Any]) -> c.Sequence[c.Mapping[str, t.Any]]:
    return report.get("unanswered") or ()


def _shown(rows: c.Sequence[str]) -> list[str]:
    more = len(rows) - SHOWN
    return [*rows[:SHOWN], f"... and {more} more"] if more > 0 else list(rows)


def named(names: c.Sequence[str]) -> str:
    """Return the first few of some names, and how many more there are."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _by_harm(hosts: c.Iterable[Host]) -> list[Host]:
    """Who takes most of the clients first."""
    return sorted(hosts, key=lambda host: (-sum(r["share"] for r in host["records"]), host["fqdn"]))


def _records(hosts: c.Iterable[Host]) -> list[str]:
    """The table of records; of each domain the first ones that clients ask, and every approved one."""
    notes: dict[SrvRecord, str] = {}
    hidden: dict[str, int] = {}
    rows = [(SrvRecord.from_mapping(record), record, host) for host in hosts for record in host["records"]]
    seen: dict[str, int] = {}
    for value, record, host in sorted(rows, key=lambda row: row[0].sort_key):
        seen[value.domain] = seen.get(value.domain, 0) + 1
        if seen[value.domain] > SHOWN and not host["approved"]:
            hidden[value.domain] = hidden.get(value.domain, 0) + 1
            continue
        notes[value] = _note(record, host)
    more = [f"{domain}: {count} more values of hosts that are not approved" for domain, count in sorted(hidden.items())]
    return table(list(notes), notes, []) + more


def _note(record: c.Mapping[str, t.Any], host: Host) -> str:
    share = f"takes {record['share'] * 100:.0f} % of the clients"
    if host["approved"]:
        return f"approved, {share}"
    name = "STALE" if host["status"] == Status.STALE.value else "NOT APPROVED"
    return f"{name}, {'outranks, ' if record['outranks'] else ''}{share}"


def _host(host: Host) -> str:
    name = host["fqdn"] or host["machine"]
    called = f" ({', '.join(host['machines'])})" if host["machines"] not in ([], [name]) else ""
    words = [word for word in (_windows(host), *map(_key, host["keys"]), _requests(host), host["advice"]) if word]
    return f"{name}{called}: {'; '.join(words) or 'nothing is known of it'}"


def _windows(host: Host) -> str:
    return f"{host['edition_id'] or host['os_name']}, build {host['build']}" if host["build"] else ""


def _key(key: c.Mapping[str, t.Any]) -> str:
    product = "Office" if key["application"] == "office" else "Windows"
    words = [f"{product} host key *****-{key['partial_product_key']}"]
    if key["is_declared_key"]:
        words.append("that of the approved hosts")
    if key["installed"]:
        words.append(f"installed {key['installed']}")
    words.append("activated" if key["activated"] else "NOT ACTIVATED")
    if key["current_count"] is not None and key["required_count"] is not None:
        words.append(f"{key['current_count']} of {key['required_count']} clients counted")
    return ", ".join(words)


def _requests(host: Host) -> str:
    total = (host["requests"] or {}).get("total")
    if not total:
        return ""
    names = [row["client"] for row in host["clients_served"] or ()]
    return f"{total} requests" + (f", lately of {named(names)}" if names else "")


def _origin(row: c.Mapping[str, t.Any]) -> str:
    installed = row["installed"] or "a day that is not told"
    return (
        f"{row['count']} x *****-{row['partial_product_key']}, {row['edition_id'] or 'edition not known'},"
        f" installed on {installed}: {named(row['machines'])}"
    )


def _adds(host: Host) -> bool:
    return bool(host["inventory_line"]) and not host["approved"] and host["status"] == Status.ROGUE.value


def _left(host: Host) -> str:
    values = ", ".join(f"{data(SrvRecord.from_mapping(r))} in {r['domain']}" for r in host["records"])
    return f"{values or host['fqdn']}: {host['advice']}"


def _clients(clients: c.Iterable[c.Mapping[str, t.Any]]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for client in clients:
        found.setdefault((client["how"], client["host"]), []).append(client["machine"])
    words = {"fixed_to": "fixed to", "served_by": "last served by"}
    rows = sorted(found.items(), key=lambda row: (row[0][0], -len(row[1]), row[0][1]))
    return _shown([f"{words[how]} {host}: {len(names)} ({named(names)})" for (how, host), names in rows])


def _unread(unread: c.Iterable[c.Mapping[str, t.Any]]) -> list[str]:
    """By reason: its first sentence, without what it says of one machine, so that equal ones meet."""
    found: dict[str, list[str]] = {}
    for one in unread:
        reason = re.sub(
            r"https?://\S+?(?=[:,.]?\s|$)", "its address", one["problem"].replace(one["machine"], "the machine")
        )
        found.setdefault(reason.partition(". ")[0].rstrip("."), []).append(one["machine"])
    rows = sorted(found.items(), key=lambda row: -len(row[1]))
    return _shown([f"{len(names)} ({named(names)}): {problem}" for problem, names in rows])


def _steered(domains: c.Iterable[c.Mapping[str, t.Any]]) -> list[str]:
    return [
        f"{domain['domain']} is steered to {domain['steered_to']}"
        + (
            f", past {named(domain['outranking'])}"
            if domain["outranking"]
            else ", without a reason any more: unsteer it"
        )
        for domain in domains
        if domain["steered_to"]
    ]
