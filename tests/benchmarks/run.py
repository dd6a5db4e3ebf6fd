# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a settled machine costs: requests and bytes on the wire, CPU, time and memory on the controller.

The machines are simulated by a process of its own, which is not counted. CPU is user and system time of
ansible-playbook and all its workers, memory the peak of its largest process. What Ansible takes to start (a task that
does nothing on one machine) is taken off, so that what remains belongs to the machines.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

import yaml

_TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS))

from benchmarks import settled  # noqa: E402
from integration.kit import Data, environment, program  # noqa: E402

from lab.client import LabProcess  # noqa: E402

_ACTIONS = pathlib.Path(__file__).resolve().parent / "action"
#: Clients of the short and the long form.
_SHORT, _LONG = (50, 200), (50, 200, 500, 1000)
#: Controller CPU of a settled client, as a multiple of a task that does nothing.
_AIM = 2.2


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run took: seconds of CPU and of wall time, MB at most."""

    cpu: float
    wall: float
    peak: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A number of clients, and what the runs of the two plays took."""

    machines: int
    client: Cost
    noop: Cost


class Controller:
    """Runs playbooks and measures them."""

    def __init__(self, folder: pathlib.Path, forks: int) -> None:
        self._folder = folder
        self._forks = forks

    def run(self, play: Data, inventory: pathlib.Path, *arguments: str) -> Cost:
        """Run one play; what it prints is shown only if it fails."""
        book, log = self._folder / "play.yml", self._folder / "run.log"
        book.write_text(yaml.safe_dump([play]), encoding="utf-8")
        more = {"ANSIBLE_FORKS": str(self._forks), "ANSIBLE_ACTION_PLUGINS": str(_ACTIONS)}
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program("ansible-playbook"), "-i", str(inventory), str(book), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=environment(self._folder, **more),
            )
            _process, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(log.read_text(encoding="utf-8", errors="replace")[-3000:])
        wall = time.monotonic() - started
        return Cost(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)

    def median(self, times: int, play: Data, inventory: pathlib.Path) -> Cost:
        """The median of several runs, each figure by itself."""
        runs = [dataclasses.astuple(self.run(play, inventory)) for _time in range(times)]
        return Cost(*(statistics.median(column) for column in zip(*runs, strict=True)))


def count(controller: Controller, folder: pathlib.Path, connection: str) -> dict[str, Data]:
    """The lab's counters of a settled host and of a settled client in one task."""
    with LabProcess(settled.fleet(clients=1)) as lab:
        inventory = _inventory(lab, folder, connection)
        controller.run(settled.host_play(), inventory, "-e", settled.KEY_OPTION)
        lab.reset_stats()
        controller.run(settled.host_play(), inventory, "-e", settled.KEY_OPTION)
        controller.run(settled.client_play(), inventory)
        machines = lab.stats()["machines"]
    return {"client" if name.startswith("pc") else "host": counted for name, counted in machines.items()}


def measure(controller: Controller, folder: pathlib.Path, machines: int, times: int) -> Row:
    """Both plays on a fleet of settled clients."""
    with LabProcess(settled.fleet(machines)) as lab:
        inventory = _inventory(lab, folder, "winrm")
        return Row(
            machines,
            client=controller.median(times, settled.client_play(), inventory),
            noop=controller.median(times, settled.noop_play(), inventory),
        )


def _inventory(lab: LabProcess, folder: pathlib.Path, connection: str) -> pathlib.Path:
    path = folder / "inventory.yml"
    path.write_text(lab.inventory(connection=connection), encoding="utf-8")
    return path


# -- what is printed


def _show_counts(connection: str, counted: t.Mapping[str, Data]) -> None:
    for kind in sorted(counted):
        row = counted[kind]
        limits = f"{settled.MOST_REQUESTS[kind]:>3}"
        most = settled.MOST_BYTES.get(kind)
        sent = f"{row['bytes_in'] / 1000:5.1f}" + (f" of {most / 1000:2.0f}" if most else "      ")
        print(
            f"{kind:8}{connection:8}{row['requests']:>4} of{limits}    {sent}{row['bytes_out'] / 1000:10.1f}"
            f"{row['writes']:>9}{row['shells']:>9}"
        )


