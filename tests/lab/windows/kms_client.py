# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KMS client: which hosts it asks, in which order, and what it makes of the answer.

Sources: "Volume Activation Technical Reference" and "Common troubleshooting procedures for KMS and DNS": a fixed host,
else the cached one, else SRV records of the search zones, lowest priority first, by weight inside one priority
(RFC 2782); the next host is asked only when no session could be set up.
"""

from __future__ import annotations

import bisect
import dataclasses
import datetime as dt
import itertools
import random
import typing as t

from lab.dns.names import NAME_ERROR, NO_RECORDS, DnsFailure, Srv, SrvSet
from lab.windows import eventlog
from lab.windows.eventlog import HResult
from lab.windows.kms_host import Answer, Request, activates
from lab.windows.products import KMS_VALIDITY, LICENSED, NOTIFICATION, Licence, Sku, threshold

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine

NO_SUFFIX = 0x8007007B
RPC_UNAVAILABLE = 0x800706BA
NO_HOST = 0xC004F074
AD_OBJECT_NOT_FOUND = 0xC004F081

TYPE_ALL, TYPE_AD, TYPE_KMS, TYPE_TOKEN = 0, 1, 2, 3

DEFAULT_PORT = 1688
RETRY_MINUTES, RENEWAL_MINUTES = 120, 10080


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A host to ask; ``discovered`` is False for a host that was set by hand."""

    target: str
    port: int
    discovered: bool


def order_by_priority(records: t.Sequence[Srv], chooser: random.Random) -> t.Iterator[Srv]:
    """RFC 2782 order: lowest priority first, inside one priority drawn by weight (zero keeps a very small chance).

    Drawn one by one, as they are asked for: as a rule the first one answers.
    """
    for group in (records if isinstance(records, SrvSet) else SrvSet(records)).groups:
        chosen = _draw(group.running, chooser)
        yield group.records[chosen]
        remaining = [*group.records[:chosen], *group.records[chosen + 1 :]]
        while remaining:
            yield remaining.pop(_draw(list(itertools.accumulate(r.weight for r in remaining)), chooser))


