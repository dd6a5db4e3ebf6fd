# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The published client setup key of a Windows, and when there is none."""

from __future__ import annotations

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing import editions
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey

SETUP_KEYS = editions.SETUP_KEYS


@pytest.mark.parametrize(
    ("edition_id", "sku", "build", "server", "ends"),
    [
        ("ServerStandard", 7, 26100, True, "MY832"),
        ("ServerDatacenter", 8, 26100, True, "YP6DF"),
        ("ServerStandard", 7, 20348, True, "VMK7H"),
        ("ServerStandard", 7, 17763, True, "J464C"),
        ("ServerStandardACor", 146, 17763, True, "724CC"),
        ("ServerStandardACor", 146, 17134, True, "9W4KR"),
        ("ServerDatacenterACor", 145, 19042, True, "CWH2D"),
        ("ServerStandard", 148, 14393, True, "KHKQY"),
        ("ServerStandardCor", 148, 14393, True, "KHKQY"),
        ("ServerStandard", 13, 7601, True, "R7VHC"),
        ("ServerSolution", 50, 9600, True, "M4FWM"),
        ("Professional", 48, 26100, False, "T83GX"),
        ("Professional", 48, 26200, False, "T83GX"),
        ("Professional", 48, 9600, False, "9D6T9"),
        ("Enterprise", 4, 19045, False, "2YT43"),
        ("Enterprise", 4, 7601, False, "HVTHH"),
        ("Education", 121, 22631, False, "VCFB2"),
        ("EnterpriseS", 125, 10240, False, "76DF9"),
        ("EnterpriseS", 125, 14393, False, "QJ4BJ"),
        ("EnterpriseS", 125, 17763, False, "J462D"),
        ("EnterpriseS", 125, 26100, False, "J462D"),
        # EditionID decides where the SKU tells otherwise.
        ("ServerStandard", 146, 17763, True, "J464C"),
        # SKU alone, when EditionID could not be read.
        (None, 7, 17763, True, "J464C"),
        (None, 146, 17763, True, "724CC"),
        (None, 48, 26100, False, "T83GX"),
        ("", 8, 26100, None, "YP6DF"),
    ],
)
def test_the_key_of_a_windows(edition_id: str | None, sku: int, build: int, server: bool | None, ends: str) -> None:
    assert editions.client_setup_key(edition_id, sku, build, server=server).partial == ends


@pytest.mark.parametrize(
    ("edition_id", "sku", "build", "server", "said"),
    [
        ("ServerStandardEval", 79, 20348, True, r"Set-Edition:ServerStandard /ProductKey:VDYBN"),
        ("ServerDatacenterEvalCor", 159, 17763, True, r"Set-Edition:ServerDatacenterCor /ProductKey:WMDGN"),
        ("EnterpriseEval", 72, 19045, False, "evaluation"),
        (None, 79, 20348, True, "evaluation"),
        ("Core", 101, 22631, False, "no client setup key for this edition"),
        ("ServerRdsh", 175, 19045, False, "no client setup key for this edition"),
        # The SKU is no way round an EditionID that has no key.
        ("CoreSingleLanguage", 48, 22631, False, "no client setup key for this edition"),
        ("ServerAzureStackHCICor", 406, 25398, True, "Azure subscription"),
        ("ServerDatacenterACor", 145, 25398, True, "other builds"),
        ("ServerStandard", 7, 30000, True, "other builds"),
        ("EnterpriseS", 125, 16299, False, "other builds"),
        # Windows contradicts itself: server by one, workstation by the other.
        ("Enterprise", 4, 26100, True, "says that it is a server"),
        (None, 7, 26100, False, "says that it is a workstation"),
        ("ServerTurbine", 407, 20348, True, "not certain"),
        ("IoTEnterpriseS", 191, 26100, False, "not certain"),
    ],
)
def test_no_key_and_why(edition_id: str | None, sku: int, build: int, server: bool, said: str) -> None:
    with pytest.raises(editions.NoClientKey, match=said):
        editions.client_setup_key(edition_id, sku, build, server=server)


@pytest.mark.parametrize(
    ("edition_id", "build", "caption", "ends"),
    [
        ("ServerTurbine", 20348, "Microsoft Windows Server 2022 Datacenter: Azure Edition", "KHMXV"),
        ("ServerTurbineCor", 26100, "Microsoft Windows Server 2025 Datacenter Azure Edition", "8MCRC"),
        ("IoTEnterpriseS", 26100, "Microsoft Windows 11 IoT Enterprise LTSC", "PDQGT"),
        ("ServerTurbine", 20348, "Microsoft Windows Server 2022 Datacenter", None),
        ("IoTEnterpriseS", 26100, "", None),
    ],
)
def test_an_uncertain_mapping_needs_the_caption_to_agree(
    edition_id: str, build: int, caption: str, ends: str | None
) -> None:
    if ends is None:
        with pytest.raises(editions.NoClientKey):
            editions.client_setup_key(edition_id, 0, build, caption=caption)
    else:
        assert editions.client_setup_key(edition_id, 0, build, caption=caption).partial == ends


