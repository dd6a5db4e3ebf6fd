# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The survey of a fleet: who is a KMS host, in DNS or by its own account, approved or not, and what that does."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import enum
import json
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import is_address
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import NO_TARGET, SrvRecord, shares
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.host_keys import host_key_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_client import CLOUD_KMS_HOSTS

from .approval import ApprovedHosts, Identity, Machines, candidates, fqdn_of, inventory_line, spelled
from .declared import DeclaredHost
from .dns_rules import judge_unanswered, silent_domains
from .finding import Finding
from .reading import Reading
from .rogues import (
    Treatment,
    Verdict,
    domains_published,
    host_keys,
    installed_on,
    is_unfinished,
    release_of,
    served_by,
    treat,
)
from .steering import Standing, reasons, standing_of, steered_records

#: What names the data of ``survey`` and its form. The number changes when a field changes its meaning or goes away.
SCHEMA = "fleetops.kms.rogues"
VERSION = 1

#: So many of the machines that a host served are named.
NAMED_CLIENTS = 10


class Status(enum.Enum):
    """What a name in DNS, or a machine with a host key, is."""

    APPROVED = "approved"
    #: It has a KMS host key, or nobody can tell whether it has.
    ROGUE = "rogue"
    #: Its machine was read and has no host key (any more): only its values in DNS are left.
    LEFT_BEHIND = "left_behind"
    #: It is tied to no machine and its name has no address.
    STALE = "stale"


@dataclasses.dataclass(frozen=True)
class Survey:
    """What was declared and what was read. ``readings`` are all machines that were looked at, by inventory name."""

    hosts: c.Sequence[DeclaredHost]
    approved: ApprovedHosts
    readings: c.Mapping[str, Reading]
    records: c.Sequence[SrvRecord] = ()
    #: Addresses by target: none for a name that has none. Of a target that is missing here they are not known.
    addresses: c.Mapping[str, c.Sequence[str]] = dataclasses.field(default_factory=dict)
    #: Last five characters of the declared host keys.
    declared_keys: c.Collection[str] = ()
    #: Machines of the inventory that were not looked at, by inventory name.
    unseen: c.Collection[str] = ()
    #: Domains for which DNS gave no useful answer: what is published there is not known.
    unanswered: c.Sequence[Unanswered] = ()
    #: Windows DNS servers that could not be asked for the values of all their zones, by inventory name, and why.
    unread_zones: c.Mapping[str, str] = dataclasses.field(default_factory=dict)

    def standings(self) -> list[Standing]:
        """How the declared hosts stand."""
        return [standing_of(host, self.readings.get(host.name)) for host in self.hosts]

    def findings(self) -> list[Finding]:
        """The domains of which DNS would not tell, in the words of a verification."""
        return judge_unanswered(self.unanswered, self.hosts)


@dataclasses.dataclass(frozen=True)
class _Context:
    """What is worked out once for all machines."""

    survey: Survey
    machines: Machines
    records: c.Mapping[str, c.Sequence[SrvRecord]]
    share_of: c.Mapping[SrvRecord, float]
    outranking: frozenset[SrvRecord]
    hosts: c.Sequence[Reading]
    partial_keys: frozenset[str]
    #: Inventory names of the machines that could not be read.
    unread: c.Sequence[str]
    #: The declared hosts by their inventory names.
    declared: c.Mapping[str, DeclaredHost]
    #: The names of the approved hosts that are declared or in DNS.
    approved: c.Sequence[str]

    @classmethod
    def of(cls, survey: Survey) -> _Context:
        records = sorted(set(survey.records), key=lambda record: record.sort_key)
        by_target: dict[str, list[SrvRecord]] = {}
        for record in records:
            by_target.setdefault(record.target, []).append(record)
        hosts = [one for one in survey.readings.values() if host_keys(one) and fqdn_of(one) in survey.approved]
        keys = {str(key).upper() for key in survey.declared_keys}
        keys |= {str(product.get("partial_product_key")).upper() for one in hosts for product in host_keys(one)}
        found = reasons(records, survey.hosts, survey.approved)
        return cls(
            survey=survey,
            machines=Machines.of(survey.readings.values()),
            records=by_target,
            share_of=dict(zip(records, shares(records), strict=True)),
            outranking=frozenset(record for values in found.values() for record in values),
            hosts=hosts,
            partial_keys=frozenset(keys),
            unread=[one.name for one in survey.readings.values() if one.problem],
            declared={host.name: host for host in survey.hosts},
            approved=sorted(
                {*(host.fqdn for host in survey.hosts if host.fqdn), *filter(survey.approved.__contains__, by_target)}
            ),
        )


