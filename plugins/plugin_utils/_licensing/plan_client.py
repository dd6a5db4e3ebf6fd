# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a machine a KMS client (slmgr /ipk /skms /ckms /skms-domain /skhc /ckhc /act-type /ato)."""

from __future__ import annotations

import dataclasses
import typing as t

from .changes import Change, Plan, Step, Target
from .channels import ActivationType, Application, Channel, activation_type_enabled
from .conversion import CONVERSION_NEEDS, Leaving, clear_publish_list
from .editions import fallback_key, refuse_evaluation
from .keys import ProductKey
from .machine import WINDOWS_8_BUILD, Machine, Product, number, text
from .operations import (
    Activate,
    ActivateAgainst,
    InstallKey,
    ProductMethod,
    ServiceMethod,
    StopSoftwareProtection,
)
from .plan_key import (
    CLIENT_SETUP,
    activation_change,
    key_change,
    published_client_key,
    refuse_other_application,
    uninstall_step,
)
from .reader import Needs
from .refusal import Refusal
from .settings import CLIENT_SETTINGS, ClientSetting, fixed_host_of, is_fixed_host

KEEP = "keep"

#: Channels whose activated licence is worth something: given up only when the user lists them.
REPLACEABLE = (Channel.MAK, Channel.RETAIL, Channel.OEM, Channel.AVMA, Channel.SUBSCRIPTION)
#: Channels that lose nothing by another key.
_WORTHLESS = (Channel.KMS_CLIENT, Channel.KMS_HOST, Channel.UNLICENSED)
CLOUD_KMS = "cloud_kms"
#: The KMS hosts that clouds offer to their own virtual machines, by their public documentation (Azure, Google, AWS).
CLOUD_KMS_HOSTS = (
    "kms.core.windows.net",
    "azkms.core.windows.net",
    "kms.windows.googlecloud.com",
    "169.254.169.250",
    "169.254.169.251",
)


@dataclasses.dataclass(frozen=True)
class DesiredClient:
    """The wish; ``product_key`` is a key, ``client_setup`` or ``keep``; settings that are absent stay as they are."""

    product_key: ProductKey | str = CLIENT_SETUP
    target: Target = Target()
    settings: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    activate: bool = True
    replace: frozenset[str] = frozenset()
    convert_host: bool = False
    #: The products of Office whose host keys go, all at once; with ``convert_host``, and in place of a target.
    host_keys: frozenset[str] = frozenset()
    #: Name (or address) and port of the KMS host to activate against, once; it is not kept.
    activate_against: tuple[str, int] | None = None
    clear_publish_list: bool = False
    #: The machine that is meant, by its own name: "" for one that has no full name, None for whichever is reached.
    expected_fqdn: str | None = None


def needs_of(desired: DesiredClient) -> Needs:
    """Return what is to be read of a machine before this wish can be planned."""
    if desired.convert_host:
        return dataclasses.replace(CONVERSION_NEEDS, edition=True)
    with_name = desired.clear_publish_list or desired.expected_fqdn is not None
    return Needs(edition=True, fqdn=with_name, publish_list=desired.clear_publish_list)


