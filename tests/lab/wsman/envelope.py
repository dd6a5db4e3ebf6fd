# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests: the SOAP header, checked as strictly as MS-WSMV 3.1.4.1 says. Answers: the envelope around a body."""

from __future__ import annotations

import dataclasses
import re
import uuid
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from . import names
from .soap_fault import SoapFault

_DURATION = re.compile(r"-?P(?=.)(?:\d+Y)?(?:\d+M)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_NAMESPACES = names.PREFIXES


@dataclasses.dataclass(frozen=True)
class Envelope:
    """A request whose header has passed; selectors are by lower-case name, ``timeout`` is in seconds."""

    action: str
    resource_uri: str
    message_id: str
    selectors: dict[str, str]
    options: dict[str, str]
    max_envelope_size: int
    timeout: float
    fragment: str | None
    body: ET.Element


def _tag(qualified: str) -> str:
    prefix, _colon, name = qualified.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{name}"


_MUST_UNDERSTAND = _tag("s:mustUnderstand")
_UNDERSTOOD = frozenset(
    _tag(name)
    for name in (
        "a:To", "a:Action", "a:MessageID", "a:ReplyTo", "a:FaultTo", "a:From", "w:ResourceURI", "w:MaxEnvelopeSize",
        "w:Locale", "w:OperationTimeout", "w:SelectorSet", "w:OptionSet", "w:FragmentTransfer", "p:DataLocale",
        "p:SessionId", "p:OperationID", "p:SequenceId",
    )
)  # fmt: skip
_ONCE = _UNDERSTOOD


def invalid_header(text: str) -> SoapFault:
    return SoapFault(0x8033800F, "a:InvalidMessageInformationHeader", text)


def missing_header(name: str) -> SoapFault:
    return SoapFault(0x80338011, "a:MessageInformationHeaderRequired", f"The header {name} is missing.")


def parse_xml(message: bytes) -> ET.Element:
    """The root element; refuses document types (MS-WSMV 2.2.1 allows none) and any encoding but UTF-8."""
    try:
        text = message.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise SoapFault(0x8033802C, "w:EncodingLimit", "Not UTF-8.", detail="CharacterSet", http_status=400) from exc
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise SoapFault(0x80338043, "w:SchemaValidationError", "A document type is not allowed.", http_status=400)
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError) as exc:
        raise SoapFault(0x80338043, "w:SchemaValidationError", "The XML is invalid.", http_status=400) from exc


def parse(message: bytes) -> Envelope:
    """Reads a request; raises SoapFault for what Windows refuses."""
    root = parse_xml(message)
    if root.tag != _tag("s:Envelope"):
        raise SoapFault(0x8033800D, "", "No SOAP 1.2 envelope.", soap_code="s:VersionMismatch", http_status=400)
    parts = {child.tag: child for child in root}
    header, body = parts.get(_tag("s:Header")), parts.get(_tag("s:Body"))
    if header is None:
        raise missing_header("s:Header")
    if body is None:
        raise SoapFault(0x80338027, "w:SchemaValidationError", "There is no SOAP body.", http_status=400)
    headers = _headers(header)
    _check_reply_to(headers)
    _check_locales(headers)
    return Envelope(
        action=_required(headers, "a:Action"),
        resource_uri=_resource_uri(headers),
        message_id=_message_id(headers),
        selectors=_named_values(headers.get(_tag("w:SelectorSet")), "w:Selector", 0x8033805F),
        options=_named_values(headers.get(_tag("w:OptionSet")), "w:Option", 0x80338052),
        max_envelope_size=_max_envelope_size(headers),
        timeout=_timeout(headers),
        fragment=_fragment(headers),
        body=body,
    )


def _headers(header: ET.Element) -> dict[str, ET.Element]:
    result: dict[str, ET.Element] = {}
    for child in header:
        if child.tag not in _UNDERSTOOD:
            if _must_understand(child):
                raise SoapFault(
                    0x80338010, "", f"The header {child.tag} is not understood.", soap_code="s:MustUnderstand"
                )
            continue
        if child.tag in result and child.tag in _ONCE:
            raise invalid_header(f"The header {child.tag} is there twice.")
        result[child.tag] = child
    return result


def _must_understand(element: ET.Element) -> bool:
    return element.get(_MUST_UNDERSTAND, "false") in ("true", "1")


def _text(element: ET.Element | None) -> str:
    return "" if element is None else (element.text or "").strip()


