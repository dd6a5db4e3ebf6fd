# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of KMS hosts and clients: each is a row.

A host's settings are registry values that the Software Protection service reads when it starts (Microsoft,
"Registry settings for volume activation"). They are written while it is stopped, so that no method of the service
(which would start it) is needed in between, and so that they can be there before the host key is.
A client's settings are set by methods and hold at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import RegistryValue, ValueType

from .channels import ActivationType, activation_type_enabled
from .machine import DEFAULT_PORT, Machine, Product, number
from .reader import PLATFORM_KEY


@dataclasses.dataclass(frozen=True)
class HostSetting:
    """A registry value of a KMS host: the option, the property that shows what is in force, and how it is written."""

    option: str
    property: str
    value: RegistryValue
    default: int | bool
    encode: t.Callable[[t.Any], str | int]
    minimum: int | None = None
    maximum: int | None = None

    def read(self, machine: Machine) -> int | bool:
        """The value in force; what Windows leaves unset is its default."""
        if isinstance(self.default, bool):
            found = machine.service.get(self.property)
            return self.default if found is None else bool(found)
        return number(machine.service, self.property) or self.default


def _dword(name: str) -> RegistryValue:
    return RegistryValue(PLATFORM_KEY, name, ValueType.DWORD)


#: A string, although it is a number: writing a REG_DWORD here is the classic mistake.
LISTENING_PORT = RegistryValue(PLATFORM_KEY, "KeyManagementServiceListeningPort", ValueType.STRING)
DISABLE_DNS_PUBLISHING = _dword("DisableDnsPublishing")

HOST_SETTINGS = (
    HostSetting(
        option="dns_publishing",
        property="KeyManagementServiceDnsPublishing",
        value=DISABLE_DNS_PUBLISHING,
        default=True,
        encode=lambda publish: 0 if publish else 1,
    ),
    HostSetting(
        option="listening_port",
        property="KeyManagementServiceListeningPort",
        value=LISTENING_PORT,
        default=DEFAULT_PORT,
        encode=str,
        minimum=1,
        maximum=65535,
    ),
    HostSetting(
        option="low_cpu_priority",
        property="KeyManagementServiceLowPriority",
        value=_dword("EnableKmsLowPriority"),
        default=False,
        encode=int,
    ),
    HostSetting(
        option="activation_interval",
        property="VLActivationInterval",
        value=_dword("VLActivationInterval"),
        default=120,
        encode=int,
        minimum=15,
        maximum=43200,
    ),
    HostSetting(
        option="renewal_interval",
        property="VLRenewalInterval",
        value=_dword("VLRenewalInterval"),
        default=10080,
        encode=int,
        minimum=15,
        maximum=43200,
    ),
)


def host_setting(option: str) -> HostSetting:
    """The row of an option."""
    return next(row for row in HOST_SETTINGS if row.option == option)


@dataclasses.dataclass(frozen=True)
class ClientSetting:
    """A setting of a KMS client: where it is read, the method that sets it and the one that clears it.

    ``per_product`` says that it may be (``"optional"``) or always is (``"always"``) a setting of one product.
    """

    option: str
    property: str
    method: str
    argument: str
    clear: str = ""
    cleared: t.Any = ""
    per_product: str = "never"
    #: From what Windows shows, from what the user wrote, and to the method's argument.
    decode: t.Callable[[t.Any], t.Any] = str
    normalise: t.Callable[[t.Any], t.Any] = lambda value: value
    #: What is wrong with a value, or an empty text.
    problem: t.Callable[[t.Any], str] = lambda value: ""
    encode: t.Callable[[t.Any], t.Any] = lambda value: value
    minimum: int | None = None
    maximum: int | None = None


def _port(value: t.Any) -> int:
    """An unset client port reads as 0 on a product and as 1688 on the service: both are the default."""
    return int(value or 0) or DEFAULT_PORT


def _name(value: t.Any) -> str:
    """A host or domain name in the one spelling that is compared: lower case, no final dot."""
    return str(value or "").strip().strip(".").lower()


_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


def _server_problem(value: str) -> str:
    """A name or an address: Windows takes anything here, and fails only when it activates."""
    text = value.strip()
    if not text or (_HOST_NAME.fullmatch(text) and len(text) <= 254):
        return ""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
        return ""
    port = " (the port has an option of its own)" if re.search(r":\d+$", text) else ""
    return f"it accepts a host name or an address{port}"


def _domain_problem(value: str) -> str:
    text = value.strip()
    return "" if not text or (_HOST_NAME.fullmatch(text) and len(text) <= 254) else "it accepts a DNS domain"


def _activation_type(value: t.Any) -> str:
    allowed = activation_type_enabled(int(value or 0) & 0xFFFFFFFF)
    return allowed.value if allowed else str(value)


CLIENT_SETTINGS = (
    ClientSetting(
        option="server",
        property="KeyManagementServiceMachine",
        method="SetKeyManagementServiceMachine",
        argument="MachineName",
        problem=_server_problem,
        clear="ClearKeyManagementServiceMachine",
        per_product="optional",
        decode=_name,
        normalise=_name,
    ),
    ClientSetting(
        option="port",
        property="KeyManagementServicePort",
        method="SetKeyManagementServicePort",
        argument="PortNumber",
        clear="ClearKeyManagementServicePort",
        cleared=DEFAULT_PORT,
        per_product="optional",
        decode=_port,
        normalise=_port,
        minimum=0,
        maximum=65535,
    ),
    ClientSetting(
        option="lookup_domain",
        property="KeyManagementServiceLookupDomain",
        method="SetKeyManagementServiceLookupDomain",
        argument="LookupDomain",
        problem=_domain_problem,
        clear="ClearKeyManagementServiceLookupDomain",
        per_product="optional",
        decode=_name,
        normalise=_name,
    ),
    ClientSetting(
        option="host_caching",
        property="KeyManagementServiceHostCaching",
        method="DisableKeyManagementServiceHostCaching",
        argument="DisableCaching",
        decode=lambda value: True if value is None else bool(value),
        encode=lambda caching: not caching,
    ),
    ClientSetting(
        option="activation_type",
        property="VLActivationTypeEnabled",
        method="SetVLActivationTypeEnabled",
        argument="ActivationType",
        clear="ClearVLActivationTypeEnabled",
        cleared=ActivationType.ALL.value,
        per_product="always",
        decode=_activation_type,
        encode=lambda option: ActivationType(option).number,
    ),
)


def is_fixed_host(machine: Machine) -> str:
    """The KMS host that this machine is fixed to, lower case; empty when it asks DNS."""
    return _name(machine.service.get("KeyManagementServiceMachine"))


def fixed_host_of(product: Product | None) -> str:
    """The KMS host that a product has for itself, lower case; it wins over the machine's. Empty when it has none."""
    return _name(product.instance.get("KeyManagementServiceMachine")) if product else ""