def _each(cost: Cost, start: Cost, machines: int) -> tuple[float, float]:
    """Milliseconds of CPU and wall time a machine, without Ansible's start."""
    return (cost.cpu - start.cpu) / machines * 1000, (cost.wall - start.wall) / machines * 1000


def _show_row(row: Row, start: Cost) -> None:
    cpu, wall = _each(row.client, start, row.machines)
    noop_cpu, noop_wall = _each(row.noop, start, row.machines)
    print(
        f"{row.machines:>8}{cpu:>10.1f}{noop_cpu:>10.1f}{cpu / noop_cpu:>8.2f}{wall:>12.1f}{noop_wall:>10.1f}"
        f"{row.client.peak:>11.0f}{row.noop.peak:>8.0f}",
        flush=True,
    )


def _show_growth(rows: t.Sequence[Row]) -> None:
    """What a further machine costs between two sizes: the same everywhere where growth is linear."""
    steps = []
    for small, large in zip(rows, rows[1:], strict=False):
        more = large.machines - small.machines
        cpu = (large.client.cpu - small.client.cpu) / more * 1000
        ratio = (large.client.cpu - small.client.cpu) / (large.noop.cpu - small.noop.cpu)
        memory = (large.client.peak - small.client.peak) / more * 1024
        steps.append(
            f"{small.machines} to {large.machines}: {cpu:.1f} ms of CPU ({ratio:.2f} no-ops), {memory:.0f} kB of memory"
        )
    print("A further client costs, from", "; ".join(steps))


def main() -> int:
    """Count, measure, print; the exit code tells whether the counts are within their limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"only {' and '.join(map(str, _SHORT))} machines")
    parser.add_argument("--machines", type=int, nargs="+", help="numbers of machines instead")
    parser.add_argument("--times", type=int, default=3, help="runs of each play up to 200 machines, then one (3)")
    parser.add_argument("--forks", type=int, default=10, help="Ansible's forks (10)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures to a file as well")
    options = parser.parse_args()
    sizes = sorted(options.machines or (_SHORT if options.short else _LONG))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return _run(Controller(pathlib.Path(name), options.forks), pathlib.Path(name), sizes, options)


def _run(controller: Controller, folder: pathlib.Path, sizes: t.Sequence[int], options: argparse.Namespace) -> int:
    print("One task on a settled machine, NTLM handshake included")
    print("                requests     kB sent   kB received   writes   shells")
    counts = {connection: count(controller, folder, connection) for connection in ("winrm", "psrp")}
    for connection, counted in counts.items():
        _show_counts(connection, counted)
    print(f"\nThe controller, a machine (winrm, {options.forks} forks, {os.cpu_count()} CPUs); memory of the whole run")
    print("machines    CPU ms     no-op   ratio     wall ms     no-op    peak MB   no-op", flush=True)
    start = measure(controller, folder, 1, options.times).noop
    rows = []
    for size in sizes:
        rows.append(measure(controller, folder, size, options.times if size <= 200 else 1))
        _show_row(rows[-1], start)
    if len(rows) > 1:
        _show_growth(rows)
    print(f"The aim is a ratio of {_AIM} at most. Ansible's own start took {start.cpu:.1f} s of CPU and is not in it.")
    if options.json:
        figures = {"counts": counts, "start": dataclasses.asdict(start), "rows": [dataclasses.asdict(r) for r in rows]}
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    over = [
        f"{kind} over {connection}: {excess}"
        for connection, counted in counts.items()
        for kind, row in counted.items()
        for excess in settled.over_limits(kind, row)
    ]
    print("\n".join(over) or "The counts are within their limits.")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
