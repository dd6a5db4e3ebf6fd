# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet made from a YAML description: machines, DNS zones, keys, and the inventory that Ansible uses for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import itertools
import os
import pathlib
import random
import re
import typing as t

import yaml

from lab import commands as fleet_commands
from lab.dns.client import EmbeddedClient, ExternalClient
from lab.dns.names import DnsFailure
from lab.dns.server import DnsServer
from lab.dns.zone import Zone
from lab.faults import Fault
from lab.windows import data, registry
from lab.windows.centre import ActivationObject
from lab.windows.clock import DAY, Clock
from lab.windows.keys import KeyBook, ProductKey
from lab.windows.machine import Endpoint, Machine, Network
from lab.windows.products import (
    CLIENT_THRESHOLD,
    KMS_VALIDITY,
    NOTIFICATION,
    OFFICE_THRESHOLD,
    REASON_NOT_BOUND,
)
from lab.windows.world import Policy, World

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_DEFAULT_ACCOUNTS = {"Administrator": "Simulated-1"}
_PARAMETER = re.compile(r"^\$\{(\w+)\}$")


class FleetError(ValueError):
    """The description of a fleet is wrong."""


class AddressBlock(t.Protocol):
    """Gives out loopback addresses (``lab.addresses``)."""

    @property
    def shared(self) -> bool: ...

    @property
    def service(self) -> str: ...

    def machine(self, tls: bool = False) -> tuple[str, int]: ...


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a machine stands in the inventory."""

    group: str
    variables: t.Mapping[str, t.Any]


def read(
    source: str | os.PathLike[str] | t.Mapping[str, t.Any], parameters: t.Mapping[str, t.Any] | None = None
) -> dict[str, t.Any]:
    """The description as a dictionary, with ``${name}`` replaced by parameters (defaults under ``parameters:``)."""
    if isinstance(source, (str, os.PathLike)):
        source = _read_file(pathlib.Path(source))
    if not isinstance(source, t.Mapping):
        raise FleetError("a fleet is a mapping")
    values = {**source.get("parameters", {}), **(parameters or {})}
    return t.cast("dict[str, t.Any]", _substitute({k: v for k, v in source.items() if k != "parameters"}, values))


def _read_file(path: pathlib.Path) -> t.Any:
    """The content of a file, on top of the file that it ``extends`` (a path from its own folder)."""
    with path.open(encoding="utf-8") as stream:
        content = yaml.load(stream, Loader=_LOADER)
    if not isinstance(content, dict) or "extends" not in content:
        return content
    return _laid_over(_read_file(path.parent / str(content.pop("extends"))), content)


def _laid_over(base: t.Any, own: t.Any) -> t.Any:
    """Mappings joined at every depth, lists one after the other; else the own one."""
    if isinstance(base, dict) and isinstance(own, dict):
        return {**base, **{key: _laid_over(base.get(key), value) for key, value in own.items()}}
    if isinstance(base, list) and isinstance(own, list):
        return [*base, *own]
    return own


def _substitute(node: t.Any, values: t.Mapping[str, t.Any]) -> t.Any:
    if isinstance(node, t.Mapping):
        return {key: _substitute(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [_substitute(value, values) for value in node]
    match = _PARAMETER.match(node) if isinstance(node, str) else None
    if match is None:
        return node
    if match[1] not in values:
        raise FleetError(f"the fleet needs a parameter {match[1]}")
    return values[match[1]]


def load(
    source: str | os.PathLike[str] | t.Mapping[str, t.Any], parameters: t.Mapping[str, t.Any] | None = None
) -> Fleet:
    """A fleet from the path of its file or from its content; raises FleetError."""
    return Fleet(read(source, parameters))


_TOP = {"seed", "clock", "policy", "endpoint", "keys", "dns", "active_directory", "machines", "inventory"}


class Fleet:
    """Machines by name, and the world they live in."""

    def __init__(self, description: t.Mapping[str, t.Any]) -> None:
        _known("the fleet", description, _TOP)
        self.description = description
        try:
            keys = KeyBook(description.get("keys", ()))
            self.world = World(
                keys=keys,
                clock=Clock(_time(description.get("clock"))),
                policy=Policy(**description.get("policy", {})),
                seed=int(description.get("seed", 0)),
            )
        except (TypeError, ValueError) as error:
            raise FleetError(str(error)) from error
        self.places: dict[str, Place] = {}
        self.dns: DnsServer | None = None
        self._external: ExternalClient | None = None
        self._dns_service_address = "127.0.0.1"
        self._make_dns(description.get("dns", {}))
        self._make_directory(description.get("active_directory", {}))
        for name, entry in description.get("machines", {}).items():
            self._make_machines(name, entry or {})
        self._ports = _KmsPorts()
        self.world.watchers.append(self._ports.watch)
        self.commands: dict[str, t.Callable[..., t.Any]] = fleet_commands.make(self)

    @property
    def machines(self) -> dict[str, Machine]:
        return self.world.machines

    # -- making

    def _make_dns(self, description: t.Mapping[str, t.Any]) -> None:
        _known("dns", description, {"server", "tsig", "zones"})
        tsig = description.get("tsig") or {}
        server = str(description.get("server", "embedded"))
        if server != "embedded":
            address, _colon, port = server.rpartition(":")
            if not address or not port.isdigit():
                raise FleetError(f"dns.server is 'embedded' or ADDRESS:PORT, not {server}")
            self._external = ExternalClient(address, int(port), tsig)
            self.world.names = self._external
            return
        self.dns = DnsServer(tsig)
        for origin, options in description.get("zones", {}).items():
            self._make_zone(self.dns, origin, dict(options or {}))
        self.world.names = EmbeddedClient(self.dns, tsig)

    @staticmethod
    def _make_zone(server: DnsServer, origin: str, options: dict[str, t.Any]) -> None:
        _known(
            f"zone {origin}", options, {"policy", "tsig", "admins", "allow_transfer", "minimum", "records", "failures"}
        )
        records, failures = options.pop("records", ()), options.pop("failures", {})
        zone: Zone = server.add_zone(origin, **options)
        for record in records:
            zone.add(zone.name(record["name"]), record["type"], str(record["data"]), int(record.get("ttl", 3600)))
        for name, failure in failures.items():
            zone.failures[zone.name(name)] = failure

    def _make_directory(self, description: t.Mapping[str, t.Any]) -> None:
        for entry in description.get("activation_objects", ()):
            key = self.world.keys.find(entry["key"])
            if key is None or key.kind != "csvlk":
                raise FleetError(f"activation object {entry['name']}: its key is no host key of the fleet")
            self.world.ad_objects.append(ActivationObject(entry["name"], key))

    def _make_machines(self, name: str, entry: t.Mapping[str, t.Any]) -> None:
        """One machine, or ``count`` of them; a list given for windows, domain or licence is dealt out in turn."""
        count = int(entry["count"]) if "count" in entry else None
        dealt = {key: itertools.cycle(_listed(entry.get(key))) for key in ("windows", "domain", "licence")}
        faults = _deal_faults(name, entry.get("faults") or (), count, self.world.seed)
        width = len(str(count or 1))
        for number in range(1, (count or 1) + 1):
            own = {**entry, **{key: next(values) for key, values in dealt.items()}, "faults": faults[number - 1]}
            host = name if count is None else f"{name}{number:0{max(width, 2)}d}"
            _MachineMaker(self, host, own).make()

    # -- life

    def assign_addresses(self, block: AddressBlock) -> None:
        """Give every machine its address and port. Machines that share an address are told apart in DNS by name."""
        self._dns_service_address = block.service
        for machine in self.machines.values():
            machine.address, machine.port = block.machine(machine.tls)
            machine.dns_identity = f"{machine.address}#{machine.name}" if block.shared else machine.address

    async def start(self) -> None:
        """Start DNS, write the machines' addresses, let the hosts of the first day start (and publish)."""
        if self.dns is not None:
            await self.dns.start(self._dns_service_address)
        await self._register_addresses()
        for machine in self.machines.values():
            if machine.published_earlier:
                await machine.spp.publish_earlier()
            if machine.powered and machine.spp.is_host():
                machine.service.boot()
        await self.world.settle()

    async def stop(self) -> None:
        await self.world.settle()
        self._ports.close()
        if self.dns is not None:
            await self.dns.stop()

    async def _register_addresses(self) -> None:
        if self.dns is not None:
            for machine in self.machines.values():
                zone = self.dns.zone_of_text(machine.fqdn)
                if zone is not None:
                    zone.add(zone.name(machine.fqdn), "A", machine.address)
        elif self._external is not None:
            waiting = [self._external.add_address(m.fqdn, m.address, m.address) for m in self.machines.values()]
            while waiting:
                batch, waiting = waiting[:50], waiting[50:]
                try:
                    await asyncio.gather(*batch)
                except DnsFailure as failure:
                    for work in waiting:
                        work.close()
                    raise FleetError(
                        f"{self.dns_address} does not take the machines' addresses: {failure}"
                    ) from failure

    @property
    def dns_address(self) -> str | None:
        """``address:port`` of the name server, once started."""
        if self._external is not None:
            return f"{self._external.address}:{self._external.port}"
        return f"{self.dns.address}:{self.dns.port}" if self.dns is not None and self.dns.port else None

    async def advance(self, seconds: float) -> None:
        """Move the clock forward; everything that becomes due on the way happens in its order."""
        clock = self.world.clock
        target = clock.now() + dt.timedelta(seconds=seconds)
        await fleet_commands.run_until(self.machines.values(), clock, target)
        clock.advance_to(target)
        await self.world.settle()

    # -- inventory

    def inventory(self, connection: str = "winrm", transport: str | None = None) -> dict[str, t.Any]:
        """The fleet as an Ansible inventory; ``transport`` is the authentication (NTLM where it is offered)."""
        description = self.description.get("inventory", {})
        _known("inventory", description, {"vars", "parents"})
        variables: dict[str, t.Any] = {"ansible_connection": connection}
        if self.dns_address:
            variables["kms_host_nameservers"] = [self.dns_address]
        if self.dns is not None:
            variables["kms_host_domains"] = [origin.to_text(omit_final_dot=True) for origin in self.dns.zones]
        variables.update(description.get("vars", {}))
        groups: dict[str, dict[str, t.Any]] = {}
        for name, machine in self.machines.items():
            place = self.places[name]
            groups.setdefault(place.group, {})[name] = {
                **_connection_variables(machine, connection, transport),
                **place.variables,
            }
        return {"all": {"vars": variables, "children": _nest(groups, description.get("parents", _PARENTS))}}

    def inventory_text(self, connection: str = "winrm", transport: str | None = None) -> str:
        """The inventory as YAML."""
        return yaml.dump(self.inventory(connection, transport), Dumper=_DUMPER, sort_keys=False)


