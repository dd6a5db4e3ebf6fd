# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SRV value made present or absent: the pure plan, and the dynamic update that carries it out (RFC 2136)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .records import SrvRecord
from .zone import DnsFailure, RecordSet, ZoneServer, owner_of, read

try:
    import dns.exception
    import dns.name
    import dns.rcode
    import dns.rdata
    import dns.rdataclass
    import dns.rdatatype
    import dns.update
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdata import Rdata
    from dns.update import UpdateMessage

#: Seconds that a new record may be kept by resolvers where neither the wish nor the record set says it.
DEFAULT_TTL = 3600

#: How often an update is made anew because others were faster. One of them succeeds at each of our failures, so only
#: more writers at one name than this can bring it about.
MAX_ATTEMPTS = 40
_MAX_PAUSE = 0.25

#: So often in a row a server may deny values that it shows unchanged: then nobody was faster, they are not there.
_MAX_DENIALS = 3

#: The server shows values of a name that it says it does not have.
DENIED = "DENIED"

#: Pauses (seconds) after which a server is asked whether an update of unknown outcome was done.
_SETTLING = (0.0, 0.5, 1.5)

#: The record set is not what the prerequisites say (RFC 2136 2.2).
_CONFLICTS = frozenset({"NXRRSET", "YXRRSET", "NXDOMAIN", "YXDOMAIN"})


@dataclass(frozen=True)
class Wish:
    """One value of a domain that is to be there once, or not at all.

    Target and port say which value is meant; priority and weight are what it is to have. ``ttl`` (seconds): None leaves
    it as it is. For ``present=False`` only target and port count.
    """

    record: SrvRecord
    present: bool = True
    ttl: int | None = None

    def concerns(self, record: SrvRecord) -> bool:
        """Whether a value is the one that is meant, at any priority and weight."""
        return (record.target, record.port) == (self.record.target, self.record.port)

    def of(self, records: Iterable[SrvRecord]) -> tuple[SrvRecord, ...]:
        """Return the values that are meant."""
        return tuple(record for record in records if self.concerns(record))


@dataclass(frozen=True)
class Edit:
    """What is to be done to a record set: values that go, and the one that comes (or gets another TTL)."""

    remove: tuple[SrvRecord, ...] = ()
    add: SrvRecord | None = None

    def result(self, records: Iterable[SrvRecord]) -> tuple[SrvRecord, ...]:
        """Return a record set as it is after the edit."""
        gone = {*self.remove, *([self.add] if self.add else [])}
        kept = [record for record in records if record not in gone]
        return tuple(sorted([*kept, *([self.add] if self.add else [])], key=lambda record: record.sort_key))


def plan(records: Iterable[SrvRecord], wish: Wish) -> Edit | None:
    """Return what turns a record set into the wished one, None when it is so already. Other values stay."""
    records = tuple(records)
    meant = wish.of(records)
    if not wish.present:
        return Edit(remove=meant) if meant else None
    surplus = tuple(record for record in meant if record != wish.record)
    kept = next((record for record in meant if record == wish.record), None)
    if kept is not None and wish.ttl in (None, kept.ttl):
        return Edit(remove=surplus) if surplus else None
    return Edit(remove=surplus, add=replace(wish.record, ttl=_ttl(wish, meant or records)))


def _ttl(wish: Wish, records: Iterable[SrvRecord]) -> int:
    """A value joins the TTL of its set: one set has one TTL (RFC 2181 5.2)."""
    if wish.ttl is not None:
        return wish.ttl
    return min((record.ttl for record in records if record.ttl is not None), default=DEFAULT_TTL)


def update_message(zone: Name, found: RecordSet, edit: Edit, *, conditional: bool = True) -> UpdateMessage:
    """Return the update that edits a record set, on condition that it still is as it was found.

    A value prerequisite names the whole set or fails (RFC 2136 2.4.2), so a change by anybody else in between makes the
    server refuse this one. A TTL cannot be a prerequisite. Without it nothing but its own values is deleted and added,
    too; only two runs that rank one host at once may then both leave their value.
    """
    owner = owner_of(found.domain)
    message = dns.update.UpdateMessage(zone)
    for record in found.records if conditional else ():
        message.present(owner, rdata_of(record))
    if conditional and not found.records:
        message.absent(owner, dns.rdatatype.SRV)
    for record in edit.remove:
        message.delete(owner, rdata_of(record))
    if edit.add is not None:
        message.add(owner, edit.add.ttl, rdata_of(edit.add))
    return message


