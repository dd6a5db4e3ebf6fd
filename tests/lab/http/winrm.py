# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WinRM listener of one machine: HTTP, authentication, message encryption and the faults that are set on it."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import re
import ssl
import typing as t

from ..cim import CimError, Repository
from ..faults import Fault, FaultBox, Operation, Stage
from ..stats import Stats
from ..wsman import envelope, service
from ..wsman.soap_fault import SoapFault
from . import encryption
from .auth import AccountFile, Authenticator, Refused
from .server import HttpServer, Request, Response

log = logging.getLogger(__name__)

SOAP_TYPE = "application/soap+xml;charset=UTF-8"
PATH = "/wsman"


class Machine(t.Protocol):
    """What a machine of a fleet tells its listener; the optional attributes have the defaults of ``Endpoint``.

    Optional: ``allow_unencrypted`` (False), ``language`` ("en-US"), ``faults`` (descriptions, see ``lab.faults``).
    """

    port: int  #: 0 takes a free one, which is then told here
    powered: bool

    @property
    def name(self) -> str: ...

    @property
    def repository(self) -> Repository: ...

    @property
    def accounts(self) -> t.Mapping[str, str]:
        """User to password."""

    @property
    def address(self) -> str: ...

    @property
    def tls(self) -> bool: ...

    @property
    def auth(self) -> t.Sequence[str]:
        """Of ``basic``, ``ntlm`` and ``negotiate``."""

    @property
    def fault_shape(self) -> str:
        """One of ``lab.wsman.soap_fault.SHAPES``."""


class Endpoint:
    """Serves one machine. ``faults`` and ``stats`` are there to be changed and read while it runs."""

    def __init__(self, machine: Machine, folder: pathlib.Path, tls: ssl.SSLContext | None = None) -> None:
        self.machine = machine
        self.stats = Stats()
        self.faults = FaultBox(getattr(machine, "faults", None) or ())
        self.service = service.Service(
            machine.repository,
            self.stats,
            machine.name,
            machine.fault_shape,
            getattr(machine, "language", "en-US"),
        )
        self.encrypted = bool(machine.tls)
        self.allow_unencrypted = self.encrypted or bool(getattr(machine, "allow_unencrypted", False))
        self._account_file = AccountFile(folder, machine.accounts)
        self._server = HttpServer(lambda: Session(self), tls if machine.tls else None)

    @property
    def listening(self) -> bool:
        return self._server.listening

    def new_authenticator(self) -> Authenticator:
        return Authenticator(self.machine.accounts, self._account_file, self.machine.auth, self.allow_unencrypted)

    @property
    def wanted(self) -> bool:
        """Whether the port is to be open."""
        return self.machine.powered and not self.faults.has("dead")

    async def settle(self) -> None:
        """Opens or closes the port, as power and the fault ``dead`` say."""
        if self.wanted:
            _address, self.machine.port = await self._server.start(self.machine.address, self.machine.port)
        else:
            self.stop()

    def stop(self) -> None:
        """Closes the port; what was running ends only if the power is cut."""
        self._server.stop()
        if not self.machine.powered:
            self.service.halt()


