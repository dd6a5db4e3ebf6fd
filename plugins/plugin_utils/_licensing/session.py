# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One authenticated session with one machine, as the operations use it."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.errors import (
    OperationFailed,
    hresult_from_return_value,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import Firewall
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import Registry
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.service import ServiceControl
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    AuthenticationError,
    CimFault,
    OperationTimedOut,
    ProtocolError,
    TransportError,
    WsmanError,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass

from .classes import PRODUCT, SERVICE
from .codes import SL_E_SERVICE_STOPPING
from .machine import Machine, Product
from .reader import Needs, Reader

_T = t.TypeVar("_T")

#: Seconds for the calls that talk to an activation server or to a KMS host (WinRM's own default maximum).
LONG_OPERATION = 60.0
#: Seconds that an unknown outcome is watched for before it is called a failure.
SETTLE = 60.0
#: Seconds that a service which is stopping is waited for before it is read.
STOPPING = 30.0

SOFTWARE_PROTECTION = "sppsvc"


class Session:
    """Holds the machine as last read, and reads it again. Nothing in here sends a write twice."""

    def __init__(
        self,
        cim: CimClient,
        reader: Reader,
        needs: Needs,
        *,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.cim = cim
        self.needs = needs
        self.registry = Registry(cim)
        self.firewall = Firewall(cim)
        self.software_protection = ServiceControl(cim, SOFTWARE_PROTECTION, sleep=sleep, clock=clock)
        #: Set by an activation that waits for the KMS host's count.
        self.pending: str | None = None
        self.answered_count: int | None = None
        #: What went on beside the plan that a person should know.
        self.notes: list[str] = []
        self._reader = reader
        self._sleep = sleep
        self._clock = clock
        self.machine: Machine = self._patiently(lambda: self._reader.read(self.needs))

    def read_again(self) -> Machine:
        """Read anew all that can change; ``machine`` is what the machine says now."""
        self.machine = self._patiently(lambda: self._reader.read(self.needs, self.machine))
        return self.machine

    def read_products(self) -> Machine:
        """Read anew only what a licensing call is judged by, the keyed products: one request, not ten.

        All else stays as it was read last; what proves a run is ``read_again``.
        """
        self.machine = dataclasses.replace(self.machine, products=self._patiently(self._reader.products))
        return self.machine

    def _patiently(self, read: t.Callable[[], _T]) -> _T:
        """Read; a service that stops just now (somebody restarts it) is waited for, for a bounded time."""
        end = self._clock() + STOPPING
        while True:
            try:
                return read()
            except CimFault as fault:
                if fault.hresult != SL_E_SERVICE_STOPPING or self._clock() > end:
                    raise
            self._sleep(2.0)

    def recent_events(self, codes: t.Sequence[int], hours: float) -> tuple[Event, ...]:
        """The machine's events of these codes, so many hours back, oldest first."""
        return self._reader.events(codes, hours)

    def call_service(
        self, method: str, arguments: t.Mapping[str, t.Any] | None = None, *, timeout: float | None = None
    ) -> None:
        """Invoke a method of SoftwareLicensingService."""
        self._call(SERVICE, {"Version": self.machine.version}, method, arguments or {}, timeout)

    def call_product(
        self,
        product: Product,
        method: str,
        arguments: t.Mapping[str, t.Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Invoke a method of SoftwareLicensingProduct."""
        self._call(PRODUCT, {"ID": product.id}, method, arguments or {}, timeout)

    def settle(self, call: t.Callable[[], None], is_done: t.Callable[[Machine], bool]) -> None:
        """Make a long call; when its outcome stays unknown, watch the machine for a bounded time instead.

        A WMI call that outlives its time-out goes on running on the machine (MS-WSMV), and so does one whose
        connection was lost. Raises the original error when the machine never shows the wish.
        """
        try:
            call()
        except WsmanError as error:
            if not leaves_outcome_unknown(error) or not self._watch(is_done):
                raise

    def _watch(self, is_done: t.Callable[[Machine], bool]) -> bool:
        """Whether the machine shows it in time. Reads that fail meanwhile are the machine at work, and go on.

        Refused credentials are not tried again: each try counts towards an account lockout.
        """
        end = self._clock() + SETTLE
        pause = 1.0
        while self._clock() <= end:
            try:
                if is_done(self.read_products()):
                    return True
            except AuthenticationError:
                return False
            except (WsmanError, OperationFailed):
                pass
            self._sleep(pause)
            pause = min(pause * 2, 10.0)
        return False

    def _call(
        self,
        cim_class: CimClass,
        selectors: t.Mapping[str, str],
        method: str,
        arguments: t.Mapping[str, t.Any],
        timeout: float | None,
    ) -> None:
        result = self.cim.invoke(cim_class, method, arguments, selectors=selectors, operation_timeout=timeout)
        if result.return_value not in (0, None):
            raise OperationFailed(f"{cim_class.name}.{method}", hresult_from_return_value(result.return_value))


def leaves_outcome_unknown(error: Exception) -> bool:
    """Whether a call that ended with this error may have been done all the same, or may still be at work."""
    if isinstance(error, CimFault):
        return isinstance(error, OperationTimedOut)
    if isinstance(error, TransportError):
        return error.sent is not False and not isinstance(error, AuthenticationError)
    return isinstance(error, ProtocolError)  # an answer that could not be read
