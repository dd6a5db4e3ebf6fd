# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests on several ansible-core releases: ``matrix.py [--sanity] [--short] [RELEASE ...]``.

Without a release all of the matrix are run; a release that this machine has no Python for is skipped, with a line that
says so. Runs with any Python from 3.10 on, after ``install.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from environments import add_kerberos, interpreter_for, make, path_of, releases, resolve
from house import COLLECTIONS, StepFailed, run

_TOOLS = Path(__file__).resolve().parent

#: The slowest first, so that all processors have work to the end.
_LONG = ("tests/integration", "tests/unit")
#: What one release alone could break: every playbook, every module over every connection, and all that is pure.
_SHORT = ("tests/integration/roles", "tests/integration/modules/test_connections.py", "tests/unit")


def _test(release: str, options: argparse.Namespace) -> None:
    """Run the tests of one release; StepFailed if one fails."""
    make(release, lint=release == resolve("newest"))
    bin_dir = path_of(release) / "bin"
    env = {"FLEETOPS_KMS_BIN": str(bin_dir), "FLEETOPS_KMS_COLLECTIONS": str(COLLECTIONS)}
    if options.short:
        # Another release breaks what is generated as it breaks the rest: a few examples show it.
        env["HYPOTHESIS_PROFILE"] = os.environ.get("HYPOTHESIS_PROFILE", "brief")
    else:
        add_kerberos(release)
    if options.sanity:
        run(f"sanity {release}", [bin_dir / "python", _TOOLS / "sanity.py"])
    suites = _SHORT if options.short else _LONG
    run(f"tests {release}", [bin_dir / "python", "-m", "pytest", "-n", options.jobs, *suites], env=env)


def main() -> int:
    """Run, skip, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=", ".join([*releases(), "oldest", "newest"]))
    parser.add_argument("--short", action="store_true", help="the unit tests, the connections and the playbooks")
    parser.add_argument("--jobs", default="auto", help="how many tests run beside each other (auto)")
    parser.add_argument("--sanity", action="store_true", help="run ansible-test sanity as well")
    options = parser.parse_args()
    failed = 0
    for release in dict.fromkeys(map(resolve, options.releases or releases())):
        if interpreter_for(release) is None:
            print(f"skip   ansible-core {release}: no Python {' or '.join(releases()[release])} on this machine")
            continue
        try:
            _test(release, options)
        except StepFailed:
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
