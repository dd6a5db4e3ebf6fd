# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of WS-Management on a toy repository, in the shapes recorded from Windows (MS-WSMV 3.1.4)."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
from unit.lab.wire.kit import NS, Answer, Loop, Plain, selector_set
from unit.lab.wire.toy import REGISTRY, SERVICE, ToyRepository

from lab.wsman import names

Make = t.Callable[..., Plain]
NIL = f"{{{names.XSI}}}nil"
SERVICE_URI = f"{names.WMI_URI}root/cimv2/Toy_Service"


def test_a_singleton_comes_whole(plain: Make) -> None:
    answer = plain().query("select * from Toy_System", MessageID="<a:MessageID>uuid:AbC</a:MessageID>")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/soap+xml;charset=UTF-8"
    assert answer.text("a:RelatesTo") == "uuid:AbC"
    assert answer.text("a:Action") == f"{names.ENUMERATE_ACTION}Response"
    response = answer.payload
    assert [child.tag for child in response] == [
        f"{{{names.ENUMERATION}}}EnumerationContext",
        f"{{{names.WSMAN}}}Items",
        f"{{{names.WSMAN}}}EndOfSequence",
    ]
    assert not response[0].text


def test_an_instance_looks_as_recorded(plain: Make) -> None:
    item = plain().query("select * from toy_system").payload.find("w:Items", NS)[0]  # type: ignore[index]
    uri = f"{names.WMI_URI}root/cimv2/Toy_System"
    assert item.tag == f"{{{uri}}}Toy_System"
    assert item.get(f"{{{names.XSI}}}type") == "p:Toy_System_Type"
    found = {child.tag.removeprefix(f"{{{uri}}}"): child for child in item}
    assert list(found) == ["BootTime", "buildNumber", "Empty", "Languages", "Locked", "Memory", "Name", "Nothing"]
    assert found["BootTime"][0].tag == f"{{{names.CIM}}}Datetime"
    assert found["BootTime"][0].text == "2024-05-17T16:30:15.25+08:00"
    assert found["Nothing"].get(NIL) == "true"
    assert found["Empty"].get(NIL) is None and not found["Empty"].text
    assert (found["Locked"].text, found["Memory"].text) == ("true", "9223372036854775808")
    assert found["Name"].text == "Toy <&> ?"  # control characters become question marks


def test_named_columns_come_as_a_fragment(plain: Make) -> None:
    answer = plain().query("SELECT weight, Since, Name FROM Toy_Service WHERE Name = 'SVC3'")
    fragment = answer.payload.find("w:Items", NS)[0]  # type: ignore[index]
    assert fragment.tag == f"{{{names.WSMAN}}}XmlFragment"
    assert [child.tag for child in fragment] == ["Name", "Since", "Weight"]
    assert [child.tag for child in fragment[1]] == ["Datetime"]


def names_in(answer: Answer) -> list[str | None]:
    return [element.text for element in answer.root.iter() if element.tag in (f"{{{SERVICE_URI}}}Name", "Name")]


@pytest.mark.parametrize("tag", ["w", "n"])
def test_several_rows_come_one_first_then_in_pages(plain: Make, tag: str) -> None:
    client = plain()
    first = client.query("select * from Toy_Service", tag=tag)
    assert names_in(first) == ["svc0"]
    assert first.payload.find("w:EndOfSequence", NS) is None
    context = first.text("n:EnumerationContext")
    assert context
    second = client.pull(context, 2)
    assert [child.tag for child in second.payload] == [
        f"{{{names.ENUMERATION}}}EnumerationContext",
        f"{{{names.ENUMERATION}}}Items",
    ]
    assert names_in(second) == ["svc1", "svc2"]
    assert second.text("n:EnumerationContext") != context
    last = client.pull(second.text("n:EnumerationContext") or "")
    assert names_in(last) == ["svc3", "svc4"]
    assert [child.tag for child in last.payload] == [
        f"{{{names.ENUMERATION}}}Items",
        f"{{{names.ENUMERATION}}}EndOfSequence",
    ]


WITH_REFERENCES = "EnumerateObjectAndEPR"


