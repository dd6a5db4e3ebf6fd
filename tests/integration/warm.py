# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of an Ansible program that are forks of one process: Python has read Ansible and the libraries only once.

What a run costs before its first task, a second and a half of CPU, is what most runs of the tests cost. Of the
collection nothing is kept from one run to the next; of Ansible its code, its plugins and its settings are. It reads
these when it is imported: a run with settings of its own has to be started in the ordinary way.

As a program it reads a request a line (``arguments``, ``directory``, ``environment``, ``output``) and answers each
with two lines, the process and its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pathlib
import runpy
import select
import signal
import subprocess
import sys
import typing as t
import warnings

#: What most runs import, except the collection.
_IMPORTED = (
    "ansible.cli.playbook",
    "ansible.utils.unsafe_proxy",
    "asyncio",
    "dns.asyncresolver",
    "dns.rdtypes.ANY.TKEY",
    "dns.resolver",
    "dns.update",
    "pypsrp.powershell",
    "winrm",
)
#: The kinds of plugins that Ansible itself has, and looks through in most runs.
_PLUGINS = (
    "action",
    "cache",
    "callback",
    "connection",
    "filter",
    "inventory",
    "lookup",
    "shell",
    "strategy",
    "test",
    "vars",
)


class WarmStart:
    """The process in front of the runs, which are one after the other; ``environment`` is what it is started with."""

    def __init__(self, python: str, environment: t.Mapping[str, str]) -> None:
        # Not buffered: select sees what was not read. A session of its own: Ctrl-C is for the tests, which end it.
        self._process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            start_new_session=True,
        )
        atexit.register(self.close)

    def run(
        self,
        arguments: t.Sequence[str],
        directory: pathlib.Path,
        environment: t.Mapping[str, str],
        output: pathlib.Path,
        timeout: float,
    ) -> int:
        """Run a Python program, the ``environment`` added to that of the process; returns its exit code.

        A run that takes more than ``timeout`` seconds is killed with its process group: TimeoutExpired.
        """
        output.touch()
        request = {
            "arguments": list(arguments),
            "directory": str(directory),
            "environment": dict(environment),
            "output": str(output),
        }
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        pid = self._answer()
        try:
            if not select.select([self._process.stdout], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(list(arguments), timeout, output.read_bytes())
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._answer()
            raise
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the process in front of the runs ended: {self._process.wait()}"
        return int(line)

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
        self._process.communicate()


def _serve() -> None:
    """Import, then fork for each request; returns in each fork, and when there are no more requests."""
    del sys.path[0]  # the folder of this file
    _import()
    gc.collect()
    gc.freeze()  # else each fork copies what it only looks at
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            return _become(json.loads(line))
        os.setpgid(pid, pid)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    return None


def _import() -> None:
    """Import what a run of Ansible imports before it comes to the collection."""
    for name in _IMPORTED:
        importlib.import_module(name)
    from ansible.plugins import loader

    loader.init_plugin_loader()
    warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")  # each run tries it again
    importlib.import_module("ansible_collections.ansible.builtin")
    for kind in _PLUGINS:
        for _plugin in getattr(loader, f"{kind}_loader").all(class_only=True):
            pass  # read, and kept by the loader


def _become(request: t.Mapping[str, t.Any]) -> None:
    """Make this fork the program that is asked for."""
    from ansible import constants

    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["output"], os.O_WRONLY | os.O_TRUNC),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    os.chdir(request["directory"])
    os.environ.update(request["environment"])
    # Ansible makes it when it is imported, and removes it at the end of each run.
    os.makedirs(constants.DEFAULT_LOCAL_TMP, mode=0o700, exist_ok=True)
    sys.argv = request["arguments"]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
