# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A KMS host becomes a client; a run that died in the middle goes on from what the machine itself shows."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Plan, Target
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.conversion import published_as
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import Machine
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import (
    ActivateAgainst,
    InstallKey,
    ServiceMethod,
    StopSoftwareProtection,
    UninstallKey,
    WriteFirewallRules,
    WriteValue,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_client import (
    DesiredClient,
    needs_of,
    plan_client,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import HOST_VERSION, HOST_VERSION_32
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.settings import host_setting

from .machines import OFFICE_HOST_ID, machine, product, rule

PORT = host_setting("listening_port").value
RENEWAL = host_setting("renewal_interval").value
OPEN = rule(enabled=True, profiles=3)
HOST = product("Volume:CSVLK", "NGGGG", product_id="windows-host")
OFFICE_HOST = product("Volume:CSVLK", "NHHHH", product_id="office-host", application_id=OFFICE_HOST_ID)
CLIENT = product(product_id="client")
CONVERT = DesiredClient(convert_host=True, activate_against=("kms1.example.com", 1688))


def work(plan: Plan) -> list[str]:
    """The steps in words short enough to be compared."""
    names: dict[type, str] = {StopSoftwareProtection: "stop", InstallKey: "install"}
    names |= {UninstallKey: "uninstall", ActivateAgainst: "activate", WriteFirewallRules: "firewall"}

    def name(operation: t.Any) -> str:
        if isinstance(operation, WriteValue):
            return f"{'delete' if operation.data is None else 'write'} {operation.value.name}"
        if isinstance(operation, ServiceMethod):
            return operation.method
        return names[type(operation)]

    return [name(step.operation) for step in plan.steps]


def test_the_whole_way_in_its_order() -> None:
    host = machine(HOST, publish=["corp.example.com"], rules=(OPEN,), registry={PORT: "1690", RENEWAL: 1440})
    assert work(plan_client(host, CONVERT)) == [
        "stop",
        "write DisableDnsPublishing",
        "delete KeyManagementServiceListeningPort",
        "write KeyManagementServiceVersion",
        "install",
        "stop",
        "delete VLRenewalInterval",
        "firewall",
        "activate",
        "delete KeyManagementServiceVersion",
    ]


def test_the_mark_of_the_host_stays_until_the_restart() -> None:
    (install,) = [
        step.operation for step in plan_client(machine(HOST), CONVERT).steps if isinstance(step.operation, InstallKey)
    ]
    assert install.keeps_mark


def test_the_mark_of_the_other_half_of_the_registry_goes_where_it_is() -> None:
    """HKLM\\SOFTWARE\\Wow6432Node has it on some machines."""
    host = machine(HOST, registry={HOST_VERSION: "10.0", HOST_VERSION_32: "10.0"})
    assert work(plan_client(host, CONVERT))[-2:] == ["delete KeyManagementServiceVersion"] * 2


def test_a_run_that_died_before_the_restart_does_it() -> None:
    died = machine(
        product(status=5),
        publish=["corp.example.com"],
        registry={HOST_VERSION: "10.0"},
        KeyManagementServiceDnsPublishing=False,
    )
    assert work(plan_client(died, CONVERT)) == [
        "stop", "activate", "delete KeyManagementServiceVersion",
    ]  # fmt: skip


def interrupted(status: int = 1, server: str = "KMS1.example.com", **more: t.Any) -> Machine:
    """A conversion died while it activated: what it was done against was not put back."""
    return machine(
        product(status=status, product_id="client"),
        registry={HOST_VERSION: "10.0"},
        KeyManagementServiceDnsPublishing=False,
        KeyManagementServiceMachine=server,
        KeyManagementServicePort=1690,
        **more,
    )


@pytest.mark.parametrize("against", [("kms1.example.com", 1688), ("kms2.example.com", 1688), None])
def test_a_run_that_died_while_it_activated_leaves_no_transient_host(against: tuple[str, int] | None) -> None:
    """Whichever host answers this time, if any."""
    plan = plan_client(interrupted(), DesiredClient(convert_host=True, activate_against=against))
    assert work(plan)[1:] == [
        "ClearKeyManagementServiceMachine",
        "ClearKeyManagementServicePort",
        "delete KeyManagementServiceVersion",
    ]
    assert [(item.setting, item.before, item.after) for item in plan.changes] == [("server", "kms1.example.com", "")]


@pytest.mark.parametrize("against", ["kms1.example.com", "kms2.example.com"])
def test_a_transient_host_is_never_put_back_as_the_original(against: str) -> None:
    wish = DesiredClient(convert_host=True, activate_against=(against, 1688))
    (activate,) = [
        step.operation
        for step in plan_client(interrupted(status=5), wish).steps
        if isinstance(step.operation, ActivateAgainst)
    ]
    assert activate.original == ("", 0)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"server": ""}, ["ClearKeyManagementServiceMachine", "ClearKeyManagementServicePort"]),
        ({"server": "", "port": 0}, ["ClearKeyManagementServiceMachine", "ClearKeyManagementServicePort"]),
        ({"server": "kms1.example.com"}, ["ClearKeyManagementServicePort"]),
        ({"server": "kms1.example.com", "port": 1690}, []),
        (
            {"server": "kms2.example.com", "port": 1691},
            ["SetKeyManagementServiceMachine", "SetKeyManagementServicePort"],
        ),
    ],
)
def test_a_host_that_is_wished_takes_the_place_of_a_transient_one(settings: t.Any, steps: list[str]) -> None:
    plan = plan_client(interrupted(), DesiredClient(convert_host=True, settings=settings))
    assert work(plan)[1:-1] == steps