_PARENTS = {"kms_clients": ["workstations", "servers"]}


def _nest(groups: dict[str, dict[str, t.Any]], parents: t.Mapping[str, list[str]]) -> dict[str, t.Any]:
    """Groups with their hosts, the parents' children below them."""
    parent_of = {child: parent for parent, children in parents.items() for child in children}
    children: dict[str, t.Any] = {name: {"children": {}} for name in parents}
    for name, hosts in groups.items():
        if name in parent_of:
            children[parent_of[name]]["children"][name] = {"hosts": hosts}
        else:
            children.setdefault(name, {})["hosts"] = hosts
    return children


def _connection_variables(machine: Machine, connection: str, transport: str | None) -> dict[str, t.Any]:
    """How Ansible reaches a machine."""
    user, password = next(iter(machine.accounts.items()))
    scheme = "https" if machine.tls else "http"
    way = transport or ("ntlm" if {"ntlm", "negotiate"} & set(machine.auth) else "basic")
    common = {
        "ansible_host": machine.address,
        "ansible_port": machine.port,
        "ansible_user": user,
        "ansible_password": password,
    }
    if connection == "psrp":
        encryption = "never" if way == "basic" and not machine.tls else "auto"
        return {
            **common,
            "ansible_psrp_auth": way,
            "ansible_psrp_protocol": scheme,
            "ansible_psrp_cert_validation": "ignore",
            "ansible_psrp_message_encryption": encryption,
        }
    return {
        **common,
        "ansible_winrm_transport": way,
        "ansible_winrm_scheme": scheme,
        "ansible_winrm_server_cert_validation": "ignore",
    }


