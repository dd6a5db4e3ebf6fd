# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cleaning up a large fleet takes, and whether it is clean afterwards. ``make bench-fleet`` runs it.

``clean_up`` finds 2,000 KMS hosts that nobody approved among 3,000 simulated machines and turns them into clients,
though a few are dead, slow or know another password. Time, traffic and the controller's memory are measured by play;
then the machines and the zones themselves are asked whether all is as it has to be. The simulated machines run on the
same processors: their time is told, too.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import typing as t

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS))

from benchmarks.memory import PeakMemory  # noqa: E402
from integration.kit import Data, environment, program  # noqa: E402

from lab.client import LabProcess  # noqa: E402

FLEET = _TESTS / "lab" / "fleets" / "bench_fleet.yml"
_CALLBACKS = pathlib.Path(__file__).resolve().parent / "callback"

#: Rogues and clients of the long and the short form; two approved hosts come on top.
_LONG, _SHORT = (2000, 998), (100, 48)
#: Seconds of wall time for the long form.
_AIM = 180
#: The first value and the weight of a host that clients are steered to, and the worst declared priority.
_STEERED, _WORST_DECLARED = (0, 65535), 20
_APPROVED = ("kms1.corp.example.com", "kms2.corp.example.com")
#: Faults with which nothing can be done about a machine.
_HOPELESS = ("dead", "wrong_password")
#: Seconds after which a fleet that has not come up is called stuck.
_START = 300.0
#: What ansible-playbook ends with when nothing, or some assertion, has failed.
_ENDS = (0, 2)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A play (a batch of one that has several) and what it took: seconds, and the machines' counters."""

    name: str
    seconds: float
    counted: Data


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left behind: its plays and tasks, what it reported, and what it cost the controller."""

    phases: list[Phase]
    tasks: dict[str, float]
    reports: Data
    wall: float
    cpu: float
    peak_mb: float


@dataclasses.dataclass(frozen=True)
class Truth:
    """The fleet as the lab itself knows it, whatever was reported."""

    rogues: frozenset[str]
    hopeless: dict[str, str]
    licences: Data
    records: list[tuple[str, str, int, int]]
    repeated: list[str]
    totals: Data


# -- the run


def clean_up(lab: LabProcess, folder: pathlib.Path, forks: int) -> Outcome:
    """Run the playbook once; raises SystemExit with the end of its output if it did not come to its end."""
    log, lines = folder / "run.log", folder / "phases.jsonl"
    lines.unlink(missing_ok=True)
    more = {
        "ANSIBLE_FORKS": str(forks),
        "ANSIBLE_INVENTORY_ENABLED": "yaml",  # each plugin that tries reads the whole file
        "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "phases",
        "PHASES_FILE": str(lines),
        "PHASES_LAB": lab.control,
    }
    variables = {
        "kms_dns_via": "rfc2136",
        "kms_dns_server": lab.dns,
        "kms_steer_delay": 1,
        "kms_convert_delay": 1,
        "kms_report_path": str(folder / "rogues.json"),
        "kms_convert_report_path": str(folder / "convert.json"),
    }
    command = [program("ansible-playbook"), "-i", str(lab.inventory_path), "fleetops.kms.clean_up"]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-e", json.dumps(variables)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment(folder, **more),
        )
        with PeakMemory(process.pid) as memory:
            _process, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()] if lines.exists() else []
    if process.returncode not in _ENDS or not (folder / "convert.json").exists():
        raise SystemExit(f"{_end_of(log)}\nansible-playbook ended with {process.returncode}.")
    reports = {
        **rows[-1]["custom"],
        **{name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("rogues", "convert")},
    }
    cpu = usage.ru_utime + usage.ru_stime
    return Outcome(_phases(rows), _tasks(rows), reports, wall, cpu, memory.megabytes)


def _end_of(log: pathlib.Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-4000:]


def _phases(rows: t.Sequence[Data]) -> list[Phase]:
    marks = [row for row in rows if "totals" in row]
    return [
        Phase(
            row["name"],
            following["at"] - row["at"],
            {name: following["totals"][name] - row["totals"][name] for name in ("requests", "bytes_in", "bytes_out")},
        )
        for row, following in zip(marks, marks[1:], strict=False)
    ]


def _tasks(rows: t.Sequence[Data]) -> dict[str, float]:
    """Seconds by task, all times that it ran together."""
    seconds: dict[str, float] = collections.defaultdict(float)
    for row, following in zip(rows, rows[1:], strict=False):
        if row["kind"] == "task":
            seconds[row["name"]] += following["at"] - row["at"]
    return dict(seconds)


def look(lab: LabProcess) -> Truth:
    """Ask the machines and the zones themselves."""
    faults = {row["name"]: [fault["name"] for fault in row["faults"]] for row in lab.machines()}
    hopeless = {name: found for name, names in faults.items() for found in names if found in _HOPELESS}
    rows = [line.split() for line in lab.call("dns")]
    records = [
        (row[0].removeprefix("_vlmcs._tcp.").rstrip("."), row[7].rstrip("."), int(row[4]), int(row[5])) for row in rows
    ]
    return Truth(
        frozenset(name for name in faults if name.startswith("rogue")),
        hopeless,
        lab.call("licences"),
        records,
        lab.call("repeated"),
        lab.totals(),
    )


# -- what has to be true afterwards


def unconverted(truth: Truth) -> list[str]:
    """The rogues that could be converted and are not licensed clients without a host key."""
    return sorted(
        name
        for name in truth.rogues - truth.hopeless.keys()
        if [(row["kind"], row["license_status"]) for row in truth.licences[name]] != [("gvlk", 1)]
    )


def unlisted(truth: Truth, convert: Data) -> list[str]:
    """The machines that nothing can be done about and that the report leaves out, or gives no reason for."""
    told = {row["machine"]: row["reason"] for row in convert["left_out"]}
    told.update(
        (row["machine"], row["text"]) for row in convert["machines"] if row["state"] in ("failed", "unreachable")
    )
    return sorted(name for name in truth.hopeless if not told.get(name))


def left_in_dns(truth: Truth) -> list[str]:
    """The values in DNS of machines that are no KMS hosts any more."""
    alive = {name for name, rows in truth.licences.items() if any(row["kind"] == "csvlk" for row in rows)}
    return [f"{domain}: {target}" for domain, target, _priority, _weight in truth.records if target not in alive]


def outranked(truth: Truth) -> set[str]:
    """The domains in which a host that is not approved would be asked before one that is, were they not steered."""
    return {
        domain
        for domain, target, priority, _weight in truth.records
        if target not in _APPROVED and priority <= _WORST_DECLARED
    }


def steered(truth: Truth) -> set[str]:
    """The domains in which an approved host is published before all others."""
    return {domain for domain, target, *rank in truth.records if target in _APPROVED and tuple(rank) == _STEERED}


def told_steered(findings: t.Iterable[Data]) -> set[str]:
    """The domains that the findings of ``verify`` call steered."""
    return {row["subject"] for row in findings if row["kind"] == "steered"}


def complaints(truth: Truth, reports: Data) -> list[str]:
    """What is not as it has to be."""
    wrong = [f"not converted: {name}" for name in unconverted(truth)]
    wrong += [f"sick, and not told of: {name}" for name in unlisted(truth, reports["convert"])]
    wrong += [f"left in DNS: {value}" for value in left_in_dns(truth)]
    wrong += [f"done twice: {line}" for line in truth.repeated]
    wanted = outranked(truth)
    wrong += [f"not steered: {domain}" for domain in sorted(wanted - steered(truth))]
    wrong += [f"still steered without a reason: {domain}" for domain in sorted(steered(truth) - wanted)]
    said = told_steered(reports["kms_verify"]["findings"])
    wrong += [f"steered, and not told to be: {domain}" for domain in sorted(wanted - said)]
    if truth.totals["shells"]:
        wrong.append(f"{truth.totals['shells']} shells were started")
    return wrong


# -- what is printed


def _show_phases(phases: t.Sequence[Phase]) -> None:
    print(f"{'play':54}{'s':>8}{'requests':>10}{'MB sent':>9}{'MB recvd':>10}")
    for phase in phases:
        sent, received = (phase.counted[name] / 1e6 for name in ("bytes_in", "bytes_out"))
        print(f"{phase.name[:53]:54}{phase.seconds:8.1f}{phase.counted['requests']:10}{sent:9.1f}{received:10.1f}")


def _show_tasks(tasks: t.Mapping[str, float]) -> None:
    print("\nThe longest tasks")
    for name, seconds in sorted(tasks.items(), key=lambda item: -item[1])[:12]:
        print(f"{name[:69]:70}{seconds:8.1f} s")


def _show(outcome: Outcome, truth: Truth, options: argparse.Namespace, lab_cpu: float) -> None:
    machines = len(truth.licences)
    converted = len(truth.rogues - truth.hopeless.keys()) - len(unconverted(truth))
    turn = [phase for phase in outcome.phases if phase.name == "Turn rogues into clients"]
    seconds = sum(phase.seconds for phase in turn)
    tried = len(outcome.reports["convert"]["machines"]) or 1
    _show_phases(outcome.phases)
    if options.tasks:
        _show_tasks(outcome.tasks)
    one = {name: sum(phase.counted[name] for phase in turn) / tried for name in ("requests", "bytes_in", "bytes_out")}
    every = {name: truth.totals[name] / machines for name in one}
    kinds = collections.Counter(truth.hopeless.values())
    print(
        f"\n{converted} of {len(truth.rogues)} rogues are clients now;"
        f" of all {machines} machines {kinds['dead']} are dead and {kinds['wrong_password']} know another password."
    )
    for name, row in (("conversion", one), ("whole run", every)):
        print(
            f"A machine, {name}: {row['requests']:.1f} requests, {row['bytes_in'] / 1000:.1f} kB sent,"
            f" {row['bytes_out'] / 1000:.1f} kB received"
        )
    print(f"Converted a minute: {converted / seconds * 60:.0f}; of the whole run: {converted / outcome.wall * 60:.0f}")
    print(f"Machines a minute, all plays: {machines / outcome.wall * 60:.0f}")
    print(f"The controller's memory at its peak, all processes: {outcome.peak_mb:.0f} MB")
    print(
        f"In all: {outcome.wall:.0f} s ({options.forks} forks, {os.cpu_count()} CPUs); CPU: controller"
        f" {outcome.cpu:.0f} s, simulated machines {lab_cpu:.0f} s; aim for the long form: {_AIM} s"
    )


def _figures(outcome: Outcome, truth: Truth, lab_cpu: float) -> Data:
    return {
        "wall": outcome.wall,
        "cpu": outcome.cpu,
        "lab_cpu": lab_cpu,
        "peak_mb": outcome.peak_mb,
        "phases": [dataclasses.asdict(phase) for phase in outcome.phases],
        "tasks": outcome.tasks,
        "totals": {name: value for name, value in truth.totals.items() if isinstance(value, int)},
    }


def _cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, 0 where the system does not tell."""
    try:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run, measure, print and prove; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{_SHORT[0]} rogues among {sum(_SHORT) + 2} machines")
    parser.add_argument("--rogues", type=int, help=f"so many rogues ({_LONG[0]})")
    parser.add_argument("--clients", type=int, help=f"so many machines that are none ({_LONG[1]})")
    parser.add_argument("--slow", type=float, default=0.5, help="seconds that a slow machine takes for an answer (0.5)")
    parser.add_argument("--forks", type=int, default=20, help="Ansible's forks (20)")
    parser.add_argument("--tasks", action="store_true", help="show the longest tasks as well")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FOLDER", help="keep log and reports there")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args(arguments)
    rogues, clients = _SHORT if options.short else _LONG
    size = {
        "rogues": rogues if options.rogues is None else options.rogues,
        "clients": clients if options.clients is None else options.clients,
        "slow_seconds": options.slow,
    }
    _raise_file_limit()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = options.keep or pathlib.Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        return _run(folder, size, options)


def _raise_file_limit() -> None:
    """Thousands of machines listen, each on a socket of its own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(folder: pathlib.Path, size: dict[str, float], options: argparse.Namespace) -> int:
    with LabProcess(FLEET, size, start_timeout=_START) as lab:
        before = _cpu_of(lab.pid)
        outcome = clean_up(lab, folder, options.forks)
        lab_cpu = _cpu_of(lab.pid) - before
        truth = look(lab)
    _show(outcome, truth, options, lab_cpu)
    if options.json:
        options.json.write_text(json.dumps(_figures(outcome, truth, lab_cpu), indent=2), encoding="utf-8")
    wrong = complaints(truth, outcome.reports)
    still = ", ".join(sorted(steered(truth))) or "none"
    proven = (
        "Proven from machines and zones: every rogue that can be is a licensed client, every sick one is told of with"
        f" its reason,\nno value of a converted machine is left in DNS, nothing was done twice. Still steered: {still}."
    )
    print("\n".join(wrong) or proven)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
