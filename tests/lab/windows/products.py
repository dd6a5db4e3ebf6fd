# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Products (SKUs) that a machine has licences for, and the state of one that holds a key."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import uuid

from lab.windows import data
from lab.windows.clock import DAY

WINDOWS_APPLICATION = "55c92734-d682-4d71-983e-d6ec3f16059f"
OFFICE_APPLICATION = "0ff1ce15-a989-479d-af46-f275c6370663"
OFFICE_HOST_APPLICATION = "0ff1ce16-a989-479d-af46-f275c6370663"

UNLICENSED, LICENSED, OOB_GRACE, OOT_GRACE, NON_GENUINE_GRACE, NOTIFICATION, EXTENDED_GRACE = range(7)

#: LicenseStatusReason values seen in the field.
REASON_NONE = 0
REASON_STORE_BASED = 0x4004F401
REASON_OOB_GRACE = 0x4004F00C
REASON_OOT_GRACE = 0x4004F00D
REASON_GRACE_EXPIRED = 0xC004F009
REASON_NOT_BOUND = 0xC004F056

KMS_VALIDITY = 180 * DAY
_GRACE = 10 * DAY
_OOT_GRACE = 30 * DAY

#: Clients that must be counted before a host answers (Planning for KMS activation).
CLIENT_THRESHOLD, SERVER_THRESHOLD, OFFICE_THRESHOLD = 25, 5, 5


@dataclasses.dataclass(frozen=True)
class Sku:
    """A product as installed licences describe it. ``kind`` is a key kind, or ``eval`` or ``addon``."""

    id: str
    kind: str
    application_id: str
    name: str
    description: str
    channel: str
    family: str
    host_key: str = ""

    @property
    def is_windows(self) -> bool:
        return self.application_id == WINDOWS_APPLICATION

    @property
    def is_kms_client(self) -> bool:
        return self.kind in ("gvlk", "office_gvlk")


#: kind: token in Description, ProductKeyChannel
_CHANNELS = {
    "gvlk": ("VOLUME_KMSCLIENT", "Volume:GVLK"),
    "mak": ("VOLUME_MAK", "Volume:MAK"),
    "retail": ("RETAIL", "Retail"),
    "oem": ("OEM_DM", "OEM:DM"),
    "avma": ("VIRTUAL_MACHINE_ACTIVATION", "VIRTUAL_MACHINE_ACTIVATION"),
    "eval": ("TIMEBASED_EVAL", "Retail:TB:Eval"),
}


def _product_id(path: str) -> str:
    return data.product_ids().get(path) or str(uuid.uuid5(uuid.NAMESPACE_URL, f"lab:{path}"))


def _windows_prefix(generation: data.Generation) -> tuple[str, str]:
    """The start of Name and of Description; Windows 7 words them differently."""
    if generation.build < 9200:
        name = f"Windows(R) {7 if generation.family == 'client' else 'Server 2008 R2'},"
        return name, f"Windows Operating System - {name[:-1]},"
    return "Windows(R),", "Windows(R) Operating System,"


def _windows_sku(generation: data.Generation, edition: data.Edition, kind: str) -> Sku:
    token, channel = _CHANNELS[kind]
    name, description = _windows_prefix(generation)
    key = data.find_setup_key(edition.edition_id, generation.build)
    build = key.build_min if key and kind in ("gvlk", "oem") else generation.build
    era = "10" if build == 10240 and generation.build >= 10240 else str(generation.build)
    return Sku(
        id=_product_id(f"{kind}/{edition.edition_id}/{era}"),
        kind=kind,
        application_id=WINDOWS_APPLICATION,
        name=f"{name} {edition.family} edition",
        description=f"{description} {token} channel",
        channel=channel,
        family=edition.family,
    )


def _host_sku(generation: data.Generation, product: data.HostKeyProduct) -> Sku:
    name, description = _windows_prefix(generation)
    return Sku(
        id=_product_id(f"csvlk/{product.name}/{generation.build}"),
        kind="csvlk",
        application_id=WINDOWS_APPLICATION,
        name=f"{name} {product.product_name} edition",
        description=f"{description} {product.token} channel",
        channel="Volume:CSVLK",
        family=product.product_name,
        host_key=product.name,
    )


def _office_host_sku(product: data.OfficeHostKeyProduct) -> Sku:
    short = {2016: "16", 2019: "19", 2021: "21", 2024: "24"}[product.release]
    return Sku(
        id=product.id,
        kind="csvlk",
        application_id=OFFICE_HOST_APPLICATION,
        name=f"Office {short}, Office{short}KMSHostVL_KMS_Host edition",
        description=f"Office {short}, VOLUME_KMS channel",
        channel="Volume:CSVLK",
        family="OfficeKMSHostVL_KMS_Host",
        host_key=product.name,
    )


