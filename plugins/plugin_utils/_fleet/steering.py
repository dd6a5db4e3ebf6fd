# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients steered past KMS hosts that are not approved: one real host of a domain is published before all others.

A machine that became a KMS host by accident publishes itself with priority 0 and weight 0 (Volume Activation Technical
Reference) and so outranks a host at priority 10. Nothing stands before priority 0; but within a priority a weight of 0
has next to no chance beside 65535 (RFC 2782). Only one host of a domain is steered to, the one that has its count:
clients that meet a host below its threshold are turned down and do not ask another one.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord, shares
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import PublishEntry, parse_list

from .approval import ApprovedHosts
from .declared import DeclaredHost
from .reading import Reading

STEERED_PRIORITY = 0
STEERED_WEIGHT = 0xFFFF

#: From this share of a domain's clients on a host that is not approved is still asked, steered or not.
NOTICEABLE_SHARE = 0.01


def is_steered(value: SrvRecord | PublishEntry) -> bool:
    """Whether a value is the one that steering publishes."""
    return value.priority == STEERED_PRIORITY and value.weight == STEERED_WEIGHT


def reasons(
    records: c.Iterable[SrvRecord], hosts: c.Sequence[DeclaredHost], approved: c.Container[str]
) -> dict[str, tuple[SrvRecord, ...]]:
    """Return, by domain, the values of hosts that are not approved and that clients may ask before a declared one.

    Those are the values at or below the worst (highest) priority that is declared in the domain: the rule by which
    a record set counts as published. While there are any, a steered domain stays steered.
    """
    worst: dict[str, int] = {}
    for wanted in (record for host in hosts for record in host.wanted):
        worst[wanted.domain] = max(wanted.priority, worst.get(wanted.domain, 0))
    found: dict[str, list[SrvRecord]] = {}
    for record in sorted(set(records), key=lambda record: record.sort_key):
        if record.target not in approved and record.priority <= worst.get(record.domain, -1):
            found.setdefault(record.domain, []).append(record)
    return {domain: tuple(values) for domain, values in found.items()}


def steered_records(records: c.Iterable[SrvRecord], hosts: c.Iterable[DeclaredHost]) -> dict[SrvRecord, SrvRecord]:
    """Return the values in DNS that steering has put there, each with the declared one in whose place it stands."""
    wanted = {(record.domain, record.target): record for host in hosts for record in host.wanted}
    return {
        record: own
        for record in records
        if is_steered(record) and (own := wanted.get((record.domain, record.target))) and not is_steered(own)
    }


def steered_entries(host: DeclaredHost, entries: c.Iterable[PublishEntry]) -> list[PublishEntry]:
    """Return the entries of a host's publish list that steering has put there."""
    declared = {entry.domain: entry for entry in effective(host, host.publish)}
    return [
        entry
        for entry in entries
        if is_steered(entry) and entry.domain in declared and not is_steered(declared[entry.domain])
    ]


def effective(host: DeclaredHost, entries: c.Iterable[PublishEntry]) -> tuple[PublishEntry, ...]:
    """Return what a host publishes: its list, or itself in its home domain where the list is empty."""
    found = tuple(entries)
    return found or ((PublishEntry(host.home_domain),) if host.home_domain else ())


