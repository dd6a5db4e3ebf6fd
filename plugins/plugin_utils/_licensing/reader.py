# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a machine: which question costs which request.

A pass with nothing optional is three requests (operating system, service, the keyed products of a machine that has
one); each further request is asked for by name in ``Needs``.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.dns_server import DnsServer
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import MAX_EVENTS, Event, EventLog
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import Firewall
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.identity import (
    OperatingSystem,
    read_fqdn,
    read_operating_system,
    read_search_domains,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import (
    OtherType,
    Registry,
    RegistryValue,
    ValueType,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance

from .classes import PRODUCT, SERVICE, SERVICE_COLUMNS_WINDOWS_7, SERVICE_COLUMNS_WINDOWS_8
from .machine import WINDOWS_7_BUILD, WINDOWS_8_BUILD, Machine, Product
from .publish import PublishEntry, parse_list
from .refusal import Refusal
from .served import served_clients

PLATFORM_KEY = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"
PLATFORM_KEY_32 = r"SOFTWARE\Wow6432Node\Microsoft\Windows NT\CurrentVersion\SoftwareProtectionPlatform"

PUBLISH_LIST = RegistryValue(PLATFORM_KEY, "DnsDomainPublishList", ValueType.MULTI_STRING)
#: Written by slmgr on a KMS host so that monitoring discovers it; deleted when the host role ends.
HOST_VERSION = RegistryValue(PLATFORM_KEY, "KeyManagementServiceVersion", ValueType.STRING)
HOST_VERSION_32 = RegistryValue(PLATFORM_KEY_32, "KeyManagementServiceVersion", ValueType.STRING)

EVENT_REQUEST_SENT = 12288
EVENT_RESPONSE = 12289
EVENT_REQUEST_SERVED = 12290
EVENT_PUBLISH_FAILED = 12293
EVENT_PUBLISHED = 12294
EVENT_LOGS = ("Application", "Key Management Service")


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a pass reads beside the operating system, the service and the keyed products."""

    edition: bool = False
    fqdn: bool = False
    publish_list: bool = False
    registry: tuple[RegistryValue, ...] = ()
    firewall: bool = False
    search_domains: bool = False
    #: Events of these codes, so many hours back.
    events: tuple[int, ...] = ()
    event_hours: float = 48.0
    #: Read events only of a machine that has a KMS host key.
    events_of_hosts: bool = False
    #: Whom a KMS host served, so many hours back.
    served_clients: bool = False
    #: The SRV values of KMS that this machine holds as a DNS server.
    srv_values: bool = False


class Reader:
    """Reads one machine through one session. ``encrypted`` says whether its answers travel encrypted."""

    def __init__(self, cim: CimClient, *, encrypted: bool) -> None:
        self._cim = cim
        self._encrypted = encrypted

    def read(self, needs: Needs, known: Machine | None = None) -> Machine:
        """One pass; raises Refusal for a Windows that is too old to be read.

        Of a machine that is ``known``, who it is and what it runs is not asked again: nothing here changes that.
        """
        system = known.operating_system if known else read_operating_system(self._cim, with_edition=needs.edition)
        if system.build < WINDOWS_7_BUILD:
            raise Refusal(
                f"{system.caption or 'This Windows'} (build {system.build}) is older than Windows 7 and Windows Server"
                " 2008 R2: its licensing classes lack what is needed. Upgrade it, or manage it with its own slmgr.vbs."
            )
        products = self.products()
        is_host = any(item.is_kms_host for item in products)
        has_firewall_classes = system.build >= WINDOWS_8_BUILD
        events = clients = None
        notes: list[str] = []
        try:
            if needs.events and (is_host or not needs.events_of_hosts):
                events = self._events(needs.events, needs.event_hours, system, notes)
            if needs.served_clients and is_host:
                clients = served_clients(self._events((EVENT_REQUEST_SERVED,), needs.event_hours, system, notes))
        except CimFault as fault:  # a log that cannot be read must not hide all the rest
            notes.append(f"The event log could not be read: {fault}")
        listed = (PUBLISH_LIST,) if needs.publish_list else ()
        values = Registry(self._cim).get_all((*listed, *needs.registry), rare=not is_host)
        return Machine(
            operating_system=system,
            service=self.service(system),
            products=products,
            fqdn=self._fqdn(needs, known),
            publish_list=_publish_list(values[PUBLISH_LIST]) if needs.publish_list else None,
            registry={value: values[value] for value in needs.registry},
            firewall_rules=Firewall(self._cim).rules() if needs.firewall and has_firewall_classes else None,
            search_domains=self._search_domains(needs, known),
            events=events,
            served_clients=clients,
            notes=tuple(notes),
            srv_values=DnsServer(self._cim).kms_values() if needs.srv_values else None,
        )

    def _fqdn(self, needs: Needs, known: Machine | None) -> str | None:
        if not needs.fqdn:
            return None
        return known.fqdn if known else read_fqdn(self._cim)

    def _search_domains(self, needs: Needs, known: Machine | None) -> tuple[str, ...] | None:
        if not needs.search_domains:
            return None
        return known.search_domains if known else read_search_domains(self._cim)

    def service(self, system: OperatingSystem) -> Instance:
        """The one SoftwareLicensingService. Its key changes with updates: read anew in every session."""
        columns = "*"
        if not self._encrypted:
            is_old = system.build < WINDOWS_8_BUILD
            columns = ",".join(SERVICE_COLUMNS_WINDOWS_7 if is_old else SERVICE_COLUMNS_WINDOWS_8)
        return self._cim.query(SERVICE, f"select {columns} from SoftwareLicensingService")[0]

    def products(self) -> tuple[Product, ...]:
        """The products that have a key, by application and activation ID."""
        rows = self._cim.query(PRODUCT, "select * from SoftwareLicensingProduct where PartialProductKey <> null")
        products = (Product(row) for row in rows if row.get("PartialProductKey"))
        return tuple(sorted(products, key=lambda item: (item.application_id, item.id)))

    def events(self, codes: t.Sequence[int], hours: float) -> tuple[Event, ...]:
        """Events of these codes, so many hours back by the machine's own clock."""
        return self._events(codes, hours, read_operating_system(self._cim, with_edition=False), [])

    def _events(
        self, codes: t.Sequence[int], hours: float, system: OperatingSystem, notes: list[str]
    ) -> tuple[Event, ...]:
        now = system.local_time or datetime.datetime.now(datetime.timezone.utc)
        since = now - datetime.timedelta(hours=hours)
        events = EventLog(self._cim).events(codes, since, logs=EVENT_LOGS)
        if events.is_cut:
            which = " or ".join(map(str, codes))
            notes.append(
                f"The event log has more events {which} than were read: the newest {MAX_EVENTS} only, not all of"
                f" {hours:g} hours."
            )
        return events.found


def _publish_list(raw: t.Any) -> tuple[PublishEntry, ...]:
    if isinstance(raw, OtherType):
        return (PublishEntry(str(raw), malformed=True),)
    return parse_list(raw or ())
