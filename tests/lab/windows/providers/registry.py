# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""StdRegProv: the registry over CIM. Every method returns a Win32 code (MSDN "StdRegProv class")."""

from __future__ import annotations

import typing as t

from lab.cim import Instance
from lab.windows import registry
from lab.windows.providers.base import Provider

OK, INVALID_FUNCTION, NOT_FOUND, ACCESS_DENIED, INVALID_HANDLE, INVALID_PARAMETER = 0, 1, 2, 5, 6, 87

_HKLM = 0x80000002


class RegistryProvider(Provider):
    """Static methods; a null hive means HKEY_LOCAL_MACHINE."""

    def _path(self, hdefkey: int | None, ssubkeyname: str | None) -> str | None:
        hive = registry.HIVES.get(_HKLM if hdefkey is None else hdefkey)
        return f"{hive}\\{ssubkeyname or ''}" if hive else None

    def _existing(self, hdefkey: int | None, ssubkeyname: str | None) -> tuple[str, int]:
        """The path and 0, or why it cannot be used."""
        path = self._path(hdefkey, ssubkeyname)
        if path is None:
            return "", INVALID_HANDLE
        return path, OK if self.machine.registry.has_key(path) else NOT_FOUND

    def do_createkey(self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None) -> int:
        path = self._path(hdefkey, ssubkeyname)
        if path is None:
            return INVALID_HANDLE
        if not ssubkeyname:
            return INVALID_PARAMETER
        self.machine.registry.create_key(path)
        return OK

    def do_deletekey(self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None) -> int:
        path, code = self._existing(hdefkey, ssubkeyname)
        if code:
            return code
        if not ssubkeyname or self.machine.registry.subkeys(path):
            return ACCESS_DENIED
        self.machine.registry.delete_key(path)
        return OK

    def do_enumkey(self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None) -> dict[str, t.Any]:
        path, code = self._existing(hdefkey, ssubkeyname)
        return {"ReturnValue": code, "sNames": (self.machine.registry.subkeys(path) or None) if code == OK else None}

    def do_enumvalues(
        self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None
    ) -> dict[str, t.Any]:
        path, code = self._existing(hdefkey, ssubkeyname)
        values = self.machine.registry.values(path) if code == OK else []
        names, types = [value.name for value in values], [value.type for value in values]
        return {"ReturnValue": code, "sNames": names or None, "Types": types or None}

    def do_deletevalue(
        self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None, svaluename: str | None
    ) -> int:
        path, code = self._existing(hdefkey, ssubkeyname)
        if code:
            return code
        return OK if self.machine.registry.delete_value(path, svaluename or "") else NOT_FOUND

    def do_checkaccess(
        self, _instance: Instance | None, hdefkey: int | None, ssubkeyname: str | None, urequired: int | None
    ) -> dict[str, t.Any]:
        _path, code = self._existing(hdefkey, ssubkeyname)
        return {"ReturnValue": code, "bGranted": code == OK}

    def _get(self, value_type: int, out: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        path, code = self._existing(arguments["hdefkey"], arguments["ssubkeyname"])
        if code:
            return {"ReturnValue": code, out: None}
        value = self.machine.registry.get(path, arguments["svaluename"] or "")
        if value is None:
            return {"ReturnValue": self.machine.world.policy.missing_value_code, out: None}
        if value.type != value_type:
            return {"ReturnValue": INVALID_FUNCTION, out: None}
        return {"ReturnValue": OK, out: value.data}

    def _set(self, value_type: int, content: t.Any, arguments: dict[str, t.Any]) -> int:
        path, code = self._existing(arguments["hdefkey"], arguments["ssubkeyname"])
        if code == OK:
            self.machine.registry.set(path, arguments["svaluename"] or "", value_type, content)
        return code

    def do_getdwordvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.DWORD, "uValue", arguments)

    def do_getqwordvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.QWORD, "uValue", arguments)

    def do_getstringvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.SZ, "sValue", arguments)

    def do_getexpandedstringvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.EXPAND_SZ, "sValue", arguments)

    def do_getmultistringvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.MULTI_SZ, "sValue", arguments)

    def do_getbinaryvalue(self, _instance: Instance | None, **arguments: t.Any) -> dict[str, t.Any]:
        return self._get(registry.BINARY, "uValue", arguments)

    def do_setdwordvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        return self._set(registry.DWORD, int(arguments["uvalue"] or 0), arguments)

    def do_setqwordvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        return self._set(registry.QWORD, int(arguments["uvalue"] or 0), arguments)

    def do_setstringvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        return self._set(registry.SZ, arguments["svalue"] or "", arguments)

    def do_setexpandedstringvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        return self._set(registry.EXPAND_SZ, arguments["svalue"] or "", arguments)

    def do_setmultistringvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        """An empty list cannot be told from a missing argument and is refused."""
        if not arguments["svalue"] or not all(arguments["svalue"]):
            return INVALID_PARAMETER
        return self._set(registry.MULTI_SZ, list(arguments["svalue"]), arguments)

    def do_setbinaryvalue(self, _instance: Instance | None, **arguments: t.Any) -> int:
        if not arguments["uvalue"]:
            return INVALID_PARAMETER
        return self._set(registry.BINARY, list(arguments["uvalue"]), arguments)
