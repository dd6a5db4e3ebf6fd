# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a machine that is to be a KMS host."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Plan, Proof
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import (
    Activate,
    InstallKey,
    KeepHostVersion,
    StartSoftwareProtection,
    StopSoftwareProtection,
    WriteFirewallRules,
    WriteValue,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_host import DesiredHost, plan_host
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import normalise
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import HOST_VERSION
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal

from .machines import GVLK_2022, HOST_KEY, OFFICE_HOST_ID, OTHER_HOST_KEY, machine, product, rule

ENTRIES = normalise(["corp.example.com, 10, 100", "branch.example.net, 10, 100"])
RESTART_AND_MARK = [StopSoftwareProtection, StartSoftwareProtection, KeepHostVersion]
HOST_PRODUCT = product("Volume:CSVLK", "NGGGG", product_id="host")


def kinds(plan: Plan) -> list[type]:
    return [type(step.operation) for step in plan.steps]


def settings(plan: Plan) -> dict[str, tuple[t.Any, t.Any]]:
    return {change.setting: (change.before, change.after) for change in plan.changes}


def test_a_new_host_says_the_right_thing_from_its_first_word() -> None:
    plan = plan_host(machine(product()), DesiredHost(product_key=ProductKey(HOST_KEY), publish=ENTRIES))
    assert kinds(plan) == [
        StopSoftwareProtection,
        WriteValue,
        StartSoftwareProtection,
        InstallKey,
        Activate,
        StopSoftwareProtection,
        StartSoftwareProtection,
        KeepHostVersion,
    ]
    assert settings(plan) == {
        "publish_list": ([], ["corp.example.com, 10, 100", "branch.example.net, 10, 100"]),
        "product_key": ("*****-VMK7H", "*****-NGGGG"),
        "activated": (False, True),
    }
    assert plan.restarts and not plan.restart_withheld


def test_the_published_client_key_is_kept_to_be_put_back() -> None:
    plan = plan_host(machine(product()), DesiredHost(product_key=ProductKey(HOST_KEY)))
    (install,) = [step.operation for step in plan.steps if isinstance(step.operation, InstallKey)]
    assert install.fallback == ProductKey(GVLK_2022)


def test_a_settled_host_is_left_alone() -> None:
    settled = machine(HOST_PRODUCT, publish=["BRANCH.example.net,10,100", "corp.example.com,10 , 100"])
    wish = DesiredHost(
        product_key=ProductKey(HOST_KEY),
        publish=ENTRIES,
        settings={"dns_publishing": True, "listening_port": 1688, "low_cpu_priority": False},
    )
    assert plan_host(settled, wish).steps == ()


def test_the_defaults_of_windows_need_no_writing_before_the_machine_is_a_host() -> None:
    wish = DesiredHost(
        product_key=ProductKey(HOST_KEY), settings={"activation_interval": 120, "renewal_interval": 10080}
    )
    assert "activation_interval" not in settings(plan_host(machine(product()), wish))


def test_a_licensed_host_is_never_activated_again() -> None:
    plan = plan_host(machine(HOST_PRODUCT), DesiredHost(product_key=ProductKey(HOST_KEY), publish=ENTRIES))
    assert Activate not in kinds(plan) and InstallKey not in kinds(plan)


def test_a_host_that_was_never_activated_is_activated_without_its_key() -> None:
    host = machine(product("Volume:CSVLK", "NGGGG", status=5))
    assert kinds(plan_host(host, DesiredHost())) == [WriteValue, Activate, *RESTART_AND_MARK]
    assert kinds(plan_host(host, DesiredHost(activate=False))) == []


def test_a_run_that_died_before_the_restart_is_gone_on_with() -> None:
    """The host is activated, but nothing tells that it has been restarted since: it may not be in DNS."""
    died = machine(HOST_PRODUCT, registry={})
    assert kinds(plan_host(died, DesiredHost())) == RESTART_AND_MARK
    assert plan_host(died, DesiredHost(restart="never")).steps == ()


def test_the_mark_is_not_there_while_a_restart_is_due() -> None:
    plan = plan_host(machine(product("Volume:CSVLK", "NGGGG", status=5)), DesiredHost())
    operation = plan.steps[0].operation
    assert isinstance(operation, WriteValue) and operation.value == HOST_VERSION and operation.data is None
    new = plan_host(machine(product()), DesiredHost(product_key=ProductKey(HOST_KEY)))
    assert [step.operation.keeps_mark for step in new.steps if isinstance(step.operation, InstallKey)] == [True]


def test_another_host_key_replaces_the_first() -> None:
    plan = plan_host(machine(HOST_PRODUCT), DesiredHost(product_key=ProductKey(OTHER_HOST_KEY)))
    assert settings(plan)["product_key"] == ("*****-NGGGG", "*****-NHHHH")


def test_every_setting_is_written_while_the_service_is_stopped() -> None:
    wish = DesiredHost(
        publish=ENTRIES,
        settings={
            "dns_publishing": False,
            "listening_port": 1690,
            "low_cpu_priority": True,
            "activation_interval": 15,
            "renewal_interval": 43200,
        },
    )
    plan = plan_host(machine(HOST_PRODUCT), wish)
    assert kinds(plan) == [StopSoftwareProtection, *[WriteValue] * 6, StartSoftwareProtection]
    written = {
        step.operation.value.name: (step.operation.value.type.value, step.operation.data)
        for step in plan.steps
        if isinstance(step.operation, WriteValue)
    }
    assert written == {
        "DnsDomainPublishList": ("MultiString", ["corp.example.com, 10, 100", "branch.example.net, 10, 100"]),
        "DisableDnsPublishing": ("DWORD", 1),
        # Windows keeps ports as strings.
        "KeyManagementServiceListeningPort": ("String", "1690"),
        "EnableKmsLowPriority": ("DWORD", 1),
        "VLActivationInterval": ("DWORD", 15),
        "VLRenewalInterval": ("DWORD", 43200),
    }


def test_a_withheld_restart_is_said_and_its_settings_cannot_be_proven() -> None:
    plan = plan_host(machine(HOST_PRODUCT), DesiredHost(settings={"listening_port": 1690}, restart="never"))
    assert kinds(plan) == [WriteValue]
    assert plan.restart_withheld and not plan.restarts
    assert [change.proof for change in plan.changes] == [Proof.NONE]


def test_always_restarts_even_a_settled_host_and_only_once() -> None:
    assert kinds(plan_host(machine(HOST_PRODUCT), DesiredHost(restart="always"))) == [
        StopSoftwareProtection,
        StartSoftwareProtection,
    ]
    changed = plan_host(machine(HOST_PRODUCT), DesiredHost(publish=ENTRIES, restart="always"))
    assert kinds(changed).count(StopSoftwareProtection) == 1


def test_an_empty_list_deletes_the_value() -> None:
    plan = plan_host(machine(HOST_PRODUCT, publish=["corp.example.com"]), DesiredHost(publish=()))
    assert settings(plan) == {"publish_list": (["corp.example.com, 0, 0"], [])}


def test_an_entry_that_cannot_be_read_is_replaced() -> None:
    host = machine(HOST_PRODUCT, publish=["corp.example.com, ten"])
    before, after = settings(plan_host(host, DesiredHost(publish=normalise(["corp.example.com"]))))["publish_list"]
    assert before == ["corp.example.com, ten"]
    assert after == ["corp.example.com, 0, 0"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rule(enabled=False, profiles=6), "SPPSVC-In-TCP: enabled (Domain, Private)"),
        (rule(enabled=True, profiles=2), "SPPSVC-In-TCP: enabled (Domain, Private)"),
        (rule(enabled=True, profiles=4), "SPPSVC-In-TCP: enabled (Domain, Private, Public)"),
        (rule(enabled=False, profiles=0), "SPPSVC-In-TCP: enabled (Domain, Private)"),
    ],
)
def test_the_firewall_is_opened_for_domain_and_private_and_never_for_public(before: t.Any, after: str) -> None:
    plan = plan_host(machine(HOST_PRODUCT, rules=(before,)), DesiredHost(firewall=True))
    assert kinds(plan) == [WriteFirewallRules]
    assert settings(plan)["firewall"][1] == [after]


