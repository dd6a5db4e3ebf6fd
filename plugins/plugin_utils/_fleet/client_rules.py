# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of the clients: each by itself, and all together."""

from __future__ import annotations

import collections.abc as c

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import normalise_name
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.codes import SL_E_VL_NOT_ENOUGH_COUNT, describe

from .finding import CLIENTS, Finding, Kind, fail, warn
from .reading import Reading
from .rounds import CLIENT_THRESHOLD, SERVER_THRESHOLD


def judge_client(
    reading: Reading,
    approved: c.Collection[str],
    published: c.Collection[str],
    silent: c.Collection[str] = (),
    counts: c.Mapping[str, int] | None = None,
) -> list[Finding]:
    """Return what is wrong with one client.

    ``approved`` are the names and addresses of the KMS hosts, ``published`` the domains that have a record of one,
    ``silent`` those of which that is not known. ``counts`` is how many clients each host has counted, by its name.
    What Active Directory activates is healthy and asks no KMS host.
    """
    if reading.problem:
        return [fail(Kind.NOT_READ, CLIENTS, reading.state, reading.name, detail=reading.cause.rstrip("."))]
    findings = [*_judge_licence(reading, counts or {}), *_judge_role(reading), *_judge_overrides(reading, approved)]
    if reading.kms.get("role") == "kms_client" and reading.kms.get("activation_type") != "ad":
        findings += _judge_way(reading, approved, published, silent)
    return findings


def is_settled(reading: Reading) -> bool:
    """Whether nothing that mends a fleet changes this client: it is licensed, and by no host key of its own."""
    kms = reading.kms
    return kms.get("license_status") == LicenseStatus.LICENSED and not kms.get("is_kms_host")


def _judge_licence(reading: Reading, counts: c.Mapping[str, int]) -> list[Finding]:
    if reading.kms.get("license_status") == LicenseStatus.LICENSED:
        return []
    state = str(reading.kms.get("license_status_name") or "unknown")
    reason = next((p.get("license_status_reason") for p in reading.kms.get("products") or () if _is_windows(p)), None)
    text = f"not licensed ({', '.join(filter(None, (state, _name(reason))))})"
    waits = _number(reason) == SL_E_VL_NOT_ENOUGH_COUNT
    detail = f"waits for the count, {_counted(reading, counts)}, and asks again by itself" if waits else ""
    return [fail(Kind.NOT_LICENSED, CLIENTS, text, reading.name, detail=detail)]


def _counted(reading: Reading, counts: c.Mapping[str, int]) -> str:
    """How far the KMS host of a client is from the count that it needs."""
    needed = SERVER_THRESHOLD if reading.kms.get("is_server") else CLIENT_THRESHOLD
    used = _spelled(reading.kms.get("kms_server_used"))
    if used in counts:
        return f"{used} has {counts[used]} of {needed}"
    return f"no KMS host has more than {max(counts.values())} of {needed}" if counts else f"{needed} are needed"


def _is_windows(product: c.Mapping[str, object]) -> bool:
    return product.get("application") == "windows" and not product.get("is_addon")


def _number(reason: object) -> int:
    """An HRESULT as data have it, 0 when there is none."""
    return int(str(reason), 0) if reason else 0


def _name(reason: object) -> str:
    if not reason:
        return ""
    code = describe(_number(reason))
    return " ".join(filter(None, (code.hex, code.symbol)))


def _judge_role(reading: Reading) -> list[Finding]:
    if reading.kms.get("is_kms_host"):
        text = "has a KMS host key, but is not declared as a KMS host"
        return [warn(Kind.UNDECLARED_HOST, CLIENTS, text, reading.name)]
    role = str(reading.kms.get("role"))
    if role == "kms_client":
        return []
    return [warn(Kind.NOT_A_CLIENT, CLIENTS, f"no KMS client, its licence is {role}", reading.name)]


def _judge_overrides(reading: Reading, approved: c.Collection[str]) -> list[Finding]:
    """Products that are fixed by themselves: that wins over what the machine is set to (slmgr /skms with an ID)."""
    machine = _spelled(reading.kms.get("kms_server"))
    findings = []
    for product in reading.products("kms_client"):
        fixed = _spelled(product.get("kms_server"))
        if fixed and fixed != machine and fixed not in approved and product.get("activation_type") != "ad":
            what = "Office" if product.get("application") == "office" else "Windows"
            text = f"{what} is fixed to {fixed} by a setting of its own, which is no declared KMS host"
            findings.append(warn(Kind.FIXED_ELSEWHERE, CLIENTS, text, reading.name))
    return list(dict.fromkeys(findings))


def _judge_way(
    reading: Reading, approved: c.Collection[str], published: c.Collection[str], silent: c.Collection[str]
) -> list[Finding]:
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
    if not set(domains) & {*published, *silent}:
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
            f"share the client machine ID {identity} and are counted as one; generalize cloned images (sysprep"
            " /generalize, or slmgr /rearm)",
            *names,
        )
        for identity, names in owners.items()
        if len(names) > 1
    ]
