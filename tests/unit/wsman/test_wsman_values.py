# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values keep their meaning on the way through XML, and what XML cannot carry is refused by name."""

from __future__ import annotations

import contextlib
import datetime as dt
import typing as t
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    InvalidArgument,
    ProtocolError,
    WsmanError,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimType, PropertyType
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.values import (
    escape,
    escape_attribute,
    read_datetime,
    read_property,
    wql_string,
    write_element,
)

UTC = dt.timezone.utc
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'

xml_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("\t\n\r")
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))


def read(xml: str, kind: CimType = CimType.STRING, array: bool = False) -> t.Any:
    return read_property(list(ET.fromstring(f"<r {XSI}>{xml}</r>")), PropertyType(kind, array), "Prop")


@given(xml_text)
def test_text_survives_as_content_and_as_attribute(text: str) -> None:
    assert read(write_element("v", text, "it")) == text
    element = ET.fromstring(f'<v a="{escape_attribute(text, "it")}"/>')
    assert element.get("a") == text


@given(st.lists(st.integers(-(2**63), 2**64 - 1), min_size=1))
def test_integers_survive(numbers: list[int]) -> None:
    assert read(write_element("v", numbers, "it"), CimType.INTEGER, array=True) == numbers


@given(st.binary(min_size=1))
def test_bytes_are_numbers(data: bytes) -> None:
    assert read(write_element("v", data, "it"), CimType.INTEGER, array=True) == list(data)


@given(st.floats(allow_nan=False))
def test_reals_survive(number: float) -> None:
    assert read(write_element("v", number, "it"), CimType.REAL) == number


@given(st.datetimes(min_value=dt.datetime(2, 1, 1), max_value=dt.datetime(9998, 1, 1), timezones=offsets))
def test_datetimes_survive(when: dt.datetime) -> None:
    back = read(write_element("v", when, "it"), CimType.DATETIME)
    assert back == when and back.utcoffset() == when.utcoffset()


@given(st.text(max_size=40))
def test_reading_a_datetime_gives_a_value_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(WsmanError):
        read_datetime(text, "Prop")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-03-09T03:06:25Z", dt.datetime(2013, 3, 9, 3, 6, 25, tzinfo=UTC)),
        ("2013-03-09T03:06:25.5Z", dt.datetime(2013, 3, 9, 3, 6, 25, 500000, tzinfo=UTC)),
        ("2013-03-09T03:06:25.488171Z", dt.datetime(2013, 3, 9, 3, 6, 25, 488171, tzinfo=UTC)),
        ("2013-03-09T03:06:25.123456789Z", dt.datetime(2013, 3, 9, 3, 6, 25, 123456, tzinfo=UTC)),
        ("2013-03-09T03:06:25+08:00", dt.datetime(2013, 3, 8, 19, 6, 25, tzinfo=UTC)),
        ("2013-03-09T03:06:25-03:30", dt.datetime(2013, 3, 9, 6, 36, 25, tzinfo=UTC)),
        ("1601-01-01T00:00:00Z", dt.datetime(1601, 1, 1, tzinfo=UTC)),
    ],
)
def test_datetimes_of_windows(text: str, expected: dt.datetime) -> None:
    wrapped = f'<v><c:Datetime xmlns:c="http://schemas.dmtf.org/wbem/wscim/1/common">{text}</c:Datetime></v>'
    assert read(wrapped) == read(f"<v><Datetime>{text}</Datetime></v>") == expected
    assert read(f"<v>{text}</v>", CimType.DATETIME) == expected


def test_intervals_stay_text() -> None:
    interval = '<v><c:Interval xmlns:c="http://schemas.dmtf.org/wbem/wscim/1/common">P0DT0H1M40S</c:Interval></v>'
    assert read(interval, CimType.DATETIME) == "P0DT0H1M40S"
    assert read("<v>P2000D</v>", CimType.DATETIME) == "P2000D"


