# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan is made of: changes (what a person is told) and steps (the calls that make them)."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from .channels import Application
from .machine import Machine, Product
from .refusal import Refusal

if t.TYPE_CHECKING:
    from .session import Session


class Proof(enum.Enum):
    """When the machine shows that a change was made."""

    AT_ONCE = "at once"
    AFTER_RESTART = "after the restart"
    NONE = "not provable"


@dataclasses.dataclass(frozen=True)
class Change:
    """One setting that becomes another value. ``read`` tells the setting's value on a machine.

    The notes stand in a diff beside the values; they are not part of what is compared.
    """

    setting: str
    before: t.Any
    after: t.Any
    read: t.Callable[[Machine], t.Any] = dataclasses.field(compare=False, repr=False)
    proof: Proof = Proof.AT_ONCE
    before_note: str = dataclasses.field(default="", compare=False)
    after_note: str = dataclasses.field(default="", compare=False)

    def is_shown_by(self, machine: Machine) -> bool:
        return bool(self.read(machine) == self.after)


class Operation(t.Protocol):
    """One thing that is done to a machine; ``description`` reads as the subject of "... failed"."""

    @property
    def description(self) -> str: ...

    def perform(self, session: Session) -> None: ...


@dataclasses.dataclass(frozen=True)
class Step:
    """An operation, and the change that is made when it has been done."""

    operation: Operation
    change: Change | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The steps in their order. An empty plan means that there is nothing to do."""

    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    #: sppsvc is restarted by the plan / would have to be, but the user withheld it.
    restarts: bool = False
    restart_withheld: bool = False

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(step.change for step in self.steps if step.change is not None)


@dataclasses.dataclass(frozen=True)
class Target:
    """The product that is meant: by activation ID, by the key it has (about to be installed), or the one keyed
    product of an application."""

    application: Application = Application.WINDOWS
    activation_id: str = ""
    partial_product_key: str = ""

    def find(self, machine: Machine) -> Product | None:
        """The product on this machine, or None; raises Refusal where several could be meant."""
        if self.activation_id:
            return machine.product_by_id(self.activation_id)
        if self.partial_product_key:
            return machine.product_by_key(self.partial_product_key)
        found = machine.products_of(self.application)
        if self.application is Application.WINDOWS:
            return machine.windows
        if len(found) > 1:
            listed = "; ".join(f"{item.id} ({item.name}, *****-{item.partial_product_key})" for item in found)
            raise Refusal(
                f"Several {self.application.value} products have a key here, so activation_id must name one: {listed}."
            )
        return found[0] if found else None

    def require(self, machine: Machine) -> Product:
        """The product on this machine; raises Refusal when there is none."""
        product = self.find(machine)
        if product is None:
            wanted = f"with the activation ID {self.activation_id}" if self.activation_id else self.application.value
            raise Refusal(f"No keyed product {wanted} was found on this machine. Install a product key first.")
        return product
