# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The DNS plugins in a real run of Ansible, with a DNS server that tries to be evaluated."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from unit.dns.loopback_dns import running, zones

ROOT = Path(__file__).parents[3]
CORP = ("corp.example.com.", "_vlmcs._tcp SRV 20 100 1688 kms2\n_vlmcs._tcp SRV 10 100 1688 kms1\n")
HOSTILE = ("evil.example.com.", "_vlmcs._tcp SRV 0 0 1688 {{7*191}}\n")


def play(tmp_path: Path, server: str, *tasks: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run tasks with ``kms_nameservers`` set to the server."""
    variables = {"kms_nameservers": [server], "ansible_python_interpreter": sys.executable}
    book = tmp_path / "play.yml"
    book.write_text(
        yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": list(tasks)}]),
        encoding="utf-8",
    )
    tool = Path(os.environ.get("FLEETOPS_KMS_BIN") or Path(sys.executable).parent) / "ansible-playbook"
    return subprocess.run(
        [str(tool), "-i", "localhost,", "-c", "local", str(book)],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "dev"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
            "ANSIBLE_FORCE_COLOR": "false",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_playbook_proves_what_dns_says(tmp_path: Path) -> None:
    wanted = (
        "['corp.example.com, 10, 100'] | fleetops.kms.wanted_records('kms1.corp.example.com') "
        "+ ['corp.example.com, 20, 100'] | fleetops.kms.wanted_records('kms2.corp.example.com')"
    )
    tasks = [
        {
            "ansible.builtin.assert": {
                "that": [
                    "lookup('fleetops.kms.srv', 'corp.example.com', wantlist=True) is fleetops.kms.published(wanted)",
                    "lookup('fleetops.kms.srv', 'corp.example.com', wantlist=True)[:1] "
                    "is not fleetops.kms.published(wanted)",
                ]
            },
            "vars": {"wanted": "{{ " + wanted + " }}"},
        },
        {
            "ansible.builtin.copy": {
                "dest": str(tmp_path / "out.json"),
                "content": "{{ found | to_json }}",
                "mode": "0600",
            },
            "vars": {
                "found": {
                    "table": "{{ query('fleetops.kms.srv', 'corp.example.com') | fleetops.kms.srv_table }}",
                    "shares": "{{ query('fleetops.kms.srv', 'corp.example.com') | fleetops.kms.shares }}",
                    "publish": "{{ ['corp.example.com,10'] | fleetops.kms.publish_list }}",
                }
            },
        },
    ]
    with running(zones(CORP)) as server:
        run = play(tmp_path, server.entry, *tasks)
    assert run.returncode == 0, run.stdout + run.stderr
    out = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert out["table"][1].split() == ["corp.example.com", "10", "100", "1688", "kms1.corp.example.com", "100", "%"]
    assert out["shares"] == {"corp.example.com": {"kms1.corp.example.com": 1.0, "kms2.corp.example.com": 0.0}}
    assert out["publish"] == ["corp.example.com, 10, 0"]


def test_text_from_dns_is_never_a_template(tmp_path: Path) -> None:
    tasks = [
        {
            "ansible.builtin.set_fact": {
                "found": "{{ query('fleetops.kms.srv', 'evil.example.com') }}",
                "table": "{{ query('fleetops.kms.srv', 'evil.example.com') | fleetops.kms.srv_table }}",
                "why": "{{ query('fleetops.kms.srv', 'evil.example.com') | fleetops.kms.publish_findings(wanted) }}",
            },
            "vars": {"wanted": "{{ 'evil.example.com' | fleetops.kms.wanted_records('kms1.example.com') }}"},
        },
        {
            "ansible.builtin.debug": {
                "msg": "{{ found[0].target }} {{ table | last }} {{ why | map(attribute='message') }}"
            }
        },
    ]
    with running(zones(HOSTILE)) as server:
        run = play(tmp_path, server.entry, *tasks)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("{{7*191}}") >= 3
    assert "1337" not in run.stdout


@pytest.mark.parametrize(
    ("call", "text"),
    [
        ("query('fleetops.kms.srv', 'corp.example.com', name_servers=['192.0.2.1'])", "has no option name_servers"),
        ("query('fleetops.kms.srv', 'none.corp.example.com', on_missing='error')", "NXDOMAIN"),
    ],
)
def test_failure_reaches_the_user_in_one_message(tmp_path: Path, call: str, text: str) -> None:
    with running(zones(CORP)) as server:
        run = play(tmp_path, server.entry, {"ansible.builtin.debug": {"msg": "{{ " + call + " }}"}})
    assert run.returncode != 0
    assert text in run.stdout + run.stderr
