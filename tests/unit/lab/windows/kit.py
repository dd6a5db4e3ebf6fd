# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world for tests of the machines: time stands still, services start at once, DNS is a dictionary."""

from __future__ import annotations

import asyncio
import datetime as dt
import typing as t

from lab.cim import CimError, Instance
from lab.dns.names import NAME_ERROR, DnsFailure, Srv
from lab.windows import data
from lab.windows.clock import Clock
from lab.windows.keys import KeyBook
from lab.windows.machine import Machine, Network
from lab.windows.world import Policy, World

DOMAIN = "corp.example.com"
START = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.timezone.utc)
HKLM = 0x80000002
SPP_KEY = "SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform"


def host_key(product: str) -> str:
    """The invented host key of a product."""
    ending = {
        "windows-10": "HKW22",
        "server-2012r2-win10": "HK2R2",
        "server-2016": "HK226",
        "server-2019": "HK229",
        "server-2022": "HK222",
        "server-2025": "HK2X2",
        "office-2016": "HKF26",
        "office-2019": "HKF29",
        "office-2021": "HKF2X",
        "office-2024": "HKF24",
    }[product]
    return f"XXXXX-XXXXX-NXXXX-XXXXX-{ending}"


MAK = "XXXXX-XXXXX-NXXXX-XXXXX-MK222"
BLOCKED = "XXXXX-XXXXX-NXXXX-XXXXX-BK222"

KEYS: list[dict[str, t.Any]] = [
    *(
        {"key": host_key(product), "kind": "csvlk", "product": product}
        for product in (*data.host_key_products(), *data.office_host_key_products())
    ),
    {"key": MAK, "kind": "mak", "limit": 2},
    {"key": BLOCKED, "kind": "csvlk", "product": "server-2022", "blocked": True},
]


class DictionaryDns:
    """A NameService without a network; ``failures`` are HRESULTs by domain."""

    def __init__(self) -> None:
        self.records: dict[str, list[Srv]] = {}
        self.failures: dict[str, int] = {}

    async def lookup_srv(self, domain: str, source: str) -> list[Srv]:
        if domain in self.failures:
            raise DnsFailure(self.failures[domain])
        if domain not in self.records:
            raise DnsFailure(NAME_ERROR)
        return list(self.records[domain])

    async def publish(self, domain: str, record: Srv, source: str, replace: bool) -> None:
        if domain in self.failures:
            raise DnsFailure(self.failures[domain])
        kept = [old for old in self.records.get(domain, []) if not (replace and old.target == record.target)]
        self.records[domain] = [*kept, record]


class SmallWorld(World):
    """A world whose machines are made by ``machine`` and whose calls are made by ``call``."""

    def __init__(self, **policy: t.Any) -> None:
        self.dictionary = DictionaryDns()
        super().__init__(
            KeyBook(KEYS),
            Clock(START),
            self.dictionary,
            Policy(**{"pending_seconds": 0.0, "publish_seconds": 0.0, **policy}),
            seed=1,
        )

    def machine(
        self, name: str, windows: str = "server2022/ServerStandard", domain: str = DOMAIN, **more: t.Any
    ) -> Machine:
        generation, _slash, edition = windows.partition("/")
        row = data.generations()[generation]
        network = more.pop("network", None) or Network(dns_suffix=domain, ad_domain=domain)
        full = f"{name}.{domain}" if domain else name
        return Machine(full, self, row, data.editions()[edition or row.editions[0]], network=network, **more)

    def client(self, name: str, windows: str = "windows11/Professional", **more: t.Any) -> Machine:
        """A machine with its published client key."""
        machine = self.machine(name, windows, **more)
        setup = data.find_setup_key(machine.edition.edition_id, machine.generation.build)
        assert setup is not None
        call(machine, "SoftwareLicensingService", "InstallProductKey", ProductKey=setup.key)
        return machine

    def host(self, name: str = "kms1", product: str = "server-2022", count: int = 50, **more: t.Any) -> Machine:
        """An activated host behind an open firewall that has counted some clients already."""
        machine = self.machine(name, **more)
        call(machine, "SoftwareLicensingService", "InstallProductKey", ProductKey=host_key(product))
        call(machine, "SoftwareLicensingProduct", "Activate")
        machine.rules[0].enabled, machine.rules[0].profiles = 1, 3
        role = machine.spp.roles[0]
        for number in range(count):
            role.seen[f"seen-{number}"] = (self.clock.now(), 25)
        return machine

    def advance(self, **delta: float) -> None:
        self.clock.advance_to(self.clock.now() + dt.timedelta(**delta))


