# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a KMS client finds its host, and what it shows afterwards."""

from __future__ import annotations

import collections

import pytest
from unit.lab.windows.kit import (
    DOMAIN,
    SmallWorld,
    activate,
    call,
    host_key,
    instances,
    product,
    refused,
    reg,
    service,
)

from lab.dns.names import REFUSED, SERVER_FAILURE, Srv
from lab.windows.centre import ActivationObject
from lab.windows.machine import Machine, Network

SERVICE = "SoftwareLicensingService"


def _two_hosts(first: Srv | None = None, second: Srv | None = None) -> tuple[SmallWorld, Machine, Machine]:
    world = SmallWorld()
    hosts = world.host("kms1"), world.host("kms2")
    world.dictionary.records[DOMAIN] = [
        first or Srv(10, 100, 1688, "kms1.corp.example.com"),
        second or Srv(20, 100, 1688, "kms2.corp.example.com"),
    ]
    return world, *hosts


def _used(machine: Machine) -> str:
    return str(product(machine)["DiscoveredKeyManagementServiceMachineName"])


def test_what_a_success_shows() -> None:
    world, host, _second = _two_hosts()
    client = world.client("pc1")
    assert service(client)["ClientMachineID"] == ""
    assert activate(client) == 0
    row = product(client)
    assert (row["LicenseStatus"], row["LicenseStatusReason"], row["GracePeriodRemaining"]) == (1, 0, 259200)
    assert (row["VLActivationType"], row["DiscoveredKeyManagementServiceMachinePort"]) == (2, 1688)
    assert row["KeyManagementServiceProductKeyID"] == product(host)["ProductKeyID"]
    assert service(client)["DiscoveredKeyManagementServiceMachineName"] == "kms1.corp.example.com"
    assert service(client)["ClientMachineID"]
    assert row["KeyManagementServiceTotalRequests"] == 4294967295


def test_events_of_a_success_and_of_a_dead_host() -> None:
    world, host, _second = _two_hosts()
    host.powered = False
    client = world.client("pc1")
    activate(client)
    events = [(e.values["EventCode"], e.values["InsertionStrings"]) for e in instances(client, "Win32_NTLogEvent")]
    codes = [(code, strings[0]) for code, strings in reversed(events)]
    assert codes == [(12288, "0x800706BA"), (12288, "0x00000000"), (12289, "0x00000000")]
    assert events[-1][1][2] == "kms1.corp.example.com:1688"


def test_old_windows_logs_one_comma_delimited_string() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1", "windows7/Enterprise")
    activate(client)
    strings = instances(client, "Win32_NTLogEvent")[0].values["InsertionStrings"]
    assert len(strings) == 1 and strings[0].startswith("0x00000000,")


def test_lowest_priority_first_and_the_next_when_no_session_can_be_set_up() -> None:
    world, host, _second = _two_hosts()
    first = world.client("pc1")
    activate(first)
    host.powered = False
    second = world.client("pc2")
    activate(second)
    assert (_used(first), _used(second)) == ("kms1.corp.example.com", "kms2.corp.example.com")


def test_an_answer_is_final_even_when_another_host_would_do() -> None:
    world, host, _second = _two_hosts()
    host.spp.roles[0].seen.clear()
    assert activate(world.client("pc1")) == 0xC004F038


def test_a_rogue_at_priority_zero_takes_everybody() -> None:
    world, _first, _second = _two_hosts(second=Srv(0, 0, 1688, "kms2.corp.example.com"))
    clients = [world.client(f"pc{number}") for number in range(20)]
    for client in clients:
        activate(client)
    assert {_used(client) for client in clients} == {"kms2.corp.example.com"}


