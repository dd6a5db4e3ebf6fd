# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of the clients: each by itself, and all together."""

from __future__ import annotations

import collections.abc as c

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import normalise_name
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.codes import describe

from .finding import CLIENTS, Finding, Kind, fail, warn
from .reading import Reading


def judge_client(reading: Reading, approved: c.Collection[str], published: c.Collection[str]) -> list[Finding]:
    """Return what is wrong with one client.

    ``approved`` are the names and addresses of the KMS hosts, ``published`` the domains that have a record of one.
    What Active Directory activates is healthy and asks no KMS host.
    """
    if reading.problem:
        return [fail(Kind.NOT_READ, CLIENTS, f"could not be read ({reading.problem})", reading.name)]
    findings = [*_judge_licence(reading), *_judge_role(reading)]
    if reading.kms.get("role") == "kms_client" and reading.kms.get("activation_type") != "ad":
        findings += _judge_way(reading, approved, published)
    return findings


def _judge_licence(reading: Reading) -> list[Finding]:
    if reading.kms.get("license_status") == LicenseStatus.LICENSED:
        return []
    state = str(reading.kms.get("license_status_name") or "unknown")
    reason = next((p.get("license_status_reason") for p in reading.kms.get("products") or () if _is_windows(p)), None)
    text = f"not licensed ({', '.join(filter(None, (state, _name(reason))))})"
    return [fail(Kind.NOT_LICENSED, CLIENTS, text, reading.name)]


def _is_windows(product: c.Mapping[str, object]) -> bool:
    return product.get("application") == "windows" and not product.get("is_addon")


def _name(reason: object) -> str:
    if not reason:
        return ""
    code = describe(int(str(reason), 0))
    return " ".join(filter(None, (code.hex, code.symbol)))


def _judge_role(reading: Reading) -> list[Finding]:
    if reading.kms.get("is_kms_host"):
        text = "has a KMS host key, but is not declared as a KMS host"
        return [warn(Kind.UNDECLARED_HOST, CLIENTS, text, reading.name)]
    role = str(reading.kms.get("role"))
    if role == "kms_client":
        return []
    return [warn(Kind.NOT_A_CLIENT, CLIENTS, f"no KMS client, its licence is {role}", reading.name)]


def _judge_way(reading: Reading, approved: c.Collection[str], published: c.Collection[str]) -> list[Finding]:
    """How the client finds its KMS host."""
    fixed = _spelled(reading.kms.get("kms_server"))
    if fixed:
        if fixed in approved:
            return []
        return [warn(Kind.FIXED_ELSEWHERE, CLIENTS, f"fixed to {fixed}, which is no declared KMS host", reading.name)]
    findings = []
    used = _spelled(reading.kms.get("kms_server_used"))
    if used and used not in approved:
        text = f"last served by {used}, which is no declared KMS host"
        findings.append(warn(Kind.SERVED_ELSEWHERE, CLIENTS, text, reading.name))
    domains = search_domains(reading)
    if not set(domains) & set(published):
        text = (
            f"no KMS host is published in {', '.join(domains)}"
            if domains
            else "has no DNS suffix to look for a KMS host in"
        )
        findings.append(warn(Kind.NOTHING_PUBLISHED, CLIENTS, text, reading.name))
    return findings


def search_domains(reading: Reading) -> tuple[str, ...]:
    """Return the domains whose records the client asks for, as far as it says.

    The lookup domain stands alone. Otherwise the primary suffix and the suffix search list. What DHCP hands out
    (option 15) is not seen.
    """
    lookup = _spelled(reading.kms.get("lookup_domain"))
    if lookup:
        return (lookup,)
    primary = _spelled(str(reading.kms.get("fqdn") or "").partition(".")[2])
    listed = [_spelled(text) for text in reading.kms.get("search_domains") or ()]
    return tuple(dict.fromkeys(filter(None, (primary, *listed))))


def _spelled(name: object) -> str:
    text = str(name or "").strip()
    try:
        return normalise_name(text) if text else ""
    except ValueError:
        return text.lower()


def judge_identities(readings: c.Iterable[Reading]) -> list[Finding]:
    """Return the client machine IDs that several machines share: a host counts those machines as one."""
    owners: dict[str, list[str]] = {}
    for reading in readings:
        identity = str(reading.kms.get("client_machine_id") or "").lower()
        if identity:
            owners.setdefault(identity, []).append(reading.name)
    return [
        warn(
            Kind.DUPLICATE_CMID,
            CLIENTS,
            f"{len(names)} machines share the client machine ID {identity} and are counted as one: generalize cloned"
            " images (sysprep /generalize, or slmgr /rearm)",
            *names,
        )
        for identity, names in owners.items()
        if len(names) > 1
    ]
