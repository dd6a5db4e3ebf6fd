# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said about a run comes from reading the machine again, not from what was attempted."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Change, Plan, Proof, Step
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Outcome, run
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import Machine
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault, TransportError

from .machines import machine


class FakeSession:
    """A machine whose only settings are properties of its service."""

    def __init__(self, **values: t.Any) -> None:
        self.values = values
        self.pending: str | None = None
        self.answered_count: int | None = None
        self.notes: list[str] = []
        self.is_connected = True
        self.reads = 0
        self.machine = self.read_again()

    def read_again(self) -> Machine:
        if not self.is_connected:
            raise TransportError("gone")
        self.reads += 1
        self.machine = machine(**self.values)
        return self.machine


@dataclasses.dataclass(frozen=True)
class Write:
    """Sets a property, or only pretends to; may fail before or after it has."""

    name: str
    value: t.Any
    pretends: bool = False
    raises: Exception | None = None
    loses_connection: bool = False
    description: str = "Writing"

    def perform(self, session: t.Any) -> None:
        if self.raises is not None and not self.loses_connection:
            raise self.raises
        if not self.pretends:
            session.values[self.name] = self.value
        if self.loses_connection:
            session.is_connected = False
            raise self.raises or TransportError("lost")


def change(name: str, before: t.Any, after: t.Any, proof: Proof = Proof.AT_ONCE) -> Change:
    return Change(name, before, after, lambda now: now.service.get(name), proof)


def step(name: str, before: t.Any, after: t.Any, proof: Proof = Proof.AT_ONCE, **how: t.Any) -> Step:
    return Step(Write(name, after, **how), change(name, before, after, proof))


def execute(session: FakeSession, *steps: Step, check_mode: bool = False) -> Outcome:
    return run(t.cast(t.Any, session), lambda now: Plan(steps=steps), check_mode=check_mode)


def made(outcome: Outcome) -> list[str]:
    return [item.setting for item in outcome.changes]


def test_an_empty_plan_reads_once_and_is_verified() -> None:
    session = FakeSession()
    outcome = execute(session)
    assert (outcome.changes, outcome.verified, session.reads) == ((), True, 1)


def test_check_mode_tells_the_plan_and_sends_nothing() -> None:
    session = FakeSession(A=1)
    outcome = execute(session, step("A", 1, 2), check_mode=True)
    assert made(outcome) == ["A"] and outcome.verified is None
    assert session.values == {"A": 1} and session.reads == 1


def test_a_change_that_the_machine_shows_is_verified() -> None:
    outcome = execute(FakeSession(A=1, B=1), step("A", 1, 2), step("B", 1, 3))
    assert made(outcome) == ["A", "B"] and outcome.verified is True and outcome.failure is None


def test_a_change_that_was_accepted_but_is_not_shown_fails() -> None:
    outcome = execute(FakeSession(A=1, B=1), step("A", 1, 2, pretends=True), step("B", 1, 3))
    assert made(outcome) == ["B"] and outcome.verified is False
    assert outcome.failure is not None and "A is 1, not 2" in str(outcome.failure.error)


def test_what_cannot_be_proven_is_neither_true_nor_false() -> None:
    outcome = execute(FakeSession(A=1), step("A", 1, 2, Proof.NONE, pretends=True))
    assert made(outcome) == ["A"] and outcome.verified is None and outcome.failure is None


def test_a_failing_call_stops_the_run_and_what_was_done_is_told() -> None:
    session = FakeSession(A=1, B=1, C=1)
    fault = CimFault(0xC004F050)
    outcome = execute(session, step("A", 1, 2), step("B", 1, 2, raises=fault), step("C", 1, 2))
    assert made(outcome) == ["A"]
    assert outcome.failure is not None and outcome.failure.error is fault and not outcome.failure.is_unreachable
    assert session.values["C"] == 1


def test_a_call_that_failed_but_was_done_is_told_as_done() -> None:
    """The machine is asked, not the call."""

    @dataclasses.dataclass(frozen=True)
    class DoneButFailed(Write):
        def perform(self, session: t.Any) -> None:
            super().perform(session)
            raise CimFault(0x80338029)

    outcome = execute(FakeSession(A=1), Step(DoneButFailed("A", 2), change("A", 1, 2)))
    assert made(outcome) == ["A"] and outcome.failure is not None


def test_a_connection_lost_after_a_write_is_unreachable_and_keeps_its_changes() -> None:
    outcome = execute(FakeSession(A=1, B=1), step("A", 1, 2), step("B", 1, 2, loses_connection=True))
    assert made(outcome) == ["A"]
    assert outcome.failure is not None and outcome.failure.is_unreachable
    assert outcome.verified is None
    assert [item.setting for item in outcome.uncertain] == ["B"]


def test_what_was_refused_for_certain_is_not_uncertain() -> None:
    lost = TransportError("refused", sent=False)
    outcome = execute(FakeSession(A=1), step("A", 1, 2, loses_connection=True, raises=lost))
    assert outcome.uncertain == () and outcome.failure is not None


def test_check_mode_tells_a_restart_that_comes_with_no_change() -> None:
    session = FakeSession(A=1)
    plan = Plan(steps=(Step(Write("A", 1)),), restarts=True)
    outcome = run(t.cast(t.Any, session), lambda now: plan, check_mode=True)
    assert outcome.restarted and outcome.changes == ()


def test_a_pending_activation_is_no_change_and_no_failure() -> None:
    @dataclasses.dataclass(frozen=True)
    class Waits(Write):
        def perform(self, session: t.Any) -> None:
            session.pending = "below_threshold"
            session.answered_count = 17

    activated = Change("activated", False, True, lambda now: False)
    outcome = execute(FakeSession(A=1), step("A", 1, 2), Step(Waits("x", None), activated))
    assert made(outcome) == ["A"] and outcome.failure is None and outcome.verified is None
    assert (outcome.pending, outcome.answered_count) == ("below_threshold", 17)


def test_a_refusal_is_raised_before_anything_is_sent() -> None:
    session = FakeSession(A=1)

    def refuse(now: Machine) -> Plan:
        raise Refusal("no")

    with pytest.raises(Refusal):
        run(t.cast(t.Any, session), refuse, check_mode=False)
    assert session.values == {"A": 1}
