# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS as the machines use it: against the embedded server, or against a real one given by address and port."""

from __future__ import annotations

import functools
import typing as t

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update

from lab.dns import names
from lab.dns.names import DnsFailure, Srv, SrvSet
from lab.dns.server import DnsServer
from lab.dns.zone import Zone, to_srv

_OWNER = "_vlmcs._tcp"
_TTL = 3600

_CODES = {
    dns.rcode.SERVFAIL: names.SERVER_FAILURE,
    dns.rcode.NXDOMAIN: names.NAME_ERROR,
    dns.rcode.REFUSED: names.REFUSED,
    dns.rcode.NOTAUTH: names.NOT_AUTHORITATIVE,
}

_FAILURES = {"servfail": names.SERVER_FAILURE, "refused": names.REFUSED, "timeout": names.TIMED_OUT}


_NOTHING: tuple[Zone | None, int, SrvSet, int] = (None, 0, SrvSet(), 0)


@functools.lru_cache(maxsize=1024)
def _owner(domain: str) -> dns.name.Name:
    return dns.name.from_text(f"{_OWNER}.{domain.rstrip('.')}.")


def _raise_for(rcode: dns.rcode.Rcode) -> None:
    if rcode != dns.rcode.NOERROR:
        raise DnsFailure(_CODES.get(rcode, names.SERVER_FAILURE))


class Client:
    """A ``NameService`` over DNS messages; what carries them is up to ``exchange``."""

    def __init__(self, keyring: t.Mapping[str, str] | None = None) -> None:
        self._keyring = dns.tsigkeyring.from_text(dict(keyring)) if keyring else None

    async def exchange(self, message: dns.message.Message, source: str) -> dns.message.Message:
        """Send a message from an address and return the answer; raises DnsFailure when none comes."""
        raise NotImplementedError

    async def _query(self, name: dns.name.Name, kind: str, source: str) -> dns.message.Message:
        query = dns.message.make_query(name, kind)
        query.flags |= dns.flags.RD
        return await self.exchange(query, source)

    async def lookup_srv(self, domain: str, source: str) -> t.Sequence[Srv]:
        answer = await self._query(_owner(domain), "SRV", source)
        _raise_for(answer.rcode())
        records = [to_srv(rdata) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.SRV for rdata in rrset]
        if not records:
            raise DnsFailure(names.NO_RECORDS)
        return records

    async def publish(self, domain: str, record: Srv, source: str, replace: bool) -> None:
        owner = _owner(domain)
        update = dns.update.UpdateMessage(await self._zone_of(owner, source), keyring=self._keyring)
        if replace:
            for old in await self._values_for(domain, record.target, source):
                if old != record:
                    update.delete(owner, "SRV", _to_text(old))
        update.add(owner, _TTL, "SRV", _to_text(record))
        _raise_for((await self.exchange(update, source)).rcode())

    async def _values_for(self, domain: str, target: str, source: str) -> list[Srv]:
        try:
            found = await self.lookup_srv(domain, source)
        except DnsFailure as failure:
            if failure.code in (names.NAME_ERROR, names.NO_RECORDS):
                return []
            raise
        return [record for record in found if record.target == target]

    async def _zone_of(self, name: dns.name.Name, source: str) -> dns.name.Name:
        """The zone of a name: the owner of the SOA record that the server shows for it."""
        answer = await self._query(name, "SOA", source)
        if answer.rcode() != dns.rcode.NXDOMAIN:
            _raise_for(answer.rcode())
        for rrset in (*answer.answer, *answer.authority):
            if rrset.rdtype == dns.rdatatype.SOA:
                return rrset.name
        raise DnsFailure(names.NOT_AUTHORITATIVE)


