# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every static check of the collection, one line each: ``lint.py [NAME ...]`` (all without a name).

Runs with the Python of the virtual environment that holds the lint tools, on the checkout or on the installed
artifact, whichever a tool wants.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from house import BUILD, INSTALLED, ROOT, StepFailed, bin_dir, run, tool_env

_DEV = BUILD / "dev"
_PLUGINS = _DEV / "ansible_collections" / "fleetops" / "kms" / "plugins"
_YAML = (
    "galaxy.yml",
    ".yamllint",
    ".ansible-lint",
    "changelogs",
    "extensions",
    "meta",
    "playbooks",
    "plugins",
    "roles",
)
_TYPED_TESTS = ("tests/lab", "tests/tools", "tests/benchmarks")


@dataclass(frozen=True)
class Check:
    """One tool: its arguments (the first names a program of the environment), where it runs, what it is told."""

    command: tuple[str | Path, ...]
    cwd: Path = ROOT
    env: dict[str, str] = field(default_factory=dict)


def _here(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names that exist in the checkout."""
    return tuple(name for name in names if (ROOT / name).exists())


def checks() -> dict[str, Check]:
    """All checks in the order in which they run, the quick ones first."""
    artifacts = tuple((BUILD / "artifact").glob("fleetops-kms-*.tar.gz"))
    return {
        "format": Check(("ruff", "format", "--check", ".")),
        "ruff": Check(("ruff", "check", "--output-format", "concise", ".")),
        "yamllint": Check(("yamllint", "--strict", *_here((*_YAML, "tests")))),
        "reuse": Check(("reuse", "lint")),
        "changelog": Check(("antsibull-changelog", "lint")),
        "types plugins": Check(
            ("mypy", "--config-file", ROOT / "pyproject.toml", _PLUGINS),
            env={"MYPYPATH": str(_DEV), "MYPY_CACHE_DIR": str(BUILD / "mypy")},
        ),
        "types tests": Check(
            ("mypy", "--config-file", ROOT / "pyproject.toml", *_here(_TYPED_TESTS)),
            env={"MYPYPATH": f"tests{os.pathsep}tests/tools", "MYPY_CACHE_DIR": str(BUILD / "mypy-tests")},
        ),
        "docs": Check(
            ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", INSTALLED),
            cwd=INSTALLED,
        ),
        "ansible-lint": Check(
            ("ansible-lint", "--nocolor", "-c", ROOT / ".ansible-lint", "--project-dir", INSTALLED),
            cwd=INSTALLED,
        ),
        "galaxy-importer": Check(
            ("python", "-m", "galaxy_importer.main", *artifacts),
            cwd=BUILD,
            env={"GALAXY_IMPORTER_CONFIG": str(ROOT / "tests" / "tools" / "galaxy-importer.cfg")},
        ),
    }


def main() -> int:
    """Run the checks that are named on the command line, or all; go on after a failure."""
    table = checks()
    failed = []
    for name in sys.argv[1:] or table:
        check = table[name]
        program, *arguments = check.command
        try:
            run(f"lint {name}", [bin_dir() / program, *arguments], cwd=check.cwd, env={**tool_env(), **check.env})
        except StepFailed:
            failed.append(name)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
