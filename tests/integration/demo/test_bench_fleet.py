# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fleet benchmark in small: the clean-up leaves what it has to, and costs a machine no more than it may."""

from __future__ import annotations

import json
import pathlib

import pytest
from benchmarks import fleet

#: Requests and bytes sent in the conversion of one machine, NTLM handshake included.
MOST = {"requests": 45, "bytes_in": 75_000}
ROGUES = 30


def test_small_fleet_is_clean_afterwards(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    size = ["--rogues", str(ROGUES), "--clients", "15", "--slow", "0.05"]
    code = fleet.main([*size, "--keep", str(tmp_path / "run"), "--json", str(figures)])
    told = capsys.readouterr().out
    assert code == 0, told
    assert "Proven from machines and zones" in told
    phases = json.loads(figures.read_text(encoding="utf-8"))["phases"]
    turn = [phase["counted"] for phase in phases if phase["name"] == "Turn rogues into clients"]
    assert len(turn) == 4
    for name, most in MOST.items():
        assert sum(counted[name] for counted in turn) <= most * ROGUES
