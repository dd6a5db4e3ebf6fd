# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DNS server on loopback that answers from zones, or misbehaves as it is told: UDP and TCP on one ephemeral port."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.zone

Message = dns.message.Message
Keyring = dict[dns.name.Name, dns.tsig.Key]
Handler = Callable[[Message, bool], "Message | bytes | None"]
"""Question and whether it came by TCP -> answer (a message or raw bytes), or None to keep silent."""


class LoopbackDns:
    """One server; ``questions`` is the log of (name, type, by TCP, with EDNS)."""

    def __init__(
        self, handler: Handler, address: str = "127.0.0.1", port: int = 0, keyring: Keyring | None = None
    ) -> None:
        self._handler = handler
        self._keyring = keyring
        self.questions: list[tuple[str, str, bool, bool]] = []
        self._tcp, self._udp = _bind_both(address, port)
        self.address, self.port = self._tcp.getsockname()[:2]
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def entry(self) -> str:
        """The server as a name server entry."""
        return f"{self.address}:{self.port}"

    def __enter__(self) -> LoopbackDns:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.send(b"x")
        self._thread.join()
        for sock in (self._stop, self._stopped, self._tcp, self._udp):
            sock.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._stopped, self._tcp, self._udp):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _events in selector.select()}
                if self._stopped in ready:
                    return
                if self._udp in ready:
                    data, peer = self._udp.recvfrom(65535)
                    answer = self._answer(data, by_tcp=False)
                    if answer is not None:
                        self._udp.sendto(answer, peer)
                if self._tcp in ready:
                    self._serve_tcp()

    def _serve_tcp(self) -> None:
        connection, _peer = self._tcp.accept()
        with connection, connection.makefile("rb") as stream:
            head = stream.read(2)
            if len(head) == 2:
                answer = self._answer(stream.read(struct.unpack("!H", head)[0]), by_tcp=True)
                if answer is not None:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, by_tcp: bool) -> bytes | None:
        query = dns.message.from_wire(data, keyring=self._keyring or {})
        question = query.question[0]
        rdtype = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((question.name.to_text().lower(), rdtype, by_tcp, query.edns >= 0))
        answer = self._handler(query, by_tcp)
        return answer.to_wire() if isinstance(answer, Message) else answer


def _bind_both(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return a TCP and a UDP socket on the same port; 0 means any that is free for both."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        tcp = socket.create_server((address, port), family=family)
        udp = socket.socket(family, socket.SOCK_DGRAM)
        try:
            udp.bind((address, tcp.getsockname()[1]))
            return tcp, udp
        except OSError:
            tcp.close()
            udp.close()
            if port:
                raise


def rcode(code: dns.rcode.Rcode) -> Handler:
    """A server that answers every question with this response code."""

    def handle(query: Message, _by_tcp: bool) -> Message:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response

    return handle


def silent(_query: Message, _by_tcp: bool) -> None:
    """A server that is dead to the world."""


def zones(*texts: tuple[str, str], transfers: bool = False) -> Handler:
    """An authoritative server of (origin, master file) zones; other names are refused, and transfers unless allowed.

    Each zone gets a SOA record and, unless its text has NS records, itself as name server.
    """
    loaded = [(dns.name.from_text(origin), _load(origin, text)) for origin, text in texts]

    def handle(query: Message, _by_tcp: bool) -> Message:
        question = query.question[0]
        response = dns.message.make_response(query)
        covering = [(origin, zone) for origin, zone in loaded if question.name.is_subdomain(origin)]
        if not covering:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        origin, zone = max(covering, key=lambda pair: len(pair[0]))
        if question.rdtype == dns.rdatatype.AXFR:
            if transfers and origin == question.name:
                _fill_transfer(response, zone)
            else:
                response.set_rcode(dns.rcode.REFUSED)
            return response
        _fill(response, zone, question.name, question.rdtype)
        return response

    return handle


def _load(origin: str, text: str) -> dns.zone.Zone:
    head = "$TTL 3600\n@ SOA ns hostmaster 1 900 300 604800 60\n"
    own = "" if " NS " in text else "@ NS ns\nns A 127.0.0.1\n"
    return dns.zone.from_text(head + own + text, origin=origin, relativize=False)


def _fill(response: Message, zone: dns.zone.Zone, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> None:
    """Answer from a zone as RFC 1034 4.3.2 says: delegation, alias, data, no data, no name."""
    assert zone.origin is not None
    cut = name
    while len(cut) > len(zone.origin):
        delegation = zone.get_rrset(cut, "NS")
        if delegation is not None:
            response.authority.append(delegation)
            response.additional += [
                glue for rdata in delegation if (glue := zone.get_rrset(rdata.target, "A")) is not None
            ]
            return
        cut = cut.parent()
    response.flags |= dns.flags.AA
    alias = zone.get_rrset(name, "CNAME")
    if alias is not None and rdtype != dns.rdatatype.CNAME:
        if alias in response.answer:  # a circle
            return
        response.answer.append(alias)
        if alias[0].target.is_subdomain(zone.origin):
            _fill(response, zone, alias[0].target, rdtype)
        return
    rrset = zone.get_rrset(name, rdtype)
    if rrset is not None:
        response.answer.append(rrset)
        if rdtype == dns.rdatatype.SRV:
            hosts = {(rdata.target, kind): None for rdata in rrset for kind in ("A", "AAAA")}
            response.additional += [found for host in hosts if (found := zone.get_rrset(*host)) is not None]
        return
    soa = zone.get_rrset(zone.origin, "SOA")
    assert soa is not None
    response.authority.append(soa)
    if not any(node.is_subdomain(name) for node in zone):
        response.set_rcode(dns.rcode.NXDOMAIN)


def _fill_transfer(response: Message, zone: dns.zone.Zone) -> None:
    """Answer with the whole of a zone, its SOA record first and last (RFC 5936 2.2)."""
    assert zone.origin is not None
    soa = zone.get_rrset(zone.origin, "SOA")
    assert soa is not None
    rest = [
        dns.rrset.from_rdata_list(name, rdataset.ttl, rdataset)
        for name, rdataset in zone.iterate_rdatasets()
        if rdataset.rdtype != dns.rdatatype.SOA
    ]
    response.answer += [soa, *rest, soa]


@contextmanager
def running(
    handler: Handler, address: str = "127.0.0.1", port: int = 0, keyring: Keyring | None = None
) -> Iterator[LoopbackDns]:
    """Run a server for the length of a with block; ``keyring`` has the keys whose signatures it can check."""
    with LoopbackDns(handler, address, port, keyring) as server:
        yield server
