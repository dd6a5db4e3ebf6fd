# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records of a Windows DNS server over CIM (MSDN "DNS WMI provider"): the zones are those of the embedded server."""

from __future__ import annotations

import typing as t

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.update

from lab.cim import CimError, Instance
from lab.dns.zone import Zone
from lab.windows.providers.base import WBEM_FAILED, Provider

ZONE_DOES_NOT_EXIST = 0x80072581
RECORD_ALREADY_EXISTS = 0x800725EF

_INTERNET = 1
_DEFAULT_TTL = 3600


class RecordProvider(Provider):
    """Records of one type; every value of a record set is an instance."""

    rdtype = dns.rdatatype.NONE

    def instances(self) -> list[Instance]:
        server = self.machine.dns_server
        return [
            self.make({**self._base(zone, rrset.name, rrset.ttl, rdata), **self.data(rdata)})
            for zone in (server.zones.values() if server else ())
            for rrset in zone.all_rrsets()
            if rrset.rdtype == self.rdtype
            for rdata in rrset
        ]

    def data(self, _rdata: dns.rdata.Rdata) -> dict[str, t.Any]:
        """The properties that only this type has."""
        return {}

    def _base(self, zone: Zone, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> dict[str, t.Any]:
        container = zone.origin.to_text(omit_final_dot=True)
        owner = name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(self.rdtype)
        return {
            "ContainerName": container,
            "DnsServerName": self.machine.fqdn,
            "DomainName": container,
            "OwnerName": owner,
            "RecordClass": _INTERNET,
            "RecordData": rdata.to_text(),
            "TextRepresentation": f"{owner} IN {kind} {rdata.to_text()}",
            "TimeStamp": 0,
            "TTL": ttl,
        }


class SoaRecordProvider(RecordProvider):
    """MicrosoftDNS_SOAType."""

    rdtype = dns.rdatatype.SOA


class SrvRecordProvider(RecordProvider):
    """MicrosoftDNS_SRVType; what an administrator writes knows no owner but him."""

    rdtype = dns.rdatatype.SRV

    def data(self, rdata: t.Any) -> dict[str, t.Any]:
        return {
            "Priority": rdata.priority,
            "Weight": rdata.weight,
            "Port": rdata.port,
            "SRVDomainName": rdata.target.to_text(),
        }

    def do_createinstancefrompropertydata(self, _instance: Instance | None, **given: t.Any) -> None:
        if (given["dnsservername"] or "").rstrip(".").lower() != self.machine.fqdn.lower():
            raise CimError(WBEM_FAILED, "Generic failure")
        zone = self._zone(given["containername"])
        owner = dns.name.from_text(given["ownername"])
        new = _rdata(given["priority"], given["weight"], given["port"], given["srvdomainname"])
        if new in (zone.find(owner, self.rdtype) or ()):
            raise CimError(RECORD_ALREADY_EXISTS, "DNS record already exists.")
        ttl = given["ttl"]
        self._write(zone, lambda update: update.add(owner, _DEFAULT_TTL if ttl is None else ttl, new))

    def do_modify(self, instance: Instance | None, **given: t.Any) -> None:
        assert instance is not None
        old = instance.values
        names = {"ttl": "TTL", "priority": "Priority", "weight": "Weight", "port": "Port"}
        new = {key: old[name] if given[key] is None else given[key] for key, name in names.items()}
        target = given["srvdomainname"] or old["SRVDomainName"]
        rdata = _rdata(new["priority"], new["weight"], new["port"], target)
        owner = dns.name.from_text(str(old["OwnerName"]))

        def fill(update: dns.update.UpdateMessage) -> None:
            update.delete(owner, _parse(old["RecordData"]))
            update.add(owner, new["ttl"], rdata)

        self._write(self._zone(old["ContainerName"]), fill)

    def delete(self, instance: Instance) -> None:
        values = instance.values
        owner = dns.name.from_text(str(values["OwnerName"]))
        old = _parse(values["RecordData"])
        self._write(self._zone(values["ContainerName"]), lambda update: update.delete(owner, old))

    def _zone(self, name: str | None) -> Zone:
        server = self.machine.dns_server
        zone = server.zones.get(dns.name.from_text(name or ".")) if server else None
        if zone is None:
            raise CimError(ZONE_DOES_NOT_EXIST, "DNS zone does not exist.")
        return zone

    def _write(self, zone: Zone, fill: t.Callable[[dns.update.UpdateMessage], None]) -> None:
        update = dns.update.UpdateMessage(zone.origin)
        fill(update)
        zone.administer(update, f"administrator of {self.machine.fqdn}")


def _rdata(priority: int, weight: int, port: int, target: str) -> dns.rdata.Rdata:
    """Data as the server keeps it; a target without a final dot is a full name all the same."""
    return _parse(f"{priority} {weight} {port} {target.rstrip('.')}.")


def _parse(text: t.Any) -> dns.rdata.Rdata:
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SRV, str(text))
