# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A SOAP fault to one error, whatever its detail looks like.

Three shapes are known, and each hides the number somewhere else: ``MSFT_WmiError`` (Windows 8 and Server 2012 on,
when WMI hands over a CIM_Error), ``WSManFault`` with further ones nested in ``ProviderFault`` (MS-WSMV 2.2.4.43),
and the same with a WMI ``__ExtendedStatus`` beside. WinRM translates only well-known WMI codes to its own 0x8033xxxx
and hands the others on, so a code outside that range says more and wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from . import codes, names
from .errors import CimFault, OperationTimedOut

_SOAP = f"{{{names.SOAP}}}"
#: The length to which the other side's words are cut.
_MAX_TEXT = 1000
# Failure HRESULTs only: a text may hold addresses and flags that are written alike.
_HRESULT = re.compile(r"0x([89A-Fa-f][0-9A-Fa-f]{7})(?![0-9A-Fa-f])", re.IGNORECASE)
_DECIMAL = re.compile(r"\s*(-?[0-9]{1,20})\s*\Z")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def _by_name(parent: Element, name: str) -> Iterator[Element]:
    """All descendants of that local name, outermost first: namespaces differ between servers and versions."""
    return (element for element in parent.iter() if names.local_name(element.tag) == name)


def _texts(elements: Iterable[Element]) -> Iterator[str]:
    for element in elements:
        if element.text and element.text.strip():
            yield element.text


def _number(text: str | None) -> int | None:
    match = _DECIMAL.match(text or "")
    return codes.unsigned(int(match[1])) if match else None


def _hresults(texts: Iterable[str]) -> Iterator[int]:
    return (int(match, 16) for text in texts for match in _HRESULT.findall(text))


def _candidates(fault: Element) -> Iterator[int | None]:
    """All codes that the fault holds, the most telling first."""
    for error in _by_name(fault, "MSFT_WmiError"):
        yield from (_number(code.text) for code in _by_name(error, "error_Code"))
        yield from _hresults(_texts(_by_name(error, "MessageID")))
    nested = [_number(element.get("Code")) for element in _by_name(fault, "WSManFault")]
    yield from reversed(nested)
    yield from (_number(status.text) for status in _by_name(fault, "StatusCode"))
    yield from _hresults(_texts(fault.iter()))


def _code(fault: Element, subcode: str | None) -> int:
    found = [code for code in _candidates(fault) if code]
    foreign = next((code for code in found if not codes.is_wsman(code)), None)
    if foreign is not None:
        return foreign
    wmi_error = next(_by_name(fault, "MSFT_WmiError"), None)
    outer = next((_number(element.get("Code")) for element in _by_name(fault, "WSManFault")), None)
    if wmi_error is None and outer:
        return outer
    return found[0] if found else codes.SUBCODES.get(subcode or "", 0)


def _subcode(fault: Element) -> str | None:
    value = fault.findtext(f"{_SOAP}Code/{_SOAP}Subcode/{_SOAP}Value")
    return _clean(value.rpartition(":")[2]) if value and value.strip() else None


def _any_spelling(secret: str) -> str:
    """A pattern of the value with anything or nothing between its letters and digits: keys are written in many ways."""
    letters = [re.escape(char) for char in secret if char.isalnum()]
    return r"[\W_]*".join(letters) if len(letters) > 1 else re.escape(secret)


def _clean(text: str, hidden: Sequence[str] = ()) -> str:
    for secret in hidden:
        text = re.sub(_any_spelling(secret), "***", text, flags=re.IGNORECASE)
    text = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


def _reason(fault: Element) -> str:
    """The innermost message, or what SOAP gives as the reason."""
    messages = list(_texts(_by_name(fault, "Message"))) or list(_texts(_by_name(fault, "ProviderFault")))
    if messages:
        return messages[-1]
    return next(_texts(_by_name(fault, "Text")), "")


def _provider(fault: Element) -> str | None:
    found = (element.get("provider") for element in _by_name(fault, "ProviderFault"))
    return next((_clean(name) for name in found if name), None)


def parse_fault(fault: Element, hidden: Sequence[str] = ()) -> CimFault:
    """The error that an ``s:Fault`` stands for; ``hidden`` are values of the request that its text must not show."""
    subcode = _subcode(fault)
    code = _code(fault, subcode)
    timed_out = subcode == "TimedOut" or code == codes.OPERATION_TIMED_OUT
    kind = OperationTimedOut if timed_out else CimFault
    return kind(code, _clean(_reason(fault), hidden), subcode=subcode, provider=_provider(fault))
