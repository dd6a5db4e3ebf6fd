# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""InstallProductKey and what it replaces: outcome by kind of key, edition, build and update."""

from __future__ import annotations

import pytest
from unit.lab.windows.kit import BLOCKED, MAK, SmallWorld, call, host_key, install, keyed, product, refused, service

PRO = "W269N-WFGWX-YVC9B-4J6C9-T83GX"
SERVER_2019_STANDARD = "N69G4-B89J2-4G8F4-WWYCC-J464C"
SERVER_2019_DATACENTER = "WMDGN-G9PQG-XVVXX-R3X43-63DFG"
SERVER_2016_STANDARD = "WC2BQ-8NRM3-FDDYY-2BFGV-KHKQY"
OFFICE_2021 = "FXYTK-NJJ8C-GB6DW-3DYQT-6F7TH"

INVALID, MISMATCHED, KEY_CONFIG, NO_LICENCE = 0xC004F050, 0xC004F069, 0xC004E016, 0xC004F015


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("", 0x80070057),
        ("not a key", INVALID),
        (SERVER_2019_STANDARD.lower(), INVALID),
        (SERVER_2019_STANDARD.replace("-", "–"), INVALID),
        ("BBBBB-BBBBB-BBBBB-BBBBB-BBBBB", INVALID),
        (SERVER_2016_STANDARD, INVALID),
        (SERVER_2019_DATACENTER, MISMATCHED),
        (PRO, MISMATCHED),
        (SERVER_2019_STANDARD, 0),
        (MAK, 0),
    ],
)
def test_keys_on_server_2019_standard(key: str, code: int) -> None:
    assert install(SmallWorld().machine("srv", "server2019/ServerStandard"), key) == code


def test_an_evaluation_takes_no_volume_key() -> None:
    machine = SmallWorld().machine("srv", "server2022/ServerStandardEval")
    for key in ("VDYBN-27WPP-V4HQT-9VMD4-VMK7H", host_key("server-2022"), MAK):
        assert install(machine, key) == MISMATCHED


@pytest.mark.parametrize(
    ("windows", "product_name", "updates", "code"),
    [
        ("server2022/ServerStandard", "server-2022", (), 0),
        ("server2022/ServerStandard", "server-2025", (), NO_LICENCE),
        ("server2022/ServerStandard", "server-2025", ("KB5034765",), 0),
        ("server2019/ServerDatacenter", "server-2025", ("KB5034768",), 0),
        ("server2016/ServerStandard", "server-2025", ("KB5034768",), KEY_CONFIG),
        ("server2012/ServerStandard", "server-2019", (), KEY_CONFIG),
        ("server2012/ServerStandard", "server-2016", ("KB3172615",), 0),
        ("server2012r2/ServerStandard", "server-2019", ("KB4467695",), 0),
        ("server2022/ServerTurbine", "server-2022", (), KEY_CONFIG),
        ("windows10/Professional", "windows-10", (), 0),
        ("server2022/ServerStandard", "windows-10", (), KEY_CONFIG),
        ("windows11/Professional", "server-2022", (), KEY_CONFIG),
    ],
)
def test_which_windows_takes_which_host_key(
    windows: str, product_name: str, updates: tuple[str, ...], code: int
) -> None:
    assert install(SmallWorld().machine("srv", windows, updates=updates), host_key(product_name)) == code


def test_an_office_host_key_needs_the_volume_licence_pack() -> None:
    assert install(SmallWorld().machine("srv"), host_key("office-2021")) == NO_LICENCE
    machine = SmallWorld().machine("srv", office_pack=("office-2021",))
    assert install(machine, host_key("office-2021")) == 0
    assert product(machine)["ApplicationID"].startswith("0ff1ce16")


def test_a_windows_key_replaces_the_windows_key_only() -> None:
    machine = SmallWorld().client("srv", "server2022/ServerStandard", office_pack=("office-2021", "office-2019"))
    for name in ("office-2021", "office-2019", "server-2022"):
        assert install(machine, host_key(name)) == 0
    descriptions = sorted(row["Description"] for row in keyed(machine))
    assert descriptions == [
        "Office 19, VOLUME_KMS channel",
        "Office 21, VOLUME_KMS channel",
        "Windows(R) Operating System, VOLUME_KMS_WS22 channel",
    ]


