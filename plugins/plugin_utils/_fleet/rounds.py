# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked again: clients that a KMS host turned down because it has not counted enough of them yet."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.codes import SL_E_VL_NOT_ENOUGH_COUNT, describe
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import BELOW_THRESHOLD

#: So many machines a host must have counted before it answers a client, and a server (Microsoft, "KMS activation
#: planning").
CLIENT_THRESHOLD = 25
SERVER_THRESHOLD = 5


@dataclasses.dataclass(frozen=True)
class Round:
    """The clients that wait after a round, each with the count that its KMS host answered with (None: not told)."""

    waiting: c.Mapping[str, int | None]

    @classmethod
    def of(cls, results: c.Mapping[str, t.Any]) -> Round:
        """Make it of registered results by machine; what failed or was not asked does not wait."""
        found = {name: result for name, result in results.items() if isinstance(result, c.Mapping)}
        return cls(
            {
                name: result.get("answered_count")
                for name, result in found.items()
                if result.get("pending") == BELOW_THRESHOLD
            }
        )

    @property
    def highest(self) -> int | None:
        """The highest count that was answered."""
        return max((count for count in self.waiting.values() if count is not None), default=None)


def is_worth_another(now: Round, before: Round | None) -> bool:
    """Whether asking again may help: someone waits, and since the round before a count rose or fewer wait."""
    if not now.waiting:
        return False
    if before is None or len(now.waiting) < len(before.waiting):
        return True
    return any(
        count is not None and (before.waiting.get(name) is None or count > t.cast(int, before.waiting[name]))
        for name, count in now.waiting.items()
    )


def summary(now: Round, asked: int) -> str:
    """Return one sentence on who still waits; empty when nobody does."""
    if not now.waiting:
        return ""
    count = f", the highest count answered is {now.highest}" if now.highest is not None else ""
    return (
        f"{len(now.waiting)} of {asked} clients wait, because their KMS host is below its threshold"
        f" ({describe(SL_E_VL_NOT_ENOUGH_COUNT).hex}){count}."
        f" A host needs {CLIENT_THRESHOLD} clients, or {SERVER_THRESHOLD} servers, before it answers."
        " Clients ask again by themselves, every two hours unless their host says otherwise."
    )
