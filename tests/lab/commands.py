# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of a running fleet, offered by the control API: the clock, activations, DNS, the state of machines."""

from __future__ import annotations

import dataclasses
import datetime as dt
import heapq
import typing as t

import dns.rdatatype
import dns.update

from lab.dns.zone import DENY, FAILURES, OPEN, SECURE
from lab.windows import registry
from lab.windows.clock import Clock
from lab.windows.keys import ProductKey
from lab.windows.machine import Machine
from lab.windows.products import LICENSED

if t.TYPE_CHECKING:
    from lab.dns.zone import Zone
    from lab.fleet import Fleet

#: A machine by name, several, or None or ``*`` for all.
Chosen = str | t.Sequence[str] | None


async def run_until(machines: t.Iterable[Machine], clock: Clock, target: dt.datetime) -> None:
    """Let everything happen that is due up to a moment, in its order."""
    agenda: list[tuple[dt.datetime, int, Machine]] = []
    for number, machine in enumerate(machines):
        due = machine.next_due()
        if due is not None:
            agenda.append((due, number, machine))
    heapq.heapify(agenda)
    while agenda and agenda[0][0] <= target:
        due, number, machine = heapq.heappop(agenda)
        clock.advance_to(due)
        await machine.run_due()
        following = machine.next_due()
        if following is not None:
            heapq.heappush(agenda, (following, number, machine))


