# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A product activated, online or by telephone (slmgr /ato /dti /atp)."""

from __future__ import annotations

import dataclasses

from .changes import Change, Plan, Proof, Step, Target
from .machine import Machine
from .operations import Activate, DepositConfirmation
from .plan_key import activation_change
from .reader import Needs
from .refusal import Refusal

_TOKEN = 3


@dataclasses.dataclass(frozen=True)
class DesiredActivation:
    """The wish; ``force`` activates even what is licensed (it may use up an activation of the key)."""

    target: Target = Target()
    force: bool = False
    confirmation_id: str = dataclasses.field(default="", repr=False)


def needs_of(desired: DesiredActivation) -> Needs:
    """Return what is to be read of a machine before this wish can be planned."""
    return Needs()


def plan_activation(machine: Machine, desired: DesiredActivation) -> Plan:
    """One activation, or nothing for a licensed product."""
    product = desired.target.require(machine)
    if product.activation_type_enabled == _TOKEN:
        raise Refusal(
            f"{product.name} is set to token-based activation only; set activation_type of fleetops.kms.client first."
        )
    if product.is_licensed and not desired.force:
        return Plan()
    target = Target(desired.target.application, product.id)
    change = activation_change(target)
    if product.is_licensed:
        # That it is licensed proves nothing: it was before.
        change = Change("activated", True, True, change.read, Proof.NONE, after_note="again")
    if desired.confirmation_id:
        return Plan(steps=(Step(DepositConfirmation(target, desired.confirmation_id), change),))
    return Plan(steps=(Step(Activate(target, force=desired.force), change),))
