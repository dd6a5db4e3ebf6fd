# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SRV records of many domains, asked for at once: one answer per domain (and server), each with its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .exchange import TCP_TIMEOUT, TIMEOUT, Outcome, Reply, Transport, authority, exchange
from .nameservers import DNS_PORT, Nameserver, find_addresses, parse_nameserver, system_nameservers
from .records import NO_TARGET, SERVICE, SrvRecord, domain_of_term

try:
    import dns.exception
    import dns.name
    import dns.rdatatype
except ImportError as import_error:
    DNSPYTHON_IMPORT_ERROR: ImportError | None = import_error
else:
    DNSPYTHON_IMPORT_ERROR = None
    _ADDRESS_TYPES = (dns.rdatatype.A, dns.rdatatype.AAAA)

if TYPE_CHECKING:
    from dns.message import Message
    from dns.name import Name
    from dns.rdatatype import RdataType

_MAX_SOCKETS = 256  # a process may often open no more than 1024 files
_MAX_HOPS = 8  # CNAMEs and referrals followed for one domain


@dataclass(frozen=True)
class QueryOptions:
    """How domains are asked for.

    ``nameservers``: entries as ``parse_nameserver`` takes them, asked in turn until one knows; none means the system's.
    ``port``: of an entry that names none, and of authoritative servers. ``tcp``: never ask by UDP.
    ``timeout``: seconds that one server gets for one question over UDP, or to take a TCP connection. ``tcp_timeout``:
    seconds for an answer over TCP. ``lifetime``: seconds after which no further server is asked the same question.
    ``retries``: how often a UDP question is sent again in its time-out.
    ``authoritative``: ask the servers of the zone itself; ``nameservers`` are then only asked which these are.
    ``all_nameservers``: ask every server, an answer for each. ``resolve``: find the targets' addresses too; only those
    of ``resolve_targets``, unless that is None.
    """

    nameservers: tuple[str, ...] = ()
    port: int = DNS_PORT
    tcp: bool = False
    timeout: float = TIMEOUT
    tcp_timeout: float = TCP_TIMEOUT
    lifetime: float = 6.0
    retries: int = 1
    authoritative: bool = False
    all_nameservers: bool = False
    resolve: bool = False
    resolve_targets: frozenset[str] | None = None
    service: str = SERVICE

    def __post_init__(self) -> None:
        if min(self.timeout, self.tcp_timeout, self.lifetime) <= 0:
            raise ValueError("timeout, tcp_timeout and lifetime are seconds above 0")
        if self.retries < 0:
            raise ValueError("retries is a number from 0 up")


