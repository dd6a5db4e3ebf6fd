# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server for asyncio: keep-alive, Content-Length, Expect: 100-continue, nothing else (RFC 9112)."""

from __future__ import annotations

import asyncio
import dataclasses
import http
import socket
import ssl
import typing as t

MAX_HEADER = 32 * 1024
MAX_BODY = 4 * 1024 * 1024


class BadRequest(Exception):
    """The bytes are no HTTP request that this server takes; ``status`` is what the client is told."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or http.HTTPStatus(status).phrase)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Request:
    """One request; header names are lower case, ``size`` counts header and body bytes."""

    method: str
    path: str
    headers: t.Mapping[str, str]
    body: bytes
    size: int


@dataclasses.dataclass
class Response:
    """One answer.

    ``cut`` sends only that many bytes of the body and closes. ``close`` says so to the client (Connection: close),
    ``hang_up`` closes after the answer without saying so, ``abort`` closes instead of answering.
    """

    status: int = 200
    headers: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    body: bytes = b""
    cut: int | None = None
    close: bool = False
    hang_up: bool = False
    abort: bool = False

    @property
    def ends_connection(self) -> bool:
        return self.abort or self.close or self.hang_up or self.cut is not None

    def to_bytes(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {http.HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines.append(f"Content-Length: {len(self.body)}")
        if self.close:
            lines.append("Connection: close")
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body[: self.cut]


class Session(t.Protocol):
    """What one TCP connection is answered by."""

    async def respond(self, request: Request) -> Response:
        """The answer to a request."""

    def sent(self, size: int) -> None:
        """Told after each answer how many bytes (header and body) went out."""


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request of a connection, or None at its end; raises BadRequest."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        if exc.partial:
            raise BadRequest(400, "truncated header") from exc
        return None
    except asyncio.LimitOverrunError as exc:
        raise BadRequest(431) from exc
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, path, version = lines[0].split(" ")
    except ValueError as exc:
        raise BadRequest(400, "bad request line") from exc
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise BadRequest(505)
    headers: dict[str, str] = {}
    for line in lines[1:-2]:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadRequest(400, "bad header line")
        headers[name.lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise BadRequest(501, "only Content-Length bodies")
    length_text = headers.get("content-length", "0")
    if not length_text.isdecimal():
        raise BadRequest(400, "bad Content-Length")
    length = int(length_text)
    if length > MAX_BODY:
        raise BadRequest(413)
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    try:
        body = await reader.readexactly(length) if length else b""
    except asyncio.IncompleteReadError as exc:
        raise BadRequest(400, "truncated body") from exc
    return Request(method, path, headers, body, len(head) + length)


class HttpServer:
    """Serves one address; every TCP connection gets its own session from ``new_session``."""

    def __init__(self, new_session: t.Callable[[], Session], tls: ssl.SSLContext | None = None) -> None:
        self._new_session = new_session
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def listening(self) -> bool:
        return self._server is not None

    async def start(self, address: str, port: int) -> tuple[str, int]:
        """Listens and returns the address and port in use (port 0 takes a free one)."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, address, port, ssl=self._tls, limit=MAX_HEADER, backlog=64, reuse_address=True
            )
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    def stop(self) -> None:
        """Closes the port and aborts every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = t.cast("asyncio.Task[None]", asyncio.current_task())
        self._connections[task] = writer
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError, ssl.SSLError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.pop(task, None)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = self._new_session()
        while True:
            try:
                request = await read_request(reader, writer)
                if request is None:
                    return
                response = await session.respond(request)
            except BadRequest as exc:
                response = Response(exc.status, close=True)
            if response.abort:
                writer.transport.abort()
                return
            data = response.to_bytes()
            session.sent(len(data))
            if response.hang_up:
                _send_with_the_end(writer)
            writer.write(data)
            await writer.drain()
            if response.ends_connection:
                return


def _send_with_the_end(writer: asyncio.StreamWriter) -> None:
    """The answer and the end of the connection leave in one segment, so that the client meets both or neither."""
    cork = getattr(socket, "TCP_CORK", getattr(socket, "TCP_NOPUSH", None))
    if cork is not None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, cork, 1)
