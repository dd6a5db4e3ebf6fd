# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of the KMS hosts beside what is declared of them."""

from __future__ import annotations

import collections.abc as c
import re
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import domain_of_term
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.codes import describe
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import RELEASES, generation
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.host_keys import HOST_KEYS, host_key_of, serves
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import format_entry, parse_list, same_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import (
    EVENT_PUBLISH_FAILED,
    EVENT_PUBLISHED,
)

from .declared import DeclaredHost
from .finding import Finding, Kind, fail, warn
from .reading import Reading
from .steering import effective, keep_steered, steered_entries

#: When a host publishes itself (Volume Activation Technical Reference, troubleshooting).
_TRIES = "it tries when its service sppsvc starts, and once a day"

#: What has labels, the last of them with a letter: a domain, other than an address, a version or an HRESULT.
_LIKE_A_DOMAIN = re.compile(r"([a-z0-9_-]+\.)+[a-z0-9-]*[a-z][a-z0-9-]*")


def judge_host(host: DeclaredHost, reading: Reading, peers: c.Sequence[DeclaredHost]) -> list[Finding]:
    """Return what is wrong with a KMS host by its own account; ``peers`` are all declared hosts."""
    if reading.problem:
        return [fail(Kind.NOT_READ, host.name, f"{reading.state}: {reading.problem}", host.name)]
    products = reading.products("kms_host")
    if not products:
        return [fail(Kind.NO_HOST_KEY, host.name, "has no KMS host key", host.name)]
    findings = [
        fail(Kind.NOT_ACTIVATED, host.name, f"{_product(product)} is not activated: it answers no client", host.name)
        for product in products
        if not _licensed(product)
    ]
    findings += _judge_list(host, reading)
    findings += [item for product in filter(_licensed, products) for item in _judge_count(host, product, peers)]
    return findings


def _judge_list(host: DeclaredHost, reading: Reading) -> list[Finding]:
    texts = reading.kms.get("publish_list")
    if texts is None:
        return []
    entries = parse_list(texts)
    steered = {entry.domain for entry in steered_entries(host, entries)}  # DNS tells of that state, and of its reason
    if same_list(entries, keep_steered(host, entries, steered)):
        return []
    has = "; ".join(texts) or "nothing"
    declared = "; ".join(map(format_entry, host.publish)) or "nothing"
    return [warn(Kind.PUBLISH_LIST, host.name, f"its publish list has {has}, declared is {declared}", host.name)]


def _judge_count(host: DeclaredHost, product: c.Mapping[str, t.Any], peers: c.Sequence[DeclaredHost]) -> list[Finding]:
    count, required = product.get("current_count"), product.get("required_count")
    if count is None or required is None or count >= required:
        return []
    told = f"{_product(product)} has counted {count} of {required}"
    if is_failover(host, peers):
        text = f"{told}: it is asked only when the primary is down, and would then first have to count"
        return [warn(Kind.NO_COUNT, host.name, text, host.name)]
    return [
        warn(Kind.BELOW_THRESHOLD, host.name, f"{told}: it turns clients down until it has counted enough", host.name)
    ]


def count_of(reading: Reading) -> int | None:
    """Return how many clients a host has counted for Windows, None when it does not tell."""
    counts = [p.get("current_count") for p in reading.products("kms_host") if p.get("application") == "windows"]
    return max((count for count in counts if count is not None), default=None)


def is_failover(host: DeclaredHost, peers: c.Sequence[DeclaredHost]) -> bool:
    """Whether another host is asked before this one in each of its domains, so that it collects no count meanwhile."""
    best: dict[str, int] = {}
    for record in (record for peer in peers for record in peer.wanted):
        best[record.domain] = min(record.priority, best.get(record.domain, record.priority))
    return bool(host.wanted) and all(best[record.domain] < record.priority for record in host.wanted)


def refusals_of(
    host: DeclaredHost, reading: Reading, before: c.Collection[c.Mapping[str, t.Any]] = ()
) -> dict[str, str]:
    """Return, by declared domain, why the host's last attempt to publish itself failed (event 12293 after any 12294).

    Event 12293 has HRESULT and domain, 12294 the domain (Volume Activation Technical Reference, troubleshooting). An
    event that names no domain at all counts for every declared one. A host whose publishing is off tries no more.
    Events that were there ``before`` do not count: they tell nothing of an attempt since.
    """
    declared = {record.domain for record in host.wanted}
    return {domain: why for domain, why in _failures(host, reading, before).items() if domain in declared}


