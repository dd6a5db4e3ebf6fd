# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients a KMS host served, told by its event log."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event

#: The fields of event 12290: HRESULT, N-policy, client, client machine ID, ... (Volume Activation Technical Reference).
_CLIENT_FIELD = 2


@dataclasses.dataclass(frozen=True)
class ServedClient:
    """One client by the name that it gave: how many requests were served, and when the last one."""

    name: str
    requests: int
    last: datetime.datetime | None


def served_clients(events: t.Iterable[Event]) -> tuple[ServedClient, ...]:
    """Return whom the events 12290 tell of, the most frequent first; ``events`` are sorted by time."""
    counts: collections.Counter[str] = collections.Counter()
    last: dict[str, datetime.datetime | None] = {}
    for event in events:
        name = event.fields[_CLIENT_FIELD].rstrip(".").lower() if len(event.fields) > _CLIENT_FIELD else ""
        if name:
            counts[name] += 1
            last[name] = event.time or last.get(name)
    return tuple(ServedClient(name, count, last[name]) for name, count in counts.most_common())