def keep_steered(
    host: DeclaredHost, entries: c.Iterable[PublishEntry], steered_for: c.Collection[str]
) -> tuple[PublishEntry, ...]:
    """Return the publish list that a host is to have: as declared, but still steered in the domains ``steered_for``.

    ``entries`` are what it has now: a domain that is not steered does not become so.
    """
    now = {entry.domain: entry for entry in steered_entries(host, entries) if entry.domain in steered_for}
    return tuple(now.get(entry.domain, entry) for entry in host.publish)


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a KMS host can be relied on: read from the machine, for its Windows host key."""

    host: DeclaredHost
    #: Why it cannot be relied on at all; "" when it serves, be it after some more clients.
    problem: str = ""
    count: int = 0
    required: int = 0
    #: Its publish list; None when it could not be read.
    publish: tuple[PublishEntry, ...] | None = None

    @property
    def has_count(self) -> bool:
        """Whether it answers clients now."""
        return not self.problem and self.count >= self.required > 0

    @property
    def text(self) -> str:
        """Its standing in a few words."""
        if self.problem:
            return self.problem
        counted = f"{self.count} counted" if self.has_count else f"{self.count} of {self.required} clients counted"
        return f"activated, {counted}"


def standing_of(host: DeclaredHost, reading: Reading | None) -> Standing:
    """Return how a declared host stands by what was read of it."""
    if reading is None:
        return Standing(host, "was not looked at")
    if reading.problem:
        return Standing(host, f"could not be read: {reading.problem}")
    publish = parse_list(reading.kms.get("publish_list") or ())
    keys = [product for product in reading.products("kms_host") if product.get("application") == "windows"]
    if not keys:
        return Standing(host, "has no KMS host key for Windows", publish=publish)
    licensed = [product for product in keys if product.get("license_status") == LicenseStatus.LICENSED]
    if not licensed:
        return Standing(host, "is not activated: it answers no client", publish=publish)
    counts = [(int(p.get("current_count") or 0), int(p.get("required_count") or 0)) for p in licensed]
    count, required = max(counts)
    return Standing(host, "", count, required, publish)


@dataclasses.dataclass(frozen=True)
class DomainPlan:
    """What is to be published in one domain, and why."""

    domain: str
    #: The values that clients are steered past; none when there is no reason.
    reasons: tuple[SrvRecord, ...]
    #: The declared host that clients are sent to first; None when the domain is as declared, or nobody can take it.
    host: DeclaredHost | None
    #: The wanted values of all declared hosts there.
    wanted: tuple[SrvRecord, ...]
    #: What people are to know.
    notes: tuple[str, ...] = ()


def steer(
    standings: c.Sequence[Standing],
    records: c.Iterable[SrvRecord],
    approved: ApprovedHosts,
    domains: c.Collection[str],
    ready: c.Container[str] | None = None,
) -> list[DomainPlan]:
    """Return how to steer the domains that have a reason; the others are left as they are.

    The host that has its count is taken: licensed and at its threshold, the one that is steered to already before
    others, then as declared. Where none has it, the one with the highest count. The others keep their declared rank.
    Only hosts that are ``ready`` (by inventory name; None: all) are taken: a name without an address serves nobody.
    """
    records = list(records)
    found = reasons(records, [standing.host for standing in standings], approved)
    return [
        _steer(domain, values, standings, records, ready)
        for domain, values in sorted(found.items())
        if domain in domains
    ]


def unsteer(
    standings: c.Sequence[Standing],
    records: c.Iterable[SrvRecord],
    approved: ApprovedHosts,
    domains: c.Collection[str],
    silent: c.Collection[str] = (),
) -> list[DomainPlan]:
    """Return how to bring the steered domains back to what is declared.

    A domain that has a reason stays steered, and so does one that DNS would not tell of, wholly or in part
    (``silent``): whether there is a reason is not known. Nor is it of one in which not even the steered value is left.
    """
    records = list(records)
    hosts = [standing.host for standing in standings]
    found = reasons(records, hosts, approved)
    by_dns = {record.domain for record in steered_records(records, hosts)}
    by_list = {entry.domain for one in standings for entry in steered_entries(one.host, one.publish or ())}
    answered = {record.domain for record in records}
    return [
        DomainPlan(domain, (), None, wanted_in(domain, hosts))
        if domain in answered and domain not in found and domain not in silent
        else _keep(domain, found.get(domain, ()), standings, records, domain in silent)
        for domain in sorted((by_dns | by_list) & set(domains))
    ]


def wanted_in(
    domain: str, hosts: c.Iterable[DeclaredHost], steered_to: DeclaredHost | None = None
) -> tuple[SrvRecord, ...]:
    """Return the values that declared hosts are to have in a domain, one of them perhaps before all others."""
    return tuple(
        dataclasses.replace(record, priority=STEERED_PRIORITY, weight=STEERED_WEIGHT)
        if steered_to is not None and host.name == steered_to.name
        else record
        for host in hosts
        for record in host.wanted
        if record.domain == domain
    )


def _steer(
    domain: str,
    found: tuple[SrvRecord, ...],
    standings: c.Sequence[Standing],
    records: c.Sequence[SrvRecord],
    ready: c.Container[str] | None,
) -> DomainPlan:
    able = [one for one in standings if ready is None or one.host.name in ready]
    chosen = _choice(domain, able, records)
    hosts = [standing.host for standing in standings]
    if chosen is None:
        text = "no declared KMS host of this domain can take the clients: it is left as it is"
        return DomainPlan(domain, found, None, (), (text,))
    wanted = wanted_in(domain, hosts, chosen.host)
    notes = []
    if not chosen.has_count:
        notes.append(f"{chosen.host.name} is {chosen.text}: it turns clients down until it has counted enough")
    return DomainPlan(domain, found, chosen.host, wanted, (*notes, *_still_asked(found, wanted)))


def _keep(
    domain: str,
    found: tuple[SrvRecord, ...],
    standings: c.Sequence[Standing],
    records: c.Sequence[SrvRecord],
    is_silent: bool,
) -> DomainPlan:
    keeper = _steered_now(domain, standings, records)
    names = ", ".join(dict.fromkeys(record.target for record in found))
    unknown = "DNS did not tell what is published there" if is_silent else "DNS shows no value there"
    why = f"{names} would be asked before a declared KMS host" if found else unknown
    return DomainPlan(domain, found, keeper.host if keeper else None, (), (f"stays steered: {why}",))


def _choice(domain: str, standings: c.Sequence[Standing], records: c.Sequence[SrvRecord]) -> Standing | None:
    there = [(one, own) for one in standings if not one.problem for own in one.host.wanted if own.domain == domain]
    now = _steered_now(domain, standings, records)

    def rank(item: tuple[Standing, SrvRecord]) -> tuple[object, ...]:
        one, own = item
        count = 0 if one.has_count else one.count
        return (not one.has_count, -count, one is not now, own.sort_key)

    return min(there, key=rank)[0] if there else None


def _steered_now(domain: str, standings: c.Sequence[Standing], records: c.Sequence[SrvRecord]) -> Standing | None:
    values = {
        record.target for record in steered_records(records, [one.host for one in standings]) if record.domain == domain
    }
    for one in standings:
        if one.host.fqdn in values or any(
            entry.domain == domain for entry in steered_entries(one.host, one.publish or ())
        ):
            return one
    return None


def _still_asked(found: c.Sequence[SrvRecord], wanted: c.Sequence[SrvRecord]) -> list[str]:
    """What steering cannot help: a value at priority 0 with a weight of its own."""
    everyone = [*found, *wanted]
    share_of = dict(zip(everyone, shares(everyone), strict=True))
    return [
        f"{record.target} (weight {record.weight}) is still asked by {share_of[record] * 100:.0f} % of the clients"
        for record in found
        if share_of[record] >= NOTICEABLE_SHARE
    ]


def publish_of(standing: Standing, plans: c.Iterable[DomainPlan]) -> tuple[PublishEntry, ...] | None:
    """Return the publish list that a host is to have where it is another one than it has now; else None.

    It is what it has now, changed in the planned domains alone. A host that could not be read is left alone. An entry
    that is not readable cannot be written again; then the declared list is taken in its place.
    """
    wanted = {
        record.domain: PublishEntry(record.domain, record.priority, record.weight)
        for plan in plans
        for record in plan.wanted
        if record.target == standing.host.fqdn
    }
    if standing.publish is None:
        return None
    now = effective(standing.host, standing.publish)
    if not wanted or all(entry in now for entry in wanted.values()):
        return None
    if any(entry.malformed for entry in now):
        now = effective(standing.host, standing.host.publish)
    kept = {entry.domain: entry for entry in now}
    return tuple((kept | wanted).values())


def is_due(standing: Standing, plans: c.Iterable[DomainPlan], records: c.Iterable[SrvRecord]) -> bool:
    """Whether a host is to publish its list anew: DNS does not show what it says of a domain that is steered to it.

    A run may have died when the list was written and the service that publishes it was not restarted yet.
    """
    steered = {(record.domain, record.target) for record in records if is_steered(record)}
    there = {(record.domain, record.target, record.priority, record.weight) for record in records}
    return standing.publish is not None and any(
        (record.domain, record.target, record.priority, record.weight) not in there
        for plan in plans
        for record in plan.wanted
        if record.target == standing.host.fqdn
        and (plan.host == standing.host or (record.domain, record.target) in steered)
    )


def leftovers(plans: c.Iterable[DomainPlan], records: c.Iterable[SrvRecord]) -> list[SrvRecord]:
    """Return older values of declared hosts that stand beside the planned ones.

    Whether a host takes its older value away when it publishes another one is documented nowhere.
    """
    wanted = {record for plan in plans for record in plan.wanted}
    owners = {(record.domain, record.target) for record in wanted}
    return [record for record in records if (record.domain, record.target) in owners and record not in wanted]
