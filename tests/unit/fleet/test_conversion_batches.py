# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rising batches: their sizes, when to stop, and what people are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.batches import (
    Done,
    State,
    batch_sizes,
    by_reason,
    progress,
    why_stop,
    why_stop_removal,
)


@pytest.mark.parametrize(
    ("total", "steps", "sizes"),
    [
        (2000, [1, "5%", "20%", "100%"], [1, 100, 400, 1499]),
        (6, [1, "5%", "20%", "100%"], [1, 1, 2, 2]),
        (5, [2], [2, 2, 1]),
        (3, ["100%"], [3]),
        (0, [1], []),
        (250, ["0.4%", 100], [1, 100, 100, 49]),
    ],
)
def test_sizes(total: int, steps: list[int | str], sizes: list[int]) -> None:
    assert batch_sizes(total, steps) == sizes


@given(
    st.integers(0, 5000), st.lists(st.one_of(st.integers(1, 50), st.sampled_from(["1%", "33%", "100%"])), min_size=1)
)
def test_every_machine_has_one_turn(total: int, steps: list[int | str]) -> None:
    sizes = batch_sizes(total, steps)
    assert sum(sizes) == total
    assert all(size > 0 for size in sizes)


@pytest.mark.parametrize("steps", [[], [0], ["0%"], ["101%"], ["-1"], ["all"], [1.5], [True], [None]])
def test_what_is_no_size_is_refused(steps: list[object]) -> None:
    with pytest.raises(ValueError, match=r"batch"):
        batch_sizes(10, steps)


def some(state: State, count: int, text: str = "") -> list[Done]:
    return [Done(f"{state.value}{number}.example.com", state, text) for number in range(count)]


@pytest.mark.parametrize(
    ("before", "batch", "limit", "stops"),
    [
        ([], some(State.FAILED, 1), 10, True),  # the canary
        ([], some(State.UNREACHABLE, 1), 10, False),  # a dead canary says nothing
        (some(State.CONVERTED, 1), some(State.UNREACHABLE, 2), 100, True),  # the way to the machines is broken
        (some(State.CONVERTED, 8), [*some(State.FAILED, 1), *some(State.CONVERTED, 1)], 10, False),
        (some(State.CONVERTED, 7), [*some(State.FAILED, 1), *some(State.CONVERTED, 1)], 10, True),
        (some(State.CONVERTED, 9), [*some(State.FAILED, 1), *some(State.UNREACHABLE, 9)], 10, False),
        (some(State.CONVERTED, 99), some(State.FAILED, 1), 0, True),
        ([], some(State.FAILED, 5), 100, False),
        ([], some(State.STAYS_HOST, 5), 0, False),
        ([], [], 0, False),
    ],
)
def test_when_to_stop(before: list[Done], batch: list[Done], limit: float, stops: bool) -> None:
    assert bool(why_stop([*before, *batch], batch, limit)) is stops


@pytest.mark.parametrize(
    ("left", "failed", "is_first", "stops"),
    [
        ([], [], True, False),
        ([0], [], True, True),  # the canary has shown that nothing goes
        ([0], ["a.example"], False, False),
        ([0, 1], ["a.example", "b.example"], False, True),
        ([], ["other.example"], True, False),
    ],
)
def test_when_records_that_stay_stop_the_run(left: list[int], failed: list[str], is_first: bool, stops: bool) -> None:
    values = [{"domain": f"{name}.example", "target": "web07.a.example"} for name in "ab"]
    found = why_stop_removal(values, [values[index] for index in left], failed, is_first=is_first)
    assert bool(found) is stops
    assert why_stop_removal([], [], [], is_first=True) == ""


def test_progress_estimates_what_is_left_from_what_was_done() -> None:
    done = [*some(State.CONVERTED, 45), *some(State.FAILED, 3), *some(State.UNREACHABLE, 2)]
    line = progress(done, 200, 120.0)
    assert line.startswith("50 of 200 machines: 45 turned into clients")
    assert "3 failed" in line
    assert "2 could not be reached" in line
    assert line.endswith("about 6 min left")
    assert progress(done, 50, 50.0).endswith("took 50 s")
    assert progress(done, 200, 120.0, goes_on=False).endswith("took 2 min")


def test_the_same_reason_is_told_once_with_the_first_of_its_machines() -> None:
    pairs = [(f"pc{number}", f"Connecting failed on pc{number}: refused") for number in range(7)]
    assert by_reason([*pairs, ("web", "Activating failed on web")]) == [
        "pc0, pc1, pc2, pc3, pc4 and 2 more: Connecting failed on the machine: refused",
        "web: Activating failed on web",
    ]
    tried = [(f"pc{n}", f"no connection to http://192.0.2.{n}:5985/wsman: refused. See the machine.") for n in range(3)]
    assert by_reason(tried) == ["pc0, pc1, pc2: no connection to its address: refused. See the machine."]
    assert by_reason(tried[:1]) == ["pc0: no connection to http://192.0.2.0:5985/wsman: refused. See the machine."]
