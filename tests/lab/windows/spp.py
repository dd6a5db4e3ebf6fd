# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Software Protection Platform of one machine: products, keys, settings, and the KMS host in it.

Settings live in the registry, as on Windows; what a running service has read from it at its start is ``StartedConfig``.
Sources: MSDN "SoftwareLicensingService", "Registry settings for volume activation", "Deploy KMS activation".
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import hashlib
import typing as t
import uuid

from lab.cim import CimError
from lab.dns.names import BAD_SIGNATURE, REFUSED, DnsFailure, Srv
from lab.windows import data, eventlog, registry
from lab.windows.centre import WRONG_KEY_TYPE, installation_id
from lab.windows.clock import DAY, MINUTE
from lab.windows.keys import ProductKey, is_well_formed
from lab.windows.kms_client import DEFAULT_PORT, RENEWAL_MINUTES, RETRY_MINUTES, KmsClient
from lab.windows.kms_host import WRONG_PRODUCT, Answer, HostRole, Request, choose_role
from lab.windows.products import LICENSED, REASON_STORE_BASED, WINDOWS_APPLICATION, Licence, Sku

if t.TYPE_CHECKING:
    from lab.windows.machine import Machine

INVALID_PARAMETER = 0x80070057
KEY_CONFIG = 0xC004E016
KEY_NOT_INSTALLED = 0xC004F014
SKU_NOT_INSTALLED = 0xC004F015
NOT_A_HOST = 0xC004F039
INVALID_KEY = 0xC004F050
MISMATCHED_SKU = 0xC004F069
NOT_ALLOWED = 0xC004F06A
REARMS_EXCEEDED = 0xC004D307
CENTRE_UNREACHABLE = 0x80072EE2

_REPUBLISH = DAY
_MINUTES_MIN, _MINUTES_MAX = 15, 43200


@dataclasses.dataclass(frozen=True)
class PublishEntry:
    """One string of DnsDomainPublishList: ``domain, priority, weight``."""

    domain: str
    priority: int = 0
    weight: int = 0


@dataclasses.dataclass(frozen=True)
class StartedConfig:
    """What the service has read at its start and keeps until the next."""

    port: int = DEFAULT_PORT
    publishing: bool = True
    publish: tuple[PublishEntry, ...] = ()


@dataclasses.dataclass(frozen=True)
class KeyCall:
    """A call that installed, activated or removed a key, or failed to; ``time`` is the fleet's.

    ``needless`` says that the key was installed, or the product activated, already. ``code`` is 0 or the HRESULT.
    """

    time: dt.datetime
    method: str
    kind: str
    partial_product_key: str
    needless: bool
    code: int


def parse_publish_entry(text: str) -> PublishEntry | None:
    """An entry of the publish list, or None when Windows could not use it."""
    parts = [part.strip() for part in text.split(",")]
    if not parts[0] or len(parts) > 3 or not all(part.isdigit() for part in parts[1:]):
        return None
    numbers = [int(part) for part in parts[1:]]
    if any(number > 0xFFFF for number in numbers):
        return None
    return PublishEntry(parts[0].rstrip(".").lower(), *numbers)