def test_objects_come_with_their_references_to_the_last_page(plain: Make) -> None:
    client = plain()
    first = client.query("select * from Toy_Service", modes=(WITH_REFERENCES,))
    rest = client.pull(first.text("n:EnumerationContext") or "")
    items = [item for answer in (first, rest) for item in answer.root.iterfind(".//w:Item", NS)]
    assert len(items) == 5
    for number, item in enumerate(items):
        assert [child.tag for child in item] == [
            f"{{{SERVICE_URI}}}Toy_Service",
            f"{{{names.ADDRESSING}}}EndpointReference",
        ]
        parameters = item[1].find("a:ReferenceParameters", NS)
        assert parameters is not None and parameters.findtext("w:ResourceURI", namespaces=NS) == SERVICE_URI
        selectors = parameters.findall("w:SelectorSet/w:Selector", NS)
        assert {selector.get("Name"): selector.text for selector in selectors} == {
            "__cimnamespace": "root/cimv2",
            "Name": f"svc{number}",
        }


@pytest.mark.parametrize(
    ("wql", "modes", "subcode", "detail"),
    [
        ("select * from Toy_Service", ("EnumerateAll",), "w:UnsupportedFeature", "EnumerationMode"),
        ("select * from Toy_Service", ("enumerateobjectandepr",), "w:UnsupportedFeature", "EnumerationMode"),
        ("select * from Toy_Service", (WITH_REFERENCES,) * 2, "w:SchemaValidationError", None),
        ("select Name from Toy_Service", (WITH_REFERENCES,), "n:CannotProcessFilter", None),
    ],
)
def test_a_mode_is_known_and_for_whole_objects(
    plain: Make, wql: str, modes: tuple[str, ...], subcode: str, detail: str | None
) -> None:
    answer = plain().query(wql, modes=modes)
    assert (answer.status, answer.subcode) == (500, subcode)
    assert answer.text("w:FaultDetail") == (detail and names.FAULT_DETAIL + detail)


def test_a_pull_without_a_limit_holds_one_row(plain: Make) -> None:
    client = plain()
    context = client.query("select Name from Toy_Service").text("n:EnumerationContext") or ""
    assert names_in(client.pull(context, None)) == ["svc1"]


def test_a_page_is_bounded_by_its_size(plain: Make) -> None:
    client = plain(repository=ToyRepository(400))
    answer = client.query("select * from Toy_Service")
    seen, pages = names_in(answer), 0
    while context := answer.text("n:EnumerationContext"):
        answer = client.pull(context)
        assert len(answer.data) < 80 * 1024
        seen += names_in(answer)
        pages += 1
    assert seen == [f"svc{number}" for number in range(400)]
    assert pages > 2


def test_pages_respect_the_size_asked_for(plain: Make) -> None:
    client = plain(repository=ToyRepository(60))
    context = client.query("select * from Toy_Service").text("n:EnumerationContext")
    size = '<w:MaxEnvelopeSize s:mustUnderstand="true">8192</w:MaxEnvelopeSize>'
    body = f"<n:Pull><n:EnumerationContext>{context}</n:EnumerationContext><n:MaxElements>99</n:MaxElements></n:Pull>"
    answer = client.send(names.PULL_ACTION, f"{names.WMI_URI}root/cimv2/*", body, MaxEnvelopeSize=size)
    assert answer.status == 200
    assert len(answer.data) <= 8192
    assert len(names_in(answer)) > 3


def test_a_context_is_good_for_one_answer(plain: Make) -> None:
    client = plain()
    context = client.query("select * from Toy_Service").text("n:EnumerationContext") or ""
    assert client.pull(context, 1).status == 200
    again = client.pull(context, 1)
    assert (again.status, again.subcode, again.wsman_code) == (500, "n:InvalidEnumerationContext", 0x8033801B)


def test_release_ends_an_enumeration(plain: Make) -> None:
    client = plain()
    context = client.query("select * from Toy_Service").text("n:EnumerationContext") or ""
    body = f"<n:Release><n:EnumerationContext>{context}</n:EnumerationContext></n:Release>"
    assert client.send(names.RELEASE_ACTION, f"{names.WMI_URI}root/cimv2/*", body).status == 200
    assert client.pull(context).status == 500


