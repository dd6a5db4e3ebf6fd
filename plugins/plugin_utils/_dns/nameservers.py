# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name servers as people write them, and as they are asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass, replace

from .records import normalise_name

try:
    import dns.exception
    import dns.resolver
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

DNS_PORT = 53
_PORT_MAX = 65535


@dataclass(frozen=True)
class Nameserver:
    """A DNS server: the name or address it was given by, its port, and the address to ask (None: not known)."""

    host: str
    port: int = DNS_PORT
    address: str | None = None

    def __str__(self) -> str:
        """The server as a user would write it, the port only when it is not 53."""
        if self.port == DNS_PORT:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_nameserver(text: str, port: int = DNS_PORT) -> Nameserver:
    """Parse ``address``, ``address:port``, ``[v6]``, ``[v6]:port``, ``name`` or ``name:port``.

    ``port`` is that of an entry that names none. The result of a host name has no address yet. Raises ValueError.
    """
    entry = text.strip()
    if is_address(entry):
        return Nameserver(entry, port, entry)
    host, own_port = _split_port(entry)
    number = port if own_port is None else _port(own_port, text)
    if entry.startswith("["):
        if not (is_address(host) and ":" in host):
            raise ValueError(f"{text!r} is no name server: an IPv6 address belongs between the brackets")
        return Nameserver(host, number, host)
    if is_address(host):
        return Nameserver(host, number, host)
    try:
        name = normalise_name(host)
    except ValueError as error:
        raise ValueError(f"{text!r} is no name server: {error}") from error
    if not all(char.isalnum() or char in "-_." for char in name):
        raise ValueError(f"{text!r} is no name server: give an address, address:port, [v6]:port or a host name")
    return Nameserver(name, number)


def _split_port(entry: str) -> tuple[str, str | None]:
    """Return the host part of an entry, without brackets, and the text of its port if it has one."""
    if entry.startswith("["):
        host, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{entry!r} is no name server: write [v6] or [v6]:port")
        return host, rest[1:] if rest else None
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon else (entry, None)


def _port(digits: str, entry: str) -> int:
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    if not 0 < number <= _PORT_MAX:
        raise ValueError(f"{entry!r} is no name server: its port is not a number from 1 to {_PORT_MAX}")
    return number


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def system_nameservers() -> tuple[Nameserver, ...]:
    """Return the servers that this machine's resolver is configured with; none when it has no configuration."""
    try:
        resolver = dns.resolver.Resolver()
    except dns.exception.DNSException:
        return ()
    addresses = [server for server in resolver.nameservers if isinstance(server, str) and is_address(server)]
    return tuple(Nameserver(address, resolver.port, address) for address in addresses)


async def find_addresses(server: Nameserver) -> tuple[Nameserver, ...]:
    """Return the server once for each of its addresses, found by the system's resolver when it is given by name.

    A name that cannot be resolved comes back as it was, without an address.
    """
    if server.address is not None:
        return (server,)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)
    except OSError:
        return (server,)
    return tuple(replace(server, address=address) for address in dict.fromkeys(str(entry[4][0]) for entry in found))