@pytest.mark.parametrize("profiles", [0, 3, 7])
def test_an_open_firewall_is_left_alone(profiles: int) -> None:
    opened = machine(HOST_PRODUCT, rules=(rule(enabled=True, profiles=profiles),))
    assert plan_host(opened, DesiredHost(firewall=True)).steps == ()


@pytest.mark.parametrize(
    ("host", "wish", "words"),
    [
        (machine(product()), DesiredHost(), ("product_key", "no KMS host key")),
        (machine(product(), edition="ServerStandardEval"), DesiredHost(product_key=ProductKey(HOST_KEY)), ("DISM",)),
        (machine(product(), edition="ServerTurbine"), DesiredHost(product_key=ProductKey(HOST_KEY)), ("Azure",)),
        (machine(product(), build=7601), DesiredHost(product_key=ProductKey(HOST_KEY)), ("2012",)),
        (
            machine(HOST_PRODUCT, rules=(rule(),)),
            DesiredHost(firewall=True, settings={"listening_port": 1690}),
            ("1688", "1690"),
        ),
        (
            machine(HOST_PRODUCT, rules=(rule(),), KeyManagementServiceListeningPort=1690),
            DesiredHost(firewall=True),
            ("1688", "1690"),
        ),
        (machine(HOST_PRODUCT, rules=()), DesiredHost(firewall=True), ("SPPSVC-In-TCP",)),
        (
            machine(
                product("Volume:CSVLK", "AAAAA", product_id="1", application_id=OFFICE_HOST_ID),
                product("Volume:CSVLK", "BBBBB", product_id="2", application_id=OFFICE_HOST_ID),
            ),
            DesiredHost(application=Application.OFFICE),
            ("AAAAA", "BBBBB"),
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(host: t.Any, wish: DesiredHost, words: tuple[str, ...]) -> None:
    with pytest.raises(Refusal) as refusal:
        plan_host(host, wish)
    assert all(word in str(refusal.value) for word in words)


def test_a_key_that_is_there_but_is_no_host_key_is_not_installed_again() -> None:
    with pytest.raises(Refusal, match=r"NGGGG.*mak"):
        plan_host(machine(product("Volume:MAK", "NGGGG")), DesiredHost(product_key=ProductKey(HOST_KEY)))


def test_an_office_host_key_leaves_windows_alone() -> None:
    wish = DesiredHost(product_key=ProductKey(HOST_KEY), application=Application.OFFICE)
    plan = plan_host(machine(product()), wish)
    assert settings(plan)["product_key"] == ("absent", "*****-NGGGG")
    (install,) = [step.operation for step in plan.steps if isinstance(step.operation, InstallKey)]
    # Should the key turn out to be one of Windows, it has taken the place of this one.
    assert install.fallback == ProductKey(GVLK_2022)


def test_a_published_client_key_is_no_host_key() -> None:
    with pytest.raises(Refusal, match="Windows Server 2022 Standard"):
        plan_host(machine(), DesiredHost(product_key=ProductKey(GVLK_2022)))


def test_an_activated_licence_that_the_host_key_replaces_is_said() -> None:
    wish = DesiredHost(product_key=ProductKey(HOST_KEY))
    assert "mak" in plan_host(machine(product("Volume:MAK", "XXXXX")), wish).warnings[0]
    assert plan_host(machine(product()), wish).warnings == ()


def test_a_closed_firewall_needs_no_rule() -> None:
    assert plan_host(machine(HOST_PRODUCT, rules=()), DesiredHost(firewall=False)).steps == ()