class EmbeddedClient(Client):
    """Hands its messages to the embedded server, with the machine's identity as their source.

    No socket lies between: when the clock is moved by a week, thousands of machines look up and publish many times.
    """

    def __init__(self, server: DnsServer, keyring: t.Mapping[str, str] | None = None) -> None:
        super().__init__(keyring)
        self._server = server
        self._kept: dict[str, tuple[Zone | None, int, SrvSet, int]] = {}

    async def lookup_srv(self, domain: str, source: str) -> t.Sequence[Srv]:
        """Straight from the zone data."""
        owner = _owner(domain)
        zone, found, missing = self._found(domain)
        if zone.failures and zone.failure_of(owner) in _FAILURES:
            raise DnsFailure(_FAILURES[zone.failure_of(owner)])
        if not found:
            raise DnsFailure(missing)
        return found

    def _found(self, domain: str) -> tuple[Zone, SrvSet, int]:
        """The zone, the records, and the failure of a lookup when there are none; kept until the zone changes."""
        zone, revision, found, missing = self._kept.get(domain, _NOTHING)
        if zone is None or zone.revision != revision:
            owner = _owner(domain)
            zone = self._server.zone_for(owner)
            if zone is None:
                raise DnsFailure(names.REFUSED)
            found = zone.srv_set(owner)
            missing = names.NO_RECORDS if zone.exists(owner) else names.NAME_ERROR
            self._kept[domain] = (zone, zone.revision, found, missing)
        return zone, found, missing

    async def publish(self, domain: str, record: Srv, source: str, replace: bool) -> None:
        if not self._stands(domain, record, source, replace):
            await super().publish(domain, record, source, replace)

    def _stands(self, domain: str, record: Srv, source: str, replace: bool) -> bool:
        """Whether an update would be done and change nothing, as of every living host once a day."""
        zone, found, _missing = self._found(domain)
        own = [other for other in found if other.target == record.target]
        if self._keyring or zone.failures or not (own == [record] if replace else record in own):
            return False
        return zone.permits([_owner(domain)], source)

    async def exchange(self, message: dns.message.Message, source: str) -> dns.message.Message:
        if message.opcode() == dns.opcode.QUERY and message.keyring is None:  # needs no wire form
            answer = self._server.answer(message, source, tcp=True)
            if answer is None:
                raise DnsFailure(names.TIMED_OUT)
            return answer
        wire = self._server.process(message.to_wire(), source, tcp=True)
        if wire is None:
            raise DnsFailure(names.TIMED_OUT)
        try:
            answer = dns.message.from_wire(wire, keyring=message.keyring, request_mac=message.mac)
        except dns.exception.FormError as error:
            raise DnsFailure(names.BAD_SIGNATURE) from error
        return _as_signed_as(message, answer)


class ExternalClient(Client):
    """Talks to a real name server."""

    def __init__(
        self, address: str, port: int = 53, keyring: t.Mapping[str, str] | None = None, timeout: float = 2.0
    ) -> None:
        super().__init__(keyring)
        self.address = address
        self.port = port
        self._timeout = timeout

    async def exchange(self, message: dns.message.Message, source: str) -> dns.message.Message:
        return await _send(message, self.address, self.port, source.partition("#")[0], self._timeout)

    async def add_address(self, fqdn: str, address: str, source: str) -> None:
        """Give a name its A record."""
        name = dns.name.from_text(fqdn + ".")
        update = dns.update.UpdateMessage(await self._zone_of(name, source), keyring=self._keyring)
        update.replace(name, _TTL, "A", address)
        _raise_for((await self.exchange(update, source)).rcode())


async def _send(
    message: dns.message.Message, address: str, port: int, source: str, timeout: float
) -> dns.message.Message:
    """Over UDP from the given loopback address, over TCP when the answer is truncated."""
    try:
        answer, _used_tcp = await dns.asyncquery.udp_with_fallback(
            message, address, timeout=timeout, port=port, source=source or None
        )
    except (dns.exception.FormError, dns.tsig.PeerError) as error:
        raise DnsFailure(names.BAD_SIGNATURE) from error
    except (dns.exception.DNSException, OSError) as error:
        raise DnsFailure(names.TIMED_OUT) from error
    return _as_signed_as(message, answer)


def _as_signed_as(message: dns.message.Message, answer: dns.message.Message) -> dns.message.Message:
    """The answer: to a signed message it is signed (RFC 8945, 5.3). dnspython itself insists on that since 2.9."""
    if message.keyring and not answer.had_tsig:
        raise DnsFailure(names.BAD_SIGNATURE)
    return answer


def _to_text(record: Srv) -> str:
    return f"{record.priority} {record.weight} {record.port} {record.target or ''}."
