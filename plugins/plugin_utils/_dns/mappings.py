# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRV records as they stand in playbooks: lists of mappings, perhaps with the name server that each came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .exchange import Outcome
from .published import Finding, explain
from .records import SrvRecord


def records_of(values: Any, what: str = "records") -> list[SrvRecord]:
    """Return a list of mappings as records. Raises ValueError, which calls the list ``what``."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ValueError(f"{what} is a list of SRV records, not {values!r}")
    values = list(values)
    for value in values:
        if not isinstance(value, Mapping):
            raise ValueError(f"{what} is a list of SRV records, each a dictionary, not {value!r}")
    return [SrvRecord.from_mapping(value) for value in values]


@dataclass(frozen=True)
class Unanswered:
    """A domain for which DNS gave no useful answer: the server that was asked ("": none), the outcome, and why."""

    domain: str
    nameserver: str
    outcome: str
    error: str

    @property
    def denies(self) -> bool:
        """Whether DNS did answer, with the target "." by which a domain has decidedly no such service (RFC 2782)."""
        return self.outcome == Outcome.NOT_AVAILABLE.value

    def as_dict(self) -> dict[str, str]:
        """Return it as it stands in a list beside records; ``split_answers`` reads it back."""
        return asdict(self)


def split_answers(values: Any) -> tuple[Any, list[Unanswered]]:
    """Return what of a list is meant to be records, as it is, and the domains that were not answered."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        return values, []
    records: list[Any] = []
    unanswered: list[Unanswered] = []
    for value in values:
        if isinstance(value, Mapping) and "error" in value:
            fields = (str(value.get(name) or "") for name in ("domain", "nameserver", "outcome", "error"))
            unanswered.append(Unanswered(*fields))
        else:
            records.append(value)
    return records, unanswered


def not_answered_at_all(records: Iterable[Mapping[str, Any]], unanswered: Iterable[Unanswered]) -> list[Unanswered]:
    """Return what of ``unanswered`` is about domains of which no server has told wholly, where several were asked.

    Records then carry the ``nameserver`` that they came from. One that is down leaves nothing open that another told.
    """
    unanswered = list(unanswered)
    partly = {(item.domain, item.nameserver) for item in unanswered}
    told = {(str(record.get("domain")), str(record.get("nameserver") or "")) for record in records}
    answered = {domain for domain, server in told - partly if server}
    return [item for item in unanswered if item.domain not in answered]


def addresses_of(records: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the addresses by target, of the records of which DNS told them: none for a name that has none."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.get("addresses") is not None:
            known = found.setdefault(str(record["target"]), [])
            known += [address for address in record["addresses"] if address not in known]
    return found


def by_nameserver(values: Any) -> dict[str, list[SrvRecord]]:
    """Return the records of each name server; those that tell none belong to "". Raises ValueError."""
    values = list(values) if isinstance(values, Iterable) and not isinstance(values, (str, Mapping)) else values
    groups: dict[str, list[SrvRecord]] = {}
    for value, record in zip(values, records_of(values), strict=True):
        groups.setdefault(str(value.get("nameserver") or ""), []).append(record)
    return groups


def findings_of(values: Any, wanted: Any) -> Iterator[tuple[str, Finding]]:
    """Yield how records differ from the wanted ones, with the name server concerned.

    A server is judged in the domains that it has records of; a domain that no server has records of, once.
    Raises ValueError.
    """
    wants = records_of(wanted, "wanted")
    groups = by_nameserver(values)
    for domain in sorted({want.domain for want in wants}):
        own = [want for want in wants if want.domain == domain]
        asked = {server: records for server, records in groups.items() if any(r.domain == domain for r in records)}
        for server, records in (asked or {"": []}).items():
            for finding in explain(records, own):
                yield server, finding
