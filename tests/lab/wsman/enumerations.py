# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open enumerations: what is left to be pulled, under a context that is new in every answer."""

from __future__ import annotations

import collections
import dataclasses
import time
import typing as t
import uuid

from . import names
from .soap_fault import SoapFault

MAX_OPEN = 100  #: enumerations that are kept per machine; the oldest is closed for a new one

T = t.TypeVar("T")


@dataclasses.dataclass
class Enumeration(t.Generic[T]):
    """Rows still to be sent, and how to write one as XML."""

    rows: collections.deque[T]
    render: t.Callable[[T], str]
    expires: float = 0.0

    def page(self, max_elements: int, max_bytes: int) -> str:
        """The XML of the next rows: at least one, then as many as fit in both limits."""
        parts: list[str] = []
        size = 0
        while self.rows and len(parts) < max_elements:
            item = self.render(self.rows[0])
            size += len(item.encode())
            if parts and size > min(names.PAGE, max_bytes):
                break
            parts.append(item)
            self.rows.popleft()
        return "".join(parts)


class Enumerations(t.Generic[T]):
    """The open enumerations of a machine; a context that was used once is never valid again."""

    def __init__(self, now: t.Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._open: dict[str, Enumeration[T]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def keep(self, enumeration: Enumeration[T]) -> str:
        """Keeps it open under a new context, which is returned."""
        now = self._now()
        self._open = {key: item for key, item in self._open.items() if item.expires > now}
        while len(self._open) >= MAX_OPEN:
            del self._open[next(iter(self._open))]
        context = f"uuid:{str(uuid.uuid4()).upper()}"
        enumeration.expires = now + names.CONTEXT_LIFETIME
        self._open[context] = enumeration
        return context

    def take(self, context: str) -> Enumeration[T]:
        """The enumeration of a context, which ends with this; raises SoapFault for an unknown or expired one."""
        enumeration = self._open.pop(context, None)
        if enumeration is None or enumeration.expires <= self._now():
            raise SoapFault(
                0x8033801B, "n:InvalidEnumerationContext", "The enumeration context is not valid.", sender=False
            )
        return enumeration
