# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""sppsvc, the registry behind it, the firewall rule, publishing in DNS, and machines that die."""

from __future__ import annotations

import asyncio

import pytest
from unit.lab.windows.kit import DOMAIN, SPP_KEY, SmallWorld, call, host_key, install, instances, reg, restart, service

from lab.cim import CimError
from lab.dns.names import REFUSED, SERVER_FAILURE, Srv
from lab.windows.machine import Machine

BRANCH = "branch.example.net"


def _state(machine: Machine) -> str:
    return str(next(i for i in instances(machine, "Win32_Service") if i.values["Name"] == "sppsvc").values["State"])


def _events(machine: Machine, *codes: int) -> list[tuple[int, list[str]]]:
    events = [(e.values["EventCode"], e.values["InsertionStrings"]) for e in instances(machine, "Win32_NTLogEvent")]
    return [event for event in reversed(events) if event[0] in codes]


# -- the service


def test_an_idle_service_has_stopped_and_any_licensing_call_starts_it() -> None:
    world = SmallWorld()
    machine = world.client("pc1")
    assert _state(machine) == "Running"
    world.advance(minutes=5)
    assert _state(machine) == "Stopped"
    service(machine)
    assert _state(machine) == "Running"


def test_a_host_does_not_stop_when_idle() -> None:
    world = SmallWorld()
    host = world.host()
    world.advance(days=1)
    assert _state(host) == "Running"


def test_return_codes_of_start_and_stop() -> None:
    machine = SmallWorld().client("pc1")
    codes = [call(machine, "Win32_Service", m)["ReturnValue"] for m in ("StartService", "StopService", "StopService")]
    assert codes == [10, 0, 6]
    machine.service.disabled = True
    assert call(machine, "Win32_Service", "StartService")["ReturnValue"] == 14


def test_start_and_stop_take_their_time() -> None:
    async def run() -> list[str]:
        world = SmallWorld(pending_seconds=0.01)
        machine = world.machine("srv")
        seen = []
        for operation in (machine.service.start, machine.service.stop):
            assert operation() == 0
            seen.append(machine.service.state)
            if machine.service.state == "Stop Pending":
                with pytest.raises(CimError, match="0xC004F075"):
                    service(machine)
                assert machine.service.start() == 5
            await world.settle()
            seen.append(machine.service.state)
        return seen

    assert asyncio.run(run()) == ["Start Pending", "Running", "Stop Pending", "Stopped"]


# -- the registry


def test_values_are_typed_and_the_wrong_getter_fails() -> None:
    machine = SmallWorld().machine("srv")
    assert (
        reg(machine, "SetMultiStringValue", "DnsDomainPublishList", ["corp.example.com, 10, 100"])["ReturnValue"] == 0
    )
    assert reg(machine, "GetMultiStringValue", "DnsDomainPublishList")["sValue"] == ["corp.example.com, 10, 100"]
    wrong = reg(machine, "GetStringValue", "DnsDomainPublishList")
    assert wrong["ReturnValue"] == 1 and wrong["sValue"] is None
    assert reg(machine, "GetDWORDValue", "DisableDnsPublishing")["ReturnValue"] == 2
    found = reg(machine, "EnumValues")
    assert dict(zip(found["sNames"], found["Types"], strict=True)) == {"DnsDomainPublishList": 7}


def test_a_set_on_a_missing_key_fails_until_the_key_is_created() -> None:
    machine = SmallWorld().machine("srv")
    key = SPP_KEY + "\\application\\product"
    assert reg(machine, "SetDWORDValue", "VLActivationType", 2, key)["ReturnValue"] == 2
    assert reg(machine, "CreateKey", key=key)["ReturnValue"] == 0
    assert reg(machine, "SetDWORDValue", "VLActivationType", 2, key)["ReturnValue"] == 0
    assert reg(machine, "EnumKey")["sNames"] == ["Activation", "application"]
    assert reg(machine, "DeleteKey")["ReturnValue"] == 5
    assert reg(machine, "DeleteKey", key=key)["ReturnValue"] == 0
    assert reg(machine, "EnumKey", key=key) == {"ReturnValue": 2, "sNames": None}


