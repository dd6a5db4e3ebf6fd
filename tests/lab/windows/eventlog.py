# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine's event logs, bounded, as Win32_NTLogEvent shows them."""

from __future__ import annotations

import collections
import datetime as dt
import typing as t

APPLICATION = "Application"
KEY_MANAGEMENT_SERVICE = "Key Management Service"
SOURCE = "Microsoft-Windows-Security-SPP"

REQUEST_SENT, RESPONSE, REQUEST_SERVED = 12288, 12289, 12290
PUBLISH_FAILED, PUBLISHED = 12293, 12294

_INFORMATION, _WARNING = 3, 2


class HResult(int):
    """A field of an event that is written in hexadecimal."""


def _text(field: t.Any) -> str:
    if isinstance(field, HResult):
        return f"0x{field:08X}"
    if isinstance(field, dt.datetime):
        return field.strftime("%Y/%m/%d %H:%M")
    return str(field)


class Event(t.NamedTuple):
    """One event. Its fields become text only when it is read: most events of a moving clock never are."""

    record: int
    logfile: str
    code: int
    time: dt.datetime
    fields: tuple[t.Any, ...]

    @property
    def strings(self) -> tuple[str, ...]:
        """The replacement strings."""
        return tuple(map(_text, self.fields))

    @property
    def event_type(self) -> int:
        """Win32_NTLogEvent.EventType: 2 warning, 3 information."""
        return _WARNING if self.code == PUBLISH_FAILED else _INFORMATION

    @property
    def identifier(self) -> int:
        """EventIdentifier: the code with the severity bits above it."""
        return self.code | (0x80000000 if self.event_type == _WARNING else 0x40000000)


class EventLog:
    """The newest events of all logs of one machine."""

    def __init__(self, size: int = 500) -> None:
        self._events: collections.deque[Event] = collections.deque(maxlen=size)
        self._next = 1

    def write(self, logfile: str, code: int, time: dt.datetime, fields: tuple[t.Any, ...]) -> None:
        self._events.append(Event(self._next, logfile, code, time, fields))
        self._next += 1

    def events(self, code: int | None = None) -> list[Event]:
        """Events, oldest first."""
        return [event for event in self._events if code is None or event.code == code]
