# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SRV record as a value: its names in one spelling, its place in the order, its share of the clients (RFC 2782)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SERVICE = "_vlmcs._tcp"
"""The service and protocol labels of the records that this collection reads (RFC 2782: _Service._Proto.Name)."""

NO_TARGET = "."
"""The target by which a domain says that it decidedly does not offer the service (RFC 2782, "Target")."""

_UINT16_MAX = 65535
_MAX_LABEL = 63

#: One octet of a name in its text form: by its number, escaped, or as it is (RFC 1035 5.1).
_OCTET = re.compile(r"\\\d{3}|\\.|.")
_MAX_NAME = 253


def normalise_name(name: str) -> str:
    """Return a DNS name in the one spelling used here: lower case, ASCII (IDNA 2003), without the final dot.

    The root, which as an SRV target means "no such service", stays ".". DNS allows any byte in a name: one that is
    escaped, as dnspython writes it, stays so.
    Raises ValueError for an empty name, an empty label, a blank, or a label or name that is too long (RFC 1035 2.3.4).
    """
    text = name.strip()
    if text == NO_TARGET:
        return NO_TARGET
    # The ideographic full stops separate labels too (RFC 3490 3.1).
    for stop in "\u3002\uff0e\uff61":
        text = text.replace(stop, ".")
    labels = [_normalise_label(label, name) for label in _labels(text)]
    result = ".".join(labels)
    if len(result) > _MAX_NAME and len(_OCTET.findall(result)) > _MAX_NAME:
        raise ValueError(f"{name!r} is no DNS name: it is longer than {_MAX_NAME} characters")
    return result


def _labels(text: str) -> list[str]:
    """Return the labels of a name, the final dot left out. A dot that is escaped ends no label."""
    labels = text.split(".")
    if "\\" in text:
        labels = [""]
        for octet in _OCTET.findall(text):
            if octet == ".":
                labels.append("")
            else:
                labels[-1] += octet
    return labels if labels[-1] or len(labels) == 1 else labels[:-1]


def _normalise_label(label: str, name: str) -> str:
    """Return one label in lower-case ASCII; ``name`` is the whole name, for the message."""
    if not label or label.split() != [label]:
        raise ValueError(f"{name!r} is no DNS name: it has an empty label or a blank")
    if label.isascii():
        encoded = label.lower()
    else:
        try:
            encoded = label.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise ValueError(f"{name!r} is no DNS name: {error}") from error
    if len(encoded) > _MAX_LABEL and len(_OCTET.findall(encoded)) > _MAX_LABEL:
        raise ValueError(f"{name!r} is no DNS name: a label is longer than {_MAX_LABEL} characters")
    return encoded


def domain_of_term(term: str, service: str = SERVICE) -> str:
    """Return the domain that ``term`` means: a domain, or the full name of the service in it. Raises ValueError."""
    name = normalise_name(term)
    domain = name[len(service) + 1 :] if name.startswith(f"{service}.") else name
    if domain == NO_TARGET or "\\" in domain:  # an escape of master files (RFC 1035 5.1), in no domain of a machine
        raise ValueError(f"{term!r} is no domain")
    return domain


@dataclass(frozen=True)
class SrvRecord:
    """One value of a domain's SRV record set. The TTL (seconds) is no part of its identity (RFC 2181 5.2)."""

    domain: str
    target: str
    port: int
    priority: int
    weight: int
    ttl: int | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", domain_of_term(self.domain))
        object.__setattr__(self, "target", normalise_name(self.target))
        for name in ("port", "priority", "weight"):
            object.__setattr__(self, name, _uint16(name, getattr(self, name)))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SrvRecord:
        """Make a record of a mapping with its fields as keys, ttl if known; other keys are ignored.

        Numbers may be decimal text. Raises ValueError for a missing key or a value out of range.
        """
        missing = [name for name in ("domain", "target", "port", "priority", "weight") if name not in values]
        if missing:
            raise ValueError(f"an SRV record needs {', '.join(missing)}: {dict(values)!r}")
        ttl = values.get("ttl")
        return cls(
            domain=str(values["domain"]),
            target=str(values["target"]),
            port=values["port"],
            priority=values["priority"],
            weight=values["weight"],
            ttl=None if ttl is None else int(ttl),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values, the TTL only when it is known."""
        known: dict[str, Any] = {
            "domain": self.domain,
            "target": self.target,
            "port": self.port,
            "priority": self.priority,
            "weight": self.weight,
        }
        return known if self.ttl is None else {**known, "ttl": self.ttl}

    @property
    def sort_key(self) -> tuple[str, int, int, str, int]:
        """The place of the record in a list that is the same at every run: heavier values first within a priority."""
        return (self.domain, self.priority, -self.weight, self.target, self.port)


def _uint16(name: str, value: Any) -> int:
    """Return ``value`` as the unsigned 16-bit number that SRV data holds. Raises ValueError."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if isinstance(value, (bool, float)) or not 0 <= number <= _UINT16_MAX:
        raise ValueError(f"{name} of an SRV record is a number from 0 to {_UINT16_MAX}, not {value!r}")
    return number


def shares(records: Sequence[SrvRecord]) -> tuple[float, ...]:
    """Return, for each record in turn, the fraction of its domain's clients that ask it first.

    Only the lowest priority of a domain is asked first; within it a record's share is its weight in the sum of the
    weights, and all are equal when every weight is zero. RFC 2782 leaves a zero beside other weights "a very small
    chance", which is 0 here. The shares of a domain sum to 1.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        groups[record.domain].append(index)
    result = [0.0] * len(records)
    for indices in groups.values():
        lowest = min(records[index].priority for index in indices)
        first = [index for index in indices if records[index].priority == lowest]
        total = sum(records[index].weight for index in first)
        for index in first:
            result[index] = records[index].weight / total if total else 1 / len(first)
    return tuple(result)
