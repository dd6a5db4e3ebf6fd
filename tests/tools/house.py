# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are, and how a step is run: what the other scripts of this folder share (standard library only)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
COLLECTIONS = BUILD / "collections"
INSTALLED = COLLECTIONS / "ansible_collections" / "fleetops" / "kms"

_SHOWN_LINES = 120


class StepFailed(Exception):
    """A step ended with an error; its output has been shown."""


def run(
    name: str,
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    show: str = "",
) -> None:
    """Run one step quietly: one line when it goes well, the end of its output when it fails (then StepFailed).

    ``show`` is a regular expression: only lines that match it are worth showing. The whole output is kept in
    ``build/log/<name>.log``.
    """
    log = BUILD / "log" / f"{name.replace(' ', '-').replace('/', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("wb") as out:
        code = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    seconds = time.monotonic() - started
    told = [f"{'FAILED' if code else 'ok':6} {name} ({seconds:.0f} s)"]
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line for line in lines if re.search(show, line)] or lines
        told += [*lines[-_SHOWN_LINES:], f"       exit code {code}, all of it in {log.relative_to(ROOT)}"]
    # At one go: steps that run beside each other print to the same place.
    sys.stdout.write("\n".join(told) + "\n")
    sys.stdout.flush()
    if code:
        raise StepFailed(name)


def bin_dir() -> Path:
    """The folder of the programs that belong to the Python that runs this script (a virtual environment)."""
    return Path(sys.prefix) / "bin"


def tool_env() -> dict[str, str]:
    """Environment in which the virtual environment's programs find each other and the installed collection."""
    return {
        "PATH": f"{bin_dir()}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
