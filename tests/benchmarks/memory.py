# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of a process and all that it has forked: pages that several share count once."""

from __future__ import annotations

import pathlib
import re
import threading
import time
import types

_PROC = pathlib.Path("/proc")
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
#: Seconds between two looks at the least. Each walks the page tables of every process, so that it is paid for by the
#: run that is watched: the pause is so many times as long as the look took.
_PAUSE, _RARE = 1.0, 50


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            words = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(words[1]), []).append(int(entry.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def proportional_kb(pid: int) -> int:
    """The proportional set size of a process, 0 if it has ended: each page is divided by those who share it."""
    try:
        match = _PSS.search((_PROC / str(pid) / "smaps_rollup").read_bytes())
    except OSError:
        return 0
    return int(match[1]) if match else 0


class PeakMemory:
    """Watches a process tree while it is entered; ``megabytes`` is the most that was seen, 0 without /proc."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak_kb = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def megabytes(self) -> float:
        """The most memory that was seen at once, in MB of 1,024 kB."""
        return self._peak_kb / 1024

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            started = time.monotonic()
            self._peak_kb = max(self._peak_kb, sum(map(proportional_kb, tree(self._pid))))
            self._ended.wait(max(_PAUSE, _RARE * (time.monotonic() - started)))