# -- one machine

_MACHINE = {
    "count",
    "windows",
    "domain",
    "joined",
    "dhcp_domain",
    "search_list",
    "internet",
    "firewall",
    "open_ports",
    "kms_rule",
    "updates",
    "office_pack",
    "office",
    "clock_skew",
    "host_name",
    "group",
    "vars",
    "licence",
    "activated",
    "age_days",
    "counted",
    "keys",
    "client_machine_id",
    "publish",
    "published",
    "registry",
    "rogue_key",
    "faults",
    "publish_refused",
    "die_after_writes",
    "die_on_method",
    "powered",
    "dns_server",
    "tls",
    "auth",
    "accounts",
    "fault_shape",
    "allow_unencrypted",
    "language",
}

_ENDPOINT = ("tls", "auth", "accounts", "fault_shape", "allow_unencrypted", "language")

_REGISTRY_TYPES = {
    "sz": registry.SZ,
    "dword": registry.DWORD,
    "multi_sz": registry.MULTI_SZ,
    "expand_sz": registry.EXPAND_SZ,
}


class _MachineMaker:
    """Makes one machine from its entry and gives it its first state."""

    def __init__(self, fleet: Fleet, host: str, entry: t.Mapping[str, t.Any]) -> None:
        _known(f"machine {host}", entry, _MACHINE)
        self._fleet = fleet
        self._host = host
        self._entry = entry

    def make(self) -> None:
        entry, world = self._entry, self._fleet.world
        generation, edition = self._windows()
        domain = entry.get("domain") or ""
        name = f"{self._host}.{domain}" if domain else self._host
        if name in world.machines:
            raise FleetError(f"there are two machines {name}")
        machine = Machine(
            name,
            world,
            generation,
            edition,
            network=self._network(domain),
            endpoint=self._endpoint(),
            updates=entry.get("updates", ()),
            office_pack=entry.get("office_pack", ()),
            office=entry.get("office", ()),
            clock_skew=float(entry.get("clock_skew", 0)),
            host_name=entry.get("host_name", ""),
        )
        group = entry.get("group") or ("servers" if generation.is_server else "workstations")
        self._fleet.places[name] = Place(group, entry.get("vars", {}))
        self._license(machine)
        self._settings(machine)

    def _windows(self) -> tuple[data.Generation, data.Edition]:
        text = str(self._entry.get("windows") or "server2022")
        name, _slash, edition_id = text.partition("/")
        generation = data.generations().get(name)
        if generation is None:
            raise FleetError(f"{self._host}: no Windows is named {name}; there are {', '.join(data.generations())}")
        edition = data.editions().get(edition_id or generation.editions[0])
        if edition is None or edition.edition_id.removesuffix("Cor").removesuffix("Eval") not in generation.editions:
            raise FleetError(f"{self._host}: {name} has no edition {edition_id}")
        return generation, edition

    def _network(self, domain: str) -> Network:
        entry = self._entry
        joined = entry.get("joined", bool(domain))
        return Network(
            dns_suffix=domain,
            ad_domain=(joined if isinstance(joined, str) else domain) if joined else "",
            dhcp_domain=entry.get("dhcp_domain", ""),
            search_list=tuple(entry.get("search_list", ())),
            internet=entry.get("internet", True),
            firewall=entry.get("firewall", True),
            open_ports=tuple(entry.get("open_ports", ())),
        )

    def _endpoint(self) -> Endpoint:
        defaults = self._fleet.description.get("endpoint", {})
        _known("endpoint", defaults, set(_ENDPOINT))
        options = {**defaults, **{key: self._entry[key] for key in _ENDPOINT if key in self._entry}}
        if "auth" in options:
            options["auth"] = tuple(options["auth"])
        return Endpoint(**{"accounts": dict(_DEFAULT_ACCOUNTS), **options})

    # -- licences

    def _license(self, machine: Machine) -> None:
        """The Windows licence (default: the published client key, not activated), then further keys."""
        kind = self._entry.get("licence") or ("eval" if machine.edition.is_evaluation else "gvlk")
        if kind != "none":
            self._install(machine, self._key(machine, kind), bool(self._entry.get("activated", kind in _BORN_ACTIVE)))
        for row in self._entry.get("keys", ()):
            key = self._fleet.world.keys.find(row["key"])
            if key is None:
                raise FleetError(f"{machine.name}: the key ...{row['key'][-5:]} is unknown to the fleet")
            self._install(machine, key, bool(row.get("activated", False)))

    def _key(self, machine: Machine, kind: str) -> ProductKey:
        """The key of a licence: the published one, one of the fleet's by kind or in full, or an invented one."""
        keys = self._fleet.world.keys
        edition_id, build = machine.edition.edition_id, machine.generation.build
        declared = keys.find(kind)
        if declared is not None:
            return declared
        if kind == "gvlk":
            setup = data.find_setup_key(edition_id, build)
            if setup is None:
                raise FleetError(f"{machine.name}: no published client key for {edition_id}")
            return t.cast(ProductKey, keys.find(setup.key))
        fitting = [k for k in keys.by_kind(kind) if not k.editions or edition_id in k.editions]
        if fitting:
            return fitting[0]
        if kind not in _INVENTED:
            raise FleetError(f"{machine.name}: no key of kind {kind}")
        return keys.add(ProductKey(_INVENTED[kind], kind))

    def _install(self, machine: Machine, key: ProductKey, activated: bool) -> None:
        try:
            licence = machine.spp.put_key(key)
        except ValueError as error:
            raise FleetError(str(error)) from error
        now = machine.now()
        since = now - dt.timedelta(days=float(self._entry.get("age_days", 0)))
        if activated and licence.sku.is_kms_client:
            machine.spp.ensure_client_machine_id()
            licence.license_until(since + KMS_VALIDITY)
            licence.activation_type = 2
            licence.activation_interval, licence.renewal_interval = 120, 10080
        elif activated and key.kind == "eval":
            licence.license_until(since + 180 * DAY)
        elif activated:
            machine.spp.force_licensed(licence)
            if key.kind == "csvlk":
                self._fleet.world.centre.activate(key, machine.name)
                self._count(machine)
        elif key.kind != "csvlk":
            licence.status, licence.reason, licence.expires = NOTIFICATION, REASON_NOT_BOUND, None
        if licence.next_attempt is not None:
            spread = dt.timedelta(minutes=self._fleet.world.random.uniform(0, 120))
            licence.next_attempt = self._fleet.world.clock.now() + spread

    def _count(self, machine: Machine) -> None:
        """Clients that a host has counted before the first day (``counted``)."""
        role = machine.spp.roles[-1]
        limit = OFFICE_THRESHOLD if not role.is_windows else CLIENT_THRESHOLD
        for number in range(min(int(self._entry.get("counted", 0)), 2 * limit)):
            role.seen[f"counted-{number}"] = (machine.now(), limit)

    # -- everything else

    def _settings(self, machine: Machine) -> None:
        entry = self._entry
        if entry.get("client_machine_id"):
            machine.spp.client_machine_id = str(entry["client_machine_id"])
        if entry.get("publish"):
            machine.spp.write_setting("DnsDomainPublishList", registry.MULTI_SZ, list(entry["publish"]))
        for path, values in entry.get("registry", {}).items():
            machine.registry.create_key(path)
            for name, (kind, content) in values.items():
                machine.registry.set(path, name, _REGISTRY_TYPES[kind], content)
        if entry.get("kms_rule"):
            machine.open_kms_rules()
        machine.faults = list(entry["faults"])
        machine.published_earlier = bool(entry.get("published", False))
        machine.rogue_key = str(entry.get("rogue_key", ""))
        machine.publish_refused = set(entry.get("publish_refused", ()))
        machine.die_after_writes = entry.get("die_after_writes")
        machine.die_on_method = entry.get("die_on_method", "")
        if not entry.get("powered", True):
            machine.powered = False
        if entry.get("dns_server"):
            if self._fleet.dns is None:
                raise FleetError(f"{machine.name}: a Windows DNS server shows the zones of the embedded server")
            machine.dns_server = self._fleet.dns


