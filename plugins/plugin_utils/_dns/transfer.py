# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domains of a zone that publish the service, found by a zone transfer (RFC 5936)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from .exchange import Outcome, Reply, Transport, exchange
from .nameservers import Nameserver
from .query import QueryOptions, Resolver, describe
from .records import domain_of_term

try:
    import dns.asyncquery
    import dns.exception
    import dns.message
    import dns.name
    import dns.rcode
    import dns.rdatatype
    import dns.tsig
    import dns.xfr
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from dns.message import QueryMessage
    from dns.name import Name
    from dns.tsig import Key

_AT_ONCE = 8  # transfers are work for the processor, more than waiting


@dataclass(frozen=True)
class Transfer:
    """What a zone transfer told: the domains with records of the service, or why no server transferred the zone."""

    zone: str
    domains: tuple[str, ...] = ()
    nameserver: Nameserver | None = None
    problems: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The outcome as one line that names the zone and the servers."""
        if self.nameserver:
            return f"{self.zone}: {self.nameserver} transferred the zone: {len(self.domains)} domains in it"
        return f"{self.zone}: the zone was not transferred: {'; '.join(self.problems)}"


def find_domains(
    zones: Iterable[str], options: QueryOptions, lifetime: float = 120.0, key: Key | None = None
) -> tuple[Transfer, ...]:
    """Have all zones transferred at once and return what each told, in the order of the zones.

    The servers in ``options`` are asked in turn; without any, or with ``authoritative``, those of the zone itself.
    ``lifetime`` is in seconds, for the transfer from one server; ``key`` signs it. Zones that are delegated out of
    a zone are not in it. Names are in lower case and may still hold any byte, escaped.
    Raises ValueError for what is no domain or no name server.
    """
    return asyncio.run(_find_domains(zones, options, lifetime, key))


async def _find_domains(
    zones: Iterable[str], options: QueryOptions, lifetime: float, key: Key | None
) -> tuple[Transfer, ...]:
    wanted = list(dict.fromkeys(domain_of_term(zone, options.service) for zone in zones))
    finder = _Finder(options, lifetime, key)
    return tuple(await asyncio.gather(*(finder.find(zone) for zone in wanted)))


class _Finder:
    """The transfers of one run."""

    def __init__(self, options: QueryOptions, lifetime: float, key: Key | None) -> None:
        self._options = replace(options, authoritative=options.authoritative or not options.nameservers)
        self._resolver = Resolver(self._options)
        self._lifetime = lifetime
        self._key = key
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def find(self, zone: str) -> Transfer:
        """Ask the servers of a zone in turn until one transfers it."""
        origin = dns.name.from_text(zone)
        question = dns.message.make_query(origin, dns.rdatatype.AXFR)
        if self._key:
            question.use_tsig(self._key)
        found = await self._resolver.servers_for(origin)
        if not found.servers:
            return Transfer(zone, problems=(_no_server(found.failure, zone),))
        problems: list[str] = []
        for server in found.servers:
            async with self._turns:
                names = _ServiceNames(origin, dns.name.from_text(self._options.service, None))
                problem = await self._why_not(server, origin) or await self._transfer(server, question, names)
            if problem is None:
                return Transfer(zone, names.domains, server)
            problems.append(problem)
        return Transfer(zone, problems=tuple(problems))

    async def _why_not(self, server: Nameserver, origin: Name) -> str | None:
        """Return why a server cannot have the zone, found by a small question.

        So one that is dead or not responsible costs no more than its time-out.
        """
        how = Transport(tcp=True, timeout=self._options.timeout, tcp_timeout=self._options.timeout)
        reply = await exchange(server, origin, dns.rdatatype.SOA, how)
        if reply.outcome is Outcome.ANSWERED:
            return None
        if reply.outcome is Outcome.NO_DATA:
            return f"{server} has no zone of that name: name the zone that the domain lies in"
        return describe(reply.outcome, origin.to_text(omit_final_dot=True), str(server))

    async def _transfer(self, server: Nameserver, question: QueryMessage, names: _ServiceNames) -> str | None:
        """Have the zone transferred from one server; return what went wrong, if anything did."""
        try:
            await dns.asyncquery.inbound_xfr(
                str(server.address), cast(Any, names), question, server.port, self._options.timeout, self._lifetime
            )
        except dns.xfr.TransferError as error:
            return _refusal(server, error.rcode)
        except dns.tsig.PeerError as error:
            return f"{server} does not take the key of the transfer ({error})"
        except (dns.exception.Timeout, asyncio.TimeoutError):
            return f"{server} did not transfer it in time"
        except dns.exception.DNSException as error:
            return f"{server} sent a transfer that is malformed ({str(error) or type(error).__name__})"
        except (OSError, EOFError) as error:
            return f"{server} broke off the transfer ({getattr(error, 'strerror', None) or type(error).__name__})"
        return None


def _no_server(failure: Reply | None, zone: str) -> str:
    """Return why the servers of a zone are not known."""
    if failure is None or failure.server is None:
        return "there is no server to ask"
    return describe(failure.outcome, zone, str(failure.server)) + (f" ({failure.detail})" if failure.detail else "")


def _refusal(server: Nameserver, rcode: dns.rcode.Rcode) -> str:
    """Return what a server's refusal means, and what to do."""
    code = dns.rcode.to_text(rcode)
    if rcode in (dns.rcode.REFUSED, dns.rcode.NOTAUTH):
        return f"{server} refused the transfer ({code}): it has to allow this controller, or the key of the transfer"
    return f"{server} failed to transfer it ({code})"


class _ServiceNames:
    """What dnspython writes a transfer into: keeps the names that have SRV records of the service, and nothing else.

    It has the few methods of dns.transaction.TransactionManager and of its writer that a full transfer calls, so that
    a zone of many thousand machines takes no memory.
    """

    def __init__(self, origin: Name, service: Name) -> None:
        self.origin = origin
        self._service = service
        self._found: set[Name] = set()

    @property
    def domains(self) -> tuple[str, ...]:
        """The domains that the names belong to, in lower case, in order."""
        return tuple(sorted(name.to_text(omit_final_dot=True).lower() for name in self._found))

    def origin_information(self) -> tuple[Name, bool, Name]:
        """Say that names are absolute."""
        return (self.origin, False, self.origin)

    def from_wire_origin(self) -> None:
        """Say that names are absolute."""

    def writer(self, replacement: bool = False) -> _ServiceNames:
        """Start over."""
        self._found.clear()
        return self

    def add(self, name: Name, rdataset: Any) -> None:
        """Take note of a record set."""
        count = len(self._service)
        if rdataset.rdtype == dns.rdatatype.SRV and _lower(name.labels[:count]) == _lower(self._service.labels):
            self._found.add(dns.name.Name(name.labels[count:]))

    def replace(self, name: Name, rdataset: Any) -> None:
        """Ignore the SOA record at the end."""

    def commit(self) -> None:
        """Do nothing: what was found stays."""

    def rollback(self) -> None:
        """Forget all of a transfer that broke off: what is incomplete would pass for the whole."""
        self._found.clear()


def _lower(labels: Iterable[bytes]) -> list[bytes]:
    return [label.lower() for label in labels]
