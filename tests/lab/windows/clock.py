# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet's clock: real time or a fixed start, moved forward by ``advance``."""

from __future__ import annotations

import datetime as dt

MINUTE = dt.timedelta(minutes=1)
DAY = dt.timedelta(days=1)


class Clock:
    """Time of the fleet in UTC. Without ``start`` it runs with real time; with it, it stands still between advances."""

    def __init__(self, start: dt.datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            start = start.replace(tzinfo=dt.timezone.utc)
        self._start = start
        self._offset = dt.timedelta()

    def now(self) -> dt.datetime:
        return (self._start or dt.datetime.now(dt.timezone.utc)) + self._offset

    def advance_to(self, moment: dt.datetime) -> None:
        """Move forward to a moment; a moment in the past changes nothing."""
        self._offset += max(moment - self.now(), dt.timedelta())
