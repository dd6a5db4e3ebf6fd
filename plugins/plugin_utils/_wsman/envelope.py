# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests: what is asked for (``Message``), and its envelope in bytes (``Writer``).

The order of the header is the one Windows' own client uses (MS-WSMV 4.11.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from . import names
from .errors import InvalidArgument
from .model import CimClass, Value, is_name
from .values import escape, escape_attribute, write_element, write_scalar

#: As many items as fit the envelope. Without MaxElements, Windows gives one item a Pull (MS-WSMV 4.1.2).
MAX_ELEMENTS = 32000

#: Strings shorter than this are not hidden in the other side's error texts: they would hide half of the words.
_SECRET_LENGTH = 6

_BEFORE_ACTION = (
    f'</w:ResourceURI><a:ReplyTo><a:Address s:mustUnderstand="true">{names.ANONYMOUS}</a:Address></a:ReplyTo>'
    '<a:Action s:mustUnderstand="true">'
)
# mustUnderstand="true" would be refused for Locale (MS-WSMV 3.1.4.1.8).
_AFTER_ID = '</a:MessageID><w:Locale xml:lang="en-US" s:mustUnderstand="false"/>'


@dataclasses.dataclass(frozen=True)
class Message:
    """A request without its addressing: ``headers`` and ``body`` are XML.

    ``hidden`` are values that were sent and must not come back in an error's text.
    """

    action: str
    resource_uri: str
    body: str = dataclasses.field(default="", repr=False)
    headers: str = dataclasses.field(default="", repr=False)
    hidden: tuple[str, ...] = dataclasses.field(default=(), repr=False)


@dataclasses.dataclass(frozen=True)
class Writer:
    """Puts messages into envelopes for one endpoint.

    ``max_envelope_size`` is the largest answer wanted, in bytes; Windows refuses less than 8192 and lowers what is
    above its own limit (MS-WSMV 3.1.4.1.7).
    """

    endpoint: str
    max_envelope_size: int = 512000
    _before_uri: str = dataclasses.field(init=False, repr=False)
    _before_id: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.max_envelope_size < 8192:
            raise ValueError("max_envelope_size must be at least 8192 bytes")
        before_uri = (
            f'<s:Envelope xmlns:s="{names.SOAP}" xmlns:a="{names.ADDRESSING}" xmlns:w="{names.WSMAN}"><s:Header>'
            f'<a:To>{escape(self.endpoint, "endpoint")}</a:To><w:ResourceURI s:mustUnderstand="true">'
        )
        before_id = (
            f'</a:Action><w:MaxEnvelopeSize s:mustUnderstand="true">{self.max_envelope_size}</w:MaxEnvelopeSize>'
            "<a:MessageID>"
        )
        object.__setattr__(self, "_before_uri", before_uri)
        object.__setattr__(self, "_before_id", before_id)

    def write(self, message: Message, *, message_id: str, operation_timeout: float) -> bytes:
        """The envelope. ``operation_timeout`` in seconds; Windows raises it to 0.5 s and lowers it to MaxTimeoutms."""
        return (
            f"{self._before_uri}{message.resource_uri}{_BEFORE_ACTION}{message.action}{self._before_id}{message_id}"
            f"{_AFTER_ID}{message.headers}<w:OperationTimeout>PT{operation_timeout:.3f}S</w:OperationTimeout>"
            f"</s:Header><s:Body>{message.body}</s:Body></s:Envelope>"
        ).encode()


def _selector_set(selectors: Mapping[str, str]) -> str:
    if not selectors:
        return ""
    items = "".join(
        f'<w:Selector Name="{escape_attribute(name, "selector name")}">{write_scalar(value, f"selector {name}")}'
        "</w:Selector>"
        for name, value in selectors.items()
    )
    return f"<w:SelectorSet>{items}</w:SelectorSet>"


def _named(name: str, what: str) -> str:
    if not is_name(name):
        raise InvalidArgument(f"not a name for a {what}: {name!r}")
    return name


def _hidden(values: Mapping[str, Value]) -> tuple[str, ...]:
    return tuple(value for value in values.values() if isinstance(value, str) and len(value) >= _SECRET_LENGTH)


