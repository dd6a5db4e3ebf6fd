# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""sppsvc as the service manager sees it: pending states, stopping when idle, starting at any licensing call."""

from __future__ import annotations

import asyncio
import typing as t

from lab.cim import CimError

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine

RUNNING, STOPPED, START_PENDING, STOP_PENDING = "Running", "Stopped", "Start Pending", "Stop Pending"

#: Win32_Service return codes.
ACCEPTED, CANNOT_ACCEPT, NOT_STARTED, ALREADY_RUNNING, DISABLED = 0, 5, 6, 10, 14

SERVICE_STOPPING = 0xC004F075


class ServiceControl:
    """State of sppsvc. Start and stop are accepted at once and take effect after the policy's pending time."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._state = STOPPED
        self._used = machine.world.clock.now()
        self.disabled = False
        self.starts = 0

    @property
    def state(self) -> str:
        """The present state; an idle service has stopped by itself, a KMS host's goes on."""
        machine = self._machine
        if self._state == RUNNING and not machine.spp.is_host():
            idle = (machine.world.clock.now() - self._used).total_seconds()
            if idle > machine.world.policy.idle_seconds:
                self._enter_stopped()
        return self._state

    def start(self) -> int:
        """StartService."""
        if self.disabled:
            return DISABLED
        if self.state in (RUNNING, START_PENDING):
            return ALREADY_RUNNING
        if self.state == STOP_PENDING:
            return CANNOT_ACCEPT
        self._change(START_PENDING, self._enter_running)
        return ACCEPTED

    def stop(self) -> int:
        """StopService."""
        if self.state == STOPPED:
            return NOT_STARTED
        if self.state != RUNNING:
            return CANNOT_ACCEPT
        self._change(STOP_PENDING, self._enter_stopped)
        return ACCEPTED

    def touch(self) -> None:
        """A licensing call: starts the service when it is stopped, fails while it stops."""
        if self.state == STOP_PENDING:
            raise CimError(SERVICE_STOPPING, "the service is stopping")
        if self.state != RUNNING:
            self._enter_running()
        self._used = self._machine.world.clock.now()

    def halt(self) -> None:
        """The machine loses its power."""
        self._enter_stopped()

    def boot(self) -> None:
        """The machine starts: so does the service."""
        self._enter_running()

    def _change(self, pending: str, enter: t.Callable[[], None]) -> None:
        self._state = pending
        delay = self._machine.world.policy.pending_seconds
        if delay <= 0:
            enter()
            return
        self._machine.world.spawn(self._finish(pending, enter, delay))

    async def _finish(self, pending: str, enter: t.Callable[[], None], delay: float) -> None:
        await asyncio.sleep(delay)
        if self._state == pending:
            enter()

    def _enter_running(self) -> None:
        if self._state == RUNNING:
            return
        self._state = RUNNING
        self._used = self._machine.world.clock.now()
        self.starts += 1
        self._machine.spp.service_started()
        self._machine.world.changed(self._machine)

    def _enter_stopped(self) -> None:
        self._state = STOPPED
        self._machine.spp.service_stopped()
        self._machine.world.changed(self._machine)
