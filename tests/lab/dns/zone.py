# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zone data, and dynamic updates to it (RFC 2136)."""

from __future__ import annotations

import collections
import dataclasses
import typing as t

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rrset
import dns.update

from lab.dns.names import Srv, SrvSet

#: Who may update: anybody; the first updater of a name, for ever (as in an AD-integrated zone with secure updates:
#: "Deploy KMS activation"); nobody.
OPEN, SECURE, DENY = "open", "secure", "deny"

#: Failures that can be laid on a name or a zone.
FAILURES = ("servfail", "refused", "timeout", "truncate")

_TTL = 3600


#: What an update has added (above zero) and taken away: when all is zero in the end, the zone is as it was.
Balance = collections.Counter[t.Any]


class UpdateRefused(Exception):
    """An update was not done; ``rcode`` says why."""

    def __init__(self, rcode: dns.rcode.Rcode) -> None:
        super().__init__(dns.rcode.to_text(rcode))
        self.rcode = rcode


@dataclasses.dataclass
class Zone:
    """An authoritative zone.

    ``tsig`` names the only key that may update, ``owners`` who owns which name, ``admins`` the keys to which ownership
    is no bar. ``allow_transfer`` is for all (True), for none, or for the addresses and keys that it lists.
    """

    origin: dns.name.Name
    policy: str = OPEN
    tsig: str = ""
    allow_transfer: bool | t.Collection[str] = False
    admins: t.Collection[str] = ()
    minimum: int = 3600
    serial: int = 1
    #: Rises with everything that happens to the records.
    revision: int = 0
    owners: dict[dns.name.Name, str] = dataclasses.field(default_factory=dict)
    failures: dict[dns.name.Name, str] = dataclasses.field(default_factory=dict)
    refused_sources: set[str] = dataclasses.field(default_factory=set)
    _nodes: dict[dns.name.Name, dict[dns.rdatatype.RdataType, dns.rdataset.Rdataset]] = dataclasses.field(
        default_factory=dict
    )
    #: How many names with records stand at each name or below it.
    _below: collections.Counter[dns.name.Name] = dataclasses.field(default_factory=collections.Counter)
    #: The SRV values of each name as the machines of this process look them up, thousands of times a fleet's day.
    _srv: dict[dns.name.Name, dict[dns.rdata.Rdata, Srv]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add(self.origin, "SOA", self._soa_text())
        self.add(self.origin, "NS", f"ns.{self.origin}")

    def _soa_text(self) -> str:
        return f"ns.{self.origin} hostmaster.{self.origin} {self.serial} 3600 600 86400 {self.minimum}"

    def _bump(self) -> None:
        self.serial += 1
        self._nodes[self.origin].pop(dns.rdatatype.SOA)
        self.add(self.origin, "SOA", self._soa_text())

    def name(self, text: str) -> dns.name.Name:
        """A name of this zone; without a final dot it is taken relative to the zone, unless it ends in its name."""
        absolute = dns.name.from_text(text if text.endswith(".") else text + ".")
        return absolute if absolute.is_subdomain(self.origin) else dns.name.from_text(text, self.origin)

    def add(self, name: dns.name.Name, rdtype: str, text: str, ttl: int = _TTL) -> None:
        """Add one value from its text form."""
        kind = dns.rdatatype.from_text(rdtype)
        self._add(name, ttl, dns.rdata.from_text(dns.rdataclass.IN, kind, text), collections.Counter())

    def _add(self, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata, balance: Balance) -> None:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = {}
            self._below.update(self._up_to_origin(name))
        rdataset = node.setdefault(rdata.rdtype, dns.rdataset.Rdataset(dns.rdataclass.IN, rdata.rdtype, ttl=ttl))
        known = len(rdataset)
        balance[name, rdata.rdtype, rdataset.ttl] -= 1
        balance[name, rdata.rdtype, ttl] += 1
        rdataset.add(rdata)
        rdataset.ttl = ttl
        balance[name, rdata] += len(rdataset) - known
        if rdata.rdtype == dns.rdatatype.SRV:
            self._srv.setdefault(name, {}).setdefault(rdata, to_srv(rdata))
        if balance[name, rdata]:
            self.revision += 1

    def _up_to_origin(self, name: dns.name.Name) -> t.Iterator[dns.name.Name]:
        while name != self.origin:
            yield name
            name = name.parent()
        yield name

    def srv_set(self, name: dns.name.Name) -> SrvSet:
        """The SRV values of a name as they stand, for callers in this process, who may keep them for a ``revision``."""
        return SrvSet(self._srv.get(name, {}).values())

    def find(self, name: dns.name.Name, rdtype: dns.rdatatype.RdataType) -> dns.rrset.RRset | None:
        rdataset = self._nodes.get(name, {}).get(rdtype)
        return dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset)) if rdataset else None

    def exists(self, name: dns.name.Name) -> bool:
        """Whether the name, or one below it, holds anything (an empty non-terminal is no NXDOMAIN, RFC 8020)."""
        return self._below[name] > 0

    def all_rrsets(self) -> t.Iterator[dns.rrset.RRset]:
        for name, node in self._nodes.items():
            for rdataset in node.values():
                yield dns.rrset.from_rdata_list(name, rdataset.ttl, list(rdataset))

    def records(self) -> t.Iterator[tuple[dns.name.Name, int, dns.rdata.Rdata]]:
        """Name, TTL and data of every record as a transfer sends them: the SOA first and again at the end."""
        (soa,) = self._nodes[self.origin][dns.rdatatype.SOA]
        first = (self.origin, _TTL, soa)
        yield first
        for name, node in self._nodes.items():
            for kind, rdataset in node.items():
                if kind != dns.rdatatype.SOA:
                    yield from ((name, rdataset.ttl, rdata) for rdata in rdataset)
        yield first

    def may_transfer(self, source: str, key: str) -> bool:
        """Whether an address, or who signs with a key, may have the whole zone."""
        if isinstance(self.allow_transfer, bool):
            return self.allow_transfer
        return source in self.allow_transfer or key in self.allow_transfer

    def failure_of(self, name: dns.name.Name) -> str:
        """The failure laid on a name, or on the whole zone."""
        return self.failures.get(name, self.failures.get(self.origin, ""))

    # -- updates

    def update(self, message: dns.update.UpdateMessage, source: str, key: str = "") -> None:
        """Apply an update from an address, signed with a key or not; raises UpdateRefused, then nothing was done."""
        names = {rrset.name for rrset in message.update}
        if any(not name.is_subdomain(self.origin) for name in names):
            raise UpdateRefused(dns.rcode.NOTZONE)
        if not self.permits(names, source, key):
            raise UpdateRefused(dns.rcode.REFUSED)
        for rrset in message.prerequisite:
            self._require(rrset)
        self._require_together(message.prerequisite)
        self._do(message, key or source)

    def administer(self, message: dns.update.UpdateMessage, owner: str) -> None:
        """Apply an update whatever the policy and the prerequisites; new names belong to ``owner``.

        A message that was never in wire form holds names relative to its zone: here they become whole.
        """
        self._do(t.cast("dns.update.UpdateMessage", dns.message.from_wire(message.to_wire())), owner)

    def _do(self, message: dns.update.UpdateMessage, owner: str) -> None:
        balance: Balance = collections.Counter()
        for rrset in message.update:
            self._apply(rrset, balance)
        for name in {rrset.name for rrset in message.update}:
            self.owners.setdefault(name, owner)
        if any(balance.values()):
            self._bump()

    def permits(self, names: t.Iterable[dns.name.Name], source: str, key: str = "") -> bool:
        """Whether an address, or who signs with a key, may update the names."""
        if self.policy == DENY or source in self.refused_sources or (self.tsig and key != self.tsig):
            return False
        if self.policy != SECURE or key in self.admins:
            return True
        return all(self.owners.get(name, key or source) == (key or source) for name in names)

    def _require(self, rrset: dns.rrset.RRset) -> None:
        """A prerequisite on the existence of a name or a record set (RFC 2136, 3.2.1 to 3.2.4)."""
        node = self._nodes.get(rrset.name, {})
        if rrset.deleting is None:
            return
        wanted = rrset.deleting == dns.rdataclass.ANY
        any_type = rrset.rdtype == dns.rdatatype.ANY
        present = bool(node) if any_type else rrset.rdtype in node
        if present == wanted:
            return
        if any_type:
            raise UpdateRefused(dns.rcode.NXDOMAIN if wanted else dns.rcode.YXDOMAIN)
        raise UpdateRefused(dns.rcode.NXRRSET if wanted else dns.rcode.YXRRSET)

    def _require_together(self, prerequisites: t.Iterable[dns.rrset.RRset]) -> None:
        """Value prerequisites: the given values are the whole record set (RFC 2136, 3.2.5)."""
        wanted: dict[tuple[dns.name.Name, dns.rdatatype.RdataType], set[dns.rdata.Rdata]] = {}
        for rrset in prerequisites:
            if rrset.deleting is None:
                wanted.setdefault((rrset.name, rrset.rdtype), set()).update(rrset)
        for (name, kind), values in wanted.items():
            if set(self._nodes.get(name, {}).get(kind, ())) != values:
                raise UpdateRefused(dns.rcode.NXRRSET)

    def _apply(self, rrset: dns.rrset.RRset, balance: Balance) -> None:
        """One record of the update section (RFC 2136, 3.4.2); the zone's own SOA and NS stay."""
        if rrset.deleting is None:
            for rdata in rrset:
                self._add(rrset.name, rrset.ttl, rdata, balance)
            return
        node = self._nodes.get(rrset.name, {})
        protected = {dns.rdatatype.SOA, dns.rdatatype.NS} if rrset.name == self.origin else set()
        kinds = list(node) if rrset.rdtype == dns.rdatatype.ANY else [rrset.rdtype]
        for kind in kinds:
            if kind in node and kind not in protected:
                rdataset = node[kind]
                gone = rrset if rrset.deleting == dns.rdataclass.NONE else rdataset
                self._discard(rrset.name, rdataset, [rdata for rdata in gone if rdata in rdataset], balance)
        self._prune(rrset.name)

    def _discard(
        self, name: dns.name.Name, rdataset: dns.rdataset.Rdataset, gone: list[dns.rdata.Rdata], balance: Balance
    ) -> None:
        for rdata in gone:
            rdataset.discard(rdata)
            balance[name, rdata] -= 1
        if rdataset.rdtype == dns.rdatatype.SRV:
            for rdata in gone:
                del self._srv[name][rdata]
        self.revision += 1

    def _prune(self, name: dns.name.Name) -> None:
        node = self._nodes.get(name)
        if node is None:
            return
        for kind in [kind for kind, rdataset in node.items() if not rdataset]:
            del node[kind]
        if not node:
            del self._nodes[name]
            self._below.subtract(self._up_to_origin(name))


def to_srv(rdata: t.Any) -> Srv:
    """The data of an SRV record of dnspython's."""
    target = rdata.target.to_text(omit_final_dot=True).lower()
    return Srv(rdata.priority, rdata.weight, rdata.port, "" if target == "." else target)
