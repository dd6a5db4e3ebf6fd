# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a machine a KMS host (slmgr /ipk /ato /sprt /sdns /cdns /spri /cpri /sai /sri and the publish list)."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import KMS_RULE_PORT

from .changes import Change, Plan, Proof, Step, Target
from .channels import Application, Channel
from .editions import fallback_key, refuse_evaluation
from .host_keys import can_host
from .keys import ProductKey
from .machine import WINDOWS_8_BUILD, Machine, Product
from .operations import (
    Activate,
    InstallKey,
    KeepHostVersion,
    StartSoftwareProtection,
    StopSoftwareProtection,
    WriteFirewallRules,
    WriteValue,
)
from .plan_key import activation_change, key_change, refuse_published, replacement_warnings
from .publish import PublishEntry, format_entry, same_list
from .reader import HOST_VERSION, PUBLISH_LIST, Needs
from .refusal import Refusal
from .settings import host_setting


@dataclasses.dataclass(frozen=True)
class DesiredHost:
    """The wish; None leaves a setting alone. ``restart`` is auto, always or never."""

    product_key: ProductKey | None = None
    application: Application = Application.WINDOWS
    activate: bool = True
    publish: tuple[PublishEntry, ...] | None = None
    settings: t.Mapping[str, int | bool] = dataclasses.field(default_factory=dict)
    firewall: bool | None = None
    restart: str = "auto"


def needs_of(desired: DesiredHost) -> Needs:
    """Return what is to be read of a machine before this wish can be planned."""
    return Needs(
        edition=True,
        fqdn=True,
        publish_list=True,
        firewall=desired.firewall is not None,
        registry=(HOST_VERSION,),
    )


def plan_host(machine: Machine, desired: DesiredHost) -> Plan:
    """The steps in their order: what the host will say in DNS first, then its key, its activation and a restart.

    Raises Refusal when the machine cannot or must not become a KMS host.
    """
    _refuse_unfit(machine, desired)
    installed = _installed_host_product(machine, desired)
    key_step = _key_step(machine, desired, installed)
    written = _registry_steps(machine, desired)
    activate_step = _activation_step(desired, installed)
    publishes_anew = key_step is not None or activate_step is not None
    withheld = desired.restart == "never"

    # A host publishes when the service starts: with its key activated, it is to say so now. The mark is written last,
    # so that a run which dies in between is seen by the next: a host without it has its restart due.
    is_due = installed is not None and not machine.registry.get(HOST_VERSION)
    restarts = publishes_anew or is_due or (desired.restart == "always" and not written)

    steps: list[Step] = []
    if written:
        steps += written if withheld else [Step(StopSoftwareProtection()), *written, Step(StartSoftwareProtection())]
    steps += _firewall_steps(machine, desired)
    if publishes_anew and not withheld and machine.registry.get(HOST_VERSION):
        steps.append(Step(WriteValue(HOST_VERSION, None)))
    steps += [step for step in (key_step, activate_step) if step is not None]
    if restarts and not withheld:
        steps += [Step(StopSoftwareProtection()), Step(StartSoftwareProtection())]
        steps += [Step(KeepHostVersion())] if publishes_anew or is_due else []
    return Plan(
        steps=tuple(steps),
        warnings=_warnings(machine, desired, key_step),
        restarts=not withheld and bool(written or restarts),
        restart_withheld=withheld and bool(written or publishes_anew),
    )


def _warnings(machine: Machine, desired: DesiredHost, key_step: Step | None) -> tuple[str, ...]:
    if key_step is None or desired.application is not Application.WINDOWS:
        return ()
    return replacement_warnings(machine)


def _refuse_unfit(machine: Machine, desired: DesiredHost) -> None:
    system = machine.operating_system
    if system.build < WINDOWS_8_BUILD:
        raise Refusal(
            f"{system.caption} (build {system.build}) can be read but not be made a KMS host by this module: it is"
            " older than Windows Server 2012."
        )
    refuse_evaluation(system.edition_id, system.sku, system.build)
    verdict = can_host(system)
    if not verdict.allowed:
        raise Refusal(verdict.reason)
    port = desired.settings.get("listening_port", host_setting("listening_port").read(machine))
    if desired.firewall and port != KMS_RULE_PORT:
        raise Refusal(
            f"firewall: the predefined Key Management Service rules are fixed to TCP port {KMS_RULE_PORT}, but the"
            f" listening port is {port}. Leave the option out (kms_host_firewall: false in the role) and open the"
            " port with a rule of your own."
        )
    if desired.firewall and machine.firewall_rules == ():
        raise Refusal(
            "firewall: this machine has no predefined Key Management Service rule (SPPSVC-In-TCP). Open TCP port"
            f" {KMS_RULE_PORT} with a rule of your own and leave the option out (kms_host_firewall: false in the role)."
        )


