# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a machine is and what it runs: its own DNS name, its Windows and its edition."""

from __future__ import annotations

import dataclasses
import datetime

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance

from .classes import OPERATING_SYSTEM
from .registry import Registry, RegistryValue, ValueType

_TCPIP = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
_CURRENT_VERSION = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion"

HOST_NAME = RegistryValue(_TCPIP, "Hostname", ValueType.STRING)
PRIMARY_DNS_SUFFIX = RegistryValue(_TCPIP, "Domain", ValueType.STRING)
DNS_SEARCH_LIST = RegistryValue(_TCPIP, "SearchList", ValueType.STRING)
EDITION_ID = RegistryValue(_CURRENT_VERSION, "EditionID", ValueType.STRING)

_PRODUCT_TYPE_WORKSTATION = 1

#: The whole instance is ten times as long. Every Windows since Vista has these (Win32 documentation,
#: "Win32_OperatingSystem class").
_COLUMNS = ("BuildNumber", "Caption", "LocalDateTime", "OperatingSystemSKU", "ProductType")


@dataclasses.dataclass(frozen=True)
class OperatingSystem:
    """The Windows of a machine. ``edition_id`` is None when it was not asked for."""

    caption: str
    build: int
    sku: int
    is_server: bool
    local_time: datetime.datetime | None
    edition_id: str | None = None


def read_operating_system(cim: CimClient, *, with_edition: bool) -> OperatingSystem:
    """Read Win32_OperatingSystem and, if wanted, the EditionID of the registry (one request each)."""
    row = _operating_system(cim)
    edition = Registry(cim).text(EDITION_ID) if with_edition else None
    return OperatingSystem(
        caption=str(row["Caption"] or "").strip(),
        build=int(row["BuildNumber"] or 0),
        sku=int(row["OperatingSystemSKU"] or 0),
        is_server=row["ProductType"] != _PRODUCT_TYPE_WORKSTATION,
        local_time=row["LocalDateTime"],
        edition_id=edition or None,
    )


def _operating_system(cim: CimClient) -> Instance:
    try:
        return cim.query(OPERATING_SYSTEM, f"select {','.join(_COLUMNS)} from {OPERATING_SYSTEM.name}")[0]
    except CimFault:  # Windows Server 2003 knows one of the columns not yet: it is to be refused by its name
        return cim.query(OPERATING_SYSTEM)[0]


def read_fqdn(cim: CimClient) -> str:
    """The TCP/IP host name with the primary DNS suffix, lower case: the name by which a KMS host publishes itself.

    Not the Active Directory domain and not the inventory's name, which may both differ from it.
    """
    registry = Registry(cim)
    names = (registry.text(HOST_NAME), registry.text(PRIMARY_DNS_SUFFIX))
    return ".".join(part.strip(".").lower() for part in names if part)


def read_search_domains(cim: CimClient) -> tuple[str, ...]:
    """The machine's DNS suffix search list, lower case; empty when Windows uses the primary suffix alone."""
    text = Registry(cim).text(DNS_SEARCH_LIST)
    return tuple(item.strip().strip(".").lower() for item in text.replace(" ", ",").split(",") if item.strip())
