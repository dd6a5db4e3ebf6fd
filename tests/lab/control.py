# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The control API: ``POST /<command>`` with a JSON object of arguments, answered with ``{"result": ...}``.

It listens on loopback only and asks for no password: whoever can reach it may do with the simulation as they like.
"""

from __future__ import annotations

import json
import logging
import typing as t

from .http.server import HttpServer, Request, Response
from .serving import CommandError, Lab

log = logging.getLogger(__name__)


class Control:
    """The control API of a running lab."""

    def __init__(self, lab: Lab) -> None:
        self._server = HttpServer(lambda: _Session(lab))
        self.url = ""

    async def start(self, address: str, port: int = 0) -> None:
        address, port = await self._server.start(address, port)
        self.url = f"http://{address}:{port}"

    def stop(self) -> None:
        self._server.stop()


class _Session:
    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def sent(self, size: int) -> None:
        """Nothing is counted here."""

    async def respond(self, request: Request) -> Response:
        if request.method != "POST":
            return _answer(405, error="POST only")
        try:
            arguments = json.loads(request.body or b"{}")
            if not isinstance(arguments, dict):
                raise CommandError("arguments are a JSON object")
            return _answer(200, result=await self._lab.command(request.path.lstrip("/"), arguments))
        except ValueError as exc:  # what a command refuses, and what is no JSON
            return _answer(400, error=str(exc))
        except Exception as exc:
            log.exception("command %s failed", request.path)
            return _answer(500, error=f"{type(exc).__name__}: {exc}")


def _answer(status: int, **content: t.Any) -> Response:
    body = json.dumps(content, default=str).encode()
    return Response(status, [("Content-Type", "application/json")], body)
