# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SOAP faults in the three detail shapes in which Windows sends them."""

from __future__ import annotations

import dataclasses
from xml.sax.saxutils import escape, quoteattr

from ..cim import CimError
from . import names

SHAPES = ("wmi_error", "wsman_fault", "extended")

RESOURCE_NOT_FOUND = 0x80338000
CANNOT_PROCESS_FILTER = 0x8033801A
ACCESS_DENIED = 5


@dataclasses.dataclass
class SoapFault(Exception):
    """A request that is answered with a fault.

    ``code`` is WinRM's own number (wsmerror.h), ``provider_code`` the HRESULT of WMI or of a provider where the fault
    comes from there, ``detail`` the last part of a w:FaultDetail URI. ``shape`` overrides the machine's own.
    """

    code: int
    subcode: str
    text: str
    sender: bool = True
    soap_code: str = ""
    detail: str = ""
    provider_code: int | None = None
    cim_status: int = 1
    from_wmi: bool = False
    shape: str | None = None
    http_status: int = 500

    def __post_init__(self) -> None:
        super().__init__(f"{self.subcode} 0x{self.code:08X} {self.text}")
        self.soap_code = self.soap_code or ("s:Sender" if self.sender else "s:Receiver")


@dataclasses.dataclass(frozen=True)
class _Known:
    """How WinRM reports a well-known WBEM code: its own code, the subcode and the CIM status (DSP0223)."""

    code: int
    subcode: str
    cim_status: int


