# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which KMS hosts are approved, and which machine of the inventory stands behind a name in DNS."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import enum
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.approved import ApprovedHosts, spelled
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.hostnames import why_no_host

from .declared import DeclaredHost
from .reading import Reading

#: Who is approved is told by names in DNS alone; the fleet's rules take it from here.
__all__ = [
    "ApprovedHosts",
    "Identity",
    "Machines",
    "approved_hosts",
    "as_list",
    "candidates",
    "fqdn_of",
    "inventory_line",
    "spelled",
]


def approved_hosts(patterns: c.Iterable[str], hosts: c.Iterable[DeclaredHost]) -> ApprovedHosts:
    """Return who is approved: what ``patterns`` say, or else the declared hosts.

    Raises ValueError for nobody, and for a declared host that the patterns leave out: it would be taken for a rogue.
    """
    given, declared = list(patterns), [host.fqdn for host in hosts if host.fqdn]
    approved = ApprovedHosts.of(given or declared)
    forgotten = [name for name in declared if name not in approved]
    if forgotten:
        raise ValueError(
            f"{', '.join(forgotten)}: declared as KMS host, but not among kms_approved_hosts; add it there"
        )
    return approved


class Identity(enum.Enum):
    """What the inventory knows of a name in DNS; only ``KNOWN`` may be acted on."""

    #: Exactly one machine of the inventory says of itself that it has this name.
    KNOWN = "known"
    #: No machine that could be read has this name.
    UNKNOWN = "unknown"
    #: Several machines say so: clones, or one machine twice in the inventory.
    AMBIGUOUS = "ambiguous"


@dataclasses.dataclass(frozen=True)
class Machines:
    """The machines of the inventory by their own fully qualified name, as each says itself.

    Neither the inventory name nor the Active Directory domain tells under which name a machine publishes itself: its
    TCP/IP host name and primary DNS suffix do.
    """

    by_fqdn: c.Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, readings: c.Iterable[Reading]) -> Machines:
        """Return the machines that could be read and have a full name."""
        found: dict[str, list[str]] = {}
        for reading in readings:
            fqdn = fqdn_of(reading)
            if fqdn:
                found.setdefault(fqdn, []).append(reading.name)
        return cls({fqdn: tuple(names) for fqdn, names in found.items()})

    def named(self, fqdn: str) -> tuple[str, ...]:
        """Return the inventory names of the machines that are called so."""
        return self.by_fqdn.get(spelled(fqdn), ())

    def identity(self, fqdn: str) -> Identity:
        """Return what is known of a name."""
        names = self.named(fqdn)
        if not names:
            return Identity.UNKNOWN
        return Identity.KNOWN if len(names) == 1 else Identity.AMBIGUOUS


def fqdn_of(reading: Reading) -> str:
    """Return the full name that a machine has by its own account, "" when it has none or could not be read."""
    name = spelled(reading.kms.get("fqdn"))
    return name if "." in name else ""


def inventory_line(fqdn: str) -> str:
    """Return the line that adds a machine to an inventory in YAML, below ``hosts:``; "" for a name that none can have.

    Names in DNS are whatever somebody wrote there: only what is the name of a machine is put into such a line.
    """
    return f"{fqdn}: {{}}" if why_no_host(fqdn) is None else ""


def candidates(fqdn: str, unread: c.Iterable[str]) -> list[str]:
    """Return which machines that could not be read may be the one behind a name, by their inventory names.

    A hint for people, never a ground to act on: the inventory may call a machine as it likes.
    """
    short = fqdn.partition(".")[0]
    return [name for name in unread if name.lower() == fqdn or name.lower().partition(".")[0] == short]


def as_list(value: t.Any) -> list[str]:
    """A variable that is a list of texts; nothing and "" are none, and one text may name several, with commas."""
    if value is None or value == "":
        return []
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [str(item) for item in (value if isinstance(value, c.Iterable) else [value])]