def test_no_row_ends_at_once(plain: Make) -> None:
    answer = plain().query("select * from Toy_Service where Name = 'none'")
    assert answer.payload.find("w:EndOfSequence", NS) is not None
    items = answer.payload.find("w:Items", NS)
    assert items is not None and not len(items)


@pytest.mark.parametrize(
    ("wql", "namespace", "class_name", "code", "inner"),
    [
        ("select * from Toy_Missing", "root/cimv2", "*", 0x8033801A, 0x80041010),
        ("select * from Toy_Service", "root/missing", "*", 0x8033801A, 0x8004100E),
        ("select Missing from Toy_Service", "root/cimv2", "*", 0x8033801A, 0x80041017),
        ("select * from Toy_Service where", "root/cimv2", "*", 0x8033801A, 0x80041017),
        ("select * from Toy_Service", "root/cimv2", "Toy_Service", 0x803380FB, 0x803380FB),
    ],
)
def test_a_bad_query_is_a_fault(plain: Make, wql: str, namespace: str, class_name: str, code: int, inner: int) -> None:
    answer = plain(fault_shape="wsman_fault").query(wql, namespace, class_name)
    assert answer.status == 500
    faults = answer.root.findall(".//f:WSManFault", NS)
    assert [int(fault.get("Code", "0")) for fault in faults] == [code, inner]
    by_wmi = plain().query(wql, namespace, class_name)
    assert by_wmi.text("e:error_Code") == str(code)
    assert by_wmi.text("e:MessageID") == f"HRESULT 0x{code:08x}"


def test_another_filter_language_is_refused(plain: Make) -> None:
    body = '<n:Enumerate><w:Filter Dialect="http://www.w3.org/TR/1999/REC-xpath-19991116">x</w:Filter></n:Enumerate>'
    answer = plain().send(names.ENUMERATE_ACTION, f"{names.WMI_URI}root/cimv2/*", body)
    assert answer.subcode == "n:FilterDialectRequestedUnavailable"


# Get, Put, Delete


def test_get_of_a_singleton_and_of_a_keyed_instance(plain: Make) -> None:
    client = plain()
    assert client.send(names.GET_ACTION, f"{names.WMI_URI}root/cimv2/Toy_System").payload.tag.endswith("Toy_System")
    keyed = client.send(names.GET_ACTION, SERVICE_URI, SelectorSet=selector_set({"nAME": "SVC2"}))
    assert keyed.payload.findtext(f"{{{SERVICE_URI}}}Name") == "svc2"


@pytest.mark.parametrize(
    ("class_name", "selectors", "code"),
    [
        ("Toy_Service", None, 0x803380FA),
        ("Toy_Service", {"Nothing": "x"}, 0x8033805B),
        ("Toy_Service", {"Name": "svc2", "State": "x"}, 0x8033805B),
        ("Toy_Service", {"Name": "none"}, 0x80338000),
        ("Toy_Missing", {"Name": "none"}, 0x80338000),
    ],
)
def test_get_is_strict_about_selectors(
    plain: Make, class_name: str, selectors: dict[str, str] | None, code: int
) -> None:
    uri = f"{names.WMI_URI}root/cimv2/{class_name}"
    answer = plain().send(names.GET_ACTION, uri, SelectorSet=selector_set(selectors))
    assert (answer.status, answer.wsman_code) == (500, code)


FRAGMENT = '<w:FragmentTransfer s:mustUnderstand="true">{}</w:FragmentTransfer>'


def test_one_property_is_read_and_written_as_a_fragment(plain: Make) -> None:
    client = plain()
    headers: dict[str, t.Any] = {
        "SelectorSet": selector_set({"Name": "svc2"}),
        "FragmentTransfer": FRAGMENT.format("Weight"),
    }
    read = client.send(names.GET_ACTION, SERVICE_URI, **headers)
    assert read.payload.tag == f"{{{names.WSMAN}}}XmlFragment"
    assert read.payload.findtext("Weight") == "2"
    body = "<w:XmlFragment><Weight>7</Weight></w:XmlFragment>"
    written = client.send(names.PUT_ACTION, SERVICE_URI, body, **headers)
    assert written.payload.findtext("Weight") == "7"
    repository = t.cast(ToyRepository, client.endpoint.machine.repository)
    assert repository.calls == [("Put", "svc2", {"Weight": 7})]
    assert client.endpoint.stats.writes == 1