def plan_client(machine: Machine, desired: DesiredClient) -> Plan:
    """Key first, then the settings of the product that it brings, then the activation.

    With ``convert_host`` the host role is left around that, see ``conversion``. Raises Refusal when the machine would
    lose something that the user did not offer: a licence or the host role.
    """
    _refuse_old(machine)
    _refuse_other_machine(machine, desired)
    if desired.host_keys or _only_tidies(machine, desired):
        return _plan_removal(machine, desired)
    product = _current_product(machine, desired)
    _refuse_host(desired, product)
    key = _wanted_key(machine, desired, product)
    if product is not None and key is not None and product.partial_product_key == key.partial:
        key = None  # it is there
    if key is not None:
        refuse_other_application(key, desired.target.application)
    _refuse_loss(machine, desired, product, key)
    _refuse_token(desired, product, installs=key is not None)

    uninstalls = key is None and product is not None and product.is_kms_host
    leaving = Leaving.of(machine, product, wanted=desired.convert_host)
    target = desired.target if product is None else Target(desired.target.application, product.id)
    steps: list[Step] = leaving.before_key()
    if key is not None:
        steps.append(_key_step(machine, desired, product, key, leaving))
        target = Target(desired.target.application, partial_product_key=key.partial)
    elif uninstalls:
        steps.append(uninstall_step(target, product, keeps_mark=leaving.ends))
    steps += leaving.after_key()
    transient = _clear_transient(desired, leaving)
    steps += transient
    if not uninstalls:
        cleared = {step.change.setting for step in transient if step.change is not None}
        steps += [
            step
            for step in _setting_steps(machine, desired, None if key is not None else product, target)
            if step.change is None or step.change.setting not in cleared
        ]
        steps += _activation_steps(desired, product, key, target, _original(machine, desired, bool(transient)))
    steps += leaving.finish()
    if desired.clear_publish_list:
        steps += clear_publish_list(machine, leaving)
    return Plan(
        steps=tuple(steps),
        warnings=(*_warnings(machine, desired, product), *leaving.warnings),
        restarts=_restarts(steps),
    )


def _only_tidies(machine: Machine, desired: DesiredClient) -> bool:
    """Whether nothing is wished of a licence: what a KMS host leaves behind goes, whatever key the machine has.

    A host of Office alone may have any Windows, one with a MAK or from its maker too, which is to stay as it is.
    """
    is_wished = desired.product_key == KEEP and not desired.activate and not desired.settings
    if not is_wished or desired.target.activation_id or not (desired.convert_host or desired.clear_publish_list):
        return False
    if desired.target.application is Application.OFFICE:
        return all(product.application is not Application.OFFICE for product in machine.host_products)
    product = desired.target.find(machine)
    return product is None or product.channel not in (Channel.KMS_CLIENT, Channel.KMS_HOST)


def _plan_removal(machine: Machine, desired: DesiredClient) -> Plan:
    """Host keys of Office removed, and the role left if no other is there; one that is gone already is passed over."""
    products = [
        item
        for item in machine.host_products
        if item.application is Application.OFFICE and item.id in desired.host_keys
    ]
    leaving = Leaving.of(machine, *products, wanted=desired.convert_host)
    steps: list[Step] = leaving.before_key()
    for product in products:
        steps.append(uninstall_step(Target(Application.OFFICE, product.id), product, keeps_mark=leaving.ends))
    steps += [*leaving.after_key(), *leaving.finish()]
    if desired.clear_publish_list:
        steps += clear_publish_list(machine, leaving)
    return Plan(steps=tuple(steps), warnings=leaving.warnings, restarts=_restarts(steps))


def _restarts(steps: t.Iterable[Step]) -> bool:
    return any(isinstance(step.operation, StopSoftwareProtection) for step in steps)


def _key_step(
    machine: Machine, desired: DesiredClient, product: Product | None, key: ProductKey, leaving: Leaving
) -> Step:
    system = machine.operating_system
    refuse_evaluation(system.edition_id, system.sku, system.build)
    fallback = fallback_key(machine.windows.partial_product_key) if machine.windows else None
    operation = InstallKey(
        key,
        desired.target.application,
        expected=Channel.KMS_CLIENT,
        fallback=fallback,
        keeps_mark=leaving.is_host and leaving.ends,
    )
    return Step(operation, key_change(product, key))


def _clear_transient(desired: DesiredClient, leaving: Leaving) -> list[Step]:
    """The KMS host of the cloud is no host of an activation that was interrupted."""
    if leaving.transient in CLOUD_KMS_HOSTS and CLOUD_KMS not in desired.replace:
        return []
    return leaving.clear_transient(_machine_settings(desired))


def _machine_settings(desired: DesiredClient) -> t.Mapping[str, t.Any]:
    """The wished settings as far as they are the machine's: with an activation ID they are those of its product."""
    return {} if desired.target.activation_id else desired.settings


