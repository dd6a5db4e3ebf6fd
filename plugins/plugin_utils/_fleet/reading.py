# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of a machine, or why nothing could be read."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re
import typing as t

#: How a machine was not read.
NOT_READ = "could not be read"
NOT_REACHED = "cannot be reached"
FAILED_BEFORE = "left out after it failed earlier in this run"

#: The address of one machine, as messages have it.
_ADDRESS = re.compile(r"https?://\S+?(?=[:,.]?(?:\s|$))")


@dataclasses.dataclass(frozen=True)
class Reading:
    """One machine. ``kms`` is that part of a module's result; where it is empty ``problem`` and ``state`` say why."""

    name: str
    kms: c.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    problem: str = ""
    state: str = NOT_READ

    @property
    def cause(self) -> str:
        """The problem without what is of this machine alone, so that machines with the same trouble say the same."""
        text = _ADDRESS.sub("its address", self.problem)
        text = text.removeprefix(f"Connecting failed on {self.name}: ").removesuffix(" Nothing was changed.")
        return text.replace(f" on {self.name}", "").replace(self.name, "the machine")

    def products(self, role: str) -> list[c.Mapping[str, t.Any]]:
        """The machine's products of a role, such as kms_host; add-on licences are none of them."""
        return [p for p in self.kms.get("products") or () if p.get("role") == role and not p.get("is_addon")]


def reading_of(name: str, result: t.Any, earlier: c.Iterable[t.Any] = ()) -> Reading:
    """Return what a registered result of M(fleetops.kms.info) tells.

    ``earlier`` are the results of what the run did before: a machine that failed there is left out of all that follows.
    """
    if not isinstance(result, c.Mapping):
        failed = next((one for one in earlier if _has_failed(one)), None)
        if failed is None:
            return Reading(name, problem="it failed or could not be reached earlier in this run", state=NOT_READ)
        state = NOT_REACHED if failed.get("unreachable") else FAILED_BEFORE
        return Reading(name, problem=_message(failed), state=state)
    kms = result.get("kms")
    if isinstance(kms, c.Mapping):
        return Reading(name, kms=kms)
    return Reading(name, problem=_message(result), state=NOT_REACHED if result.get("unreachable") else NOT_READ)


def _has_failed(result: t.Any) -> bool:
    return isinstance(result, c.Mapping) and bool(result.get("failed") or result.get("unreachable"))


def _message(result: c.Mapping[str, t.Any]) -> str:
    return " ".join(str(result.get("msg") or "no reason was given").split())
