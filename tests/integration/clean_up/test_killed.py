# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller that is killed, each time at another moment, and started once more."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import typing as t

from integration.clean_up.rogue_fleet import (
    ATTIC,
    ATTIC_DOMAIN,
    CLEAN_UP,
    CONVERT,
    CORP,
    HEALED,
    KMS1,
    fleet,
    key_calls,
    quickly,
    records,
    rows,
    targets,
    with_attic,
)
from integration.clean_up.rogue_fleet import run as run_playbook
from integration.kit import Ansible, environment, program, writes

from lab.client import LabProcess

ROGUES = ["shop", *(f"web{number:02}" for number in range(1, 6))]
NAMES = [ATTIC, *(f"{name}.{CORP}" for name in ROGUES)]

#: How long to wait between two looks at the lab (seconds).
_LOOK = 0.02


def installed(lab: LabProcess) -> int:
    return sum(calls.count("InstallProductKey") for calls in key_calls(lab).values())


def is_converted(lab: LabProcess, name: str) -> bool:
    """Whether a machine is done: the mark that is there until then is gone."""
    is_marked = "KeyManagementServiceVersion" in str(lab.call("state", machine=name)["registry"])
    return "Activate" in key_calls(lab).get(name, ()) and not is_marked


#: The moments at which the controller dies, in the order in which they come.
MOMENTS: dict[str, t.Callable[[LabProcess], bool]] = {
    "the clients are steered": lambda lab: (CORP, KMS1, "0", "65535") in records(lab),
    "the first machine has its client key": lambda lab: installed(lab) >= 1,
    "the records of one are gone, its publish list is not": lambda lab: bool(set(NAMES) - targets(lab)),
    "a batch is half done": lambda lab: installed(lab) >= 4,
    "the last record is gone": lambda lab: not targets(lab) & set(NAMES),
}


def descendants(pid: int) -> list[int]:
    """The processes below one, by what /proc says of their parents."""
    children: dict[int, list[int]] = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def kill_when(
    reached: t.Callable[[LabProcess], bool], lab: LabProcess, folder: pathlib.Path, playbook: str, *arguments: str
) -> None:
    """Start a run and kill it, with all of its workers, as soon as the lab shows the moment."""
    command = [program("ansible-playbook"), "-i", str(lab.inventory_path), playbook, *quickly(lab), *arguments]
    with (
        (folder / "killed.log").open("w", encoding="utf-8") as log,
        tempfile.TemporaryDirectory(prefix="killed-") as left,  # who is killed cleans up nothing
    ):
        env = environment(folder, TMPDIR=left)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=env)
        try:
            while not reached(lab):
                assert process.poll() is None, (folder / "killed.log").read_text(encoding="utf-8")
                time.sleep(_LOOK)
        finally:
            for pid in descendants(process.pid):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            process.wait()


def test_whenever_it_dies_the_next_run_ends_in_the_same_healed_state(ansible: Ansible, tmp_path: pathlib.Path) -> None:
    with LabProcess(with_attic(fleet(rogues=len(ROGUES)))) as lab:
        for moment, reached in MOMENTS.items():
            assert not reached(lab), moment
            kill_when(reached, lab, tmp_path, CLEAN_UP)
        lab.call("settle")
        run_playbook(ansible, lab, CLEAN_UP).assert_ok()
        assert records(lab) == HEALED
        # Nothing was converted twice, and no host key was touched.
        assert key_calls(lab) == {name: ["InstallProductKey", "Activate"] for name in NAMES}
        for name in NAMES:
            state = lab.call("state", machine=name)
            assert [row["license_status"] for row in state["licences"]] == [1], name
            assert "DnsDomainPublishList" not in str(state["registry"])
            assert "KeyManagementServiceVersion" not in str(state["registry"])
            assert not any(rule["enabled"] == 1 for rule in state["firewall"]), name
        lab.reset_stats()
        again = run_playbook(ansible, lab, CLEAN_UP).assert_ok()
        assert writes(lab) == []
        assert not [row for row in again.rows if row["kind"] != "stats" and row["result"].get("changed")]


def test_records_in_a_domain_that_is_not_declared_are_found_again(ansible: Ansible, tmp_path: pathlib.Path) -> None:
    """It dies when the machine is done and its record still there: without a list, the machine keeps nothing of it."""
    described = with_attic(fleet(rogues=2, clients=1))
    for name in ("web", "shop"):
        del described["machines"][name]
    left = (ATTIC_DOMAIN, ATTIC, "0", "0")
    with LabProcess(described) as lab:
        with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
            server = f"kms_dns_server=127.0.0.1:{silent.getsockname()[1]}"
            kill_when(lambda lab: is_converted(lab, ATTIC), lab, tmp_path, CONVERT, "-e", server)
        lab.call("settle")
        assert "DnsDomainPublishList" not in str(lab.call("state", machine=ATTIC)["registry"])
        assert records(lab) == {*HEALED, left}
        done = run_playbook(ansible, lab, CONVERT).assert_ok()
        assert {name: row["values_left"] for name, row in rows(done).items()} == {ATTIC: []}
        assert records(lab) == HEALED
        assert key_calls(lab) == {ATTIC: ["InstallProductKey", "Activate"]}
