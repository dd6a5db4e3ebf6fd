# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback of the benchmarks: when each play and task begins, and what the machines had counted by then.

PHASES_FILE names the file of JSON lines, PHASES_LAB the control API of the lab. A play begins when no worker is at
work, so that the counters between two plays belong to the first.
"""

from __future__ import annotations

import json
import os
import time
import typing as t
import urllib.request

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: phases
type: notification
short_description: Times of plays and tasks, and counters of the lab
description: For benchmarks.
"""


class CallbackModule(CallbackBase):
    """Writes one line for each play and task, and what set_stats has left at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "phases"

    def __init__(self) -> None:
        super().__init__()
        self._file = open(os.environ["PHASES_FILE"], "a", encoding="utf-8")  # noqa: SIM115

    def _write(self, kind: str, **row: t.Any) -> None:
        self._file.write(json.dumps({"kind": kind, "at": time.monotonic(), **row}, default=str) + "\n")
        self._file.flush()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play begins."""
        self._write("play", name=play.get_name(), totals=_totals())

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """A task begins."""
        self._write("task", name=task.get_name())

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        """The run is over."""
        self._write("stats", totals=_totals(), custom=stats.custom.get("_run", {}))


def _totals() -> t.Any:
    request = urllib.request.Request(f"{os.environ['PHASES_LAB']}/totals", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]
