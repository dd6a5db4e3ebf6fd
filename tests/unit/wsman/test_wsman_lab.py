# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a strict server that shares no code with it."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from unit.lab.wire.kit import Loop, Plain
from unit.lab.wire.toy import SINCE, ToyMachine

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, CimType, PropertyType
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.values import wql_string

STRINGS = PropertyType(array=True)
SERVICE = CimClass(
    "root/cimv2",
    "Toy_Service",
    {
        "Weight": PropertyType(CimType.INTEGER),
        "Since": PropertyType(CimType.DATETIME),
        "Running": PropertyType(CimType.BOOLEAN),
        "Tags": STRINGS,
    },
    keys=("Name",),
)
SYSTEM = CimClass("root/cimv2", "Toy_System", {"Memory": PropertyType(CimType.INTEGER), "Languages": STRINGS})
REGISTRY = CimClass("root/default", "Toy_Registry", {"Values": STRINGS, "When": PropertyType(CimType.DATETIME)})


class PlainTransport:
    def __init__(self, plain: Plain) -> None:
        self.endpoint = "http://toy.example.com:5985/wsman"
        self._plain = plain

    def send(self, envelope: bytes, *, operation_timeout: float) -> bytes:
        return self._plain.post(envelope).data

    def reconnect(self) -> None:
        self._plain.close()

    def close(self) -> None:
        self._plain.close()


Serve = t.Callable[..., CimClient]


@pytest.fixture
def serve(tmp_path: pathlib.Path) -> t.Iterator[Serve]:
    loop = Loop(tmp_path)
    clients: list[CimClient] = []

    def make(machine: ToyMachine | None = None) -> CimClient:
        machine = machine or ToyMachine()
        machine.auth, machine.allow_unencrypted = ("basic",), True
        clients.append(CimClient(PlainTransport(Plain(loop.serve(machine)))))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
    loop.close()


def test_queries(serve: Serve) -> None:
    client = serve()
    names = [f"svc{number}" for number in range(5)]
    services = client.query(SERVICE)
    assert [service["Name"] for service in services] == names
    assert services[1]["Weight"] == 1 and services[1]["Running"] is True and services[1]["Tags"] == ["a", "b"]
    assert services[0]["Since"] == SINCE and services[0]["Path"] == r"C:\Windows\svc0.exe"
    assert services[1].has("Key") and services[1]["Key"] is None
    assert [item["Name"] for item in client.query(SERVICE, limit=2)] == names[:2]
    path = wql_string(r"C:\Windows\svc3.exe")
    (one,) = client.query(SERVICE, f"select Name, Since from Toy_Service where Path = {path}")
    assert one["Name"] == "svc3" and one["since"].day == 20 and not one.has("Path")


def test_given_selectors_address_an_instance_of_unknown_keys(serve: Serve) -> None:
    client = serve()
    unknown = CimClass(SERVICE.namespace, SERVICE.name)
    found = {item["Name"]: item for item in client.query(unknown, with_selectors=True)}
    assert list(found) == [f"svc{number}" for number in range(5)]
    assert found["svc2"].selectors == {"__cimnamespace": "root/cimv2", "Name": "svc2"}
    assert client.invoke(unknown, "Forget", selectors=found["svc1"].selectors).return_value is None
    client.delete(unknown, found["svc2"].selectors)
    assert [item["Name"] for item in client.query(SERVICE)] == ["svc0", "svc1", "svc3", "svc4"]
    with pytest.raises(CimFault) as caught:
        client.query(SERVICE, "select Name from Toy_Service", with_selectors=True)
    assert caught.value.symbol == "ERROR_WSMAN_ENUMERATE_CANNOT_PROCESS_FILTER"


def test_one_instance(serve: Serve) -> None:
    client = serve()
    assert client.get(SYSTEM)["Memory"] == 2**63 and client.get(SYSTEM)["Languages"] == ["en-US"]
    assert client.get(SERVICE, {"Name": "svc2"}).selectors == {"Name": "svc2"}
    assert client.put(SERVICE, {"Name": "svc2"}, {"State": "a <&> b"})["State"] == "a <&> b"
    assert client.put(SERVICE, {"Name": "svc2"}, {"State": "x", "Weight": 9, "Tags": ["z"]})["Tags"] == ["z"]
    now = client.get(SERVICE, {"Name": "svc2"})
    assert (now["State"], now["Weight"], now["Since"].day) == ("x", 9, 19)
    client.delete(SERVICE, {"Name": "svc2"})
    with pytest.raises(CimFault):
        client.get(SERVICE, {"Name": "svc2"})


def test_methods(serve: Serve) -> None:
    machine = ToyMachine()
    client = serve(machine)
    result = client.invoke(REGISTRY, "Read", {"Hive": 2147483650, "Names": ["a", "b"], "Bytes": b"\x00\xff"})
    assert result.return_value == 2 and result.outputs == {"Values": ["a", "b"], "When": SINCE}
    text = "line\r\nnext\ttab <&>"
    renamed = client.invoke(SERVICE, "Rename", {"Text": text, "Loud": True, "Times": 3}, selectors={"Name": "svc1"})
    assert renamed.return_value == 0
    assert client.invoke(SERVICE, "Forget", selectors={"Name": "svc1"}).return_value is None
    assert machine.repository.calls[1] == ("Rename", "svc1", {"Text": text, "Loud": True, "Times": 3})


@pytest.mark.parametrize("shape", ["wmi_error", "wsman_fault", "extended"])
def test_a_provider_error_is_told_alike_in_every_shape_of_fault(serve: Serve, shape: str) -> None:
    client = serve(ToyMachine(fault_shape=shape, language="de-DE"))
    with pytest.raises(CimFault) as caught:
        client.invoke(SERVICE, "Fail", selectors={"Name": "svc1"})
    assert caught.value.hresult == 0xC004F050
    with pytest.raises(CimFault) as caught:
        client.invoke(SERVICE, "Nonsense", selectors={"Name": "svc1"})
    assert caught.value.symbol in ("WBEM_E_INVALID_METHOD", None) and caught.value.hresult
