# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An earlier report on a fleet, held against what DNS and the approved hosts say now.

Whether a rogue is what a report says shows on that rogue itself. What a report says of others would go unnoticed: that
clients find an approved host which activates them, and that a name in DNS still is that of a machine without host key.
"""

from __future__ import annotations

import collections.abc as c
import datetime
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import parse_list

from .approval import ApprovedHosts, fqdn_of, spelled
from .batches import named
from .declared import DeclaredHost
from .dns_rules import judge_unanswered, silent_domains
from .reading import Reading
from .rogues import host_keys
from .survey import key_of

#: How a report says when it was made, in UTC (ISO 8601).
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

#: So much may the clocks of two controllers differ.
_CLOCKS = datetime.timedelta(minutes=10)

Report = c.Mapping[str, t.Any]


def why_not_of_now(report: Report, now: str, max_age_hours: float) -> str:
    """Return why a report is no ground to act on any more, "" if it is young enough; ``now`` is the time in UTC."""
    made = report.get("generated")
    try:
        age = _time(now) - _time(str(made))
    except ValueError:
        return f"this result of find_rogues does not say when it was made (generated: {made}): run it again"
    if age > datetime.timedelta(hours=max_age_hours):
        hours = age.total_seconds() / 3600
        return (
            f"this result of find_rogues was made {hours:.0f} hours ago ({made}), and the fleet goes on: run it again,"
            f" or raise kms_convert_report_max_age ({max_age_hours:g} hours)"
        )
    if age < -_CLOCKS:
        return f"this result of find_rogues is dated {made}, and here it is {now}: set the clocks of the controllers"
    return ""


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.strptime(text, TIME_FORMAT)


def questions(report: Report) -> dict[str, list[str]]:
    """Return what to ask DNS again: all ``domains`` that a report knows of, and the approved ``targets`` to resolve."""
    hosts = report["hosts"]
    domains = {
        *(domain["domain"] for domain in report["domains"]),
        *(record["domain"] for host in hosts for record in host["records"]),
        *(domain for host in hosts for domain in host["publishes_in"] or ()),
        *(
            entry.domain
            for host in hosts
            for entry in parse_list(host.get("publish_list") or ())
            if not entry.malformed
        ),
        *(finding["subject"] for finding in report.get("unanswered") or ()),
    }
    targets = {host["fqdn"] for host in hosts if host["approved"] and host["fqdn"]}
    return {"domains": sorted(map(str, domains)), "targets": sorted(map(str, targets))}


def recheck(
    report: Report,
    records: c.Iterable[SrvRecord],
    addresses: c.Mapping[str, c.Sequence[str] | None],
    unanswered: c.Sequence[Unanswered],
    readings: c.Mapping[str, Reading],
    hosts: c.Sequence[DeclaredHost] = (),
) -> dict[str, t.Any]:
    """Return a report as it is now, with ``earlier``: when it was ``generated``, and ``notes`` on what has changed.

    ``records`` and ``addresses`` are the answers to ``questions``, ``readings`` the approved hosts that this run could
    look at, by inventory name. Of a domain that is ``unanswered`` the values of rogues are kept as they were, so that
    they are removed; an approved host is only where DNS shows it.
    """
    silent = silent_domains(unanswered)
    shown: dict[str, list[dict[str, t.Any]]] = {}
    for record in sorted(set(records), key=lambda record: record.sort_key):
        shown.setdefault(record.target, []).append(record.as_dict())
    entries, notes = [], []
    for entry in report["hosts"]:
        now = shown.get(entry["fqdn"], [])
        if entry["approved"]:
            gone = _why_not_shown(entry, silent)
            found, told = _approved(entry, now, gone, addresses, readings, str(report.get("generated")))
        else:
            found, told = _rogue(entry, now, silent), []
        entries.append(found)
        notes += told
    strangers = _strangers(report, shown)
    if strangers:
        notes.append(
            f"WARNING: DNS names {len(strangers)} hosts that the report does not know, and nothing is done about them:"
            f" {named(strangers)}. Run find_rogues again."
        )
    return {
        **report,
        "hosts": entries,
        "unanswered": [finding.as_dict() for finding in judge_unanswered(unanswered, hosts)],
        "earlier": {"generated": report.get("generated"), "notes": notes},
    }


def _rogue(entry: Report, records: list[dict[str, t.Any]], silent: c.Set[str]) -> dict[str, t.Any]:
    unknown = silent - {record["domain"] for record in records}
    return {**entry, "records": [*records, *(one for one in entry["records"] if one["domain"] in unknown)]}


def _approved(
    entry: Report,
    records: list[dict[str, t.Any]],
    gone: str,
    addresses: c.Mapping[str, c.Sequence[str] | None],
    readings: c.Mapping[str, Reading],
    generated: str,
) -> tuple[dict[str, t.Any], list[str]]:
    """An approved host as it is now, and what to tell of it; ``gone`` says why it has no records, if it has none."""
    fqdn = str(entry["fqdn"])
    found = {**entry, "records": records, "addresses": addresses.get(fqdn, entry["addresses"])}
    reading = readings.get(entry["machine"] or "")
    if not records:
        found["advice"] = gone
    elif found["addresses"] == []:
        found["advice"] = "its name has no address"
    if reading is None:
        is_told = found["records"] and any(key["activated"] for key in found["keys"])
        note = (
            f"WARNING: {fqdn} cannot be looked at in this run, as it is outside of it (a limit, or a slice): that it is"
            f" activated and has its count is known from the report of {generated} alone."
        )
        return found, [note] if is_told else []
    own = fqdn_of(reading)
    if reading.problem or own != fqdn:
        found["keys"] = []
        problem = f"could not be read: {reading.problem}" if reading.problem else f"says it is {own or 'nobody'} now"
        found["advice"] = problem
        return found, [f"WARNING: {fqdn} is not counted on: it {problem}"]
    found["keys"] = [key_of(product, ()) for product in host_keys(reading)]
    if not any(key["activated"] for key in found["keys"]):
        found["advice"] = "has no activated KMS host key now"
    return found, []


def _why_not_shown(entry: Report, silent: c.Set[str]) -> str:
    unknown = sorted(silent & {record["domain"] for record in entry["records"]})
    if unknown:
        return f"whether it still is published, DNS does not tell ({', '.join(unknown)})"
    return "DNS shows it no more" if entry["records"] else "is published in no domain"


def _strangers(report: Report, shown: c.Iterable[str]) -> list[str]:
    approved = ApprovedHosts.of(report["approved_hosts"])
    known = {spelled(host["fqdn"]) for host in report["hosts"]}
    return sorted(target for target in shown if target not in known and target not in approved)


def why_changed(fqdn: str, reading: Reading) -> str:
    """Return why the values of a machine are not to be removed by what an earlier report says of it, "" if they are.

    It was no KMS host then, so that nothing but DNS is changed: whether it still is none, and the same, is to be seen.
    """
    if reading.problem:
        return f"could not be looked at again: {reading.problem}"
    own = fqdn_of(reading)
    if own != fqdn:
        return f"says that it is {own or 'nobody'}, not {fqdn}: the inventory, or the report, is out of date"
    return "has a KMS host key again: run find_rogues again" if host_keys(reading) else ""