def instances(machine: Machine, class_name: str, namespace: str = "root/cimv2") -> list[Instance]:
    cim_class = machine.repository.find_class(namespace, class_name)
    assert cim_class is not None
    return list(machine.repository.instances(cim_class))


def service(machine: Machine) -> t.Mapping[str, t.Any]:
    return instances(machine, "SoftwareLicensingService")[0].values


def keyed(machine: Machine) -> list[t.Mapping[str, t.Any]]:
    """Products that hold a key."""
    return [i.values for i in instances(machine, "SoftwareLicensingProduct") if i.values["PartialProductKey"]]


def product(machine: Machine) -> t.Mapping[str, t.Any]:
    """The only product that holds a key."""
    (only,) = keyed(machine)
    return only


def call(
    machine: Machine, class_name: str, method: str, namespace: str = "root/cimv2", chosen: str = "", **arguments: t.Any
) -> dict[str, t.Any]:
    """Invoke a method on the service, the keyed product (or the one with ID ``chosen``), sppsvc, or statically."""
    repository = machine.repository
    cim_class = repository.find_class(namespace, class_name)
    assert cim_class is not None
    found = cim_class.find_method(method)
    assert found is not None, f"no method {method}"
    instance = None if found.static else _pick(machine, class_name, namespace, chosen)

    async def run() -> dict[str, t.Any]:
        result = await repository.invoke(cim_class, instance, found, arguments)
        await machine.world.settle()
        return result

    return asyncio.run(run())


def _pick(machine: Machine, class_name: str, namespace: str, chosen: str) -> Instance:
    found = instances(machine, class_name, namespace)
    if class_name == "SoftwareLicensingProduct":
        found = [i for i in found if (i.values["ID"] == chosen if chosen else i.values["PartialProductKey"])]
    elif class_name == "Win32_Service":
        found = [i for i in found if i.values["Name"] == "sppsvc"]
    elif class_name == "MSFT_NetFirewallRule":
        found = [i for i in found if i.values["InstanceID"] == chosen]
    assert len(found) == 1, f"{len(found)} instances of {class_name}"
    return found[0]


def refused(machine: Machine, class_name: str, method: str, **arguments: t.Any) -> int:
    """The HRESULT with which a method fails; 0 when it does not."""
    try:
        call(machine, class_name, method, **arguments)
    except CimError as error:
        return error.code
    return 0


def activate(machine: Machine) -> int:
    return refused(machine, "SoftwareLicensingProduct", "Activate")


def install(machine: Machine, key: str) -> int:
    return refused(machine, "SoftwareLicensingService", "InstallProductKey", ProductKey=key)


def restart(machine: Machine) -> None:
    call(machine, "Win32_Service", "StopService")
    call(machine, "Win32_Service", "StartService")


def reg(machine: Machine, method: str, name: str = "", value: t.Any = None, key: str = SPP_KEY) -> dict[str, t.Any]:
    """A StdRegProv call on a value of a key below HKLM (default: the Software Protection Platform's)."""
    arguments: dict[str, t.Any] = {"hDefKey": HKLM, "sSubKeyName": key}
    if name:
        arguments["sValueName"] = name
    if value is not None:
        arguments["sValue" if isinstance(value, (str, list)) else "uValue"] = value
    return call(machine, "StdRegProv", method, "root/default", **arguments)