def test_the_tables_are_whole() -> None:
    by_application = [row.application for row in SETUP_KEYS]
    assert by_application.count(Application.WINDOWS) == 78
    assert by_application.count(Application.OFFICE) == 52
    assert len({row.key for row in SETUP_KEYS}) == len({row.partial for row in SETUP_KEYS}) == 130


def test_no_windows_fits_two_keys() -> None:
    rows = [row for row in SETUP_KEYS if row.application is Application.WINDOWS]
    builds = sorted({build for row in rows for build in (row.build_min, row.build_max or 99999)})
    for build in builds:
        here = [row for row in rows if row.is_for_build(build)]
        edition_ids = [edition for row in here for edition in row.edition_ids]
        skus = [sku for row in here for sku in row.skus]
        assert len(edition_ids) == len(set(edition_ids)), build
        assert len(skus) == len(set(skus)), build


def test_every_uncertain_row_can_be_confirmed() -> None:
    for row in SETUP_KEYS:
        if not row.certain:
            for edition_id in row.edition_ids:
                found = editions.client_setup_key(edition_id, 0, row.build_min, caption=f"Microsoft {row.name}")
                assert found == row


def test_published_keys_are_found_by_their_end() -> None:
    found = editions.find_published("t83gx")
    assert found is not None
    assert found.name == "Windows 10/11 Pro"
    assert editions.find_published("KDQ2G") is editions.find_published("") is editions.find_published(None) is None


def test_a_key_is_published_as_a_whole_or_not() -> None:
    assert editions.is_published(ProductKey("W269N-WFGWX-YVC9B-4J6C9-T83GX"))
    assert not editions.is_published(ProductKey("BBBBB-WFGWX-YVC9B-4J6C9-T83GX"))


def test_office_keys_go_by_name() -> None:
    assert editions.office_setup_key("office ltsc  professional plus 2024").partial == "GCVGB"
    with pytest.raises(editions.NoClientKey, match="Word 2019"):
        editions.office_setup_key("Word 2018")
    with pytest.raises(editions.NoClientKey):  # a Windows name is none of Office
        editions.office_setup_key("Windows 10/11 Pro")


@pytest.mark.parametrize(
    ("edition_id", "sku", "evaluation", "azure", "core"),
    [
        ("ServerStandard", 7, False, False, False),
        ("ServerStandardEval", 79, True, False, False),
        ("ServerStandardEvalCor", 160, True, False, True),
        ("ServerTurbineCor", 408, False, True, True),
        ("ServerAzureStackHCICor", 406, False, True, True),
        (None, 80, True, False, False),
        (None, 407, False, True, False),
        ("Core", 101, False, False, False),
        ("EnterpriseSNEval", 130, True, False, False),
        ("ServerStandardCore", 13, False, False, True),
    ],
)
def test_kinds_of_editions(edition_id: str | None, sku: int, evaluation: bool, azure: bool, core: bool) -> None:
    assert editions.is_evaluation(edition_id, sku) is evaluation
    assert editions.is_azure(edition_id, sku) is azure
    assert editions.is_core(edition_id, sku) is core


@pytest.mark.parametrize(
    ("build", "is_server", "edition_id", "release"),
    [
        (26100, True, "ServerStandard", "windows_server_2025"),
        (26100, False, "Professional", "windows_11"),
        (26100, False, "EnterpriseS", "windows_11_ltsc_2024"),
        (17763, True, "ServerStandard", "windows_server_2019"),
        (17763, True, "ServerStandardACor", "windows_server_sac"),
        (17763, False, "Enterprise", "windows_10"),
        (17763, False, "EnterpriseS", "windows_10_ltsc_2019"),
        (18363, True, None, "windows_server_sac"),
        (25398, True, "ServerDatacenterACor", "windows_server_23h2"),
        (9200, True, None, "windows_server_2012"),
        (9200, False, None, "windows_8"),
        (28000, False, None, "windows_11"),
        (30000, True, None, None),
        (16299, False, "EnterpriseS", None),
        (3790, True, None, None),
    ],
)
def test_release_of_a_build(build: int, is_server: bool, edition_id: str | None, release: str | None) -> None:
    found = editions.generation(build, is_server, edition_id)
    assert (found.id if found else None) == release


def test_only_a_published_key_can_be_put_back() -> None:
    assert editions.fallback_key("T83GX") == ProductKey("W269N-WFGWX-YVC9B-4J6C9-T83GX")
    assert editions.fallback_key("KDQ2G") is editions.fallback_key("") is None


def test_an_evaluation_edition_is_refused_before_any_key() -> None:
    editions.refuse_evaluation("ServerStandard", 7, 20348)
    with pytest.raises(editions.NoClientKey, match="DISM"):
        editions.refuse_evaluation("ServerStandardEval", 79, 20348)
