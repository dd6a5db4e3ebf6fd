# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, byte for byte."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman import envelope
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import InvalidArgument
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, CimType, PropertyType

SERVICE = CimClass("root/cimv2", "Win32_Service")
URI = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_Service"

WRITER = envelope.Writer("http://kms1.example.com:5985/wsman")


def written(message: envelope.Message) -> str:
    return WRITER.write(message, message_id="uuid:1", operation_timeout=20).decode()


def expected(action: str, uri: str, body: str, headers: str = "") -> str:
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"><s:Header>'
        "<a:To>http://kms1.example.com:5985/wsman</a:To>"
        f'<w:ResourceURI s:mustUnderstand="true">{uri}</w:ResourceURI>'
        '<a:ReplyTo><a:Address s:mustUnderstand="true">'
        "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:Address></a:ReplyTo>"
        f'<a:Action s:mustUnderstand="true">{action}</a:Action>'
        '<w:MaxEnvelopeSize s:mustUnderstand="true">512000</w:MaxEnvelopeSize>'
        "<a:MessageID>uuid:1</a:MessageID>"
        '<w:Locale xml:lang="en-US" s:mustUnderstand="false"/>'
        f"{headers}<w:OperationTimeout>PT20.000S</w:OperationTimeout></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )


def test_enumerate_with_wql() -> None:
    wql = "select * from Win32_Service where Name <> 'a&b'"
    assert written(envelope.enumerate_wql(SERVICE, wql)) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate",
        "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/*",
        '<n:Enumerate xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"><w:OptimizeEnumeration/>'
        "<w:MaxElements>32000</w:MaxElements>"
        '<w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">'
        "select * from Win32_Service where Name &lt;&gt; 'a&amp;b'</w:Filter></n:Enumerate>",
    )


def test_enumerate_with_selectors_has_the_order_of_windows_own_client() -> None:
    assert written(envelope.enumerate_wql(SERVICE, "select * from Win32_Service", with_selectors=True)) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Enumerate",
        "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/*",
        '<n:Enumerate xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration"><w:OptimizeEnumeration/>'
        "<w:MaxElements>32000</w:MaxElements><w:EnumerationMode>EnumerateObjectAndEPR</w:EnumerationMode>"
        '<w:Filter Dialect="http://schemas.microsoft.com/wbem/wsman/1/WQL">'
        "select * from Win32_Service</w:Filter></n:Enumerate>",
    )


def test_pull_and_release() -> None:
    uri = "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/*"
    assert written(envelope.pull(SERVICE, "uuid:C")) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Pull",
        uri,
        '<n:Pull xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration">'
        "<n:EnumerationContext>uuid:C</n:EnumerationContext><n:MaxElements>32000</n:MaxElements></n:Pull>",
    )
    assert written(envelope.release(SERVICE, "uuid:C")) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/enumeration/Release",
        uri,
        '<n:Release xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration">'
        "<n:EnumerationContext>uuid:C</n:EnumerationContext></n:Release>",
    )


def test_get_of_a_singleton_and_by_key() -> None:
    action = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Get"
    assert written(envelope.get(SERVICE, {})) == expected(action, URI, "")
    assert written(envelope.get(SERVICE, {'Na"me': "a<b"})) == expected(
        action, URI, "", '<w:SelectorSet><w:Selector Name="Na&quot;me">a&lt;b</w:Selector></w:SelectorSet>'
    )


def test_delete() -> None:
    assert written(envelope.delete(SERVICE, {"Name": "x"})) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete",
        URI,
        "",
        '<w:SelectorSet><w:Selector Name="Name">x</w:Selector></w:SelectorSet>',
    )


def test_invoke_sends_arguments_in_order_and_leaves_out_nulls() -> None:
    arguments = {
        "Start": True,
        "Count": 2147483650,
        "Names": ["a", "b"],
        "Nothing": None,
        "Text": "a\rb",
        "Raw": b"\x00\xff",
    }
    assert written(envelope.invoke(SERVICE, "Change", arguments, {"Name": "w32time"})) == expected(
        f"{URI}/Change",
        URI,
        f'<p:Change_INPUT xmlns:p="{URI}"><p:Start>true</p:Start><p:Count>2147483650</p:Count>'
        "<p:Names>a</p:Names><p:Names>b</p:Names><p:Text>a&#13;b</p:Text><p:Raw>0</p:Raw><p:Raw>255</p:Raw>"
        "</p:Change_INPUT>",
        '<w:SelectorSet><w:Selector Name="Name">w32time</w:Selector></w:SelectorSet>',
    )


def test_invoke_without_arguments_still_sends_the_empty_element() -> None:
    assert f'<s:Body><p:StopService_INPUT xmlns:p="{URI}"></p:StopService_INPUT></s:Body>' in written(
        envelope.invoke(SERVICE, "StopService", {}, {})
    )


def test_put_of_one_property_is_a_fragment() -> None:
    assert written(envelope.put_property(SERVICE, {"Name": "x"}, "StartMode", "Auto")) == expected(
        "http://schemas.xmlsoap.org/ws/2004/09/transfer/Put",
        URI,
        "<w:XmlFragment><StartMode>Auto</StartMode></w:XmlFragment>",
        '<w:SelectorSet><w:Selector Name="Name">x</w:Selector></w:SelectorSet>'
        '<w:FragmentTransfer s:mustUnderstand="true">StartMode</w:FragmentTransfer>',
    )


def test_put_of_a_null_says_so() -> None:
    body = envelope.put_property(SERVICE, {}, "StartMode", None).body
    nil = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"'
    assert body == f"<w:XmlFragment><StartMode {nil}/></w:XmlFragment>"


def test_put_of_an_instance_leaves_out_null_arrays() -> None:
    cim_class = CimClass("root/cimv2", "X", {"List": PropertyType(CimType.STRING, array=True)})
    body = envelope.put_instance(cim_class, {}, "X", {"A": None, "List": None, "B": 1}).body
    assert '<p:A xsi:nil="true"/><p:B>1</p:B></p:X>' in body and "List" not in body


@pytest.mark.parametrize("name", ["a b", "", "a>b", "1a", "a:b", "ä"])
def test_names_that_would_break_out_of_the_xml_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument):
        envelope.invoke(SERVICE, name, {}, {})
    with pytest.raises(InvalidArgument):
        envelope.invoke(SERVICE, "Change", {name: 1}, {})
    with pytest.raises(InvalidArgument):
        envelope.put_property(SERVICE, {}, name, 1)


def test_a_message_does_not_show_what_it_sends() -> None:
    key = "A" * 29
    message = envelope.invoke(SERVICE, "InstallProductKey", {"ProductKey": key, "Short": "ab", "Number": 7}, {"V": key})
    assert message.hidden == (key,)
    assert key not in repr(message)


def test_too_small_an_envelope_is_refused_here_rather_than_there() -> None:
    with pytest.raises(ValueError, match="8192"):
        envelope.Writer("http://kms1.example.com:5985/wsman", 4096)


def test_requests_are_small() -> None:
    licensing = CimClass("root/cimv2", "SoftwareLicensingService")
    messages = [
        envelope.enumerate_wql(licensing, "select * from SoftwareLicensingProduct where PartialProductKey <> null"),
        envelope.invoke(licensing, "InstallProductKey", {"ProductKey": "A" * 29}, {"Version": "10.0.17763.2028"}),
        envelope.pull(licensing, "uuid:" + "0" * 36),
    ]
    long_id = "uuid:" + "0" * 36
    assert max(len(WRITER.write(m, message_id=long_id, operation_timeout=20)) for m in messages) < 1400
