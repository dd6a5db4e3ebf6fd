# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP server on bytes that no library sends, and the frame of sealed messages."""

from __future__ import annotations

import dataclasses
import socket
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.lab.wire.kit import Loop, Plain

from lab.http import encryption

HEAD = "POST /wsman HTTP/1.1\r\nHost: x\r\n"


def talk(endpoint: t.Any, data: bytes) -> bytes:
    """Sends bytes, says that there are no more, and returns everything that comes back."""
    with socket.create_connection((endpoint.machine.address, endpoint.machine.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            return stream.read()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("POST /wsman HTTP/3\r\n\r\n", 505),
        (f"{HEAD}no colon\r\n\r\n", 400),
        (f"{HEAD}Content-Length: -1\r\n\r\n", 400),
        (f"{HEAD}Content-Length: 9999999999\r\n\r\n", 413),
        (f"{HEAD}Content-Length: 10\r\n\r\nshort", 400),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (f"{HEAD}X: {'x' * 70_000}\r\n\r\n", 431),
        (f"{HEAD}Content-Length: 0\r\n\r\n", 401),
        ("POST /wsman HTT", 400),
    ],
)
def test_bad_requests(loop: Loop, text: str, status: int) -> None:
    assert talk(loop.serve(), text.encode()).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_client_may_wait_before_it_sends_the_body(loop: Loop) -> None:
    answer = talk(loop.serve(), f"{HEAD}Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx".encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 ")


def test_several_requests_in_one_packet(loop: Loop) -> None:
    answer = talk(loop.serve(), f"{HEAD}Content-Length: 0\r\n\r\n".encode() * 3)
    assert answer.count(b"HTTP/1.1 401 ") == 3


def test_schemes_that_are_offered(loop: Loop) -> None:
    request = f"{HEAD}Content-Length: 0\r\n\r\n".encode()
    assert b"WWW-Authenticate: Negotiate\r\n" in talk(loop.serve(), request)
    both = talk(loop.serve(auth=("basic", "negotiate"), allow_unencrypted=True), request)
    assert b"WWW-Authenticate: Negotiate\r\n" in both and b'WWW-Authenticate: Basic realm="WSMAN"\r\n' in both


@pytest.mark.parametrize(
    "authorization", ["Basic %%%", "Basic eDp5", "Digest eDp5", "Negotiate", "Negotiate eDp5", "NTLM TlRMTVNTUAADAAAA"]
)
def test_hostile_credentials_are_refused(loop: Loop, authorization: str) -> None:
    endpoint = loop.serve(auth=("basic", "negotiate"), allow_unencrypted=True)
    answer = talk(endpoint, f"{HEAD}Authorization: {authorization}\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert (endpoint.stats.refused_authentications, endpoint.stats.authentications) == (1, 0)


def test_a_sealed_message_needs_keys(plain: t.Callable[..., Plain]) -> None:
    """Basic agrees on no keys."""
    assert plain().post("x", **{"Content-Type": encryption.CONTENT_TYPE}).status == 400


@dataclasses.dataclass
class Wrapped:
    header: bytes
    data: bytes
    padding_length: int = 0


class Mirror:
    """Seals by turning the bytes around."""

    def wrap_winrm(self, data: bytes) -> Wrapped:
        return Wrapped(b"0123456789abcdef", data[::-1])

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        if header != b"0123456789abcdef":
            raise RuntimeError("bad signature")
        return data[::-1]


@given(st.binary(max_size=300))
def test_a_frame_carries_any_bytes(message: bytes) -> None:
    assert encryption.unseal(Mirror(), encryption.seal(Mirror(), message)) == message


@given(st.binary(max_size=200))
def test_any_other_body_is_no_frame(body: bytes) -> None:
    with pytest.raises(encryption.FrameError):
        encryption.unseal(Mirror(), body)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"SPNEGO", b"CredSSP"),
        (b"Length=5", b"Length=6"),
        (b"Length=5", b"Length=x"),
        (b"\x10\x00\x00\x00", b"\xff\xff\xff\xff"),
        (b"0123", b"9123"),
        (b"Boundary--", b"Boundary"),
        (b"octet-stream", b"json"),
    ],
)
def test_a_damaged_frame(old: bytes, new: bytes) -> None:
    frame = encryption.seal(Mirror(), b"hello")
    assert old in frame
    with pytest.raises(encryption.FrameError):
        encryption.unseal(Mirror(), frame.replace(old, new, 1))
