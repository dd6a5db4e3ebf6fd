# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Type tables of the Software Protection Platform's WMI classes (root\\cimv2, SppWmi)."""

from __future__ import annotations

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.classes import BOOLEAN, DATETIME, INTEGER
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass

_REQUEST_COUNTERS = tuple(
    f"KeyManagementService{name}Requests"
    for name in ("Total", "Failed", "Unlicensed", "Licensed", "OOBGrace", "OOTGrace", "NonGenuineGrace", "Notification")
)

SERVICE = CimClass(
    namespace="root/cimv2",
    name="SoftwareLicensingService",
    types={
        **dict.fromkeys(_REQUEST_COUNTERS, INTEGER),
        "DiscoveredKeyManagementServiceMachinePort": INTEGER,
        "IsKeyManagementServiceMachine": INTEGER,
        "KeyManagementServiceCurrentCount": INTEGER,
        "KeyManagementServiceDnsPublishing": BOOLEAN,
        "KeyManagementServiceHostCaching": BOOLEAN,
        "KeyManagementServiceListeningPort": INTEGER,
        "KeyManagementServiceLowPriority": BOOLEAN,
        "KeyManagementServicePort": INTEGER,
        "PolicyCacheRefreshRequired": INTEGER,
        "RemainingWindowsReArmCount": INTEGER,
        "RequiredClientCount": INTEGER,
        "VLActivationInterval": INTEGER,
        "VLRenewalInterval": INTEGER,
    },
    # The firmware's OEM key: never kept, not even in memory.
    drop=frozenset({"OA3xOriginalProductKey"}),
    keys=("Version",),
)

PRODUCT = CimClass(
    namespace="root/cimv2",
    name="SoftwareLicensingProduct",
    types={
        **dict.fromkeys(_REQUEST_COUNTERS, INTEGER),
        "DiscoveredKeyManagementServiceMachinePort": INTEGER,
        "EvaluationEndDate": DATETIME,
        "ExtendedGrace": INTEGER,
        "GenuineStatus": INTEGER,
        "GracePeriodRemaining": INTEGER,
        "IsKeyManagementServiceMachine": INTEGER,
        "KeyManagementServiceCurrentCount": INTEGER,
        "KeyManagementServicePort": INTEGER,
        "LicenseIsAddon": BOOLEAN,
        "LicenseStatus": INTEGER,
        "LicenseStatusReason": INTEGER,
        "RemainingAppReArmCount": INTEGER,
        "RemainingSkuReArmCount": INTEGER,
        "RequiredClientCount": INTEGER,
        "TrustedTime": DATETIME,
        "VLActivationInterval": INTEGER,
        "VLActivationType": INTEGER,
        "VLActivationTypeEnabled": INTEGER,
        "VLRenewalInterval": INTEGER,
    },
    keys=("ID",),
)

REQUEST_COUNTERS = _REQUEST_COUNTERS

#: What every supported Windows has of the service, asked for by name where the answer travels unencrypted: a
#: ``select *`` would carry the firmware's OEM key (Volume Activation Technical Reference).
SERVICE_COLUMNS_WINDOWS_7 = (
    "ClientMachineID",
    "DiscoveredKeyManagementServiceMachineName",
    "DiscoveredKeyManagementServiceMachinePort",
    "IsKeyManagementServiceMachine",
    "KeyManagementServiceCurrentCount",
    "KeyManagementServiceDnsPublishing",
    "KeyManagementServiceHostCaching",
    "KeyManagementServiceListeningPort",
    "KeyManagementServiceLowPriority",
    "KeyManagementServiceMachine",
    "KeyManagementServicePort",
    "KeyManagementServiceProductKeyID",
    *_REQUEST_COUNTERS,
    "RemainingWindowsReArmCount",
    "RequiredClientCount",
    "Version",
    "VLActivationInterval",
    "VLRenewalInterval",
)
SERVICE_COLUMNS_WINDOWS_8 = (*SERVICE_COLUMNS_WINDOWS_7, "KeyManagementServiceLookupDomain")
