# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Windows DNS server shows and changes the zones of the embedded name server."""

from __future__ import annotations

import asyncio
import typing as t

import pytest

from lab.cim import CimClass, CimError, Instance
from lab.fleet import Fleet, FleetError, load
from lab.windows.machine import Machine

DOMAIN = "corp.example.com"
OWNER = f"_vlmcs._tcp.{DOMAIN}"


@pytest.fixture
def fleet() -> Fleet:
    records = [{"name": OWNER, "type": "SRV", "data": f"0 0 1688 kms1.{DOMAIN}.", "ttl": 600}]
    return load(
        {
            "dns": {"zones": {DOMAIN: {"policy": "deny", "records": records}}},
            "machines": {
                "dns1": {"domain": DOMAIN, "dns_server": True},
                "srv1": {"domain": DOMAIN},
            },
        }
    )


@pytest.fixture
def server(fleet: Fleet) -> Machine:
    return fleet.machines[f"dns1.{DOMAIN}"]


def record_class(machine: Machine, kind: str = "SRV") -> CimClass:
    found = machine.repository.find_class("root/MicrosoftDNS", f"MicrosoftDNS_{kind}Type")
    assert found is not None
    return found


def records(machine: Machine, kind: str = "SRV") -> list[Instance]:
    return list(machine.repository.instances(record_class(machine, kind)))


def call(machine: Machine, method: str, instance: Instance | None = None, **arguments: t.Any) -> None:
    found = record_class(machine).find_method(method)
    assert found is not None
    asyncio.run(machine.repository.invoke(record_class(machine), instance, found, arguments))


def create(machine: Machine, **more: t.Any) -> None:
    arguments = {
        "DnsServerName": machine.fqdn,
        "ContainerName": DOMAIN,
        "OwnerName": OWNER,
        "Priority": 10,
        "Weight": 100,
        "Port": 1688,
        "SRVDomainName": f"kms2.{DOMAIN}.",
    }
    call(machine, "CreateInstanceFromPropertyData", **{**arguments, **more})


def data(machine: Machine) -> set[t.Any]:
    return {instance.values["RecordData"] for instance in records(machine)}


def test_only_a_dns_server_has_the_namespace(fleet: Fleet, server: Machine) -> None:
    other = fleet.machines[f"srv1.{DOMAIN}"].repository
    assert server.repository.find_namespace("ROOT\\MicrosoftDNS")
    assert not other.find_namespace("root/MicrosoftDNS")
    assert other.find_class("root/MicrosoftDNS", "MicrosoftDNS_SRVType") is None


def test_each_value_is_an_instance_and_a_zone_has_one_soa(server: Machine) -> None:
    (record,) = records(server)
    assert (record.values["OwnerName"], record.values["ContainerName"]) == (OWNER, DOMAIN)
    assert (record.values["SRVDomainName"], record.values["TTL"]) == (f"kms1.{DOMAIN}.", 600)
    assert [soa.values["OwnerName"] for soa in records(server, "SOA")] == [DOMAIN]


def test_an_administrator_creates_modifies_and_deletes_where_updates_are_denied(server: Machine) -> None:
    create(server)
    old = next(record for record in records(server) if record.values["Priority"] == 10)
    call(server, "Modify", old, Priority=20)
    assert data(server) == {f"0 0 1688 kms1.{DOMAIN}.", f"20 100 1688 kms2.{DOMAIN}."}
    for record in records(server):
        asyncio.run(server.repository.delete(record_class(server), record))
    assert data(server) == set()


@pytest.mark.parametrize(
    "more",
    [
        {"ContainerName": "example.org"},
        {"DnsServerName": "elsewhere.example.org"},
        {"Priority": 0, "Weight": 0, "SRVDomainName": f"kms1.{DOMAIN}"},
    ],
)
def test_a_foreign_zone_a_foreign_server_and_a_known_value_are_refused(server: Machine, more: dict[str, t.Any]) -> None:
    with pytest.raises(CimError):
        create(server, **more)
    assert data(server) == {f"0 0 1688 kms1.{DOMAIN}."}


def test_it_needs_the_embedded_server() -> None:
    with pytest.raises(FleetError):
        load({"dns": {"server": "127.0.0.1:53"}, "machines": {"dns1": {"domain": DOMAIN, "dns_server": True}}})