def causes_of(host: DeclaredHost, reading: Reading) -> dict[str, str]:
    """Return, by declared domain, why a record of the host is not there or another one, as far as the host tells."""
    refused = {domain: f"{why}; {_TRIES}" for domain, why in refusals_of(host, reading).items()}
    causes = {
        record.domain: _unready(host, reading) or refused.get(record.domain) or _cause_in(record.domain, host, reading)
        for record in host.wanted
    }
    return {domain: why for domain, why in causes.items() if why}


def _unready(host: DeclaredHost, reading: Reading) -> str:
    """Why the host publishes itself nowhere; "" when it should."""
    if reading.problem:
        return f"{host.name} {reading.state}"
    products = reading.products("kms_host")
    if not products:
        return f"{host.name} has no KMS host key"
    if reading.kms.get("dns_publishing") is False:
        return f"{host.name} does not publish itself (dns_publishing is off)"
    return "" if any(map(_licensed, products)) else f"{host.name} is not activated"


def _cause_in(domain: str, host: DeclaredHost, reading: Reading) -> str:
    """Why the host's record in one domain is not as declared: its list, its port, or its last event."""
    texts = reading.kms.get("publish_list")
    if texts is not None:
        listed = {entry.domain: entry for entry in effective(host, parse_list(texts))}
        if domain not in listed:
            return f"the publish list of {host.name} leaves that domain out"
        if listed[domain] not in effective(host, host.publish):
            return f"the publish list of {host.name} says {format_entry(listed[domain])}"
    port = reading.kms.get("listening_port")
    if port not in (None, host.port):
        return f"{host.name} listens on TCP {port}"
    if reading.kms.get("events") is None:
        return ""
    last = _last_events(host, reading).get(domain)
    if last is None:
        return f"no event tells that {host.name} has tried lately; {_TRIES}"
    when = f", {last['time']}" if last.get("time") else ""
    return (
        f"{host.name} has published itself there (event {EVENT_PUBLISHED}{when}), so DNS was changed since, or the"
        " server that was asked has an older copy"
    )


def judge_publishing(
    host: DeclaredHost, reading: Reading, present: c.Collection[str], unknown: c.Collection[str] = ()
) -> list[Finding]:
    """Return what the events say of the domains where a record is ``present``, or where that is ``unknown``.

    Elsewhere DNS itself says it. A refusal in a domain that is not declared tells of a list that was changed by hand.
    """
    if reading.problem or not reading.products("kms_host"):
        return []
    declared = {record.domain for record in host.wanted}
    findings = []
    for domain, why in sorted(_failures(host, reading).items()):
        if domain not in declared:
            text = f"tries to publish itself in {domain}, which is not declared: {why}"
            findings.append(warn(Kind.PUBLISHING_UNDECLARED, host.name, text, host.name))
        elif domain in present or domain in unknown:
            from_before = "; the record there is from before" if domain in present else ""
            findings.append(fail(Kind.PUBLISHING_REFUSED, host.name, f"{domain}: {why}{from_before}", host.name))
    if reading.kms.get("events") is None or reading.kms.get("dns_publishing") is False:
        return findings
    silent = sorted(declared & set(present) - set(_last_events(host, reading)))
    if silent:
        text = f"no event tells that it published itself lately ({EVENT_PUBLISHED}) in {', '.join(silent)}"
        findings.append(warn(Kind.PUBLISHING_UNPROVEN, host.name, text, host.name))
    return findings


def _failures(host: DeclaredHost, reading: Reading, before: c.Collection[c.Mapping[str, t.Any]] = ()) -> dict[str, str]:
    """Why the host did not publish itself, by domain: where the last event is a failure."""
    if reading.kms.get("dns_publishing") is False:
        return {}
    return {
        domain: f"{host.name} was refused (event {EVENT_PUBLISH_FAILED}{_code(event)})"
        for domain, event in _last_events(host, reading).items()
        if event.get("code") == EVENT_PUBLISH_FAILED and event not in before
    }


def _last_events(host: DeclaredHost, reading: Reading) -> dict[str, c.Mapping[str, t.Any]]:
    """The last publishing event of each domain; events come oldest first."""
    events = reading.kms.get("events") or ()
    publishing = [event for event in events if event.get("code") in (EVENT_PUBLISH_FAILED, EVENT_PUBLISHED)]
    return {domain: event for event in publishing for domain in _domains_of(event, host)}


