# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIM values to and from the text that WS-Management has for them (DSP0230, MS-WSMV 2.2.4)."""

from __future__ import annotations

import base64
import binascii
import datetime
import math
import re
import typing as t
from collections.abc import Callable, Container, Iterable, Mapping
from xml.etree.ElementTree import Element

from . import names
from .errors import InvalidArgument, ProtocolError
from .model import STRING, CimType, PropertyType, Value

# What XML 1.0 cannot carry, escaped or not (XML 1.0, production 2). Windows would replace it by "?".
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# A raw CR would reach the other side as LF (XML 1.0, 2.11); in attributes TAB and LF become blanks (3.3.3).
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_ATTRIBUTE_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z|[+-]?INF\Z|NaN\Z")
_DATETIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?(Z|[+-][0-9]{2}:[0-9]{2})?\Z"
)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_NIL = f"{{{names.XSI}}}nil"
_TYPE = f"{{{names.XSI}}}type"


# --- to the wire ---


def _checked(text: str, argument: str) -> str:
    if _FORBIDDEN.search(text):
        raise InvalidArgument(f"{argument} holds a control character, which cannot be sent")
    return text


def escape(text: str, argument: str) -> str:
    """The text as element content. ``argument`` names it in the error for a character that XML cannot carry."""
    return _checked(text, argument).translate(_TEXT_ESCAPES)


def escape_attribute(text: str, argument: str) -> str:
    """The text as the content of a double-quoted attribute."""
    return _checked(text, argument).translate(_ATTRIBUTE_ESCAPES)


def wql_string(text: str) -> str:
    """The text as a WQL literal with its quotes; backslash and quote are escaped by a backslash (about_WQL)."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _write_datetime(value: datetime.datetime, argument: str) -> str:
    if value.tzinfo is None:
        raise InvalidArgument(f"{argument} is a time without a time zone")
    text = value.isoformat().replace("+00:00", "Z")
    return f'<cim:Datetime xmlns:cim="{names.CIM_COMMON}">{text}</cim:Datetime>'


def _write_real(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else ("INF" if value > 0 else "-INF")


def write_scalar(value: Value, argument: str) -> str:
    """One value that is not null as the content of its element."""
    if isinstance(value, str):
        return escape(value, argument)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _write_real(value)
    if isinstance(value, datetime.datetime):
        return _write_datetime(value, argument)
    raise InvalidArgument(f"{argument} is of a type that cannot be sent: {type(value).__name__}")


def write_element(tag: str, value: Value, argument: str) -> str:
    """The element of a value, repeated for each value of an array; bytes are an array of numbers.

    A null is no element, and so is an empty array: WS-Management cannot tell them apart (DSP0230).
    """
    if value is None:
        return ""
    if isinstance(value, (list, tuple, bytes, bytearray)):
        if any(item is None for item in value):
            raise InvalidArgument(f"{argument} holds a null inside an array, which cannot be sent")
        return "".join(f"<{tag}>{write_scalar(item, argument)}</{tag}>" for item in value)
    return f"<{tag}>{write_scalar(value, argument)}</{tag}>"


# --- from the wire ---


def _bad(name: str, kind: str) -> ProtocolError:
    return ProtocolError(f"{name} should be {kind}, and what came is not")


def read_integer(text: str, name: str) -> int:
    """A decimal number of up to 64 bits, either sign: what 4294967295 or -1 means is the caller's to know."""
    if not _INTEGER.match(text):
        raise _bad(name, "an integer")
    return int(text)


def _read_real(text: str, name: str) -> float:
    if not _REAL.match(text):
        raise _bad(name, "a real number")
    return float(text)


def _read_boolean(text: str, name: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise _bad(name, "a boolean") from None


def _offset(text: str | None) -> datetime.timezone:
    if text is None or text == "Z":
        return datetime.timezone.utc
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return datetime.timezone(datetime.timedelta(minutes=-minutes if text[0] == "-" else minutes))


def read_datetime(text: str, name: str) -> datetime.datetime | str:
    """An aware point in time, with what is finer than a microsecond cut off; an interval stays text."""
    if text.startswith(("P", "-P")):
        return text
    match = _DATETIME.match(text)
    if match is None:
        raise _bad(name, "a date and time")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    microsecond = int((match[7] or "")[:6].ljust(6, "0"))
    try:
        return datetime.datetime(year, month, day, hour, minute, second, microsecond, _offset(match[8]))
    except ValueError:
        raise _bad(name, "a date and time") from None


_READERS: Mapping[CimType, Callable[[str, str], Value]] = {
    CimType.BOOLEAN: _read_boolean,
    CimType.DATETIME: read_datetime,
    CimType.INTEGER: read_integer,
    CimType.REAL: _read_real,
}


def is_null(element: Element) -> bool:
    """Whether the element stands for null, scalar or array (with or without IsNullArray)."""
    nil = element.get(_NIL)
    return nil is not None and nil.lower() in ("true", "1")


def _read_text(text: str, kind: CimType, name: str) -> Value:
    if kind is CimType.STRING:
        return text
    text = text.strip()
    return _READERS[kind](text, name) if text else None


def _read_nested(element: Element, name: str) -> Value:
    """A datetime, an interval, or the parts of an embedded object or reference."""
    inner = names.local_name(element[0].tag)
    if len(element) == 1 and not len(element[0]):
        if inner == "Datetime":
            return read_datetime((element[0].text or "").strip(), name)
        if inner == "Interval":
            return (element[0].text or "").strip()
    parts: dict[str, Value] = {}
    for child in element:
        part = names.local_name(child.tag)
        value = read_element(child, CimType.STRING, part)
        parts[part] = value if part not in parts else [*_as_list(parts[part]), value]
    return parts


def _as_list(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]


def _read_octets(text: str, name: str) -> list[int]:
    try:
        return list(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        raise _bad(name, "base64") from None


def read_element(element: Element, kind: CimType, name: str) -> Value:
    """The value of one element; ``name`` tells it in errors."""
    if is_null(element):
        return None
    if len(element):
        return _read_nested(element, name)
    text = element.text or ""
    # uint8 arrays may come as one [OctetString] instead of an element a byte (DSP0230).
    if kind is CimType.INTEGER and element.get(_TYPE, "").endswith("cimBase64Binary"):
        return _read_octets(text, name)
    return _read_text(text, kind, name)


def read_property(elements: t.Sequence[Element], kind: PropertyType, name: str) -> Value:
    """The value of all elements of one name: an array is its element repeated, a null array one nil element."""
    if len(elements) == 1:
        if kind is STRING and elements[0].text and not len(elements[0]) and elements[0].get(_NIL) is None:
            return elements[0].text  # most properties: worth a short cut
        value = read_element(elements[0], kind.type, name)
        return value if value is None or not kind.array else _as_list(value)
    return [read_element(element, kind.type, name) for element in elements]


def read_properties(
    parent: Iterable[Element], types: Mapping[str, PropertyType], drop: Container[str]
) -> dict[str, Value]:
    """The values of all children by their names. What is to be dropped is not looked at.

    ``types`` and ``drop`` know the names in lower case; what has no type is a string.
    """
    groups: dict[str, list[Element]] = {}
    for child in parent:
        groups.setdefault(names.local_name(child.tag), []).append(child)
    values = {}
    for name, elements in groups.items():
        key = name.lower()
        if key not in drop:
            values[name] = read_property(elements, types.get(key, STRING), name)
    return values