def survey(fleet: Survey) -> dict[str, t.Any]:
    """Return the report on a fleet as plain data; ``docs/rogues.md`` describes its form.

    Machines are told by their own names. A name in DNS that belongs to no machine that was read, or to several, is
    reported as such and its treatment is to report it: nothing may act on it.
    """
    context = _Context.of(fleet)
    own = {fqdn for one in fleet.readings.values() if (host_keys(one) or is_unfinished(one)) and (fqdn := fqdn_of(one))}
    nameless = [one for one in fleet.readings.values() if host_keys(one) and not fqdn_of(one)]
    names = sorted({*context.records, *own, *(host.fqdn for host in fleet.hosts if host.fqdn)})
    hosts = [_entry(context, name) for name in names] + [_nameless(context, one) for one in nameless]
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "approved_hosts": list(fleet.approved.patterns),
        "hosts": hosts,
        "domains": _domains(context),
        "origins": _origins(hosts),
        "clients": _clients(context),
        "unread": [{"machine": one.name, "problem": one.problem} for one in fleet.readings.values() if one.problem],
        "unanswered": [finding.as_dict() for finding in fleet.findings()],
        "unread_zones": [{"machine": name, "problem": problem} for name, problem in fleet.unread_zones.items()],
        "summary": _summary(hosts, fleet),
    }


def _entry(context: _Context, fqdn: str) -> dict[str, t.Any]:
    names = context.machines.named(fqdn) or tuple(
        host.name
        for host in context.survey.hosts
        if host.fqdn == fqdn and context.survey.readings.get(host.name, Reading(host.name)).problem
    )
    identity = Identity.AMBIGUOUS if len(names) > 1 else Identity.KNOWN if names else Identity.UNKNOWN
    approved = fqdn in context.survey.approved
    machine = _the_one(context, fqdn, names, approved)
    reading = context.survey.readings[machine] if machine else None
    status, verdict = _judge(context, fqdn, reading, approved, names)
    addresses = context.survey.addresses.get(fqdn)
    return {
        "fqdn": fqdn,
        "machine": machine,
        "machines": list(names),
        "identity": identity.value,
        "inventory_line": "" if names or _behind(context, fqdn) else inventory_line(fqdn),
        "is_outside": not names and bool(candidates(fqdn, context.survey.unseen)),
        "approved": approved,
        "status": status.value,
        "treatment": verdict.treatment.value,
        "advice": verdict.advice,
        "addresses": None if addresses is None else list(addresses),
        **_account(context, reading),
        "records": [_record(context, record) for record in context.records.get(fqdn, ())],
    }


def _the_one(context: _Context, fqdn: str, names: c.Sequence[str], approved: bool) -> str | None:
    """The machine behind a name; of several only an approved one that is declared so, as nothing is done to it."""
    declared = [name for name in names if name in context.declared and context.declared[name].fqdn == fqdn]
    found = declared if approved and len(names) > 1 else names
    return found[0] if len(found) == 1 else None


def _nameless(context: _Context, reading: Reading) -> dict[str, t.Any]:
    """A KMS host that has no full name: it can publish nothing, but has a host key all the same."""
    verdict = _verdict(context, reading)
    return {
        "fqdn": "",
        "machine": reading.name,
        "machines": [reading.name],
        "identity": Identity.KNOWN.value,
        "inventory_line": "",
        "is_outside": False,
        "approved": False,
        "status": Status.ROGUE.value,
        "treatment": verdict.treatment.value,
        "advice": verdict.advice,
        "addresses": None,
        **_account(context, reading),
        "records": [],
    }


