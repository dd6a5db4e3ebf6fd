# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of a machine, or why nothing could be read."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Reading:
    """One machine. ``kms`` is that part of a module's result; where it is empty ``problem`` says why."""

    name: str
    kms: c.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    problem: str = ""

    def products(self, role: str) -> list[c.Mapping[str, t.Any]]:
        """The machine's products of a role, such as kms_host; add-on licences are none of them."""
        return [p for p in self.kms.get("products") or () if p.get("role") == role and not p.get("is_addon")]


def reading_of(name: str, result: t.Any) -> Reading:
    """Return what a registered result of M(fleetops.kms.info) tells."""
    if not isinstance(result, c.Mapping):
        return Reading(name, problem="it was left out, because it failed or could not be reached earlier in this run")
    kms = result.get("kms")
    if isinstance(kms, c.Mapping):
        return Reading(name, kms=kms)
    message = " ".join(str(result.get("msg") or "no reason was given").split())
    return Reading(name, problem=message)