def enumerate_wql(cim_class: CimClass, wql: str, *, with_selectors: bool = False) -> Message:
    """Start of a query, with the first items already in its answer (OptimizeEnumeration).

    ``with_selectors`` asks for each object together with its reference, in the answers to Pull, too (DSP0226 8.7).
    """
    mode = "<w:EnumerationMode>EnumerateObjectAndEPR</w:EnumerationMode>" if with_selectors else ""
    body = (
        f'<n:Enumerate xmlns:n="{names.ENUMERATION}"><w:OptimizeEnumeration/>'
        f"<w:MaxElements>{MAX_ELEMENTS}</w:MaxElements>{mode}"
        f'<w:Filter Dialect="{names.WQL_DIALECT}">{escape(wql, "query")}</w:Filter></n:Enumerate>'
    )
    return Message(names.ACTION_ENUMERATE, cim_class.query_uri, body)


def pull(cim_class: CimClass, context: str) -> Message:
    """The next items of a query; ``context`` is the one of the latest answer: each answer has a new one."""
    body = (
        f'<n:Pull xmlns:n="{names.ENUMERATION}"><n:EnumerationContext>{escape(context, "context")}'
        f"</n:EnumerationContext><n:MaxElements>{MAX_ELEMENTS}</n:MaxElements></n:Pull>"
    )
    return Message(names.ACTION_PULL, cim_class.query_uri, body)


def release(cim_class: CimClass, context: str) -> Message:
    """The end of a query that is not read to its end."""
    body = (
        f'<n:Release xmlns:n="{names.ENUMERATION}"><n:EnumerationContext>{escape(context, "context")}'
        "</n:EnumerationContext></n:Release>"
    )
    return Message(names.ACTION_RELEASE, cim_class.query_uri, body)


def get(cim_class: CimClass, selectors: Mapping[str, str]) -> Message:
    """One instance; without selectors only of a singleton class (MS-WSMV 3.1.4.2)."""
    return Message(names.ACTION_GET, cim_class.resource_uri, headers=_selector_set(selectors))


def put_property(cim_class: CimClass, selectors: Mapping[str, str], name: str, value: Value) -> Message:
    """One property written, the others left alone (a fragment; mustUnderstand is required, MS-WSMV 3.1.4.1.18).

    Properties of a fragment of a WMI class have no namespace.
    """
    tag = _named(name, "property")
    element = write_element(tag, value, name) or f'<{tag} xmlns:xsi="{names.XSI}" xsi:nil="true"/>'
    headers = _selector_set(selectors) + f'<w:FragmentTransfer s:mustUnderstand="true">{tag}</w:FragmentTransfer>'
    body = f"<w:XmlFragment>{element}</w:XmlFragment>"
    return Message(names.ACTION_PUT, cim_class.resource_uri, body, headers, _hidden({name: value}))


def put_instance(
    cim_class: CimClass, selectors: Mapping[str, str], name: str, properties: Mapping[str, Value]
) -> Message:
    """A whole instance of class ``name``. Nulls are written as such, except null arrays, which must not be sent."""
    parts = [
        write_element(f"p:{_named(prop, 'property')}", value, prop)
        or ("" if cim_class.type_of(prop).array else f'<p:{prop} xsi:nil="true"/>')
        for prop, value in properties.items()
    ]
    tag = f"p:{_named(name, 'class')}"
    body = f'<{tag} xmlns:p="{cim_class.resource_uri}" xmlns:xsi="{names.XSI}">{"".join(parts)}</{tag}>'
    return Message(names.ACTION_PUT, cim_class.resource_uri, body, _selector_set(selectors), _hidden(properties))


def invoke(cim_class: CimClass, method: str, arguments: Mapping[str, Value], selectors: Mapping[str, str]) -> Message:
    """A method call, with its arguments in the order given: give them in the order of the class.

    Names of arguments are case-sensitive for WMI. A null argument is left out.
    """
    tag = f"p:{_named(method, 'method')}_INPUT"
    items = "".join(write_element(f"p:{_named(name, 'argument')}", value, name) for name, value in arguments.items())
    body = f'<{tag} xmlns:p="{cim_class.resource_uri}">{items}</{tag}>'
    action = f"{cim_class.resource_uri}/{method}"
    return Message(action, cim_class.resource_uri, body, _selector_set(selectors), _hidden(arguments))


def delete(cim_class: CimClass, selectors: Mapping[str, str]) -> Message:
    """One instance removed."""
    return Message(names.ACTION_DELETE, cim_class.resource_uri, headers=_selector_set(selectors))
