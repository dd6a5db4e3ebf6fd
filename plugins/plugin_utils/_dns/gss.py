# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A key agreed on with the server by Kerberos: GSS-TSIG (RFC 3645), as secure zones of Active Directory want it."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from .zone import MALFORMED, UNVERIFIED, DnsFailure, ZoneServer, rcode_of

try:
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype
    import dns.rdtypes.ANY.TKEY
    import dns.rrset
    import dns.tsig
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

try:
    import gssapi
    import gssapi.exceptions
except (ImportError, OSError) as import_error:  # OSError: the Kerberos library itself is missing
    GSSAPI_IMPORT_ERROR: Exception | None = import_error
else:
    GSSAPI_IMPORT_ERROR = None

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name
    from dns.tsig import Key

#: The failure of Kerberos itself, on this side.
KERBEROS = "KERBEROS"

_MODE_GSS = 3  # RFC 2930 2.5
_LIFETIME = 3600  # seconds that are asked for; the key is used at once
_MAX_ROUNDS = 8


def agree_on_key(server: ZoneServer, principal: str | None = None) -> Key:
    """Return a key that the server knows, too; it must have been given by its host name, which Kerberos goes by.

    ``principal`` picks a ticket from the credential cache, None takes the default one. Raises DnsFailure.
    """
    try:
        context = _context(server.server.host, principal)
        key = dns.tsig.Key(_new_name(server.server.host), context, dns.tsig.GSS_TSIG)
        return _negotiate(server, key, context)
    except gssapi.exceptions.GSSError as error:
        raise DnsFailure(KERBEROS, " ".join(str(error).split()), is_proven=True) from error


def _context(host: str, principal: str | None) -> Any:
    credentials = None
    if principal:
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        credentials = gssapi.Credentials(name=name, usage="initiate")
    service = gssapi.Name(f"DNS@{host}", gssapi.NameType.hostbased_service)
    return gssapi.SecurityContext(name=service, creds=credentials, usage="initiate")


def _new_name(host: str) -> Name:
    """A name that no other key has (RFC 3645 3.1.2)."""
    return dns.name.from_text(f"{uuid.uuid4().hex}.{host}")


def _negotiate(server: ZoneServer, key: Key, context: Any) -> Key:
    """Exchange tokens until both sides have the key; the last reply is signed with it (RFC 3645 3.1.3)."""
    token = context.step()
    for _round in range(_MAX_ROUNDS):
        request = _tkey_query(key.name, token or b"")
        token = _Answer(key, context).take(request, server.transfer(request.to_wire()))
        if context.complete and not token:
            return key
    raise DnsFailure(MALFORMED, "the negotiation of a key does not end", is_proven=True)


def _tkey_query(name: Name, token: bytes) -> Message:
    now = int(time.time())
    rdata = dns.rdtypes.ANY.TKEY.TKEY(
        dns.rdataclass.ANY, dns.rdatatype.TKEY, dns.tsig.GSS_TSIG, now, now + _LIFETIME, _MODE_GSS, 0, token
    )
    query = dns.message.make_query(name, dns.rdatatype.TKEY, dns.rdataclass.ANY, use_edns=False)
    query.flags = 0
    rrset = query.find_rrset(query.additional, name, dns.rdataclass.ANY, dns.rdatatype.TKEY, create=True)
    rrset.add(rdata)
    return query


class _Answer:
    """A reply with the server's token, which makes the key that its own signature is verified with."""

    def __init__(self, key: Key, context: Any) -> None:
        self._key = key
        self._context = context
        self._is_taken = False
        self._token: bytes | None = None

    def take(self, request: Message, wire: bytes) -> bytes | None:
        """Take the server's token in and return what to send next, if anything. Raises DnsFailure and GSSError."""
        rcode = rcode_of(request, wire)
        if rcode != "NOERROR":
            raise DnsFailure(rcode, "asked for a key by Kerberos (TKEY)", is_proven=True)
        try:
            reply = dns.message.from_wire(wire, keyring=self._keyring, request_mac=b"")
        except dns.exception.DNSException as error:
            raise DnsFailure(UNVERIFIED, f"its reply to TKEY: {error}", is_proven=True) from error
        self._take_in(reply)
        return self._token

    def _keyring(self, message: Message, _name: Name) -> Key:
        """The key, asked for when all but the signature has been read."""
        self._take_in(message)
        return self._key

    def _take_in(self, message: Message) -> None:
        if self._is_taken:
            return
        self._is_taken = True
        records = [rrset[0] for rrset in message.answer if rrset.rdtype == dns.rdatatype.TKEY]
        if not records:
            raise DnsFailure(MALFORMED, "its reply to TKEY has no TKEY record", is_proven=True)
        if records[0].error:
            raise DnsFailure(dns.rcode.to_text(records[0].error, tsig=True), "TKEY", is_proven=True)
        if not self._context.complete:
            self._token = self._context.step(records[0].key)
