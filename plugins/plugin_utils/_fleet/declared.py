# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The KMS hosts as the inventory declares them: in which domains each is to be published, and how."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import ipaddress
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord, normalise_name
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import DEFAULT_PORT
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import PublishEntry, normalise

#: SRV priority by rank: clients ask the lowest first (RFC 2782).
RANKS: c.Mapping[str, int] = {"primary": 10, "secondary": 20, "tertiary": 30}
DEFAULT_RANK = "primary"
DEFAULT_WEIGHT = 100

#: What an entry of a publish list may have.
_PARTS = frozenset(("domain", "priority", "weight"))

#: The variables of the role kms_host from which a declaration is made.
VARIABLES = (
    "kms_host_publish",
    "kms_host_domains",
    "kms_host_rank",
    "kms_host_srv_priority",
    "kms_host_srv_weight",
    "kms_host_listening_port",
    "kms_host_fqdn",
    "kms_host_nameservers",
)


@dataclasses.dataclass(frozen=True)
class DeclaredHost:
    """One KMS host. ``name`` is its name in the inventory, ``fqdn`` the target of its SRV records, "" if not known."""

    name: str
    fqdn: str
    rank: str
    port: int
    publish: tuple[PublishEntry, ...]
    nameservers: tuple[str, ...] = ()

    @property
    def home_domain(self) -> str:
        """The primary DNS suffix: what stands behind the first dot of the host's name."""
        return self.fqdn.partition(".")[2]

    @property
    def wanted(self) -> tuple[SrvRecord, ...]:
        """The SRV records that the host is to have in DNS.

        A host without a publish list publishes itself in its primary DNS suffix, priority and weight 0 (Volume
        Activation Technical Reference).
        """
        if not self.fqdn:
            return ()
        home = (PublishEntry(self.home_domain),) if self.home_domain else ()
        entries = self.publish or home
        return tuple(SrvRecord(e.domain, self.fqdn, self.port, e.priority, e.weight) for e in entries)

    def as_dict(self) -> dict[str, t.Any]:
        """Return the declaration as plain data; ``from_dict`` reads it back."""
        return {
            "name": self.name,
            "fqdn": self.fqdn,
            "rank": self.rank,
            "port": self.port,
            "publish": [dataclasses.asdict(entry) for entry in self.publish],
            "nameservers": list(self.nameservers),
            "wanted": [record.as_dict() for record in self.wanted],
        }

    @classmethod
    def from_dict(cls, values: c.Mapping[str, t.Any]) -> DeclaredHost:
        """Return the declaration that ``as_dict`` gave."""
        return cls(
            name=str(values["name"]),
            fqdn=str(values["fqdn"]),
            rank=str(values["rank"]),
            port=int(values["port"]),
            publish=normalise(
                {key: entry[key] for key in ("domain", "priority", "weight")} for entry in values["publish"]
            ),
            nameservers=tuple(map(str, values["nameservers"])),
        )


def declare(
    name: str, variables: c.Mapping[str, t.Any], machine_fqdn: str | None = None, machine_port: int | None = None
) -> DeclaredHost:
    """Return what the role's variables declare of a host; a variable that is absent, null or "" is not given.

    ``machine_fqdn`` and ``machine_port`` are what the machine itself says of its name ("": it has none) and of its
    listening port; None stands for a machine that was not read.

    ``kms_host_publish`` stands as a whole, its entries as mappings or as text. Otherwise each of
    ``kms_host_domains``, and the host's home domain, is
    published with the priority of its rank: Microsoft's texts disagree on whether a publish list implies the home
    domain, so it is named. Raises ValueError for what cannot be, with the name of the variable.
    """
    given = {key: variables[key] for key in VARIABLES if variables.get(key) not in (None, "")}
    rank = str(given.get("kms_host_rank", DEFAULT_RANK))
    if rank not in RANKS:
        raise ValueError(f"kms_host_rank is one of {', '.join(RANKS)}, not {rank!r}")
    fqdn = host_fqdn(name, given.get("kms_host_fqdn"), machine_fqdn)
    return DeclaredHost(
        name=name,
        fqdn=fqdn,
        rank=rank,
        port=int(given.get("kms_host_listening_port", machine_port or DEFAULT_PORT)),
        publish=_publish(given, rank, fqdn.partition(".")[2]),
        nameservers=_texts(given.get("kms_host_nameservers", ())),
    )


def host_fqdn(name: str, given: t.Any = None, machine_fqdn: t.Any = None) -> str:
    """Return the name a host has in DNS: as given, as the machine says, or where that is None its inventory name.

    A machine publishes itself under its own name, so one that was read and has no suffix has no name in DNS, whatever
    the inventory calls it. An address or a bare host name is none: then the result is empty. Raises ValueError for a
    given name that is none.
    """
    if given:
        try:
            return _full_name(str(given))
        except ValueError as error:
            raise ValueError(f"kms_host_fqdn: {error}") from None
    try:
        return _full_name(str(name if machine_fqdn is None else machine_fqdn))
    except ValueError:
        return ""


def _full_name(text: str) -> str:
    name = normalise_name(text)
    if "." not in name.strip("."):
        raise ValueError(f"{text!r} is not a fully qualified name")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name
    raise ValueError(f"{text!r} is an address, not a name")


def _publish(given: c.Mapping[str, t.Any], rank: str, home: str) -> tuple[PublishEntry, ...]:
    if "kms_host_publish" in given:
        return _entries("kms_host_publish", _written(given["kms_host_publish"]))
    priority = given.get("kms_host_srv_priority", RANKS[rank])
    weight = given.get("kms_host_srv_weight", DEFAULT_WEIGHT)
    entries = _entries(
        "kms_host_domains",
        [
            {"domain": domain, "priority": priority, "weight": weight}
            for domain in _texts(given.get("kms_host_domains", ()))
        ],
    )
    if not home or home in {entry.domain for entry in entries}:
        return entries
    return (*entries, *normalise([{"domain": home, "priority": priority, "weight": weight}]))


def _written(publish: t.Any) -> list[t.Any]:
    """A publish list as a user writes it; one entry alone is a list, too."""
    entries = [publish] if isinstance(publish, (str, c.Mapping)) else publish
    if not isinstance(entries, c.Sequence):
        raise ValueError(
            "kms_host_publish: a list of entries is expected, each text (domain, priority, weight) or a mapping"
        )
    for entry in entries:
        unknown = sorted(map(str, set(entry) - _PARTS)) if isinstance(entry, c.Mapping) else []
        if unknown:
            raise ValueError(f"kms_host_publish: an entry has domain, priority and weight, but no {', '.join(unknown)}")
    return list(entries)


def _entries(variable: str, entries: c.Iterable[t.Any]) -> tuple[PublishEntry, ...]:
    """The entries in one form; what is wrong with them is said with the name of their variable."""
    try:
        return normalise(entries)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None


def _texts(values: t.Any) -> tuple[str, ...]:
    """A list of texts; one text alone is a list, too, as Ansible's own type list takes it."""
    return tuple(values.split(",")) if isinstance(values, str) else tuple(str(value) for value in values)
