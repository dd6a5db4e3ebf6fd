# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The seam between the wire and the machines: CIM classes, instances and errors.

The WS-Management server (``lab.wsman``) knows nothing of Windows licensing, and the simulated machines
(``lab.windows``) know nothing of XML or HTTP. They meet in the small vocabulary of this module.
"""

from __future__ import annotations

import dataclasses
import functools
import typing as t

#: Values as the machines hold them: datetimes are ``datetime.datetime`` with a time zone, arrays are lists.
CimValue = t.Any


@dataclasses.dataclass(frozen=True)
class Property:
    """A property of a class, or a parameter of a method.

    ``type`` is the CIM name: ``string``, ``boolean``, ``datetime``, ``uint8`` ... ``sint64``, ``real64``.
    """

    name: str
    type: str = "string"
    array: bool = False
    key: bool = False
    required: bool = False


@dataclasses.dataclass(frozen=True)
class Method:
    """A method; ``returns`` is False for the few that return no value at all (void)."""

    name: str
    inputs: tuple[Property, ...] = ()
    outputs: tuple[Property, ...] = ()
    static: bool = False
    returns: bool = True


@dataclasses.dataclass(frozen=True)
class CimClass:
    """A class of a namespace, for instance ``Win32_Service`` in ``root/cimv2``. Names keep Microsoft's case."""

    namespace: str
    name: str
    properties: tuple[Property, ...]
    methods: tuple[Method, ...] = ()
    singleton: bool = False

    @property
    def keys(self) -> tuple[Property, ...]:
        return tuple(prop for prop in self.properties if prop.key)

    @functools.cached_property
    def alphabetical(self) -> tuple[Property, ...]:
        """The properties in the order of their names, whatever their case."""
        return tuple(sorted(self.properties, key=lambda prop: prop.name.lower()))

    def find_property(self, name: str) -> Property | None:
        """The property of that name; CIM names are not case-sensitive."""
        return next((prop for prop in self.properties if prop.name.lower() == name.lower()), None)

    def find_method(self, name: str) -> Method | None:
        return next((method for method in self.methods if method.name.lower() == name.lower()), None)


@dataclasses.dataclass(frozen=True)
class Instance:
    """A snapshot of one instance; a property that is absent or None is null."""

    cim_class: CimClass
    values: t.Mapping[str, CimValue]


class CimError(Exception):
    """What a provider or WMI itself answers instead of a result; ``code`` is the unsigned HRESULT."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(f"0x{code:08X} {text}".rstrip())
        self.code = code & 0xFFFFFFFF
        self.text = text


class Repository(t.Protocol):
    """What a machine offers to the WS-Management server. Reads are snapshots; only ``invoke``, ``modify`` and
    ``delete`` may change the machine, and the wire counts them as writes (see ``is_write``)."""

    def find_namespace(self, namespace: str) -> bool:
        """Whether the namespace (``root/cimv2``, any case) exists on this machine."""

    def find_class(self, namespace: str, name: str) -> CimClass | None:
        """The class as this machine's generation of Windows has it, or None."""

    def instances(self, cim_class: CimClass) -> t.Sequence[Instance]:
        """All instances of the class."""

    async def invoke(
        self,
        cim_class: CimClass,
        instance: Instance | None,
        method: Method,
        arguments: t.Mapping[str, CimValue],
    ) -> dict[str, CimValue]:
        """Run a method; ``instance`` is None for a static one. Arguments are typed as the class says.

        Returns the out parameters and ``ReturnValue``; raises CimError for what Windows answers with a fault.
        """

    async def modify(self, cim_class: CimClass, instance: Instance, changes: t.Mapping[str, CimValue]) -> Instance:
        """Put: change these properties and return the new snapshot."""

    async def delete(self, cim_class: CimClass, instance: Instance) -> None:
        """Delete the instance."""

    def is_write(self, cim_class: CimClass, method: Method) -> bool:
        """Whether calling the method counts as a write (StdRegProv's getters do not, and so on)."""
