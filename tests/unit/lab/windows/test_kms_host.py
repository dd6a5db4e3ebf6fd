# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a KMS host answers, and what it counts."""

from __future__ import annotations

import pytest
from unit.lab.windows.kit import (
    DOMAIN,
    MAK,
    SmallWorld,
    activate,
    call,
    host_key,
    install,
    instances,
    keyed,
    product,
    refused,
    restart,
    service,
)

from lab.dns.names import Srv
from lab.windows.machine import Machine

OFFICE_2021, OFFICE_2024 = "FXYTK-NJJ8C-GB6DW-3DYQT-6F7TH", "XJ2XN-FW8RK-P4HMP-DKDBV-GCVGB"


def _publish(world: SmallWorld, *records: Srv) -> None:
    world.dictionary.records[DOMAIN] = list(records)


def _world_with_host(**host: object) -> tuple[SmallWorld, Machine]:
    world = SmallWorld()
    machine = world.host(**host)  # type: ignore[arg-type]
    _publish(world, Srv(0, 0, 1688, "kms1.corp.example.com"))
    return world, machine


def test_the_25th_client_is_the_first_to_be_activated() -> None:
    world, host = _world_with_host(count=0)
    clients = [world.client(f"pc{number}") for number in range(26)]
    codes = [activate(client) for client in clients]
    assert codes == [0xC004F038] * 24 + [0, 0]
    assert activate(clients[0]) == 0
    assert service(host)["KeyManagementServiceCurrentCount"] == 26
    assert service(host)["RequiredClientCount"] == 25


def test_five_servers_are_enough_for_servers_and_clients_count_for_them() -> None:
    world, host = _world_with_host(count=0)
    for number in range(4):
        assert activate(world.client(f"pc{number}")) == 0xC004F038
    assert activate(world.client("srv", "server2022/ServerStandard")) == 0
    assert activate(world.client("pc-late")) == 0xC004F038
    assert service(host)["KeyManagementServiceCurrentCount"] == 6


def test_a_repeated_or_duplicate_client_machine_id_counts_once() -> None:
    world, host = _world_with_host(count=0)
    first, second = world.client("pc1"), world.client("pc2")
    first.spp.client_machine_id = second.spp.client_machine_id = "11111111-2222-3333-4444-555555555555"
    for machine in (first, second, first):
        activate(machine)
    assert service(host)["KeyManagementServiceCurrentCount"] == 1


def test_the_count_ends_at_twice_the_threshold() -> None:
    world, host = _world_with_host(count=0)
    for number in range(12):
        activate(world.client(f"srv{number}", "server2022/ServerStandard"))
    assert service(host)["KeyManagementServiceCurrentCount"] == 10
    for number in range(60):
        activate(world.client(f"pc{number}"))
    assert service(host)["KeyManagementServiceCurrentCount"] == 50


def test_clients_are_forgotten_after_30_days() -> None:
    world, host = _world_with_host(count=0)
    activate(world.client("pc1"))
    world.advance(days=29)
    activate(world.client("pc2"))
    assert service(host)["KeyManagementServiceCurrentCount"] == 2
    world.advance(days=2)
    assert service(host)["KeyManagementServiceCurrentCount"] == 1


@pytest.mark.parametrize(
    ("product_name", "served", "not_served"),
    [
        ("server-2016", ["server2016", "windows10-ltsb2016", "windows10", "windows7"], ["server2019", "windows11"]),
        (
            "server-2019",
            ["server2019", "windows10-ltsc2019", "windows10"],
            ["server2022", "windows11", "windows10-ltsc2021"],
        ),
        ("server-2022", ["server2022", "windows11", "windows10-ltsc2021"], ["server2025", "windows11-ltsc2024"]),
        ("server-2025", ["server2025", "windows11-ltsc2024", "server2008r2", "windows7"], []),
    ],
)
def test_a_host_key_activates_up_to_its_own_generation(
    product_name: str, served: list[str], not_served: list[str]
) -> None:
    where = {"server-2016": "server2016", "server-2019": "server2019", "server-2025": "server2025"}
    world, _host = _world_with_host(product=product_name, windows=where.get(product_name, "server2022"))
    assert {name: activate(world.client(f"c-{name}", name)) for name in served} == dict.fromkeys(served, 0)
    assert {name: activate(world.client(f"c-{name}", name)) for name in not_served} == dict.fromkeys(
        not_served, 0xC004F042
    )


def test_the_client_host_key_activates_no_server() -> None:
    world, host = _world_with_host(product="windows-10", windows="windows10/Professional", count=30)
    host.rules[1].enabled = 1
    assert activate(world.client("pc", "windows10/Enterprise")) == 0
    assert activate(world.client("srv", "server2016/ServerStandard")) == 0xC004F042


def test_a_host_that_was_not_activated_says_so() -> None:
    world, host = _world_with_host()
    install(host, host_key("server-2022"))
    assert activate(world.client("pc1")) == 0xC004F041
    assert service(host)["IsKeyManagementServiceMachine"] == 1


