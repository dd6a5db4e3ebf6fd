# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab as a whole: addresses, the control API and its client, and the process that serves a fleet file."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import typing as t

import pytest
from unit.lab.wire.kit import Loop, Plain
from unit.lab.wire.toy import ToyMachine

from lab.addresses import AddressBlock
from lab.client import LabClient, LabError, LabProcess
from lab.control import Control
from lab.serving import Lab

TESTS = pathlib.Path(__file__).parents[3]


@dataclasses.dataclass
class ToyFleet:
    """Two machines and two commands of its own."""

    machines: dict[str, ToyMachine]
    running: bool = False
    clock: float = 0.0

    @property
    def commands(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"advance": self.advance, "switch_off": self.switch_off}

    async def advance(self, seconds: float) -> float:
        self.clock += seconds
        return self.clock

    def switch_off(self, name: str) -> None:
        self.machines[name].powered = False

    def assign_addresses(self, block: AddressBlock) -> None:
        for machine in self.machines.values():
            machine.address, machine.port = block.machine(machine.tls)

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    @property
    def dns_address(self) -> str | None:
        return None

    def inventory_text(self, connection: str = "winrm", transport: str | None = None) -> str:
        return f"all: {{vars: {{ansible_connection: {connection}, transport: {transport}}}}}\n"


@dataclasses.dataclass
class Running:
    fleet: ToyFleet
    lab: Lab
    client: LabClient


@pytest.fixture
def running(loop: Loop, tmp_path: pathlib.Path) -> t.Iterator[Running]:
    machines = {
        name: ToyMachine(name=name, auth=("basic",), allow_unencrypted=True, tls=name == "two")
        for name in ("one", "two")
    }
    fleet = ToyFleet(machines)
    lab = Lab(fleet, tmp_path)
    control = Control(lab)

    async def start() -> None:
        await lab.start()
        await control.start(lab.service_address)

    async def stop() -> None:
        control.stop()
        await lab.stop()

    loop.call(start())
    yield Running(fleet, lab, LabClient(control.url, 20))
    loop.call(stop())
    assert not fleet.running


def test_labs_side_by_side_have_blocks_of_their_own() -> None:
    first, second = AddressBlock(), AddressBlock()
    try:
        assert first.shared or first.service != second.service
        addresses = [first.machine() for _machine in range(600)]
        assert len(set(addresses)) == 600
        assert first.machine(tls=True)[1] == 5986 or first.shared
    finally:
        first.release()
        second.release()


def test_machines_and_their_counters(running: Running) -> None:
    client = running.client
    machines = {machine["name"]: machine for machine in client.machines()}
    assert set(machines) == {"one", "two"}
    assert machines["one"]["listening"] and machines["two"]["tls"]
    plain = Plain(running.lab.endpoints["one"])
    answer = plain.query("select * from Toy_System")
    plain.close()
    stats = client.stats()
    assert stats["machines"]["one"]["requests"] == stats["total"]["requests"] == 1
    assert stats["total"]["bytes_out"] > len(answer.data)
    assert client.totals()["operations"] == {"Enumerate": 1}
    client.reset_stats()
    assert client.totals()["requests"] == client.totals()["bytes_in"] == 0


def test_faults_and_power(running: Running) -> None:
    client = running.client
    plain = Plain(running.lab.endpoints["one"])
    client.set_fault({"fault": "quota", "times": 1}, "one")
    assert plain.query("select * from Toy_System").status == 500
    client.set_fault("dead", ["one"])
    assert not running.lab.endpoints["one"].listening
    assert running.lab.endpoints["two"].listening
    client.clear_faults("one")
    assert running.lab.endpoints["one"].listening
    client.stop_machine("one")
    assert not running.fleet.machines["one"].powered
    with pytest.raises(OSError):
        plain.query("select * from Toy_System")
    client.start_machine("one")
    assert plain.query("select * from Toy_System").status == 200
    plain.close()


def test_commands_of_the_fleet(running: Running) -> None:
    client = running.client
    assert {"advance", "switch_off", "stats"} <= set(client.commands())
    assert client.advance(60) == 60
    assert client.advance(30) == 90
    client.call("switch_off", name="one")
    assert not running.lab.endpoints["one"].listening
    assert "psrp" in client.inventory("psrp")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("nothing", {}),
        ("advance", {}),
        ("advance", {"days": 1}),
        ("stats", {"machine": "three"}),
        ("set_fault", {"fault": "nonsense"}),
    ],
)
def test_wrong_commands_are_refused(running: Running, command: str, arguments: dict[str, t.Any]) -> None:
    with pytest.raises(LabError, match=command):
        running.client.call(command, **arguments)


# The process, with a real fleet file

FLEET = TESTS / "lab" / "fleets" / "tiny.yml"


def test_a_process_serves_a_fleet_and_ends_with_its_context() -> None:
    with LabProcess(FLEET) as lab:
        machine = lab.machines()[0]
        with socket.create_connection((machine["address"], machine["port"]), timeout=10):
            pass
        assert lab.inventory_path.read_text(encoding="utf-8") == lab.inventory()
        assert lab.totals()["writes"] == 0
    with pytest.raises(OSError):
        socket.create_connection((machine["address"], machine["port"]), timeout=10)


def test_the_command_line_reaches_a_running_lab() -> None:
    with LabProcess(FLEET) as lab:
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "LAB_CONTROL": lab.control}
        name = lab.machines()[0]["name"]
        command = [sys.executable, "-m", "lab", "ctl", "set_fault", "fault=dead", f'machine=["{name}"]']
        subprocess.run(command, env=environment, check=True, timeout=60)
        assert not lab.machines()[0]["listening"]
        printed = subprocess.run(
            [sys.executable, "-m", "lab", "ctl", "machines"],
            env=environment,
            check=True,
            timeout=60,
            capture_output=True,
        )
        assert json.loads(printed.stdout)[0]["name"] == name


_PARENT = """
import os, sys
from lab.client import LabProcess
lab = LabProcess(sys.argv[1])
lab.start()
print(lab.pid, flush=True)
sys.stdin.read()
os._exit(1)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for a foreign process as only Linux can")
def test_a_lab_dies_with_its_parent(tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(tmp_path)}  # nobody takes its folder away
    command = [sys.executable, "-c", _PARENT, str(FLEET)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        lab = os.pidfd_open(int(parent.stdout.readline()))
        try:
            parent.kill()
            ended, _writable, _failed = select.select([lab], [], [], 30)
        finally:
            os.close(lab)
    assert ended


def test_a_lab_that_cannot_start_says_why() -> None:
    with pytest.raises(LabError, match="did not start"):
        LabProcess("/nonexistent.yml").start()


def test_a_description_with_parameters_is_served_too() -> None:
    description = {
        "parameters": {"count": 1},
        "dns": {"zones": {"corp.example.com": None}},
        "machines": {"pc": {"windows": "windows11/Professional", "domain": "corp.example.com", "count": "${count}"}},
    }
    with LabProcess(description, parameters={"count": 3}) as lab:
        assert len(lab.machines()) == 3
        assert lab.dns
        with pytest.raises(LabError, match="no machine is named nobody"):
            lab.call("events", machine="nobody")
