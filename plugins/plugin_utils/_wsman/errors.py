# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation may raise. The text of every error is safe to show: it never holds what was sent."""

from __future__ import annotations

import typing as t

from .codes import SYMBOLS, unsigned


class WsmanError(Exception):
    """Base of all errors here. ``operation`` is filled in by the client, such as ``Get Win32_Service``."""

    operation: str | None = None


class InvalidArgument(WsmanError, ValueError):
    """A value that cannot be sent, such as a control character. Names the argument, never its value."""


class CimFault(WsmanError):
    """The other side answered with a fault.

    ``hresult``  the unsigned 32-bit code: an HRESULT, or a small Win32 number; 0 when the fault carried none
    ``reason``   the other side's own words, in its language: for people, not to be parsed
    ``subcode``  local name of the SOAP subcode, such as ``AccessDenied``
    ``symbol``   the code's name, when it is a code of WS-Management, WMI or Win32
    ``provider`` who failed behind WinRM, such as ``WMI Provider``
    """

    def __init__(
        self,
        hresult: int,
        reason: str = "",
        *,
        subcode: str | None = None,
        symbol: str | None = None,
        provider: str | None = None,
    ) -> None:
        super().__init__(hresult, reason)
        self.hresult = unsigned(hresult)
        self.reason = reason
        self.subcode = subcode
        self.symbol = symbol or SYMBOLS.get(self.hresult)
        self.provider = provider

    def __str__(self) -> str:
        code = f"0x{self.hresult:08X}" if self.hresult else (self.subcode or "fault without a code")
        name = f"{code} {self.symbol}" if self.symbol else code
        return f"{name}: {self.reason}" if self.reason else name


class OperationTimedOut(CimFault):
    """The time given was over (w:TimedOut). The outcome is unknown: a WMI call goes on after its time-out."""


class ProtocolError(WsmanError):
    """What came back is not an answer to what was sent: no XML, a DOCTYPE, too large, another request's answer.

    After a write the outcome is unknown.
    """


class TransportError(WsmanError):
    """The request was not answered: no connection, a connection lost, a time-out of HTTP.

    ``sent``     False when certainly nothing of the request was acted upon; else None or True: outcome unknown
    ``dropped``  False when sending again on a new connection cannot help (refused, unreachable, timed out)
    """

    def __init__(self, message: str = "", *, sent: bool | None = None, dropped: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        self.dropped = dropped


class AuthenticationError(TransportError):
    """The credentials were refused. Never tried again: each try counts towards an account lockout."""

    def __init__(self, message: str = "", **kwargs: t.Any) -> None:
        super().__init__(message, **{"sent": False, "dropped": False, **kwargs})