def _office_sku(name: str, release: int) -> Sku:
    family = name.replace(" ", "")
    short = str(release)[2:]
    return Sku(
        id=_product_id(f"office/{name}/{release}"),
        kind="office_gvlk",
        application_id=OFFICE_APPLICATION,
        name=f"Office {short}, Office{short}{family}VL_KMS_Client edition",
        description=f"Office {short}, VOLUME_KMSCLIENT channel",
        channel="Volume:GVLK",
        family=f"Office{short}{family}VL_KMS_Client",
        host_key=f"{name}/{release}",
    )


def _addon_sku() -> Sku:
    return Sku(
        id=_product_id("addon/esu"),
        kind="addon",
        application_id=WINDOWS_APPLICATION,
        name="Windows(R), Server-ESU-Year1 add-on",
        description="Windows(R) Operating System, VOLUME_MAK channel",
        channel="Volume:MAK",
        family="Server-ESU-Year1",
    )


@functools.cache
def skus_for(
    generation: data.Generation,
    edition: data.Edition,
    updates: frozenset[str],
    office_pack: tuple[str, ...],
    office: tuple[str, ...],
) -> tuple[Sku, ...]:
    """The products of a machine, keyed or not.

    ``updates`` are installed KB numbers, ``office_pack`` the Office host products whose volume licence pack is
    installed, ``office`` the Office clients as ``name/release``. Host key products that need an absent update are
    not there: that is why such a key is refused.
    """
    if edition.is_evaluation:
        return (_windows_sku(generation, edition, "eval"), _addon_sku())
    kinds = ["gvlk", "mak", "retail", "oem"] + (["avma"] if generation.is_server and generation.build >= 9600 else [])
    found = [_windows_sku(generation, edition, kind) for kind in kinds]
    if not edition.is_azure:
        for name, update in generation.host_keys.items():
            if update is None or update in updates:
                found.append(_host_sku(generation, data.host_key_products()[name]))
    found += [_office_host_sku(data.office_host_key_products()[name]) for name in office_pack]
    found += [_office_sku(name, int(release)) for name, _slash, release in (entry.rpartition("/") for entry in office)]
    return (*found, _addon_sku())


@dataclasses.dataclass(slots=True)
class Licence:
    """The state of a product that holds a key. Times are the fleet's; ``expires`` None means for ever."""

    sku: Sku
    key: str
    product_key_id: str
    installed: dt.datetime
    status: int = UNLICENSED
    reason: int = REASON_NONE
    expires: dt.datetime | None = None
    activation_type: int = 0
    activation_interval: int | None = None
    renewal_interval: int | None = None
    host_product_key_id: str = ""
    discovered: tuple[str, int, str] = ("", 0, "")
    ad_object: tuple[str, str] = ("", "")
    next_attempt: dt.datetime | None = None

    @property
    def partial_product_key(self) -> str:
        return self.key[-5:]

    def begin(self, now: dt.datetime) -> None:
        """The state right after a key was installed: not licensed whatever it was before."""
        if self.sku.is_kms_client:
            self.status, self.reason, self.expires = NOTIFICATION, REASON_NOT_BOUND, None
        else:
            self.status, self.reason, self.expires = OOB_GRACE, REASON_OOB_GRACE, now + _GRACE

    def license_for_ever(self, reason: int = REASON_NONE) -> None:
        self.status, self.reason, self.expires = LICENSED, reason, None

    def license_until(self, expires: dt.datetime) -> None:
        self.status, self.reason, self.expires = LICENSED, REASON_NONE, expires

    def settle(self, now: dt.datetime) -> None:
        """Let the licence grow old: licensed, then out-of-tolerance grace, then notification."""
        while self.expires is not None and now >= self.expires:
            if self.status == LICENSED and self.sku.is_kms_client:
                self.status, self.reason, self.expires = OOT_GRACE, REASON_OOT_GRACE, self.expires + _OOT_GRACE
            else:
                reason = REASON_NOT_BOUND if self.sku.is_kms_client else REASON_GRACE_EXPIRED
                self.status, self.reason, self.expires = NOTIFICATION, reason, None

    def minutes_left(self, now: dt.datetime) -> int:
        """GracePeriodRemaining: minutes until the present state ends, 0 when it does not."""
        if self.expires is None:
            return 0
        return max(0, -int((now - self.expires).total_seconds() // 60))


def threshold(sku: Sku, generation: data.Generation) -> int:
    """How many clients a host must have counted before it activates this product."""
    if not sku.is_windows:
        return OFFICE_THRESHOLD
    return SERVER_THRESHOLD if generation.is_server else CLIENT_THRESHOLD
