# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations that plans are built from. Each says in its description what a person would call it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.errors import OperationFailed
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import Event
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import FirewallRule
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import RegistryValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault, TransportError

from .changes import Target
from .channels import Application, Channel
from .codes import SL_E_VL_NOT_ENOUGH_COUNT, describe
from .keys import ProductKey
from .machine import DEFAULT_PORT, Machine, Product
from .reader import EVENT_REQUEST_SENT, EVENT_RESPONSE, HOST_VERSION, HOST_VERSION_32
from .session import LONG_OPERATION, Session

BELOW_THRESHOLD = "below_threshold"

#: How far back the client's own events are looked at after an activation, in hours.
_EVENT_WINDOW_HOURS = 0.25


class NotShown(Exception):
    """A call was accepted, but the machine does not show its effect; ``hresult`` is the machine's own reason."""

    def __init__(self, message: str, hresult: int | None = None) -> None:
        super().__init__(message)
        self.hresult = hresult


class WrongKind(Exception):
    """A key turned out to be of another kind than it was given as; the text says what was done about it."""


@dataclasses.dataclass(frozen=True)
class ServiceMethod:
    """A method of SoftwareLicensingService."""

    description: str
    method: str
    arguments: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def perform(self, session: Session) -> None:
        session.call_service(self.method, self.arguments)


@dataclasses.dataclass(frozen=True)
class ProductMethod:
    """A method of the product that is meant at the time of the call (a new key may have changed which that is)."""

    description: str
    target: Target
    method: str
    arguments: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)

    def perform(self, session: Session) -> None:
        session.call_product(self.target.require(session.machine), self.method, self.arguments)


@dataclasses.dataclass(frozen=True)
class WriteValue:
    """A registry value written, or deleted when ``data`` is None or an empty list."""

    value: RegistryValue
    data: t.Any

    @property
    def description(self) -> str:
        verb = "Writing" if self._is_kept else "Deleting"
        return f"{verb} the registry value {self.value.name}"

    @property
    def _is_kept(self) -> bool:
        return self.data is not None and self.data != []

    def perform(self, session: Session) -> None:
        if self._is_kept:
            session.registry.set(self.value, self.data)
        else:
            session.registry.delete(self.value)


@dataclasses.dataclass(frozen=True)
class StopSoftwareProtection:
    """sppsvc stopped, and waited for: what it reads at its start alone is written meanwhile."""

    description: str = "Stopping the Software Protection service (sppsvc)"

    def perform(self, session: Session) -> None:
        session.software_protection.stop()


@dataclasses.dataclass(frozen=True)
class StartSoftwareProtection:
    """sppsvc started, and waited for. Any licensing call would start it, too."""

    description: str = "Starting the Software Protection service (sppsvc)"

    def perform(self, session: Session) -> None:
        session.software_protection.start()


@dataclasses.dataclass(frozen=True)
class WriteFirewallRules:
    """The KMS rules brought from one state to another."""

    before: tuple[FirewallRule, ...]
    after: tuple[FirewallRule, ...]
    description: str = "Setting the Key Management Service firewall rules"

    def perform(self, session: Session) -> None:
        for before, after in zip(self.before, self.after, strict=True):
            session.firewall.write(before, after)


