# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine with a KMS host key, or with values in DNS, is by its own account, and what can be done about it."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime
import enum
import re
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.hostnames import why_no_domain
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import LicenseStatus
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import (
    NoClientKey,
    Release,
    client_setup_key,
    generation,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.host_keys import host_key_of, serves
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import parse_list

from .approval import fqdn_of, spelled
from .reading import Reading


class Treatment(enum.Enum):
    """What a run can do about a machine."""

    LEAVE = "leave"
    CONVERT = "convert"
    #: The machine has host keys of Office only: each is removed by its activation ID, Windows is not touched.
    REMOVE_OFFICE_KEY = "remove_office_key"
    REMOVE_RECORDS = "remove_records"
    #: Nothing: the advice says what people have to do.
    REPORT = "report"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is to be done about a machine, and in words why, or what to know."""

    treatment: Treatment
    advice: str = ""


def host_keys(reading: Reading, application: str | None = None) -> list[c.Mapping[str, t.Any]]:
    """Return the products of a machine that have a KMS host key, of one application or of all."""
    return [p for p in reading.products("kms_host") if application is None or p.get("application") == application]


def release_of(reading: Reading) -> Release | None:
    """Return which Windows a machine is; None for one that is not in the table."""
    kms = reading.kms
    return generation(int(kms.get("build") or 0), bool(kms.get("is_server")), kms.get("edition_id"))


def served_by(reading: Reading, hosts: c.Iterable[Reading]) -> tuple[str, ...]:
    """Return which of the KMS hosts have an activated host key that serves this machine as a client.

    A key or a Windows that is not in the table is given the benefit of the doubt: Windows itself has the last word.
    """
    release = release_of(reading)
    return tuple(
        host.name
        for host in hosts
        if any(
            serves(host_key_of(product.get("description")), release.id if release else None) is not False
            for product in host_keys(host, "windows")
            if product.get("license_status") == LicenseStatus.LICENSED
        )
    )


def office_servers(hosts: c.Iterable[Reading]) -> tuple[str, ...]:
    """Return which of the KMS hosts have an activated host key of Office.

    Of which Office that is, its product does not tell in every case (``VOLUME_KMS`` alone): any will do.
    """
    return tuple(
        host.name
        for host in hosts
        if any(product.get("license_status") == LicenseStatus.LICENSED for product in host_keys(host, "office"))
    )


def treat(reading: Reading, hosts: c.Sequence[Reading]) -> Verdict:
    """Return what can be done about a machine that is not approved; ``hosts`` are the approved ones that were read."""
    if reading.problem:
        return Verdict(Treatment.REPORT, f"could not be read: {reading.problem}")
    windows, office = host_keys(reading, "windows"), host_keys(reading, "office")
    if windows:
        return _treat_windows(reading, hosts, bool(office))
    if office:
        return _treat_office(office, hosts)
    if host_keys(reading):
        return Verdict(Treatment.REPORT, "has a KMS host key of another application: remove it with its own tools")
    return Verdict(Treatment.REMOVE_RECORDS, _no_host(reading))


def _treat_windows(reading: Reading, hosts: c.Sequence[Reading], has_office: bool) -> Verdict:
    kms = reading.kms
    if kms.get("edition_id"):
        try:
            client_setup_key(
                kms["edition_id"],
                0,
                int(kms.get("build") or 0),
                server=bool(kms.get("is_server")),
                caption=kms.get("os_name"),
            )
        except NoClientKey as error:
            return Verdict(Treatment.REPORT, str(error))
    if not hosts:
        text = "no approved KMS host with a host key could be looked at: whether one would serve it is not known"
        return Verdict(Treatment.REPORT, text)
    if not served_by(reading, hosts):
        release = release_of(reading)
        name = release.name if release else "this Windows"
        return Verdict(
            Treatment.REPORT,
            f"no approved KMS host has an activated key that serves {name}: as a client it would not be activated",
        )
    stays = (
        "; its Office host key stays, so that it remains a KMS host until that is removed, too" if has_office else ""
    )
    return Verdict(Treatment.CONVERT, f"can be turned into a client{stays}")


def _treat_office(office: c.Sequence[c.Mapping[str, t.Any]], hosts: c.Iterable[Reading]) -> Verdict:
    if office_servers(hosts):
        return Verdict(
            Treatment.REMOVE_OFFICE_KEY,
            "has a KMS host key of Office only: that key is removed by its activation ID, Windows stays as it is",
        )
    ids = ", ".join(str(product.get("activation_id")) for product in office)
    return Verdict(
        Treatment.REPORT,
        "has a KMS host key of Office only, and no approved KMS host has an activated one: the Office clients that it"
        " serves would find none. Give an approved host one first (fleetops.kms.host with application: office); or, if"
        " no Office is activated by KMS, remove this one (fleetops.kms.product_key with state: absent, activation_id:"
        f" {ids})",
    )


def is_unfinished(reading: Reading) -> bool:
    """Whether a run that was to end the host role of this machine has died before its last step.

    KeyManagementServiceVersion is deleted when all is done on the machine, and the publish list when the records that
    it tells of are gone from DNS. The kind of its licence tells nothing: a host of Office keeps its Windows.
    """
    kms = reading.kms
    return bool(kms.get("publish_list") or kms.get("host_version")) and not host_keys(reading)


def _no_host(reading: Reading) -> str:
    if reading.kms.get("host_version") and is_unfinished(reading):
        return "has no KMS host key, but its conversion has not come to its end: the rest of it is to be done"
    if is_unfinished(reading):
        return "has no KMS host key: only its publish list, and perhaps values in DNS, are left"
    role = str(reading.kms.get("role") or "unknown").replace("_", " ")
    return f"has no KMS host key (its licence is {role}): only its values in DNS are left"


def installed_on(product_key_id: object) -> str | None:
    """Return the day on which a key was installed, as ISO 8601, from ProductKeyID; None when it does not tell.

    The extended PID ends in the day of the year and the year: ``...-20348.0000-2232026`` is day 223 of 2026. An image
    carries the day of its own installation to all of its clones.
    """
    match = re.search(r"-(\d{3})(\d{4})$", str(product_key_id or "").strip())
    if match is None:
        return None
    try:
        first = datetime.date(int(match[2]), 1, 1)
        return (first + datetime.timedelta(days=int(match[1]) - 1)).isoformat()
    except (ValueError, OverflowError):
        return None


def domains_published(reading: Reading) -> list[str]:
    """Return the domains in which a KMS host publishes itself by its own account: its list, or its home domain."""
    if reading.problem or not host_keys(reading) or reading.kms.get("dns_publishing") is False:
        return []
    return domains_listed(reading.kms.get("publish_list"), fqdn_of(reading))


def domains_listed(publish_list: t.Any, fqdn: str) -> list[str]:
    """Return where a machine publishes itself, or did while it was a KMS host: its list, or else its home domain."""
    listed = [entry.domain for entry in parse_list(publish_list or ()) if not entry.malformed]
    home = fqdn.partition(".")[2]
    return listed or ([home] if home else [])


def domains_to_ask(domains: c.Iterable[str], readings: c.Iterable[Reading]) -> list[str]:
    """Return where to look for values: the given domains, and wherever a machine may ever have published itself.

    That is its home domain and its publish list, whatever it is now: of a KMS host without a list that was turned into
    a client nothing else tells where its values are. A name that no domain can have is passed over.
    """
    own: set[str] = set()
    for reading in readings:
        fqdn = fqdn_of(reading)
        own |= {fqdn.partition(".")[2], *domains_listed(reading.kms.get("publish_list"), fqdn)}
    return sorted({*map(spelled, domains), *(name for name in own if name and why_no_domain(name) is None)})
