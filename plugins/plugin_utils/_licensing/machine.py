# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as it was read: immutable, and with the questions that the rules ask of it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.dns_server import SrvValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import FirewallRule
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.identity import OperatingSystem
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import RegistryValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance

from .channels import Application, Channel, application_of, channel_of
from .publish import PublishEntry
from .served import ServedClient

#: "Not applicable" in the uint32 properties of both classes.
NOT_APPLICABLE = 0xFFFFFFFF

LICENSED = 1

#: TCP port of the Key Management Service (Microsoft, "KMS activation planning").
DEFAULT_PORT = 1688

WINDOWS_7_BUILD = 7600
WINDOWS_8_BUILD = 9200


def number(instance: Instance, name: str) -> int | None:
    """An unsigned number, or None where it is absent, null or "not applicable"."""
    value = instance.get(name)
    if value is None:
        return None
    value = int(value) & 0xFFFFFFFF
    return None if value == NOT_APPLICABLE else value


def text(instance: Instance, name: str) -> str:
    """A string; absent and null are empty."""
    return str(instance.get(name) or "").strip()


@dataclasses.dataclass(frozen=True)
class Product:
    """A product that has a key (SoftwareLicensingProduct)."""

    instance: Instance

    @property
    def id(self) -> str:
        """The activation ID: the key of the CIM instance."""
        return text(self.instance, "ID").lower()

    @property
    def name(self) -> str:
        return text(self.instance, "Name")

    @property
    def description(self) -> str:
        return text(self.instance, "Description")

    @property
    def application(self) -> Application | None:
        return application_of(text(self.instance, "ApplicationID"))

    @property
    def application_id(self) -> str:
        return text(self.instance, "ApplicationID").lower()

    @property
    def channel_name(self) -> str:
        """Windows' own name of the channel, for instance ``Volume:GVLK``; empty on Windows 7."""
        return text(self.instance, "ProductKeyChannel")

    @property
    def channel(self) -> Channel:
        return channel_of(self.description, self.channel_name)

    @property
    def partial_product_key(self) -> str:
        return text(self.instance, "PartialProductKey").upper()

    @property
    def is_addon(self) -> bool:
        return bool(self.instance.get("LicenseIsAddon"))

    @property
    def license_status(self) -> int:
        return number(self.instance, "LicenseStatus") or 0

    @property
    def license_status_reason(self) -> int | None:
        return number(self.instance, "LicenseStatusReason")

    @property
    def is_licensed(self) -> bool:
        return self.license_status == LICENSED

    @property
    def is_kms_host(self) -> bool:
        return self.channel is Channel.KMS_HOST

    @property
    def grace_minutes(self) -> int | None:
        return number(self.instance, "GracePeriodRemaining")

    @property
    def activation_type(self) -> int:
        """The type used at the last activation: 1 AD, 2 KMS, 3 token, 0 none."""
        return number(self.instance, "VLActivationType") or 0

    @property
    def activation_type_enabled(self) -> int:
        """The type that is allowed: 0 all, 1 AD, 2 KMS, 3 token."""
        return number(self.instance, "VLActivationTypeEnabled") or 0

    @property
    def installation_id(self) -> str:
        return text(self.instance, "OfflineInstallationId")

    @property
    def count(self) -> int | None:
        return number(self.instance, "KeyManagementServiceCurrentCount")

    @property
    def required_count(self) -> int | None:
        return number(self.instance, "RequiredClientCount")


@dataclasses.dataclass(frozen=True)
class Machine:
    """All that was read of one machine in one pass; what was not asked for is None."""

    operating_system: OperatingSystem
    service: Instance
    products: tuple[Product, ...]
    fqdn: str | None = None
    publish_list: tuple[PublishEntry, ...] | None = None
    registry: t.Mapping[RegistryValue, t.Any] = dataclasses.field(default_factory=dict)
    firewall_rules: tuple[FirewallRule, ...] | None = None
    search_domains: tuple[str, ...] | None = None
    events: tuple[Event, ...] | None = None
    served_clients: tuple[ServedClient, ...] | None = None
    #: The SRV values of KMS in the zones of a DNS server, each with its domain.
    srv_values: tuple[tuple[str, SrvValue], ...] | None = None
    #: What a reader of the result should know of how it was read.
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The Software Protection Platform's version: the key of SoftwareLicensingService."""
        return text(self.service, "Version")

    def products_of(self, application: Application) -> tuple[Product, ...]:
        """The keyed products of an application without add-on licences (ESU and the like)."""
        return tuple(item for item in self.products if item.application is application and not item.is_addon)

    @property
    def windows(self) -> Product | None:
        """The keyed product that is this machine's Windows; a licensed one first, should there be several."""
        found = sorted(self.products_of(Application.WINDOWS), key=lambda item: not item.is_licensed)
        return found[0] if found else None

    @property
    def host_products(self) -> tuple[Product, ...]:
        """The products that carry a KMS host key, of any application."""
        return tuple(item for item in self.products if item.is_kms_host and not item.is_addon)

    def product_by_key(self, partial_product_key: str) -> Product | None:
        return next((item for item in self.products if item.partial_product_key == partial_product_key.upper()), None)

    def product_by_id(self, activation_id: str) -> Product | None:
        return next((item for item in self.products if item.id == activation_id.strip("{} ").lower()), None)