def test_the_host_of_the_cloud_is_not_taken_for_a_transient_one() -> None:
    plan = plan_client(interrupted(server="azkms.core.windows.net"), CONVERT)
    assert work(plan) == ["stop", "delete KeyManagementServiceVersion"]


def test_a_client_without_the_mark_keeps_the_host_that_it_is_fixed_to() -> None:
    fixed = machine(CLIENT, KeyManagementServiceMachine="kms1.example.com", KeyManagementServiceDnsPublishing=False)
    assert plan_client(fixed, CONVERT).steps == ()


@pytest.mark.parametrize(
    ("now", "settings", "original"),
    [
        ({}, {}, ("", 1688)),
        (
            {"KeyManagementServiceMachine": "old.example.com", "KeyManagementServicePort": 1690},
            {},
            ("old.example.com", 1690),
        ),
        ({"KeyManagementServiceMachine": "old.example.com"}, {"server": "", "port": 0}, ("", 0)),
        ({"KeyManagementServiceMachine": "kms1.example.com"}, {}, ("kms1.example.com", 1688)),
    ],
)
def test_what_an_activation_puts_back(now: t.Any, settings: t.Any, original: tuple[str, int]) -> None:
    wish = DesiredClient(activate_against=("kms1.example.com", 1688), settings=settings)
    (activate,) = [
        step.operation
        for step in plan_client(machine(product(status=5), **now), wish).steps
        if isinstance(step.operation, ActivateAgainst)
    ]
    assert activate.original == original


@pytest.mark.parametrize("name", ["kms1.corp.example.com", "KMS1.corp.example.com."])
def test_the_machine_that_is_meant_goes_by_its_own_name(name: str) -> None:
    plan_client(machine(CLIENT), DesiredClient(expected_fqdn=name))
    with pytest.raises(Refusal, match="expected_fqdn"):
        plan_client(machine(CLIENT), DesiredClient(expected_fqdn="web07.corp.example.com"))


