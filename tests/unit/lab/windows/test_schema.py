# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which classes, properties and methods each generation of Windows has."""

from __future__ import annotations

import pytest
from unit.lab.windows.kit import SmallWorld, instances, keyed

from lab.windows import data, schema


def _names(build: int, class_name: str, namespace: str = "root/cimv2") -> set[str]:
    cim_class = schema.catalogue(build)[namespace.lower(), class_name.lower()]
    return {p.name for p in cim_class.properties} | {m.name for m in cim_class.methods}


def test_service_and_product_have_the_size_of_the_dumped_schema() -> None:
    catalogue = schema.catalogue(17763)
    assert len(catalogue["root/cimv2", "softwarelicensingservice"].properties) == 38
    assert len(catalogue["root/cimv2", "softwarelicensingproduct"].properties) == 61


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("KeyManagementServiceListeningPort", 7601),
        ("KeyManagementServiceLookupDomain", 9200),
        ("SetVLActivationTypeEnabled", 9200),
        ("OA3xOriginalProductKey", 9200),
        ("DiscoveredKeyManagementServiceMachineIpAddress", 9600),
        ("SubscriptionStatus", 26100),
    ],
)
def test_service_members_appear_with_their_generation(name: str, since: int) -> None:
    builds = sorted({generation.build for generation in data.generations().values()})
    assert [build for build in builds if name in _names(build, "SoftwareLicensingService")] == [
        build for build in builds if build >= since
    ]


def test_windows_7_only_method_is_gone_later() -> None:
    assert "DisableKeyManagementServiceActivation" in _names(7601, "SoftwareLicensingService")
    assert "DisableKeyManagementServiceActivation" not in _names(9200, "SoftwareLicensingService")


def test_uninstall_is_a_method_of_the_product_and_clearing_one_of_the_service() -> None:
    service, product = _names(26100, "SoftwareLicensingService"), _names(26100, "SoftwareLicensingProduct")
    assert "UninstallProductKey" in product - service
    assert "ClearProductKeyFromRegistry" in service - product


def test_service_is_keyed_by_version_and_product_by_id() -> None:
    catalogue = schema.catalogue(20348)
    assert [p.name for p in catalogue["root/cimv2", "softwarelicensingservice"].keys] == ["Version"]
    assert [p.name for p in catalogue["root/cimv2", "softwarelicensingproduct"].keys] == ["ID"]


def test_windows_7_has_no_firewall_namespace() -> None:
    old, new = SmallWorld().machine("old", "server2008r2"), SmallWorld().machine("new")
    assert not old.repository.find_namespace("root/StandardCimv2")
    assert old.repository.find_class("root/StandardCimv2", "MSFT_NetFirewallRule") is None
    assert new.repository.find_namespace("ROOT\\StandardCimv2")


def test_registry_provider_is_in_both_namespaces() -> None:
    machine = SmallWorld().machine("srv")
    for namespace in ("root/default", "root/cimv2"):
        assert machine.repository.find_class(namespace, "stdregprov") is not None


def test_only_changing_methods_count_as_writes() -> None:
    catalogue = schema.catalogue(20348)
    registry = catalogue["root/default", "stdregprov"]
    writes = {method.name for method in registry.methods if schema.is_write(registry, method)}
    assert {name for name in writes if name.startswith(("Get", "Enum", "Check"))} == set()
    assert {"CreateKey", "DeleteKey", "DeleteValue", "SetMultiStringValue"} <= writes


def test_many_products_without_a_key_stand_beside_the_keyed_one() -> None:
    machine = SmallWorld().client("pc1")
    assert len(instances(machine, "SoftwareLicensingProduct")) > 4
    assert len(keyed(machine)) == 1


@pytest.mark.parametrize("name", sorted(data.generations()))
def test_instances_hold_exactly_the_properties_of_their_class(name: str) -> None:
    machine = SmallWorld().machine("any", name)
    for cim_class in schema.catalogue(machine.generation.build).values():
        for instance in machine.repository.instances(cim_class):
            assert set(instance.values) == {p.name for p in cim_class.properties}
            for prop in cim_class.keys:
                assert instance.values[prop.name] is not None


def test_operating_system_of_the_recorded_server_2012() -> None:
    machine = SmallWorld().machine("srv", "server2012/ServerStandard")
    (system,) = instances(machine, "Win32_OperatingSystem")
    assert system.cim_class.singleton
    assert {k: system.values[k] for k in ("BuildNumber", "Version", "OperatingSystemSKU", "ProductType")} == {
        "BuildNumber": "9200",
        "Version": "6.2.9200",
        "OperatingSystemSKU": 7,
        "ProductType": 3,
    }
    assert system.values["Caption"] == "Microsoft Windows Server 2012 Standard"
