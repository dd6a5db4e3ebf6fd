# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests and demonstrations: start a lab as a process of its own, and control it."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import typing as t
import urllib.parse

#: A machine by name, several, or ``*`` for all of them.
Chosen = str | t.Sequence[str]

_TESTS = pathlib.Path(__file__).parents[1]


class LabError(RuntimeError):
    """The lab did not start, or refused a command; the message has its own words."""


class LabClient:
    """Calls the control API of a running lab; commands that are not methods here go through ``call``."""

    def __init__(self, url: str, timeout: float = 300.0) -> None:
        self.url = url
        self._timeout = timeout

    def call(self, command: str, **arguments: t.Any) -> t.Any:
        """Runs a command and returns its result; raises LabError for what the lab refuses."""
        place = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=self._timeout)
        try:
            connection.request("POST", f"/{command}", json.dumps(arguments), {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise LabError(f"{command}: {answer['error']}")
        return answer["result"]

    def commands(self) -> list[str]:
        """The names of all commands, the fleet's own among them."""
        return t.cast("list[str]", self.call("commands"))

    def machines(self) -> list[dict[str, t.Any]]:
        """Name, address, port, power and faults of every machine."""
        return t.cast("list[dict[str, t.Any]]", self.call("machines"))

    def stats(self, machine: Chosen = "*") -> dict[str, t.Any]:
        """``total`` and, by name, ``machines``: the counters of ``lab.stats.Stats``."""
        return t.cast("dict[str, t.Any]", self.call("stats", machine=machine))

    def totals(self) -> dict[str, t.Any]:
        """The counters of all machines together."""
        return t.cast("dict[str, t.Any]", self.call("totals"))

    def reset_stats(self, machine: Chosen = "*") -> None:
        self.call("reset_stats", machine=machine)

    def set_fault(self, fault: t.Mapping[str, t.Any] | str, machine: Chosen = "*") -> None:
        """Sets a fault (see ``lab.faults``) on machines."""
        self.call("set_fault", fault=fault, machine=machine)

    def clear_faults(self, machine: Chosen = "*", name: str | None = None) -> None:
        """Takes faults away: those of a name, or all."""
        self.call("clear_faults", machine=machine, name=name)

    def stop_machine(self, machine: Chosen) -> None:
        """Cuts the power."""
        self.call("stop_machine", machine=machine)

    def start_machine(self, machine: Chosen) -> None:
        self.call("start_machine", machine=machine)

    def inventory(self, connection: str = "winrm", transport: str | None = None) -> str:
        """An Ansible inventory of the fleet as YAML."""
        return t.cast(str, self.call("inventory", connection=connection, transport=transport))

    def advance(self, seconds: float) -> t.Any:
        """Moves the fleet's clock forward."""
        return self.call("advance", seconds=seconds)


class LabProcess(LabClient):
    """A lab in a process of its own, as a context manager.

    ``fleet`` is the path of a fleet file or its content, ``parameters`` fill its ``${name}``. After the start
    ``control``, ``dns`` (``address:port`` or None) and ``inventory_path`` tell where things are. The process ends with
    the context, and also when the parent dies, as it then reads the end of its standard input.
    """

    def __init__(
        self,
        fleet: str | os.PathLike[str] | t.Mapping[str, t.Any],
        parameters: t.Mapping[str, t.Any] | None = None,
        inventory: str | os.PathLike[str] | None = None,
        python: str = sys.executable,
        start_timeout: float = 60.0,
    ) -> None:
        super().__init__("")
        self._fleet = fleet
        self._parameters = dict(parameters or {})
        self._inventory = inventory
        self._python = python
        self._start_timeout = start_timeout
        self._folder: pathlib.Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self.control = ""
        self.dns: str | None = None
        self.inventory_path = pathlib.Path()

    @property
    def pid(self) -> int:
        """The process, for measurements."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the lab has written to standard error so far."""
        return (self._folder / "lab.log").read_text(encoding="utf-8", errors="replace") if self._folder else ""

    def __enter__(self) -> LabProcess:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the process and returns when every port is open; raises LabError."""
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="lab-"))
        inventory = pathlib.Path(self._inventory or self._folder / "inventory.yml")
        command = [self._python, "-m", "lab", "run", str(self._fleet_file(self._folder))]
        command += ["--state-dir", str(self._folder), "--inventory", str(inventory), "--until-eof"]
        for name, value in self._parameters.items():
            command += ["--set", f"{name}={json.dumps(value)}"]
        path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH", ""))))
        with (self._folder / "lab.log").open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
        ready = self._read_ready_line(self._process)
        self.url = self.control = ready["control"]
        self.dns = ready["dns"]
        self.inventory_path = pathlib.Path(ready["inventory"])

    def stop(self) -> None:
        """Ends the process, softly first, and takes its files away."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _fleet_file(self, folder: pathlib.Path) -> pathlib.Path:
        if not isinstance(self._fleet, t.Mapping):
            return pathlib.Path(self._fleet)
        path = folder / "fleet.yml"
        path.write_text(json.dumps(self._fleet), encoding="utf-8")  # JSON is YAML
        return path

    def _read_ready_line(self, process: subprocess.Popen[str]) -> dict[str, t.Any]:
        assert process.stdout is not None
        timer = threading.Timer(self._start_timeout, process.kill)
        timer.start()
        try:
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            log = self.log
            self.stop()
            raise LabError(f"the lab did not start:\n{log}")
        return t.cast("dict[str, t.Any]", json.loads(line))


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    for force in (None, process.terminate, process.kill):
        if force is not None:
            force()
        try:
            process.wait(10)
            break
        except subprocess.TimeoutExpired:
            continue
    if process.stdout is not None:
        process.stdout.close()
