# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Listeners in a thread of their own, and a client that speaks plain SOAP."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import http.client
import pathlib
import threading
import typing as t
import uuid
from xml.etree import ElementTree as ET

from unit.lab.wire.toy import ToyMachine

from lab.http.tls import server_context
from lab.http.winrm import Endpoint
from lab.wsman import names

NS = {**names.PREFIXES, "f": names.WSMAN_FAULT, "cim": names.CIM, "e": names.WMI_ERROR}


class Loop:
    """An event loop in a thread; listeners are started and stopped in it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._endpoints: list[Endpoint] = []

    def call(self, coroutine: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def serve(self, machine: ToyMachine | None = None, **settings: t.Any) -> Endpoint:
        machine = machine or ToyMachine(**settings)
        return t.cast(Endpoint, self.call(self._serve(machine)))

    async def _serve(self, machine: ToyMachine) -> Endpoint:
        endpoint = Endpoint(machine, self._folder, server_context(self._folder) if machine.tls else None)
        await endpoint.settle()
        self._endpoints.append(endpoint)
        return endpoint

    def close(self) -> None:
        async def stop() -> None:
            for endpoint in self._endpoints:
                endpoint.stop()
            await asyncio.sleep(0)

        self.call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@dataclasses.dataclass
class Answer:
    """An HTTP answer; ``root`` is its envelope."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def root(self) -> ET.Element:
        return ET.fromstring(self.data)

    @property
    def payload(self) -> ET.Element:
        """The first child of the body."""
        body = self.root.find("s:Body", NS)
        assert body is not None
        return body[0]

    def text(self, path: str) -> str | None:
        return self.root.findtext(f".//{path}", namespaces=NS)

    def texts(self, path: str) -> list[str | None]:
        return [element.text for element in self.root.iterfind(f".//{path}", NS)]

    @property
    def wsman_code(self) -> int | None:
        """The outer code of a fault."""
        code = self.text("e:error_Code")
        if code is None:
            fault = self.root.find(".//f:WSManFault", NS)
            code = None if fault is None else fault.get("Code")
        return None if code is None else int(code)

    @property
    def subcode(self) -> str | None:
        return self.text("s:Subcode/s:Value")


def envelope(action: str, uri: str, body: str = "", **headers: str | None) -> str:
    """A request; keywords replace headers by their local name, None leaves one out."""
    parts: dict[str, str | None] = {
        "To": "<a:To>http://host:5985/wsman</a:To>",
        "ResourceURI": f'<w:ResourceURI s:mustUnderstand="true">{uri}</w:ResourceURI>',
        "ReplyTo": f'<a:ReplyTo><a:Address s:mustUnderstand="true">{names.ANONYMOUS}</a:Address></a:ReplyTo>',
        "Action": f'<a:Action s:mustUnderstand="true">{action}</a:Action>',
        "MaxEnvelopeSize": '<w:MaxEnvelopeSize s:mustUnderstand="true">512000</w:MaxEnvelopeSize>',
        "MessageID": f"<a:MessageID>uuid:{uuid.uuid4()}</a:MessageID>",
        "Locale": '<w:Locale xml:lang="en-US" s:mustUnderstand="false"/>',
        "OperationTimeout": "<w:OperationTimeout>PT60.000S</w:OperationTimeout>",
        **headers,
    }
    declared = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in names.PREFIXES.items())
    header = "".join(part for part in parts.values() if part is not None)
    return f"<s:Envelope {declared}><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"


class Plain:
    """A client over Basic without TLS."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        machine = endpoint.machine
        self._http = http.client.HTTPConnection(machine.address, machine.port, timeout=20)
        user, password = next(iter(machine.accounts.items()))
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode()

    def post(self, data: str | bytes, path: str = "/wsman", method: str = "POST", **headers: str) -> Answer:
        data = data.encode() if isinstance(data, str) else data
        sent = {"Content-Type": "application/soap+xml;charset=UTF-8", "Authorization": f"Basic {self._token}"}
        try:
            self._http.request(method, path, data, {**sent, **headers})
            response = self._http.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self._http.close()
            raise

    def send(self, action: str, uri: str, body: str = "", **headers: str | None) -> Answer:
        return self.post(envelope(action, uri, body, **headers))

    def query(
        self,
        wql: str,
        namespace: str = "root/cimv2",
        class_name: str = "*",
        tag: str = "w",
        modes: tuple[str, ...] = (),
        **headers: str | None,
    ) -> Answer:
        wql = wql.replace("&", "&amp;").replace("<", "&lt;")
        body = (
            "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements>"
            f"{''.join(f'<w:EnumerationMode>{mode}</w:EnumerationMode>' for mode in modes)}"
            f'<{tag}:Filter Dialect="{names.WQL}">{wql}</{tag}:Filter></n:Enumerate>'
        )
        return self.send(names.ENUMERATE_ACTION, f"{names.WMI_URI}{namespace}/{class_name}", body, **headers)

    def pull(self, context: str, max_elements: int | None = 32000) -> Answer:
        limit = f"<n:MaxElements>{max_elements}</n:MaxElements>" if max_elements else ""
        body = f"<n:Pull><n:EnumerationContext>{context}</n:EnumerationContext>{limit}</n:Pull>"
        return self.send(names.PULL_ACTION, f"{names.WMI_URI}root/cimv2/*", body)

    def invoke(
        self, class_path: str, method: str, arguments: str = "", selectors: dict[str, str] | None = None
    ) -> Answer:
        uri = names.WMI_URI + class_path
        body = f'<c:{method}_INPUT xmlns:c="{uri}" xmlns:xsi="{names.XSI}">{arguments}</c:{method}_INPUT>'
        return self.send(f"{uri}/{method}", uri, body, SelectorSet=selector_set(selectors))

    def close(self) -> None:
        self._http.close()


def selector_set(selectors: dict[str, str] | None) -> str | None:
    if not selectors:
        return None
    inner = "".join(f'<w:Selector Name="{name}">{value}</w:Selector>' for name, value in selectors.items())
    return f"<w:SelectorSet>{inner}</w:SelectorSet>"
