# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small repository to hold the wire against: a singleton, a keyed class with methods, a static class."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import typing as t

from lab.cim import CimClass, CimError, CimValue, Instance, Method, Property

HELD_OS = CimClass(
    "root/cimv2",
    "Toy_System",
    (
        Property("Name", key=True),
        Property("buildNumber"),
        Property("BootTime", "datetime"),
        Property("Languages", array=True),
        Property("Locked", "boolean"),
        Property("Memory", "uint64"),
        Property("Nothing"),
        Property("Empty"),
    ),
    singleton=True,
)
SERVICE = CimClass(
    "root/cimv2",
    "Toy_Service",
    (
        Property("Name", key=True),
        Property("State"),
        Property("Path"),
        Property("Key"),
        Property("Weight", "uint32"),
        Property("Since", "datetime"),
        Property("Running", "boolean"),
        Property("Tags", array=True),
    ),
    methods=(
        Method("Rename", inputs=(Property("Text"), Property("Loud", "boolean"), Property("Times", "uint32"))),
        Method("InstallKey", inputs=(Property("ProductKey", required=True),)),
        Method("Fail", inputs=()),
        Method("Wait", inputs=()),
        Method("Forget", inputs=(), returns=False),
    ),
)
REGISTRY = CimClass(
    "root/default",
    "Toy_Registry",
    (),
    methods=(
        Method(
            "Read",
            inputs=(Property("Hive", "uint32"), Property("Names", array=True), Property("Bytes", "uint8", array=True)),
            outputs=(Property("Values", array=True), Property("When", "datetime")),
            static=True,
        ),
    ),
)
CLASSES = (HELD_OS, SERVICE, REGISTRY)
SINCE = datetime.datetime(2024, 5, 17, 8, 30, 15, 250000, tzinfo=datetime.timezone.utc)


def services(count: int) -> dict[str, dict[str, CimValue]]:
    return {
        f"svc{number}": {
            "Name": f"svc{number}",
            "State": "Running" if number % 2 else "Stopped",
            "Path": rf"C:\Windows\svc{number}.exe",
            "Key": None if number % 3 else f"K{number}",
            "Weight": number,
            "Since": SINCE + datetime.timedelta(days=number),
            "Running": bool(number % 2),
            "Tags": ["a", "b"],
        }
        for number in range(count)
    }


class ToyRepository:
    """Keeps what was called, so that tests see what reached the machine."""

    def __init__(self, count: int = 5) -> None:
        self.services = services(count)
        self.calls: list[tuple[str, str | None, dict[str, CimValue]]] = []
        self.release = asyncio.Event()
        self.system: dict[str, CimValue] = {
            "Name": "Toy <&> \x01",
            "buildNumber": "20348",
            "BootTime": SINCE.astimezone(datetime.timezone(datetime.timedelta(hours=8))),
            "Languages": ["en-US"],
            "Locked": True,
            "Memory": 2**63,
            "Empty": "",
        }

    def find_namespace(self, namespace: str) -> bool:
        return namespace.lower() in ("root/cimv2", "root/default")

    def find_class(self, namespace: str, name: str) -> CimClass | None:
        for cim_class in CLASSES:
            if (cim_class.namespace, cim_class.name.lower()) == (namespace.lower(), name.lower()):
                return cim_class
        return None

    def instances(self, cim_class: CimClass) -> t.Sequence[Instance]:
        if cim_class is HELD_OS:
            return [Instance(HELD_OS, self.system)]
        return [Instance(SERVICE, dict(values)) for values in self.services.values()] if cim_class is SERVICE else []

    async def invoke(
        self, cim_class: CimClass, instance: Instance | None, method: Method, arguments: t.Mapping[str, CimValue]
    ) -> dict[str, CimValue]:
        if method.name == "Wait":
            await self.release.wait()
        name = instance.values["Name"] if instance else None
        self.calls.append((method.name, name, dict(arguments)))
        if method.name == "Fail":
            raise CimError(0xC004F050, "invalid key")
        if method.name == "Read":
            return {"Values": arguments.get("Names"), "When": SINCE, "ReturnValue": 2}
        if method.name == "Rename":
            self.services[t.cast(str, name)]["State"] = arguments.get("Text")
        return {"ReturnValue": 0}

    async def modify(self, cim_class: CimClass, instance: Instance, changes: t.Mapping[str, CimValue]) -> Instance:
        self.calls.append(("Put", instance.values["Name"], dict(changes)))
        self.services[instance.values["Name"]].update(changes)
        return Instance(cim_class, dict(self.services[instance.values["Name"]]))

    async def delete(self, cim_class: CimClass, instance: Instance) -> None:
        self.calls.append(("Delete", instance.values["Name"], {}))
        del self.services[instance.values["Name"]]

    def is_write(self, cim_class: CimClass, method: Method) -> bool:
        return method.name != "Read"


@dataclasses.dataclass
class ToyMachine:
    """A machine as a fleet has it."""

    repository: ToyRepository = dataclasses.field(default_factory=ToyRepository)
    name: str = "TOY"
    accounts: dict[str, str] = dataclasses.field(default_factory=lambda: {"Administrator": "Sim:Pa55-word"})
    address: str = "127.0.0.1"
    port: int = 0
    tls: bool = False
    auth: tuple[str, ...] = ("ntlm", "negotiate")
    fault_shape: str = "wmi_error"
    powered: bool = True
    allow_unencrypted: bool = False
    language: str = "en-US"
    faults: tuple[dict[str, t.Any], ...] = ()
