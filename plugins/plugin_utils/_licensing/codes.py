# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Result codes: symbol, meaning and what to do, for a person who has to act on one."""

from __future__ import annotations

import dataclasses

from .tables import load

#: The codes that rules of this collection ask for by name.
SL_E_CHPA_PRODUCT_KEY_BLOCKED = 0xC004C003
SL_E_CHPA_MAXIMUM_UNLOCK_EXCEEDED = 0xC004C008
SL_E_PKEY_INVALID_CONFIG = 0xC004E016
SL_E_PKEY_NOT_INSTALLED = 0xC004F014
SL_E_PRODUCT_SKU_NOT_INSTALLED = 0xC004F015
SL_E_VL_NOT_ENOUGH_COUNT = 0xC004F038
SL_E_VL_KEY_MANAGEMENT_SERVICE_NOT_ACTIVATED = 0xC004F041
SL_E_VL_KEY_MANAGEMENT_SERVICE_ID_MISMATCH = 0xC004F042
SL_E_INVALID_PRODUCT_KEY = 0xC004F050
SL_E_VL_MACHINE_NOT_BOUND = 0xC004F056
SL_E_MISMATCHED_PRODUCT_SKU = 0xC004F069
SL_E_VL_BINDING_SERVICE_UNAVAILABLE = 0xC004F074
SL_E_SERVICE_STOPPING = 0xC004F075
DNS_ERROR_RCODE_BADSIG = 0x80072338

#: What Windows answers to a host key that is newer than the Windows it is to be installed on, until it has the update.
HOST_KEY_NOT_KNOWN_HERE = frozenset(
    {SL_E_PRODUCT_SKU_NOT_INSTALLED, SL_E_PKEY_INVALID_CONFIG, SL_E_INVALID_PRODUCT_KEY}
)

_MASK = 0xFFFFFFFF
_FAILURE = 0x80000000
_WIN32_MAX = 0xFFFF
#: HRESULT_FROM_WIN32 (MS-ERREF 2.1.2).
_FROM_WIN32 = 0x80070000

_NO_ADVICE = (
    "Look the code up at Microsoft, and look into the Application log of the machine for events of that minute."
)

#: (code under the mask, mask, what is known of the code by its facility alone); the first that fits decides.
_FACILITIES = (
    (0xC004B000, 0xFFFFF000, "Microsoft's activation service answered with a code that is not in the table."),
    (0xC004C000, 0xFFFFF000, "Microsoft's activation service answered with a code that is not in the table."),
    (0xC0040000, 0xFFFF0000, "The licensing service failed with a code that is not in the table."),
    (0x40040000, 0xFFFF0000, "The licensing service gave a piece of information that is not in the table."),
    (0x803FA000, 0xFFFFF000, "Microsoft's digital licence service answered with a code that is not in the table."),
    (0x80041000, 0xFFFFF000, "WMI failed with a code that is not in the table."),
    (0x80338000, 0xFFFFF000, "WS-Management failed with a code that is not in the table."),
)


@dataclasses.dataclass(frozen=True)
class Code:
    """One result code. ``symbol`` is None where none is published; ``meaning`` and ``hint`` are never empty."""

    code: int
    symbol: str | None
    meaning: str
    hint: str
    source: str

    @property
    def hex(self) -> str:
        """``0x`` and eight upper-case digits, the form that search engines know."""
        return f"0x{self.code:08X}"

    @property
    def is_failure(self) -> bool:
        """Whether the code tells of a failure rather than a state; LicenseStatusReason holds codes of both kinds."""
        return self.code & _FAILURE != 0

    def __str__(self) -> str:
        return f"{self.hex} {self.symbol}" if self.symbol else self.hex


def describe(hresult: int) -> Code:
    """What a code means. It never fails; a code that is not in the table is described by its facility.

    ``hresult`` may be signed, unsigned or a bare Win32 code such as StdRegProv returns (5 is taken for 0x80070005).
    The return codes of Win32_Service are numbers of their own and none of these.
    """
    code = hresult & _MASK
    if 0 < code <= _WIN32_MAX:
        code |= _FROM_WIN32
    return _CODES.get(code) or _unknown(code)


def _unknown(code: int) -> Code:
    if code == 0:
        return Code(0, "S_OK", "No error was reported.", "Nothing is to be done.", "")
    if code & ~_WIN32_MAX == _FROM_WIN32:
        meaning = f"Windows reported its system error {code & _WIN32_MAX}."
        return Code(code, None, meaning, f"On any Windows, 'net helpmsg {code & _WIN32_MAX}' tells what it is.", "")
    known = (text for value, mask, text in _FACILITIES if code & mask == value)
    return Code(code, None, next(known, "Windows reported a code that is not in the table."), _NO_ADVICE, "")


def _read() -> dict[int, Code]:
    table = load("errors")
    return {
        code: Code(
            code, symbol, row["meaning"], row["hint"], "; ".join(table["sources"][name] for name in row["source"])
        )
        for row in table["errors"]
        for code, symbol in row["codes"].items()
    }


_CODES = _read()
