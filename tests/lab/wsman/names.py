# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces, actions and limits of WS-Management as Windows speaks it (MS-WSMV 2.2.1, DSP0226)."""

from __future__ import annotations

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
MS_WSMAN = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
CIM = "http://schemas.dmtf.org/wbem/wscim/1/common"
CIM_BINDING = "http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd"
WSMAN_FAULT = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
WMI_ERROR = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
XML = "http://www.w3.org/XML/1998/namespace"

ANONYMOUS = f"{ADDRESSING}/role/anonymous"
WMI_URI = "http://schemas.microsoft.com/wbem/wsman/1/wmi/"
CIM_URI = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/"
SHELL_URIS = (
    "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "http://schemas.microsoft.com/powershell/",
)
WQL = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
FAULT_DETAIL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"

ENUMERATE_ACTION = f"{ENUMERATION}/Enumerate"
PULL_ACTION = f"{ENUMERATION}/Pull"
RELEASE_ACTION = f"{ENUMERATION}/Release"
GET_ACTION = f"{TRANSFER}/Get"
PUT_ACTION = f"{TRANSFER}/Put"
DELETE_ACTION = f"{TRANSFER}/Delete"
CREATE_ACTION = f"{TRANSFER}/Create"

#: The prefixes that envelopes and faults use.
PREFIXES = {
    "s": SOAP, "a": ADDRESSING, "w": WSMAN, "n": ENUMERATION, "x": TRANSFER, "p": MS_WSMAN,
}  # fmt: skip

MIN_ENVELOPE = 8192  #: bytes (MS-WSMV 3.1.4.1.7)
MAX_ENVELOPE = 512000  #: bytes, MaxEnvelopeSizekb's default
MAX_MESSAGE_ID = 2048  #: bytes (MS-WSMV, note 47)
MAX_TIMEOUT = 60.0  #: seconds, MaxTimeoutms' default
MIN_TIMEOUT = 0.5  #: seconds (MS-WSMV 3.1.4.1.6)
PAGE = 75 * 1024  #: bytes of XML in a page of an enumeration, as recorded from Windows Server 2012
ENVELOPE_ROOM = 2048  #: bytes kept for the envelope around the items of an enumeration
CONTEXT_LIFETIME = 240.0  #: seconds that an enumeration is kept after its last use
