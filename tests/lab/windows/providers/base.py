# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all providers share."""

from __future__ import annotations

import inspect
import typing as t

from lab.cim import CimClass, CimError, CimValue, Instance, Method

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine

#: A uint32 that does not apply (MSDN "SoftwareLicensingService").
NOT_APPLICABLE = 0xFFFFFFFF

WBEM_FAILED = 0x80041001
WBEM_NOT_SUPPORTED = 0x8004100C
WBEM_INVALID_METHOD = 0x8004102E
WBEM_INVALID_PARAMETER = 0x80041008
WBEM_READ_ONLY = 0x80041023

Handler = t.Callable[..., t.Any]


class Provider:
    """One class of one machine, made for the moment of a call.

    A method ``Foo`` of the class is served by a Python method ``do_foo(instance, **arguments)`` whose arguments are
    the CIM names in lower case; it returns None (ReturnValue 0), a number (ReturnValue) or a dictionary.
    """

    def __init__(self, machine: Machine, cim_class: CimClass) -> None:
        self.machine = machine
        self.cim_class = cim_class

    def make(self, values: t.Mapping[str, CimValue]) -> Instance:
        """An instance with the properties that this build of Windows has, no others."""
        return Instance(self.cim_class, {p.name: values.get(p.name) for p in self.cim_class.properties})

    def instances(self) -> list[Instance]:
        return []

    async def invoke(
        self, instance: Instance | None, method: Method, arguments: t.Mapping[str, CimValue]
    ) -> dict[str, CimValue]:
        handler: Handler | None = getattr(self, f"do_{method.name.lower()}", None)
        if handler is None:
            raise CimError(WBEM_NOT_SUPPORTED, f"{self.cim_class.name}.{method.name} is not simulated")
        given = {name.lower(): value for name, value in arguments.items()}
        wanted = {prop.name.lower(): given.get(prop.name.lower()) for prop in method.inputs}
        result = handler(instance, **wanted)
        if inspect.isawaitable(result):
            result = await result
        outputs = result if isinstance(result, dict) else {"ReturnValue": result or 0}
        return {"ReturnValue": 0, **outputs}

    def modify(self, instance: Instance, changes: t.Mapping[str, CimValue]) -> Instance:
        raise CimError(WBEM_READ_ONLY, f"{self.cim_class.name} cannot be changed by Put")

    def delete(self, _instance: Instance) -> None:
        """DeleteInstance."""
        raise CimError(WBEM_NOT_SUPPORTED, f"instances of {self.cim_class.name} cannot be deleted")
