# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated fleet to play with until Ctrl-C: ``run_lab.py FLEET.yml``. ``make lab`` runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

from house import BUILD, COLLECTIONS, ROOT, bin_dir

_FOLDER = Path(os.environ.get("FLEETOPS_KMS_LAB_FOLDER") or BUILD / "lab")

_TEXT = """\
{machines} machines are up until Ctrl-C, their inventory is {inventory}. In another terminal:

  cd {root}
  export PATH={bin}:$PATH ANSIBLE_COLLECTIONS_PATH={collections} ANSIBLE_CALLBACK_RESULT_FORMAT=yaml
  ansible-playbook fleetops.kms.site -i {inventory} --check --diff
  ansible-playbook fleetops.kms.site -i {inventory}
  ansible-playbook fleetops.kms.verify -i {inventory}

The simulation itself (its clock, power, DNS, faults) is commanded by:

  export PYTHONPATH=tests LAB_CONTROL={control}
  python -m lab ctl summary
  python -m lab ctl stop_machine machine=kms1.corp.example.com
  python -m lab ctl advance seconds=604800
"""


def _text(ready: t.Mapping[str, t.Any]) -> str:
    """Where things are and what to type; paths from the checkout's folder where they are below it."""
    return _TEXT.format(
        machines=ready["machines"],
        control=ready["control"],
        root=ROOT,
        inventory=os.path.relpath(ready["inventory"], ROOT),
        bin=bin_dir(),
        collections=COLLECTIONS,
    )


def main(arguments: list[str]) -> int:
    """Run the lab of the fleet files and parameters given; its exit code."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    places = ["--state-dir", str(_FOLDER), "--inventory", str(_FOLDER / "inventory.yml")]
    # The lab ends when nobody holds its standard input any more, so also when this process is killed.
    command = [sys.executable, "-m", "lab", "run", *arguments, *places, "--until-eof"]
    # Ctrl-C reaches the lab as well: it is the lab that ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            print(_text(json.loads(line)), flush=True)
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [str(ROOT / "tests" / "lab" / "fleets" / "demo.yml")]))
