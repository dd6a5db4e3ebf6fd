# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of SoftwareLicensingProduct: channel, application, licence status, activation type."""

from __future__ import annotations

import enum


class Channel(enum.Enum):
    """How a product was licensed; the values are what users read and write."""

    KMS_HOST = "kms_host"
    KMS_CLIENT = "kms_client"
    MAK = "mak"
    OEM = "oem"
    RETAIL = "retail"
    AVMA = "avma"
    EVALUATION = "evaluation"
    SUBSCRIPTION = "subscription"
    UNLICENSED = "unlicensed"
    #: A key is there, but neither text nor channel tells of which kind: never to be taken for replaceable.
    UNKNOWN = "unknown"


#: ProductKeyChannel, lower case, by its beginning; the first that fits decides.
_BY_CHANNEL_NAME = (
    ("volume:csvlk", Channel.KMS_HOST),
    ("volume:gvlk", Channel.KMS_CLIENT),
    ("volume:mak", Channel.MAK),
    ("retail:tb:eval", Channel.EVALUATION),
    ("retail:tb:sub", Channel.SUBSCRIPTION),
    ("oem:", Channel.OEM),
    ("retail", Channel.RETAIL),
)

#: The tokens for which slmgr.vbs searches Description; they are the same in every language of Windows.
#: VOLUME_KMSCLIENT stands before VOLUME_KMS, which it contains.
_BY_DESCRIPTION = (
    ("VOLUME_KMSCLIENT", Channel.KMS_CLIENT),
    ("VOLUME_KMS", Channel.KMS_HOST),
    ("VOLUME_MAK", Channel.MAK),
    ("VIRTUAL_MACHINE_ACTIVATION", Channel.AVMA),
    ("TIMEBASED_SUB", Channel.SUBSCRIPTION),
    ("TIMEBASED_", Channel.EVALUATION),
    ("OEM_", Channel.OEM),
    ("RETAIL", Channel.RETAIL),
)


def channel_of(description: str | None, product_key_channel: str | None = None) -> Channel:
    """The channel of a product that has a key, from its Description and its ProductKeyChannel.

    ProductKeyChannel is asked for ``Volume:CSVLK`` first and otherwise only when Description says nothing: it is
    missing on Windows 7 and on some builds of Windows 8. Without either text there is no licence: ``UNLICENSED``.
    """
    name = (product_key_channel or "").strip().lower()
    text = (description or "").upper()
    by_name = next((channel for start, channel in _BY_CHANNEL_NAME if name.startswith(start)), None)
    if by_name is Channel.KMS_HOST:
        return by_name
    by_text = next((channel for token, channel in _BY_DESCRIPTION if token in text), None)
    if by_text or by_name:
        return by_text or by_name or Channel.UNKNOWN
    return Channel.UNKNOWN if text or name else Channel.UNLICENSED


class Application(enum.Enum):
    """The application a product belongs to; one machine can hold keys of both."""

    WINDOWS = "windows"
    OFFICE = "office"


WINDOWS_APPLICATION_ID = "55c92734-d682-4d71-983e-d6ec3f16059f"
OFFICE_APPLICATION_ID = "0ff1ce15-a989-479d-af46-f275c6370663"

_APPLICATIONS = {
    WINDOWS_APPLICATION_ID: Application.WINDOWS,
    # Office 2013 and later, as a client.
    OFFICE_APPLICATION_ID: Application.OFFICE,
    # The KMS host product of Office: 16 where the clients have 15.
    "0ff1ce16-a989-479d-af46-f275c6370663": Application.OFFICE,
    # Office 2010.
    "59a52881-a989-479d-af46-f275c6370663": Application.OFFICE,
}


def application_of(application_id: str | None) -> Application | None:
    """The application of an ApplicationID in any case and with or without braces; None for another one's."""
    return _APPLICATIONS.get((application_id or "").strip().strip("{}").lower())


class LicenseStatus(enum.IntEnum):
    """LicenseStatus of SoftwareLicensingProduct (Volume Activation Technical Reference, WMI properties)."""

    UNLICENSED = 0
    LICENSED = 1
    OOB_GRACE = 2
    OOT_GRACE = 3
    NON_GENUINE_GRACE = 4
    NOTIFICATION = 5
    EXTENDED_GRACE = 6


def license_status_name(status: int | None) -> str | None:
    """The name of a LicenseStatus, such as ``oob_grace``; None when it is absent or not a known number."""
    return next((known.name.lower() for known in LicenseStatus if known == status), None)


class ActivationType(enum.Enum):
    """By which of the volume activations a product may be activated (VLActivationTypeEnabled)."""

    ALL = "all"
    AD = "ad"
    KMS = "kms"
    TOKEN = "token"

    @property
    def number(self) -> int:
        """What Windows calls it. The setter takes 1 to 3; 0, for all, is what ClearVLActivationTypeEnabled leaves."""
        return _ACTIVATION_TYPE_NUMBERS[self]


_ACTIVATION_TYPE_NUMBERS = {ActivationType.ALL: 0, ActivationType.AD: 1, ActivationType.KMS: 2, ActivationType.TOKEN: 3}
_ACTIVATION_TYPES = {number: kind for kind, number in _ACTIVATION_TYPE_NUMBERS.items()}


def activation_type_enabled(number: int | None) -> ActivationType | None:
    """The allowed type; absent and 0 both mean all, another number is None."""
    return _ACTIVATION_TYPES.get(number or 0)


def activation_type_used(number: int | None) -> ActivationType | None:
    """The type of the last activation (VLActivationType); None when there was none."""
    return _ACTIVATION_TYPES.get(number) if number else None
