# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded authoritative name server: UDP and TCP on loopback, dynamic updates, TSIG, failures on demand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import typing as t

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update

from lab.dns.zone import UpdateRefused, Zone

_PLAIN_UDP_SIZE = 512
_LARGEST = 65535
_TRANSFER_RECORDS = 500


class DnsServer:
    """Zones by origin, and the sockets on which they are served."""

    def __init__(self, keys: t.Mapping[str, str] | None = None) -> None:
        """``keys`` are TSIG secrets in base64 by key name (hmac-sha256)."""
        self.zones: dict[dns.name.Name, Zone] = {}
        self.keyring: dict[dns.name.Name, t.Any] = dns.tsigkeyring.from_text(dict(keys or {}))
        self.address = ""
        self.port = 0
        self.queries = 0
        self.updates = 0
        self._udp: asyncio.DatagramTransport | None = None
        self._tcp: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    def add_zone(self, origin: str, **options: t.Any) -> Zone:
        name = dns.name.from_text(origin)
        self.zones[name] = zone = Zone(name, **options)
        return zone

    def zone_for(self, name: dns.name.Name) -> Zone | None:
        """The zone with the longest origin above the name."""
        candidates = [zone for origin, zone in self.zones.items() if name.is_subdomain(origin)]
        return max(candidates, key=lambda zone: len(zone.origin.labels), default=None)

    def zone_of_text(self, name: str) -> Zone | None:
        return self.zone_for(dns.name.from_text(name))

    # -- sockets

    async def start(self, address: str = "127.0.0.1", port: int = 0, attempts: int = 20) -> None:
        """Listen on UDP and TCP; with port 0 on a free one that both can have."""
        loop = asyncio.get_running_loop()
        for attempt in range(attempts):
            self._tcp = await asyncio.start_server(self._serve_tcp, address, port)
            found = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _protocol = await loop.create_datagram_endpoint(
                    lambda: _Udp(self), local_addr=(address, found)
                )
            except OSError:
                self._tcp.close()
                if port or attempt == attempts - 1:
                    raise
                continue
            self.address, self.port = address, found
            for zone in self.zones.values():
                zone.add(zone.name("ns"), "A", address)
            return

    async def stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
        for writer in list(self._connections):
            writer.close()
        await asyncio.sleep(0)
        self._udp = self._tcp = None
        self.port = 0

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source = writer.get_extra_info("peername")[0]
        self._connections.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                answers = self.answers(await reader.readexactly(length), source, tcp=True)
                if not answers:
                    break
                for answer in answers:
                    writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        self._connections.discard(writer)
        writer.close()

    # -- messages

    def process(self, wire: bytes, source: str, tcp: bool = False) -> bytes | None:
        """Answer one message in wire form by one; None means that the server stays silent."""
        return next(iter(self.answers(wire, source, tcp)), None)

    def answers(self, wire: bytes, source: str, tcp: bool = False) -> list[bytes]:
        """As ``process``; a zone transfer may take several messages."""
        try:
            request = dns.message.from_wire(wire, keyring=self.keyring)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature, dns.tsig.BadTime):
            return _bare_answer(wire, dns.rcode.NOTAUTH)
        except dns.exception.DNSException:
            return _bare_answer(wire, dns.rcode.FORMERR)
        if request.opcode() == dns.opcode.QUERY and any(q.rdtype == dns.rdatatype.AXFR for q in request.question):
            return _to_wires(self._transfer(request, source, tcp))
        response = self.answer(request, source, tcp)
        return [] if response is None else [_to_wire(request, response, tcp)]

    def answer(self, request: dns.message.Message, source: str, tcp: bool) -> dns.message.Message | None:
        """Answer anything but a zone transfer; None means that the server stays silent."""
        if request.opcode() == dns.opcode.UPDATE:
            return self._answer_update(t.cast("dns.update.UpdateMessage", request), source)
        if request.opcode() == dns.opcode.QUERY and len(request.question) == 1:
            return self._answer_query(request, tcp)
        return _respond(request, dns.rcode.NOTIMP)

    def _answer_update(self, request: dns.update.UpdateMessage, source: str) -> dns.message.Message | None:
        self.updates += 1
        origin = request.zone[0].name
        zone = self.zones.get(origin)
        if zone is None:
            return _respond(request, dns.rcode.NOTAUTH)
        names = [origin, *(rrset.name for rrset in request.update)]
        failure = next((found for found in map(zone.failure_of, names) if found), "")
        if failure == "timeout":
            return None
        if failure in _FAILURE_CODES:
            return _respond(request, _FAILURE_CODES[failure])
        try:
            zone.update(request, source, _key_of(request))
        except UpdateRefused as refusal:
            return _respond(request, refusal.rcode)
        return _respond(request, dns.rcode.NOERROR)

    def _answer_query(self, request: dns.message.Message, tcp: bool) -> dns.message.Message | None:
        self.queries += 1
        question = request.question[0]
        zone = self.zone_for(question.name)
        if zone is None:
            return _respond(request, dns.rcode.REFUSED)
        failure = zone.failure_of(question.name)
        if failure == "timeout":
            return None
        if failure in _FAILURE_CODES:
            return _respond(request, _FAILURE_CODES[failure])
        if failure == "truncate" and not tcp:
            response = _respond(request, dns.rcode.NOERROR)
            response.flags |= dns.flags.TC
            return response
        return self._resolve(request, zone)

    def _resolve(self, request: dns.message.Message, zone: Zone) -> dns.message.Message:
        response = _respond(request, dns.rcode.NOERROR)
        response.flags |= dns.flags.AA
        name, kind = request.question[0].name, request.question[0].rdtype
        for _alias in range(8):
            alias = zone.find(name, dns.rdatatype.CNAME)
            if alias is None or kind == dns.rdatatype.CNAME:
                break
            response.answer.append(alias)
            name = alias[0].target
        answer = zone.find(name, kind)
        if answer is not None:
            response.answer.append(answer)
            self._add_addresses(response, answer)
            return response
        soa = zone.find(zone.origin, dns.rdatatype.SOA)
        if soa is not None:
            response.authority.append(soa)
        if not zone.exists(name) and name.is_subdomain(zone.origin):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    def _add_addresses(self, response: dns.message.Message, answer: dns.rrset.RRset) -> None:
        if answer.rdtype != dns.rdatatype.SRV:
            return
        for target in dict.fromkeys(rdata.target for rdata in answer):
            zone = self.zone_for(target)
            addresses = zone.find(target, dns.rdatatype.A) if zone else None
            if addresses is not None:
                response.additional.append(addresses)

    def _transfer(self, request: dns.message.Message, source: str, tcp: bool) -> list[dns.message.Message]:
        """A zone transfer, where the zone allows it to the address or the key that asks (RFC 5936)."""
        self.queries += 1
        zone = self.zones.get(request.question[0].name)
        if zone is None:
            return [_respond(request, dns.rcode.NOTAUTH)]
        failure = zone.failure_of(zone.origin)
        if failure == "timeout":
            return []
        if not tcp or failure or not zone.may_transfer(source, _key_of(request)):
            return [_respond(request, _FAILURE_CODES.get(failure, dns.rcode.REFUSED))]
        records = list(zone.records())
        messages = []
        for start in range(0, len(records), _TRANSFER_RECORDS):
            response = _respond(request, dns.rcode.NOERROR)
            response.flags |= dns.flags.AA
            response.answer = _rrsets(records[start : start + _TRANSFER_RECORDS])
            if start:
                response.question = []
            messages.append(response)
        return messages