@pytest.mark.parametrize(("weights", "share"), [((100, 100), 0.5), ((300, 100), 0.75), ((0, 0), 0.5)])
def test_weight_shares_one_priority(weights: tuple[int, int], share: float) -> None:
    world, _first, _second = _two_hosts(
        Srv(10, weights[0], 1688, "kms1.corp.example.com"), Srv(10, weights[1], 1688, "kms2.corp.example.com")
    )
    client = world.client("pc1")
    call(client, SERVICE, "DisableKeyManagementServiceHostCaching", DisableCaching=True)
    used: collections.Counter[str] = collections.Counter()
    for _time in range(400):
        activate(client)
        used[_used(client)] += 1
    assert abs(used["kms1.corp.example.com"] / 400 - share) < 0.1


def test_the_cached_host_is_kept_until_it_fails() -> None:
    world, host, _second = _two_hosts()
    client = world.client("pc1")
    activate(client)
    world.dictionary.records[DOMAIN] = [Srv(0, 0, 1688, "kms2.corp.example.com")]
    activate(client)
    assert _used(client) == "kms1.corp.example.com"
    host.powered = False
    activate(client)
    assert _used(client) == "kms2.corp.example.com"


def test_without_host_caching_clients_follow_dns() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    call(client, SERVICE, "DisableKeyManagementServiceHostCaching", DisableCaching=True)
    activate(client)
    world.dictionary.records[DOMAIN] = [Srv(0, 0, 1688, "kms2.corp.example.com")]
    activate(client)
    assert _used(client) == "kms2.corp.example.com"


def test_clearing_the_fixed_host_forgets_the_cached_one() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    activate(client)
    call(client, SERVICE, "ClearKeyManagementServiceMachine")
    assert service(client)["DiscoveredKeyManagementServiceMachineName"] == ""


def test_a_fixed_host_beats_dns_and_there_is_no_other() -> None:
    world, _first, second = _two_hosts()
    client = world.client("pc1")
    call(client, SERVICE, "SetKeyManagementServiceMachine", MachineName="kms2.corp.example.com")
    assert activate(client) == 0
    assert second.spp.roles[0].requests["Total"] == 1
    second.powered = False
    assert activate(client) == 0xC004F074


def test_a_setting_of_the_product_beats_that_of_the_service() -> None:
    world, first, second = _two_hosts()
    client = world.client("pc1")
    call(client, SERVICE, "SetKeyManagementServiceMachine", MachineName="kms2.corp.example.com")
    call(client, "SoftwareLicensingProduct", "SetKeyManagementServiceMachine", MachineName="kms1.corp.example.com")
    activate(client)
    assert (first.spp.roles[0].requests["Total"], second.spp.roles[0].requests["Total"]) == (1, 0)


def test_the_port_of_the_fixed_host_counts() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    assert (service(client)["KeyManagementServicePort"], product(client)["KeyManagementServicePort"]) == (1688, 0)
    call(client, SERVICE, "SetKeyManagementServiceMachine", MachineName="kms1.corp.example.com")
    call(client, SERVICE, "SetKeyManagementServicePort", PortNumber=1690)
    assert activate(client) == 0xC004F074
    call(client, SERVICE, "ClearKeyManagementServicePort")
    assert activate(client) == 0
    assert refused(client, SERVICE, "SetKeyManagementServicePort", PortNumber=0) == 0x80070057


def test_a_port_written_as_a_number_is_not_seen() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    call(client, SERVICE, "SetKeyManagementServiceMachine", MachineName="kms1.corp.example.com")
    reg(client, "SetDWORDValue", "KeyManagementServicePort", 1690)
    assert activate(client) == 0


def test_the_lookup_domain_replaces_all_other_zones() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    call(client, SERVICE, "SetKeyManagementServiceLookupDomain", LookupDomain="branch.example.net")
    assert activate(client) == 0x8007232B
    call(client, SERVICE, "ClearKeyManagementServiceLookupDomain")
    assert activate(client) == 0


