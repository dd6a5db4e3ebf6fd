# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether DNS says what is wanted, and what stands in the way: the one rule that every check of SRV records uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .records import SrvRecord, shares


class FindingKind(Enum):
    """How the values of a domain differ from the wanted ones."""

    MISSING = "missing"
    """A wanted target has no value in its domain."""
    DIFFERENT = "different"
    """A wanted target is there with another port, priority or weight."""
    OUTRANKING = "outranking"
    """A value that is not wanted has a priority at or below the worst wanted one: clients ask it first, or as often."""
    EXTRA = "extra"
    """A value that is not wanted stands behind every wanted one: clients ask it only when all of those are dead."""


@dataclass(frozen=True)
class Finding:
    """One difference between a domain's values and the wanted ones.

    ``wanted`` is set for missing and different, ``found`` for different, outranking and extra.
    ``share`` is the fraction of the domain's clients that ask the found value first.
    """

    kind: FindingKind
    domain: str
    wanted: SrvRecord | None = None
    found: SrvRecord | None = None
    share: float = 0.0

    @property
    def breaks(self) -> bool:
        """Whether the wanted records do not count as published while this stands."""
        return self.kind is not FindingKind.EXTRA

    @property
    def message(self) -> str:
        """The finding as one line for people."""
        return _MESSAGES[self.kind].format(
            domain=self.domain,
            wanted=_value(self.wanted),
            found=_value(self.found),
            share=f"{self.share:.0%}".replace("%", " %"),
        )


_MESSAGES = {
    FindingKind.MISSING: "{domain}: {wanted} is missing",
    FindingKind.DIFFERENT: "{domain}: {found} should be {wanted}",
    FindingKind.OUTRANKING: (
        "{domain}: {found} is not wanted and outranks or equals a wanted record: {share} of the clients ask it first"
    ),
    FindingKind.EXTRA: "{domain}: {found} is not wanted; clients ask it last",
}


def _value(record: SrvRecord | None) -> str:
    """Return the record's data in the order of RFC 2782: priority, weight, port, target."""
    return f"{record.priority} {record.weight} {record.port} {record.target}" if record else ""


def explain(records: Iterable[SrvRecord], wanted: Iterable[SrvRecord]) -> tuple[Finding, ...]:
    """Return how ``records`` differ from ``wanted``, in the domains of ``wanted`` alone.

    Nothing means that all is as wanted. Each value appears in one finding at most. Findings are in the order of domain,
    then of their kind.
    """
    there = frozenset(records)
    by_domain: dict[str, set[SrvRecord]] = {}
    for record in wanted:
        by_domain.setdefault(record.domain, set()).add(record)
    return tuple(
        finding
        for domain, wants in sorted(by_domain.items())
        for finding in _explain_domain(domain, {record for record in there if record.domain == domain}, wants)
    )


def _explain_domain(domain: str, there: set[SrvRecord], wanted: set[SrvRecord]) -> list[Finding]:
    """Return the findings of one domain."""
    order = sorted(there, key=_by_sort_key)
    share_of = dict(zip(order, shares(order), strict=True))
    others = [record for record in order if record not in wanted]
    absent: list[Finding] = []
    different: list[Finding] = []
    for want in sorted(wanted - there, key=_by_sort_key):
        found = next((other for other in others if other.target == want.target), None)
        if found is None:
            absent.append(Finding(FindingKind.MISSING, domain, wanted=want))
        else:
            others.remove(found)
            different.append(Finding(FindingKind.DIFFERENT, domain, want, found, share_of[found]))
    worst = max(record.priority for record in wanted)
    unwanted = [
        Finding(
            FindingKind.OUTRANKING if other.priority <= worst else FindingKind.EXTRA,
            domain,
            found=other,
            share=share_of[other],
        )
        for other in others
    ]
    return absent + different + unwanted


def _by_sort_key(record: SrvRecord) -> tuple[str, int, int, str, int]:
    return record.sort_key


def published(records: Iterable[SrvRecord], wanted: Iterable[SrvRecord]) -> bool:
    """Return whether DNS sends clients to the wanted records.

    True when each wanted record is there with the same port, priority and weight, and no other value of its domain has
    a priority at or below the worst (highest) wanted one there. Clients ask the lowest priority first (RFC 2782).
    """
    return not any(finding.breaks for finding in explain(records, wanted))
