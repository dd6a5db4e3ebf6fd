# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows answered instead of doing it."""

from __future__ import annotations


class OperationFailed(Exception):
    """A call was answered with an error code.

    ``hresult`` is the unsigned code (Win32 codes as 0x8007xxxx), or None where the answer has a number space of its
    own (Win32_Service); ``detail`` says it in words then.
    """

    def __init__(self, operation: str, hresult: int | None, detail: str = "") -> None:
        code = f" (0x{hresult:08X})" if hresult is not None else ""
        super().__init__(f"{operation} failed{code}" + (f": {detail}" if detail else ""))
        self.operation = operation
        self.hresult = hresult
        self.detail = detail


def hresult_from_return_value(value: int) -> int:
    """The HRESULT of a method's ReturnValue: a small number is a Win32 code, a large one an HRESULT already."""
    value &= 0xFFFFFFFF
    return value if value > 0xFFFF else 0x80070000 | value
