# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``ansible-test sanity`` on the installed artifact, with the ansible-core and the Python that run this script.

ansible-test makes virtual environments below its user's home and fetches a pip bootstrap script from the internet for
them. Here it is given a home of its own under ``build``, with a script that takes the pip that Python carries: so
package registries are all that it needs, and nothing of the user's is touched.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from house import BUILD, INSTALLED, ROOT, StepFailed, bin_dir, run, tool_env

_HOME = BUILD / "home"
_GET_PIP = '''"""Stands in for get-pip.py: the pip that comes with Python."""
import ensurepip

ensurepip.bootstrap()
'''


def _own_text(name: str) -> str:
    """A file of the ansible-test that is installed."""
    found = importlib.util.find_spec("ansible_test")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("ansible-test is not installed")
    return (Path(found.submodule_search_locations[0]) / name).read_text(encoding="utf-8")


def _pip_versions() -> set[str]:
    """The pip versions that this ansible-test may ask for."""
    return set(re.findall(r"\bpip='([\d.]+)'", _own_text("_internal/python_requirements.py")))


def _skipped() -> list[str]:
    """Tests that contradict the formatter: older releases refuse "def f() -> None: ..." on one line (E704)."""
    ignored = _own_text("_util/controller/sanity/pep8/current-ignore.txt").split()
    return [] if "E704" in ignored else ["--skip-test", "pep8"]


def _prepare_home() -> None:
    """Lay out the home: bootstrap scripts, and the user's own settings of pip (which registry, which certificates)."""
    cache = _HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in _pip_versions():
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(_GET_PIP, encoding="utf-8")
    for name in (".pip", ".config/pip"):
        theirs, ours = Path.home() / name, _HOME / name
        if theirs.exists() and not ours.exists():
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)


def _leave_the_checkout() -> None:
    """Give the installed artifact a git of its own: in the checkout's it is ignored, and nothing would be tested."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        subprocess.run([git, "init", "--quiet", "--template="], cwd=INSTALLED, check=True)


def main() -> int:
    """Run all sanity tests, or those given as further arguments of ansible-test."""
    _prepare_home()
    _leave_the_checkout()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command: list[str | Path] = [
        bin_dir() / "ansible-test",
        "sanity",
        "--python",
        version,
        "--color",
        "no",
        *sys.argv[1:],
    ]
    try:
        env = {**tool_env(), "HOME": str(_HOME)}
        run(f"sanity python {version}", command, cwd=INSTALLED, env=env, show="^(ERROR|FATAL|WARNING: All)")
    except StepFailed:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
