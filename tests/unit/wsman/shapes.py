# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers in the shapes that Windows gives them, written out by hand, and a transport that plays them."""

from __future__ import annotations

import re

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, CimType, PropertyType

ENDPOINT = "http://kms1.example.com:5985/wsman"

INTEGER = PropertyType(CimType.INTEGER)
BOOLEAN = PropertyType(CimType.BOOLEAN)
DATETIME = PropertyType(CimType.DATETIME)
REAL = PropertyType(CimType.REAL)
STRINGS = PropertyType(array=True)
INTEGERS = PropertyType(CimType.INTEGER, array=True)

WIDGET = CimClass(
    "root/cimv2",
    "Test_Widget",
    {
        "Count": INTEGER,
        "Enabled": BOOLEAN,
        "Installed": DATETIME,
        "Ratio": REAL,
        "Languages": STRINGS,
        "Bytes": INTEGERS,
        "uValue": INTEGER,
        "GetBytes.uValue": INTEGERS,
    },
    drop=frozenset({"SecretKey"}),
    keys=("ID",),
)
URI = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Test_Widget"


def soap(body: str, relates_to: str | None = "uuid:1") -> bytes:
    """An answer of Windows around the body."""
    relation = "" if relates_to is None else f"<a:RelatesTo>{relates_to}</a:RelatesTo>"
    return (
        '<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"'
        ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"'
        ' xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault">'
        "<s:Header><a:Action>urn:any</a:Action><a:MessageID>uuid:answer</a:MessageID>"
        "<a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To>"
        f"{relation}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def instance(properties: str, name: str = "Test_Widget") -> str:
    """An instance as in an answer to `select *`, to Get and to Put."""
    return (
        f'<p:{name} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="{URI}"'
        f' xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common" xsi:type="p:{name}_Type">{properties}</p:{name}>'
    )


def widget(identity: str) -> str:
    return instance(f"<p:ID>{identity}</p:ID>")


def reference(selectors: str) -> str:
    """An endpoint reference; ``selectors`` are its w:Selector elements."""
    return (
        "<a:EndpointReference><a:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address>"
        f"<a:ReferenceParameters><w:ResourceURI>{URI}</w:ResourceURI><w:SelectorSet>{selectors}</w:SelectorSet>"
        "</a:ReferenceParameters></a:EndpointReference>"
    )


def referenced(identity: str, selectors: str) -> str:
    """An item as in an answer to EnumerateObjectAndEPR."""
    return f"<w:Item>{widget(identity)}{reference(selectors)}</w:Item>"


def fragment(properties: str) -> str:
    """An instance as in an answer to `select A, B`."""
    return (
        '<w:XmlFragment xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd">{properties}</w:XmlFragment>'
    )


def first_page(items: str, context: str = "") -> str:
    """EnumerateResponse: items and end in the w namespace, the context empty at the end."""
    end = "" if context else "<w:EndOfSequence/>"
    return (
        f"<n:EnumerateResponse><n:EnumerationContext>{context}</n:EnumerationContext>"
        f"<w:Items>{items}</w:Items>{end}</n:EnumerateResponse>"
    )


def next_page(items: str, context: str = "") -> str:
    """PullResponse: items and end in the n namespace, no context at the end."""
    more = f"<n:EnumerationContext>{context}</n:EnumerationContext>" if context else ""
    end = "" if context else "<n:EndOfSequence/>"
    return f"<n:PullResponse>{more}<n:Items>{items}</n:Items>{end}</n:PullResponse>"


def output(parameters: str, method: str = "Act") -> str:
    """What a method gives back."""
    return (
        f'<p:{method}_OUTPUT xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:p="{URI}"'
        f' xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common">{parameters}</p:{method}_OUTPUT>'
    )


def fault(detail: str = "", subcode: str = "w:InternalError", reason: str = "Something failed.") -> str:
    return (
        f"<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{reason}</s:Text></s:Reason><s:Detail>{detail}</s:Detail></s:Fault>'
    )


Step = str | bytes | Exception


class FakeTransport:
    """Plays its steps in order: the body of an answer (related rightly), a whole answer in bytes, or an error."""

    endpoint = ENDPOINT

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.sent: list[str] = []
        self.timeouts: list[float] = []
        self.events: list[str] = []

    def send(self, envelope: bytes, *, operation_timeout: float) -> bytes:
        text = envelope.decode()
        self.sent.append(text)
        self.timeouts.append(operation_timeout)
        action = re.search(r"<a:Action[^>]*>([^<]+)<", text)
        assert action is not None
        self.events.append(action[1].rpartition("/")[2])
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, bytes):
            return step
        message_id = re.search("<a:MessageID>([^<]+)<", text)
        assert message_id is not None and isinstance(step, str)
        return soap(step, message_id[1])

    def reconnect(self) -> None:
        self.events.append("reconnect")

    def close(self) -> None:
        self.events.append("close")


def client_of(*steps: Step) -> tuple[CimClient, FakeTransport]:
    transport = FakeTransport(*steps)
    return CimClient(transport), transport