def _installed_host_product(machine: Machine, desired: DesiredHost) -> Product | None:
    """The host product that stays, or that the given key replaces; None when there is none yet."""
    hosts = [item for item in machine.host_products if item.application is desired.application]
    if desired.product_key is not None:
        refuse_published(desired.product_key)
        same = machine.product_by_key(desired.product_key.partial)
        if same is not None and same not in hosts:
            raise Refusal(
                f"product_key: {desired.product_key.masked} is installed already, and it is no KMS host key for"
                f" {desired.application.value} but of the kind {same.channel.value} ({same.name})."
            )
        return same
    if not hosts:
        raise Refusal(
            f"product_key: this machine has no KMS host key for {desired.application.value}, and none was given."
            " Pass the host key (CSVLK) of your volume licence agreement (kms_host_product_key in the role)."
        )
    if len(hosts) > 1:
        listed = ", ".join(f"{item.name} (*****-{item.partial_product_key})" for item in hosts)
        raise Refusal(
            f"product_key: several KMS host keys are installed ({listed}); pass the one that is meant as product_key."
        )
    return hosts[0]


def _key_step(machine: Machine, desired: DesiredHost, installed: Product | None) -> Step | None:
    if desired.product_key is None or installed is not None:
        return None
    replaced = machine.windows if desired.application is Application.WINDOWS else None
    operation = InstallKey(
        desired.product_key,
        desired.application,
        expected=Channel.KMS_HOST,
        fallback=fallback_key(machine.windows.partial_product_key) if machine.windows else None,
        keeps_mark=desired.restart != "never",
    )
    return Step(operation, key_change(replaced, desired.product_key, "host key, as given"))


def _activation_step(desired: DesiredHost, installed: Product | None) -> Step | None:
    if not desired.activate or (installed is not None and installed.is_licensed):
        return None
    target = Target(desired.application, installed.id if installed else "")
    if installed is None and desired.product_key is not None:
        target = Target(desired.application, partial_product_key=desired.product_key.partial)
    return Step(Activate(target, "the KMS host key"), activation_change(target))


def _registry_steps(machine: Machine, desired: DesiredHost) -> list[Step]:
    proof = Proof.NONE if desired.restart == "never" else Proof.AFTER_RESTART
    steps = [] if desired.publish is None else _publish_step(machine, desired.publish)
    for option, wanted in desired.settings.items():
        row = host_setting(option)
        if row.read(machine) != wanted:
            change = Change(option, row.read(machine), wanted, row.read, proof)
            steps.append(Step(WriteValue(row.value, row.encode(wanted)), change))
    return steps


def _publish_step(machine: Machine, entries: tuple[PublishEntry, ...]) -> list[Step]:
    if same_list(machine.publish_list or (), entries):
        return []
    wanted = [format_entry(entry) for entry in entries]
    change = Change("publish_list", publish_strings(machine), wanted, publish_strings)
    return [Step(WriteValue(PUBLISH_LIST, wanted), change)]


def publish_strings(machine: Machine) -> list[str]:
    """The publish list of a machine in the one form that is shown."""
    return [format_entry(entry) for entry in machine.publish_list or ()]


def _firewall_steps(machine: Machine, desired: DesiredHost) -> list[Step]:
    if desired.firewall is None or machine.firewall_rules is None:
        return []
    before = machine.firewall_rules
    after = tuple(rule.opened() if desired.firewall else rule.closed() for rule in before)
    if before == after:
        return []
    change = Change(
        "firewall",
        [str(rule) for rule in before],
        [str(rule) for rule in after],
        lambda now: [str(rule) for rule in now.firewall_rules or ()],
    )
    return [Step(WriteFirewallRules(before, after), change)]