def instance(**changes: str | None) -> str:
    texts: dict[str, str | None] = {
        "Name": "svc2", "State": "Stopped", "Path": "p", "Key": "k", "Weight": "2",
        "Since": "2024-05-19T08:30:15.25Z", "Running": "false", **changes,
    }  # fmt: skip
    inner = "".join(f"<c:{name}>{text}</c:{name}>" for name, text in texts.items() if text is not None)
    return f'<c:Toy_Service xmlns:c="{SERVICE_URI}">{inner}</c:Toy_Service>'


def test_put_changes_what_differs(plain: Make) -> None:
    client = plain()
    answer = client.send(
        names.PUT_ACTION, SERVICE_URI, instance(Weight="9"), SelectorSet=selector_set({"Name": "svc2"})
    )
    assert answer.status == 200
    repository = t.cast(ToyRepository, client.endpoint.machine.repository)
    assert repository.calls == [("Put", "svc2", {"Path": "p", "Key": "k", "Weight": 9})]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"Name": "other"}, 0x803380ED),
        ({"Weight": None}, 0x80338057),
        ({"weight": "1"}, 0x803381E1),
        ({"Weight": "4294967296"}, 0x80041005),
        ({"Running": "True"}, 0x80041005),
    ],
)
def test_put_is_strict(plain: Make, changes: dict[str, str | None], code: int) -> None:
    client = plain()
    answer = client.send(names.PUT_ACTION, SERVICE_URI, instance(**changes), SelectorSet=selector_set({"Name": "svc2"}))
    assert (answer.status, answer.wsman_code) == (500, code)
    assert t.cast(ToyRepository, client.endpoint.machine.repository).calls == []


def test_delete(plain: Make) -> None:
    client = plain()
    answer = client.send(names.DELETE_ACTION, SERVICE_URI, SelectorSet=selector_set({"Name": "svc2"}))
    assert answer.status == 200
    assert answer.text("a:Action") == f"{names.DELETE_ACTION}Response"
    assert "svc2" not in t.cast(ToyRepository, client.endpoint.machine.repository).services


# Methods


def test_a_static_method_with_arrays(plain: Make) -> None:
    client = plain()
    arguments = "<c:Hive>2147483650</c:Hive><c:Names>a</c:Names><c:Names>b &lt;</c:Names>"
    arguments += "<c:Bytes>0</c:Bytes><c:Bytes>255</c:Bytes>"
    answer = client.invoke("root/default/Toy_Registry", "Read", arguments)
    uri = f"{names.WMI_URI}root/default/Toy_Registry"
    assert answer.text("a:Action") == f"{uri}/ReadResponse"
    assert answer.payload.tag == f"{{{uri}}}Read_OUTPUT"
    assert [child.tag.rpartition("}")[2] for child in answer.payload] == ["Values", "Values", "When", "ReturnValue"]
    assert [child.text for child in answer.payload][:2] == ["a", "b <"]
    assert answer.payload[2][0].tag == f"{{{names.CIM}}}Datetime"
    assert answer.payload[-1].text == "2"
    repository = t.cast(ToyRepository, client.endpoint.machine.repository)
    assert repository.calls == [("Read", None, {"Hive": 2147483650, "Names": ["a", "b <"], "Bytes": [0, 255]})]
    assert client.endpoint.stats.writes == 0
    assert REGISTRY.keys == ()


def test_a_null_result_is_nil(plain: Make) -> None:
    answer = plain().invoke("root/default/Toy_Registry", "Read")
    assert answer.payload[0].get(NIL) == "true"


def test_an_instance_method_and_a_void_one(plain: Make) -> None:
    client = plain()
    arguments = '<c:Text xsi:nil="true"/><c:Loud>true</c:Loud>'
    answer = client.invoke("root/cimv2/Toy_Service", "Rename", arguments, {"Name": "svc1"})
    assert answer.payload[-1].text == "0"
    assert t.cast(ToyRepository, client.endpoint.machine.repository).calls == [
        ("Rename", "svc1", {"Text": None, "Loud": True})
    ]
    assert len(client.invoke("root/cimv2/Toy_Service", "Forget", selectors={"Name": "svc1"}).payload) == 0
    assert client.endpoint.stats.writes == 2