@dataclasses.dataclass(frozen=True)
class InstallKey:
    """A product key installed (slmgr /ipk) and proven to be of the kind that was expected.

    ``expected`` is the channel that the key must turn out to have; what kind a key is cannot be told from its
    characters. ``fallback`` is the published client key that goes back if it is of another kind. ``keeps_mark``
    leaves KeyManagementServiceVersion to the rest of the plan.
    """

    key: ProductKey
    application: Application = Application.WINDOWS
    expected: Channel | None = None
    fallback: ProductKey | None = None
    keeps_mark: bool = False

    @property
    def _kind(self) -> str:
        kinds = {Channel.KMS_HOST: "KMS host key", Channel.KMS_CLIENT: "KMS client key"}
        return kinds.get(self.expected, "product key") if self.expected else "product key"

    @property
    def description(self) -> str:
        return f"Installing the {self._kind} {self.key.masked}"

    def perform(self, session: Session) -> None:
        before = session.machine
        self._install(session, self.key)
        product = session.machine.product_by_key(self.key.partial)
        if product is not None and not self._fits(product):
            self._undo(session, before, product)

    def _fits(self, product: Product) -> bool:
        """Whether the key turned out to be what it was given as: its characters do not tell."""
        is_expected = self.expected is None or product.channel is self.expected
        return is_expected and product.application is self.application

    def _install(self, session: Session, key: ProductKey) -> None:
        session.settle(
            lambda: session.call_service("InstallProductKey", {"ProductKey": key.reveal()}, timeout=LONG_OPERATION),
            lambda machine: machine.product_by_key(key.partial) is not None,
        )
        session.call_service("RefreshLicenseStatus")
        session.read_products()
        if not self.keeps_mark:
            keep_host_version(session)

    def _undo(self, session: Session, before: Machine, product: Product) -> None:
        known = {item.id for item in before.products}
        found = f"It is of the kind {product.channel_name or product.channel.value} ({product.name})."
        if product.application is not Application.WINDOWS and product.id not in known:
            session.call_product(product, "UninstallProductKey")
            session.read_products()
            keep_host_version(session)
            outcome = "It has been removed again."
        elif product.application is Application.WINDOWS and self.fallback is not None:
            self._install(session, self.fallback)
            keep_host_version(session)
            outcome = f"The client key that was there ({self.fallback.masked}) has been put back."
        else:
            outcome = (
                "It is still installed, because the key that it replaced is not a published one and cannot be put back."
            )
        wanted = f"{self._kind} for {self.application.value.capitalize()}"
        raise WrongKind(
            f"The product key {self.key.masked} is not a {wanted}. {found} {outcome} Give a {wanted} that fits"
            f" {before.operating_system.caption}."
        )


@dataclasses.dataclass(frozen=True)
class UninstallKey:
    """A product key removed from one product (slmgr /upk with the activation ID)."""

    target: Target
    keeps_mark: bool = False
    description: str = "Removing the product key"

    def perform(self, session: Session) -> None:
        session.call_product(self.target.require(session.machine), "UninstallProductKey")
        session.call_service("RefreshLicenseStatus")
        session.read_products()
        if not self.keeps_mark:
            keep_host_version(session)


@dataclasses.dataclass(frozen=True)
class Activate:
    """A product activated online (slmgr /ato): against Microsoft, Active Directory or a KMS host, as its key says."""

    target: Target
    what: str = ""
    #: Activate what is licensed already, too.
    force: bool = False

    @property
    def description(self) -> str:
        return f"Activating {self.what or self.target.application.value.capitalize()}"

    def perform(self, session: Session) -> None:
        product = self.target.require(session.machine)
        if product.channel is not Channel.KMS_CLIENT:
            # Activations of a host key or MAK are few: whoever was faster since the plan was made has spent one.
            product = self.target.require(session.read_products())
        if product.is_licensed and not self.force:
            return
        target = Target(self.target.application, product.id)

        def call() -> None:
            session.call_product(product, "Activate", timeout=LONG_OPERATION)

        try:
            if product.is_licensed:
                call()  # that it is licensed would prove nothing of a call whose outcome is unknown
            else:
                session.settle(call, lambda machine: _is_licensed(target, machine))
        except CimFault as fault:
            if fault.hresult != SL_E_VL_NOT_ENOUGH_COUNT:
                raise
            session.pending = BELOW_THRESHOLD
            session.answered_count = _last_answered_count(session)
            session.read_products()
            return
        session.call_service("RefreshLicenseStatus")
        _require_licensed(session, target)