def _original(machine: Machine, desired: DesiredClient, was_transient: bool) -> tuple[str, int]:
    """The KMS host and port that the client has by its settings, once they are made: what an activation puts back."""
    port = number(machine.service, "KeyManagementServicePort") or 0
    server = "" if was_transient else text(machine.service, "KeyManagementServiceMachine")
    wanted = _machine_settings(desired)
    return str(wanted.get("server", server)), int(wanted.get("port", 0 if was_transient else port))


def _activation_steps(
    desired: DesiredClient,
    product: Product | None,
    key: ProductKey | None,
    target: Target,
    original: tuple[str, int],
) -> list[Step]:
    if not desired.activate or (key is None and product is not None and product.is_licensed):
        return []
    against = desired.activate_against
    operation = ActivateAgainst(target, *against, original=original) if against else Activate(target)
    return [Step(operation, activation_change(target))]


def _refuse_other_machine(machine: Machine, desired: DesiredClient) -> None:
    if desired.expected_fqdn is None:
        return
    expected, own = desired.expected_fqdn.strip().rstrip(".").lower(), machine.fqdn or ""
    if own != expected if expected else "." in own:
        meant = expected or "one without a full name"
        raise Refusal(
            f"expected_fqdn: this machine says that it is {own or 'nobody'}, not {meant}. The inventory, or the"
            " result that this was decided by, is out of date."
        )


def _refuse_old(machine: Machine) -> None:
    system = machine.operating_system
    if system.build < WINDOWS_8_BUILD:
        raise Refusal(
            f"{system.caption} (build {system.build}) can be read but not be configured by this module: it is older"
            " than Windows 8 and Windows Server 2012."
        )


def _current_product(machine: Machine, desired: DesiredClient) -> Product | None:
    if isinstance(desired.product_key, ProductKey) and desired.target == Target(Application.OFFICE):
        # A key of Office takes the place of no other: the product is the one that has it.
        return machine.product_by_key(desired.product_key.partial)
    product = desired.target.find(machine)
    if product is None and desired.target.activation_id:
        raise Refusal(f"activation_id: no product with a key has the activation ID {desired.target.activation_id}.")
    return product


def _wanted_key(machine: Machine, desired: DesiredClient, product: Product | None) -> ProductKey | None:
    """The key that the machine is to have; None keeps what is there."""
    if isinstance(desired.product_key, ProductKey):
        return desired.product_key
    if desired.convert_host and desired.target.application is Application.OFFICE and _is_host(product):
        return None  # an Office host key just goes: the Office that the machine itself may use has its own product
    if desired.product_key == KEEP:
        if desired.target.find(machine) is None:
            raise Refusal("product_key: 'keep' was given, but there is no product key on this machine to keep.")
        return None
    if desired.target.application is not Application.WINDOWS:
        raise Refusal(
            "product_key: 'client_setup' chooses the published key of a Windows edition; for Office pass the key of"
            " the installed product, or 'keep'."
        )
    return published_client_key(machine)


def _is_host(product: Product | None) -> bool:
    return product is not None and product.is_kms_host


def _refuse_host(desired: DesiredClient, product: Product | None) -> None:
    if product is not None and product.is_kms_host and not desired.convert_host:
        raise Refusal(
            f"This machine is a KMS host ({product.name}, *****-{product.partial_product_key}). It becomes a"
            " client only with convert_host: true; fleetops.kms.convert_rogues does that in good order."
        )