def _draw(running: t.Sequence[int], chooser: random.Random) -> int:
    """The place of the drawn record; ``running`` are the running sums of the weights."""
    if running[-1] == 0:
        return chooser.randrange(len(running))
    return bisect.bisect_left(running, chooser.randint(0, running[-1]))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the registry says about one product: the way to activate, the host set by hand, the zones to search."""

    activation_type: int
    fixed: Candidate | None
    zones: tuple[str, ...]


class KmsClient:
    """The client half of one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._settings: dict[str, tuple[int, Settings]] = {}

    def settings(self, sku: Sku) -> Settings:
        """Read again only when the registry was written to: a moving clock makes machines ask very often."""
        machine, spp = self._machine, self._machine.spp
        revision, settings = self._settings.get(sku.id, (-1, None))
        if settings is None or revision != machine.registry.revision:
            fixed = spp.fixed_server(sku)
            settings = Settings(
                spp.activation_type(sku),
                Candidate(*fixed, discovered=False) if fixed else None,
                tuple(machine.search_zones(spp.lookup_domain(sku))),
            )
            self._settings[sku.id] = (machine.registry.revision, settings)
        return settings

    async def activate(self, licence: Licence) -> int:
        """Activate or renew; 0 or the HRESULT that Activate reports. Plans the next attempt in either case."""
        machine = self._machine
        code = await self._try(licence)
        minutes = (licence.renewal_interval if code == 0 else None) or (RETRY_MINUTES if code else RENEWAL_MINUTES)
        licence.next_attempt = machine.world.clock.now() + dt.timedelta(minutes=minutes)
        return code

    async def _try(self, licence: Licence) -> int:
        wanted = self.settings(licence.sku).activation_type
        if wanted in (TYPE_ALL, TYPE_AD) and self._activate_by_ad(licence):
            return 0
        if wanted == TYPE_AD:
            return AD_OBJECT_NOT_FOUND
        if wanted == TYPE_TOKEN:
            return NO_HOST
        return await self._activate_by_kms(licence)

    def _activate_by_ad(self, licence: Licence) -> bool:
        """Active Directory-based activation: the first object whose host key serves this product, no threshold."""
        machine = self._machine
        if machine.generation.build < 9200 or not machine.ad_domain:
            return False
        for entry in machine.world.ad_objects:
            if activates(entry.key.product, licence.sku, machine.generation):
                licence.license_until(machine.now() + KMS_VALIDITY)
                licence.activation_type, licence.ad_object = TYPE_AD, (entry.name, entry.key.product)
                return True
        return False

    async def _activate_by_kms(self, licence: Licence) -> int:
        spp = self._machine.spp
        spp.ensure_client_machine_id()
        fixed = self.settings(licence.sku).fixed
        if fixed is not None:
            return self._ask_in_turn(licence, [fixed])
        name, port, _address = spp.discovered
        if name and spp.host_caching and self._reach(name, port):
            return self._ask_in_turn(licence, [Candidate(name, port, discovered=True)])
        return await self._discover(licence)

    async def _discover(self, licence: Licence) -> int:
        """Look the hosts up in each search zone; the zones after the first are for when no session was set up."""
        machine = self._machine
        zones = self.settings(licence.sku).zones
        if not zones:
            self._log_request(licence, "", NO_SUFFIX)
            return NO_SUFFIX
        result, found = NAME_ERROR, False
        for zone in zones:
            try:
                records = await machine.lookup_srv(zone)
            except DnsFailure as failure:
                if failure.code not in (NAME_ERROR, NO_RECORDS):
                    result = failure.code
                continue
            found = found or bool(records)
            ordered = order_by_priority(records, machine.world.random)
            code = self._ask_in_turn(licence, (Candidate(r.target, r.port, discovered=True) for r in ordered))
            if code != NO_HOST:
                return code
        if not found:
            self._log_request(licence, "", result)
        return NO_HOST if found else result

    def _reach(self, target: str, port: int) -> Machine | None:
        host = self._machine.world.find(target)
        return host if host is not None and host.answers_kms(port) else None

    def _ask_in_turn(self, licence: Licence, candidates: t.Iterable[Candidate]) -> int:
        """Ask the first host with which a session can be set up; its answer is final."""
        for candidate in candidates:
            host = self._reach(candidate.target, candidate.port)
            where = f"{candidate.target}:{candidate.port}"
            if host is None:
                self._log_request(licence, where, RPC_UNAVAILABLE)
                continue
            self._log_request(licence, where, 0)
            return self._ask(licence, host, candidate)
        return NO_HOST

    def _ask(self, licence: Licence, host: Machine, candidate: Candidate) -> int:
        machine = self._machine
        request = self._request(licence)
        answer = host.spp.answer(request)
        machine.events.write(
            eventlog.APPLICATION,
            eventlog.RESPONSE,
            machine.now(),
            (
                HResult(answer.code),
                0,
                int(answer.code == 0),
                0,
                answer.count,
                answer.activation_interval,
                answer.renewal_interval,
                machine.now(),
            ),
        )
        if answer.code:
            if licence.status != LICENSED:
                licence.reason = answer.code
            return answer.code
        self._accept(licence, answer, candidate, host)
        return 0

    def _accept(self, licence: Licence, answer: Answer, candidate: Candidate, host: Machine) -> None:
        machine = self._machine
        licence.license_until(machine.now() + KMS_VALIDITY)
        licence.activation_type = TYPE_KMS
        licence.activation_interval = answer.activation_interval
        licence.renewal_interval = answer.renewal_interval
        licence.host_product_key_id = answer.product_key_id
        if candidate.discovered:
            machine.spp.discovered = licence.discovered = (candidate.target, candidate.port, host.address)

    def _request(self, licence: Licence) -> Request:
        machine = self._machine
        return Request(
            sku=licence.sku,
            generation=machine.generation,
            client_machine_id=machine.spp.client_machine_id,
            fqdn=machine.fqdn,
            time=machine.now(),
            status=licence.status,
            minutes_left=licence.minutes_left(machine.now()),
            threshold=threshold(licence.sku, machine.generation),
        )

    def _log_request(self, licence: Licence, where: str, code: int) -> None:
        machine = self._machine
        now = machine.now()
        fields = (
            HResult(code),
            0,
            where,
            machine.spp.client_machine_id,
            now,
            1,
            licence.status,
            licence.minutes_left(now),
            licence.sku.id,
            threshold(licence.sku, machine.generation),
        )
        machine.events.write(eventlog.APPLICATION, eventlog.REQUEST_SENT, now, fields)
        if code and licence.status == NOTIFICATION:
            licence.reason = NO_HOST if code == RPC_UNAVAILABLE else code
