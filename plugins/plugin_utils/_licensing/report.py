# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as users see it: the ``kms`` part of every result."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.dns_server import SrvValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event

from .channels import activation_type_enabled, activation_type_used, license_status_name
from .classes import REQUEST_COUNTERS
from .codes import describe
from .machine import Machine, Product, number, text
from .publish import format_entry
from .reader import HOST_VERSION
from .served import ServedClient
from .settings import host_setting

_COUNTER_NAMES = {
    "KeyManagementServiceTotalRequests": "total",
    "KeyManagementServiceFailedRequests": "failed",
    "KeyManagementServiceUnlicensedRequests": "unlicensed",
    "KeyManagementServiceLicensedRequests": "licensed",
    "KeyManagementServiceOOBGraceRequests": "oob_grace",
    "KeyManagementServiceOOTGraceRequests": "oot_grace",
    "KeyManagementServiceNonGenuineGraceRequests": "non_genuine_grace",
    "KeyManagementServiceNotificationRequests": "notification",
}

#: So many of the clients that a host served are named: Ansible keeps every result of every machine.
NAMED_CLIENTS = 100


def report(machine: Machine) -> dict[str, t.Any]:
    """Plain data; null stands for what was not read or does not apply."""
    system, service, windows = machine.operating_system, machine.service, machine.windows
    clients = machine.served_clients
    name = text(service, "KeyManagementServiceMachine").lower()
    used = text(service, "DiscoveredKeyManagementServiceMachineName").lower()
    return {
        "role": windows.channel.value if windows else "unlicensed",
        "is_kms_host": bool(machine.host_products),
        "fqdn": machine.fqdn,
        "os_name": system.caption,
        "build": system.build,
        "is_server": system.is_server,
        "edition_id": system.edition_id,
        "channel": windows.channel_name or None if windows else None,
        "partial_product_key": windows.partial_product_key if windows else None,
        "license_status": windows.license_status if windows else 0,
        "license_status_name": license_status_name(windows.license_status if windows else 0),
        "grace_minutes": windows.grace_minutes if windows else None,
        "activation_type": _used_type(windows),
        "kms_server": name or None,
        "kms_port": number(service, "KeyManagementServicePort") or None,
        "kms_server_used": name or used or None,
        "lookup_domain": text(service, "KeyManagementServiceLookupDomain") or None,
        "host_caching": service.get("KeyManagementServiceHostCaching"),
        "client_machine_id": text(service, "ClientMachineID").lower() or None,
        "current_count": number(service, "KeyManagementServiceCurrentCount"),
        "required_count": number(service, "RequiredClientCount"),
        "requests": _requests(machine),
        "publish_list": None if machine.publish_list is None else [format_entry(e) for e in machine.publish_list],
        "listening_port": host_setting("listening_port").read(machine),
        "host_version": _text(machine.registry.get(HOST_VERSION)),
        "dns_publishing": host_setting("dns_publishing").read(machine),
        "low_cpu_priority": host_setting("low_cpu_priority").read(machine),
        "activation_interval": _interval(machine, "activation_interval"),
        "renewal_interval": _interval(machine, "renewal_interval"),
        "firewall": None if machine.firewall_rules is None else [str(rule) for rule in machine.firewall_rules],
        "search_domains": None if machine.search_domains is None else list(machine.search_domains),
        "events": None if machine.events is None else [_event(event) for event in machine.events],
        "clients_served": None if clients is None else [_served(client) for client in clients[:NAMED_CLIENTS]],
        "clients_served_count": None if clients is None else len(clients),
        "srv_records": None if machine.srv_values is None else [_srv_record(*item) for item in machine.srv_values],
        "products": [_product(product) for product in machine.products],
    }


def _product(product: Product) -> dict[str, t.Any]:
    reason = product.license_status_reason
    allowed = activation_type_enabled(product.activation_type_enabled)
    return {
        "activation_id": product.id,
        "application": product.application.value if product.application else None,
        "application_id": product.application_id,
        "name": product.name,
        "description": product.description,
        "role": product.channel.value,
        "channel": product.channel_name or None,
        "is_addon": product.is_addon,
        "partial_product_key": product.partial_product_key,
        "product_key_id": text(product.instance, "ProductKeyID") or None,
        "license_status": product.license_status,
        "license_status_name": license_status_name(product.license_status),
        "license_status_reason": describe(reason).hex if reason else None,
        "grace_minutes": product.grace_minutes,
        "activation_type": _used_type(product),
        "activation_type_enabled": allowed.value if allowed else None,
        "installation_id": product.installation_id or None,
        "is_enabled_kms_host": number(product.instance, "IsKeyManagementServiceMachine") == 1,
        "current_count": product.count,
        "required_count": product.required_count,
        "remaining_rearm_count": number(product.instance, "RemainingSkuReArmCount"),
        "kms_server": text(product.instance, "KeyManagementServiceMachine").lower() or None,
        "evaluation_end": _date(product.instance.get("EvaluationEndDate")),
    }


def _used_type(product: Product | None) -> str | None:
    used = activation_type_used(product.activation_type) if product else None
    return used.value if used else None


def _requests(machine: Machine) -> dict[str, int] | None:
    counters = {_COUNTER_NAMES[name]: number(machine.service, name) for name in REQUEST_COUNTERS}
    found = {name: value for name, value in counters.items() if value is not None}
    return found or None


def _interval(machine: Machine, option: str) -> int | None:
    return number(machine.service, host_setting(option).property)


def _event(event: Event) -> dict[str, t.Any]:
    return {"code": event.code, "log": event.log, "time": _date(event.time), "fields": list(event.fields)}


def _served(client: ServedClient) -> dict[str, t.Any]:
    return {"client": client.name, "requests": client.requests, "last": _date(client.last)}


def _srv_record(domain: str, value: SrvValue) -> dict[str, t.Any]:
    return {
        "domain": domain,
        "target": value.target.rstrip(".").lower() or ".",  # the root: no such service (RFC 2782)
        "port": value.port,
        "priority": value.priority,
        "weight": value.weight,
        "ttl": value.ttl,
    }


def _text(value: t.Any) -> str | None:
    return None if value is None else str(value)


def _date(value: t.Any) -> str | None:
    """ISO 8601, or null; 1601 is how Windows writes that there is no date."""
    return value.isoformat() if hasattr(value, "isoformat") and value.year > 1601 else None