_FAILURE_CODES = {"servfail": dns.rcode.SERVFAIL, "refused": dns.rcode.REFUSED}


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = t.cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._server.process(data, addr[0])
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _respond(request: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    response = dns.message.make_response(request)
    response.set_rcode(rcode)
    return response


def _to_wire(request: dns.message.Message, response: dns.message.Message, tcp: bool) -> bytes:
    """The answer in wire form, without its additional part where that is too much (RFC 2181, 9).

    What does not fit all the same leaves an empty, truncated answer.
    """
    limit = max(request.payload, _PLAIN_UDP_SIZE) if request.edns >= 0 else _PLAIN_UDP_SIZE
    for additional in (response.additional, []):
        response.additional = additional
        with contextlib.suppress(dns.exception.TooBig):
            return response.to_wire(max_size=_LARGEST if tcp else limit)
    short = _respond(request, response.rcode())
    short.flags |= response.flags & dns.flags.AA | dns.flags.TC
    return short.to_wire()


def _to_wires(messages: list[dns.message.Message]) -> list[bytes]:
    """The messages of one answer, each signed on from the one before it (RFC 8945, 5.3.1)."""
    wires, context = [], None
    for message in messages:
        wires.append(message.to_wire(max_size=_LARGEST, multi=len(messages) > 1, tsig_ctx=context))
        context = message.tsig_ctx
    return wires


def _rrsets(records: list[tuple[dns.name.Name, int, dns.rdata.Rdata]]) -> list[dns.rrset.RRset]:
    """The records with those of one name and type that follow each other put together."""
    grouped = itertools.groupby(records, key=lambda record: (record[0], record[1], record[2].rdtype))
    return [
        dns.rrset.from_rdata_list(name, ttl, [rdata for _name, _ttl, rdata in group])
        for (name, ttl, _type), group in grouped
    ]


def _key_of(request: dns.message.Message) -> str:
    """The name of the TSIG key that a message is signed with."""
    return request.keyname.to_text(omit_final_dot=True) if request.had_tsig and request.keyname else ""


def _bare_answer(wire: bytes, rcode: dns.rcode.Rcode) -> list[bytes]:
    """An answer to a message that could not be read: its header with the answer bit and the code."""
    if len(wire) < 12:
        return []
    flags = struct.unpack("!H", wire[2:4])[0]
    flags = (flags & 0x7900) | 0x8000 | int(rcode)
    return [wire[:2] + struct.pack("!H", flags) + bytes(8)]
