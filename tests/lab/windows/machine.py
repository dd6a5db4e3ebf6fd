# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One simulated Windows machine: what it is, what surrounds it, and its life cycle."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from lab.dns.names import SERVER_FAILURE, DnsFailure, Srv
from lab.windows import data, registry
from lab.windows.clock import DAY
from lab.windows.eventlog import EventLog
from lab.windows.firewall import DOMAIN, KMS_PORT, PRIVATE, FirewallRule, default_rules
from lab.windows.products import Sku, skus_for
from lab.windows.repository import MachineRepository
from lab.windows.service import RUNNING, ServiceControl
from lab.windows.spp import SoftwareProtection
from lab.windows.world import World

if t.TYPE_CHECKING:
    from lab.dns.server import DnsServer

DEFAULT_PORT = 5985


@dataclasses.dataclass
class Network:
    """How the machine stands in the network. ``dns_suffix`` is the primary one, ``ad_domain`` empty when not joined."""

    dns_suffix: str = ""
    ad_domain: str = ""
    dhcp_domain: str = ""
    search_list: tuple[str, ...] = ()
    internet: bool = True
    firewall: bool = True
    open_ports: tuple[int, ...] = ()


@dataclasses.dataclass
class Endpoint:
    """How the machine is reached over WinRM, apart from its address, which is given out when the lab starts."""

    tls: bool = False
    auth: tuple[str, ...] = ("negotiate", "ntlm")
    accounts: dict[str, str] = dataclasses.field(default_factory=dict)
    fault_shape: str = "wmi_error"
    allow_unencrypted: bool = False
    language: str = "en-US"