def _judge(
    context: _Context, fqdn: str, reading: Reading | None, approved: bool, names: c.Sequence[str]
) -> tuple[Status, Verdict]:
    if approved:
        several = _several(context, fqdn, names) if len(names) > 1 else ""
        return Status.APPROVED, Verdict(Treatment.LEAVE, several or _why_no_help(context, fqdn, reading))
    if reading is not None:
        verdict = _verdict(context, reading)
        left = verdict.treatment is Treatment.REMOVE_RECORDS
        return Status.LEFT_BEHIND if left else Status.ROGUE, verdict
    if names:
        return Status.ROGUE, Verdict(Treatment.REPORT, _several(context, fqdn, names))
    return _judge_unknown(context, fqdn)


def _why_no_help(context: _Context, fqdn: str, reading: Reading | None) -> str:
    """Return what keeps clients from an approved host, as far as that is known, "" for nothing."""
    if reading is None:
        return "no machine that was read has this name"
    if reading.problem:
        return "could not be read (see below why)"
    found = [] if host_keys(reading) else ["has NO KMS host key"]
    if fqdn not in context.records:
        found.append("is published in no domain")
    return ", ".join(found)


def _judge_unknown(context: _Context, fqdn: str) -> tuple[Status, Verdict]:
    """What is to be said of a name in DNS that no machine which was read has."""
    if fqdn == NO_TARGET:
        text = (
            "says that the domain has no KMS host at all (RFC 2782): remove it"
            " (fleetops.kms.srv_cleanup, with target: '.')"
        )
        return Status.STALE, Verdict(Treatment.REPORT, text)
    if candidates(fqdn, context.unread) == [fqdn]:
        text = "could not be read (see below why): nothing is done to it until it is"
        return Status.ROGUE, Verdict(Treatment.REPORT, text)
    if candidates(fqdn, context.survey.unseen) == [fqdn]:
        text = "not looked at in this run: take it into --limit and kms_rogues_pattern"
        return Status.ROGUE, Verdict(Treatment.REPORT, text)
    behind = _behind(context, fqdn)
    if behind:
        text = f"no machine that was read has this name; it may be {behind}"
        return Status.ROGUE, Verdict(Treatment.REPORT, text)
    if fqdn in context.survey.addresses and not context.survey.addresses[fqdn]:
        text = (
            "no machine that was read has this name, and the name has no address: remove its values from DNS"
            " (fleetops.kms.srv_record with state: absent)"
        )
        return Status.STALE, Verdict(Treatment.REPORT, text)
    return Status.ROGUE, Verdict(Treatment.REPORT, "no machine of the inventory has this name: add it there")


def _several(context: _Context, fqdn: str, names: c.Sequence[str]) -> str:
    """What to do where several inventory names lead to a machine that gives itself the same name.

    The installation ID is made of the hardware and the key: clones have the same one only on the same hardware.
    """
    kept = next((name for name in names if name in context.declared or name == fqdn), names[0])
    others = [name for name in names if name != kept]
    ids = [
        {str(product["installation_id"]) for product in kms.get("products") or () if product.get("installation_id")}
        for kms in (context.survey.readings[name].kms for name in names)
    ]
    listed = ", ".join(names)
    if ids[0] and all(found == ids[0] for found in ids):
        return (
            f"one computer that the inventory lists more than once, as {listed} (each says that it is {fqdn}, with the"
            " same installation ID): take all but one of these names out of the inventory, or out of this run with"
            f" --limit 'all:!{':!'.join(others)}'. Nothing is done to it until then"
        )
    return (
        f"several inventory names lead to what says that it is {fqdn}: {listed}. If they are clones, give each computer"
        " a name of its own; if they are one computer, keep one of the names. Nothing is done to any of them until then"
    )


def _verdict(context: _Context, reading: Reading) -> Verdict:
    """What can be done about a machine that is not approved by the name it gives itself.

    A declared KMS host is none to be changed, whatever it calls itself: it or its declaration has the wrong name.
    """
    host = context.declared.get(reading.name)
    if host is None:
        return treat(reading, context.hosts)
    own = fqdn_of(reading) or spelled(reading.kms.get("fqdn")) or "nobody"
    text = f"declared as {host.fqdn or host.name}, says it is {own}: mend its name, or the declaration (kms_host_fqdn)"
    return Verdict(Treatment.REPORT, text)


