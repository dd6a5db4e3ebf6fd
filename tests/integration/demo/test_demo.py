# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``make demo`` and ``make lab`` do what the README says of them."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import typing as t

import pytest
import yaml
from integration.kit import ROOT, environment, program

TOOLS = ROOT / "tests" / "tools"
DEMO_FLEET = ROOT / "tests" / "lab" / "fleets" / "demo.yml"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> t.Any:
    """The demonstration, with a build folder of its own."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import demo as module

    monkeypatch.setattr(module, "FOLDER", tmp_path / "demo")
    monkeypatch.setattr(module, "LOG", tmp_path / "demo" / "ansible.log")
    return module


def test_demo_tells_its_story_and_keeps_what_ansible_said(demo: t.Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    titles = [line[:15].strip() for line in told.splitlines() if line[:15].strip()]
    assert titles == [
        "a fleet",
        "DNS before",
        "site",
        "DNS after",
        "primary off",
        "site again",
        "what it cost",
        "rogues",
        "find_rogues",
        "clean_up",
        "once more",
        "look next",
    ]
    assert len(told.splitlines()) < 40
    assert os.path.relpath(demo.LOG, ROOT) in told
    assert "PLAY RECAP" in demo.LOG.read_text(encoding="utf-8")


def test_demo_that_goes_wrong_says_what_failed(
    demo: t.Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    fleet = yaml.safe_load(DEMO_FLEET.read_text(encoding="utf-8"))
    fleet["keys"] = []
    fleet["machines"] = {name: fleet["machines"][name] for name in ("kms1", "kms2")}
    broken = tmp_path / "fleet.yml"
    broken.write_text(yaml.safe_dump(fleet), encoding="utf-8")
    monkeypatch.setattr(demo, "FLEET", broken)
    assert demo.main() == 1
    told = capsys.readouterr().err
    assert "The demonstration failed" in told
    assert re.search(r"failed on kms[12]\.corp\.example\.com: 0xC004F050", " ".join(told.split()))
    assert len(told.splitlines()) <= 40


def test_lab_keeps_a_fleet_running_until_ctrl_c(tmp_path: pathlib.Path) -> None:
    fleet = ROOT / "tests" / "lab" / "fleets" / "tiny.yml"
    with subprocess.Popen(
        [sys.executable, TOOLS / "run_lab.py", fleet],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FLEETOPS_KMS_LAB_FOLDER": str(tmp_path)},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        told = ""
        while "ctl advance" not in told:  # the last command
            line = process.stdout.readline()
            assert line, told
            told += line
        inventory = tmp_path / "inventory.yml"
        command = [program("ansible"), "kms_hosts", "-i", str(inventory), "-m", "fleetops.kms.info"]
        done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
    assert done.returncode == 0, done.stdout + done.stderr
    assert told.startswith(f"3 machines are up until Ctrl-C, their inventory is {os.path.relpath(inventory, ROOT)}")
    assert "ansible-playbook fleetops.kms.verify" in told
