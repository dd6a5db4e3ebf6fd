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
from .session import Session

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
        return Outcome(plan, before, before, plan.changes, verified=None if plan.steps else True)
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
    verified = False if missing else (True if len(provable) == len(attempted) else None)
    return Outcome(
        plan,
        before,
        after,
        made,
        verified=verified,
        restarted=_restarted(done),
        pending=session.pending,
        answered_count=session.answered_count,
        failure=failure,
    )


def _outcome_of_failure(
    session: Session, plan: Plan, before: Machine, done: tuple[Step, ...], failure: Failure
) -> Outcome:
    """What was changed before the failure: told by the machine if it can still be asked, else by what it accepted."""
    accepted = [step.change for step in done if step.change is not None and not _is_pending(session, step.change)]
    try:
        after = session.machine if isinstance(failure.error, AuthenticationError) else session.read_again()
    except Exception:
        return Outcome(
            plan, before, before, tuple(accepted), verified=None, failure=failure, restarted=_restarted(done)
        )
    shown = tuple(
        change
        for change in plan.changes
        if (change.is_shown_by(after) and not change.is_shown_by(before))
        or (change.proof is Proof.NONE and change in accepted)
    )
    return Outcome(plan, before, after, shown, verified=False, failure=failure, restarted=_restarted(done))


def _is_pending(session: Session, change: Change) -> bool:
    return session.pending is not None and change.setting == "activated"


def _restarted(done: tuple[Step, ...]) -> bool:
    kinds = [type(step.operation) for step in done]
    return StopSoftwareProtection in kinds and StartSoftwareProtection in kinds
