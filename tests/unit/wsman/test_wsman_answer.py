# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers are read in every shape Windows has for them, and nothing hostile gets through."""

from __future__ import annotations

import contextlib
import os
import pathlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.wsman.shapes import (
    WIDGET,
    first_page,
    fragment,
    instance,
    next_page,
    output,
    reference,
    referenced,
    soap,
    widget,
)

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.answer import (
    Answer,
    parse,
    read_instance,
    read_item,
    read_method_result,
    read_page,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import ProtocolError, WsmanError
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.faults import parse_fault
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance

NIL = 'xsi:nil="true"'


def read_all(data: bytes) -> None:
    """Whatever a client may do with an answer."""
    answer = parse(data)
    if answer.fault is not None:
        str(parse_fault(answer.fault))
        return
    readers = (
        lambda: [read_item(item, WIDGET).selectors for item in read_page(answer).items],
        lambda: read_instance(answer.content, WIDGET),
        lambda: read_method_result(answer, WIDGET, "Act"),
    )
    for reader in readers:
        with contextlib.suppress(WsmanError):
            reader()


def test_items_of_both_kinds_of_answers() -> None:
    first = read_page(parse(soap(first_page(widget("a"), "uuid:C1"))))
    assert [read_instance(item, WIDGET)["ID"] for item in first.items] == ["a"] and first.context == "uuid:C1"
    following = read_page(parse(soap(next_page(widget("b") + widget("c")))))
    assert [read_instance(item, WIDGET)["ID"] for item in following.items] == ["b", "c"]
    assert following.context is None


def items_of(xml: str) -> list[Instance]:
    return [read_item(item, WIDGET) for item in read_page(parse(soap(first_page(xml)))).items]


SELECTORS = (
    '<w:Selector Name="__cimnamespace">root/cimv2</w:Selector><w:Selector Name="Path"> a &lt;b&gt;\n</w:Selector>'
)
GIVEN = {"__cimnamespace": "root/cimv2", "Path": " a <b>\n"}


def test_a_reference_tells_the_selectors_whatever_the_keys_are() -> None:
    """They are kept as they came, to the last blank."""
    (item,) = items_of(referenced("1", SELECTORS + '<w:Selector Name="Empty"/>'))
    assert item.name == "Test_Widget" and item["ID"] == "1" and not item.has("EndpointReference")
    assert item.selectors == {**GIVEN, "Empty": ""}


def test_a_reference_before_its_object_is_understood() -> None:
    (item,) = items_of(f"<w:Item>{reference(SELECTORS)}{widget('1')}</w:Item>")
    assert item["ID"] == "1" and item.selectors == GIVEN


def test_without_a_reference_the_keys_are_the_selectors() -> None:
    bare = [widget("1"), f"<w:Item>{widget('2')}</w:Item>", referenced("3", "")]
    assert [item.selectors for item in items_of("".join(bare))] == [{"ID": "1"}, {"ID": "2"}, {"ID": "3"}]


@pytest.mark.parametrize("inner", ["", reference(SELECTORS)])
def test_an_item_without_an_object_is_refused(inner: str) -> None:
    with pytest.raises(ProtocolError, match="no object"):
        items_of(f"<w:Item>{inner}</w:Item>")


def test_an_end_counts_in_either_namespace() -> None:
    mixed = first_page(widget("a"), "uuid:C").replace("</n:Enum", "<n:EndOfSequence/></n:Enum", 1)
    mixed = mixed.replace("<n:EndOfSequence/></n:EnumerationContext>", "</n:EnumerationContext><n:EndOfSequence/>")
    assert read_page(parse(soap(mixed))).context is None


def test_a_property_called_items_is_not_a_list_of_items() -> None:
    page = read_page(parse(soap(first_page(instance("<p:Items>x</p:Items><p:EndOfSequence/>"), "uuid:C"))))
    assert page.context == "uuid:C"
    assert [read_instance(item, WIDGET)["Items"] for item in page.items] == ["x"]


def test_a_page_that_neither_ends_nor_goes_on_is_refused() -> None:
    """Taken for the end, it would silently lose instances."""
    with pytest.raises(ProtocolError, match="go on"):
        read_page(parse(soap("<n:PullResponse><n:Items/></n:PullResponse>")))


PROPERTIES = (
    ("Count", "<p:Count>4294967295</p:Count>", 4294967295),
    ("Enabled", "<p:Enabled>false</p:Enabled>", False),
    ("Languages", "<p:Languages>en-US</p:Languages>", ["en-US"]),
    ("Caption", f"<p:Caption {NIL}/>", None),
    ("Description", "<p:Description></p:Description>", ""),
    ("Name", "<p:Name>a &amp; &quot;b&quot;</p:Name>", 'a & "b"'),
)


@pytest.mark.parametrize("wrap", [instance, fragment])
def test_an_instance_reads_alike_from_star_and_from_columns(wrap: object) -> None:
    xml = "".join(xml for _name, xml, _value in PROPERTIES)
    xml = xml if wrap is instance else xml.replace("p:", "")
    body = instance(xml) if wrap is instance else fragment(xml)
    read = read_instance(parse(soap(body)).content, WIDGET)
    assert read.name == "Test_Widget"
    assert dict(read.values) == {name: value for name, _xml, value in PROPERTIES}


def test_a_derived_class_is_told() -> None:
    assert read_instance(parse(soap(instance("", "Test_Gadget"))).content, WIDGET).name == "Test_Gadget"


def test_what_is_to_be_dropped_is_not_kept_in_any_case() -> None:
    body = instance("<p:SECRETKEY>sesame</p:SECRETKEY><p:SecretKey>sesame</p:SecretKey><p:ID>1</p:ID>")
    read = read_instance(parse(soap(body)).content, WIDGET)
    assert list(read.values) == ["ID"] and not read.has("SecretKey")


def test_a_method_result_in_any_order_and_under_any_name() -> None:
    for xml in (
        "<p:Text>x</p:Text><p:ReturnValue>5</p:ReturnValue>",
        "<p:ReturnValue>5</p:ReturnValue><p:Text>x</p:Text>",
    ):
        for method in ("Act", "Test_Widget"):
            result = read_method_result(parse(soap(output(xml, method))), WIDGET, "Act")
            assert result.return_value == 5 and result.outputs == {"Text": "x"}


def test_null_and_missing_out_parameters() -> None:
    xml = f"<p:sNames {NIL}/><p:ReturnValue>2</p:ReturnValue>"
    result = read_method_result(parse(soap(output(xml))), WIDGET, "Act")
    assert result.return_value == 2 and dict(result.outputs) == {"sNames": None}
    assert read_method_result(parse(soap(output(""))), WIDGET, "Act").return_value is None


def test_one_out_parameter_has_two_types_in_two_methods() -> None:
    answer = parse(soap(output("<p:uValue>7</p:uValue><p:ReturnValue>0</p:ReturnValue>")))
    assert read_method_result(answer, WIDGET, "GetNumber").outputs["uValue"] == 7
    assert read_method_result(answer, WIDGET, "GetBytes").outputs["uValue"] == [7]


DOCTYPE = b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "data",
    [
        DOCTYPE + soap("&a;"),
        b"\xef\xbb\xbf" + DOCTYPE + soap("&x;"),
        b'<?xml version="1.0"?> <!-- a > b --> ' + DOCTYPE + soap(""),
        (DOCTYPE + soap("&a;")).decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="utf-16"?>' + DOCTYPE + soap("&a;"),
    ],
)
def test_a_document_type_is_refused_before_parsing(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="document type"):
        parse(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff",
        b"<html><body>not me</body></html>",
        b"sesame",
        b"<a>" * 10,
        soap("")[:-5],
        soap("<undeclared:a/>"),
        soap("&undeclared;"),
        soap("\x00"),
        b'<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body/></Envelope>',
        b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"/>',
        DOCTYPE,
    ],
)
def test_what_is_no_answer_is_refused_without_being_repeated(data: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(data)
    assert "sesame" not in str(caught.value) and caught.value.__cause__ is None


def test_doctype_in_content_is_only_text() -> None:
    body = instance("<p:ID><![CDATA[<!DOCTYPE x>]]></p:ID>")
    assert read_instance(parse(soap(body)).content, WIDGET)["ID"] == "<!DOCTYPE x>"


def test_size_and_depth_are_bounded() -> None:
    data = soap(widget("a"))
    assert parse(data, len(data)).body
    with pytest.raises(ProtocolError, match="bytes"):
        parse(data, len(data) - 1)
    assert parse(soap("<a>" * 60 + "</a>" * 60)).body
    for depth in (70, 100_000):
        with pytest.raises(ProtocolError, match="deep"):
            parse(soap("<a>" * depth + "</a>" * depth))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str) -> None:
    data = soap(instance("<p:ID>ä€</p:ID>")).decode().encode(encoding)
    assert read_instance(parse(data).content, WIDGET)["ID"] == "ä€"