@pytest.mark.parametrize(
    ("method", "arguments", "selectors", "code"),
    [
        ("Rename", "<c:Unknown>1</c:Unknown>", {"Name": "svc1"}, 0x803381E1),
        ("Rename", "<c:text>1</c:text>", {"Name": "svc1"}, 0x803381E1),
        ("Rename", "<Text>1</Text>", {"Name": "svc1"}, 0x803381E1),
        ("Rename", "<c:Times>-1</c:Times>", {"Name": "svc1"}, 0x80041005),
        ("Rename", "<c:Times>0x10</c:Times>", {"Name": "svc1"}, 0x80041005),
        ("Rename", "<c:Loud>TRUE</c:Loud>", {"Name": "svc1"}, 0x80041005),
        ("Rename", "<c:Text>a</c:Text><c:Text>b</c:Text>", {"Name": "svc1"}, 0x80041005),
        ("InstallKey", "", {"Name": "svc1"}, 0x8004102F),
        ("InstallKey", '<c:ProductKey xsi:nil="true"/>', {"Name": "svc1"}, 0x8004102F),
        ("rename", "", {"Name": "svc1"}, 0x8004102E),
        ("Missing", "", {"Name": "svc1"}, 0x8004102E),
        ("Rename", "", None, 0x803380FA),
        ("Rename", "", {"State": "x"}, 0x8033805B),
        ("Rename", "", {"Name": "none"}, 0x80338000),
    ],
)
def test_a_call_is_strict(
    plain: Make, method: str, arguments: str, selectors: dict[str, str] | None, code: int
) -> None:
    client = plain()
    answer = client.invoke("root/cimv2/Toy_Service", method, arguments, selectors)
    assert (answer.status, answer.wsman_code) == (500, code)
    assert t.cast(ToyRepository, client.endpoint.machine.repository).calls == []


def test_a_static_method_takes_no_selectors(plain: Make) -> None:
    answer = plain().invoke("root/default/Toy_Registry", "Read", selectors={"Name": "x"})
    assert answer.wsman_code == 0x8033805B


def test_a_null_in_an_array_is_refused(plain: Make) -> None:
    arguments = '<c:Names>a</c:Names><c:Names xsi:nil="true"/>'
    assert plain().invoke("root/default/Toy_Registry", "Read", arguments).wsman_code == 0x80041005


def test_calls_are_noted_without_the_key(plain: Make) -> None:
    client = plain()
    key = "ABCDE-FGHIJ-KLMNO-PQRST-12345"
    client.invoke("root/cimv2/Toy_Service", "InstallKey", f"<c:ProductKey>{key}</c:ProductKey>", {"Name": "svc1"})
    (call,) = client.endpoint.stats.invokes
    assert (call["class_name"], call["method"], call["write"]) == ("Toy_Service", "InstallKey", True)
    assert call["arguments"] == {"ProductKey": "*****-12345"}


# Faults of providers, in all their shapes


@pytest.mark.parametrize("shape", ["wmi_error", "wsman_fault", "extended"])
def test_a_providers_error_in_each_shape(plain: Make, shape: str) -> None:
    answer = plain(fault_shape=shape).invoke("root/cimv2/Toy_Service", "Fail", selectors={"Name": "svc1"})
    assert answer.status == 500
    assert answer.wsman_code == 0xC004F050
    assert (answer.root.find(".//f:WSManFault", NS) is None) == (shape == "wmi_error")
    status = answer.root.find(".//{*}__ExtendedStatus/{*}StatusCode")
    assert (status is not None and status.text == str(0xC004F050)) == (shape == "extended")


def test_reasons_are_in_the_language_of_the_machine(plain: Make) -> None:
    answer = plain(language="de-DE").invoke("root/cimv2/Toy_Service", "Fail", selectors={"Name": "svc1"})
    assert (answer.text("s:Text") or "").startswith("Der WMI-Dienst")


# Headers


