# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated activation centre and the directory: what lies outside the machines."""

from __future__ import annotations

import dataclasses
import hashlib

from lab.windows.keys import HOST_LIMIT, ProductKey

KEY_BLOCKED = 0xC004C003
LIMIT_EXCEEDED = 0xC004C008
MAK_LIMIT_EXCEEDED = 0xC004C020
WRONG_KEY_TYPE = 0xC004F07D
CID_FORMAT = 0xC004F02C
CID_IID_MISMATCH = 0xC004F02D
CID_WRONG = 0xC004F04D

_IID_DIGITS, _CID_DIGITS = 63, 48


def _digits(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha512(text.encode()).digest(), "big")
    return str(number)[-length:].zfill(length)


def installation_id(machine: str, sku_id: str, key: str) -> str:
    """The 63 digits that a machine shows for telephone activation."""
    return _digits(f"iid/{machine}/{sku_id}/{key}", _IID_DIGITS)


class ActivationCentre:
    """Counts activations: a host key on 6 hosts, 10 times each; a MAK as often as it allows."""

    def __init__(self) -> None:
        self.activations: dict[str, dict[str, int]] = {}

    def activate(self, key: ProductKey, machine: str) -> int:
        """0, or the HRESULT of a refusal."""
        if key.blocked:
            return KEY_BLOCKED
        used = self.activations.setdefault(key.key, {})
        if key.kind == "csvlk" and not self._host_may(key, used, machine):
            return LIMIT_EXCEEDED
        if key.kind == "mak" and key.limit is not None and sum(used.values()) >= key.limit:
            return MAK_LIMIT_EXCEEDED
        used[machine] = used.get(machine, 0) + 1
        return 0

    @staticmethod
    def _host_may(key: ProductKey, used: dict[str, int], machine: str) -> bool:
        if machine not in used:
            return len(used) < (HOST_LIMIT if key.limit is None else key.limit)
        return used[machine] < key.activations

    @staticmethod
    def confirmation_id(iid: str) -> str:
        """The 48 digits that the telephone service reads out for an installation ID."""
        return _digits(f"cid/{iid}", _CID_DIGITS)

    def check_confirmation(self, wanted_iid: str, iid: str, cid: str) -> int:
        """0, or why an offline confirmation is refused."""
        if len(cid) != _CID_DIGITS or not cid.isdigit():
            return CID_FORMAT
        if iid != wanted_iid:
            return CID_IID_MISMATCH
        return 0 if cid == self.confirmation_id(iid) else CID_WRONG


@dataclasses.dataclass(frozen=True)
class ActivationObject:
    """An Active Directory activation object: made from a host key, it activates what that key activates."""

    name: str
    key: ProductKey
