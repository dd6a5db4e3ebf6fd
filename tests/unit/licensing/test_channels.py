# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels, applications and states, from texts as Windows has them."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import (
    ActivationType,
    Application,
    Channel,
    activation_type_enabled,
    activation_type_used,
    application_of,
    channel_of,
    license_status_name,
)


@pytest.mark.parametrize(
    ("description", "product_key_channel", "channel"),
    [
        ("Windows(R) Operating System, VOLUME_KMSCLIENT channel", "Volume:GVLK", Channel.KMS_CLIENT),
        ("Windows Operating System - Windows(R) 7, VOLUME_KMSCLIENT channel", None, Channel.KMS_CLIENT),
        ("Windows(R) Operating System, VOLUME_KMS_2012-R2_WIN10 channel", "Volume:CSVLK", Channel.KMS_HOST),
        ("Windows(R) Operating System, VOLUME_KMS_WS22 channel", "", Channel.KMS_HOST),
        ("Office 16, VOLUME_KMS channel", "Volume:CSVLK", Channel.KMS_HOST),
        ("Windows(R) Operating System, something new channel", "Volume:CSVLK", Channel.KMS_HOST),
        ("Windows(R) Operating System, VOLUME_MAK channel", "Volume:MAK", Channel.MAK),
        ("Windows(R) Operating System, OEM_DM channel", "OEM:DM", Channel.OEM),
        ("Windows(R) Operating System, OEM_COA_NSLP channel", None, Channel.OEM),
        ("Windows(R) Operating System, RETAIL channel", "Retail", Channel.RETAIL),
        ("Windows(R) Operating System, VIRTUAL_MACHINE_ACTIVATION channel", None, Channel.AVMA),
        ("Windows(R) Operating System, TIMEBASED_EVAL channel", "Retail:TB:Eval", Channel.EVALUATION),
        ("Windows(R) Operating System, TIMEBASED_SUB channel", "Retail:TB:Sub", Channel.SUBSCRIPTION),
        ("windows(r) operating system, volume_mak channel", "volume:mak", Channel.MAK),
        ("", "Volume:GVLK", Channel.KMS_CLIENT),
        ("", "Retail:TB:Eval", Channel.EVALUATION),
        (None, None, Channel.UNLICENSED),
        ("Windows(R) Operating System, WHATEVER channel", "Whatever", Channel.UNKNOWN),
    ],
)
def test_channel(description: str | None, product_key_channel: str | None, channel: Channel) -> None:
    assert channel_of(description, product_key_channel) is channel


@pytest.mark.parametrize(
    ("guid", "application"),
    [
        ("55c92734-d682-4d71-983e-d6ec3f16059f", Application.WINDOWS),
        ("{55C92734-D682-4D71-983E-D6EC3F16059F}", Application.WINDOWS),
        ("0ff1ce15-a989-479d-af46-f275c6370663", Application.OFFICE),
        ("0FF1CE16-a989-479d-af46-f275c6370663", Application.OFFICE),
        ("59a52881-a989-479d-af46-f275c6370663", Application.OFFICE),
        ("0ff1ce17-a989-479d-af46-f275c6370663", None),
        ("", None),
        (None, None),
    ],
)
def test_application(guid: str | None, application: Application | None) -> None:
    assert application_of(guid) is application


def test_license_status_names() -> None:
    assert [license_status_name(status) for status in range(7)] == [
        "unlicensed",
        "licensed",
        "oob_grace",
        "oot_grace",
        "non_genuine_grace",
        "notification",
        "extended_grace",
    ]
    assert license_status_name(7) is None
    assert license_status_name(None) is None


def test_activation_types() -> None:
    assert {kind.value: kind.number for kind in ActivationType} == {"all": 0, "ad": 1, "kms": 2, "token": 3}
    assert activation_type_enabled(None) is activation_type_enabled(0) is ActivationType.ALL
    assert activation_type_enabled(4294967295) is None
    assert activation_type_used(2) is ActivationType.KMS
    assert activation_type_used(0) is activation_type_used(None) is None