def _deal_faults(group: str, faults: t.Any, count: int | None, seed: int) -> list[list[t.Any]]:
    """The faults of each machine of a group: the same list for all, or shares by name (``{dead: 3%}``), drawn.

    No machine gets two; a share of several machines is of one at least. A share with parameters is a mapping
    (``{slow: {share: 2%, seconds: 0.5}}``).
    """
    if not isinstance(faults, t.Mapping):
        return [[_checked(fault) for fault in faults]] * (count or 1)
    if count is None:
        raise FleetError(f"{group}: shares of faults need a count")
    healthy = list(range(count))
    random.Random(f"{seed}/{group}").shuffle(healthy)
    dealt: list[list[t.Any]] = [[] for _number in healthy]
    for name, share in faults.items():
        parameters = dict(share) if isinstance(share, t.Mapping) else {"share": share}
        number = _share_of(group, parameters.pop("share", None), count)
        description = _checked({"fault": name, **parameters})
        if number > len(healthy):
            raise FleetError(f"{group}: the faults are more than the machines")
        for sick in healthy[:number]:
            dealt[sick].append(description)
        del healthy[:number]
    return dealt


def _checked(fault: t.Any) -> t.Any:
    try:
        Fault.parse(fault)
    except ValueError as error:
        raise FleetError(str(error)) from error
    return fault


