# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names in DNS are those of approved KMS hosts."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass

from .records import normalise_name

#: What a glob is made of, beside the characters of a name.
_WILDCARDS = re.compile(r"\[[^\]]*\]|[*?\[\]!]")


@dataclass(frozen=True)
class ApprovedHosts:
    """Names and globs (shell patterns, such as ``kms*.corp.example.com``) of the KMS hosts that may be there.

    Make it by ``of``. Membership is asked by ``in``: of a name in any case, with or without its final dot.
    """

    patterns: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[str]) -> ApprovedHosts:
        """Return the approval that names and globs express.

        Raises ValueError for none at all, and for a glob that would approve any machine: then no rogue could be told.
        """
        found = tuple(dict.fromkeys(_pattern(text) for text in patterns))
        if not found:
            raise ValueError("no KMS host is approved: name them in kms_approved_hosts, or declare the group kms_hosts")
        return cls(found)

    def __contains__(self, name: object) -> bool:
        text = spelled(name)
        return bool(text) and any(fnmatch.fnmatchcase(text, pattern) for pattern in self.patterns)


def _pattern(text: str) -> str:
    pattern = str(text).strip().lower().rstrip(".")
    if not re.search(r"[a-z0-9]", _WILDCARDS.sub("", pattern)):
        raise ValueError(f"{text!r} approves any machine: name a host, or give a glob with some letters of a name")
    if _WILDCARDS.search(pattern):
        return pattern
    name = normalise_name(pattern)
    if "." not in name:
        raise ValueError(
            f"{text!r} is not a fully qualified name: approved hosts are told by the name they have in DNS"
        )
    return name


def spelled(name: object) -> str:
    """Return a name from a machine in the spelling of DNS; text that is no name is only put in lower case."""
    text = str(name or "").strip()
    try:
        return normalise_name(text) if text else ""
    except ValueError:
        return text.lower()
