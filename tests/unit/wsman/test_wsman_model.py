# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIM names know no case; what must not be kept is not shown."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import (
    CimClass,
    CimType,
    Instance,
    MethodResult,
    Properties,
    PropertyType,
)


def test_an_instance_finds_its_properties_in_any_case() -> None:
    service = Instance(CimClass("root/cimv2", "Win32_Service"), "Win32_Service", {"StartMode": "Auto", "TagId": None})
    assert service["startmode"] == service.get("STARTMODE") == "Auto"
    assert service.has("tagid") and service["TagId"] is None and service.get("TagId", 5) is None
    assert not service.has("Delayed") and service["Delayed"] is None and service.get("Delayed", 5) == 5
    assert list(service.values) == ["StartMode", "TagId"]


def test_selectors_are_the_keys_as_text() -> None:
    rule = CimClass("root/StandardCimv2", "MSFT_NetFirewallRule", keys=("Name", "Number", "System"))
    assert Instance(rule, rule.name, {"name": "a", "Number": 3, "Other": 1, "System": None}).selectors == {
        "Name": "a",
        "Number": "3",
        "System": "",
    }


def test_equality_is_that_of_the_values() -> None:
    assert Properties({"A": 1}) == {"a": 1}
    assert Properties({"A": 1}) != {"a": 2}
    assert MethodResult(0, {"A": 1}) == MethodResult(0, {"a": 1})


def test_repr_shows_no_value() -> None:
    shown = repr(Instance(CimClass("root/cimv2", "X"), "X", {"Key": "sesame"})) + repr(MethodResult(0, {"K": "sesame"}))
    assert "sesame" not in shown + repr(Properties({"K": "sesame"}))


@pytest.mark.parametrize(
    ("namespace", "name"), [("root/cimv2", "A b"), ("root\\cimv2", "A"), ("root/", "A"), ("", "A")]
)
def test_what_is_no_class_is_refused(namespace: str, name: str) -> None:
    with pytest.raises(ValueError, match="not a CIM class"):
        CimClass(namespace, name)


def test_a_parameter_may_have_another_type_in_one_method() -> None:
    registry = CimClass(
        "root/default",
        "StdRegProv",
        {"uValue": PropertyType(CimType.INTEGER), "GetBinaryValue.uValue": PropertyType(CimType.INTEGER, True)},
    )
    assert registry.resource_uri == "http://schemas.microsoft.com/wbem/wsman/1/wmi/root/default/StdRegProv"
    assert not registry.type_of("UVALUE", "GetDWORDValue").array
    assert registry.type_of("uvalue", "getbinaryvalue").array
    assert registry.type_of("sValue", "GetStringValue") == PropertyType()