class SoftwareProtection:
    """SPP of one machine. Methods raise CimError with the HRESULT that Windows would report."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.client = KmsClient(machine)
        self.licences: dict[str, Licence] = {}
        self.roles: list[HostRole] = []
        self.started = StartedConfig()
        self.client_machine_id = ""
        self.discovered: tuple[str, int, str] = ("", 0, "")
        self.rearms_left = 1000
        self.next_publish: dt.datetime | None = None
        #: All calls about keys in the machine's whole life, oldest first.
        self.key_calls: list[KeyCall] = []

    @contextlib.contextmanager
    def _noted(self, method: str, kind: str, key: str, needless: bool = False) -> t.Iterator[None]:
        code = 0
        try:
            yield
        except CimError as error:
            code = error.code
            raise
        finally:
            now = self._machine.world.clock.now()
            self.key_calls.append(KeyCall(now, method, kind, key[-5:], needless, code))

    # -- settings

    def _read(self, name: str, value_type: int, default: t.Any = None, sku: Sku | None = None) -> t.Any:
        path = registry.SPP if sku is None else sku_key(sku)
        return self._machine.registry.read(path, name, value_type, default)

    def write_setting(self, name: str, value_type: int, content: t.Any, sku: Sku | None = None) -> None:
        """Write a setting of the service, or of one product below its application and activation IDs."""
        path = registry.SPP if sku is None else sku_key(sku)
        self._machine.registry.create_key(path)
        self._machine.registry.set(path, name, value_type, content)

    def clear_setting(self, name: str, sku: Sku | None = None) -> None:
        self._machine.registry.delete_value(registry.SPP if sku is None else sku_key(sku), name)

    def setting(self, name: str, sku: Sku | None = None) -> str:
        """A REG_SZ setting, empty when absent."""
        return str(self._read(name, registry.SZ, "", sku))

    def port_setting(self, name: str, sku: Sku | None = None) -> int:
        """A port kept as REG_SZ, 0 when absent or no port."""
        text = self.setting(name, sku)
        return int(text) if text.isdigit() and 0 < int(text) <= 0xFFFF else 0

    def flag(self, name: str) -> bool:
        """A REG_DWORD that is on when not zero."""
        return bool(self._read(name, registry.DWORD, 0))

    def interval(self, name: str, default: int) -> int:
        value = self._read(name, registry.DWORD, default)
        return int(value) if _MINUTES_MIN <= value <= _MINUTES_MAX else default

    @property
    def activation_interval(self) -> int:
        return self.interval("VLActivationInterval", RETRY_MINUTES)

    @property
    def renewal_interval(self) -> int:
        return self.interval("VLRenewalInterval", RENEWAL_MINUTES)

    @property
    def listening_port(self) -> int:
        return self.port_setting("KeyManagementServiceListeningPort") or DEFAULT_PORT

    @property
    def host_caching(self) -> bool:
        return not self.flag("DisableKeyManagementServiceHostCaching")

    def fixed_server(self, sku: Sku) -> tuple[str, int] | None:
        """The host set by hand; a product's own setting wins over the service's."""
        for where in (sku, None):
            name = self.setting("KeyManagementServiceName", where)
            if name:
                port = self.port_setting("KeyManagementServicePort", where)
                return name, port or self.port_setting("KeyManagementServicePort") or DEFAULT_PORT
        return None

    def lookup_domain(self, sku: Sku) -> str:
        name = "KeyManagementServiceLookupDomain"
        return self.setting(name, sku) or self.setting(name)

    def activation_type(self, sku: Sku) -> int:
        """VLActivationTypeEnabled: the product's own, else the service's, else 0 for all."""
        own = self._read("VLActivationType", registry.DWORD, None, sku)
        return int(own if own is not None else self._read("VLActivationType", registry.DWORD, 0))

    def publish_list(self) -> list[str]:
        return list(self._read("DnsDomainPublishList", registry.MULTI_SZ, []))

    # -- products

    def find_sku(self, sku_id: str) -> Sku | None:
        return next((sku for sku in self._machine.skus if sku.id == sku_id.lower()), None)

    def windows_licence(self) -> Licence | None:
        return next((row for row in self.licences.values() if row.sku.is_windows and row.sku.kind != "addon"), None)

    def licence_of(self, sku_id: str) -> Licence:
        """The licence of a product with a key; 0xC004F014 when it has none."""
        licence = self.licences.get(sku_id.lower())
        if licence is None:
            raise CimError(KEY_NOT_INSTALLED, "the product key is not available")
        return licence

    def settle(self) -> None:
        """Let licences grow old as far as the clock says."""
        now = self._machine.now()
        for licence in self.licences.values():
            licence.settle(now)

    def install_key(self, text: str | None) -> None:
        """InstallProductKey: what the key is, whether it fits here, and what it replaces."""
        if not text:
            raise CimError(INVALID_PARAMETER, "no product key")
        key = self._machine.world.keys.find(text) if is_well_formed(text) else None
        if key is None:
            raise CimError(INVALID_KEY, "the product key is invalid")
        needless = any(row.key == key.key for row in self.licences.values())
        with self._noted("InstallProductKey", key.kind, key.key, needless):
            sku = self._match(key)
            if sku is None:
                raise CimError(self._mismatch(key), "the product key does not fit")
            self._put(sku, key)

    def takes(self, key: ProductKey) -> bool:
        """Whether the machine has a product for the key."""
        return self._match(key) is not None

    def put_key(self, key: ProductKey) -> Licence:
        """Give a machine a key as part of its first state."""
        sku = self._match(key)
        if sku is None:
            raise ValueError(f"{self._machine.name}: the key ...{key.partial} does not fit ({self._mismatch(key):08X})")
        return self._put(sku, key)

    def _match(self, key: ProductKey) -> Sku | None:
        """The product of this machine that the key belongs to."""
        edition = self._machine.edition
        for sku in self._machine.skus:
            if sku.kind != key.kind:
                continue
            if key.kind in ("csvlk", "office_gvlk"):
                if sku.host_key == key.product:
                    return sku
            elif (not key.editions or edition.edition_id in key.editions) and key.fits_build(
                self._machine.generation.build
            ):
                return sku
        return None

    def _mismatch(self, key: ProductKey) -> int:
        """Why no product matches, as the code of InstallProductKey."""
        machine = self._machine
        if machine.edition.is_evaluation:
            return MISMATCHED_SKU
        if key.kind == "csvlk":
            is_office = key.product not in data.host_key_products()
            needs_update = key.product in machine.generation.host_keys and not machine.edition.is_azure
            return SKU_NOT_INSTALLED if is_office or needs_update else KEY_CONFIG
        if key.kind == "office_gvlk":
            return SKU_NOT_INSTALLED
        if machine.edition.edition_id in key.editions:
            return INVALID_KEY
        return MISMATCHED_SKU

    def _put(self, sku: Sku, key: ProductKey) -> Licence:
        now = self._machine.now()
        for other in list(self.licences.values()):
            if other.sku.application_id == sku.application_id == WINDOWS_APPLICATION and other.sku.kind != "addon":
                self._drop(other)
        licence = Licence(sku, key.key, product_key_id(self._machine, key, now), now)
        licence.begin(now)
        if sku.is_kms_client:
            licence.next_attempt = self._machine.world.clock.now() + RETRY_MINUTES * MINUTE
        self.licences[sku.id] = licence
        if sku.is_windows:
            digest = hashlib.sha256(key.key.encode()).digest()
            self._machine.registry.set(registry.CURRENT_VERSION, "DigitalProductId", registry.BINARY, list(digest))
        if sku.kind == "csvlk":
            # A new host key takes over at once from one that has gone; only without one does the old part linger.
            replaced = {r.licence.sku.id for r in self.roles if r.is_windows and sku.is_windows} | {sku.id}
            self.roles = [r for r in self.roles if r.licence.sku.id not in replaced] + [HostRole(licence)]
        return licence

    def uninstall_key(self, sku_id: str) -> None:
        """UninstallProductKey."""
        licence = self.licence_of(sku_id)
        with self._noted("UninstallProductKey", licence.sku.kind, licence.key):
            self._drop(licence)

    def _drop(self, licence: Licence) -> None:
        """Take the key away; the host part of a running service goes on until the service restarts."""
        del self.licences[licence.sku.id]
        for role in self.roles:
            if role.licence is licence:
                role.withdrawn = True

    def clear_key_from_registry(self) -> None:
        self._machine.registry.delete_value(registry.CURRENT_VERSION, "DigitalProductId")

    # -- activation

    async def activate(self, sku_id: str) -> None:
        """Activate: at a KMS host or in AD for client keys, else at the activation centre."""
        licence = self.licence_of(sku_id)
        with self._noted("Activate", licence.sku.kind, licence.key, licence.status == LICENSED):
            if licence.sku.is_kms_client:
                code = await self.client.activate(licence)
            else:
                code = self._activate_online(licence)
            self._machine.world.changed(self._machine)
            if code:
                raise CimError(code, "the product could not be activated")

    def _activate_online(self, licence: Licence) -> int:
        machine = self._machine
        key = machine.world.keys.find(licence.key)
        if licence.sku.kind in ("eval", "addon", "avma") or key is None:
            return WRONG_KEY_TYPE
        if not (machine.internet and machine.world.policy.internet):
            return CENTRE_UNREACHABLE
        code = machine.world.centre.activate(key, machine.name)
        if code == 0:
            licence.license_for_ever()
        return code

    def offline_installation_id(self, licence: Licence) -> str:
        return installation_id(self._machine.name, licence.sku.id, licence.key)

    def deposit_confirmation(self, sku_id: str, iid: str | None, cid: str | None) -> None:
        """DepositOfflineConfirmationId."""
        licence = self.licence_of(sku_id)
        if not iid or not cid:
            raise CimError(INVALID_PARAMETER, "no installation or confirmation ID")
        if licence.sku.is_kms_client:
            raise CimError(WRONG_KEY_TYPE, "the product key cannot be used for this type of activation")
        wanted = self.offline_installation_id(licence)
        code = self._machine.world.centre.check_confirmation(wanted, iid, cid)
        if code:
            raise CimError(code, "the confirmation ID is refused")
        licence.license_for_ever()
        self._machine.world.changed(self._machine)

    def ensure_client_machine_id(self) -> None:
        """A machine gets its CMID when it first acts as a KMS client."""
        if not self.client_machine_id:
            self.client_machine_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self._machine.name}/{self.rearms_left}"))

    def rearm(self) -> None:
        """ReArmWindows: a new client machine ID; the reboot that Windows asks for is not awaited."""
        if self.rearms_left == 0:
            raise CimError(REARMS_EXCEEDED, "no rearms left")
        self.rearms_left -= 1
        self.client_machine_id = ""

    # -- the host

    def is_host(self) -> bool:
        """Whether the KMS host part is there: a host key is installed, or was until the service restarts."""
        return bool(self.roles)

    def role_of(self, sku_id: str) -> HostRole | None:
        return next((role for role in self.roles if role.licence.sku.id == sku_id and not role.withdrawn), None)

    def main_role(self) -> HostRole | None:
        """The role whose counters the service shows: Windows before Office."""
        living = [role for role in self.roles if not role.withdrawn]
        return min(living, key=lambda role: not role.is_windows, default=None)

    def require_host(self) -> None:
        if self.main_role() is None:
            raise CimError(NOT_A_HOST, "the Key Management Service is not enabled")

    def set_interval(self, name: str, minutes: int) -> None:
        self.require_host()
        if not _MINUTES_MIN <= minutes <= _MINUTES_MAX:
            raise CimError(INVALID_PARAMETER, "15 to 43200 minutes")
        self.write_setting(name, registry.DWORD, minutes)

    def answer(self, request: Request) -> Answer:
        """Answer a client that has set up a session with this machine."""
        machine = self._machine
        now = machine.now()
        self.settle()
        role = choose_role(self.roles, request.sku, request.generation)
        code, count = role.answer(request, now) if role else (WRONG_PRODUCT, 0)
        machine.events.write(
            eventlog.KEY_MANAGEMENT_SERVICE,
            eventlog.REQUEST_SERVED,
            now,
            (
                eventlog.HResult(code),
                request.threshold,
                request.fqdn,
                request.client_machine_id,
                request.time,
                1,
                request.status,
                request.minutes_left,
                request.sku.id,
            ),
        )
        pid = role.licence.product_key_id if role else ""
        return Answer(code, count, self.activation_interval, self.renewal_interval, pid)

    def service_started(self) -> None:
        """sppsvc starts: settings are read, host keys that have gone are forgotten, an activated host publishes."""
        self.roles = [role for role in self.roles if not role.withdrawn]
        self._read_started()
        self.next_publish = self._machine.world.clock.now() + _REPUBLISH
        if self.publishes():
            self._machine.world.spawn(self._publish_soon())

    def _read_started(self) -> None:
        entries = (parse_publish_entry(text) for text in self.publish_list())
        self.started = StartedConfig(
            port=self.listening_port,
            publishing=not self.flag("DisableDnsPublishing"),
            publish=tuple(entry for entry in entries if entry),
        )

    def service_stopped(self) -> None:
        self.roles = [role for role in self.roles if not role.withdrawn]
        self.next_publish = None

    def publishes(self) -> bool:
        """Whether this host would write itself into DNS: publishing on, a host key that is activated."""
        licensed = any(role.licence.status == LICENSED and not role.withdrawn for role in self.roles)
        return licensed and self.started.publishing

    async def _publish_soon(self) -> None:
        """The publishing that follows a start of the service, unless that has stopped meanwhile."""
        delay = self._machine.world.policy.publish_seconds
        if delay > 0:
            await asyncio.sleep(delay)
        if self.next_publish is not None and self.publishes():
            await self.publish()

    async def publish(self) -> None:
        """Register in every domain of the publish list, or in the primary DNS suffix without one."""
        machine = self._machine
        self.next_publish = machine.world.clock.now() + _REPUBLISH
        for entry in self._published_entries():
            code = await self._publish_entry(entry)
            event = eventlog.PUBLISH_FAILED if code else eventlog.PUBLISHED
            fields = (eventlog.HResult(code), entry.domain) if code else (entry.domain,)
            machine.events.write(eventlog.APPLICATION, event, machine.now(), fields)

    def _published_entries(self) -> tuple[PublishEntry, ...]:
        suffix = self._machine.dns_suffix
        return self.started.publish or ((PublishEntry(suffix),) if suffix else ())

    async def publish_earlier(self) -> None:
        """Leave the records in DNS that the machine wrote before the first day, whatever it is now."""
        self._read_started()
        for entry in self._published_entries():
            await self._publish_entry(entry)

    async def _publish_entry(self, entry: PublishEntry) -> int:
        machine = self._machine
        if "*" in machine.publish_refused or entry.domain in machine.publish_refused:
            return BAD_SIGNATURE
        record = Srv(entry.priority, entry.weight, self.started.port, machine.fqdn)
        replace = machine.world.policy.republish == "replace"
        if machine.world.names is None:
            return BAD_SIGNATURE
        try:
            await machine.world.names.publish(entry.domain, record, machine.dns_identity, replace)
        except DnsFailure as failure:
            return BAD_SIGNATURE if failure.code == REFUSED else failure.code
        return 0

    def force_licensed(self, licence: Licence) -> None:
        """Make a licence activated as part of a machine's first state."""
        if licence.sku.kind == "oem":
            licence.license_for_ever(REASON_STORE_BASED)
        else:
            licence.license_for_ever()


def sku_key(sku: Sku) -> str:
    """Registry key of a product's own settings: application ID, then activation ID."""
    return f"{registry.SPP}\\{sku.application_id}\\{sku.id}"


def product_key_id(machine: Machine, key: ProductKey, now: dt.datetime) -> str:
    """The extended PID; it ends in the build and the day of the key's installation."""
    digits = str(int.from_bytes(hashlib.sha256(key.key.encode()).digest()[:6], "big")).zfill(14)
    day = f"{now.timetuple().tm_yday:03d}{now.year}"
    build = machine.generation.build
    return f"03612-{digits[:5]}-{digits[5:8]}-{digits[8:14]}-03-1033-{build}.0000-{day}"
