# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clean-up whose controller is killed again and again, each time at another moment, and started once more."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import time
import typing as t

from integration.clean_up.rogue_fleet import CLEAN_UP, CORP, HEALED, KMS1, fleet, key_calls, quickly, records, targets
from integration.clean_up.rogue_fleet import run as run_playbook
from integration.kit import Ansible, environment, program, writes

from lab.client import LabProcess

ROGUES = ["shop", *(f"web{number:02}" for number in range(1, 6))]
NAMES = [f"{name}.{CORP}" for name in ROGUES]

#: How long to wait between two looks at the lab (seconds).
_LOOK = 0.02


def installed(lab: LabProcess) -> int:
    return sum(calls.count("InstallProductKey") for calls in key_calls(lab).values())


#: The moments at which the controller dies, in the order in which they come.
MOMENTS: dict[str, t.Callable[[LabProcess], bool]] = {
    "the clients are steered": lambda lab: (CORP, KMS1, "0", "65535") in records(lab),
    "the first machine has its client key": lambda lab: installed(lab) >= 1,
    "the records of one are gone, its publish list is not": lambda lab: bool(set(NAMES) - targets(lab)),
    "a batch is half done": lambda lab: installed(lab) >= 3,
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


def kill_when(reached: t.Callable[[LabProcess], bool], lab: LabProcess, folder: pathlib.Path) -> None:
    """Start a clean-up and kill it, with all of its workers, as soon as the lab shows the moment."""
    command = [program("ansible-playbook"), "-i", str(lab.inventory_path), CLEAN_UP, *quickly(lab)]
    with (folder / "killed.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=environment(folder)
        )
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
    with LabProcess(fleet(rogues=len(ROGUES))) as lab:
        for moment, reached in MOMENTS.items():
            assert not reached(lab), moment
            kill_when(reached, lab, tmp_path)
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
