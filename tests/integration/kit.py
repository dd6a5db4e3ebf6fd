# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs ansible-playbook as a user does, and reads its results as data.

FLEETOPS_KMS_BIN names the folder of the Ansible programs to run, FLEETOPS_KMS_COLLECTIONS the collections path; both
default to the environment that the tests run in and to the checkout.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import typing as t

import yaml
from integration.warm import WarmStart

from lab.client import LabClient

_HERE = pathlib.Path(__file__).resolve().parent
ROOT = _HERE.parents[1]

#: Seconds after which a run is called stuck.
_STUCK = 300

#: What has Ansible report to the tests.
_CALLBACK = {"ANSIBLE_CALLBACK_PLUGINS": str(_HERE / "callback"), "ANSIBLE_CALLBACKS_ENABLED": "results_file"}

#: Settings that are not read when Ansible is imported, but when the plugin is made that they are for.
_OF_PLUGINS = frozenset({"ANSIBLE_CALLBACK_RESULT_FORMAT"})

Data = dict[str, t.Any]


def program(name: str) -> str:
    """The path of an Ansible program of the release under test."""
    return str(pathlib.Path(os.environ.get("FLEETOPS_KMS_BIN") or pathlib.Path(sys.executable).parent) / name)


def environment(home: pathlib.Path, **more: str) -> dict[str, str]:
    """The environment of an Ansible program: nothing of the user's configuration, everything written below ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {
        **kept,
        "PATH": os.pathsep.join([str(pathlib.Path(program("ansible")).parent), kept.get("PATH", "")]),
        "HOME": str(home),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_CONFIG": str(_configuration(home)),
        "ANSIBLE_COLLECTIONS_PATH": os.environ.get("FLEETOPS_KMS_COLLECTIONS") or str(ROOT / "build" / "dev"),
        "ANSIBLE_FORKS": "8",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        **more,
    }


def _configuration(home: pathlib.Path) -> pathlib.Path:
    """Settings that no variable of the environment can make."""
    path = home / "ansible.cfg"
    if not path.exists():
        # Ansible looks for results a thousand times a second: two hundred leave more of the processor to the workers.
        path.write_text("[defaults]\ninternal_poll_interval = 0.005\n", encoding="utf-8")
    return path


@dataclasses.dataclass(frozen=True)
class Run:
    """What one run of ansible-playbook left behind; ``output`` is all that it has printed."""

    returncode: int
    output: str
    rows: list[Data]

    def result(self, host: str, task: str | None = None) -> Data:
        """The one result of a host (in a task); ``kind`` is ok, failed or unreachable."""
        rows = [
            row for row in self.rows if row.get("host") == host and (task is None or task_name(row["task"]) == task)
        ]
        assert len(rows) == 1, f"{len(rows)} results of {task or 'any task'} on {host}:\n{self.output}"
        return {"kind": rows[0]["kind"], **rows[0]["result"]}

    def results(self, task: str) -> dict[str, Data]:
        """The results of a task by host."""
        found = [row for row in self.rows if row["kind"] != "stats" and task_name(row["task"]) == task]
        return {row["host"]: {"kind": row["kind"], **row["result"]} for row in found}

    @property
    def custom(self) -> Data:
        """What set_stats has left."""
        return t.cast(Data, self.rows[-1]["custom"])

    def assert_ok(self) -> Run:
        assert self.returncode == 0, self.output
        return self


def task_name(name: str) -> str:
    """The name of a task without the role's."""
    return name.rpartition(" : ")[2]


class Ansible:
    """Runs playbooks in a folder of their own, which is their home, too."""

    _warm_start: t.ClassVar[WarmStart | None] = None

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._count = 0

    def playbook(
        self, content: t.Any, inventory: t.Any, *arguments: str, env: t.Mapping[str, str] | None = None
    ) -> Run:
        """Run a playbook, given by its plays or its name, on an inventory, given by its content or its path."""
        self._count += 1
        results = self.folder / f"results-{self._count}.jsonl"
        name = content if isinstance(content, str) else str(self._written(f"playbook-{self._count}.yml", content))
        hosts = inventory if isinstance(inventory, (str, pathlib.Path)) else self._written("inventory.yml", inventory)
        command = [program("ansible-playbook"), "-i", str(hosts), name, *arguments]
        returncode, output = self._run(command, {"RESULTS_FILE": str(results), **(env or {})})
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        assert lines, output
        return Run(returncode, output, [json.loads(line) for line in lines])

    @property
    def warm_start(self) -> WarmStart:
        """What the runs are forked from that change no setting: one for this process, in the folder of the first."""
        if Ansible._warm_start is None:
            Ansible._warm_start = WarmStart(program("python"), environment(self.folder, **_CALLBACK))
        return Ansible._warm_start

    def _run(self, command: list[str], more: t.Mapping[str, str]) -> tuple[int, str]:
        """Exit code and output of a command, with ``more`` in its environment."""
        printed = self.folder / f"output-{self._count}.txt"
        if not any(name.startswith("ANSIBLE_") for name in more.keys() - _OF_PLUGINS):
            code = self.warm_start.run(command, self.folder, {"HOME": str(self.folder), **more}, printed, _STUCK)
        else:
            with printed.open("wb") as file:
                code = subprocess.run(
                    command,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    cwd=self.folder,
                    env=environment(self.folder, **_CALLBACK, **more),
                    timeout=_STUCK,
                    check=False,
                ).returncode
        return code, printed.read_text(encoding="utf-8", errors="replace")

    def _written(self, name: str, content: t.Any) -> pathlib.Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path


def play(hosts: str, *tasks: Data, **keywords: t.Any) -> Data:
    """A play that gathers no facts."""
    return {"hosts": hosts, "gather_facts": False, **keywords, "tasks": list(tasks)}


def task(name: str, module: str, arguments: Data | None = None, **keywords: t.Any) -> Data:
    """A task with a module of this collection, or with one whose name has dots."""
    full = module if "." in module else f"fleetops.kms.{module}"
    return {"name": name, full: arguments or {}, **keywords}


def host_vars(lab: LabClient, connection: str = "winrm", transport: str | None = None) -> dict[str, Data]:
    """The connection variables of each machine, by its name in the fleet file (without its domain)."""
    inventory = yaml.safe_load(lab.call("inventory", connection=connection, transport=transport))["all"]
    found: dict[str, Data] = {}
    _collect(inventory, found)
    return {
        name.partition(".")[0]: {"ansible_connection": connection, **variables} for name, variables in found.items()
    }


def _collect(group: Data, found: dict[str, Data]) -> None:
    found.update(group.get("hosts") or {})
    for child in (group.get("children") or {}).values():
        _collect(child or {}, found)


def inventory(groups: t.Mapping[str, t.Mapping[str, Data]], **variables: t.Any) -> Data:
    """An inventory from groups of hosts."""
    return {"all": {"vars": variables, "children": {name: {"hosts": dict(hosts)} for name, hosts in groups.items()}}}


def writes(lab: LabClient) -> list[str]:
    """The methods that were called and may have changed a machine, as ``machine: method``."""
    machines = lab.stats()["machines"]
    return [
        f"{name}: {call['method']}" for name, stats in machines.items() for call in stats["invokes"] if call["write"]
    ]
