# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One authoritative server over TCP: signed messages and what it says to them, the zone of a name, the values in it."""

from __future__ import annotations

import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from .nameservers import Nameserver
from .records import SERVICE, SrvRecord, normalise_name

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.name
    import dns.opcode
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType
    from dns.rdtypes.IN.SRV import SRV
    from dns.tsig import Key

#: What this collection can make of a failure; the others are response codes (RFC 6895 2.3), upper case.
UNREACHABLE = "UNREACHABLE"
NO_REPLY = "NO_REPLY"
MALFORMED = "MALFORMED"
UNVERIFIED = "UNVERIFIED"
NOT_AUTHORITATIVE = "NOT_AUTHORITATIVE"
TRUNCATED = "TRUNCATED"
ALIAS = "ALIAS"


class DnsFailure(Exception):
    """A server did not do what it was asked.

    ``code`` is a response code, one of TSIG's (RFC 8945 3), or one of this module; ``detail`` says more in words.
    ``is_proven`` is False when what came back, if anything, may not be the server's word: after an update its outcome
    is unknown then.
    """

    def __init__(self, code: str, detail: str = "", *, is_proven: bool = False) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail
        self.is_proven = is_proven


class QuestionFailure(DnsFailure):
    """A server answered a question with a response code: what was asked for was not told."""


def owner_of(domain: str) -> Name:
    """Return the name that the SRV records of a domain belong to. Raises ValueError."""
    try:
        return dns.name.from_text(f"{SERVICE}.{domain}")
    except dns.exception.DNSException as error:
        raise ValueError(f"{domain!r} is no domain: {error}") from error


def zone_named(text: str) -> Name:
    """Return the name of a zone that is given as text. Raises ValueError."""
    return dns.name.from_text(normalise_name(text))


def text_of(name: Name) -> str:
    """Return a name in the spelling used here: lower case, without the final dot."""
    return name.to_text(omit_final_dot=True).lower()


class ZoneServer:
    """A DNS server that is asked over TCP (``timeout`` in seconds for each wait), with messages signed by ``key``.

    Where its name has several addresses, the one that answered first is kept: read and update must meet one server.
    """

    def __init__(self, server: Nameserver, key: Key | None = None, timeout: float = 10.0) -> None:
        self.server = server
        self.key = key
        self._address = server.address or server.host
        self._timeout = timeout

    def ask(self, name: Name, rdtype: RdataType) -> Message:
        """Return the server's own answer, never a cache's, each record with its own TTL. Raises DnsFailure."""
        query = dns.message.make_query(name, rdtype, use_edns=False)
        query.flags &= ~dns.flags.RD
        if self.key is not None and self.key.algorithm != dns.tsig.GSS_TSIG:
            query.use_tsig(self.key)  # a server may have a view of its own for a key
        answer = self.exchange(query)
        rcode = answer.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise QuestionFailure(dns.rcode.to_text(rcode), f"asked for {text_of(name)}", is_proven=True)
        if answer.flags & dns.flags.TC:
            # A message ends at 64 kB, some 1,300 SRV values: what is missing must not be taken for gone.
            raise DnsFailure(TRUNCATED, f"asked for {text_of(name)}", is_proven=True)
        if not answer.flags & dns.flags.AA:
            raise DnsFailure(NOT_AUTHORITATIVE, f"asked for {text_of(name)}", is_proven=True)
        aliases = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.CNAME]
        if aliases:
            raise DnsFailure(ALIAS, f"{text_of(aliases[0].name)} is {text_of(aliases[0][0].target)}", is_proven=True)
        return answer

    def exchange(self, request: Message) -> Message:
        """Send a message and return the verified reply, whatever its response code. Raises DnsFailure."""
        return self.verify(request, self.transfer(request.to_wire()))

    def transfer(self, wire: bytes) -> bytes:
        """Send a message in wire form and return what comes back (RFC 7766). Raises DnsFailure."""
        try:
            sock = socket.create_connection((self._address, self.server.port), self._timeout)
        except OSError as error:
            raise DnsFailure(UNREACHABLE, error.strerror or str(error), is_proven=True) from error
        with contextlib.closing(sock):
            self._address = sock.getpeername()[0]
            try:
                sock.sendall(struct.pack("!H", len(wire)) + wire)
                (length,) = struct.unpack("!H", _receive(sock, 2))
                return _receive(sock, length)
            except (OSError, EOFError) as error:
                raise DnsFailure(NO_REPLY, getattr(error, "strerror", None) or str(error)) from error

    @staticmethod
    def verify(request: Message, wire: bytes) -> Message:
        """Return the reply in ``wire`` when it answers the request and, if that was signed, is signed (RFC 8945 5.3).

        A refusal of the signature itself cannot be signed; its code is told, but is no proof. Raises DnsFailure.
        """
        said = rcode_of(request, wire)
        try:
            reply = dns.message.from_wire(wire, keyring=request.keyring, request_mac=request.mac, one_rr_per_rrset=True)
        except dns.tsig.PeerError as error:
            raise DnsFailure(_PEER_CODES.get(type(error).__name__, said)) from error
        except Exception as error:  # a GSS-API library raises errors of its own
            why = str(error) or type(error).__name__
            raise (_unverified(said, why) if request.keyring else DnsFailure(MALFORMED, why)) from error
        if request.keyring and not reply.had_tsig:
            raise _unverified(said, "it is not signed")
        is_bare_error = not reply.question and said != "NOERROR"
        if not is_bare_error and not request.is_response(reply):
            raise DnsFailure(MALFORMED, "it answers another question")
        return reply