class Commands:
    """The commands; ``machine`` is a name, a list of names, or None or ``*`` for all. Results are plain data."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def _chosen(self, machine: Chosen) -> list[Machine]:
        machines = self._fleet.machines
        if machine is None or machine == "*":
            return list(machines.values())
        names = [machine] if isinstance(machine, str) else list(machine)
        unknown = [name for name in names if name not in machines]
        if unknown:
            raise ValueError(f"no machine is named {', '.join(unknown)}")
        return [machines[name] for name in names]

    # -- time

    def clock(self) -> str:
        """The fleet's time."""
        return self._fleet.world.clock.now().isoformat()

    async def advance(self, seconds: float) -> str:
        """Move the clock forward, with all renewals, retries, expiries and publishing on the way."""
        await self._fleet.advance(seconds)
        return self.clock()

    async def settle(self) -> None:
        """Wait for what goes on in the background: pending services, DNS updates."""
        await self._fleet.world.settle()

    # -- licensing

    async def activate(self, machine: Chosen = None) -> dict[str, str]:
        """Let KMS clients activate or renew now; the HRESULT by machine, ``0x00000000`` being success."""
        results: dict[str, str] = {}
        for one in self._chosen(machine):
            for licence in list(one.spp.licences.values()) if one.powered else ():
                if licence.sku.is_kms_client:
                    one.spp.settle()
                    results[one.name] = f"0x{await one.spp.client.activate(licence):08X}"
        return results

    def licences(self, machine: Chosen = None) -> dict[str, list[dict[str, t.Any]]]:
        """What is keyed on each machine, and how it is activated."""
        found = {}
        for one in self._chosen(machine):
            one.spp.settle()
            found[one.name] = [
                {
                    "id": row.sku.id,
                    "kind": row.sku.kind,
                    "partial_product_key": row.partial_product_key,
                    "license_status": row.status,
                    "license_status_reason": f"0x{row.reason:08X}",
                    "grace_minutes": row.minutes_left(one.now()),
                    "activation_type": row.activation_type,
                    "kms_server": row.discovered[0],
                }
                for row in one.spp.licences.values()
            ]
        return found

    def summary(self) -> dict[str, t.Any]:
        """KMS clients by the host that activated them, and the count of each host."""
        servers: dict[str, int] = {}
        waiting = 0
        for one in self._fleet.machines.values():
            one.spp.settle()
            for row in one.spp.licences.values():
                if row.sku.is_kms_client and row.status == LICENSED:
                    name = row.discovered[0] or ("active directory" if row.activation_type == 1 else "fixed")
                    servers[name] = servers.get(name, 0) + 1
                elif row.sku.is_kms_client:
                    waiting += 1
        hosts = {
            one.name: {role.licence.sku.host_key: role.count(one.now()) for role in one.spp.roles}
            for one in self._fleet.machines.values()
            if one.spp.roles
        }
        return {"licensed": servers, "not_licensed": waiting, "counts": hosts}

    def confirmation_id(self, installation_id: str) -> str:
        """What the telephone service would read out."""
        return self._fleet.world.centre.confirmation_id(installation_id)

    def activations(self) -> dict[str, dict[str, int]]:
        """What the activation centre has counted, by the last five characters of the key."""
        return {key[-5:]: dict(used) for key, used in self._fleet.world.centre.activations.items()}

    def key_calls(self, machine: Chosen = None) -> dict[str, list[dict[str, t.Any]]]:
        """Every call that installed, activated or removed a key since the start, by machine; no reset forgets them."""
        return {
            one.name: [
                {**dataclasses.asdict(call), "time": call.time.isoformat(), "code": f"0x{call.code:08X}"}
                for call in one.spp.key_calls
            ]
            for one in self._chosen(machine)
            if one.spp.key_calls
        }

    def repeated(self, machine: Chosen = None) -> list[str]:
        """What was done twice and should not have been, one line each: a key installed that was there, or that had
        been installed before; a host key activated that was active."""
        lines = []
        for one in self._chosen(machine):
            installed: set[str] = set()
            for call in one.spp.key_calls:
                again = call.method == "InstallProductKey" and (call.needless or call.partial_product_key in installed)
                wasted = call.method == "Activate" and call.needless and call.kind == "csvlk"
                if again or wasted:
                    lines.append(f"{one.name}: {call.method} *****-{call.partial_product_key} ({call.kind})")
                if call.method == "InstallProductKey" and not call.code:
                    installed.add(call.partial_product_key)
        return lines

    # -- machines

    async def go_rogue(
        self,
        machine: Chosen = None,
        key: str | None = None,
        *,
        activated: bool = True,
        publish: list[str] | None = None,
    ) -> dict[str, str]:
        """Let somebody install a host key by accident: the machine becomes a KMS host behind an open firewall and
        publishes itself, at priority 0 and weight 0 unless ``publish`` (its publish list) says otherwise. Without a
        machine it happens to all that have a ``rogue_key``, without a key it is that one, or the first host key of the
        fleet that the machine takes. The last characters of the key by machine."""
        chosen = [one for one in self._chosen(machine) if machine is not None or one.rogue_key]
        found = [(one, self._host_key_for(one, key or one.rogue_key)) for one in chosen]
        for one, host_key in found:
            self._make_host(one, host_key, activated)
            if publish is not None:
                one.spp.write_setting("DnsDomainPublishList", registry.MULTI_SZ, publish)
            one.service.halt()
            one.service.boot()
        await self._fleet.world.settle()
        return {one.name: host_key.partial for one, host_key in found}

    def _host_key_for(self, one: Machine, key: str) -> ProductKey:
        keys = self._fleet.world.keys
        known = [keys.find(key)] if key else keys.by_kind("csvlk")
        fitting = [row for row in known if row is not None and row.kind == "csvlk" and one.spp.takes(row)]
        if not fitting or not one.powered:
            raise ValueError(f"{one.name} is off" if fitting else f"no such host key fits {one.name}")
        return fitting[0]

    def _make_host(self, one: Machine, key: ProductKey, activated: bool) -> None:
        licence = one.spp.put_key(key)
        if activated:
            code = self._fleet.world.centre.activate(key, one.name)
            if code:
                raise ValueError(f"{one.name}: the activation centre refuses ...{key.partial}: 0x{code:08X}")
            one.spp.force_licensed(licence)
        one.open_kms_rules()

    def events(self, machine: str, code: int | None = None) -> list[dict[str, t.Any]]:
        """The event logs of one machine, oldest first."""
        (one,) = self._chosen(machine)
        return [
            {"logfile": e.logfile, "code": e.code, "time": e.time.isoformat(), "strings": list(e.strings)}
            for e in one.events.events(code)
        ]

    def state(self, machine: str) -> dict[str, t.Any]:
        """Everything about one machine that its remote view may hide."""
        (one,) = self._chosen(machine)
        return {
            "name": one.name,
            "fqdn": one.fqdn,
            "windows": one.generation.name,
            "edition": one.edition.edition_id,
            "powered": one.powered,
            "sppsvc": one.service.state,
            "sppsvc_starts": one.service.starts,
            "kms_port": one.kms_port(),
            "client_machine_id": one.spp.client_machine_id,
            "licences": self.licences(machine)[one.name],
            "firewall": [{"name": r.name, "enabled": r.enabled, "profiles": r.profiles} for r in one.rules],
            "registry": one.registry.dump(),
        }

    def set_state(
        self,
        machine: Chosen,
        *,
        clock_skew: float | None = None,
        internet: bool | None = None,
        client_machine_id: str | None = None,
        publish_refused: list[str] | None = None,
        service: str | None = None,
        die_after_writes: int | None = None,
        die_on_method: str | None = None,
    ) -> None:
        """Change what surrounds machines: clock skew in seconds, way to the activation centre, refused domains
        (``*``: all), a duplicate client machine ID, ``service`` disabled or auto, when they are to die."""
        for one in self._chosen(machine):
            if clock_skew is not None:
                one.clock_skew = dt.timedelta(seconds=clock_skew)
            if internet is not None:
                one.network.internet = internet
            if client_machine_id is not None:
                one.spp.client_machine_id = client_machine_id
            if publish_refused is not None:
                one.publish_refused = set(publish_refused)
            if service is not None:
                one.service.disabled = service == "disabled"
            if die_after_writes is not None:
                one.die_after_writes = die_after_writes
            if die_on_method is not None:
                one.die_on_method = die_on_method

    def set_internet(self, on: bool) -> None:
        """Whether the activation centre can be reached from anywhere."""
        self._fleet.world.policy.internet = on

    # -- DNS

    def _zones(self, zone: str | None) -> list[Zone]:
        if self._fleet.dns is None:
            raise ValueError("the fleet uses another name server")
        found = [z for z in self._fleet.dns.zones.values() if zone in (None, z.origin.to_text(omit_final_dot=True))]
        if not found:
            raise ValueError(f"no zone is named {zone}")
        return found

    def dns(self, zone: str | None = None, type: str = "SRV") -> list[str]:
        """Records of a type in a zone or in all, one line each."""
        kind = dns.rdatatype.from_text(type)
        return sorted(
            line
            for one in self._zones(zone)
            for rrset in one.all_rrsets()
            if rrset.rdtype == kind
            for line in rrset.to_text().splitlines()
        )

    def dns_policy(self, zone: str, policy: str) -> None:
        """Who may update a zone: open, secure (the first updater owns a name) or deny."""
        if policy not in (OPEN, SECURE, DENY):
            raise ValueError(f"a policy is {OPEN}, {SECURE} or {DENY}")
        for one in self._zones(zone):
            one.policy = policy

    def dns_fail(self, zone: str, failure: str | None, name: str | None = None) -> None:
        """Lay a failure on a zone or on one name of it; None takes it away."""
        if failure is not None and failure not in FAILURES:
            raise ValueError(f"a failure is one of {', '.join(FAILURES)}")
        for one in self._zones(zone):
            target = one.origin if name is None else one.name(name)
            one.failures.pop(target, None)
            if failure is not None:
                one.failures[target] = failure

    def dns_add(self, zone: str, name: str, data: str, type: str = "SRV") -> None:
        """Add a record by hand, as an administrator would."""
        for one in self._zones(zone):
            one.add(one.name(name), type, data)

    def dns_transfer(self, zone: str, allow: bool | list[str]) -> None:
        """Who may transfer a zone: all, nobody, or the addresses and TSIG keys of a list."""
        for one in self._zones(zone):
            one.allow_transfer = allow

    def dns_remove(self, zone: str, name: str, type: str = "SRV") -> None:
        """Take all records of a name and type away by hand; who owned the name owns it still."""
        for one in self._zones(zone):
            update = dns.update.UpdateMessage(one.origin)
            update.delete(one.name(name), type)
            one.administer(update, "administrator")

    def dns_release(self, zone: str, name: str) -> None:
        """Make a name of a secure zone owned by nobody, as an administrator who deletes its node does."""
        for one in self._zones(zone):
            one.owners.pop(one.name(name), None)


def make(fleet: Fleet) -> dict[str, t.Callable[..., t.Any]]:
    """The commands by name."""
    commands = Commands(fleet)
    return {name: getattr(commands, name) for name in vars(Commands) if not name.startswith("_")}