def test_clock_skew_of_more_than_four_hours_is_refused() -> None:
    world, _host = _world_with_host()
    assert activate(world.client("pc1", clock_skew=-5 * 3600)) == 0xC004F06C
    assert activate(world.client("pc2", clock_skew=3 * 3600)) == 0


def test_counters_go_by_the_status_of_the_asking_client() -> None:
    world, host = _world_with_host()
    client = world.client("pc1")
    activate(client)
    activate(client)
    activate(world.client("new", "server2025/ServerStandard"))
    row = service(host)
    counted = {
        name.removeprefix("KeyManagementService").removesuffix("Requests"): value
        for name, value in row.items()
        if name.endswith("Requests") and value
    }
    assert counted == {"Total": 3, "Notification": 1, "Licensed": 1, "Failed": 1}
    assert product(host)["KeyManagementServiceTotalRequests"] == 3


def test_counters_of_a_machine_that_is_no_host_do_not_apply() -> None:
    row = service(SmallWorld().client("pc1"))
    assert row["KeyManagementServiceCurrentCount"] == row["RequiredClientCount"] == 4294967295
    assert row["KeyManagementServiceTotalRequests"] == row["VLRenewalInterval"] == 4294967295
    assert row["IsKeyManagementServiceMachine"] == 0


def test_host_logs_the_request_in_its_own_log() -> None:
    world, host = _world_with_host()
    client = world.client("pc1")
    activate(client)
    (event,) = [e for e in instances(host, "Win32_NTLogEvent") if e.values["EventCode"] == 12290]
    assert event.values["Logfile"] == "Key Management Service"
    assert event.values["InsertionStrings"][:4] == ["0x00000000", "25", client.fqdn, client.spp.client_machine_id]


def test_office_is_counted_apart_and_needs_its_own_host_key() -> None:
    world, host = _world_with_host(office_pack=("office-2021",))
    clients = [world.machine(f"pc{n}", "windows11", office=("Professional Plus/2021",)) for n in range(5)]
    for client in clients:
        install(client, OFFICE_2021)
    assert activate(clients[0]) == 0xC004F042
    install(host, host_key("office-2021"))
    (office,) = [row for row in keyed(host) if row["ApplicationID"].startswith("0ff1ce16")]
    assert activate(clients[0]) == 0xC004F041
    call(host, "SoftwareLicensingProduct", "Activate", chosen=office["ID"])
    assert [activate(client) for client in clients] == [0xC004F038] * 4 + [0]


def test_an_older_office_host_key_does_not_activate_a_newer_office() -> None:
    world, host = _world_with_host(office_pack=("office-2021",))
    install(host, host_key("office-2021"))
    (office,) = [row for row in keyed(host) if row["ApplicationID"].startswith("0ff1ce16")]
    call(host, "SoftwareLicensingProduct", "Activate", chosen=office["ID"])
    client = world.machine("pc", "windows11", office=("Professional Plus/2024",))
    install(client, OFFICE_2024)
    assert activate(client) == 0xC004F042


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("SetKeyManagementServiceListeningPort", {"PortNumber": 1690}),
        ("ClearKeyManagementServiceListeningPort", {}),
        ("DisableKeyManagementServiceDnsPublishing", {"DisablePublishing": True}),
        ("EnableKeyManagementServiceLowPriority", {"EnableLowPriority": True}),
        ("SetVLActivationInterval", {"ActivationInterval": 60}),
        ("SetVLRenewalInterval", {"RenewalInterval": 60}),
    ],
)
def test_host_only_methods_refuse_elsewhere(method: str, arguments: dict[str, object]) -> None:
    world = SmallWorld()
    assert refused(world.client("pc1"), "SoftwareLicensingService", method, **arguments) == 0xC004F039
    assert refused(world.host(), "SoftwareLicensingService", method, **arguments) == 0


@pytest.mark.parametrize(("minutes", "code"), [(14, 0x80070057), (15, 0), (43200, 0), (43201, 0x80070057)])
def test_range_of_the_intervals(minutes: int, code: int) -> None:
    host = SmallWorld().host()
    assert refused(host, "SoftwareLicensingService", "SetVLRenewalInterval", RenewalInterval=minutes) == code


def test_clients_take_the_intervals_of_their_host() -> None:
    world, host = _world_with_host()
    call(host, "SoftwareLicensingService", "SetVLRenewalInterval", RenewalInterval=1440)
    client = world.client("pc1")
    activate(client)
    assert product(client)["VLRenewalInterval"] == 1440


def test_a_former_host_answers_until_its_service_restarts() -> None:
    world, host = _world_with_host()
    assert install(host, "VDYBN-27WPP-V4HQT-9VMD4-VMK7H") == 0
    assert service(host)["IsKeyManagementServiceMachine"] == 0
    assert activate(world.client("pc1")) == 0
    restart(host)
    assert activate(world.client("pc2")) == 0xC004F074


def test_a_machine_with_another_key_is_no_host() -> None:
    world = SmallWorld()
    machine = world.machine("srv")
    install(machine, MAK)
    machine.rules[0].enabled, machine.rules[0].profiles = 1, 3
    assert machine.kms_port() is None
