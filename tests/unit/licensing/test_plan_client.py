# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a machine that is to be a KMS client."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Plan, Target
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import (
    Activate,
    InstallKey,
    ProductMethod,
    ServiceMethod,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_client import DesiredClient, plan_client
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal

from .machines import GVLK_2019, GVLK_2022, HOST_KEY, OFFICE_ID, machine, product

CLIENT = product(product_id="client")
OFFICE = product("Volume:GVLK", "WFG99", product_id="office-1", application_id=OFFICE_ID)


def kinds(plan: Plan) -> list[type]:
    return [type(step.operation) for step in plan.steps]


def settings(plan: Plan) -> dict[str, tuple[t.Any, t.Any]]:
    return {change.setting: (change.before, change.after) for change in plan.changes}


def calls(plan: Plan) -> list[tuple[str, dict[str, t.Any]]]:
    methods = [step.operation for step in plan.steps if isinstance(step.operation, (ServiceMethod, ProductMethod))]
    return [(operation.method, dict(operation.arguments)) for operation in methods]


def test_a_machine_without_a_key_gets_the_published_one_and_is_activated() -> None:
    plan = plan_client(machine(), DesiredClient())
    assert kinds(plan) == [InstallKey, Activate]
    assert settings(plan) == {"product_key": ("absent", "*****-VMK7H"), "activated": (False, True)}
    (install,) = [step.operation for step in plan.steps if isinstance(step.operation, InstallKey)]
    assert install.key == ProductKey(GVLK_2022)


def test_the_edition_of_the_machine_chooses_the_key() -> None:
    old = machine(build=17763, caption="Microsoft Windows Server 2019 Standard")
    assert settings(plan_client(old, DesiredClient()))["product_key"][1] == "*****-J464C"


def test_a_settled_client_is_left_alone() -> None:
    settled = machine(
        CLIENT,
        KeyManagementServiceHostCaching=False,
        KeyManagementServiceMachine="KMS1.corp.example.com",
        KeyManagementServicePort=1690,
        KeyManagementServiceLookupDomain="Branch.example.net",
    )
    wish = DesiredClient(
        settings={
            "server": "kms1.corp.example.com.",
            "port": 1690,
            "lookup_domain": "branch.example.net",
            "host_caching": False,
            "activation_type": "all",
        }
    )
    assert plan_client(settled, wish).steps == ()


@pytest.mark.parametrize(("unset", "wish"), [(0, 0), (1688, 0), (0, 1688), (1688, 1688)])
def test_an_unset_port_is_the_default_however_windows_shows_it(unset: int, wish: int) -> None:
    assert (
        plan_client(machine(CLIENT, KeyManagementServicePort=unset), DesiredClient(settings={"port": wish})).steps == ()
    )


@pytest.mark.parametrize(
    ("now", "wish", "call", "change"),
    [
        ({}, {"server": "kms1.example.com"}, ("SetKeyManagementServiceMachine", {"MachineName": "kms1.example.com"}),
         ("server", "", "kms1.example.com")),
        ({"KeyManagementServiceMachine": "old"}, {"server": ""}, ("ClearKeyManagementServiceMachine", {}),
         ("server", "old", "")),
        ({}, {"port": 1690}, ("SetKeyManagementServicePort", {"PortNumber": 1690}), ("port", 1688, 1690)),
        ({"KeyManagementServicePort": 1690}, {"port": 0}, ("ClearKeyManagementServicePort", {}), ("port", 1690, 1688)),
        ({}, {"lookup_domain": "a.example"},
         ("SetKeyManagementServiceLookupDomain", {"LookupDomain": "a.example"}), ("lookup_domain", "", "a.example")),
        ({"KeyManagementServiceLookupDomain": "example.net"}, {"lookup_domain": ""},
         ("ClearKeyManagementServiceLookupDomain", {}), ("lookup_domain", "example.net", "")),
        ({}, {"host_caching": False}, ("DisableKeyManagementServiceHostCaching", {"DisableCaching": True}),
         ("host_caching", True, False)),
        ({"KeyManagementServiceHostCaching": False}, {"host_caching": True},
         ("DisableKeyManagementServiceHostCaching", {"DisableCaching": False}), ("host_caching", False, True)),
        ({}, {"activation_type": "kms"}, ("SetVLActivationTypeEnabled", {"ActivationType": 2}),
         ("activation_type", "all", "kms")),
    ],
)  # fmt: skip
def test_each_setting_by_its_own_method(
    now: dict[str, t.Any], wish: dict[str, t.Any], call: tuple[str, t.Any], change: tuple[str, t.Any, t.Any]
) -> None:
    plan = plan_client(machine(CLIENT, **now), DesiredClient(settings=wish))
    assert calls(plan) == [call]
    assert settings(plan) == {change[0]: change[1:]}


def test_clearing_the_activation_type() -> None:
    fixed = machine(product(VLActivationTypeEnabled=2))
    plan = plan_client(fixed, DesiredClient(settings={"activation_type": "all"}))
    assert calls(plan) == [("ClearVLActivationTypeEnabled", {})]
    assert kinds(plan) == [ProductMethod]


def test_with_an_activation_id_the_settings_are_the_products_own() -> None:
    wish = DesiredClient(
        product_key="keep",
        target=Target(Application.OFFICE, "office-1"),
        settings={"server": "kms1.example.com", "host_caching": False},
    )
    plan = plan_client(machine(CLIENT, OFFICE), wish)
    assert [(type(step.operation), step.change and step.change.setting) for step in plan.steps] == [
        (ProductMethod, "server"),
        (ServiceMethod, "host_caching"),
    ]


def test_a_licensed_client_with_another_published_key_gets_its_own() -> None:
    wrong = machine(product("Volume:GVLK", "J464C"))
    plan = plan_client(wrong, DesiredClient())
    assert settings(plan)["product_key"] == ("*****-J464C", "*****-VMK7H")
    assert Activate in kinds(plan)
    (install,) = [step.operation for step in plan.steps if isinstance(step.operation, InstallKey)]
    assert install.fallback == ProductKey(GVLK_2019)


def test_keep_asks_only_for_the_activation() -> None:
    assert kinds(plan_client(machine(product(status=5)), DesiredClient(product_key="keep"))) == [Activate]
    assert kinds(plan_client(machine(product(status=5)), DesiredClient(product_key="keep", activate=False))) == []


@pytest.mark.parametrize(("channel", "word"), [("Volume:MAK", "mak"), ("OEM:DM", "oem"), ("Retail", "retail")])
def test_a_licence_that_is_worth_something_is_given_up_only_when_listed(channel: str, word: str) -> None:
    licensed = machine(product(channel, "XXXXX"))
    with pytest.raises(Refusal, match=rf"replace: \[{word}\]"):
        plan_client(licensed, DesiredClient())
    with pytest.raises(Refusal):
        plan_client(licensed, DesiredClient(replace=frozenset({"avma"})))
    assert InstallKey in kinds(plan_client(licensed, DesiredClient(replace=frozenset({word}))))
    # One that is not activated is worth nothing.
    assert InstallKey in kinds(plan_client(machine(product(channel, "XXXXX", status=5)), DesiredClient()))


def test_a_machine_of_the_clouds_own_kms_host_stays_with_it() -> None:
    cloud = machine(CLIENT, KeyManagementServiceMachine="azkms.core.windows.net")
    assert plan_client(cloud, DesiredClient()).steps == ()
    with pytest.raises(Refusal, match="cloud_kms"):
        plan_client(cloud, DesiredClient(settings={"server": ""}))
    allowed = DesiredClient(settings={"server": ""}, replace=frozenset({"cloud_kms"}))
    assert settings(plan_client(cloud, allowed)) == {"server": ("azkms.core.windows.net", "")}


def test_a_kms_host_is_no_client_unless_it_is_to_be_converted() -> None:
    host = machine(product("Volume:CSVLK", "NGGGG"), publish=["corp.example.com"])
    with pytest.raises(Refusal, match="convert_host"):
        plan_client(host, DesiredClient())
    with pytest.raises(Refusal, match="keep"):
        plan_client(host, DesiredClient(product_key="keep", convert_host=True))


@pytest.mark.parametrize(
    ("client", "wish", "words"),
    [
        (machine(edition="ServerStandardEval"), DesiredClient(), "DISM"),
        (machine(edition="ServerStandardEval"), DesiredClient(product_key=ProductKey(GVLK_2022)), "DISM"),
        (machine(build=7601), DesiredClient(), "older"),
        (machine(), DesiredClient(product_key="keep"), "no product key"),
        (machine(CLIENT), DesiredClient(target=Target(Application.OFFICE)), "Office"),
        (machine(CLIENT), DesiredClient(target=Target(Application.WINDOWS, "nowhere")), "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(client: t.Any, wish: DesiredClient, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        plan_client(client, wish)


@pytest.mark.parametrize(
    ("client", "wish", "words"),
    [
        (machine(product("Volume:MAK", "NGGGG")), DesiredClient(product_key=ProductKey(HOST_KEY)), "mak"),
        (machine(product("Retail", "XXXXX", status=5)), DesiredClient(product_key="keep"), "retail"),
        (machine(product(VLActivationTypeEnabled=3, status=5)), DesiredClient(), "activation_type"),
        (machine(product(status=5)), DesiredClient(settings={"activation_type": "token"}), "activation_type"),
    ],
)
def test_what_would_leave_no_kms_client_is_refused(client: t.Any, wish: DesiredClient, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        plan_client(client, wish)


def test_a_licence_of_a_kind_that_is_not_known_is_never_replaced() -> None:
    strange = machine(product("Retail", "XXXXX", Description="Strange channel", ProductKeyChannel="Strange"))
    with pytest.raises(Refusal, match=r"fleetops\.kms\.product_key"):
        plan_client(strange, DesiredClient(replace=frozenset({"retail", "oem", "mak", "avma", "subscription"})))


def test_several_office_products_are_not_guessed_between() -> None:
    second = product("Volume:GVLK", "DRTFM", product_id="office-2", application_id=OFFICE_ID)
    wish = DesiredClient(product_key="keep", target=Target(Application.OFFICE))
    with pytest.raises(Refusal, match=r"office-1.*office-2"):
        plan_client(machine(CLIENT, OFFICE, second), wish)


def test_a_key_of_office_names_its_product_itself() -> None:
    second = product("Volume:GVLK", "DRTFM", product_id="office-2", application_id=OFFICE_ID)
    office = Target(Application.OFFICE)
    there = DesiredClient(product_key=ProductKey("JNRGM-WHDWX-FJJG3-K47QV-DRTFM"), target=office)
    assert plan_client(machine(CLIENT, OFFICE, second), there).steps == ()
    new = DesiredClient(product_key=ProductKey("YG9NW-3K39V-2T3HJ-93F3Q-G83KT"), target=office)
    assert settings(plan_client(machine(CLIENT, OFFICE), new))["product_key"] == ("absent", "*****-G83KT")


def test_a_published_key_of_another_application_is_refused() -> None:
    """A Windows key given for Office would take the place of this machine's Windows licence."""
    office = Target(Application.OFFICE)
    licensed = machine(product("Volume:MAK", "XXXXX"))
    with pytest.raises(Refusal, match="Windows Server 2022 Standard"):
        plan_client(licensed, DesiredClient(product_key=ProductKey(GVLK_2022), target=office))
    with pytest.raises(Refusal, match="Office"):
        plan_client(licensed, DesiredClient(product_key=ProductKey("JNRGM-WHDWX-FJJG3-K47QV-DRTFM")))


@pytest.mark.parametrize("name", ["AZKMS.core.windows.net.", "kms.windows.googlecloud.com", "169.254.169.250"])
def test_the_clouds_own_hosts_are_known_in_any_spelling(name: str) -> None:
    with pytest.raises(Refusal, match="cloud_kms"):
        plan_client(machine(CLIENT, KeyManagementServiceMachine=name), DesiredClient(settings={"server": ""}))


def test_a_products_own_kms_host_is_said_to_win() -> None:
    own = machine(product(product_id="client", KeyManagementServiceMachine="old.example.com"))
    (warning,) = plan_client(own, DesiredClient(settings={"server": ""})).warnings
    assert "old.example.com" in warning and "client" in warning


def test_a_lookup_domain_beside_a_fixed_host_is_said_to_be_without_effect() -> None:
    fixed = machine(CLIENT, KeyManagementServiceMachine="kms1.example.com")
    assert plan_client(fixed, DesiredClient(settings={"lookup_domain": "example.net"})).warnings
    both = DesiredClient(settings={"lookup_domain": "example.net", "server": ""})
    assert not plan_client(fixed, both).warnings


def test_a_host_key_never_stands_in_a_plan_as_text() -> None:
    plan = plan_client(machine(), DesiredClient(product_key=ProductKey(HOST_KEY)))
    assert HOST_KEY not in repr(plan) and "BBBBB" not in repr(plan)