def test_an_empty_list_cannot_be_written_but_deleted() -> None:
    machine = SmallWorld().machine("srv")
    reg(machine, "SetMultiStringValue", "DnsDomainPublishList", ["a.example.com"])
    assert reg(machine, "SetMultiStringValue", "DnsDomainPublishList", [])["ReturnValue"] == 87
    assert reg(machine, "DeleteValue", "DnsDomainPublishList")["ReturnValue"] == 0
    assert reg(machine, "DeleteValue", "DnsDomainPublishList")["ReturnValue"] == 2


def test_methods_and_registry_are_two_views_of_one_setting() -> None:
    host = SmallWorld().host()
    call(host, "SoftwareLicensingService", "SetKeyManagementServiceListeningPort", PortNumber=1690)
    assert reg(host, "GetStringValue", "KeyManagementServiceListeningPort")["sValue"] == "1690"
    assert reg(host, "GetDWORDValue", "KeyManagementServiceListeningPort")["ReturnValue"] == 1
    reg(host, "SetDWORDValue", "DisableDnsPublishing", 1)
    assert service(host)["KeyManagementServiceDnsPublishing"] is False
    call(host, "SoftwareLicensingService", "DisableKeyManagementServiceDnsPublishing", DisablePublishing=False)
    assert reg(host, "GetDWORDValue", "DisableDnsPublishing")["uValue"] == 0


def test_identity_is_in_the_registry() -> None:
    machine = SmallWorld().machine("KMS1")
    tcpip = "SYSTEM\\CurrentControlSet\\Services\\Tcpip\\Parameters"
    assert reg(machine, "GetStringValue", "Hostname", key=tcpip)["sValue"] == "kms1"
    assert reg(machine, "GetStringValue", "Domain", key=tcpip)["sValue"] == DOMAIN
    version = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"
    assert reg(machine, "GetStringValue", "EditionID", key=version)["sValue"] == "ServerStandard"
    assert reg(machine, "GetStringValue", "CurrentBuildNumber", key=version)["sValue"] == "20348"


# -- the firewall rule


def test_the_rule_opens_1688_in_its_profiles_only() -> None:
    world = SmallWorld()
    host = world.host()
    cim_class = host.repository.find_class("root/standardcimv2", "MSFT_NetFirewallRule")
    assert cim_class is not None

    def put(**changes: int) -> None:
        rule = next(i for i in host.repository.instances(cim_class) if i.values["InstanceID"] == "SPPSVC-In-TCP")
        asyncio.run(host.repository.modify(cim_class, rule, changes))

    put(Enabled=1, Profiles=6)
    assert host.kms_port() is None
    put(Profiles=7)
    assert host.kms_port() == 1688
    with pytest.raises(CimError):
        put(Enabled=3)
    with pytest.raises(CimError):
        put(Direction=2)


def test_fresh_rules_are_disabled_and_client_windows_has_two() -> None:
    world = SmallWorld()
    for machine, names in ((world.machine("srv"), 1), (world.machine("pc", "windows11"), 2)):
        rules = [i.values for i in instances(machine, "MSFT_NetFirewallRule", "root/StandardCimv2")]
        kms = [rule for rule in rules if rule["RuleGroup"] == "@FirewallAPI.dll,-28002"]
        assert len(kms) == names < len(rules)
        assert {rule["Enabled"] for rule in kms} == {2}


def test_another_listening_port_takes_a_restart_and_stays_closed() -> None:
    host = SmallWorld().host()
    call(host, "SoftwareLicensingService", "SetKeyManagementServiceListeningPort", PortNumber=1690)
    assert service(host)["KeyManagementServiceListeningPort"] == 1690
    assert host.kms_port() == 1688
    restart(host)
    assert host.kms_port() is None
    host.network.open_ports = (1690,)
    assert host.kms_port() == 1690


# -- publishing


def _host_with_list(*entries: str) -> tuple[SmallWorld, Machine]:
    world = SmallWorld()
    host = world.host()
    if entries:
        reg(host, "SetMultiStringValue", "DnsDomainPublishList", list(entries))
    return world, host


def test_activation_alone_publishes_nothing() -> None:
    world, _host = _host_with_list()
    assert world.dictionary.records == {}


