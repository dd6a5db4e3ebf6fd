# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The providers behind the CIM classes: instances made from a machine's state, methods that change it."""

from __future__ import annotations

from lab.windows.providers.base import Provider
from lab.windows.providers.dns_server import SoaRecordProvider, SrvRecordProvider
from lab.windows.providers.licensing import ProductProvider, ServiceProvider
from lab.windows.providers.registry import RegistryProvider
from lab.windows.providers.system import (
    ComputerSystemProvider,
    EventProvider,
    FirewallRuleProvider,
    OperatingSystemProvider,
    WindowsServiceProvider,
)

#: Provider by the class name of ``classes.yml``.
PROVIDERS: dict[str, type[Provider]] = {
    "SoftwareLicensingService": ServiceProvider,
    "SoftwareLicensingProduct": ProductProvider,
    "StdRegProv": RegistryProvider,
    "Win32_Service": WindowsServiceProvider,
    "Win32_OperatingSystem": OperatingSystemProvider,
    "Win32_ComputerSystem": ComputerSystemProvider,
    "Win32_NTLogEvent": EventProvider,
    "MSFT_NetFirewallRule": FirewallRuleProvider,
    "MicrosoftDNS_SOAType": SoaRecordProvider,
    "MicrosoftDNS_SRVType": SrvRecordProvider,
}
