# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulk work in rising batches: how large each is, what came of it, and whether to go on. Outcomes are data."""

from __future__ import annotations

import collections
import collections.abc as c
import dataclasses
import enum
import math
import re
import typing as t

#: One machine, then shares of all of them.
RISING: tuple[int | str, ...] = (1, "5%", "20%", "100%")

#: So many machines are named for each reason in what people read; data has them all.
NAMED = 5


def batch_sizes(total: int, steps: c.Sequence[t.Any] = RISING) -> list[int]:
    """Return the sizes of the batches of so many machines, which add up to ``total``.

    A step is a number of machines or a share of all of them such as "5%", rounded up; the last one repeats itself.
    Raises ValueError for a step that is neither, or none at all.
    """
    if not steps:
        raise ValueError("there is to be at least one batch, such as 1 or '20%'")
    wanted = [_size(total, step) for step in steps]
    sizes: list[int] = []
    left = total
    while left > 0:
        size = min(left, wanted[min(len(sizes), len(wanted) - 1)])
        sizes.append(size)
        left -= size
    return sizes


def _size(total: int, step: t.Any) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(step))
    number = float(match[1]) if match and not isinstance(step, bool) else 0
    if match is None or number <= 0 or (match[2] and number > 100) or (not match[2] and "." in match[1]):
        raise ValueError(f"{step!r} is no size of a batch: give a number of machines or a share such as 20%")
    return max(1, math.ceil(total * number / 100)) if match[2] else int(number)


class State(enum.Enum):
    """What came of one machine."""

    CONVERTED = "converted"
    #: There was nothing (more) to change.
    SETTLED = "settled"
    #: It has another host key, which was not to be removed.
    STAYS_HOST = "stays_host"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


#: States of machines about which somebody has to do something.
TROUBLE = (State.STAYS_HOST, State.FAILED, State.UNREACHABLE)


@dataclasses.dataclass(frozen=True)
class Done:
    """One machine that had its turn."""

    machine: str
    state: State
    text: str = ""


def why_stop(done: c.Sequence[Done], batch: c.Sequence[Done], max_fail_percentage: float) -> str:
    """Return why not to go on after a batch, "" to go on; ``done`` are all machines so far, the batch included.

    Machines that could not be reached tell nothing about the conversion and do not count, unless a batch of several has
    nobody else: then the way to the machines is broken. 0 percent stops at the first failure.
    """
    if len(batch) > 1 and all(one.state is State.UNREACHABLE for one in batch):
        return f"none of the {len(batch)} machines of the last batch could be reached"
    tried = [one for one in done if one.state is not State.UNREACHABLE]
    failed = sum(one.state is State.FAILED for one in tried)
    if failed and failed * 100 > max_fail_percentage * len(tried):
        return (
            f"{failed} of {len(tried)} machines failed, which is more than {max_fail_percentage:g} %"
            " (kms_convert_max_fail_percentage)"
        )
    return ""


def why_stop_removal(
    values: c.Collection[c.Mapping[str, t.Any]],
    left: c.Collection[c.Mapping[str, t.Any]],
    failed: c.Collection[str],
    *,
    is_first: bool,
) -> str:
    """Return why not to go on after the records of a batch were to be removed, "" to go on.

    ``values`` were to go, ``left`` of them are not proven gone, and in the domains ``failed`` the removal failed.
    Without it every further machine would leave clients a name behind that answers them no more.
    """
    domains = {str(value["domain"]) for value in values}
    if domains and domains <= set(failed):
        return f"the records could be removed from none of the domains of the last batch ({named(sorted(domains))})"
    if is_first and left:
        return "the records of the first batch are not gone from DNS"
    return ""


def progress(done: c.Sequence[Done], total: int, seconds: float, *, goes_on: bool = True) -> str:
    """Return one line for people: how far it is after so many seconds, and how long it may still take if it goes on."""
    counts = collections.Counter(one.state for one in done)
    parts = [
        f"{counts[State.CONVERTED]} turned into clients",
        *(f"{counts[state]} {words}" for state, words in _OTHER_WORDS.items() if counts[state]),
    ]
    left = total - len(done)
    is_ahead = goes_on and done and left
    ahead = f"about {duration(seconds / len(done) * left)} left" if is_ahead else f"took {duration(seconds)}"
    return f"{len(done)} of {total} machines: {', '.join(parts)}; {ahead}"


_OTHER_WORDS = {
    State.SETTLED: "were so already",
    State.STAYS_HOST: "with a host key of Office left",
    State.FAILED: "failed",
    State.UNREACHABLE: "could not be reached",
}


def duration(seconds: float) -> str:
    """Return a duration in words, as exact as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def by_reason(pairs: c.Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each reason of pairs (machine, reason), the commonest first, with the first of its machines.

    A reason that names its machine, or the address at which it was tried, is the same as that of another machine.
    """
    reasons: dict[str, list[tuple[str, str]]] = {}
    for machine, reason in pairs:
        plain = reason.replace(machine, "the machine") if machine else reason
        reasons.setdefault(_ADDRESS.sub("its address", plain), []).append((machine, reason))
    return [
        f"{named([machine for machine, _own in found])}: {found[0][1] if len(found) == 1 else reason}"
        for reason, found in sorted(reasons.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


#: The address of an endpoint within a sentence.
_ADDRESS = re.compile(r"https?://\S+?(?=[:,.]?(?:\s|$))")


def named(machines: c.Sequence[str]) -> str:
    """Return the first machines by their names, and how many more there are."""
    more = f" and {len(machines) - NAMED} more" if len(machines) > NAMED else ""
    return ", ".join(machines[:NAMED]) + more