@pytest.mark.parametrize(
    ("header", "value", "subcode"),
    [
        ("To", None, "a:MessageInformationHeaderRequired"),
        ("Action", None, "a:MessageInformationHeaderRequired"),
        ("ReplyTo", None, "a:MessageInformationHeaderRequired"),
        ("ReplyTo", "<a:ReplyTo><a:Address>http://other.example.com</a:Address></a:ReplyTo>", "w:UnsupportedFeature"),
        ("MessageID", None, "a:MessageInformationHeaderRequired"),
        ("MessageID", f"<a:MessageID>{'x' * 2049}</a:MessageID>", "a:InvalidMessageInformationHeader"),
        ("ResourceURI", None, "a:DestinationUnreachable"),
        ("ResourceURI", "<w:ResourceURI>http://example.com/thing</w:ResourceURI>", "a:DestinationUnreachable"),
        ("Locale", '<w:Locale xml:lang="en-US" s:mustUnderstand="true"/>', "w:UnsupportedFeature"),
        ("MaxEnvelopeSize", "<w:MaxEnvelopeSize>8191</w:MaxEnvelopeSize>", "w:EncodingLimit"),
        ("MaxEnvelopeSize", "<w:MaxEnvelopeSize>big</w:MaxEnvelopeSize>", "a:InvalidMessageInformationHeader"),
        ("OperationTimeout", "<w:OperationTimeout>60</w:OperationTimeout>", "a:InvalidMessageInformationHeader"),
        ("OperationTimeout", "<w:OperationTimeout>PT</w:OperationTimeout>", "a:InvalidMessageInformationHeader"),
        ("FragmentTransfer", "<w:FragmentTransfer>Name</w:FragmentTransfer>", "a:InvalidMessageInformationHeader"),
    ],
)
def test_headers_are_checked(plain: Make, header: str, value: str | None, subcode: str) -> None:
    headers: dict[str, t.Any] = {header: value}
    answer = plain().query("select * from Toy_System", **headers)
    assert (answer.status, answer.subcode) == (500, subcode)


def test_an_unknown_header_must_be_understood(plain: Make) -> None:
    client = plain()
    unknown = '<q:Thing xmlns:q="urn:q"{}/>'
    assert client.query("select * from Toy_System", Thing=unknown.format("")).status == 200
    refused = client.query("select * from Toy_System", Thing=unknown.format(' s:mustUnderstand="true"'))
    assert refused.text("s:Code/s:Value") == "s:MustUnderstand"


@pytest.mark.parametrize(
    "text",
    ["", "no xml", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "<?xml version='1.0' encoding='utf-16'?><a/>"],
)
def test_what_is_no_envelope_is_refused(plain: Make, text: str) -> None:
    answer = plain().post(text or "\x00")
    assert answer.status == 400
    assert answer.root.find(".//s:Fault", NS) is not None


def test_other_paths_and_verbs(plain: Make) -> None:
    client = plain()
    assert client.post("x", path="/other").status == 404
    assert client.post("", method="GET").status == 405


def test_an_unknown_action(plain: Make) -> None:
    assert plain().send("http://example.com/Do", SERVICE_URI).subcode == "a:ActionNotSupported"


def test_a_slow_call_is_timed_out_and_goes_on(loop: Loop, plain: Make) -> None:
    """OperationTimeout is raised to half a second at least; the call ends when it is let go, answered or not."""
    client = plain()
    repository = t.cast(ToyRepository, client.endpoint.machine.repository)
    uri = SERVICE_URI
    answer = client.send(
        f"{uri}/Wait",
        uri,
        f'<c:Wait_INPUT xmlns:c="{uri}"/>',
        SelectorSet=selector_set({"Name": "svc1"}),
        OperationTimeout="<w:OperationTimeout>PT0.1S</w:OperationTimeout>",
    )
    assert (answer.subcode, answer.wsman_code) == ("w:TimedOut", 0x80338029)
    assert repository.calls == []
    loop.call(_release(repository))
    assert repository.calls == [("Wait", "svc1", {})]
    assert SERVICE.name == "Toy_Service"


async def _release(repository: ToyRepository) -> None:
    repository.release.set()
    while not repository.calls:
        await asyncio.sleep(0)