@pytest.mark.parametrize(
    ("xml", "kind", "expected"),
    [
        ("<v>true</v>", CimType.BOOLEAN, True),
        ("<v>TRUE</v>", CimType.BOOLEAN, True),
        ("<v>False</v>", CimType.BOOLEAN, False),
        ("<v>4294967295</v>", CimType.INTEGER, 4294967295),
        ("<v>-1</v>", CimType.INTEGER, -1),
        ("<v></v>", CimType.STRING, ""),
        ("<v/>", CimType.STRING, ""),
        ("<v> two  blanks </v>", CimType.STRING, " two  blanks "),
        ("<v/>", CimType.INTEGER, None),
        ('<v xsi:nil="true"/>', CimType.STRING, None),
        ('<v xsi:nil="true"> </v>', CimType.STRING, None),
        ('<v xsi:nil="true"/>', CimType.BOOLEAN, None),
    ],
)
def test_scalars(xml: str, kind: CimType, expected: object) -> None:
    value = read(xml, kind)
    assert value == expected and type(value) is type(expected)


def test_arrays() -> None:
    null = '<v xmlns:m="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd" xsi:nil="true" m:IsNullArray="true"/>'
    assert read("<v>en-US</v>", array=True) == ["en-US"]
    assert read("<v>de</v><v></v><v>en</v>", array=True) == ["de", "", "en"]
    assert read('<v xsi:nil="true"/>', array=True) is None
    assert read(null, array=True) is None
    assert read("<v>a</v><v>b</v>") == ["a", "b"], "what is repeated is an array, declared or not"


def test_octets_in_one_element_are_numbers() -> None:
    assert read('<v xsi:type="cim:cimBase64Binary">AAH/</v>', CimType.INTEGER, array=True) == [0, 1, 255]
    with pytest.raises(ProtocolError):
        read('<v xsi:type="cim:cimBase64Binary">*</v>', CimType.INTEGER, array=True)


def test_embedded_objects_and_references_are_mappings() -> None:
    assert read("<v><A>1</A><B>x</B><B>y</B></v>") == {"A": "1", "B": ["x", "y"]}
    reference = "<v><Address/><ReferenceParameters><ResourceURI>urn:x</ResourceURI></ReferenceParameters></v>"
    assert read(reference) == {"Address": "", "ReferenceParameters": {"ResourceURI": "urn:x"}}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sesame", CimType.INTEGER),
        ("1" * 5000, CimType.INTEGER),
        ("1_0", CimType.REAL),
        ("sesame", CimType.BOOLEAN),
        ("2013-02-30T00:00:00Z", CimType.DATETIME),
        ("2013-03-09T03:06:25+99:00", CimType.DATETIME),
        ("20130309030625.000000+000", CimType.DATETIME),
    ],
)
def test_nonsense_is_refused_by_name_without_being_repeated(text: str, kind: CimType) -> None:
    with pytest.raises(ProtocolError, match="Prop") as caught:
        read(f"<v>{text}</v>", kind)
    assert text not in str(caught.value)


@pytest.mark.parametrize("char", ["\x00", "\x01", "\x0b", "\x1f", "\ud800", "\uffff"])
def test_characters_that_xml_cannot_carry_are_refused_by_name(char: str) -> None:
    for write in (escape, escape_attribute):
        with pytest.raises(InvalidArgument, match="ProductKey") as caught:
            write(f"sesame{char}", "ProductKey")
        assert "sesame" not in str(caught.value)


def test_a_carriage_return_is_not_left_to_the_parser() -> None:
    assert escape("a\r\nb", "it") == "a&#13;\nb"


def test_null_and_empty_array_are_no_element() -> None:
    assert write_element("v", None, "it") == write_element("v", [], "it") == ""


@pytest.mark.parametrize("value", [[1, None], object(), {"a": 1}, dt.datetime(2020, 1, 1)])
def test_what_has_no_form_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidArgument, match="Argument"):
        write_element("v", value, "Argument")


def test_wql_literals() -> None:
    assert wql_string(r"C:\a'b") == r"'C:\\a\'b'"
