# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers: bytes to what they say. Whatever comes in, nothing but a ``WsmanError`` comes out."""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

from . import names
from .errors import ProtocolError
from .model import CimClass, Instance, MethodResult, Properties
from .values import is_null, read_integer, read_properties

#: Larger answers are refused, in bytes: four times what is asked for as the largest envelope.
MAX_ANSWER = 2_000_000
#: Deeper answers are refused. A fault of WMI with all its wrappings has 14 levels.
MAX_DEPTH = 64

_ENVELOPE = f"{{{names.SOAP}}}Envelope"
_HEADER = f"{{{names.SOAP}}}Header"
_BODY = f"{{{names.SOAP}}}Body"
_FAULT = f"{{{names.SOAP}}}Fault"
_RELATES_TO = f"{{{names.ADDRESSING}}}RelatesTo"
_FRAGMENT = f"{{{names.WSMAN}}}XmlFragment"
_ITEM = f"{{{names.WSMAN}}}Item"
_REFERENCE = f"{{{names.ADDRESSING}}}EndpointReference"
_SELECTORS = f"{{{names.ADDRESSING}}}ReferenceParameters/{{{names.WSMAN}}}SelectorSet/{{{names.WSMAN}}}Selector"
# EnumerateResponse has its items in the WS-Management namespace, PullResponse in the one of WS-Enumeration.
_ITEMS = (f"{{{names.WSMAN}}}Items", f"{{{names.ENUMERATION}}}Items")
_END = (f"{{{names.WSMAN}}}EndOfSequence", f"{{{names.ENUMERATION}}}EndOfSequence")
_CONTEXT = f"{{{names.ENUMERATION}}}EnumerationContext"
_PAGES = (f"{{{names.ENUMERATION}}}EnumerateResponse", f"{{{names.ENUMERATION}}}PullResponse")

# All that may stand before the root element. A DOCTYPE may not: SOAP forbids it (SOAP 1.2, section 5).
_PROLOG = re.compile(r"\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*", re.DOTALL)
_ENCODINGS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig"))


@dataclasses.dataclass(frozen=True)
class Answer:
    """A SOAP answer: the request that it relates to, the elements of its body, or its fault."""

    relates_to: str | None
    body: list[ET.Element]
    fault: ET.Element | None = None

    @property
    def content(self) -> ET.Element:
        """The one element of the body."""
        if not self.body:
            raise ProtocolError("the answer is empty where a result should be")
        return self.body[0]


@dataclasses.dataclass(frozen=True)
class Page:
    """A part of a query's result. ``context`` asks for the next part; it is None at the end."""

    items: list[ET.Element]
    context: str | None


def _decode(data: bytes) -> str:
    encoding = next(encoding for mark, encoding in _ENCODINGS if data.startswith(mark))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise ProtocolError(f"the answer is not {encoding.upper().removesuffix('-SIG')} text") from None


def _parse_xml(data: bytes) -> ET.Element:
    text = _decode(data)
    prolog = _PROLOG.match(text)
    if prolog is not None and text.startswith("<!", prolog.end()):
        raise ProtocolError("the answer has a document type declaration, which SOAP forbids")
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError, LookupError):
        raise ProtocolError("the answer is not well-formed XML") from None


def _check_depth(root: ET.Element) -> None:
    level = [root]
    for _depth in range(MAX_DEPTH):
        level = [child for element in level if len(element) for child in element]
        if not level:
            return
    raise ProtocolError(f"the answer is nested more than {MAX_DEPTH} levels deep")


def parse(data: bytes, max_answer: int = MAX_ANSWER) -> Answer:
    """Reads a SOAP 1.2 envelope of at most ``max_answer`` bytes; ``ProtocolError`` for anything else."""
    if len(data) > max_answer:
        raise ProtocolError(f"the answer has {len(data)} bytes, more than the {max_answer} allowed")
    root = _parse_xml(data)
    if root.tag != _ENVELOPE:
        raise ProtocolError("the answer is XML, but no SOAP 1.2 envelope")
    _check_depth(root)
    header = root.find(_HEADER)
    body = root.find(_BODY)
    if body is None:
        raise ProtocolError("the answer has no SOAP body")
    relates_to = None if header is None else header.findtext(_RELATES_TO)
    return Answer(relates_to and relates_to.strip(), list(body), body.find(_FAULT))


def read_page(answer: Answer) -> Page:
    """The items of an EnumerateResponse or a PullResponse.

    Only direct children count: a class may have a property of the name Items.
    """
    response = answer.content
    if response.tag not in _PAGES:
        raise ProtocolError("the answer is not one to a query")
    items: list[ET.Element] = []
    context: str | None = None
    ended = False
    for child in response:
        if child.tag in _ITEMS:
            items.extend(child)
        elif child.tag in _END:
            ended = True
        elif child.tag == _CONTEXT:
            context = (child.text or "").strip() or None
    if context is None and not ended:
        raise ProtocolError("the query's answer neither ends nor tells how to go on")
    return Page(items, None if ended else context)


def read_instance(element: ET.Element, cim_class: CimClass) -> Instance:
    """An instance: an element of its class, or an XmlFragment when columns were named in the query."""
    name = cim_class.name if element.tag == _FRAGMENT else names.local_name(element.tag)
    values = read_properties(element, cim_class.types_for(), cim_class.dropped)
    return Instance(cim_class, name, Properties(values))


def read_item(item: ET.Element, cim_class: CimClass) -> Instance:
    """An item of a page: an instance, or an instance and its reference wrapped together (DSP0226 8.7)."""
    if item.tag != _ITEM:
        return read_instance(item, cim_class)
    reference = item.find(_REFERENCE)
    content = next((child for child in item if child is not reference), None)
    if content is None:
        raise ProtocolError("an item of the query's answer has no object")
    selectors = [] if reference is None else reference.findall(_SELECTORS)
    given = {selector.get("Name", ""): selector.text or "" for selector in selectors}
    return dataclasses.replace(read_instance(content, cim_class), given_selectors=given)


def read_method_result(answer: Answer, cim_class: CimClass, method: str) -> MethodResult:
    """The out parameters and the return value, in any order; the element's name differs between servers."""
    output = answer.content
    return_value = None
    parameters = []
    for child in output:
        if names.local_name(child.tag) != "ReturnValue":
            parameters.append(child)
        elif not is_null(child):
            return_value = read_integer((child.text or "").strip(), "ReturnValue")
    outputs = read_properties(parameters, cim_class.types_for(method), cim_class.dropped)
    return MethodResult(return_value, Properties(outputs))
