# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines want of DNS: look up SRV records, publish one, learn the Windows error code of a failure."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import typing as t

#: Windows DNS errors as HRESULTs (winerror.h, DNS_ERROR_RCODE_*).
SERVER_FAILURE = 0x8007232A
NAME_ERROR = 0x8007232B
REFUSED = 0x8007232D
NOT_AUTHORITATIVE = 0x80072331
BAD_SIGNATURE = 0x80072338
NO_RECORDS = 0x8007251D
TIMED_OUT = 0x800705B4


@dataclasses.dataclass(frozen=True)
class Srv:
    """The data of an SRV record (RFC 2782); ``target`` without its final dot."""

    priority: int
    weight: int
    port: int
    target: str


@dataclasses.dataclass(frozen=True)
class SrvGroup:
    """The records of one priority, with the running sum of their weights (RFC 2782: zero weights first)."""

    records: tuple[Srv, ...]
    running: tuple[int, ...]


class SrvSet(tuple[Srv, ...]):
    """The records of one name. How they are drawn from is worked out once: thousands of machines draw."""

    @functools.cached_property
    def groups(self) -> tuple[SrvGroup, ...]:
        """The usable records by priority, lowest first; one whose target is the root says that there is no service."""
        ranked = sorted((r for r in self if r.target), key=lambda r: (r.priority, r.weight, r.target, r.port))
        return tuple(
            SrvGroup(records, tuple(itertools.accumulate(record.weight for record in records)))
            for records in (tuple(group) for _priority, group in itertools.groupby(ranked, lambda r: r.priority))
        )


class DnsFailure(Exception):
    """A lookup or an update failed; ``code`` is the HRESULT that Windows would show."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"0x{self.code:08X}"


class NameService(t.Protocol):
    """DNS as a machine sees it. ``source`` is the machine's address, by which the server knows who updates."""

    async def lookup_srv(self, domain: str, source: str) -> t.Sequence[Srv]:
        """The ``_vlmcs._tcp`` records of a domain, in no order; raises DnsFailure."""

    async def publish(self, domain: str, record: Srv, source: str, replace: bool) -> None:
        """Add a ``_vlmcs._tcp`` value by dynamic update (RFC 2136); raises DnsFailure.

        With ``replace`` older values for the same target go away in the same update.
        """
