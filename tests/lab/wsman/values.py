# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIM values as XML and back (DSP0230; the recordings of Windows Server 2008 R2 and 2012 for the spelling)."""

from __future__ import annotations

import datetime
import re
import typing as t
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from ..cim import CimClass, CimValue, Instance, Property
from . import names

_INTEGER = re.compile(r"([us])int(8|16|32|64)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NIL = f"{{{names.XSI}}}nil"
_DATETIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_DATETIME_TAGS = (f"{{{names.CIM}}}Datetime", "Datetime")


class BadValue(ValueError):
    """The XML holds no value of the type."""


def integer_range(cim_type: str) -> tuple[int, int] | None:
    """The least and the greatest value of an integer type, None for other types."""
    match = _INTEGER.fullmatch(cim_type)
    if match is None:
        return None
    bits = int(match[2])
    return (0, 2**bits - 1) if match[1] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def parse_integer(cim_type: str, text: str) -> int:
    """A decimal integer in the range of its type; raises BadValue."""
    limits = integer_range(cim_type)
    if limits is None or not re.fullmatch(r"-?\d+", text):
        raise BadValue(f"{text!r} is no {cim_type}")
    value = int(text)
    if not limits[0] <= value <= limits[1]:
        raise BadValue(f"{text} is out of range for {cim_type}")
    return value


def parse_boolean(text: str) -> bool:
    """xs:boolean, whose spelling is strict; raises BadValue."""
    if text not in ("true", "false", "1", "0"):
        raise BadValue(f"{text!r} is no boolean")
    return text in ("true", "1")


def parse_datetime(text: str) -> datetime.datetime:
    """xs:dateTime with a time zone; more than six fraction digits are cut. Raises BadValue."""
    match = _DATETIME.fullmatch(text)
    if match is None:
        raise BadValue(f"{text!r} is no dateTime")
    fraction = (match[2] or "0")[:6].ljust(6, "0")
    try:
        return datetime.datetime.fromisoformat(f"{match[1]}.{fraction}{match[3].replace('Z', '+00:00')}")
    except ValueError as exc:
        raise BadValue(str(exc)) from exc


def parse_text(cim_type: str, text: str) -> CimValue:
    """A value from its text; raises BadValue."""
    if cim_type == "string":
        return text
    text = text.strip()
    if cim_type == "boolean":
        return parse_boolean(text)
    if cim_type == "datetime":
        return parse_datetime(text)
    if cim_type.startswith("real"):
        try:
            return float(text)
        except ValueError as exc:
            raise BadValue(f"{text!r} is no {cim_type}") from exc
    return parse_integer(cim_type, text)


def is_nil(element: ET.Element) -> bool:
    return element.get(_NIL, "false") in ("true", "1")


def parse_element(prop: Property, element: ET.Element) -> CimValue:
    """The value of one element; nil is None. Raises BadValue."""
    if is_nil(element):
        return None
    children = list(element)
    if prop.type == "datetime" and len(children) == 1 and children[0].tag in _DATETIME_TAGS:
        return parse_datetime((children[0].text or "").strip())
    if children:
        raise BadValue(f"{prop.name} holds elements")
    return parse_text(prop.type, element.text or "")


def parse_elements(prop: Property, elements: t.Sequence[ET.Element]) -> CimValue:
    """The value of a property or parameter from its one or, for an array, repeated elements; raises BadValue."""
    if not prop.array:
        if len(elements) != 1:
            raise BadValue(f"{prop.name} is no array")
        return parse_element(prop, elements[0])
    if len(elements) == 1 and is_nil(elements[0]):
        return None
    items = [parse_element(prop, element) for element in elements]
    if None in items:  # MS-WSMV 3.2.4.1.17
        raise BadValue(f"{prop.name} holds a null element")
    return items


def text_of(prop: Property, value: CimValue) -> str:
    """The plain text of a value that is not null, as selectors and XML carry it."""
    if prop.type == "boolean":
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return _datetime_text(value)
    return _CONTROL.sub("?", str(value))  # MS-WSMV 3.1.4.1.25


def _datetime_text(value: datetime.datetime) -> str:
    offset = value.utcoffset()
    if offset is None:
        raise TypeError("a CIM datetime has a time zone")
    text = value.replace(tzinfo=None, microsecond=0).isoformat()
    if value.microsecond:
        text += f".{value.microsecond:06d}".rstrip("0")
    return f"{text}Z" if not offset else f"{text}{value.isoformat()[-6:]}"


def _interval_text(value: datetime.timedelta) -> str:
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"P{value.days}DT{hours}H{minutes}M{seconds}S"


def to_xml(prop: Property, value: CimValue, prefix: str = "p:", cim: str = "cim:", precise: bool = False) -> str:
    """The element or elements of a value. ``precise`` is the option UsePreciseArrays (MS-WSMV 4.11.1)."""
    tag = prefix + prop.name
    if value is None:
        mark = f' xmlns:m="{names.MS_WSMAN}" m:IsNullArray="true"' if precise and prop.array else ""
        return f'<{tag} xsi:nil="true"{mark}/>'
    if prop.array:
        return "".join(_one(tag, prop, item, cim) for item in value)
    return _one(tag, prop, value, cim)


def _one(tag: str, prop: Property, value: CimValue, cim: str) -> str:
    if isinstance(value, datetime.timedelta):
        return f"<{tag}><{cim}Interval>{_interval_text(value)}</{cim}Interval></{tag}>"
    text = text_of(prop, value)
    if prop.type == "datetime":
        return f"<{tag}><{cim}Datetime>{text}</{cim}Datetime></{tag}>"
    return f"<{tag}>{escape(text)}</{tag}>"


def class_uri(cim_class: CimClass) -> str:
    """The resource URI of a class."""
    return f"{names.WMI_URI}{cim_class.namespace}/{cim_class.name}"


def instance_xml(instance: Instance, precise: bool = False) -> str:
    """A whole instance, properties in alphabetical order whatever their case."""
    cim_class, values = instance.cim_class, instance.values
    name = cim_class.name
    inner = "".join(to_xml(prop, values.get(prop.name), precise=precise) for prop in cim_class.alphabetical)
    return (
        f'<p:{name} xmlns:xsi="{names.XSI}" xmlns:p="{class_uri(cim_class)}" xmlns:cim="{names.CIM}"'
        f' xsi:type="p:{name}_Type">{inner}</p:{name}>'
    )


def reference_xml(instance: Instance) -> str:
    """The endpoint reference of an instance: its class and its keys, as selectors (DSP0226 5.1.2)."""
    cim_class = instance.cim_class
    keys = {"__cimnamespace": cim_class.namespace}
    keys |= {key.name: text_of(key, instance.values[key.name]) for key in cim_class.keys}
    selectors = "".join(
        f"<w:Selector Name={quoteattr(name)}>{escape(text)}</w:Selector>" for name, text in keys.items()
    )
    return (
        f"<a:EndpointReference><a:Address>{names.ANONYMOUS}</a:Address><a:ReferenceParameters>"
        f"<w:ResourceURI>{class_uri(cim_class)}</w:ResourceURI><w:SelectorSet>{selectors}</w:SelectorSet>"
        "</a:ReferenceParameters></a:EndpointReference>"
    )


def item_xml(instance: Instance, precise: bool = False) -> str:
    """An instance and its reference together (DSP0226 8.7)."""
    return f"<w:Item>{instance_xml(instance, precise)}{reference_xml(instance)}</w:Item>"


def fragment_xml(instance: Instance, columns: t.Collection[str]) -> str:
    """Some properties of an instance, by lower-case name: without a namespace, alphabetical, as Windows does."""
    inner = "".join(
        to_xml(prop, instance.values.get(prop.name), prefix="", cim="")
        for prop in instance.cim_class.alphabetical
        if prop.name.lower() in columns
    )
    return f'<w:XmlFragment xmlns:xsi="{names.XSI}" xmlns:w="{names.WSMAN}">{inner}</w:XmlFragment>'
