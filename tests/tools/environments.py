# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual environments, one for each ansible-core release, under ``build/venv``.

Runs on any Python 3.10 or newer, with the standard library only:
``environments.py path [RELEASE]`` prints where an environment stands, ``environments.py make [RELEASE ...]`` makes
those that are missing or outdated, ``environments.py kerberos [RELEASE ...]`` adds what is built against the Kerberos
library, ``environments.py list`` tells which releases this machine has an interpreter for.
RELEASE is a section of ``tests/matrix/ansible-core.cfg``, ``oldest`` or ``newest`` (of those that this machine can
run; the default).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import configparser
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from house import BUILD, ROOT, StepFailed, run

MATRIX = ROOT / "tests" / "matrix" / "ansible-core.cfg"
_RUNTIME = "meta/ee-requirements.txt"
_REQUIREMENTS = (_RUNTIME, "tests/lab/requirements.txt", "tests/requirements.txt")
_LINT_REQUIREMENTS = "tests/requirements-lint.txt"
# Only where it can be built; tests that need it are skipped elsewhere.
_KERBEROS_REQUIREMENTS = "tests/requirements-kerberos.txt"
# A Python without ensurepip (Debian without python3-venv) cannot make an environment.
# What is told is the interpreter itself, never one of an environment: that environment may be the one to be made anew.
_PROBE = """\
import ensurepip, os, ssl, sys, venv
print("%d.%d" % sys.version_info[:2])
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
"""


def releases() -> dict[str, list[str]]:
    """ansible-core release -> Python versions that run it, the preferred one first; oldest release first."""
    matrix = configparser.ConfigParser()
    matrix.read(MATRIX, encoding="utf-8")
    return {release: matrix[release]["python"].split() for release in matrix.sections()}


def _candidates(version: str) -> list[Path]:
    """Where a Python of this version may stand: this one, PATH, pyenv, uv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    uv = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "uv" / "python"
    found = [Path(sys.executable)] if sys.version_info[:2] == tuple(map(int, version.split("."))) else []
    found += [Path(path) for name in (f"python{version}", "python3") if (path := shutil.which(name))]
    found += sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    found += sorted(uv.glob(f"cpython-{version}.*/bin/python3"), reverse=True)
    return found


@functools.cache
def interpreter(version: str) -> Path | None:
    """A Python of this version that can make a virtual environment, or None."""
    for path in _candidates(version):
        probe = subprocess.run([path, "-c", _PROBE], capture_output=True, text=True, check=False)
        found = probe.stdout.splitlines()
        if probe.returncode == 0 and found[0] == version:
            return Path(found[1])
    return None


def interpreter_for(release: str) -> Path | None:
    """The preferred Python of this machine for an ansible-core release, or None."""
    return next((path for version in releases()[release] if (path := interpreter(version))), None)


def runnable() -> list[str]:
    """The ansible-core releases that this machine has a Python for, oldest first."""
    return [release for release in releases() if interpreter_for(release)]


def resolve(release: str) -> str:
    """Turn ``oldest`` and ``newest`` into the release that they mean on this machine."""
    known = list(releases())
    if release in known:
        return release
    if release not in ("oldest", "newest"):
        raise SystemExit(f"{release} is none of {', '.join(known)}, oldest, newest.")
    # Asking from the end that is wanted starts no more interpreters than needed.
    for candidate in known if release == "oldest" else reversed(known):
        if interpreter_for(candidate):
            return candidate
    raise SystemExit("No Python from 3.10 on with the venv module was found (on Debian: apt-get install python3-venv).")


def path_of(release: str) -> Path:
    """Where the environment of a release stands."""
    return BUILD / "venv" / release


def _lowest() -> list[str]:
    """The oldest libraries that the collection claims to run with."""
    lines = (ROOT / _RUNTIME).read_text(encoding="utf-8").splitlines()
    return [line.replace(">=", "==") for line in lines if ">=" in line]


def make(release: str, *, lint: bool) -> Path:
    """Make the environment of a release unless one made from the same requirements is there; return its folder."""
    python = interpreter_for(release)
    if python is None:
        raise SystemExit(f"ansible-core {release} needs Python {' or '.join(releases()[release])}: none was found.")
    wanted = [*_REQUIREMENTS, *([_LINT_REQUIREMENTS] if lint else [])]
    # The oldest ansible-core is tested with the oldest libraries, unless it is the only one here.
    pins = _lowest() if release == resolve("oldest") != resolve("newest") else []
    digest = hashlib.sha256("\n".join([str(python), *pins]).encode())
    for name in wanted:
        digest.update((ROOT / name).read_bytes())
    folder, stamp = path_of(release), path_of(release) / "made-from"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest.hexdigest():
        return folder
    # The lint tools ask for more, never for less: an environment that has them serves the tests as well.
    files = ["tests/requirements.txt", *([_LINT_REQUIREMENTS] if lint else [])]
    options = [option for name in files for option in ("-r", name)]
    run(f"venv {release} create", [python, "-m", "venv", "--clear", folder])
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip"]
    run(f"venv {release} install", [*pip, "install", f"ansible-core~={release}.0", *pins, *options])
    stamp.write_text(digest.hexdigest(), encoding="utf-8")
    return folder


def make_all(wanted: Sequence[str]) -> list[str]:
    """Make the environments of several releases at the same time; return the releases of which that failed."""
    known = list(dict.fromkeys(wanted))
    # One environment carries the lint tools: the newest, which is also the one that is worked in.
    with concurrent.futures.ThreadPoolExecutor(len(known)) as pool:
        made = {release: pool.submit(make, release, lint=release == resolve("newest")) for release in known}
    failed = []
    for release, future in made.items():
        try:
            future.result()
        except StepFailed:
            failed.append(release)
    return failed


def add_kerberos(release: str) -> None:
    """Install what Kerberos needs where it can be built; where that fails once it is not tried again."""
    folder = path_of(release)
    stamp = folder / "kerberos-tried"
    if stamp.exists() or not (shutil.which("krb5-config") and (shutil.which("cc") or shutil.which("gcc"))):
        return
    with contextlib.suppress(StepFailed):
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip"]
        # Nothing waits for how fast the library is, but all wait for its compiler.
        env = {"CFLAGS": "-O0"}
        run(f"venv {release} kerberos", [*pip, "install", "-r", _KERBEROS_REQUIREMENTS], env=env)
    stamp.touch()


def main() -> int:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["path", "make", "kerberos", "list"])
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=", ".join([*releases(), "oldest", "newest"]))
    options = parser.parse_args()
    if options.what == "list":
        for release, versions in releases().items():
            print(f"ansible-core {release}: {interpreter_for(release) or 'no Python ' + ', '.join(versions) + ' here'}")
        return 0
    wanted = [resolve(release) for release in options.releases or ["newest"]]
    if options.what == "make":
        return len(make_all(wanted))
    for release in wanted:
        if options.what == "path":
            print(path_of(release))
        else:
            add_kerberos(release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