@dataclass(frozen=True)
class Answer:
    """What DNS says of one domain. ``nameserver`` is the server that said it, or the first that failed.

    A malformed answer keeps the records that are well-formed: one odd target must not hide the others.
    ``addresses`` has the addresses of each target, none for one that cannot be resolved; it is empty unless asked for.
    ``unresolved`` tells why no address is known of a target for which DNS gave no useful answer.
    """

    domain: str
    outcome: Outcome
    records: tuple[SrvRecord, ...] = ()
    nameserver: Nameserver | None = None
    detail: str = ""
    addresses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    service: str = SERVICE
    unresolved: Mapping[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """The outcome as one line that names the domain and the server."""
        return f"{self.domain}: {self.reason}"

    @property
    def reason(self) -> str:
        """The outcome as a phrase that names the server."""
        server = str(self.nameserver) if self.nameserver else "no name server"
        text = describe(self.outcome, f"{self.service}.{self.domain}", server, len(self.records))
        return text + (f" ({self.detail})" if self.detail else "")


def describe(outcome: Outcome, name: str, server: str, count: int = 0) -> str:
    """Return an outcome as a phrase; ``name`` is what was asked for, ``count`` the number of records found."""
    return _MESSAGES[outcome].format(name=name, server=server, count=count)


_MESSAGES = {
    Outcome.ANSWERED: "{server} has {count} SRV records",
    Outcome.NOT_AVAILABLE: '{server} says that the service is decidedly not available there (the SRV target is ".")',
    Outcome.NXDOMAIN: "{server} knows no name {name} (NXDOMAIN)",
    Outcome.NO_DATA: "{server} knows the name {name}, but no SRV record of it",
    Outcome.REFUSED: "{server} refused to answer (REFUSED): it serves neither this domain nor this client",
    Outcome.SERVFAIL: "{server} failed to find an answer (SERVFAIL): its own servers or the zone are at fault",
    Outcome.REFERRAL: "{server} only refers to other servers: it neither serves the domain nor asks for others",
    Outcome.ERROR_CODE: "{server} answered with an error",
    Outcome.MALFORMED: "{server} sent an answer that is malformed",
    Outcome.UNREACHABLE: "{server} cannot be reached",
    Outcome.TIMEOUT: "{server} did not answer in time",
}


def query_srv(domains: Iterable[str], options: QueryOptions | None = None) -> tuple[Answer, ...]:
    """Ask for the SRV records of all domains at once and return their answers in the order of the domains.

    A domain may be given as the full name of its service; one that is given twice is asked once. With
    ``all_nameservers`` a domain has an answer for each server. Records are in the order of ``SrvRecord.sort_key``.
    Raises ValueError for what is no domain or no name server; all that happens on the network is an outcome.
    Must not be called inside a running event loop: await ``query_srv_async`` there.
    """
    return asyncio.run(query_srv_async(domains, options))


async def query_srv_async(domains: Iterable[str], options: QueryOptions | None = None) -> tuple[Answer, ...]:
    """Do the same as ``query_srv`` in the running event loop."""
    options = options or QueryOptions()
    wanted = list(dict.fromkeys(domain_of_term(domain, options.service) for domain in domains))
    for domain in wanted:
        _owner(domain, options.service)
    resolver = Resolver(options)
    groups = await asyncio.gather(*(resolver.replies(domain) for domain in wanted))
    replies = [(domain, reply) for domain, group in zip(wanted, groups, strict=True) for reply in group]
    # Addresses only now: the questions for those of hundreds of machines would keep the large answers waiting.
    return tuple(await asyncio.gather(*(resolver.answer(domain, reply) for domain, reply in replies)))


@dataclass(frozen=True)
class Servers:
    """The servers to ask about a name; or, when they could not be found, the reply that says why."""

    servers: tuple[Nameserver, ...] = ()
    failure: Reply | None = None


class Resolver:
    """The questions of one run: what several domains need to know is asked once. Lives in one event loop."""

    def __init__(self, options: QueryOptions) -> None:
        self._options = options
        self._transport = Transport(options.tcp, options.timeout, options.retries, options.tcp_timeout)
        self._given = [parse_nameserver(entry, options.port) for entry in options.nameservers]
        self._sockets = asyncio.Semaphore(_MAX_SOCKETS)
        self._tasks: dict[tuple[Any, ...], asyncio.Task[Any]] = {}
        self._unresolved: dict[Name, str] = {}

    async def replies(self, domain: str) -> list[Reply]:
        """Return what is said of a domain, once or by each server."""
        found = await self.servers_for(dns.name.from_text(domain))
        if not found.servers:
            return [found.failure or Reply(Outcome.UNREACHABLE, detail="none is configured")]
        groups = _by_host(found.servers) if self._options.all_nameservers else [found.servers]
        return list(await asyncio.gather(*(self._ask_domain(domain, group) for group in groups)))

    async def _ask_domain(self, domain: str, servers: tuple[Nameserver, ...]) -> Reply:
        """Ask for the SRV records of a domain, through CNAMEs and, when the zone's own servers are asked, referrals."""
        name = _owner(domain, self._options.service)
        reply = await self._ask(servers, name, dns.rdatatype.SRV)
        first = reply.server
        for _hop in range(_MAX_HOPS):
            if reply.alias is not None:
                name = reply.alias
                found = (
                    await self.servers_for(_without_service(name)) if self._options.authoritative else Servers(servers)
                )
            elif reply.outcome is Outcome.REFERRAL and self._options.authoritative:
                found = await self._referred(reply)
            else:
                break
            reply = found.failure or await self._ask(found.servers, name, dns.rdatatype.SRV)
        else:
            return Reply(Outcome.MALFORMED, first, detail="CNAME records or referrals go round in a circle")
        return reply

    async def answer(self, domain: str, reply: Reply) -> Answer:
        """Turn the last reply into the domain's answer, with the addresses of its targets if they are wanted."""
        addresses = await self._target_addresses(reply) if self._options.resolve and reply.rrset else {}
        outcome = reply.outcome
        records: tuple[SrvRecord, ...] = ()
        if reply.rrset is not None:
            records = _records(domain, reply)
            if len(records) == 1 and records[0].target == NO_TARGET:
                outcome, records = Outcome.NOT_AVAILABLE, ()
        targets = {rdata.target for rdata in reply.rrset or ()}
        unresolved = {_text(name): reason for name, reason in self._unresolved.items() if name in targets}
        return Answer(
            domain, outcome, records, reply.server, reply.detail, addresses, self._options.service, unresolved
        )

    async def _ask(self, servers: Sequence[Nameserver], name: Name, rdtype: RdataType) -> Reply:
        """Ask the servers in turn until one knows; if none does, return the failure that tells most."""
        failures: list[Reply] = []
        left = self._options.lifetime
        for server in servers:
            async with self._sockets:
                start = asyncio.get_running_loop().time()
                how = replace(self._transport, timeout=min(self._options.timeout, left))
                reply = await exchange(server, name, rdtype, how)
                left -= asyncio.get_running_loop().time() - start
            if reply.outcome.is_settled:
                return reply
            failures.append(reply)
            if left <= 0:
                break
        if not failures:
            return Reply(Outcome.UNREACHABLE, detail="no server to ask")
        return min(failures, key=lambda reply: _TELLING.index(reply.outcome))

    async def _once(self, key: tuple[Any, ...], question: Coroutine[Any, Any, Any]) -> Any:
        """Await ``question``, or the answer to the same one that was asked before."""
        if key in self._tasks:
            question.close()
        else:
            self._tasks[key] = asyncio.ensure_future(question)
        return await self._tasks[key]

    async def _recursive(self) -> tuple[Nameserver, ...]:
        """Return the given servers, or else the system's, each with an address if it has one."""
        return tuple(await self._once(("recursive",), self._find_recursive()))

    async def _find_recursive(self) -> list[Nameserver]:
        if not self._options.nameservers:
            return list(system_nameservers())
        found = await asyncio.gather(*(find_addresses(server) for server in self._given))
        return [server for group in found for server in group]

    async def servers_for(self, name: Name) -> Servers:
        """Return the servers to ask about ``name``: with ``authoritative`` those of its zone, or the resolver's."""
        if not self._options.authoritative:
            return Servers(await self._recursive())
        result: Servers = await self._once(("zone", name), self._find_zone_servers(name))
        return result

    async def _find_zone_servers(self, name: Name) -> Servers:
        """Find the zone that ``name`` lies in, by its SOA record, and the servers of that zone.

        The domain is asked for, never the service's name in it: a resolver keeps a missing name, for every type, as
        long as the zone's SOA says (RFC 2308 5), often an hour, and clients would be told so.
        """
        recursive = await self._recursive()
        reply = await self._ask(recursive, name, dns.rdatatype.SOA)
        if not reply.outcome.is_settled:
            return Servers(failure=_while_finding_zone(reply, name))
        soa = reply.rrset or (authority(reply.message, dns.rdatatype.SOA) if reply.message else None)
        if soa is None:
            return Servers(failure=Reply(Outcome.MALFORMED, reply.server, detail=f"no SOA record for {_text(name)}"))
        if soa.name == dns.name.root:  # no such top-level domain: no need to trouble the root servers
            return Servers(failure=reply)
        listed = await self._ask(recursive, soa.name, dns.rdatatype.NS)
        if listed.rrset is None:
            return Servers(failure=_while_finding_zone(listed, name))
        # The primary first: it has a change before the others. A hidden one is not asked.
        names = sorted((rdata.target for rdata in listed.rrset), key=lambda target: (target != soa[0].mname, target))
        return await self._servers_named(names, listed.message)

    async def _referred(self, reply: Reply) -> Servers:
        """Return the servers that a referral points to."""
        delegation = authority(reply.message, dns.rdatatype.NS) if reply.message else None
        names = sorted(rdata.target for rdata in delegation) if delegation else []
        return await self._servers_named(names, reply.message)

    async def _servers_named(self, names: Iterable[Name], message: Message | None) -> Servers:
        """Return the servers of these names, each once for every address."""
        names = list(names)
        addresses = await asyncio.gather(*(self._addresses(name, message) for name in names))
        return Servers(
            tuple(
                Nameserver(_text(name), self._options.port, address)
                for name, found in zip(names, addresses, strict=True)
                for address in (found or (None,))
            )
        )

    async def _target_addresses(self, reply: Reply) -> dict[str, tuple[str, ...]]:
        """Return the addresses of each target of a reply."""
        wanted = self._options.resolve_targets
        targets = [
            rdata.target
            for rdata in reply.rrset or ()
            if rdata.target != dns.name.root and (wanted is None or _text(rdata.target) in wanted)
        ]
        found = await asyncio.gather(*(self._addresses(target, reply.message) for target in targets))
        return {_text(target): addresses for target, addresses in zip(targets, found, strict=True)}

    async def _addresses(self, name: Name, message: Message | None) -> tuple[str, ...]:
        """Return the addresses of a host, IPv4 first: those that came with ``message``, or else asked for."""
        came = [
            rdata.address
            for rdtype in _ADDRESS_TYPES
            for rrset in (message.additional if message else ())
            if rrset.name == name and rrset.rdtype == rdtype
            for rdata in rrset
        ]
        if came:
            return tuple(came)
        return tuple(await self._once(("addresses", name), self._find_addresses(name)))

    async def _find_addresses(self, name: Name) -> list[str]:
        recursive = await self._recursive()
        replies = await asyncio.gather(*(self._ask(recursive, name, rdtype) for rdtype in _ADDRESS_TYPES))
        found = [rdata.address for reply in replies if reply.rrset for rdata in sorted(reply.rrset)]
        # An alias that was not followed, or no answer at all, does not say that the host has no address.
        open_ends = [reply for reply in replies if not reply.outcome.is_settled or reply.alias is not None]
        if open_ends and not found:
            self._unresolved[name] = _why_unresolved(open_ends[0], name)
        return found


_TELLING = list(Outcome)


def _owner(domain: str, service: str) -> Name:
    """Return the name that the records of a domain belong to. Raises ValueError."""
    try:
        return dns.name.from_text(f"{service}.{domain}")
    except dns.exception.DNSException as error:
        raise ValueError(f"{domain!r} is no domain: {error}") from error


def _by_host(servers: Iterable[Nameserver]) -> list[tuple[Nameserver, ...]]:
    """Group the addresses of each server: they are ways to the same one, and not all may be open from here."""
    groups: dict[tuple[str, int], list[Nameserver]] = {}
    for server in servers:
        groups.setdefault((server.host, server.port), []).append(server)
    return [tuple(group) for group in groups.values()]


def _while_finding_zone(reply: Reply, name: Name) -> Reply:
    """Return a failure that says what was being asked."""
    what = f"asked which servers are authoritative for {_text(name)}"
    return replace(reply, detail=f"{reply.detail}; {what}" if reply.detail else what)


def _text(name: Name) -> str:
    """Return a name off the wire in the spelling used here; odd bytes stay escaped (RFC 4343 2.1)."""
    return name.to_text(omit_final_dot=True).lower()


def _without_service(name: Name) -> Name:
    """Return the domain part of a service's name: the labels after those that start with an underscore."""
    while name.labels[0].startswith(b"_") and len(name.labels) > 1:
        name = name.parent()
    return name


def _why_unresolved(reply: Reply, name: Name) -> str:
    """Return why a reply says nothing of a host's addresses."""
    server = str(reply.server) if reply.server else "no name server"
    if reply.alias is not None:
        return f"{server} says that {_text(name)} is another name of {_text(reply.alias)}, and no more"
    return describe(reply.outcome, _text(name), server) + (f" ({reply.detail})" if reply.detail else "")


def _records(domain: str, reply: Reply) -> tuple[SrvRecord, ...]:
    """Return the records of a reply in their order."""
    records = [
        SrvRecord(domain, _text(rdata.target), rdata.port, rdata.priority, rdata.weight, reply.ttl)
        for rdata in reply.rrset or ()
    ]
    return tuple(sorted(records, key=lambda record: record.sort_key))
