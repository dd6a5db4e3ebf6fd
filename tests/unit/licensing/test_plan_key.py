# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A product key installed or removed, and an activation by itself."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Plan, Proof, Target
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import (
    Activate,
    DepositConfirmation,
    InstallKey,
    ServiceMethod,
    UninstallKey,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_activation import (
    DesiredActivation,
    plan_activation,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_key import DesiredKey, plan_key
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal

from .machines import GVLK_2019, GVLK_2022, HOST_KEY, OFFICE_ID, machine, product

OFFICE = product("Volume:GVLK", "WFG99", product_id="office-1", application_id=OFFICE_ID)
OTHER_OFFICE = product("Volume:GVLK", "DRTFM", product_id="office-2", application_id=OFFICE_ID)


def kinds(plan: Plan) -> list[type]:
    return [type(step.operation) for step in plan.steps]


def test_a_key_that_is_there_is_not_installed_again() -> None:
    assert plan_key(machine(product()), DesiredKey(ProductKey(GVLK_2022))).steps == ()
    assert plan_key(machine(product()), DesiredKey("client_setup")).steps == ()


def test_another_key_takes_its_place() -> None:
    plan = plan_key(machine(product()), DesiredKey(ProductKey(GVLK_2019)))
    assert kinds(plan) == [InstallKey]
    assert [(item.before, item.after) for item in plan.changes] == [("*****-VMK7H", "*****-J464C")]


def test_a_host_key_is_never_replaced_in_passing() -> None:
    host = machine(product("Volume:CSVLK", "NGGGG"))
    for key in ("client_setup", ProductKey("BBBBB-CCCCC-DDDDD-FFFFF-NHHHH")):
        with pytest.raises(Refusal, match="convert_host"):
            plan_key(host, DesiredKey(key))


def test_an_activated_licence_that_is_given_up_is_said() -> None:
    assert "mak" in plan_key(machine(product("Volume:MAK", "XXXXX")), DesiredKey("client_setup")).warnings[0]
    assert not plan_key(machine(product("Volume:MAK", "XXXXX", status=5)), DesiredKey("client_setup")).warnings


@pytest.mark.parametrize(
    ("wish", "removed"),
    [
        (DesiredKey(present=False), "Application.WINDOWS"),
        (DesiredKey(present=False, target=Target(Application.OFFICE, "office-2")), "office-2"),
        (DesiredKey(ProductKey("JNRGM-WHDWX-FJJG3-K47QV-DRTFM"), present=False), "office-2"),
    ],
)
def test_one_key_is_removed_and_no_other(wish: DesiredKey, removed: str) -> None:
    plan = plan_key(machine(product(), OFFICE, OTHER_OFFICE), wish)
    (operation,) = [step.operation for step in plan.steps if isinstance(step.operation, UninstallKey)]
    assert removed in (operation.target.activation_id, str(operation.target.application))


def test_which_of_several_keys_is_to_go_is_not_guessed() -> None:
    wish = DesiredKey(present=False, target=Target(Application.OFFICE))
    with pytest.raises(Refusal, match="office-1.*office-2"):
        plan_key(machine(product(), OFFICE, OTHER_OFFICE), wish)


def test_a_key_that_is_not_there_needs_no_removing() -> None:
    assert plan_key(machine(), DesiredKey(present=False)).steps == ()
    assert plan_key(machine(product()), DesiredKey(ProductKey(HOST_KEY), present=False)).steps == ()


def test_the_copy_in_the_registry_cannot_be_read_back() -> None:
    plan = plan_key(machine(product()), DesiredKey(clear_from_registry=True))
    assert kinds(plan) == [ServiceMethod]
    assert [item.proof for item in plan.changes] == [Proof.NONE]


def test_a_licensed_product_is_activated_only_by_force() -> None:
    licensed = machine(product())
    assert plan_activation(licensed, DesiredActivation()).steps == ()
    forced = plan_activation(licensed, DesiredActivation(force=True))
    assert kinds(forced) == [Activate]
    # It was licensed before: that it still is proves nothing.
    assert [item.proof for item in forced.changes] == [Proof.NONE]


def test_with_a_confirmation_id_the_activation_is_offline() -> None:
    plan = plan_activation(machine(product(status=5)), DesiredActivation(confirmation_id="123456"))
    assert kinds(plan) == [DepositConfirmation]
    assert "123456" not in repr(plan)


@pytest.mark.parametrize(
    ("now", "words"),
    [(machine(), "product key"), (machine(product(status=5, VLActivationTypeEnabled=3)), "token")],
)
def test_what_cannot_be_activated_is_refused(now: t.Any, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        plan_activation(now, DesiredActivation())