def test_zones_are_searched_in_turn() -> None:
    world, _first, _second = _two_hosts()
    network = Network(dns_suffix="lab.example.com", ad_domain="", dhcp_domain=DOMAIN)
    assert activate(world.client("pc1", network=network)) == 0
    listed = Network(dns_suffix=DOMAIN, ad_domain=DOMAIN, search_list=("lab.example.com", "other.example.com"))
    assert activate(world.client("pc2", network=listed)) == 0x8007232B


def test_no_suffix_no_record_and_failing_dns_are_told_apart() -> None:
    world, _first, _second = _two_hosts()
    assert activate(world.client("pc1", domain="", network=Network())) == 0x8007007B
    assert activate(world.client("pc2", domain="lab.example.com")) == 0x8007232B
    world.dictionary.failures["lab.example.com"] = SERVER_FAILURE
    assert activate(world.client("pc3", domain="lab.example.com")) == 0x8007232A
    world.dictionary.failures["lab.example.com"] = REFUSED
    assert activate(world.client("pc4", domain="lab.example.com")) == REFUSED


def test_hosts_behind_closed_firewalls_or_stopped_services_cannot_be_reached() -> None:
    world, first, second = _two_hosts()
    call(first, "MSFT_NetFirewallRule", "Disable", "root/StandardCimv2", chosen="SPPSVC-In-TCP")
    call(second, "Win32_Service", "StopService")
    client = world.client("pc1")
    assert activate(client) == 0xC004F074
    call(second, "Win32_Service", "StartService")
    assert activate(client) == 0
    assert _used(client) == "kms2.corp.example.com"


def test_a_record_of_an_unknown_machine_is_passed_over() -> None:
    world, _first, _second = _two_hosts(first=Srv(0, 0, 1688, "gone.corp.example.com"))
    client = world.client("pc1")
    assert activate(client) == 0
    assert _used(client) == "kms2.corp.example.com"


def test_directory_activation_comes_first_and_knows_no_threshold() -> None:
    world, _first, _second = _two_hosts()
    key = world.keys.find(host_key("server-2022"))
    assert key is not None
    world.ad_objects.append(ActivationObject("Windows 2022", key))
    joined, alone = world.client("pc1"), world.client("pc2", network=Network(dns_suffix=DOMAIN))
    too_new, too_old = world.client("srv", "server2025/ServerStandard"), world.client("old", "windows7/Enterprise")
    for client in (joined, alone, too_new, too_old):
        activate(client)
    assert product(joined)["VLActivationType"] == 1
    assert product(joined)["ADActivationObjectName"] == "Windows 2022"
    assert product(alone)["VLActivationType"] == 2
    assert product(too_new)["LicenseStatus"] == 5
    assert (product(too_old)["LicenseStatus"], too_old.spp.licences[product(too_old)["ID"]].activation_type) == (1, 2)


def test_the_allowed_activation_type_decides() -> None:
    world, _first, _second = _two_hosts()
    key = world.keys.find(host_key("server-2022"))
    assert key is not None
    client = world.client("pc1")
    call(client, SERVICE, "SetVLActivationTypeEnabled", ActivationType=1)
    assert activate(client) == 0xC004F081
    world.ad_objects.append(ActivationObject("Windows 2022", key))
    call(client, SERVICE, "SetVLActivationTypeEnabled", ActivationType=2)
    activate(client)
    assert (product(client)["VLActivationType"], product(client)["VLActivationTypeEnabled"]) == (2, 2)
    assert refused(client, SERVICE, "SetVLActivationTypeEnabled", ActivationType=4) == 0x80070057


def test_the_licence_ends_after_180_days() -> None:
    world, _first, _second = _two_hosts()
    client = world.client("pc1")
    activate(client)
    world.advance(days=179, hours=23)
    assert (product(client)["LicenseStatus"], product(client)["GracePeriodRemaining"]) == (1, 60)
    world.advance(hours=2)
    assert product(client)["LicenseStatus"] == 3
    world.advance(days=31)
    assert (product(client)["LicenseStatus"], product(client)["LicenseStatusReason"]) == (5, 0xC004F056)