def test_without_a_list_the_primary_suffix_is_published() -> None:
    world, host = _host_with_list()
    restart(host)
    assert world.dictionary.records == {DOMAIN: [Srv(0, 0, 1688, "kms1.corp.example.com")]}
    assert _events(host, 12293, 12294) == [(12294, [DOMAIN])]


def test_the_list_is_read_at_the_start_of_the_service() -> None:
    world, host = _host_with_list(f"{DOMAIN}, 10, 100", BRANCH, "broken, x, y")
    service(host)
    assert world.dictionary.records == {}
    restart(host)
    assert world.dictionary.records == {
        DOMAIN: [Srv(10, 100, 1688, "kms1.corp.example.com")],
        BRANCH: [Srv(0, 0, 1688, "kms1.corp.example.com")],
    }


def test_a_new_value_replaces_the_own_old_one_or_joins_it() -> None:
    for republish, count in (("replace", 2), ("add", 3)):
        world, host = _host_with_list(f"{DOMAIN}, 10, 100")
        world.policy.republish = republish
        world.dictionary.records[DOMAIN] = [Srv(0, 0, 1688, "other.corp.example.com")]
        restart(host)
        reg(host, "SetMultiStringValue", "DnsDomainPublishList", [f"{DOMAIN}, 20, 50"])
        restart(host)
        assert len(world.dictionary.records[DOMAIN]) == count


@pytest.mark.parametrize("reason", ["not activated", "publishing off", "key gone"])
def test_who_does_not_publish(reason: str) -> None:
    world, host = _host_with_list()
    if reason == "not activated":
        install(host, host_key("server-2022"))
    elif reason == "publishing off":
        call(host, "SoftwareLicensingService", "DisableKeyManagementServiceDnsPublishing", DisablePublishing=True)
    else:
        install(host, "VDYBN-27WPP-V4HQT-9VMD4-VMK7H")
    restart(host)
    assert world.dictionary.records == {}


def test_a_host_does_not_withdraw_its_record() -> None:
    world, host = _host_with_list()
    restart(host)
    install(host, "VDYBN-27WPP-V4HQT-9VMD4-VMK7H")
    restart(host)
    assert DOMAIN in world.dictionary.records


@pytest.mark.parametrize(("failure", "code"), [(REFUSED, "0x80072338"), (SERVER_FAILURE, "0x8007232A")])
def test_a_failed_update_is_logged(failure: int, code: str) -> None:
    world, host = _host_with_list(DOMAIN, BRANCH)
    world.dictionary.failures[BRANCH] = failure
    restart(host)
    assert _events(host, 12293, 12294) == [(12294, [DOMAIN]), (12293, [code, BRANCH])]


def test_a_machine_can_be_refused_by_name() -> None:
    world, host = _host_with_list(DOMAIN, BRANCH)
    host.publish_refused = {DOMAIN}
    restart(host)
    assert list(world.dictionary.records) == [BRANCH]


def test_publishing_again_every_24_hours_and_at_power_on() -> None:
    world, host = _host_with_list()
    restart(host)
    world.dictionary.records.clear()
    world.advance(hours=23)
    asyncio.run(host.run_due())
    assert world.dictionary.records == {}
    world.advance(hours=2)
    asyncio.run(host.run_due())
    assert DOMAIN in world.dictionary.records
    world.dictionary.records.clear()
    host.powered = False
    host.powered = True
    asyncio.run(world.settle())
    assert DOMAIN in world.dictionary.records


# -- machines that die


def test_a_machine_dies_after_some_writes_and_reads_do_not_count() -> None:
    machine = SmallWorld().machine("srv")
    machine.die_after_writes = 2
    reg(machine, "GetStringValue", "KeyManagementServiceName")
    reg(machine, "SetStringValue", "KeyManagementServiceName", "a")
    assert machine.powered
    reg(machine, "SetStringValue", "KeyManagementServiceName", "b")
    assert not machine.powered
    machine.powered = True
    assert reg(machine, "SetStringValue", "KeyManagementServiceName", "c")["ReturnValue"] == 0


def test_a_machine_dies_of_a_method() -> None:
    machine = SmallWorld().machine("srv")
    machine.die_on_method = "StopService"
    machine.service.start()
    call(machine, "Win32_Service", "StopService")
    assert not machine.powered
