# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping a Windows service (Win32 documentation, "Win32_Service class")."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient

from .classes import SERVICE
from .errors import OperationFailed

#: Return values that mean the state is already as wanted.
_START_DONE = (0, 10)
_STOP_DONE = (0, 5, 6)

#: Seconds that a service takes at the least to start or stop.
_LEAST = 0.15

_RETURN_VALUES = {
    1: "the request is not supported",
    2: "access denied",
    3: "other running services depend on it",
    4: "the control code is not valid",
    5: "the service cannot take this request in its present state",
    6: "the service is not started",
    7: "the service did not answer in time",
    8: "unknown failure while starting",
    9: "its executable was not found",
    10: "the service is already running",
    11: "the service database is locked",
    12: "a service that it depends on is gone",
    13: "a service that it depends on could not be found",
    14: "the service is disabled",
    15: "its account could not log on",
    16: "the service is marked for deletion",
    17: "it has no execution thread",
    18: "its dependencies are circular",
    21: "an invalid parameter was passed",
    22: "its account is not valid",
    24: "the service is paused",
}


class ServiceControl:
    """One service of one machine; ``deadline`` bounds in seconds how long a change of state is waited for."""

    def __init__(
        self,
        cim: CimClient,
        name: str,
        *,
        deadline: float = 60.0,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._cim = cim
        self._name = name
        self._deadline = deadline
        self._sleep = sleep
        self._clock = clock

    def stop(self) -> None:
        """Stop the service and wait until it is stopped."""
        self._change("StopService", _STOP_DONE, "Stopped")

    def start(self) -> None:
        """Start the service and wait until it runs. (A service that is done already and stopped again is fine.)"""
        self._change("StartService", _START_DONE, "Running")

    def state(self) -> str:
        """The service's state in Microsoft's words: ``Running``, ``Stopped``, ``Stop Pending`` ..."""
        rows = self._cim.query(SERVICE, f"select * from Win32_Service where Name = '{self._name}'")
        if not rows:
            raise OperationFailed(f"Looking up the service {self._name}", 0x80070424, "there is no such service")
        return str(rows[0]["State"])

    def _change(self, method: str, done: tuple[int, ...], wanted: str) -> None:
        verb = "Stopping" if method == "StopService" else "Starting"
        result = self._cim.invoke(SERVICE, method, selectors={"Name": self._name})
        if result.return_value not in done:
            value = int(result.return_value or 0)
            raise OperationFailed(
                f"{verb} the service {self._name}",
                None,
                f"Win32_Service answered {value}, {_RETURN_VALUES.get(value, 'a code without a published meaning')}",
            )
        if result.return_value != 0 and wanted == "Running":
            return
        if result.return_value == 0:
            self._sleep(_LEAST)  # accepted, and never done at once
        self._wait(wanted, verb)

    def _wait(self, wanted: str, verb: str) -> None:
        end = self._clock() + self._deadline
        pause = 0.1
        while (state := self.state()) != wanted:
            if wanted == "Running" and state == "Stopped":
                return  # started, found nothing to do and stopped itself: sppsvc does so when idle
            if self._clock() > end:
                again = (
                    ". Something has started it again meanwhile: another run, or a licensing tool"
                    if (wanted == "Stopped" and state == "Running")
                    else ""
                )
                raise OperationFailed(
                    f"{verb} the service {self._name}",
                    None,
                    f"it is in the state '{state}' after {self._deadline:.0f} s{again}",
                )
            self._sleep(pause)
            pause = min(pause * 2, 2.0)
