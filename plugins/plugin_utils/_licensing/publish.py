# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entries of DnsDomainPublishList: in which DNS domains a KMS host publishes itself, and how.

Each string of that REG_MULTI_SZ value reads ``domain, priority, weight``; priority and weight may be left out and are
then 0 in the SRV record (Volume Activation Technical Reference, registry settings). One form is written, many are read.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

#: SRV priority and weight are 16-bit numbers (RFC 2782).
SRV_NUMBER_MAX = 0xFFFF

#: RFC 1035 2.3.4: 63 octets a label, 255 a name on the wire, which leaves 253 characters.
_LABEL_MAX = 63
_DOMAIN_MAX = 253

#: Letters, digits, inner hyphens (RFC 1123 2.1); the underscore is in use in Active Directory's names.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")


class PublishError(ValueError):
    """A publish entry or list that cannot be; the text names the entry and what is wrong with it."""


@dataclasses.dataclass(frozen=True, order=True)
class PublishEntry:
    """One domain to publish in. Lower priority is asked first; weight shares the load within one priority."""

    domain: str
    priority: int = 0
    weight: int = 0
    #: Only of an entry read from a machine: ``domain`` then holds the whole string, as it stands there.
    malformed: bool = False


def parse_entry(text: str) -> PublishEntry:
    """Read ``domain[,priority[,weight]]`` with any blanks and case; raise PublishError if it is something else."""
    domain, *numbers = (part.strip() for part in text.split(","))
    if len(numbers) > 2:
        raise PublishError(f"publish entry {text!r} has more than the three parts: domain, priority, weight")
    priority, weight = (*numbers, *("0", "0")[len(numbers) :])
    return PublishEntry(_domain(domain), _number(priority, "priority", text), _number(weight, "weight", text))


def format_entry(entry: PublishEntry) -> str:
    """The one form that is written and shown: ``domain, priority, weight``."""
    return entry.domain if entry.malformed else f"{entry.domain}, {entry.priority}, {entry.weight}"


def parse_list(texts: c.Iterable[str]) -> tuple[PublishEntry, ...]:
    """The value as a machine holds it. It never fails: an entry that cannot be read is kept as malformed."""
    return tuple(_read(text) for text in texts if text.strip())


def normalise(entries: c.Iterable[str | c.Mapping[str, t.Any] | PublishEntry]) -> tuple[PublishEntry, ...]:
    """What a user wants published, in the order given; a mapping has ``domain``, perhaps ``priority`` and ``weight``.

    Raise PublishError for an entry that cannot be and for a domain named twice: which of the two would Windows take?
    """
    result: dict[str, PublishEntry] = {}
    for entry in map(_wanted, entries):
        if entry.domain in result:
            raise PublishError(f"domain {entry.domain} is in the publish list more than once")
        result[entry.domain] = entry
    return tuple(result.values())


def same_list(left: c.Iterable[PublishEntry], right: c.Iterable[PublishEntry]) -> bool:
    """Whether two lists publish the same.

    Order is ignored: each entry makes a record in a zone of its own, and SRV records are ordered by priority and
    weight alone (RFC 2782). Repetition is not ignored: a list that names a domain twice is to be mended.
    """
    return sorted(left) == sorted(right)


def _read(text: str) -> PublishEntry:
    try:
        return parse_entry(text)
    except PublishError:
        return PublishEntry(text.strip(), malformed=True)


def _wanted(entry: str | c.Mapping[str, t.Any] | PublishEntry) -> PublishEntry:
    if isinstance(entry, str):
        return parse_entry(entry)
    if isinstance(entry, PublishEntry):
        entry = dataclasses.asdict(entry)
    if not isinstance(entry, c.Mapping):
        raise PublishError(f"publish entry {entry!r} is neither a text nor a mapping with a domain")
    given = {"domain": "", "priority": 0, "weight": 0} | {
        name: value for name, value in entry.items() if value is not None
    }
    priority, weight = (_number(given[name], name, str(dict(entry))) for name in ("priority", "weight"))
    return PublishEntry(_domain(str(given["domain"])), priority, weight)


def _number(value: t.Any, name: str, entry: str) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit()) or int(text) > SRV_NUMBER_MAX:
        raise PublishError(
            f"{name} {text!r} of publish entry {entry!r} is not a whole number from 0 to {SRV_NUMBER_MAX}"
        )
    return int(text)


def _domain(text: str) -> str:
    """The domain in lower case, without the final dot, international labels in their ASCII form (RFC 3490)."""
    name = text.strip().lower().removesuffix(".")
    if not name:
        raise PublishError("a publish entry names no domain")
    name = ".".join(_ascii_label(label, text) for label in name.split("."))
    if len(name) > _DOMAIN_MAX:
        raise PublishError(f"domain {text!r} is longer than {_DOMAIN_MAX} characters")
    return name


def _ascii_label(label: str, domain: str) -> str:
    if not label.isascii():
        try:
            label = label.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise PublishError(f"domain {domain!r} has a label that has no ASCII form: {error}") from None
    if len(label) > _LABEL_MAX:
        raise PublishError(f"domain {domain!r} has a label of more than {_LABEL_MAX} characters")
    if not _LABEL.fullmatch(label):
        raise PublishError(f"domain {domain!r} is not a DNS name: letters, digits, hyphens and dots only")
    return label
