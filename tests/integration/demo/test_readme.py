# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's own inventory and commands, run against a simulated fleet in place of a real one."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import typing as t

import pytest
import yaml
from integration.kit import ROOT, environment, program

from lab.client import LabProcess

README = (ROOT / "README.md").read_text(encoding="utf-8")
KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK222"
FLEET: dict[str, t.Any] = {
    "seed": 1,
    "keys": [{"key": KEY, "kind": "csvlk", "product": "server-2022"}],
    "dns": {"zones": {"corp.example.com": {}, "branch.example.net": {}}},
    "machines": {
        **{
            name: {"windows": "server2022/ServerStandard", "domain": "corp.example.com", "group": "kms_hosts"}
            for name in ("kms1", "kms2")
        },
        "srv": {"count": 6, "windows": "server2022/ServerStandard", "domain": "corp.example.com"},
    },
}


def blocks(language: str = "") -> list[str]:
    """The README's fenced blocks of a language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def commands(start: str) -> list[list[str]]:
    """The README's commands that begin so, without their comments."""
    lines = [line for block in blocks() for line in block.splitlines() if line.startswith(start)]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A folder as the README has it: inventory and vaulted key; a second inventory file leads into the lab."""
    inventory = tmp_path / "inventory"
    vault = inventory / "group_vars" / "kms_hosts" / "vault.yml"
    vault.parent.mkdir(parents=True)
    (inventory / "kms.yml").write_text(blocks("yaml")[0], encoding="utf-8")
    (tmp_path / "password").write_text("vault", encoding="utf-8")
    vault.write_text(yaml.safe_dump({"vault_kms_host_key": KEY}), encoding="utf-8")
    run(tmp_path, ["ansible-vault", "encrypt", "--vault-password-file", "password", str(vault)])
    with LabProcess(FLEET) as lab:
        connections = yaml.safe_load(lab.inventory())
        nameservers = connections["all"]["vars"]["kms_host_nameservers"]
        connections["all"]["vars"] = {"kms_host_nameservers": nameservers, "kms_host_verify_delay": 1}
        (inventory / "lab.yml").write_text(yaml.safe_dump(connections), encoding="utf-8")
        yield tmp_path


def run(folder: pathlib.Path, command: list[str]) -> str:
    """Run an Ansible command; a password that is asked for is read from a file instead."""
    words = [part for word in command for part in _unattended(word)]
    done = subprocess.run(
        [program(words[0]), *words[1:]],
        cwd=folder,
        env=environment(folder, ANSIBLE_CALLBACK_RESULT_FORMAT="yaml"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def _unattended(word: str) -> list[str]:
    return ["--vault-password-file", "password"] if word == "--ask-vault-pass" else [word]


def test_site_of_the_readme_predicts_deploys_and_settles(folder: pathlib.Path) -> None:
    predict, deploy = (words for words in commands("ansible-playbook") if "fleetops.kms.site" in words)
    assert "corp.example.com, 10, 100" in run(folder, predict)
    assert "clients licensed: 6 of 6" in run(folder, deploy)
    recap = run(folder, deploy).partition("PLAY RECAP")[2]
    assert set(re.findall(r"changed=(\d+)", recap)) == {"0"}


def test_artifact_is_built_and_installed_as_the_readme_says(tmp_path: pathlib.Path) -> None:
    build, install = commands("ansible-galaxy")
    run(tmp_path, [*build, str(ROOT)])
    # The checkout stands in the collections path of the tests, too: without --force there is nothing to do.
    run(tmp_path, [*install, "--offline", "--force", "-p", str(tmp_path / "collections")])
    installed = tmp_path / "collections" / "ansible_collections" / "fleetops" / "kms"
    assert (installed / "MANIFEST.json").exists()
    assert (installed / "playbooks" / "site.yml").exists()
