# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback of the tests: every result as a line of JSON in the file that RESULTS_FILE names."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results_file
type: notification
short_description: Results as lines of JSON
description: For tests.
"""


class CallbackModule(CallbackBase):
    """Writes what the default callback prints, as data."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "results_file"

    def __init__(self) -> None:
        super().__init__()
        self._file = open(os.environ["RESULTS_FILE"], "a", encoding="utf-8")  # noqa: SIM115 (open for the whole run)

    def _write(self, kind: str, result: t.Any) -> None:
        row = {
            "kind": kind,
            "host": result._host.get_name(),
            "task": result._task.get_name(),
            "result": result._result,
        }
        self._file.write(json.dumps(row, default=str) + "\n")
        self._file.flush()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._write("unreachable", result)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        hosts = {host: stats.summarize(host) for host in stats.processed}
        row = {"kind": "stats", "hosts": hosts, "custom": stats.custom.get("_run", {})}
        self._file.write(json.dumps(row, default=str) + "\n")
        self._file.flush()