def test_a_key_installation_resets_the_licence_and_dates_the_product_id() -> None:
    world = SmallWorld()
    machine = world.machine("srv", "server2019/ServerStandard")
    install(machine, MAK)
    call(machine, "SoftwareLicensingProduct", "Activate")
    assert product(machine)["LicenseStatus"] == 1
    world.advance(days=10)
    install(machine, SERVER_2019_STANDARD)
    row = product(machine)
    assert (row["LicenseStatus"], row["LicenseStatusReason"]) == (5, 0xC004F056)
    assert row["ProductKeyID"].endswith("-03-1033-17763.0000-0712026")
    assert row["ID"] == "de32eafd-aaee-4662-9444-c1befb41bde2"
    assert (row["PartialProductKey"], row["ProductKeyChannel"]) == ("J464C", "Volume:GVLK")


def test_channel_is_absent_before_its_build_and_the_description_tells() -> None:
    machine = SmallWorld().client("pc", "windows7/Enterprise")
    row = product(machine)
    assert "ProductKeyChannel" not in row
    assert row["Description"] == "Windows Operating System - Windows(R) 7, VOLUME_KMSCLIENT channel"
    assert row["ID"] == "ae2ee509-1b34-41c0-acb7-6d4650168915"


def test_uninstall_takes_the_key_of_one_product() -> None:
    machine = SmallWorld().client("srv", "server2022/ServerStandard")
    assert refused(machine, "SoftwareLicensingProduct", "UninstallProductKey") == 0
    assert keyed(machine) == []


def test_clearing_the_registry_leaves_the_licence() -> None:
    machine = SmallWorld().client("srv", "server2022/ServerStandard")
    call(machine, "SoftwareLicensingService", "ClearProductKeyFromRegistry")
    assert product(machine)["PartialProductKey"] == "VMK7H"


def test_office_client_key_needs_office() -> None:
    assert install(SmallWorld().machine("pc", "windows11"), OFFICE_2021) == NO_LICENCE
    machine = SmallWorld().machine("pc", "windows11", office=("Professional Plus/2021",))
    assert install(machine, OFFICE_2021) == 0
    assert product(machine)["ID"] == "fbdb3e18-a8ef-4fb3-9183-dffd60bd0984"


def test_activation_centre_limits_of_a_host_key() -> None:
    world = SmallWorld()
    hosts = [world.machine(f"kms{number}") for number in range(7)]
    for host in hosts:
        install(host, host_key("server-2022"))
    codes = [refused(host, "SoftwareLicensingProduct", "Activate") for host in hosts]
    assert codes == [0] * 6 + [0xC004C008]
    assert [refused(hosts[0], "SoftwareLicensingProduct", "Activate") for _time in range(10)] == [0] * 9 + [0xC004C008]


def test_blocked_key_mak_limit_and_no_internet() -> None:
    world = SmallWorld()
    host = world.machine("kms1")
    install(host, BLOCKED)
    assert refused(host, "SoftwareLicensingProduct", "Activate") == 0xC004C003
    codes = []
    for number in range(3):
        server = world.machine(f"mak{number}")
        install(server, MAK)
        codes.append(refused(server, "SoftwareLicensingProduct", "Activate"))
    assert codes == [0, 0, 0xC004C020]
    world.policy.internet = False
    install(host, host_key("server-2022"))
    assert refused(host, "SoftwareLicensingProduct", "Activate") == 0x80072EE2
    assert product(host)["LicenseStatus"] == 2


def test_telephone_activation() -> None:
    world = SmallWorld(internet=False)
    host = world.machine("kms1")
    install(host, host_key("server-2022"))
    iid = product(host)["OfflineInstallationId"]
    assert len(iid) == 63 and iid.isdigit()
    cid = world.centre.confirmation_id(iid)
    wrong = cid[:-1] + ("0" if cid[-1] != "0" else "1")

    def deposit(installation: str, confirmation: str) -> int:
        return refused(
            host,
            "SoftwareLicensingProduct",
            "DepositOfflineConfirmationId",
            InstallationId=installation,
            ConfirmationId=confirmation,
        )

    assert deposit(iid, "12345") == 0xC004F02C
    assert deposit(iid, wrong) == 0xC004F04D
    assert deposit("9" * 63, cid) == 0xC004F02D
    assert deposit(iid, cid) == 0
    assert product(host)["LicenseStatus"] == 1


def test_firmware_key_is_shown_by_client_machines() -> None:
    assert service(SmallWorld().machine("pc", "windows11"))["OA3xOriginalProductKey"]
    assert not service(SmallWorld().machine("srv"))["OA3xOriginalProductKey"]
