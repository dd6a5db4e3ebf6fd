# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HKEY_LOCAL_MACHINE values through StdRegProv (Win32 documentation, "StdRegProv class")."""

from __future__ import annotations

import dataclasses
import enum
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient

from .classes import REGISTRY
from .errors import OperationFailed, hresult_from_return_value

HKEY_LOCAL_MACHINE = 2147483650

_ERROR_FILE_NOT_FOUND = 2
#: A value of another type is answered with one of these, by provider and version; 1 also stands for a missing one.
_PERHAPS_OTHER_TYPE = (1, 13)

_TYPE_NAMES = {1: "REG_SZ", 2: "REG_EXPAND_SZ", 3: "REG_BINARY", 4: "REG_DWORD", 7: "REG_MULTI_SZ", 11: "REG_QWORD"}


class ValueType(enum.Enum):
    """Registry types as the part of the method's name that reads or writes them."""

    STRING = "String"
    MULTI_STRING = "MultiString"
    DWORD = "DWORD"

    @property
    def number(self) -> int:
        """The type's number (winnt.h)."""
        return _TYPE_NUMBERS[self]


_TYPE_NUMBERS = {ValueType.STRING: 1, ValueType.MULTI_STRING: 7, ValueType.DWORD: 4}


@dataclasses.dataclass(frozen=True)
class OtherType:
    """What is read of a value that is there, but has another type than it must have."""

    number: int

    def __str__(self) -> str:
        return f"(a value of the type {_TYPE_NAMES.get(self.number, self.number)})"


@dataclasses.dataclass(frozen=True)
class RegistryValue:
    """Where a value lives and what type it has; ``key`` is relative to HKEY_LOCAL_MACHINE."""

    key: str
    name: str
    type: ValueType

    @property
    def argument(self) -> str:
        return "uValue" if self.type is ValueType.DWORD else "sValue"


class Registry:
    """Reads and writes values of one machine."""

    def __init__(self, cim: CimClient) -> None:
        self._cim = cim

    def get(self, value: RegistryValue) -> t.Any:
        """The value (str, tuple of str or int), None when it is absent, OtherType when it is there in another type."""
        accept = (_ERROR_FILE_NOT_FOUND, *_PERHAPS_OTHER_TYPE)
        result = self._call(f"Get{value.type.value}Value", value, read_only=True, accept=accept)
        if result.return_value in _PERHAPS_OTHER_TYPE:
            number = self._types(value.key).get(value.name.lower())
            return None if number is None else OtherType(number)
        if result.return_value == _ERROR_FILE_NOT_FOUND:
            return None
        data = result.outputs.get(value.argument)
        if value.type is ValueType.MULTI_STRING:
            return tuple(item for item in (data or ()) if item is not None)
        return data

    def get_all(self, values: t.Iterable[RegistryValue], *, rare: bool = False) -> dict[RegistryValue, t.Any]:
        """Several values, each as ``get`` gives it.

        Where most are likely to be absent it is cheaper to ask first what a key has: that is done for three values of
        one key, and for two that are ``rare``.
        """
        wanted: dict[str, list[RegistryValue]] = {}
        for value in values:
            wanted.setdefault(value.key, []).append(value)
        found: dict[RegistryValue, t.Any] = {}
        for key, items in wanted.items():
            lists_first = len(items) >= (2 if rare else 3)
            types = self._listed(key) if lists_first else None
            found |= {value: self._get_listed(value, types) for value in items}
        return found

    def _get_listed(self, value: RegistryValue, types: t.Mapping[str, int] | None) -> t.Any:
        """``types`` is what the key has, None where that is not known."""
        if types is None:
            return self.get(value)
        number = types.get(value.name.lower())
        if number is None:
            return None
        return self.get(value) if number == value.type.number else OtherType(number)

    def set(self, value: RegistryValue, data: str | int | t.Sequence[str]) -> None:
        """Write the value; an empty list cannot be written (see ``delete``)."""
        self._call(f"Set{value.type.value}Value", value, {value.argument: data})

    def delete(self, value: RegistryValue) -> None:
        """Delete the value; one that is absent already is no error."""
        self._call("DeleteValue", value, accept=(1, _ERROR_FILE_NOT_FOUND))

    def text(self, value: RegistryValue) -> str:
        """The value where it is a string, else empty."""
        found = self.get(value)
        return found if isinstance(found, str) else ""

    def key_exists(self, key: str) -> bool:
        """Whether the key exists (asked by listing its values, which changes nothing)."""
        return bool(self._values_of(key).return_value == 0)

    def _types(self, key: str) -> dict[str, int]:
        """The types of a key's values, by their names in lower case."""
        return self._listed(key) or {}

    def _listed(self, key: str) -> dict[str, int] | None:
        """The types of a key's values, by their names in lower case; None where the machine does not tell them."""
        result = self._values_of(key)
        names, types = result.outputs.get("sNames") or (), result.outputs.get("Types") or ()
        if result.return_value == _ERROR_FILE_NOT_FOUND:
            return {}
        if result.return_value or len(names) != len(types):
            return None
        return {str(name).lower(): int(number) for name, number in zip(names, types, strict=True)}

    def _values_of(self, key: str) -> t.Any:
        arguments = {"hDefKey": HKEY_LOCAL_MACHINE, "sSubKeyName": key}
        return self._cim.invoke(REGISTRY, "EnumValues", arguments, read_only=True)

    def _call(
        self,
        method: str,
        value: RegistryValue,
        extra: t.Mapping[str, t.Any] | None = None,
        *,
        read_only: bool = False,
        accept: tuple[int, ...] = (),
    ) -> t.Any:
        arguments = {
            "hDefKey": HKEY_LOCAL_MACHINE,
            "sSubKeyName": value.key,
            "sValueName": value.name,
            **(extra or {}),
        }
        result = self._cim.invoke(REGISTRY, method, arguments, read_only=read_only)
        code = result.return_value or 0
        if code not in (0, *accept):
            operation = f"{method} of the registry value HKLM\\{value.key}\\{value.name}"
            raise OperationFailed(operation, hresult_from_return_value(code))
        return result
