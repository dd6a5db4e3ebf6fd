# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to one DNS server, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from .nameservers import Nameserver

try:
    import dns.asyncbackend
    import dns.asyncquery
    import dns.exception
    import dns.flags
    import dns.inet
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdatatype
    import dns.rrset
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.name import Name
    from dns.rdatatype import RdataType
    from dns.rrset import RRset

#: Seconds for a server to answer a question, and for it to send what is too long for UDP: the values of a few hundred
#: machines are some 40 kB, which a busy server and a slow line take their time for.
TIMEOUT = 2.0
TCP_TIMEOUT = 10.0

_EDNS_PAYLOAD = 1232  # bytes that pass every link without fragments (DNS flag day 2020)
_HEADER_SIZE = 12
_QR_AND_TC = 0x82  # the two bits in the third byte of a header (RFC 1035 4.1.1)


class Outcome(Enum):
    """What became of a question. Members stand in the order in which they tell more about a domain."""

    ANSWERED = "answered"
    NOT_AVAILABLE = "not_available"
    """The only target is ".": the service is decidedly not available in this domain (RFC 2782)."""
    NXDOMAIN = "nxdomain"
    NO_DATA = "no_data"
    REFUSED = "refused"
    SERVFAIL = "servfail"
    REFERRAL = "referral"
    """The server points to others: it is not responsible and does not ask on our behalf."""
    ERROR_CODE = "error_code"
    """Another response code than the ones above; it is told in the detail."""
    MALFORMED = "malformed"
    UNREACHABLE = "unreachable"
    """The server cannot be resolved, or the network said that nothing can be reached there."""
    TIMEOUT = "timeout"

    @property
    def is_missing(self) -> bool:
        """Whether DNS works and has no such record."""
        return self in (Outcome.NXDOMAIN, Outcome.NO_DATA)

    @property
    def is_settled(self) -> bool:
        """Whether the server knew, so that no other server needs to be asked."""
        return self in _SETTLED


_SETTLED = frozenset({Outcome.ANSWERED, Outcome.NOT_AVAILABLE, Outcome.NXDOMAIN, Outcome.NO_DATA})


@dataclass(frozen=True)
class Reply:
    """What one server said. ``rrset`` is the answer, at the end of any CNAMEs; ``ttl`` (seconds) the least on the way.

    ``alias`` is set when the answer ends in a CNAME whose target the server did not look up.
    """

    outcome: Outcome
    server: Nameserver | None = None
    message: Message | None = None
    rrset: RRset | None = None
    ttl: int = 0
    alias: Name | None = None
    detail: str = ""


@dataclass(frozen=True)
class Transport:
    """How a server is asked.

    ``tcp``: over TCP at once. ``timeout``: seconds for an answer over UDP, or until TCP is connected. ``retries``: how
    often UDP sends again in that time. ``tcp_timeout``: seconds for an answer once TCP is connected.
    """

    tcp: bool = False
    timeout: float = TIMEOUT
    retries: int = 1
    tcp_timeout: float = TCP_TIMEOUT


async def exchange(server: Nameserver, name: Name, rdtype: RdataType, how: Transport) -> Reply:
    """Ask ``server`` and classify what it says; every failure of the network is an outcome, never an exception.

    A truncated UDP answer is asked for again over TCP (RFC 7766 5), a server that rejects EDNS without it (RFC 6891 7).
    """
    if server.address is None:
        return Reply(Outcome.UNREACHABLE, server, detail="its name cannot be resolved")
    try:
        message = await _ask(server, _query(name, rdtype, edns=True), how)
        if message.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS):
            message = await _ask(server, _query(name, rdtype, edns=False), how)
        return _classify(message, server)
    except _NoAnswer as error:
        return Reply(Outcome.TIMEOUT, server, detail=str(error))
    except dns.exception.DNSException as error:
        return Reply(Outcome.MALFORMED, server, detail=str(error) or type(error).__name__)
    except (OSError, EOFError) as error:
        return Reply(Outcome.UNREACHABLE, server, detail=getattr(error, "strerror", None) or str(error))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _query(name: Name, rdtype: RdataType, edns: bool) -> QueryMessage:
    return dns.message.make_query(name, rdtype, use_edns=0 if edns else False, payload=_EDNS_PAYLOAD)


class _NoAnswer(Exception):
    """A server did not answer in time; the text says by what protocol, and in which time."""


async def _ask(server: Nameserver, query: QueryMessage, how: Transport) -> Message:
    """Return the server's answer, over TCP when asked for or when UDP is too small for it."""
    message = None if how.tcp else await _udp(server, query, how)
    return await _tcp(server, query, how) if message is None else message