def _domains_of(event: c.Mapping[str, t.Any], host: DeclaredHost) -> set[str]:
    """The domains that an event names, or else every declared one."""
    declared = {record.domain for record in host.wanted}
    found = {_domain(str(text)) for text in event.get("fields") or ()} - {host.fqdn}
    return {name for name in found if name in declared or _LIKE_A_DOMAIN.fullmatch(name)} or declared


def _domain(text: str) -> str:
    try:
        return domain_of_term(text)
    except ValueError:
        return ""


def _code(event: c.Mapping[str, t.Any]) -> str:
    """The HRESULT among an event's fields with its name and meaning; nothing when there is none."""
    for text in event.get("fields") or ():
        try:
            number = int(str(text), 0) & 0xFFFFFFFF
        except ValueError:
            continue
        if number & 0x80000000:
            code = describe(number)
            return f", {' '.join(filter(None, (code.hex, code.symbol)))}: {code.meaning} {code.hint}".rstrip(" .:")
    return ""


def judge_generations(host: DeclaredHost, reading: Reading, clients: c.Iterable[Reading]) -> list[Finding]:
    """Return which releases of Windows in the fleet are too new for the Windows host key of a host.

    Only KMS clients count: what has another licence, or is activated through Active Directory, never asks the host.
    Of a host key whose generation is not known nobody can tell whom it activates.
    """
    descriptions = [p.get("description") for p in reading.products("kms_host") if p.get("application") == "windows"]
    keys = [key for description in descriptions if (key := host_key_of(description))]
    if len(keys) < len(descriptions):
        odd = ", ".join(str(text or "no description") for text in descriptions if not host_key_of(text))
        text = f"its host key is of a generation that is not known ({odd}): which Windows it activates cannot be told"
        return [warn(Kind.HOST_KEY_UNKNOWN, host.name, text, host.name)]
    if not keys:
        return []
    too_new: dict[str, list[str]] = {}
    for client in clients:
        release = generation(
            int(client.kms.get("build") or 0), bool(client.kms.get("is_server")), client.kms.get("edition_id")
        )
        asks = client.kms.get("role") == "kms_client" and client.kms.get("activation_type") != "ad"
        if asks and release and all(serves(key, release.id) is False for key in keys):
            too_new.setdefault(release.id, []).append(client.name)
    names = " and ".join(HOST_KEYS[key].name for key in keys)
    return [
        fail(
            Kind.HOST_KEY_TOO_OLD,
            host.name,
            f"its host key for {names} activates no {RELEASES[release].name} ({len(machines)} in the fleet)",
            *machines,
        )
        for release, machines in too_new.items()
    ]


def judge_ports(host: DeclaredHost, reading: Reading, probes: c.Iterable[c.Mapping[str, t.Any]]) -> list[Finding]:
    """Return whether a host's port could be reached from the controller: at one of its addresses is enough.

    A machine that has no activated host key is not expected to listen. Of one that was not read this is not known.
    """
    if not reading.problem and not any(map(_licensed, reading.products("kms_host"))):
        return []
    own = [probe for probe in probes if probe.get("name") == host.name]
    if not own or any(probe.get("reachable") for probe in own):
        return []
    tried = "; ".join(f"{probe.get('address')}: {probe.get('error')}" for probe in own)
    return [
        warn(Kind.PORT_CLOSED, host.name, f"TCP {host.port} was not reached from the controller ({tried})", host.name)
    ]


def describe_host(host: DeclaredHost, reading: Reading | None) -> str:
    """A few words on a host for the table of records."""
    if reading is None:
        return f"{host.rank}, not looked at"
    if reading.problem:
        return f"{host.rank}, could not be read"
    products = reading.products("kms_host")
    if not products:
        return f"{host.rank}, has no KMS host key"
    words = [host.rank, "activated" if all(map(_licensed, products)) else "NOT ACTIVATED"]
    for product in products:
        count, required = product.get("current_count"), product.get("required_count")
        if count is not None and required is not None:
            words.append(f"{count} counted" if count >= required else f"{count} of {required} clients counted")
    return ", ".join(words)


def _licensed(product: c.Mapping[str, t.Any]) -> bool:
    return product.get("license_status") == LicenseStatus.LICENSED


def _product(product: c.Mapping[str, t.Any]) -> str:
    return "Office" if product.get("application") == "office" else "Windows"
