# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys: where one may live and what it activates."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing import host_keys
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import RELEASES


@dataclasses.dataclass(frozen=True)
class Os:
    build: int
    is_server: bool = True
    edition_id: str | None = "ServerStandard"
    sku: int = 7


@pytest.mark.parametrize(
    ("os", "allowed", "said"),
    [
        (Os(20348), True, ""),
        (Os(19045, is_server=False, edition_id="Enterprise", sku=4), True, ""),
        (Os(20348, edition_id="ServerStandardEval", sku=79), False, "valuation"),
        (Os(20348, edition_id="ServerTurbine", sku=407), False, "Azure"),
        (Os(20348, edition_id=None, sku=408), False, "Azure"),
    ],
)
def test_who_can_host(os: Os, allowed: bool, said: str) -> None:
    verdict = host_keys.can_host(os)
    assert verdict.allowed is allowed
    assert said in verdict.reason


@pytest.mark.parametrize(
    ("key", "os", "allowed", "updates"),
    [
        ("windows_server_2025", Os(26100), True, ()),
        ("windows_server_2025", Os(20348), True, ("KB5034765",)),
        ("windows_server_2025", Os(17763), True, ("KB5034768",)),
        ("windows_server_2025", Os(14393), False, ()),
        ("windows_server_2022", Os(14393), True, ("KB5003638",)),
        ("windows_server_2022", Os(26100), False, ()),
        ("windows_server_2016", Os(9200), True, ("KB3172615",)),
        ("windows_10", Os(19045, is_server=False, edition_id="Enterprise", sku=4), True, ()),
        ("windows_10", Os(20348), False, ()),
        ("windows_server_2022", Os(19045, is_server=False, edition_id="Enterprise", sku=4), False, ()),
        ("windows_server_2022", Os(20348, edition_id="ServerTurbine", sku=407), False, ()),
        # What is not known is not forbidden.
        ("windows_server_2030", Os(20348), True, ()),
        ("windows_server_2022", Os(30000), True, ()),
    ],
)
def test_which_key_may_live_where(key: str, os: Os, allowed: bool, updates: tuple[str, ...]) -> None:
    verdict = host_keys.may_install(key, os)
    assert (verdict.allowed, verdict.updates) == (allowed, updates)
    assert all(update in verdict.reason for update in updates)
    assert allowed or verdict.reason


def test_what_may_be_installed_on_a_windows() -> None:
    def ids(os: Os) -> list[str]:
        return [key.id for key in host_keys.installable_on(os)]

    assert ids(Os(17763)) == ["windows_server_2025", "windows_server_2022", "windows_server_2019"]
    assert ids(Os(17763, edition_id="ServerStandardEval", sku=79)) == []
    assert ids(Os(30000)) == []


@pytest.mark.parametrize(
    ("key", "release", "answer"),
    [
        ("windows_server_2025", "windows_server_2025", True),
        ("windows_server_2025", "windows_11_ltsc_2024", True),
        ("windows_server_2025", "windows_7", True),
        ("windows_server_2022", "windows_server_2025", False),
        ("windows_server_2022", "windows_11", True),
        ("windows_server_2022", "windows_11_ltsc_2024", None),
        ("windows_server_2019", "windows_server_2022", False),
        ("windows_server_2019", "windows_11", False),
        ("windows_server_2019", "windows_server_sac", True),
        ("windows_server_2019", "windows_10_ltsc_2019", True),
        ("windows_server_2016", "windows_10_ltsb_2016", True),
        ("windows_server_2016", "windows_10", True),
        ("windows_server_2012_r2", "windows_10", False),
        ("windows_server_2012_r2_windows_10", "windows_10", True),
        ("windows_server_2012_r2_windows_10", "windows_server_2016", False),
        ("windows_10", "windows_10", True),
        ("windows_10", "windows_server_2008_r2", False),
        ("windows_10", "windows_11", False),
        ("windows_server_2025", "windows_server_23h2", None),
        ("windows_server_2025", "windows_server_2030", None),
        ("windows_server_2030", "windows_server_2025", None),
        (None, "windows_10", None),
        ("windows_server_2022", None, None),
    ],
)
def test_what_a_key_activates(key: str | None, release: str | None, answer: bool | None) -> None:
    assert host_keys.serves(key, release) is answer


@pytest.mark.parametrize(
    ("description", "key"),
    [
        ("Windows(R) Operating System, VOLUME_KMS_2012-R2_WIN10 channel", "windows_server_2012_r2_windows_10"),
        ("Windows(R) Operating System, VOLUME_KMS_2012-R2 channel", "windows_server_2012_r2"),
        ("Windows(R) Operating System, VOLUME_KMS_WS16 channel", "windows_server_2016"),
        ("Windows(R) Operating System, VOLUME_KMS_WS19 channel", "windows_server_2019"),
        ("Windows(R) Operating System, VOLUME_KMS_WS22 channel", "windows_server_2022"),
        ("windows(r) operating system, volume_kms_ws2025 channel", "windows_server_2025"),
        ("Windows(R) Operating System, VOLUME_KMS_WS99 channel", None),
        ("Windows(R) Operating System, VOLUME_KMS channel", None),
        ("Office 16, VOLUME_KMS channel", None),
        ("Windows(R) Operating System, VOLUME_KMSCLIENT channel", None),
        (None, None),
    ],
)
def test_generation_of_a_host_key(description: str | None, key: str | None) -> None:
    assert host_keys.host_key_of(description) == key


def test_the_table_names_only_known_releases() -> None:
    for key in host_keys.HOST_KEYS.values():
        named = [*key.hosts, *key.also, *filter(None, key.up_to.values())]
        assert set(named) <= set(RELEASES)
        for kind, newest in key.up_to.items():
            assert newest is None or RELEASES[newest].kind == kind


def test_a_newer_server_key_activates_all_that_an_older_one_does() -> None:
    servers = [key for key in host_keys.HOST_KEYS.values() if key.id.startswith("windows_server")]
    for newer, older in zip(servers, servers[1:], strict=False):
        served = {release for release in RELEASES if host_keys.serves(older.id, release)}
        assert served <= {release for release in RELEASES if host_keys.serves(newer.id, release)}, newer.id