@pytest.mark.parametrize("own", ["web07", None])
def test_a_machine_without_a_full_name_is_meant_by_an_empty_one(own: str | None) -> None:
    nameless = dataclasses.replace(machine(CLIENT), fqdn=own)
    plan_client(nameless, DesiredClient(expected_fqdn=""))
    with pytest.raises(Refusal, match="says that it is kms1.corp.example.com, not one without a full name"):
        plan_client(machine(CLIENT), DesiredClient(expected_fqdn=""))
    plan_client(machine(CLIENT), DesiredClient())
    with pytest.raises(Refusal, match="expected_fqdn"):
        plan_client(nameless, DesiredClient(expected_fqdn="web07.corp.example.com"))


@pytest.mark.parametrize(("name", "reads"), [(None, False), ("", True), ("kms1.corp.example.com", True)])
def test_the_name_is_read_where_one_is_expected(name: str | None, reads: bool) -> None:
    assert needs_of(DesiredClient(expected_fqdn=name)).fqdn is reads


def test_a_run_that_died_before_the_clean_up_does_it() -> None:
    died = machine(CLIENT, rules=(OPEN,), registry={RENEWAL: 1440}, KeyManagementServiceDnsPublishing=False)
    assert work(plan_client(died, CONVERT)) == ["stop", "delete VLRenewalInterval", "firewall"]


def test_a_converted_machine_is_left_alone() -> None:
    done = machine(CLIENT, publish=["corp.example.com"], rules=(rule(),), KeyManagementServiceDnsPublishing=False)
    assert plan_client(done, CONVERT).steps == ()


def test_a_machine_that_never_was_a_host_keeps_its_publishing_switch() -> None:
    assert plan_client(machine(CLIENT, rules=(rule(),)), CONVERT).steps == ()


def test_the_publish_list_is_deleted_when_it_is_asked_for() -> None:
    done = machine(CLIENT, publish=["corp.example.com, 0, 0"])
    plan = plan_client(done, DesiredClient(clear_publish_list=True))
    assert work(plan) == ["delete DnsDomainPublishList"]
    assert [(item.before, item.after) for item in plan.changes] == [(["corp.example.com, 0, 0"], [])]
    assert plan_client(machine(CLIENT), DesiredClient(clear_publish_list=True)).steps == ()


def test_the_publish_list_of_a_host_is_not_deleted() -> None:
    with pytest.raises(Refusal, match="clear_publish_list"):
        plan_client(machine(CLIENT, OFFICE_HOST), DesiredClient(clear_publish_list=True))


def test_a_machine_that_stays_an_office_host_stays_published() -> None:
    both = machine(HOST, OFFICE_HOST, rules=(OPEN,), registry={PORT: "1690", HOST_VERSION: "10.0"})
    plan = plan_client(both, CONVERT)
    assert work(plan) == ["install", "activate"]
    assert "NHHHH" in plan.warnings[0] and "stays a KMS host" in plan.warnings[0]


def test_an_office_host_key_goes_by_its_own_activation_id_and_windows_stays() -> None:
    office = Target(Application.OFFICE, "office-host")
    machine_now = machine(CLIENT, OFFICE_HOST, rules=(OPEN,), registry={})
    with pytest.raises(Refusal, match="convert_host"):
        plan_client(machine_now, DesiredClient(target=office))
    plan = plan_client(machine_now, DesiredClient(target=office, convert_host=True))
    assert work(plan) == [
        "stop",
        "write DisableDnsPublishing",
        "write KeyManagementServiceVersion",
        "uninstall",
        "stop",
        "firewall",
        "delete KeyManagementServiceVersion",
    ]
    assert [item.setting for item in plan.changes] == ["dns_publishing", "product_key", "firewall"]


SECOND = product("Volume:CSVLK", "NIIII", product_id="office-older", application_id=OFFICE_HOST_ID)


def without(*keys: str, **more: t.Any) -> DesiredClient:
    office = Target(Application.OFFICE)
    return DesiredClient(target=office, convert_host=True, host_keys=frozenset(keys), activate=False, **more)


