# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as a CIM repository: finds the classes of its build and hands calls to their providers."""

from __future__ import annotations

import typing as t

from lab import cim
from lab.windows import schema
from lab.windows.providers import PROVIDERS
from lab.windows.providers.base import Provider

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine

_NONE: frozenset[str] = frozenset()
_DNS_SERVER = frozenset({"dns_server"})


class MachineRepository:
    """``lab.cim.Repository`` of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    @property
    def _features(self) -> frozenset[str]:
        """The roles that bring classes of their own."""
        return _DNS_SERVER if self._machine.dns_server is not None else _NONE

    def _provider(self, cim_class: cim.CimClass) -> Provider:
        return PROVIDERS[cim_class.name](self._machine, cim_class)

    def find_namespace(self, namespace: str) -> bool:
        return schema.has_namespace(namespace, self._machine.generation.build, self._features)

    def find_class(self, namespace: str, name: str) -> cim.CimClass | None:
        catalogue = schema.catalogue(self._machine.generation.build, self._features)
        return catalogue.get((namespace.replace("\\", "/").lower(), name.lower()))

    def instances(self, cim_class: cim.CimClass) -> t.Sequence[cim.Instance]:
        return self._provider(cim_class).instances()

    async def invoke(
        self,
        cim_class: cim.CimClass,
        instance: cim.Instance | None,
        method: cim.Method,
        arguments: t.Mapping[str, cim.CimValue],
    ) -> dict[str, cim.CimValue]:
        result = await self._provider(cim_class).invoke(instance, method, arguments)
        self._after(method.name if self.is_write(cim_class, method) else "", method.name)
        return result

    async def modify(
        self, cim_class: cim.CimClass, instance: cim.Instance, changes: t.Mapping[str, cim.CimValue]
    ) -> cim.Instance:
        result = self._provider(cim_class).modify(instance, changes)
        self._after("Put", "Put")
        return result

    async def delete(self, cim_class: cim.CimClass, instance: cim.Instance) -> None:
        self._provider(cim_class).delete(instance)
        self._after("Delete", "Delete")

    def is_write(self, cim_class: cim.CimClass, method: cim.Method) -> bool:
        return schema.is_write(cim_class, method)

    def _after(self, write: str, method: str) -> None:
        """Tell the world, and die where the fleet file asks for it."""
        machine = self._machine
        if write:
            machine.world.changed(machine)
            if machine.die_after_writes is not None:
                machine.die_after_writes -= 1
        if machine.die_after_writes == 0 or (machine.die_on_method and machine.die_on_method == method):
            machine.die_after_writes, machine.die_on_method = None, ""
            machine.powered = False
