# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Type tables of the Windows classes that are read or called: XML does not say what a number is."""

from __future__ import annotations

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, CimType, PropertyType

INTEGER = PropertyType(CimType.INTEGER)
BOOLEAN = PropertyType(CimType.BOOLEAN)
DATETIME = PropertyType(CimType.DATETIME)
STRINGS = PropertyType(CimType.STRING, array=True)
INTEGERS = PropertyType(CimType.INTEGER, array=True)

OPERATING_SYSTEM = CimClass(
    namespace="root/cimv2",
    name="Win32_OperatingSystem",
    types={
        "OperatingSystemSKU": INTEGER,
        "ProductType": INTEGER,
        "MUILanguages": STRINGS,
        "LocalDateTime": DATETIME,
        "LastBootUpTime": DATETIME,
        "InstallDate": DATETIME,
    },
)

SERVICE = CimClass(
    namespace="root/cimv2",
    name="Win32_Service",
    types={"Started": BOOLEAN, "ProcessId": INTEGER, "ExitCode": INTEGER},
    keys=("Name",),
)

#: All of its methods are static. The recorded answer of a real Windows comes from root/default.
REGISTRY = CimClass(
    namespace="root/default",
    name="StdRegProv",
    types={"uValue": INTEGER, "sNames": STRINGS, "Types": INTEGERS, "GetMultiStringValue.sValue": STRINGS},
)

FIREWALL_RULE = CimClass(
    namespace="root/StandardCimv2",
    name="MSFT_NetFirewallRule",
    types={
        "Enabled": INTEGER,
        "Profiles": INTEGER,
        "Direction": INTEGER,
        "Action": INTEGER,
        "PrimaryStatus": INTEGER,
        "StatusCode": INTEGER,
        "PolicyStoreSourceType": INTEGER,
        "EdgeTraversalPolicy": INTEGER,
        "Platforms": STRINGS,
        "EnforcementStatus": INTEGERS,
        "OperationalStatus": INTEGERS,
        "StatusDescriptions": STRINGS,
    },
    keys=("CreationClassName", "PolicyRuleName", "SystemCreationClassName", "SystemName"),
)

LOG_EVENT = CimClass(
    namespace="root/cimv2",
    name="Win32_NTLogEvent",
    types={
        "EventCode": INTEGER,
        "RecordNumber": INTEGER,
        "InsertionStrings": STRINGS,
        "Data": INTEGERS,
        "TimeGenerated": DATETIME,
        "TimeWritten": DATETIME,
    },
)