@dataclasses.dataclass(frozen=True)
class ActivateAgainst:
    """A KMS client activated against one named host, once: where it looks for its host is put back, come what may.

    A machine whose own resolver still sees rogue hosts would ask those.
    """

    target: Target
    server: str
    port: int
    #: Name and port that the client is set to otherwise; an empty name asks DNS.
    original: tuple[str, int] = ("", 0)

    @property
    def description(self) -> str:
        return f"Activating {self.target.application.value.capitalize()} against {self.server}:{self.port}"

    @property
    def _sets_port(self) -> bool:
        """A client without a port of its own asks at the default one."""
        return self.port != DEFAULT_PORT or self.original[1] not in (0, DEFAULT_PORT)

    def perform(self, session: Session) -> None:
        try:
            session.call_service("SetKeyManagementServiceMachine", {"MachineName": self.server})
            if self._sets_port:
                session.call_service("SetKeyManagementServicePort", {"PortNumber": self.port})
            Activate(self.target).perform(session)
        finally:
            self._put_back(session)

    def _put_back(self, session: Session) -> None:
        """Setting or clearing twice does no harm, so a lost connection is made anew once: nothing transient stays."""
        try:
            self._set_original(session)
        except TransportError:
            session.cim.transport.reconnect()
            self._set_original(session)

    def _set_original(self, session: Session) -> None:
        server, port = self.original
        if server:
            session.call_service("SetKeyManagementServiceMachine", {"MachineName": server})
        else:
            session.call_service("ClearKeyManagementServiceMachine")
        if port not in (0, DEFAULT_PORT):
            session.call_service("SetKeyManagementServicePort", {"PortNumber": port})
        elif self._sets_port:
            session.call_service("ClearKeyManagementServicePort")


@dataclasses.dataclass(frozen=True)
class DepositConfirmation:
    """A product activated by telephone (slmgr /atp): the confirmation ID for this installation ID."""

    target: Target
    confirmation_id: str = dataclasses.field(repr=False)
    description: str = "Depositing the confirmation ID"

    def perform(self, session: Session) -> None:
        product = self.target.require(session.machine)
        target = Target(self.target.application, product.id)
        arguments = {"InstallationId": product.installation_id, "ConfirmationId": self.confirmation_id}

        def call() -> None:
            session.call_product(product, "DepositOfflineConfirmationId", arguments, timeout=LONG_OPERATION)

        if product.is_licensed:
            call()
        else:
            session.settle(call, lambda machine: _is_licensed(target, machine))
        session.call_service("RefreshLicenseStatus")
        _require_licensed(session, target)


def keep_host_version(session: Session) -> None:
    """Write KeyManagementServiceVersion on a KMS host and delete it elsewhere, as slmgr does after /ipk and /upk.

    Monitoring discovers KMS hosts by this value; the 32-bit twin is written only where its key exists. Like slmgr, no
    task fails for it.
    """
    version = session.machine.version if session.machine.host_products else None
    try:
        WriteValue(HOST_VERSION, version).perform(session)
        if version is None or session.registry.key_exists(HOST_VERSION_32.key):
            WriteValue(HOST_VERSION_32, version).perform(session)
    except OperationFailed as error:
        session.notes.append(f"{HOST_VERSION.name}, by which monitoring finds KMS hosts, could not be kept: {error}")


@dataclasses.dataclass(frozen=True)
class KeepHostVersion:
    """The mark of a KMS host written after its restart: a host without it has one due."""

    description: str = f"Writing the registry value {HOST_VERSION.name}"

    def perform(self, session: Session) -> None:
        session.read_products()
        keep_host_version(session)


def last_inner_code(session: Session) -> int | None:
    """Why no KMS host could be contacted: the code of the client's newest request event (12288), if there is one."""
    events = _client_events(session, EVENT_REQUEST_SENT)
    for event in reversed(events):
        code = _parse_code(event.fields[0]) if event.fields else None
        if code:
            return code
    return None


def _is_licensed(target: Target, machine: Machine) -> bool:
    product = target.find(machine)
    return product is not None and product.is_licensed


def _require_licensed(session: Session, target: Target) -> None:
    if _is_licensed(target, session.read_products()):
        return
    product = target.find(session.machine)
    reason = product.license_status_reason if product else None
    told = f" The machine gives {describe(reason).hex} as its reason." if reason else ""
    raise NotShown(f"The call was accepted, but the product is not licensed.{told}", reason)


def _last_answered_count(session: Session) -> int | None:
    """The count that the KMS host answered last (event 12289, fifth field; TechNet ff793440)."""
    events = _client_events(session, EVENT_RESPONSE)
    for event in reversed(events):
        if len(event.fields) > 4 and event.fields[4].isdigit():
            return int(event.fields[4])
    return None


def _client_events(session: Session, code: int) -> tuple[Event, ...]:
    try:
        return session.recent_events((code,), _EVENT_WINDOW_HOURS)
    except CimFault:
        return ()  # an aid to understanding only: its failure must not hide the activation's own


def _parse_code(text: str) -> int | None:
    try:
        return int(text, 0) & 0xFFFFFFFF
    except ValueError:
        return None
