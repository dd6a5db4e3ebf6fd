# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the collection's artifact and install it under ``build/collections``, where Ansible and its tools expect it.

Does nothing when no file has changed since. Runs with the Python of a virtual environment made by ``environments.py``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

from house import BUILD, COLLECTIONS, INSTALLED, ROOT, StepFailed, bin_dir, run, tool_env

ARTIFACTS = BUILD / "artifact"
_STAMP = BUILD / "collections" / ".made-from"
_SKIPPED = {"build", "__pycache__"}


def _fingerprint() -> str:
    """Names, sizes and times of all files that may go into the artifact."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(ROOT):
        names[:] = sorted(name for name in names if name not in _SKIPPED and not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def main() -> int:
    """Build and install if anything changed."""
    fingerprint = _fingerprint()
    if INSTALLED.is_dir() and _STAMP.is_file() and _STAMP.read_text(encoding="utf-8") == fingerprint:
        return 0
    shutil.rmtree(ARTIFACTS, ignore_errors=True)
    shutil.rmtree(INSTALLED, ignore_errors=True)
    galaxy = bin_dir() / "ansible-galaxy"
    try:
        run("build artifact", [galaxy, "collection", "build", "--output-path", ARTIFACTS], env=tool_env())
        (artifact,) = ARTIFACTS.glob("fleetops-kms-*.tar.gz")
        run(
            "install artifact",
            [galaxy, "collection", "install", artifact, "--offline", "--force", "-p", COLLECTIONS],
            env=tool_env(),
        )
    except StepFailed:
        return 1
    _STAMP.write_text(fingerprint, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
