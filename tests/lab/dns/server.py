# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded authoritative name server: UDP and TCP on loopback, dynamic updates, TSIG, failures on demand."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import typing as t

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update

from lab.dns.zone import UpdateRefused, Zone

_PLAIN_UDP_SIZE = 512


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
                answer = self.process(await reader.readexactly(length), source, tcp=True)
                if answer is None:
                    break
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        self._connections.discard(writer)
        writer.close()

    # -- messages

    def process(self, wire: bytes, source: str, tcp: bool = False) -> bytes | None:
        """Answer one message in wire form; None means that the server stays silent."""
        try:
            request = dns.message.from_wire(wire, keyring=self.keyring)
        except (dns.message.UnknownTSIGKey, dns.tsig.BadSignature, dns.tsig.BadTime):
            return _bare_answer(wire, dns.rcode.NOTAUTH)
        except dns.exception.DNSException:
            return _bare_answer(wire, dns.rcode.FORMERR)
        if request.opcode() == dns.opcode.UPDATE:
            response = self._answer_update(t.cast("dns.update.UpdateMessage", request), source)
        elif request.opcode() == dns.opcode.QUERY and len(request.question) == 1:
            response = self._answer_query(request, tcp)
        else:
            response = _respond(request, dns.rcode.NOTIMP)
        return None if response is None else _to_wire(request, response, tcp)

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
        key = request.keyname.to_text(omit_final_dot=True) if request.had_tsig and request.keyname else ""
        try:
            zone.update(request, source, key)
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
        if question.rdtype == dns.rdatatype.AXFR:
            return self._transfer(request, zone, tcp)
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
        for rdata in answer:
            zone = self.zone_for(rdata.target)
            addresses = zone.find(rdata.target, dns.rdatatype.A) if zone else None
            if addresses is not None and addresses not in response.additional:
                response.additional.append(addresses)

    @staticmethod
    def _transfer(request: dns.message.Message, zone: Zone, tcp: bool) -> dns.message.Message:
        """A zone transfer in one message, where the zone allows it (RFC 5936)."""
        if not (tcp and zone.allow_transfer and request.question[0].name == zone.origin):
            return _respond(request, dns.rcode.REFUSED)
        response = _respond(request, dns.rcode.NOERROR)
        response.flags |= dns.flags.AA
        soa = zone.find(zone.origin, dns.rdatatype.SOA)
        others = [rrset for rrset in zone.all_rrsets() if rrset.rdtype != dns.rdatatype.SOA]
        response.answer = [rrset for rrset in (soa, *others, soa) if rrset is not None]
        return response


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
    """The answer in wire form; over UDP what does not fit leaves an empty, truncated answer."""
    wire = response.to_wire(max_size=65535)
    limit = max(request.payload, _PLAIN_UDP_SIZE) if request.edns >= 0 else _PLAIN_UDP_SIZE
    if tcp or len(wire) <= limit:
        return wire
    short = _respond(request, response.rcode())
    short.flags |= response.flags & dns.flags.AA | dns.flags.TC
    return short.to_wire()


def _bare_answer(wire: bytes, rcode: dns.rcode.Rcode) -> bytes | None:
    """An answer to a message that could not be read: its header with the answer bit and the code."""
    if len(wire) < 12:
        return None
    flags = struct.unpack("!H", wire[2:4])[0]
    flags = (flags & 0x7900) | 0x8000 | int(rcode)
    return wire[:2] + struct.pack("!H", flags) + bytes(8)