def rdata_of(record: SrvRecord) -> Rdata:
    """Return the data of a value."""
    target = dns.name.from_text(record.target).to_text()
    text = f"{record.priority} {record.weight} {record.port} {target}"
    return dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.SRV, text)


@dataclass(frozen=True)
class Outcome:
    """What became of a wish. ``edit`` is what was done (would be done in check mode), None when nothing was needed.

    ``failure`` says why it was not done; ``after`` is then what the server still told, or None.
    """

    before: RecordSet
    edit: Edit | None = None
    after: RecordSet | None = None
    failure: DnsFailure | None = None
    is_verified: bool = False


class Updater:
    """Carries out a wish at one server of the zone. ``pause`` waits for a number of seconds."""

    def __init__(self, server: ZoneServer, zone: Name, wish: Wish, pause: Callable[[float], None] = time.sleep) -> None:
        self._server = server
        self._zone = zone
        self._wish = wish
        self._pause = pause

    def run(self, found: RecordSet) -> Outcome:
        """Update until the wish is fulfilled, starting from what was read.

        Whoever was faster is never overwritten: the set is read again, and the plan made anew. Raises DnsFailure only
        where reading fails before anything was sent.
        """
        denials = 0
        for attempt in range(MAX_ATTEMPTS):
            edit = plan(found.records, self._wish)
            if edit is None:
                return Outcome(found, after=found, is_verified=True)
            try:
                self._send(found, edit)
            except DnsFailure as failure:
                if not (failure.is_proven and failure.code in _CONFLICTS):
                    return self._settle(found, edit, failure)
                self._pause(random.uniform(0, min(_MAX_PAUSE, 0.02 * (attempt + 1))))
                again = read(self._server, found.domain)
                denials = denials + 1 if again.records == found.records else 0
                if denials == _MAX_DENIALS:
                    return Outcome(again, failure=DnsFailure(DENIED, failure.code, is_proven=True), after=again)
                found = again
                continue
            return self._verify(found, edit)
        return Outcome(found, failure=DnsFailure("CONFLICT", f"{MAX_ATTEMPTS} times"), after=found)

    def _send(self, found: RecordSet, edit: Edit) -> None:
        try:
            rcode = self._exchange(update_message(self._zone, found, edit))
        except dns.exception.TooBig:  # a set that fills an answer has no room beside what is to be changed
            rcode = self._exchange(update_message(self._zone, found, edit, conditional=False))
        if rcode != dns.rcode.NOERROR:
            raise DnsFailure(dns.rcode.to_text(rcode), is_proven=True)

    def _exchange(self, message: UpdateMessage) -> dns.rcode.Rcode:
        if self._server.key is not None:
            message.use_tsig(self._server.key)
        return self._server.exchange(message).rcode()

    def _verify(self, found: RecordSet, edit: Edit) -> Outcome:
        try:
            after = read(self._server, found.domain)
        except DnsFailure as failure:
            return Outcome(found, edit, failure=failure)
        if plan(after.records, self._wish) is None:
            return Outcome(found, edit, after, is_verified=True)
        return Outcome(found, failure=DnsFailure("NOT_SHOWN", is_proven=True), after=after)

    def _settle(self, found: RecordSet, edit: Edit, failure: DnsFailure) -> Outcome:
        """Ask the server what became of an update that has no reply to rely on; it is never sent again."""
        after = None
        for pause in (0.0,) if failure.is_proven else _SETTLING:
            self._pause(pause)
            try:
                after = read(self._server, found.domain)
            except DnsFailure:
                continue
            if plan(after.records, self._wish) is None:
                return Outcome(found, edit, after, is_verified=True)
        return Outcome(found, failure=failure, after=after)
