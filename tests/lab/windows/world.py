# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The world that the machines share: clock, keys, activation centre, directory, DNS and background work."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import random
import typing as t

from lab.dns.names import NameService
from lab.windows.centre import ActivationCentre, ActivationObject
from lab.windows.clock import Clock
from lab.windows.keys import KeyBook

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine


@dataclasses.dataclass
class Policy:
    """Choices that the sources leave open, and delays. Seconds are real seconds unless said otherwise."""

    #: "replace": a host that publishes again removes its older values of that domain; "add": they stay.
    republish: str = "replace"
    #: How long sppsvc stays in Start Pending and Stop Pending.
    pending_seconds: float = 0.1
    #: How long after the start of sppsvc a host writes itself into DNS.
    publish_seconds: float = 0.1
    #: Fleet seconds without a licensing call after which sppsvc stops itself; a KMS host's never does.
    idle_seconds: float = 30.0
    #: StdRegProv's answer for a value that is not there; both 1 and 2 are seen in public code.
    missing_value_code: int = 2
    #: Whether the activation centre can be reached at all.
    internet: bool = True


class World:
    """Everything outside a single machine."""

    def __init__(
        self,
        keys: KeyBook | None = None,
        clock: Clock | None = None,
        names: NameService | None = None,
        policy: Policy | None = None,
        seed: int = 0,
    ) -> None:
        self.keys = keys or KeyBook()
        self.clock = clock or Clock()
        self.names = names
        self.policy = policy or Policy()
        self.centre = ActivationCentre()
        self.ad_objects: list[ActivationObject] = []
        self.seed = seed
        self.random = random.Random(seed)
        self.machines: dict[str, Machine] = {}
        self._by_name: dict[str, Machine] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[t.Coroutine[t.Any, t.Any, None]] = []
        #: Called with a machine after its power, its port 1688 or its rules may have changed.
        self.watchers: list[t.Callable[[Machine], t.Any]] = []

    def add(self, machine: Machine) -> None:
        """Put a machine into the world; it is found by FQDN and by its short name."""
        self.machines[machine.name] = machine
        self._by_name[machine.fqdn] = machine
        self._by_name.setdefault(machine.fqdn.partition(".")[0], machine)

    def find(self, target: str) -> Machine | None:
        """The machine behind a host name or an address."""
        wanted = target.rstrip(".").lower()
        found = self._by_name.get(wanted)
        if found is None and wanted[:1].isdigit():
            found = next((machine for machine in self.machines.values() if machine.address == wanted), None)
        return found

    def changed(self, machine: Machine) -> None:
        """Tell the watchers that a machine may look different from outside."""
        for watcher in self.watchers:
            result = watcher(machine)
            if inspect.isawaitable(result):
                self.spawn(_await(result))

    def spawn(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        """Run in the background; without a running event loop it waits for ``settle``."""
        try:
            task = asyncio.get_running_loop().create_task(work)
        except RuntimeError:
            self._waiting.append(work)
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until all background work is done."""
        while self._waiting or self._tasks:
            waiting, self._waiting = self._waiting, []
            for work in waiting:
                await work
            if self._tasks:
                await asyncio.gather(*self._tasks)


async def _await(result: t.Awaitable[t.Any]) -> None:
    await result