class Session:
    """One TCP connection to a machine."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._stats = endpoint.stats
        self._authenticator = endpoint.new_authenticator()

    def sent(self, size: int) -> None:
        self._stats.bytes_out += size

    async def respond(self, request: Request) -> Response:
        """The answer to one HTTP request."""
        self._stats.requests += 1
        self._stats.bytes_in += request.size
        response = await self._respond(request)
        response.headers.append(("Server", "Microsoft-HTTPAPI/2.0"))
        return response

    async def _respond(self, request: Request) -> Response:
        if not self._endpoint.machine.powered:
            return Response(abort=True)
        if request.path.partition("?")[0].rstrip("/").lower() != PATH:
            return Response(404)
        if request.method != "POST":
            return Response(405, [("Allow", "POST")])
        headers: list[tuple[str, str]] = []
        refusal = self._authenticate(request, headers)
        if refusal is not None:
            return refusal
        if not request.body:  # the client wanted to log on only
            return Response(200, headers)
        response = await self._answer(request)
        response.headers[:0] = headers
        return response

    def _authenticate(self, request: Request, headers: list[tuple[str, str]]) -> Response | None:
        """None when the client is known, else the 401 answer; adds the last token of a handshake to the headers."""
        authenticator = self._authenticator
        authorization = request.headers.get("authorization")
        if authorization is None and authenticator.context is not None:
            return None
        if authorization is None:
            return Response(401, authenticator.challenges)
        already = authenticator.user
        try:
            token = authenticator.step(authorization)
        except Refused as exc:
            log.debug("%s: %s", self._endpoint.machine.name, exc)
            return self._refuse()
        if authenticator.user is None:
            return Response(401, [("WWW-Authenticate", token or "Negotiate")])
        if self._endpoint.faults.take(Stage.LOGON):
            authenticator.forget()
            return self._refuse()
        if already is None:
            self._stats.authentications += 1
        headers += [("WWW-Authenticate", token)] if token else []
        return None

    def _refuse(self) -> Response:
        self._stats.refused_authentications += 1
        return Response(401, self._authenticator.challenges)

    async def _answer(self, request: Request) -> Response:
        if not encryption.is_encrypted(request.headers.get("content-type", "")):
            if not self._endpoint.allow_unencrypted:
                return Response(500, close=True)
            response = await self._operate(request.body)
            if response.body:
                response.headers.append(("Content-Type", SOAP_TYPE))
            return response
        context = self._authenticator.context
        if context is None:
            return Response(400, close=True)
        try:
            message = encryption.unseal(context, request.body)
        except encryption.FrameError as exc:
            log.debug("%s: %s", self._endpoint.machine.name, exc)
            return Response(400, close=True)
        response = await self._operate(message)
        if response.body:
            response.body = encryption.seal(context, response.body)
            response.headers.append(("Content-Type", encryption.CONTENT_TYPE))
        if response.cut is not None:
            response.cut = len(response.body) // 2
        return response

    async def _operate(self, message: bytes) -> Response:
        """Runs the request through the faults that are set, and the service."""
        endpoint = self._endpoint
        try:
            request = envelope.parse(message)
        except SoapFault as exc:
            return Response(exc.http_status, body=endpoint.service.fault(exc, None))
        operation = endpoint.service.operation(request)
        shape: str | None = None
        try:
            for fault in endpoint.faults.take(Stage.BEFORE, operation):
                shape = fault.parameters.get("shape")
                response = await _BEFORE[fault.name](endpoint, request, fault)
                if response is not None:
                    return response
            body = await endpoint.service.run_in_time(request)
            response = Response(200, body=body)
        except SoapFault as exc:
            response = Response(exc.http_status, body=endpoint.service.fault(exc, request))
        except CimError as exc:
            response = Response(500, body=endpoint.service.fault(exc, request, shape))
        except Exception:
            log.exception("%s: %s %s failed", endpoint.machine.name, operation.class_name, operation.name)
            failure = SoapFault(0x80338003, "w:InternalError", "The simulation failed: see its log.", sender=False)
            response = Response(500, body=endpoint.service.fault(failure, request))
        return self._spoil(response, operation)

    def _spoil(self, response: Response, operation: Operation) -> Response:
        for fault in self._endpoint.faults.take(Stage.AFTER, operation):
            _AFTER[fault.name](response, fault)
        if not self._endpoint.machine.powered:  # it died of this very operation
            self._endpoint.stop()
            response.abort = True
        return response


# What the faults do. Before the operation: an answer, an exception that becomes one, or None to go on.


async def _hang(_endpoint: Endpoint, _request: envelope.Envelope, fault: Fault) -> Response:
    await asyncio.sleep(fault.parameters["seconds"])
    return Response(abort=True)


async def _slow(_endpoint: Endpoint, _request: envelope.Envelope, fault: Fault) -> None:
    await asyncio.sleep(fault.parameters["seconds"])


async def _drop(_endpoint: Endpoint, _request: envelope.Envelope, _fault: Fault) -> Response:
    return Response(abort=True)


async def _too_large(_endpoint: Endpoint, _request: envelope.Envelope, _fault: Fault) -> Response:
    return Response(413)


async def _quota(_endpoint: Endpoint, _request: envelope.Envelope, _fault: Fault) -> None:
    raise service.too_many_operations()


async def _access_denied(_endpoint: Endpoint, _request: envelope.Envelope, _fault: Fault) -> None:
    raise service.access_denied()


async def _error(_endpoint: Endpoint, _request: envelope.Envelope, fault: Fault) -> None:
    raise CimError(fault.parameters["code"], "This error was set on the machine.")


async def _timed_out(endpoint: Endpoint, request: envelope.Envelope, fault: Fault) -> None:
    endpoint.service.start(request, fault.parameters["seconds"])
    raise service.timed_out()


_BEFORE: dict[str, t.Callable[[Endpoint, envelope.Envelope, Fault], t.Awaitable[Response | None]]] = {
    "hang": _hang,
    "slow": _slow,
    "drop_after": _drop,
    "http_413": _too_large,
    "quota": _quota,
    "access_denied": _access_denied,
    "error": _error,
    "timed_out": _timed_out,
}

# After it: they spoil the answer.

_RELATES_TO = re.compile(rb"<a:RelatesTo>[^<]*</a:RelatesTo>")
_EXTERNAL = b'<!DOCTYPE s:Envelope [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
_BOMB = (
    b"<!DOCTYPE s:Envelope [<!ENTITY a0 'ha'>"
    + b"".join(b"<!ENTITY a%d '%s'>" % (level, b"&a%d;" % (level - 1) * 10) for level in range(1, 10))
    + b"]>"
)


def _cut(response: Response, _fault: Fault) -> None:
    response.cut = len(response.body) // 2


def _lose(response: Response, fault: Fault) -> None:
    if fault.parameters["when"] == "between":
        response.hang_up = True
    else:
        response.abort = True


def _add_doctype(response: Response, _fault: Fault) -> None:
    response.body = _EXTERNAL + response.body.replace(b"<a:To>", b"<a:To>&secret;", 1)


def _add_bomb(response: Response, _fault: Fault) -> None:
    response.body = _BOMB + response.body.replace(b"<a:To>", b"<a:To>&a9;", 1)


def _bloat(response: Response, fault: Fault) -> None:
    filler = b"<!--" + b"x" * int(fault.parameters["bytes"]) + b"-->"
    response.body = response.body.replace(b"</s:Body>", filler + b"</s:Body>", 1)


def _relate_wrongly(response: Response, _fault: Fault) -> None:
    other = b"<a:RelatesTo>uuid:00000000-0000-0000-0000-000000000000</a:RelatesTo>"
    response.body = _RELATES_TO.sub(other, response.body, count=1)


def _garble(response: Response, _fault: Fault) -> None:
    response.body = b"<html><p>this is no envelope<br></html>"


_AFTER: dict[str, t.Callable[[Response, Fault], None]] = {
    "drop_after": _lose,
    "half_answer": _cut,
    "doctype": _add_doctype,
    "entity_bomb": _add_bomb,
    "oversize": _bloat,
    "wrong_relates_to": _relate_wrongly,
    "not_xml": _garble,
}
