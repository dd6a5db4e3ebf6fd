# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a machine leaves the role of a KMS host, so that a run that dies in the middle can go on.

The machine itself is the journal. Publishing goes off before the key (the methods for it refuse once the key is gone,
and a service that restarts would publish again). KeyManagementServiceVersion stays until all else is done: as long as
it is there, the restart, the clean-up or the activation is due. The publish list stays until the records that it tells
of are gone from DNS: nobody withdraws them but us (Microsoft, "KMS host replacement").
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import RegistryValue

from .changes import Change, Proof, Step
from .machine import Machine, Product
from .operations import ServiceMethod, StopSoftwareProtection, WriteFirewallRules, WriteValue
from .publish import format_entry
from .reader import HOST_VERSION, HOST_VERSION_32, PUBLISH_LIST, Needs
from .refusal import Refusal
from .settings import host_setting, is_fixed_host

#: Values of a KMS host that mean nothing on a client: deleted while the service is stopped.
_LEFTOVERS = tuple(
    host_setting(option).value for option in ("low_cpu_priority", "activation_interval", "renewal_interval")
)
_LISTENING_PORT = host_setting("listening_port").value
_MARKS = (HOST_VERSION, HOST_VERSION_32)

CONVERSION_NEEDS = Needs(fqdn=True, publish_list=True, firewall=True, registry=(*_MARKS, _LISTENING_PORT, *_LEFTOVERS))


@dataclasses.dataclass(frozen=True)
class Leaving:
    """Whether this machine leaves the host role now, or has left it and must be cleaned up after."""

    machine: Machine
    is_host: bool = False
    #: Nothing of the role stays: no other product has a host key.
    ends: bool = False
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, machine: Machine, *products: Product | None, wanted: bool) -> Leaving:
        """``products`` are those whose host keys are to go (or went)."""
        if not wanted:
            return cls(machine)
        leaving = [product for product in products if product is not None]
        others = [item for item in machine.host_products if item.id not in {product.id for product in leaving}]
        is_host = any(product.is_kms_host for product in leaving)
        if not others:
            return cls(machine, is_host, ends=True)
        listed = ", ".join(f"{item.name} (*****-{item.partial_product_key}, {item.id})" for item in others)
        warning = (
            f"This machine stays a KMS host: {listed}. Its publishing, port and firewall rule are left alone; convert"
            " that product by its activation_id, too, if it is to be a host no longer."
        )
        return cls(machine, is_host, warnings=(warning,))

    def before_key(self) -> list[Step]:
        """Publishing off and the port cleared, while the service is stopped. Installing the key starts it again."""
        if not (self.is_host and self.ends):
            return []
        writes = [*self._publishing_off(), *self._deletions(_LISTENING_PORT)]
        if not self.machine.registry.get(HOST_VERSION):
            writes.append(Step(WriteValue(HOST_VERSION, self.machine.version)))
        return [Step(StopSoftwareProtection()), *writes] if writes else []

    def after_key(self) -> list[Step]:
        """The restart after which the host part answers no more, and what a client has no use for.

        The next licensing call starts the service again; reading the machine at the end of a run is one.
        """
        if not self.ends:
            return []
        values = _LEFTOVERS if self.is_host else (_LISTENING_PORT, *_LEFTOVERS)
        deletions = self._deletions(*values)
        steps: list[Step] = []
        if self.is_marked or deletions:
            steps = [Step(StopSoftwareProtection()), *deletions]
        return steps + self._close_firewall()

    @property
    def is_marked(self) -> bool:
        """Whether a run that left the host role has not come to its end."""
        return self.ends and (self.is_host or any(self.machine.registry.get(value) for value in _MARKS))

    def finish(self) -> list[Step]:
        """The mark goes last, after the activation: until then the next run has something to go on with."""
        if not self.is_marked:
            return []
        found = [value for value in _MARKS if value is HOST_VERSION or self.machine.registry.get(value)]
        return [Step(WriteValue(value, None)) for value in found]

    @property
    def transient(self) -> str:
        """The KMS host to which a run that died while it activated has left the client fixed, "" for none.

        Against which host that run activated is not known here: it may have been another one than this run's.
        """
        return is_fixed_host(self.machine) if self.is_marked and not self.is_host else ""

    def clear_transient(self, settings: t.Mapping[str, t.Any]) -> list[Step]:
        """Take that host away, its port included, as far as ``settings`` (of the machine) do not say what is to be."""
        change = Change("server", self.transient, "", is_fixed_host)
        rows = (
            (not settings.get("server"), "ClearKeyManagementServiceMachine", change),
            ("port" not in settings, "ClearKeyManagementServicePort", None),
        )
        return [
            Step(ServiceMethod("Clearing the KMS host of an activation that was interrupted", method), item)
            for is_due, method, item in rows
            if is_due and self.transient
        ]

    def _publishing_off(self) -> list[Step]:
        row = host_setting("dns_publishing")
        if not row.read(self.machine):
            return []
        return [Step(WriteValue(row.value, 1), Change(row.option, True, False, row.read, Proof.AFTER_RESTART))]

    def _deletions(self, *values: RegistryValue) -> list[Step]:
        found = {value: self.machine.registry.get(value) for value in values}
        return [_deletion(value, data) for value, data in found.items() if data is not None]

    def _close_firewall(self) -> list[Step]:
        before = self.machine.firewall_rules or ()
        after = tuple(rule.closed() for rule in before)
        if before == after:
            return []

        def read(now: Machine) -> list[str]:
            return [str(rule) for rule in now.firewall_rules or ()]

        change = Change("firewall", [str(rule) for rule in before], [str(rule) for rule in after], read)
        return [Step(WriteFirewallRules(before, after), change)]


def clear_publish_list(machine: Machine, leaving: Leaving) -> list[Step]:
    """The journal closed: only on a machine that is (or is about to be) no KMS host."""
    if machine.host_products and not (leaving.is_host and leaving.ends):
        raise Refusal("clear_publish_list: this machine is a KMS host, whose publish list fleetops.kms.host sets.")
    if not machine.publish_list:
        return []
    before = [format_entry(entry) for entry in machine.publish_list]
    change = Change("publish_list", before, [], lambda now: [format_entry(e) for e in now.publish_list or ()])
    return [Step(WriteValue(PUBLISH_LIST, None), change)]


def published_as(machine: Machine) -> list[dict[str, str]]:
    """Where this machine published itself as a KMS host: its list, and always its own domain, with its own name.

    Microsoft's texts disagree on whether the own domain is published in when there is a list.
    """
    target = machine.fqdn or ""
    listed = [entry.domain for entry in machine.publish_list or () if not entry.malformed]
    domains = dict.fromkeys([*listed, target.partition(".")[2]])
    return [{"domain": domain, "target": target} for domain in domains if domain]


def _deletion(value: RegistryValue, before: str | int) -> Step:
    change = Change(value.name, before, None, lambda now: now.registry.get(value))
    return Step(WriteValue(value, None), change)