def test_several_host_keys_of_office_go_at_once_and_the_role_with_the_last() -> None:
    now = machine(CLIENT, OFFICE_HOST, SECOND, rules=(OPEN,), publish=["corp.example.com, 0, 0"], registry={})
    plan = plan_client(now, without("office-host", "office-older", clear_publish_list=True))
    assert work(plan) == [
        "stop",
        "write DisableDnsPublishing",
        "write KeyManagementServiceVersion",
        "uninstall",
        "uninstall",
        "stop",
        "firewall",
        "delete KeyManagementServiceVersion",
        "delete DnsDomainPublishList",
    ]
    assert (plan.warnings, plan.restarts) == ((), True)
    assert all(s.operation.keeps_mark for s in plan.steps if isinstance(s.operation, UninstallKey))

    one = plan_client(now, without("office-older"))
    assert work(one) == ["uninstall"]  # the other stays, and the role
    assert "NHHHH" in one.warnings[0] and not one.restarts


def test_a_host_key_of_office_that_is_gone_is_passed_over_and_the_rest_is_done() -> None:
    died = machine(CLIENT, SECOND, rules=(OPEN,), registry={HOST_VERSION: "10.0"})
    assert work(plan_client(died, without("office-host", "office-older")))[-4:] == [
        "uninstall",
        "stop",
        "firewall",
        "delete KeyManagementServiceVersion",
    ]
    gone = machine(CLIENT, registry={HOST_VERSION: "10.0"}, KeyManagementServiceDnsPublishing=False)
    assert work(plan_client(gone, without("office-host"))) == ["stop", "delete KeyManagementServiceVersion"]


TIDY = DesiredClient(product_key="keep", activate=False, clear_publish_list=True)
LISTED = ["corp.example.com, 0, 0"]


@pytest.mark.parametrize("channel", ["Volume:MAK", "OEM:DM", "Retail", None])
def test_what_a_host_of_office_leaves_behind_goes_whatever_its_windows_is(channel: str | None) -> None:
    products = [product(channel, product_id="other")] if channel else []
    died = machine(*products, rules=(OPEN,), publish=LISTED, registry={HOST_VERSION: "10.0"})
    assert work(plan_client(died, TIDY)) == ["delete DnsDomainPublishList"]
    rest = dataclasses.replace(TIDY, target=Target(Application.OFFICE), convert_host=True, clear_publish_list=False)
    assert work(plan_client(died, rest)) == ["stop", "firewall", "delete KeyManagementServiceVersion"]


def test_a_licence_that_is_none_of_a_client_is_still_refused_where_more_is_wished() -> None:
    mak = machine(product("Volume:MAK", product_id="mak"), publish=LISTED, registry={})
    for more in ({"activate": True}, {"settings": {"host_caching": False}}, {"clear_publish_list": False}):
        with pytest.raises(Refusal, match="of the kind mak"):
            plan_client(mak, dataclasses.replace(TIDY, **more))
    with pytest.raises(Refusal, match="clear_publish_list"):
        plan_client(machine(product("Volume:MAK", product_id="mak"), OFFICE_HOST, publish=LISTED, registry={}), TIDY)


def test_only_host_keys_of_office_are_removed_by_their_ids() -> None:
    both = machine(HOST, OFFICE_HOST, registry={})
    plan = plan_client(both, without("office-host", "windows-host", "client"))
    assert [s.operation.target.activation_id for s in plan.steps if isinstance(s.operation, UninstallKey)] == [
        "office-host"
    ]


def test_where_it_published_itself() -> None:
    listed = machine(HOST, publish=["branch.example.net, 0, 0", "not, a, number"])
    assert published_as(listed) == [
        {"domain": "branch.example.net", "target": "kms1.corp.example.com"},
        {"domain": "corp.example.com", "target": "kms1.corp.example.com"},
    ]
