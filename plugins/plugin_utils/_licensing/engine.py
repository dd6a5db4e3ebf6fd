# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one flow of every module: read, plan, apply, verify."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import AuthenticationError, TransportError

from .changes import Change, Operation, Plan, Proof, Step
from .machine import Machine
from .operations import NotShown, StartSoftwareProtection, StopSoftwareProtection
from .session import Session, leaves_outcome_unknown

Planner = t.Callable[[Machine], Plan]


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a run stopped: what was being done, and the exception that ended it."""

    operation: str
    error: Exception
    step: Operation | None = None

    @property
    def is_unreachable(self) -> bool:
        return isinstance(self.error, TransportError)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run found, planned and made. In check mode ``changes`` are those that a run would make."""

    plan: Plan
    before: Machine
    after: Machine
    changes: tuple[Change, ...]
    verified: bool | None
    restarted: bool = False
    #: Of these it cannot be known whether they were made: the call's outcome is unknown, and the machine is gone.
    uncertain: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    pending: str | None = None
    answered_count: int | None = None
    failure: Failure | None = None


def run(session: Session, planner: Planner, *, check_mode: bool) -> Outcome:
    """Plan from what the session has read, and apply unless in check mode.

    Raises Refusal before anything is sent; what fails later is told in the outcome.
    """
    before = session.machine
    plan = planner(before)
    if check_mode or not plan.steps:
        verified = None if plan.steps else True
        return Outcome(plan, before, before, plan.changes, verified, restarted=plan.restarts, notes=before.notes)
    return _apply(session, plan, before)


def _apply(session: Session, plan: Plan, before: Machine) -> Outcome:
    done: list[Step] = []
    failure = None
    for step in plan.steps:
        try:
            step.operation.perform(session)
        except Exception as error:  # whatever it is: what was changed so far must be told
            failure = Failure(step.operation.description, error, step.operation)
            break
        done.append(step)
    if failure is not None:
        return _outcome_of_failure(session, plan, before, tuple(done), failure)
    try:
        after = session.read_again()
    except Exception as error:
        return _outcome_of_failure(session, plan, before, tuple(done), Failure("Reading the machine again", error))
    return _outcome(session, plan, before, after, tuple(done))


def _outcome(session: Session, plan: Plan, before: Machine, after: Machine, done: tuple[Step, ...]) -> Outcome:
    attempted = [step.change for step in done if step.change is not None and not _is_pending(session, step.change)]
    provable = [change for change in attempted if change.proof is not Proof.NONE]
    missing = [change for change in provable if not change.is_shown_by(after)]
    failure = None
    if missing:
        told = "; ".join(f"{change.setting} is {change.read(after)!r}, not {change.after!r}" for change in missing)
        failure = Failure("Verifying", NotShown(f"The machine accepted the change but does not show it: {told}."))
    made = tuple(change for change in attempted if change not in missing)
    return Outcome(
        plan,
        before,
        after,
        made,
        _verified(session, attempted, provable, missing),
        notes=(*after.notes, *session.notes),
        restarted=_stopped(done),
        pending=session.pending,
        answered_count=session.answered_count,
        failure=failure,
    )


def _verified(
    session: Session, attempted: t.Sequence[Change], provable: t.Sequence[Change], missing: t.Sequence[Change]
) -> bool | None:
    if missing:
        return False
    return True if len(provable) == len(attempted) and session.pending is None else None


def _outcome_of_failure(
    session: Session, plan: Plan, before: Machine, done: tuple[Step, ...], failure: Failure
) -> Outcome:
    """What was changed before the failure: told by the machine if it can still be asked, else by what it accepted."""
    accepted = tuple(step.change for step in done if step.change is not None and not _is_pending(session, step.change))
    notes = tuple(session.notes)
    try:
        if isinstance(failure.error, AuthenticationError):
            raise failure.error
        after = session.read_again()
    except Exception:
        uncertain = _uncertain(plan, done, failure)
        return Outcome(plan, before, before, accepted, None, _started(done), uncertain, notes, failure=failure)
    shown = tuple(
        change
        for change in plan.changes
        if (change.is_shown_by(after) and not change.is_shown_by(before))
        or (change.proof is Proof.NONE and change in accepted)
    )
    return Outcome(plan, before, after, shown, False, _stopped(done), notes=notes, failure=failure)


def _uncertain(plan: Plan, done: tuple[Step, ...], failure: Failure) -> tuple[Change, ...]:
    """The change of the step that failed, if its call may have been done and nobody can be asked."""
    if failure.step is None or not leaves_outcome_unknown(failure.error):
        return ()
    failed = plan.steps[len(done)]
    return (failed.change,) if failed.change is not None else ()


def _is_pending(session: Session, change: Change) -> bool:
    return session.pending is not None and change.setting == "activated"


def _stopped(done: tuple[Step, ...]) -> bool:
    """Whether the service was restarted in a run after which the machine was read: a licensing call starts it."""
    return any(isinstance(step.operation, StopSoftwareProtection) for step in done)


def _started(done: tuple[Step, ...]) -> bool:
    """Whether the service was restarted for certain."""
    return _stopped(done) and any(isinstance(step.operation, StartSoftwareProtection) for step in done)