def _refuse_loss(machine: Machine, desired: DesiredClient, product: Product | None, key: ProductKey | None) -> None:
    installs = key is not None
    is_windows = desired.target.application is Application.WINDOWS
    if _is_host(product) and is_windows and not installs:
        raise Refusal(
            "product_key: a KMS host becomes a client only with a client key; 'keep' would keep the host key."
        )
    if product is not None and not installs and product.channel not in (Channel.KMS_CLIENT, Channel.KMS_HOST):
        raise Refusal(
            f"product_key: the key that is installed ({product.name}, *****-{product.partial_product_key}) is of the"
            f" kind {product.channel.value}, with which this machine is no KMS client."
        )
    if installs and product is not None and product.is_licensed and product.channel not in _WORTHLESS:
        _refuse_replacing(product, desired.replace)
    fixed = is_fixed_host(machine)
    leaves_cloud = installs or desired.settings.get("server") is not None
    if fixed in CLOUD_KMS_HOSTS and leaves_cloud and CLOUD_KMS not in desired.replace:
        raise Refusal(
            f"This machine is activated by the cloud's own KMS host ({fixed}). It is taken away from it only with"
            f" {_replace(CLOUD_KMS)}."
        )


def _refuse_replacing(product: Product, replace: frozenset[str]) -> None:
    channel = product.channel.value
    if channel in replace:
        return
    way = (
        f"It is given up only with {_replace(channel)}."
        if product.channel in REPLACEABLE
        else "Remove it with fleetops.kms.product_key (state: absent) if it is to go."
    )
    raise Refusal(
        f"This machine has an activated licence of the kind {channel} ({product.name}, *****-"
        f"{product.partial_product_key}). {way}"
    )


def _replace(channel: str) -> str:
    """How a licence is given up, for who runs the module and for who runs the role."""
    return f"replace: [{channel}] (kms_client_replace in the role)"


def _refuse_token(desired: DesiredClient, product: Product | None, *, installs: bool) -> None:
    """Windows (and slmgr) activate nothing online that is set to tokens only."""
    allowed = product.activation_type_enabled if product is not None and not installs else 0
    present = activation_type_enabled(allowed)
    wanted = desired.settings.get("activation_type", present.value if present else None)
    if desired.activate and wanted == ActivationType.TOKEN.value:
        raise Refusal(
            "activation_type: a product that is set to token-based activation only cannot be activated by KMS. Choose"
            " another activation_type, or set activate: false."
        )


def _setting_steps(machine: Machine, desired: DesiredClient, product: Product | None, target: Target) -> list[Step]:
    """The settings that differ. ``product`` is None when a new key is about to bring a product without settings."""
    steps = []
    for row in CLIENT_SETTINGS:
        if row.option not in desired.settings:
            continue
        by_product = row.per_product == "always" or (
            row.per_product == "optional" and bool(desired.target.activation_id)
        )
        step = _setting_step(machine, row, desired.settings[row.option], product, target if by_product else None)
        if step is not None:
            steps.append(step)
    return steps


def _setting_step(
    machine: Machine, row: ClientSetting, value: t.Any, product: Product | None, target: Target | None
) -> Step | None:
    def read(now: Machine) -> t.Any:
        found = target.find(now) if target is not None else None
        instance = found.instance if found is not None else now.service
        return row.decode(instance.get(row.property))

    wanted = row.normalise(value)
    clears = bool(row.clear) and wanted == row.cleared
    before = row.cleared if target is not None and product is None else read(machine)
    if before == wanted:
        return None
    method = row.clear if clears else row.method
    arguments = {} if clears else {row.argument: row.encode(wanted)}
    description = f"{'Clearing' if clears else 'Setting'} {row.option}"
    change = Change(row.option, before, wanted, read)
    if target is not None:
        return Step(ProductMethod(description, target, method, arguments), change)
    return Step(ServiceMethod(description, method, arguments), change)


def _warnings(machine: Machine, desired: DesiredClient, product: Product | None) -> tuple[str, ...]:
    warnings = []
    fixed = desired.settings.get("server", is_fixed_host(machine))
    if fixed and desired.settings.get("lookup_domain"):
        warnings.append(f"lookup_domain has no effect while the client is fixed to the KMS host {fixed}.")
    own = fixed_host_of(product)
    if own and own != fixed and "server" in desired.settings and not desired.target.activation_id:
        warnings.append(
            f"{product.name if product else 'The product'} has a KMS host of its own ({own}), which wins over the"
            f" machine's. Clear it with activation_id: {product.id if product else ''} and an empty server."
        )
    return tuple(warnings)