def _behind(context: _Context, fqdn: str) -> str:
    """Machines nobody has looked into that may be the one behind a name, in words: a hint, no more; "" for none."""
    found = (
        (candidates(fqdn, context.unread), "which could not be read"),
        (candidates(fqdn, context.survey.unseen), "not looked at in this run"),
    )
    return "; or ".join(f"{', '.join(names)}, {why}" for names, why in found if names)


def _account(context: _Context, reading: Reading | None) -> dict[str, t.Any]:
    """What a machine says of itself; null stands for what is not known."""
    kms: c.Mapping[str, t.Any] = reading.kms if reading else {}
    known = bool(kms)
    release = release_of(reading) if reading and known else None
    served = kms.get("clients_served")
    return {
        "problem": reading.problem if reading else "",
        "is_kms_host": bool(reading and host_keys(reading)) if known else None,
        "is_unfinished": bool(reading and is_unfinished(reading)) if known else None,
        "role": kms.get("role"),
        "os_name": kms.get("os_name"),
        "edition_id": kms.get("edition_id"),
        "build": kms.get("build"),
        "release": release.id if release else None,
        "served_by": list(served_by(reading, context.hosts)) if reading and known else None,
        "keys": [key_of(product, context.partial_keys) for product in host_keys(reading)] if reading else [],
        "requests": kms.get("requests"),
        "clients_served": None if served is None else served[:NAMED_CLIENTS],
        "clients_served_count": kms.get("clients_served_count"),
        "publishes_in": domains_published(reading) if reading and known else None,
        "publish_list": kms.get("publish_list"),
        "dns_publishing": kms.get("dns_publishing"),
        "fixed_to": _fixed_to(context, reading) if reading and known else None,
    }


def key_of(product: c.Mapping[str, t.Any], declared: c.Container[str]) -> dict[str, t.Any]:
    """Return what a report says of a product with a host key; ``declared`` are the ends of declared keys."""
    partial = str(product.get("partial_product_key") or "").upper()
    return {
        "application": product.get("application"),
        "activation_id": product.get("activation_id"),
        "name": product.get("name"),
        "channel": product.get("channel"),
        "generation": host_key_of(product.get("description")),
        "partial_product_key": partial,
        "is_declared_key": partial in declared,
        "installed": installed_on(product.get("product_key_id")),
        "license_status": product.get("license_status"),
        "license_status_name": product.get("license_status_name"),
        "activated": product.get("license_status") == LicenseStatus.LICENSED,
        "current_count": product.get("current_count"),
        "required_count": product.get("required_count"),
    }


def _record(context: _Context, record: SrvRecord) -> dict[str, t.Any]:
    return {
        **record.as_dict(),
        "share": round(context.share_of[record], 4),
        "outranks": record in context.outranking,
    }


def _domains(context: _Context) -> list[dict[str, t.Any]]:
    """The domains that have values: who takes which share of their clients, and to whom they are steered."""
    steered = {record.domain: record.target for record in steered_records(context.share_of, context.survey.hosts)}
    found: dict[str, list[SrvRecord]] = {}
    for record in context.share_of:
        found.setdefault(record.domain, []).append(record)
    approved = context.survey.approved
    return [
        {
            "domain": domain,
            "approved": sorted({record.target for record in values if record.target in approved}),
            "rogue": sorted({record.target for record in values if record.target not in approved}),
            "outranking": sorted({record.target for record in values if record in context.outranking}),
            "rogue_share": round(sum(context.share_of[r] for r in values if r.target not in approved), 4),
            "steered_to": steered.get(domain),
        }
        for domain, values in sorted(found.items())
    ]


