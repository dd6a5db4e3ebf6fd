# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events of the Windows event log, always asked for by log, code and time (Win32_NTLogEvent is slow otherwise)."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient

from .classes import LOG_EVENT

#: Who writes the events of volume activation: Microsoft-Windows-Security-SPP, on old systems the Software Licensing
#: Service. Other sources use the same numbers in the same log (volume shadow copies, for one).
_SOURCES = ("SPP", "LICENSING")

#: All that is used. ``select *`` would bring each event's message, too: long, and in the machine's language.
_COLUMNS = "EventCode, InsertionStrings, Logfile, SourceName, TimeGenerated"

#: A KMS host logs every request, many thousands in two days: only the newest are read (WMI gives them first).
MAX_EVENTS = 5000


@dataclasses.dataclass(frozen=True)
class Event:
    """One event; ``fields`` are its insertion strings, split where an old Windows keeps them in one string."""

    log: str
    code: int
    time: datetime.datetime | None
    fields: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Events:
    """Events, oldest first; ``is_cut`` when there are older ones that were not read."""

    found: tuple[Event, ...]
    is_cut: bool = False


class EventLog:
    """The event log of one machine."""

    def __init__(self, cim: CimClient) -> None:
        self._cim = cim

    def events(
        self,
        codes: t.Sequence[int],
        since: datetime.datetime,
        *,
        logs: t.Sequence[str] = ("Application",),
        limit: int = MAX_EVENTS,
    ) -> Events:
        """The licensing platform's events of these codes since then (in the machine's own time)."""
        which_log = " or ".join(f"Logfile = '{log}'" for log in logs)
        which_code = " or ".join(f"EventCode = {code:d}" for code in codes)
        wql = (
            f"select {_COLUMNS} from Win32_NTLogEvent where ({which_log}) and ({which_code})"
            f" and TimeGenerated >= '{wmi_datetime(since)}'"
        )
        rows = self._cim.query(LOG_EVENT, wql, limit=limit)
        found = [
            Event(str(row["Logfile"]), int(row["EventCode"]), row["TimeGenerated"], _fields(row["InsertionStrings"]))
            for row in rows
            if any(word in str(row["SourceName"] or "").upper() for word in _SOURCES)
        ]
        oldest = datetime.datetime.min.replace(tzinfo=datetime.timezone.utc)
        return Events(tuple(sorted(found, key=lambda event: event.time or oldest)), is_cut=len(rows) >= limit)


def wmi_datetime(moment: datetime.datetime) -> str:
    """A moment as WQL wants it: ``yyyymmddHHMMSS.ffffff+000``, here always in UTC (DSP0004 5.2.4)."""
    return moment.astimezone(datetime.timezone.utc).strftime("%Y%m%d%H%M%S.%f+000")


def _fields(strings: t.Sequence[str] | None) -> tuple[str, ...]:
    texts = [text or "" for text in strings or ()]
    if len(texts) == 1 and "," in texts[0]:
        texts = texts[0].split(",")
    return tuple(text.strip() for text in texts)