def _share_of(group: str, share: t.Any, count: int) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", str(share))
    if match is None:
        raise FleetError(f"{group}: a share is a percentage such as 3%, not {share}")
    part = float(match[1]) / 100
    return max(1, round(count * part)) if part and count > 1 else 0


_BORN_ACTIVE = {"oem", "retail", "mak", "avma", "eval"}

#: Keys for licences that the fleet file does not declare; no such keys exist.
_INVENTED = {
    "oem": "XXXXX-XXXXX-NXXXX-XXXXX-XMDMX",
    "retail": "XXXXX-XXXXX-NXXXX-XXXXX-XRTXX",
    "mak": "XXXXX-XXXXX-NXXXX-XXXXX-XMKXX",
    "avma": "XXXXX-XXXXX-NXXXX-XXXXX-XVMXX",
    "eval": "XXXXX-XXXXX-NXXXX-XXXXX-XVKXX",
}


class _KmsPorts:
    """TCP ports of the KMS hosts: they accept and close, and say nothing."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[int, asyncio.Server]] = {}
        self._lock: asyncio.Lock | None = None

    def watch(self, machine: Machine) -> t.Coroutine[t.Any, t.Any, None] | None:
        current = self._open.get(machine.name, (None, None))[0]
        if machine.kms_port() == current:
            return None
        return self._settle(machine)

    async def _settle(self, machine: Machine) -> None:
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            wanted = machine.kms_port()
            port, server = self._open.get(machine.name, (None, None))
            if wanted == port:
                return
            if server is not None:
                server.close()
                del self._open[machine.name]
            if wanted is not None:
                # Where machines share one address only the first of them can have the port.
                with contextlib.suppress(OSError):
                    opened = await asyncio.start_server(_accept_and_close, machine.address, wanted)
                    self._open[machine.name] = (wanted, opened)

    def close(self) -> None:
        for _port, server in self._open.values():
            server.close()
        self._open.clear()


async def _accept_and_close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


# -- small helpers


def _known(what: str, entry: t.Mapping[str, t.Any], names: t.Collection[str]) -> None:
    unknown = sorted(set(entry) - set(names))
    if unknown:
        raise FleetError(f"{what} knows no {', '.join(unknown)}; it knows {', '.join(sorted(names))}")


def _listed(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) and value else [value]


def _time(value: t.Any) -> dt.datetime | None:
    if value is None or value == "real":
        return None
    moment = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


__all__ = ["Fleet", "FleetError", "load", "read"]
