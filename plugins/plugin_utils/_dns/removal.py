# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many values of one domain removed at once by dynamic update, for machines that are KMS hosts no more (RFC 2136)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import SrvRecord
from .update import rdata_of
from .zone import DnsFailure, RecordSet, ZoneServer, owner_of, read

try:
    import dns.rcode
    import dns.update
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from dns.name import Name
    from dns.update import UpdateMessage

#: Values that one update removes. A value takes up to 280 bytes, a message has room for 65535 (RFC 1035 4.2.2).
AT_ONCE = 200


@dataclass(frozen=True)
class Removed:
    """What became of values that were to go: those that are gone, the others, and why.

    Without ``is_shown`` the server could not be asked again: gone is what it accepted to remove. ``is_certain`` is
    False when an update may have been carried out, and whether it was could not be read.
    """

    gone: tuple[SrvRecord, ...] = ()
    left: tuple[SrvRecord, ...] = ()
    failure: DnsFailure | None = None
    is_shown: bool = True
    is_certain: bool = True


def of_targets(found: RecordSet, targets: Iterable[str]) -> tuple[SrvRecord, ...]:
    """Return the values that name one of the targets, at any port, priority and weight."""
    names = set(targets)
    return tuple(record for record in found.records if record.target in names)


def removal_messages(zone: Name, domain: str, values: Sequence[SrvRecord]) -> Iterator[UpdateMessage]:
    """Yield the updates that remove exactly these values.

    They need no prerequisites: an update deletes a value by its data (RFC 2136 2.5.4), so what others add or remove
    meanwhile is not touched, and deleting what is gone already is no error.
    """
    for start in range(0, len(values), AT_ONCE):
        message = dns.update.UpdateMessage(zone)
        for record in values[start : start + AT_ONCE]:
            message.delete(owner_of(domain), rdata_of(record))
        yield message


def remove(server: ZoneServer, zone: Name, domain: str, values: Sequence[SrvRecord]) -> Removed:
    """Remove values at a server of the zone, and ask it again. Nothing is raised: a failure is told."""
    failure = None
    accepted = 0
    try:
        for message in removal_messages(zone, domain, values):
            if server.key is not None:
                message.use_tsig(server.key)
            rcode = server.exchange(message).rcode()
            if rcode != dns.rcode.NOERROR:
                raise DnsFailure(dns.rcode.to_text(rcode), is_proven=True)
            accepted += AT_ONCE
    except DnsFailure as error:
        failure = error
    try:
        shown = set(read(server, domain).records)
    except DnsFailure as error:
        is_certain = not accepted and failure is not None and failure.is_proven
        gone, left = tuple(values[:accepted]), tuple(values[accepted:])
        return Removed(gone, left, failure or error, is_shown=False, is_certain=is_certain)
    left = tuple(record for record in values if record in shown)
    if not left:
        return Removed(gone=tuple(values))
    gone = tuple(record for record in values if record not in shown)
    return Removed(gone, left, failure or DnsFailure("NOT_SHOWN", is_proven=True))
