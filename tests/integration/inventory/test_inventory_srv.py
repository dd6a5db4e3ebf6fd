# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory srv as ansible-inventory and ansible-playbook see it, with a DNS server that tries to be evaluated."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import dns.query
import dns.tsig
import dns.update
import pytest
import yaml
from integration.kit import environment, program
from integration.srv_record.servers import KEY_NAME, KEY_SECRET, Named, missing
from unit.dns.loopback_dns import running, zones

CORP = (
    "corp.example.com.",
    "_vlmcs._tcp SRV 10 100 1688 KMS1\n_vlmcs._tcp SRV 0 0 1688 web07\n_vlmcs._tcp.lab SRV 0 0 1688 web07\n"
    "_vlmcs._tcp SRV 0 0 1688 {{7*191}}\n_vlmcs._tcp SRV 0 0 1688 -oProxyCommand\n_vlmcs._tcp SRV 0 0 1688 localhost.\n"
    "kms1 A 192.0.2.1\nweb07 A 192.0.2.7\n",
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "test.kms_srv.yml"


def configure(source: Path, server: str, **options: Any) -> None:
    """Write the configuration file of the plugin."""
    content = {
        "plugin": "fleetops.kms.srv",
        "domains": ["corp.example.com", "broken.example.org"],
        "approved_hosts": ["kms1.corp.example.com"],
        "nameservers": [server],
        "retries": 0,
        **options,
    }
    source.write_text(yaml.safe_dump(content), encoding="utf-8")


def run(source: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run an Ansible program on the inventory."""
    name, *arguments = command
    return subprocess.run(
        [program(name), "-i", str(source), *arguments],
        env=environment(source.parent, ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED="1", **env),
        cwd=source.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def plain(value: Any) -> Any:
    """Return JSON without the mark by which ansible-core before 2.19 tells text that must not be a template."""
    if isinstance(value, dict):
        return (
            plain(value["__ansible_unsafe"]) if "__ansible_unsafe" in value else {k: plain(v) for k, v in value.items()}
        )
    return [plain(item) for item in value] if isinstance(value, list) else value


def test_list_shows_hosts_groups_and_variables(source: Path) -> None:
    with running(zones(CORP, transfers=True)) as server:
        configure(source, server.entry, zone_transfer=True)
        done = run(source, "ansible-inventory", "--list")
    assert done.returncode == 0, done.stderr
    listed = plain(json.loads(done.stdout))
    assert set(listed["_meta"]["hostvars"]) == {"kms1.corp.example.com", "web07.corp.example.com"}
    assert listed["_meta"]["hostvars"]["web07.corp.example.com"] == {
        "kms_approved": False,
        "kms_srv_domains": ["corp.example.com", "lab.corp.example.com"],
        "kms_resolves": True,
        "kms_srv": [
            {"domain": domain, "priority": 0, "weight": 0, "port": 1688, "ttl": 3600}
            for domain in ("corp.example.com", "lab.corp.example.com")
        ],
    }
    assert listed["kms_approved"]["hosts"] == ["kms1.corp.example.com"]
    assert listed["kms_rogue"]["hosts"] == ["web07.corp.example.com"]
    assert listed["kms_domain_lab_corp_example_com"]["hosts"] == ["web07.corp.example.com"]
    warnings = " ".join(done.stderr.split())
    assert "broken.example.org" in warnings
    assert "{{7*191}}.corp.example.com" in warnings
    assert "-oproxycommand.corp.example.com" in warnings
    assert "localhost" in warnings
    assert "1337" not in done.stdout + done.stderr


def test_play_runs_on_the_groups_with_the_variables(source: Path) -> None:
    book = source.parent / "play.yml"
    task = {
        "ansible.builtin.assert": {
            "that": [
                "kms_srv[0].priority + kms_srv[0].weight == 0",
                "kms_srv_domains == ['corp.example.com']",
                "groups['kms_approved'] == ['kms1.corp.example.com']",
                "groups['kms_stale'] == []",
            ]
        }
    }
    book.write_text(yaml.safe_dump([{"hosts": "kms_rogue", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    with running(zones(CORP)) as server:
        configure(source, server.entry)
        done = run(source, "ansible-playbook", str(book))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "web07.corp.example.com" in done.stdout


def test_cache_serves_a_second_run_and_flush_cache_renews_it(source: Path) -> None:
    book = source.parent / "play.yml"
    book.write_text(yaml.safe_dump([{"hosts": "kms_rogue"}]), encoding="utf-8")
    with running(zones(CORP)) as server:
        configure(source, server.entry, domains=["corp.example.com"], cache=True)
        env = {
            "ANSIBLE_INVENTORY_CACHE_PLUGIN": "jsonfile",
            "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(source.parent / "cache"),
        }
        first = run(source, "ansible-inventory", "--list", **env)
        asked = len(server.questions)
        second = run(source, "ansible-inventory", "--list", **env)
        assert len(server.questions) == asked
        run(source, "ansible-playbook", "--list-hosts", "--flush-cache", str(book), **env)
        assert len(server.questions) == 2 * asked
    assert asked
    assert second.stdout == first.stdout


def test_no_useful_answer_at_all_fails_and_names_the_server(source: Path) -> None:
    with running(zones(CORP)) as server:
        configure(source, server.entry, domains=["broken.example.org"])
        done = run(source, "ansible-inventory", "--list")
    assert done.returncode != 0
    told = " ".join(done.stderr.split())
    assert f"broken.example.org: {server.entry} refused to answer (REFUSED)" in told


@pytest.mark.skipif(bool(missing("named")), reason=missing("named"))
@pytest.mark.parametrize(
    ("key", "told"),
    [
        ({"tsig_name": KEY_NAME, "tsig_secret": KEY_SECRET}, ""),
        ({"tsig_name": KEY_NAME, "tsig_secret": "YW5vdGhlcg=="}, "does not take the key"),
        ({}, "refused the transfer"),
    ],
    ids=["right", "wrong", "none"],
)
def test_bind_transfers_its_zone_to_who_has_the_key(source: Path, key: dict[str, str], told: str) -> None:
    rights = f'allow-update {{ key "{KEY_NAME}"; }}; allow-transfer {{ key "{KEY_NAME}"; }};'
    with Named(source.parent, {"corp.example.com": rights}) as server:
        update = dns.update.UpdateMessage("corp.example.com", keyring=dns.tsig.Key(f"{KEY_NAME}.", KEY_SECRET))
        update.add("_vlmcs._tcp", 600, "SRV", "10 100 1688 kms1")
        update.add("_vlmcs._tcp.lab", 600, "SRV", "0 0 1688 web07")
        dns.query.tcp(update, "127.0.0.1", port=server.port, timeout=10)
        configure(source, server.entry, domains=["corp.example.com"], zone_transfer=True, **key)
        done = run(source, "ansible-inventory", "--list")
    assert done.returncode == 0, done.stderr
    found = plain(json.loads(done.stdout))
    assert ("kms_domain_lab_corp_example_com" in found) is not bool(told)
    assert told in " ".join(done.stderr.split())
    assert found["kms_stale"]["hosts"] == sorted(found["_meta"]["hostvars"])
    assert all(secret not in done.stdout + done.stderr for secret in (KEY_SECRET, "YW5vdGhlcg=="))