class Machine:
    """A machine of the fleet. ``name`` is its name in the inventory, as a rule the FQDN."""

    def __init__(
        self,
        name: str,
        world: World,
        generation: data.Generation,
        edition: data.Edition,
        *,
        network: Network | None = None,
        endpoint: Endpoint | None = None,
        updates: t.Iterable[str] = (),
        office_pack: t.Iterable[str] = (),
        office: t.Iterable[str] = (),
        clock_skew: float = 0.0,
        host_name: str = "",
    ) -> None:
        self.name = name
        self.world = world
        self.generation = generation
        self.edition = edition
        self.network = network or Network()
        endpoint = endpoint or Endpoint()
        self.address = "127.0.0.1"
        self.port = DEFAULT_PORT
        self.tls = endpoint.tls
        self.auth = endpoint.auth
        self.accounts = endpoint.accounts
        self.fault_shape = endpoint.fault_shape
        self.allow_unencrypted = endpoint.allow_unencrypted
        self.language = endpoint.language
        #: What tells this machine's DNS messages from another's: its address, with its name where that is shared.
        self.dns_identity = self.address
        #: The name server whose zones this machine shows as a Windows DNS server.
        self.dns_server: DnsServer | None = None
        self.skus: tuple[Sku, ...] = skus_for(
            generation, edition, frozenset(updates), tuple(office_pack), tuple(office)
        )
        self.clock_skew = dt.timedelta(seconds=clock_skew)
        self.host_name = (host_name or name.partition(".")[0]).lower()
        self._powered = True
        #: Faults of the wire that are set from the start; the wire knows what they mean.
        self.faults: list[dict[str, t.Any]] = []
        #: Domains in which this machine's own DNS updates fail; "*" is all.
        self.publish_refused: set[str] = set()
        #: The host key that somebody will install on it by accident.
        self.rogue_key = ""
        #: Whether it was in DNS before the first day.
        self.published_earlier = False
        self.die_after_writes: int | None = None
        self.die_on_method = ""
        self.events = EventLog()
        self.rules: list[FirewallRule] = default_rules(generation.is_server)
        self.booted = world.clock.now()
        self.registry = registry.Registry()
        self._fill_registry()
        self.spp = SoftwareProtection(self)
        self.service = ServiceControl(self)
        self.repository = MachineRepository(self)
        world.add(self)

    # -- who and where

    @property
    def dns_suffix(self) -> str:
        return str(self.registry.read(registry.TCPIP, "Domain", registry.SZ, "")).lower()

    @property
    def fqdn(self) -> str:
        return f"{self.host_name}.{self.dns_suffix}" if self.dns_suffix else self.host_name

    @property
    def ad_domain(self) -> str:
        return self.network.ad_domain

    @property
    def internet(self) -> bool:
        return self.network.internet

    def now(self) -> dt.datetime:
        """The machine's own time: the fleet's, and its skew."""
        return self.world.clock.now() + self.clock_skew

    def search_zones(self, lookup_domain: str) -> list[str]:
        """Domains whose SRV records the machine asks for: the lookup domain alone when it is set, else the suffix
        search list, else primary suffix, AD domain and DHCP domain."""
        if lookup_domain:
            return [lookup_domain]
        listed = str(self.registry.read(registry.TCPIP, "SearchList", registry.SZ, ""))
        zones = [part.strip() for part in listed.split(",") if part.strip()]
        zones = zones or [self.dns_suffix, self.network.ad_domain, self.network.dhcp_domain]
        return list(dict.fromkeys(zone.lower() for zone in zones if zone))

    async def lookup_srv(self, domain: str) -> t.Sequence[Srv]:
        if self.world.names is None:
            raise DnsFailure(SERVER_FAILURE)
        return await self.world.names.lookup_srv(domain, self.dns_identity)

    # -- the host as others see it

    def firewall_open(self, port: int) -> bool:
        """Whether the firewall lets KMS traffic in: the predefined rules open 1688 only."""
        if not self.network.firewall or port in self.network.open_ports:
            return True
        profile = DOMAIN if self.network.ad_domain else PRIVATE
        return port == KMS_PORT and any(rule.opens(profile) for rule in self.rules)

    def open_kms_rules(self) -> None:
        """Enable the firewall's KMS rules for the domain and private profiles."""
        for rule in self.rules:
            rule.enabled, rule.profiles = 1, rule.profiles | DOMAIN | PRIVATE

    def kms_port(self) -> int | None:
        """The TCP port on which the machine accepts KMS connections from outside now, or None."""
        listens = self.powered and self.spp.is_host() and self.service.state == RUNNING
        port = self.spp.started.port
        return port if listens and self.firewall_open(port) else None

    def answers_kms(self, port: int) -> bool:
        """Whether a session with the KMS part can be set up at this port."""
        return self.kms_port() == port

    # -- life

    @property
    def powered(self) -> bool:
        """Whether the machine runs. Switched on, sppsvc starts with it and a host publishes."""
        return self._powered

    @powered.setter
    def powered(self, on: bool) -> None:
        if on == self._powered:
            return
        self._powered = on
        if on:
            self.booted = self.world.clock.now()
            self.service.boot()
        else:
            self.service.halt()
        self.world.changed(self)

    def next_due(self) -> dt.datetime | None:
        """When the machine wants to do something by itself: renew, try again, or publish."""
        moments = [row.next_attempt for row in self.spp.licences.values() if row.sku.is_kms_client and row.next_attempt]
        if self.powered and self.spp.next_publish and self.spp.is_host():
            moments.append(self.spp.next_publish)
        return min(moments, default=None)

    async def run_due(self) -> None:
        """Do what is due by the fleet's clock. A machine that is off only waits for its next turn."""
        now = self.world.clock.now()
        for licence in list(self.spp.licences.values()):
            if licence.sku.is_kms_client and licence.next_attempt and licence.next_attempt <= now:
                if self.powered:
                    self.spp.settle()
                    await self.spp.client.activate(licence)
                else:
                    licence.next_attempt = now + dt.timedelta(minutes=120)
        if self.powered and self.spp.next_publish and self.spp.next_publish <= now:
            self.spp.next_publish = now + DAY
            if self.service.state == RUNNING and self.spp.publishes():
                await self.spp.publish()

    def _fill_registry(self) -> None:
        keys = self.registry
        for path in (registry.SPP, registry.SPP + "\\Activation", registry.TCPIP):
            keys.create_key(path)
        if self.generation.build >= 14393:
            keys.create_key(registry.SPP_WOW)
        strings = {
            "CurrentBuild": str(self.generation.build),
            "CurrentBuildNumber": str(self.generation.build),
            "EditionID": self.edition.edition_id,
            "InstallationType": "Server" if self.generation.is_server else "Client",
            "ProductName": f"{self.generation.caption.removeprefix('Microsoft ')} {self.edition.words}",
        }
        for name, text in strings.items():
            keys.set(registry.CURRENT_VERSION, name, registry.SZ, text)
        host = self.host_name
        for name in ("Hostname", "NV Hostname"):
            keys.set(registry.TCPIP, name, registry.SZ, host)
        for name in ("Domain", "NV Domain"):
            keys.set(registry.TCPIP, name, registry.SZ, self.network.dns_suffix)
        keys.set(registry.TCPIP, "SearchList", registry.SZ, ",".join(self.network.search_list))
