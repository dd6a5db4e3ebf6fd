# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines as plain objects, for the tests of rules that need no wire."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.classes import PRODUCT, SERVICE
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import NOT_APPLICABLE, Machine, Product
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import parse_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import HOST_VERSION
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import FirewallRule, Profile
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.identity import OperatingSystem
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import RegistryValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance, Properties

WINDOWS_ID = "55c92734-d682-4d71-983e-d6ec3f16059f"
OFFICE_ID = "0ff1ce15-a989-479d-af46-f275c6370663"
OFFICE_HOST_ID = "0ff1ce16-a989-479d-af46-f275c6370663"

#: Published client keys of Windows Server 2022 Standard and 2019 Standard; the host key is made up for the tests.
GVLK_2022 = "VDYBN-27WPP-V4HQT-9VMD4-VMK7H"
GVLK_2019 = "N69G4-B89J2-4G8F4-WWYCC-J464C"
HOST_KEY = "BBBBB-CCCCC-DDDDD-FFFFF-NGGGG"
OTHER_HOST_KEY = "BBBBB-CCCCC-DDDDD-FFFFF-NHHHH"

_DESCRIPTIONS = {
    "Volume:CSVLK": "VOLUME_KMS_WS22",
    "Volume:GVLK": "VOLUME_KMSCLIENT",
    "Volume:MAK": "VOLUME_MAK",
    "OEM:DM": "OEM_DM",
    "Retail": "RETAIL",
}


def product(
    channel: str = "Volume:GVLK",
    key: str = "VMK7H",
    *,
    status: int = 1,
    product_id: str = "9bd77860-9b31-4b7b-96ad-2564017315bf",
    application_id: str = WINDOWS_ID,
    **values: t.Any,
) -> Product:
    """A keyed product; more properties by their WMI names."""
    properties = {
        "ID": product_id,
        "ApplicationID": application_id,
        "Name": "Windows(R), ServerStandard edition",
        "Description": f"Windows(R) Operating System, {_DESCRIPTIONS[channel]} channel",
        "ProductKeyChannel": channel,
        "PartialProductKey": key,
        "LicenseStatus": status,
        "LicenseIsAddon": False,
        "VLActivationTypeEnabled": 0,
        **values,
    }
    return Product(Instance(PRODUCT, "SoftwareLicensingProduct", Properties(properties)))


def _mark(products: tuple[Product, ...]) -> dict[RegistryValue, str]:
    """A host in order has the mark that slmgr writes."""
    return {HOST_VERSION: "10.0.20348.1"} if any(item.is_kms_host for item in products) else {}


def machine(
    *products: Product,
    build: int = 20348,
    sku: int = 7,
    edition: str = "ServerStandard",
    caption: str = "Microsoft Windows Server 2022 Standard",
    is_server: bool = True,
    publish: t.Sequence[str] | None = (),
    rules: tuple[FirewallRule, ...] | None = None,
    registry: t.Mapping[RegistryValue, t.Any] | None = None,
    **service: t.Any,
) -> Machine:
    """A Windows Server 2022 Standard by default; properties of the service by their WMI names."""
    values = {
        "Version": "10.0.20348.2227",
        "IsKeyManagementServiceMachine": 0,
        "KeyManagementServiceCurrentCount": NOT_APPLICABLE,
        "KeyManagementServiceDnsPublishing": True,
        "KeyManagementServiceHostCaching": True,
        "KeyManagementServiceListeningPort": 1688,
        "KeyManagementServiceLookupDomain": "",
        "KeyManagementServiceLowPriority": False,
        "KeyManagementServiceMachine": "",
        "KeyManagementServicePort": 1688,
        "RequiredClientCount": NOT_APPLICABLE,
        "VLActivationInterval": NOT_APPLICABLE,
        "VLRenewalInterval": NOT_APPLICABLE,
        **service,
    }
    return Machine(
        operating_system=OperatingSystem(caption, build, sku, is_server, None, edition),
        service=Instance(SERVICE, "SoftwareLicensingService", Properties(values)),
        products=products,
        fqdn="kms1.corp.example.com",
        publish_list=None if publish is None else parse_list(publish),
        firewall_rules=rules,
        registry=_mark(products) if registry is None else registry,
    )


def rule(name: str = "SPPSVC-In-TCP", *, enabled: bool = False, profiles: int = 6) -> FirewallRule:
    return FirewallRule(name, enabled, Profile(profiles))
