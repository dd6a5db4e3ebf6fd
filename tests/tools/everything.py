# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make test``: all there is to test, on the newest ansible-core and in short on the oldest.

Steps that leave a processor idle now and then run beside each other, the tests on the newest ansible-core have all
processors for themselves. Every part runs even when one before it failed, so that one run shows all there is to mend;
the last line names what failed.

Runs on any Python 3.10 or newer, with the standard library only.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from environments import make_all, path_of, resolve
from house import COLLECTIONS, ROOT

_TOOLS = Path(__file__).resolve().parent
#: The slowest first, so that all processors have work to the end.
_SUITES = ("tests/integration", "tests/unit")


@dataclass(frozen=True)
class Part:
    """A name for the last line, and the command that prints what there is to tell."""

    name: str
    command: Sequence[str | Path]
    env: dict[str, str] = field(default_factory=dict)

    def passes(self) -> bool:
        """Run it."""
        env = {**os.environ, **self.env}
        return subprocess.run([str(word) for word in self.command], cwd=ROOT, env=env, check=False).returncode == 0


def _failed(parts: Sequence[Part]) -> list[str]:
    """Run parts one after the other; the names of those that failed."""
    return [part.name for part in parts if not part.passes()]


def _beside(lanes: Sequence[Sequence[Part]]) -> list[str]:
    """Run rows of parts beside each other; the names of those that failed."""
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        return [name for failed in pool.map(_failed, lanes) for name in failed]


def _test(release: str, oldest: str, jobs: str) -> list[str]:
    """Test the artifact that is installed; the names of the parts that failed."""
    bin_dir = path_of(release) / "bin"
    python = bin_dir / "python"
    env = {
        "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}",
        "FLEETOPS_KMS_BIN": str(bin_dir),
        "FLEETOPS_KMS_COLLECTIONS": str(COLLECTIONS),
    }
    kerberos = Part("kerberos", [sys.executable, _TOOLS / "environments.py", "kerberos", release])
    lint = Part("lint", [python, _TOOLS / "lint.py"], env)
    sanity = Part("sanity", [python, _TOOLS / "sanity.py"], env)
    matrix = Part(f"tests {oldest}", [sys.executable, _TOOLS / "matrix.py", "--short", "--jobs", jobs, oldest])
    tests = Part(f"tests {release}", [python, "-m", "pytest", "-n", jobs, *_SUITES], env)
    beside = [[sanity], [kerberos, lint], [] if oldest == release else [matrix]]
    return [*_beside(beside), *_failed([tests])]


def main() -> int:
    """Make the environments, build, test, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", nargs="?", default="newest", help="the ansible-core to test with (newest)")
    parser.add_argument("--jobs", default="auto", help="how many tests run beside each other (auto)")
    options = parser.parse_args()
    release, oldest = resolve(options.release), resolve("oldest")
    install = Part("build", [path_of(release) / "bin" / "python", _TOOLS / "install.py"])
    if release in make_all([release, oldest]) or not install.passes():
        return 1
    failed = _test(release, oldest, options.jobs)
    print(f"FAILED {', '.join(failed)}" if failed else "ok     all parts", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
