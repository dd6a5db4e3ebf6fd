# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A product key installed or removed (slmgr /ipk /upk /cpky), and the changes that every plan with a key shares."""

from __future__ import annotations

import dataclasses

from .changes import Change, Plan, Proof, Step, Target
from .channels import Application, Channel
from .editions import client_setup_key, fallback_key, find_published, is_published, refuse_evaluation
from .keys import ProductKey
from .machine import Machine, Product
from .operations import InstallKey, ServiceMethod, UninstallKey
from .reader import Needs
from .refusal import Refusal

ABSENT = "absent"
CLIENT_SETUP = "client_setup"


@dataclasses.dataclass(frozen=True)
class DesiredKey:
    """The wish for one product key (or ``client_setup``); None with ``present`` leaves the key alone."""

    product_key: ProductKey | str | None = None
    present: bool = True
    target: Target = Target()
    clear_from_registry: bool = False


def needs_of(desired: DesiredKey) -> Needs:
    """Return what is to be read of a machine before this wish can be planned."""
    return Needs(edition=desired.product_key is not None)


def masked(product: Product | None) -> str:
    """The key of a product as it may be shown, or ``absent``."""
    return f"*****-{product.partial_product_key}" if product and product.partial_product_key else ABSENT


def key_change(replaced: Product | None, key: ProductKey, note: str = "") -> Change:
    """The change of a product's key; ``replaced`` is the product whose key it takes the place of."""
    before_note = (replaced.channel_name or replaced.channel.value) if replaced else ""
    return Change(
        "product_key",
        masked(replaced),
        key.masked,
        lambda now: masked(now.product_by_key(key.partial)),
        before_note=before_note,
        after_note=note,
    )


def uninstall_step(target: Target, product: Product | None, *, keeps_mark: bool = False) -> Step:
    """The key of one product removed; the target names the product by its activation ID."""
    note = (product.channel_name or product.channel.value) if product else ""
    change = Change("product_key", masked(product), ABSENT, lambda now: masked(target.find(now)), before_note=note)
    return Step(UninstallKey(target, keeps_mark), change)


def refuse_published(key: ProductKey) -> None:
    """A published client key is no host key; raises Refusal."""
    row = find_published(key.partial)
    if row is not None and is_published(key):
        raise Refusal(f"product_key: {key.masked} is the published client key of {row.name}, and no KMS host key.")


def refuse_other_application(key: ProductKey, application: Application) -> None:
    """A published key tells its application; raises Refusal when that is another one."""
    row = find_published(key.partial)
    if row is not None and is_published(key) and row.application is not application:
        raise Refusal(
            f"product_key: {key.masked} is the published client key of {row.name}, which is no {application.value}"
            f" product: set application: {row.application.value}."
        )


def replacement_warnings(machine: Machine) -> tuple[str, ...]:
    """What installing a Windows key gives up: an activated licence of a kind that is worth something."""
    product = machine.windows
    kept = (Channel.KMS_CLIENT, Channel.KMS_HOST, Channel.UNLICENSED)
    if product is None or not product.is_licensed or product.channel in kept:
        return ()
    return (
        f"The key takes the place of an activated licence of the kind {product.channel.value} ({masked(product)},"
        f" {product.name}).",
    )


def activation_change(target: Target) -> Change:
    """The change from not activated to activated: true only when the licence status says Licensed."""

    def is_activated(machine: Machine) -> bool:
        product = target.find(machine)
        return product is not None and product.is_licensed

    return Change("activated", False, True, is_activated)


def plan_key(machine: Machine, desired: DesiredKey) -> Plan:
    """Install or remove one key; raises Refusal where it is not clear which key is meant."""
    steps = _present(machine, desired) if desired.present else _absent(machine, desired)
    if desired.clear_from_registry:
        steps.append(_clear_step())
    installs = any(isinstance(step.operation, InstallKey) for step in steps)
    warns = installs and desired.target.application is Application.WINDOWS
    return Plan(steps=tuple(steps), warnings=replacement_warnings(machine) if warns else ())


def _present(machine: Machine, desired: DesiredKey) -> list[Step]:
    key = _wanted(machine, desired)
    if key is None:
        return []
    if machine.product_by_key(key.partial) is not None:
        return []
    if desired.target.application is Application.WINDOWS:
        system = machine.operating_system
        refuse_evaluation(system.edition_id, system.sku, system.build)
    refuse_other_application(key, desired.target.application)
    replaced = machine.windows if desired.target.application is Application.WINDOWS else None
    if replaced is not None and replaced.is_kms_host:
        raise Refusal(
            f"product_key: this machine is a KMS host ({replaced.name}, {masked(replaced)}). Another host key is"
            " installed with fleetops.kms.host; to make it a client use fleetops.kms.client with convert_host: true,"
            " or the playbook fleetops.kms.convert_rogues."
        )
    fallback = fallback_key(machine.windows.partial_product_key) if machine.windows else None
    return [Step(InstallKey(key, desired.target.application, fallback=fallback), key_change(replaced, key))]


def _wanted(machine: Machine, desired: DesiredKey) -> ProductKey | None:
    """The key itself, also where the published one was asked for by the word ``client_setup``."""
    if desired.product_key != CLIENT_SETUP:
        return desired.product_key if isinstance(desired.product_key, ProductKey) else None
    return published_client_key(machine)


def published_client_key(machine: Machine) -> ProductKey:
    """The client key that Microsoft publishes for this machine's Windows; raises Refusal where there is none."""
    system = machine.operating_system
    setup = client_setup_key(
        system.edition_id, system.sku, system.build, server=system.is_server, caption=system.caption
    )
    return ProductKey(setup.key)


def _absent(machine: Machine, desired: DesiredKey) -> list[Step]:
    product = _meant(machine, desired)
    if product is None:
        return []
    return [uninstall_step(Target(desired.target.application, product.id), product)]


def _meant(machine: Machine, desired: DesiredKey) -> Product | None:
    """The product whose key is to go: never guessed when the application holds several keys."""
    key = _wanted(machine, desired)
    if key is not None:
        return machine.product_by_key(key.partial)
    if not desired.target.activation_id:
        found = machine.products_of(desired.target.application)
        if len(found) > 1:
            listed = "; ".join(f"{item.id} ({item.name}, {masked(item)})" for item in found)
            raise Refusal(f"activation_id: several products have a key, name the one to remove: {listed}.")
    return desired.target.find(machine)


def _clear_step() -> Step:
    # Windows offers no way to ask whether the copy in the registry is there.
    change = Change("product_key_in_registry", "unknown", "cleared", lambda now: "unknown", Proof.NONE)
    return Step(ServiceMethod("Clearing the product key from the registry", "ClearProductKeyFromRegistry"), change)
