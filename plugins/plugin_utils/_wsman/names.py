# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces and action URIs of WS-Management (DSP0226, MS-WSMV 2.2.1)."""

from __future__ import annotations

SOAP = "http://www.w3.org/2003/05/soap-envelope"
ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
MICROSOFT_WSMAN = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
CIM_COMMON = "http://schemas.dmtf.org/wbem/wscim/1/common"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

#: A WMI class is addressed as this, its namespace and its name (MS-WSMV 3.1.4.1.1).
WMI = "http://schemas.microsoft.com/wbem/wsman/1/wmi"
#: The filter dialect for WQL (MS-WSMV 3.1.4.1.13).
WQL_DIALECT = "http://schemas.microsoft.com/wbem/wsman/1/WQL"

ANONYMOUS = f"{ADDRESSING}/role/anonymous"

ACTION_ENUMERATE = f"{ENUMERATION}/Enumerate"
ACTION_PULL = f"{ENUMERATION}/Pull"
ACTION_RELEASE = f"{ENUMERATION}/Release"
ACTION_GET = f"{TRANSFER}/Get"
ACTION_PUT = f"{TRANSFER}/Put"
ACTION_DELETE = f"{TRANSFER}/Delete"


def local_name(tag: str) -> str:
    """The name of an ElementTree tag without its namespace."""
    return tag.rpartition("}")[2]
