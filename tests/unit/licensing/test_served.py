# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a KMS host served, counted from its events."""

from __future__ import annotations

import datetime

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.served import served_clients
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event

CORP = "corp.example.com"


def served(hour: int, *fields: str) -> Event:
    time = datetime.datetime(2026, 3, 2, hour, tzinfo=datetime.timezone.utc)
    return Event("Key Management Service", 12290, time, fields)


def test_who_was_served_is_counted_by_machine() -> None:
    events = [
        served(1, "0x0", "25", "PC2.Corp.example.com"),
        served(2, "0x0", "25", f"pc1.{CORP}", "id"),
        served(3, "0x0", "25", f"pc2.{CORP}.", "id"),
        served(4, "0x0", "25"),
        served(4, "0x0", "25", ""),
    ]
    found = [(row.name, row.requests, row.last.hour if row.last else None) for row in served_clients(events)]
    assert found == [(f"pc2.{CORP}", 2, 3), (f"pc1.{CORP}", 1, 2)]