def _origins(hosts: c.Iterable[c.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Where the keys came from: machines with the same key, installed on the same day, come from one image."""
    found: dict[tuple[t.Any, ...], list[str]] = {}
    for host in hosts:
        if host["status"] != Status.ROGUE.value:
            continue
        for key in host["keys"]:
            kind = (key["application"], key["partial_product_key"], key["installed"], host["edition_id"])
            found.setdefault(kind, []).append(host["machine"] or host["fqdn"])
    rows = sorted(found.items(), key=lambda row: (-len(row[1]), str(row[0])))
    return [
        {
            "application": application,
            "partial_product_key": partial,
            "installed": installed,
            "edition_id": edition,
            "count": len(names),
            "machines": sorted(names),
        }
        for (application, partial, installed, edition), names in rows
    ]


def _clients(context: _Context) -> list[dict[str, t.Any]]:
    """The clients that are fixed to a host that is not approved, or were served by one last."""
    result = []
    for reading in context.survey.readings.values():
        kms = reading.kms
        if kms.get("role") != "kms_client" or kms.get("activation_type") == "ad":
            continue
        fixed, used = spelled(kms.get("kms_server")), spelled(kms.get("kms_server_used"))
        name = fixed or used
        if name and not _may_be_approved(context, name):
            how = "fixed_to" if fixed else "served_by"
            result.append({"machine": reading.name, "how": how, "host": name, "fqdn": fqdn_of(reading)})
    return result


def _fixed_to(context: _Context, reading: Reading) -> str:
    """The host that a machine is fixed to, if it is not approved: as a client it would ask that one for ever.

    The KMS host of a cloud is for its own machines: whether they leave it is asked for elsewhere.
    """
    fixed = spelled(reading.kms.get("kms_server"))
    return "" if fixed in CLOUD_KMS_HOSTS or _may_be_approved(context, fixed) else fixed


def _may_be_approved(context: _Context, place: str) -> bool:
    """Whether a client that is set to this name or address may mean an approved host by it."""
    if not place or place in context.survey.approved:
        return True
    if is_address(place):
        # An approved host whose address nobody told may be the one.
        return any(place in (context.survey.addresses.get(name) or [place]) for name in context.approved)
    return "." not in place and any(name.partition(".")[0] == place for name in context.approved)


def _summary(hosts: c.Sequence[c.Mapping[str, t.Any]], fleet: Survey) -> dict[str, t.Any]:
    statuses = collections.Counter(host["status"] for host in hosts)
    treatments = collections.Counter(host["treatment"] for host in hosts if not host["approved"])
    return {
        "machines": len(fleet.readings),
        "unread": sum(bool(one.problem) for one in fleet.readings.values()),
        **{status.value: statuses.get(status.value, 0) for status in Status},
        "treatments": {kind.value: treatments.get(kind.value, 0) for kind in Treatment if kind is not Treatment.LEAVE},
        "unknown": sum(host["identity"] == Identity.UNKNOWN.value and not host["approved"] for host in hosts),
        "ambiguous": sum(host["identity"] == Identity.AMBIGUOUS.value for host in hosts),
    }


def report_of(data: t.Any) -> c.Mapping[str, t.Any]:
    """Return a report that was written earlier, given as data or as JSON.

    Raises ValueError for what is none, or of another version.
    """
    if isinstance(data, (str, bytes)):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise ValueError(f"this is no JSON, perhaps it was cut: {error}") from error
    if not isinstance(data, c.Mapping) or data.get("schema") != SCHEMA:
        raise ValueError(f"this is no result of find_rogues: its schema is not {SCHEMA}")
    if data.get("version") != VERSION:
        raise ValueError(
            f"this result of find_rogues has version {data.get('version')}, {VERSION} is needed: run it again"
        )
    missing = _missing(data)
    if missing:
        raise ValueError(f"this result of find_rogues lacks {', '.join(missing)}: take it whole, or run it again")
    return data


#: What of a report is acted on: lists of the whole, and fields of each host, record and key.
_LISTS = ("approved_hosts", "hosts", "domains", "unread")
_OF_HOST = (
    *("fqdn", "machine", "machines", "identity", "inventory_line", "approved", "status", "treatment", "advice"),
    *("addresses", "problem", "is_kms_host", "role", "served_by", "publishes_in", "records", "keys"),
)
_OF_ROWS = {
    "records": ("domain", "target", "port", "priority"),
    "keys": ("application", "activation_id", "generation", "activated", "current_count", "required_count"),
}


def _missing(data: c.Mapping[str, t.Any]) -> list[str]:
    """What a report lacks that every one has: it was cut, or put together by hand."""
    lists = [name for name in _LISTS if not isinstance(data.get(name), list)]
    if lists:
        return lists
    found = {f"{name} of a host" for host in data["hosts"] for name in _lacking(host, _OF_HOST)}
    if not found:
        rows = [(kind, row) for host in data["hosts"] for kind in _OF_ROWS for row in host[kind] or ()]
        found = {f"{name} in {kind} of a host" for kind, row in rows for name in _lacking(row, _OF_ROWS[kind])}
    return sorted(found)


def _lacking(row: t.Any, names: c.Iterable[str]) -> list[str]:
    return [name for name in names if not isinstance(row, c.Mapping) or name not in row]


def machines_to_convert(report: c.Mapping[str, t.Any]) -> list[str]:
    """Return the inventory names of the machines that a report says can be treated by a run.

    Only a name of exactly one machine counts, and an approved host never does.
    """
    treatments = {Treatment.CONVERT.value, Treatment.REMOVE_OFFICE_KEY.value, Treatment.REMOVE_RECORDS.value}
    return [
        str(host["machine"])
        for host in report["hosts"]
        if host["machine"]
        and host["identity"] == Identity.KNOWN.value
        and not host["approved"]
        and host["treatment"] in treatments
    ]


def precheck(
    fleet: Survey, outside: c.Collection[str] = (), probes: c.Iterable[c.Mapping[str, t.Any]] = ()
) -> dict[str, list[str]]:
    """Return what forbids to go on (``stop``) and what is worth saying (``warn``) before a fleet is changed.

    At least one approved host must be published, resolvable and activated. ``outside`` are declared hosts that the run
    may not touch (a limit): what it decides on would be a part of the whole. A TCP port that cannot be reached from
    the controller only warns: networks are segmented, and rising request counters are the proof.
    """
    stop, warn = [], []
    if outside:
        stop.append(f"{', '.join(sorted(outside))}: approved KMS hosts outside of this run; take them into --limit")
    ready = []
    for standing in fleet.standings():
        reason = standing.problem or _unfindable(fleet, standing.host)
        if reason:
            warn.append(f"{standing.host.name}: {reason}")
            continue
        ready.append(standing.host.name)
        if standing.host.fqdn not in fleet.addresses:
            warn.append(f"{standing.host.name}: DNS did not tell whether {standing.host.fqdn} has an address")
        if not standing.has_count:
            warn.append(f"{standing.host.name}: {standing.text}: it turns clients down until it has counted enough")
    if not ready:
        text = "no approved KMS host is published, resolvable and activated"
        silent = [finding.line for finding in fleet.findings()]
        stop.append(
            f"{text}, as far as DNS tells; {'; '.join(silent)}"
            if silent
            else f"{text}: deploy one first (deploy_hosts)"
        )
    return {"stop": stop, "warn": [*warn, *unreached(probes)], "ready": ready}


def unreached(probes: c.Iterable[c.Mapping[str, t.Any]]) -> list[str]:
    """Return, a line each, the hosts whose TCP port was reached from the controller at none of their addresses.

    ``probes`` are what the lookup reachable gives.
    """
    tried: dict[str, list[c.Mapping[str, t.Any]]] = {}
    for probe in probes:
        tried.setdefault(str(probe.get("name")), []).append(probe)
    return [
        f"{name}: TCP {own[0].get('port')} was not reached from the controller ({own[0].get('error')})"
        for name, own in tried.items()
        if not any(probe.get("reachable") for probe in own)
    ]


def _unfindable(fleet: Survey, host: DeclaredHost) -> str:
    own = [record for record in fleet.records if record.target == host.fqdn]
    silent = sorted({record.domain for record in host.wanted} & silent_domains(fleet.unanswered))
    if not own and silent:
        return f"whether it is published is not known, as DNS does not tell of {', '.join(silent)}"
    if not own:
        return "is published in no domain"
    if host.fqdn in fleet.addresses and not fleet.addresses[host.fqdn]:
        return f"its name {host.fqdn} has no address"
    return ""