def test_an_empty_body_has_no_content() -> None:
    answer = parse(soap(""))
    assert answer == Answer("uuid:1", [])
    with pytest.raises(ProtocolError):
        read_page(answer)


WHOLE = soap(
    first_page(instance("".join(xml for _name, xml, _value in PROPERTIES)) + referenced("1", SELECTORS), "uuid:C")
)


@given(st.binary(max_size=60))
@example(b"<?xml?><!")
def test_any_bytes_give_an_answer_or_an_error_of_ours(data: bytes) -> None:
    with contextlib.suppress(WsmanError):
        read_all(data)


@given(st.data())
def test_a_damaged_answer_gives_an_answer_or_an_error_of_ours(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(WHOLE)))
    length = data.draw(st.integers(0, 40))
    patch = data.draw(st.binary(max_size=8) | st.sampled_from([b"<", b">", b"&", b"<![CDATA[", b"<a>", b'"', b"\xff"]))
    with contextlib.suppress(WsmanError):
        read_all(WHOLE[:start] + patch + WHOLE[start + length :])


@given(
    st.recursive(
        st.text("0aTZ-:.", max_size=20),
        lambda inner: st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "p:Count",
                        "p:Enabled",
                        "p:Installed",
                        "p:ReturnValue",
                        "cim:Datetime",
                        "w:Items",
                        "n:Items",
                        "w:Item",
                        "p:X",
                    ]
                ),
                st.sampled_from(["", ' xsi:nil="true"', ' xsi:type="cim:cimBase64Binary"']),
                inner,
            ).map(lambda part: f"<{part[0]}{part[1]}>{part[2]}</{part[0]}>"),
            max_size=4,
        ).map("".join),
        max_leaves=8,
    )
)
def test_any_well_formed_content_gives_an_answer_or_an_error_of_ours(xml: str) -> None:
    wrapped = f"<w:Item>{instance(xml)}{reference(xml)}{xml}</w:Item>"
    for body in (instance(xml), first_page(instance(xml)), first_page(wrapped), output(xml)):
        with contextlib.suppress(WsmanError):
            read_all(soap(body))


CAPTURES = os.environ.get("FLEETOPS_KMS_CAPTURES", "")


@pytest.mark.skipif(not CAPTURES, reason="FLEETOPS_KMS_CAPTURES names no folder of recorded answers")
def test_recorded_answers_of_windows() -> None:
    files = sorted(pathlib.Path(CAPTURES).glob("*.xml"))
    assert files
    for file in files:
        answer = parse(file.read_bytes())
        assert answer.relates_to and answer.fault is None
        if "StdRegProv" in file.name:
            result = read_method_result(answer, WIDGET, "EnumKey")
            assert result.return_value == 0 and len(result.outputs["sNames"]) > 1
            continue
        page = read_page(answer)
        (item,) = [read_instance(item, WIDGET) for item in page.items]
        assert len(item.values) > 20 and item.has("Caption")
        assert (page.context is None) == ("Service" not in file.name and not file.name.endswith("Volume_star_000.xml"))
