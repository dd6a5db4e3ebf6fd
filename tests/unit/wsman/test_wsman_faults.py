# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One error comes out of every shape of fault, with the code that says most."""

from __future__ import annotations

import pickle

import pytest
from unit.wsman.shapes import fault, soap

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.answer import parse
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    AuthenticationError,
    CimFault,
    OperationTimedOut,
    TransportError,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.faults import parse_fault

INVALID_KEY = 0xC004F050
NOT_FOUND = 0x80338000


def parsed(detail: str = "", hidden: tuple[str, ...] = (), **parts: str) -> CimFault:
    element = parse(soap(fault(detail, **parts))).fault
    assert element is not None
    return parse_fault(element, hidden)


def wmi_error(code: int, message_id: str = "", message: str = "The key is invalid.") -> str:
    return (
        '<p:MSFT_WmiError xmlns:p="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError"'
        ' xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd" b:IsCIM_Error="true">'
        "<p:CIMStatusCode>1</p:CIMStatusCode><p:CIMStatusCodeDescription/>"
        f"<p:Message>{message}</p:Message><p:MessageID>{message_id}</p:MessageID>"
        f"<p:error_Category>16</p:error_Category><p:error_Code>{code}</p:error_Code>"
        "<p:error_Type>HRESULT</p:error_Type><p:error_WindowsErrorMessage/></p:MSFT_WmiError>"
    )


def wsman_fault(outer: int, inner: int | None = None, text: str = "Inner words.", status: int | None = None) -> str:
    if inner is None:
        return f'<f:WSManFault Code="{outer}" Machine="kms1"><f:Message>{text}</f:Message></f:WSManFault>'
    nil = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"' if status is None else ""
    extended = (
        '<f:ExtendedError><p:__ExtendedStatus xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/x">'
        "<p:Description/><p:Operation>ExecMethod</p:Operation><p:ParameterInfo/><p:ProviderName>SppWmi</p:ProviderName>"
        f"<p:StatusCode{nil}>{'' if status is None else status}</p:StatusCode></p:__ExtendedStatus></f:ExtendedError>"
    )
    return (
        f'<f:WSManFault Code="{outer}" Machine="kms1"><f:Message>'
        '<f:ProviderFault provider="WMI Provider" path="%systemroot%\\system32\\WsmWmiPl.dll">'
        f'<f:WSManFault Code="{inner}" Machine="kms1"><f:Message>{text}</f:Message></f:WSManFault>{extended}'
        "</f:ProviderFault></f:Message></f:WSManFault>"
    )


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        (wmi_error(INVALID_KEY, "HRESULT 0xc004f050"), INVALID_KEY),
        (wmi_error(0x803381A6, "HRESULT 0x803381a6"), 0x803381A6),
        (wmi_error(0, "HRESULT 0xc004f050"), INVALID_KEY),
        (wmi_error(0x80338000, "HRESULT 0xc004f050"), INVALID_KEY),
        (wmi_error(INVALID_KEY - 2**32), INVALID_KEY),
        (wmi_error(INVALID_KEY + 2**32 * 0xFFFFFFFF), INVALID_KEY),
        (wsman_fault(NOT_FOUND), NOT_FOUND),
        (wsman_fault(5), 5),
        (wsman_fault(NOT_FOUND, INVALID_KEY), INVALID_KEY),
        (wsman_fault(5, INVALID_KEY), INVALID_KEY),
        (wsman_fault(INVALID_KEY, 0), INVALID_KEY),
        (wsman_fault(0x80338003, NOT_FOUND), 0x80338003),
        (wsman_fault(0x80338003, NOT_FOUND, status=INVALID_KEY), INVALID_KEY),
        (wsman_fault(0x80338003, 0x80070005, status=INVALID_KEY), 0x80070005),
        (wsman_fault(0x80338003, 0, text="unknown error: HRESULT 0xC004F050 "), INVALID_KEY),
        (wsman_fault(0x80338003, 0, text="unknown error at 0x00007FFE"), 0x80338003),
        (wsman_fault(0x80338003, 0, text="unknown error 0xC004F0500"), 0x80338003),
    ],
)
def test_the_code_that_says_most(detail: str, code: int) -> None:
    found = parsed(detail)
    assert found.hresult == code
    assert f"0x{code:08X}" in str(found)


@pytest.mark.parametrize(
    ("subcode", "code"),
    [("w:AccessDenied", 5), ("wsman:AccessDenied", 5), ("a:DestinationUnreachable", 0x80338012), ("x:Unheard", 0)],
)
def test_a_fault_without_detail_is_told_by_its_subcode(subcode: str, code: int) -> None:
    found = parsed(subcode=subcode)
    assert (found.hresult, found.subcode) == (code, subcode.partition(":")[2])
    assert "Something failed." in str(found)


@pytest.mark.parametrize(
    ("detail", "subcode"),
    [("", "w:TimedOut"), (wsman_fault(0x80338029), "w:TimedOut"), (wsman_fault(0x80338029), "w:InternalError")],
)
def test_a_time_out_is_its_own_kind(detail: str, subcode: str) -> None:
    found = parsed(detail, subcode=subcode)
    assert isinstance(found, OperationTimedOut) and found.hresult == 0x80338029
    assert found.symbol == "ERROR_WSMAN_OPERATION_TIMEDOUT"


def test_reason_and_provider_come_from_where_they_say_most() -> None:
    assert parsed(wmi_error(INVALID_KEY)).reason == "The key is invalid."
    nested = parsed(wsman_fault(NOT_FOUND, INVALID_KEY))
    assert nested.reason == "Inner words." and nested.provider == "WMI Provider"
    assert parsed("").reason == "Something failed." and parsed("").provider is None
    assert parsed(wsman_fault(5, text="")).reason == "Something failed."


def test_symbols_are_known_for_the_codes_of_the_protocol_alone() -> None:
    assert parsed(wsman_fault(NOT_FOUND)).symbol == "ERROR_WSMAN_RESOURCE_NOT_FOUND"
    assert parsed(wsman_fault(NOT_FOUND, 0x8004102E)).symbol == "WBEM_E_INVALID_METHOD"
    assert parsed(wmi_error(INVALID_KEY)).symbol is None


def test_what_was_sent_does_not_come_back_in_the_text() -> None:
    key = "ABCDE-FGHIJ-KLMNO-PQRST-UVWXY"
    found = parsed(wmi_error(INVALID_KEY, message=f"Bad key {key.lower()}!"), hidden=(key,))
    assert found.reason == "Bad key ***!"
    assert key.lower() not in str(found) + repr(found)


def test_texts_are_one_clean_line_of_bounded_length() -> None:
    found = parsed(wmi_error(INVALID_KEY, message="a\r\n\t b&#x85;c" + "x" * 100_000))
    assert found.reason.startswith("a b cx") and len(found.reason) < 1100


@pytest.mark.parametrize(
    "error",
    [
        CimFault(INVALID_KEY, "why", subcode="InternalError", provider="WMI Provider"),
        OperationTimedOut(0x80338029, "late"),
        TransportError("gone", sent=False),
        AuthenticationError("no"),
    ],
)
def test_errors_survive_pickling(error: CimFault | TransportError) -> None:
    """They may cross from a worker process."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error) and vars(copy) == vars(error)


def test_credentials_are_never_tried_again() -> None:
    assert AuthenticationError("no").dropped is False and AuthenticationError("no").sent is False