#: WinRM has codes of its own for a few of WMI's (wsmerror.h); all others travel raw (wbemcli.h).
_WELL_KNOWN = {
    0x80041002: _Known(RESOURCE_NOT_FOUND, "a:DestinationUnreachable", 6),
    0x80041003: _Known(0x80338104, "w:AccessDenied", 2),
    0x80041008: _Known(0x8033811E, "w:InvalidParameter", 4),
    0x8004100E: _Known(RESOURCE_NOT_FOUND, "a:DestinationUnreachable", 3),
    0x80041010: _Known(RESOURCE_NOT_FOUND, "a:DestinationUnreachable", 5),
    0x80041017: _Known(CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", 15),
    0x80041018: _Known(CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", 14),
    0x80041024: _Known(0x80338102, "w:InternalError", 7),
}
#: The same in a query, where WinRM blames the filter for a missing class or namespace too.
_WELL_KNOWN_IN_QUERIES = {
    0x8004100E: _Known(CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", 3),
    0x80041010: _Known(CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", 5),
}
_CIM_STATUS = {0x8004102E: 17, 0x8004102F: 4, 0x80041005: 13, 0x80041006: 1}


def from_cim_error(error: CimError, in_query: bool = False, shape: str | None = None) -> SoapFault:
    """The fault by which WinRM reports an error of WMI or of a provider."""
    known = (_WELL_KNOWN_IN_QUERIES.get(error.code) if in_query else None) or _WELL_KNOWN.get(error.code)
    if known is None:
        known = _Known(error.code, "w:InternalError", _CIM_STATUS.get(error.code, 1))
    return SoapFault(
        known.code,
        known.subcode,
        error.text,
        sender=known.subcode != "w:InternalError",
        provider_code=error.code,
        cim_status=known.cim_status,
        from_wmi=True,
        shape=shape,
    )


_UNKNOWN_ERROR = {
    "en-US": "The WMI service or the WMI provider returned an unknown error: HRESULT 0x{code:08x} {text}",
    "de-DE": "Der WMI-Dienst oder der WMI-Anbieter hat einen unbekannten Fehler zurückgegeben: HRESULT 0x{code:08x} ",
}
_REFUSED = {
    "en-US": "The WS-Management service cannot process the request. {text}",
    "de-DE": "Der WS-Verwaltungsdienst kann die Anforderung nicht verarbeiten. ",
}


def reason(fault: SoapFault, language: str) -> str:
    """The text for people in the machine's language; programs must not read it."""
    raw = fault.provider_code is not None and fault.provider_code == fault.code
    table = _UNKNOWN_ERROR if raw else _REFUSED
    return table.get(language, table["en-US"]).format(code=fault.code, text=fault.text)


def _wsman_fault(fault: SoapFault, machine: str, text: str, extended: bool) -> str:
    opening = (
        f'<f:WSManFault xmlns:f="{names.WSMAN_FAULT}" Code="{fault.code}" Machine={quoteattr(machine)}><f:Message>'
    )
    if not fault.from_wmi:
        return f"{opening}{escape(text)} </f:Message></f:WSManFault>"
    inner = (
        f'<f:WSManFault xmlns:f="{names.WSMAN_FAULT}" Code="{fault.provider_code or fault.code}"'
        f" Machine={quoteattr(machine)}><f:Message>{escape(text)} </f:Message></f:WSManFault>"
    )
    extension = _extended_error(fault, text) if extended else ""
    return (
        f'{opening}<f:ProviderFault provider="WMI Provider" path="%systemroot%\\system32\\WsmWmiPl.dll">'
        f"{inner}{extension}</f:ProviderFault></f:Message></f:WSManFault>"
    )


def _extended_error(fault: SoapFault, text: str) -> str:
    uri = f"{names.WMI_URI}root/cimv2/__ExtendedStatus"
    code = fault.provider_code
    status = '<p:StatusCode xsi:nil="true"/>' if code is None else f"<p:StatusCode>{code}</p:StatusCode>"
    return (
        f'<f:ExtendedError><p:__ExtendedStatus xmlns:p="{uri}" xmlns:xsi="{names.XSI}"'
        f' xsi:type="p:__ExtendedStatus_Type"><p:Description>{escape(text)}</p:Description>'
        '<p:Operation>ExecMethod</p:Operation><p:ParameterInfo xsi:nil="true"/>'
        f"<p:ProviderName>WMI</p:ProviderName>{status}</p:__ExtendedStatus></f:ExtendedError>"
    )


def _wmi_error(fault: SoapFault, text: str) -> str:
    fields = {
        "CIMStatusCode": fault.cim_status,
        "CIMStatusCodeDescription": None,
        "ErrorSource": None,
        "ErrorSourceFormat": 0,
        "ErrorType": 0,
        "Message": text,
        "MessageID": f"HRESULT 0x{fault.code:08x}",
        "OtherErrorSourceFormat": None,
        "OtherErrorType": None,
        "OwningEntity": None,
        "PerceivedSeverity": 0,
        "ProbableCause": 0,
        "ProbableCauseDescription": None,
        "error_Category": 30,
        "error_Code": fault.code,
        "error_Type": "HRESULT",
        "error_WindowsErrorMessage": text,
    }
    body = "".join(
        f'<p:{name} xsi:nil="true"/>' if value is None else f"<p:{name}>{escape(str(value))}</p:{name}>"
        for name, value in fields.items()
    )
    return (
        f'<p:MSFT_WmiError b:IsCIM_Error="true" xmlns:p="{names.WMI_ERROR}" xmlns:b="{names.CIM_BINDING}"'
        f' xmlns:cim="{names.CIM}" xmlns:xsi="{names.XSI}" xsi:type="p:MSFT_WmiError_Type">{body}</p:MSFT_WmiError>'
    )


def action(fault: SoapFault) -> str:
    """The wsa:Action of a fault message, after the specification that defines its subcode."""
    prefix = fault.subcode.partition(":")[0]
    owner = {"a": names.ADDRESSING, "n": names.ENUMERATION, "x": names.TRANSFER}.get(prefix)
    return f"{owner}/fault" if owner else "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"


def body(fault: SoapFault, machine: str, shape: str, language: str) -> str:
    """The s:Fault element; prefixes are those of ``names.PREFIXES``."""
    text = reason(fault, language)
    shape = fault.shape or shape
    if fault.from_wmi and shape == "wmi_error":
        detail = _wmi_error(fault, text)
    else:
        detail = f"<w:FaultDetail>{names.FAULT_DETAIL}{fault.detail}</w:FaultDetail>" if fault.detail else ""
        detail += _wsman_fault(fault, machine, text, shape == "extended")
    subcode = f"<s:Subcode><s:Value>{fault.subcode}</s:Value></s:Subcode>" if fault.subcode else ""
    return (
        f"<s:Fault><s:Code><s:Value>{fault.soap_code}</s:Value>{subcode}</s:Code>"
        f"<s:Reason><s:Text xml:lang={quoteattr(language)}>{escape(text)} </s:Text></s:Reason>"
        f"<s:Detail>{detail}</s:Detail></s:Fault>"
    )
