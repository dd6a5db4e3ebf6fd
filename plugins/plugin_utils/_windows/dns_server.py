# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRV records of a Windows DNS server (DNS WMI provider, namespace root/MicrosoftDNS)."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, Instance

from .classes import INTEGER

_NAMESPACE = "root/MicrosoftDNS"
_RECORD = {"RecordClass": INTEGER, "TTL": INTEGER, "TimeStamp": INTEGER}

# Microsoft's documentation names no keys. These are a fallback, as paths in public scripts have them, for a server that
# does not tell its own; should they be wrong, the server refuses the write: they select nothing else.
_FALLBACK_KEYS = ("ContainerName", "DnsServerName", "DomainName", "OwnerName", "RecordClass", "RecordData")

SRV_RECORD = CimClass(
    namespace=_NAMESPACE,
    name="MicrosoftDNS_SRVType",
    types={**_RECORD, "Priority": INTEGER, "Weight": INTEGER, "Port": INTEGER},
    keys=_FALLBACK_KEYS,
)
SOA_RECORD = CimClass(namespace=_NAMESPACE, name="MicrosoftDNS_SOAType", types=_RECORD)

_INTERNET = 1  # RecordClass IN
_KMS_OWNER = "_vlmcs._tcp."

#: WBEM_E_NOT_FOUND (and what WinRM makes of it), WBEM_E_ALREADY_EXISTS, DNS_ERROR_RECORD_DOES_NOT_EXIST and
#: DNS_ERROR_RECORD_ALREADY_EXISTS: somebody else was faster (wbemcli.h, winerror.h, wsman.h).
OVERTAKEN = frozenset({0x80041002, 0x80338000, 0x80041019, 0x800725E5, 0x800725EF})


@dataclasses.dataclass(frozen=True)
class Zone:
    """A zone that the server holds itself; ``server`` is the server's name for itself, which its methods want."""

    name: str
    server: str


@dataclasses.dataclass(frozen=True)
class SrvValue:
    """One SRV value; ``target`` as the server writes it, ``ttl`` in seconds.

    ``selectors`` address the instance, as the server gave them. Its data is part of its identity: what is changed
    meanwhile cannot be changed or deleted by an old selector.
    """

    priority: int
    weight: int
    port: int
    target: str
    ttl: int
    selectors: t.Mapping[str, str] = dataclasses.field(compare=False, repr=False)


class DnsServer:
    """The zones and SRV records of one server. Raises WsmanError."""

    def __init__(self, cim: CimClient) -> None:
        self._cim = cim

    def zone_of(self, owner: str, name: str | None = None) -> Zone | None:
        """The zone of that name, else the deepest that ``owner`` lies in; None when the server holds none.

        A zone is told by its SOA record, which has the zone's own name and container. What the server has looked up for
        others stands in a container of its own ("..Cache").
        """
        labels = owner.split(".")
        names = [name] if name else [".".join(labels[number:]) for number in range(len(labels))]
        where = " or ".join(f"(ContainerName = {_quoted(item)} and OwnerName = {_quoted(item)})" for item in names)
        found = self._cim.query(SOA_RECORD, f"select * from {SOA_RECORD.name} where {where}")
        soa = max(found, key=lambda row: len(_plain(row["OwnerName"])), default=None)
        return None if soa is None else Zone(_plain(soa["ContainerName"]), str(soa["DnsServerName"]))

    def values(self, zone: str, owner: str) -> tuple[SrvValue, ...]:
        """The SRV values of a name, ready to be modified and deleted."""
        where = f"ContainerName = {_quoted(zone)} and OwnerName = {_quoted(owner)}"
        wql = f"select * from {SRV_RECORD.name} where {where}"
        return tuple(map(_value, self._cim.query(SRV_RECORD, wql, with_selectors=True)))

    def kms_values(self) -> tuple[tuple[str, SrvValue], ...]:
        """The SRV values of KMS in all zones that the server holds itself, each with the domain that it is for.

        One question for all zones, to look at them: a value that is to be changed is read with ``values``. In LIKE an
        underscore stands for any character, so the names are looked at again.
        """
        wql = f"select * from {SRV_RECORD.name} where OwnerName like '{_KMS_OWNER}%'"
        rows = [row for row in self._cim.query(SRV_RECORD, wql) if not _is_foreign(row)]
        return tuple(
            (_plain(row["OwnerName"]).removeprefix(_KMS_OWNER), _value(row))
            for row in rows
            if _plain(row["OwnerName"]).startswith(_KMS_OWNER)
        )

    def create(self, zone: Zone, owner: str, value: SrvValue) -> None:
        """Add a value. It is static: scavenging never takes it away."""
        arguments = {
            "DnsServerName": zone.server,
            "ContainerName": zone.name,
            "OwnerName": owner,
            "RecordClass": _INTERNET,
            **_data(value),
        }
        self._cim.invoke(SRV_RECORD, "CreateInstanceFromPropertyData", arguments)

    def modify(self, old: SrvValue, new: SrvValue) -> None:
        """Turn one value into another in one step."""
        self._cim.invoke(SRV_RECORD, "Modify", _data(new), selectors=old.selectors)

    def delete(self, value: SrvValue) -> None:
        """Remove a value."""
        self._cim.delete(SRV_RECORD, value.selectors)


def _is_foreign(row: Instance) -> bool:
    """Whether the server has only looked it up for others: such names stand in containers such as "..Cache"."""
    return str(row["ContainerName"]).startswith("..")


def _value(row: Instance) -> SrvValue:
    return SrvValue(
        priority=int(row["Priority"]),
        weight=int(row["Weight"]),
        port=int(row["Port"]),
        target=str(row["SRVDomainName"]),
        ttl=int(row["TTL"] or 0),
        selectors=row.selectors,
    )


def _data(value: SrvValue) -> dict[str, t.Any]:
    return {
        "TTL": value.ttl,
        "Priority": value.priority,
        "Weight": value.weight,
        "Port": value.port,
        "SRVDomainName": value.target,
    }


def _quoted(text: str) -> str:
    """A WQL string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _plain(name: t.Any) -> str:
    return str(name).rstrip(".").lower()
