# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry with typed values, as StdRegProv shows it (MSDN "StdRegProv"; winreg type numbers)."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

SZ, EXPAND_SZ, BINARY, DWORD, MULTI_SZ, QWORD = 1, 2, 3, 4, 7, 11

HKLM, HKU = "HKLM", "HKU"
HIVES = {0x80000000: "HKCR", 0x80000001: "HKCU", 0x80000002: HKLM, 0x80000003: HKU, 0x80000005: "HKCC"}

CURRENT_VERSION = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
SPP = CURRENT_VERSION + "\\SoftwareProtectionPlatform"
SPP_WOW = "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform"
TCPIP = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters"


@dataclasses.dataclass(frozen=True)
class Value:
    """A value: its name as written, its type number and its data."""

    name: str
    type: int
    data: t.Any


@functools.lru_cache(maxsize=4096)
def _normal(path: str) -> str:
    return "\\".join(part for part in path.split("\\") if part).lower()


class Registry:
    """Keys by full path (``HKLM\\SOFTWARE\\...``), names without regard to case."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, dict[str, Value]]] = {hive.lower(): (hive, {}) for hive in HIVES.values()}
        #: Rises with every write.
        self.revision = 0

    def has_key(self, path: str) -> bool:
        return _normal(path) in self._keys

    def create_key(self, path: str) -> None:
        """Create a key and its parents."""
        self.revision += 1
        parts = [part for part in path.split("\\") if part]
        for depth in range(1, len(parts) + 1):
            name = "\\".join(parts[:depth])
            self._keys.setdefault(name.lower(), (parts[depth - 1], {}))

    def delete_key(self, path: str) -> None:
        self.revision += 1
        del self._keys[_normal(path)]

    def subkeys(self, path: str) -> list[str]:
        """Names of the keys directly below, sorted."""
        prefix = _normal(path) + "\\"
        found = (
            name
            for key, (name, _values) in self._keys.items()
            if key.startswith(prefix) and "\\" not in key[len(prefix) :]
        )
        return sorted(found, key=str.lower)

    def values(self, path: str) -> list[Value]:
        """The values of a key in the order they were first written; an unknown key has none."""
        return list(self._keys.get(_normal(path), ("", {}))[1].values())

    def get(self, path: str, name: str) -> Value | None:
        return self._keys.get(_normal(path), ("", {}))[1].get(name.lower())

    def set(self, path: str, name: str, value_type: int, data: t.Any) -> None:
        """Write a value; KeyError when the key is missing, as Windows creates none on the way."""
        self.revision += 1
        self._keys[_normal(path)][1][name.lower()] = Value(name, value_type, data)

    def delete_value(self, path: str, name: str) -> bool:
        """Whether there was such a value."""
        self.revision += 1
        return self._keys.get(_normal(path), ("", {}))[1].pop(name.lower(), None) is not None

    def read(self, path: str, name: str, value_type: int, default: t.Any = None) -> t.Any:
        """The data of a value if it has the type that Windows expects there, else the default.

        A port written as REG_DWORD where Windows reads REG_SZ is thus not seen (MSDN "Registry settings for volume
        activation").
        """
        value = self.get(path, name)
        return value.data if value is not None and value.type == value_type else default

    def dump(self) -> dict[str, dict[str, t.Any]]:
        """All keys that hold values, for a person to read."""
        return {
            path: {v.name: v.data for v in values.values()} for path, (_name, values) in self._keys.items() if values
        }