async def _tcp(server: Nameserver, query: QueryMessage, how: Transport) -> Message:
    """Return the answer over TCP. The time to read the message, when it is here, is not the server's and not counted.

    Raises _NoAnswer, dns.exception.DNSException, OSError or EOFError.
    """
    address = str(server.address)
    backend = dns.asyncbackend.get_default_backend()
    family = dns.inet.af_for_address(address)
    target = dns.inet.low_level_address_tuple((address, server.port))
    try:
        sock = await backend.make_socket(family, socket.SOCK_STREAM, 0, None, target, how.timeout)
    except (dns.exception.Timeout, asyncio.TimeoutError):
        raise _NoAnswer(f"no connection by TCP in {how.timeout:g} s") from None
    async with sock:
        try:
            return await dns.asyncquery.tcp(query, address, how.tcp_timeout, server.port, sock=sock)
        except (dns.exception.Timeout, asyncio.TimeoutError):
            raise _NoAnswer(f"no answer by TCP in {how.tcp_timeout:g} s") from None


async def _udp(server: Nameserver, query: QueryMessage, how: Transport) -> Message | None:
    """Return the answer, or None if it was truncated. The question is repeated in equal parts of the time.

    All go out on one socket, so a late answer to an early question still counts. The last one goes without EDNS when it
    is a repetition: some firewalls drop questions that have it. What is no answer to the question is ignored; a broken
    one is remembered while the wait goes on, as anybody may have sent it (CVE-2023-29483).
    Raises _NoAnswer, dns.exception.FormError or OSError.
    """
    address = str(server.address)
    sends, end = how.retries + 1, _now() + how.timeout
    broken: dns.exception.DNSException | None = None
    with socket.socket(dns.inet.af_for_address(address), socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        target = dns.inet.low_level_address_tuple((address, server.port))
        # Connected, so that the kernel drops other senders and reports a closed port.
        await asyncio.get_running_loop().sock_connect(sock, target)
        for number in range(sends):
            if number and number == sends - 1:
                query.use_edns(False)
            await asyncio.get_running_loop().sock_sendall(sock, query.to_wire())
            pause = (end - _now()) / (sends - number)
            until = _now() + pause
            while (data := await _receive(sock, until)) is not None:
                if len(data) < _HEADER_SIZE or data[:2] != query.id.to_bytes(2, "big"):
                    continue
                if data[2] & _QR_AND_TC == _QR_AND_TC:
                    return None
                try:
                    message = dns.message.from_wire(data)
                except dns.exception.DNSException as error:
                    broken = error
                    continue
                if query.is_response(message):
                    return message
    raise broken or _NoAnswer(f"no answer in {how.timeout:g} s")


async def _receive(sock: socket.socket, until: float) -> bytes | None:
    """Return the next datagram, or None when there was none until the given loop time. Raises OSError.

    What came while this process was busy with other answers did come in time: it is looked for once more in the end.
    """
    loop = asyncio.get_running_loop()
    while (left := until - _now()) > 0:
        # What is only waited for is not lost with the wait: asyncio's sock_recv, cancelled, takes the datagram with it.
        readable = loop.create_future()
        loop.add_reader(sock, _settle, readable)
        try:
            await asyncio.wait({readable}, timeout=left)
        finally:
            loop.remove_reader(sock)
        with contextlib.suppress(BlockingIOError):
            return sock.recv(65535)
    return None


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


_RCODE_OUTCOMES = {"NXDOMAIN": Outcome.NXDOMAIN, "SERVFAIL": Outcome.SERVFAIL, "REFUSED": Outcome.REFUSED}


def _classify(message: Message, server: Nameserver) -> Reply:
    """Turn a well-formed answer into a reply. Raises DNSException for one that contradicts itself."""
    rcode = message.rcode()
    if message.flags & dns.flags.TC:
        # Only TCP's answers come here with it: a message ends at 64 kB, and what is missing must not be taken for gone.
        return Reply(Outcome.MALFORMED, server, message, detail="the answer is larger than a DNS message may be")
    if rcode != dns.rcode.NOERROR:
        code = dns.rcode.to_text(rcode)
        outcome = _RCODE_OUTCOMES.get(code, Outcome.ERROR_CODE)
        return Reply(outcome, server, message, detail=code if outcome is Outcome.ERROR_CODE else "")
    if not isinstance(message, dns.message.QueryMessage):
        raise dns.message.NotQueryResponse
    chain = message.resolve_chaining()
    if chain.answer is not None:
        return Reply(Outcome.ANSWERED, server, message, chain.answer, chain.minimum_ttl)
    has_soa = authority(message, dns.rdatatype.SOA) is not None
    if chain.cnames and not has_soa:
        return Reply(Outcome.NO_DATA, server, message, ttl=chain.minimum_ttl, alias=chain.canonical_name)
    is_referral = not has_soa and not message.flags & dns.flags.AA and authority(message, dns.rdatatype.NS) is not None
    # RFC 2308 2.2: an answer without data carries a SOA, or nothing; a referral carries NS records.
    return Reply(Outcome.REFERRAL if is_referral else Outcome.NO_DATA, server, message)


def authority(message: Message, rdtype: RdataType) -> RRset | None:
    """Return the first record set of a type in the authority section."""
    return next((rrset for rrset in message.authority if rrset.rdtype == rdtype), None)