def rcode_of(request: Message, wire: bytes) -> str:
    """Return the response code in the header of a reply to the request. Raises DnsFailure for another message."""
    if len(wire) < _HEADER_SIZE:
        raise DnsFailure(MALFORMED, "it is no DNS message")
    number, flags = struct.unpack_from("!HH", wire)
    if number != request.id or not flags & dns.flags.QR or dns.opcode.from_flags(flags) != request.opcode():
        raise DnsFailure(MALFORMED, "it answers another message")
    return dns.rcode.to_text(dns.rcode.from_flags(flags, 0))


_HEADER_SIZE = 12  # RFC 1035 4.1.1

_PEER_CODES = {
    "PeerBadKey": "BADKEY",
    "PeerBadSignature": "BADSIG",
    "PeerBadTime": "BADTIME",
    "PeerBadTruncation": "BADTRUNC",
}


def _unverified(said: str, why: str) -> DnsFailure:
    """A reply that may be anybody's: an error is worth telling, a success is not to be believed."""
    if said == "NOERROR":
        return DnsFailure(UNVERIFIED, why)
    return DnsFailure(said, f"the signature of its reply could not be verified: {why}")


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError("it closed the connection")
        data += more
    return data


def find_zone(server: ZoneServer, owner: Name) -> Name:
    """Return the zone that a name lies in, by the SOA record that the server shows for it. Raises DnsFailure."""
    answer = server.ask(owner, dns.rdatatype.SOA)
    for rrset in (*answer.answer, *answer.authority):
        if rrset.rdtype == dns.rdatatype.SOA and owner.is_subdomain(rrset.name):
            return rrset.name
    raise DnsFailure(MALFORMED, f"no SOA record for {text_of(owner)}", is_proven=True)


@dataclass(frozen=True)
class RecordSet:
    """The SRV values of a domain as one server has them, each with its TTL, in the order of ``SrvRecord.sort_key``."""

    domain: str
    records: tuple[SrvRecord, ...] = ()


def read(server: ZoneServer, domain: str) -> RecordSet:
    """Return the SRV values of a domain; none for a missing name. Raises DnsFailure."""
    owner = owner_of(domain)
    answer = server.ask(owner, dns.rdatatype.SRV)
    records = [
        _record(domain, rdata, rrset.ttl)
        for rrset in answer.answer
        if rrset.rdtype == dns.rdatatype.SRV and rrset.name == owner
        for rdata in cast("Iterable[SRV]", rrset)  # dnspython picks the class of the data at run time
    ]
    return RecordSet(domain, tuple(sorted(records, key=lambda record: record.sort_key)))


def _record(domain: str, rdata: SRV, ttl: int) -> SrvRecord:
    return SrvRecord(domain, text_of(rdata.target), rdata.port, rdata.priority, rdata.weight, ttl)
