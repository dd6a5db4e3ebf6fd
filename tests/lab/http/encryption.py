# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of WinRM message encryption (MS-WSMV 2.2.9.1): one sealed SOAP message in a two-part MIME body."""

from __future__ import annotations

import re
import struct
import typing as t

BOUNDARY = b"--Encrypted Boundary"
PROTOCOL = "application/HTTP-SPNEGO-session-encrypted"
CONTENT_TYPE = f'multipart/encrypted;protocol="{PROTOCOL}";boundary="Encrypted Boundary"'
_FRAME = re.compile(
    rb"--\s?Encrypted Boundary\r\n"
    rb"\s*Content-Type: (?P<protocol>[^\r]+)\r\n"
    rb"\s*OriginalContent: type=application/soap\+xml;charset=(?P<charset>[^;\r]+);Length=(?P<length>\d+)\r\n"
    rb"--\s?Encrypted Boundary\r\n"
    rb"\s*Content-Type: application/octet-stream\r\n"
    rb"(?P<sealed>.*)"
    rb"--\s?Encrypted Boundary--(?:\r\n)?\Z",
    re.DOTALL | re.IGNORECASE,
)


class FrameError(ValueError):
    """The body is no sealed message, or it does not unseal."""


class SecurityContext(t.Protocol):
    """The part of a pyspnego context that is used here."""

    def wrap_winrm(self, data: bytes) -> t.Any: ...

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes: ...


def is_encrypted(content_type: str) -> bool:
    """Whether the Content-Type announces a sealed message."""
    return content_type.lower().startswith("multipart/encrypted")


def unseal(context: SecurityContext, body: bytes) -> bytes:
    """The SOAP message of a sealed body; raises FrameError for any other body and for broken seals."""
    match = _FRAME.match(body)
    if match is None or match["protocol"].decode("latin-1") != PROTOCOL:
        raise FrameError("not a sealed message")
    sealed = match["sealed"]
    if len(sealed) < 4:
        raise FrameError("no seal")
    (header_length,) = struct.unpack_from("<I", sealed)
    if header_length > len(sealed) - 4:
        raise FrameError("seal longer than the message")
    try:
        message = context.unwrap_winrm(sealed[4 : 4 + header_length], sealed[4 + header_length :])
    except Exception as exc:  # every security mechanism raises its own kinds
        raise FrameError("broken seal") from exc
    if len(message) != int(match["length"]):
        raise FrameError("length differs from the announced one")
    return message


def seal(context: SecurityContext, message: bytes) -> bytes:
    """The body that carries the SOAP message sealed."""
    wrapped = context.wrap_winrm(message)
    announced = len(message) + wrapped.padding_length
    return b"".join(
        (
            BOUNDARY + b"\r\n",
            f"\tContent-Type: {PROTOCOL}\r\n".encode(),
            f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={announced}\r\n".encode(),
            BOUNDARY + b"\r\n",
            b"\tContent-Type: application/octet-stream\r\n",
            struct.pack("<I", len(wrapped.header)),
            wrapped.header,
            wrapped.data,
            BOUNDARY + b"--\r\n",
        )
    )