def _required(headers: dict[str, ET.Element], name: str) -> str:
    text = _text(headers.get(_tag(name)))
    if not text:
        raise missing_header(name)
    return text


def _check_reply_to(headers: dict[str, ET.Element]) -> None:
    _required(headers, "a:To")
    reply_to = headers.get(_tag("a:ReplyTo"))
    if reply_to is None:
        raise missing_header("a:ReplyTo")
    if _text(reply_to.find(_tag("a:Address"))) != names.ANONYMOUS:
        raise SoapFault(0x80338076, "w:UnsupportedFeature", "Only anonymous replies.", detail="AddressingMode")


def _check_locales(headers: dict[str, ET.Element]) -> None:
    for name in ("w:Locale", "p:DataLocale"):
        element = headers.get(_tag(name))
        if element is None:
            continue
        if _must_understand(element) or element.get("mustUnderstand") == "true":
            raise SoapFault(0x80338087, "w:UnsupportedFeature", "The locale is a hint only.", detail="Locale")
        if not element.get(f"{{{names.XML}}}lang"):
            raise invalid_header(f"{name} has no xml:lang.")


def _resource_uri(headers: dict[str, ET.Element]) -> str:
    uri = _text(headers.get(_tag("w:ResourceURI")))
    if not uri:
        raise SoapFault(0x8033803B, "a:DestinationUnreachable", "No resource URI.", detail="InvalidResourceURI")
    return uri


def _message_id(headers: dict[str, ET.Element]) -> str:
    message_id = _required(headers, "a:MessageID")
    if len(message_id.encode()) > names.MAX_MESSAGE_ID:
        raise invalid_header("The message ID is too long.")
    return message_id


def _max_envelope_size(headers: dict[str, ET.Element]) -> int:
    element = headers.get(_tag("w:MaxEnvelopeSize"))
    if element is None:
        return names.MAX_ENVELOPE
    text = _text(element)
    if not text.isdecimal():
        raise invalid_header("MaxEnvelopeSize is no number.")
    if int(text) < names.MIN_ENVELOPE:
        raise SoapFault(0x8033807E, "w:EncodingLimit", "MaxEnvelopeSize is too small.", detail="MinimumEnvelopeLimit")
    return min(int(text), names.MAX_ENVELOPE)


def _timeout(headers: dict[str, ET.Element]) -> float:
    element = headers.get(_tag("w:OperationTimeout"))
    if element is None:
        return names.MAX_TIMEOUT
    match = _DURATION.fullmatch(_text(element))
    if match is None:
        raise SoapFault(0x80338081, "a:InvalidMessageInformationHeader", "OperationTimeout is no xs:duration.")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    asked = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return min(max(asked, names.MIN_TIMEOUT), names.MAX_TIMEOUT)


def _fragment(headers: dict[str, ET.Element]) -> str | None:
    element = headers.get(_tag("w:FragmentTransfer"))
    if element is None:
        return None
    if not _must_understand(element):
        raise invalid_header("FragmentTransfer must be understood.")
    name = _text(element)
    if not re.fullmatch(r"\w+", name):
        raise SoapFault(0x80338059, "w:InvalidSelectors", "Only the name of one property.", detail="InvalidFragment")
    return name


def _named_values(container: ET.Element | None, child: str, twice: int) -> dict[str, str]:
    result: dict[str, str] = {}
    for element in () if container is None else container:
        name = element.get("Name", "").lower()
        if element.tag != _tag(child) or not name or len(element):
            raise SoapFault(0x8033803D, "w:InvalidSelectors", f"Only {child} elements with a name and a text.")
        if name in result:
            raise SoapFault(twice, "w:InvalidSelectors", f"{name} is there twice.", detail="DuplicateSelectors")
        result[name] = element.text or ""
    return result


def render(action: str, relates_to: str, body: str, prefixes: str = "san w") -> bytes:
    """The envelope of an answer; ``prefixes`` are letters of ``names.PREFIXES`` to declare."""
    declared = " ".join(f'xmlns:{prefix}="{names.PREFIXES[prefix]}"' for prefix in prefixes.replace(" ", ""))
    related = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>" if relates_to else ""
    return (
        f'<s:Envelope xml:lang="en-US" {declared}><s:Header><a:Action>{escape(action)}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:To>{names.ANONYMOUS}</a:To>{related}"
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()
