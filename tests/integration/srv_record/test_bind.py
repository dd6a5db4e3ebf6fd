# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real BIND: TSIG, its refusals, and many writers at one name."""

from __future__ import annotations

import multiprocessing
import pathlib
import typing as t
from collections.abc import Iterator

import pytest
from integration.kit import Ansible, Data, inventory, play, task
from integration.srv_record.servers import KEY_NAME, KEY_SECRET, Named, missing

pytestmark = pytest.mark.skipif(bool(missing("named")), reason=missing("named"))

DOMAIN = "corp.example.com"
SIGNED = f'allow-update {{ key "{KEY_NAME}"; }};'
WRITERS = 8


@pytest.fixture
def named(tmp_path: pathlib.Path) -> Iterator[Named]:
    with Named(tmp_path, {DOMAIN: SIGNED, "example.com": SIGNED}) as server:
        yield server


def wanted(named: Named, **more: t.Any) -> Data:
    return {
        "domain": DOMAIN,
        "target": f"kms1.{DOMAIN}",
        "server": named.entry,
        "tsig_name": KEY_NAME,
        "tsig_secret": KEY_SECRET,
        **more,
    }


LOCAL = inventory({"controllers": {"localhost": {"ansible_connection": "local"}}})


def test_a_value_is_predicted_made_proven_and_removed(ansible: Ansible, named: Named) -> None:
    publish = wanted(named, priority=10, weight=100, ttl=300)
    predicted = ansible.playbook([play("all", task("record", "srv_record", publish))], LOCAL, "--check", "--diff")
    assert named.values(DOMAIN) == []
    run = ansible.playbook(
        [
            play(
                "all",
                task("publish", "srv_record", publish),
                task("again", "srv_record", publish),
                task("another", "srv_record", wanted(named, target=f"kms2.{DOMAIN}", priority=20)),
                task("rank", "srv_record", wanted(named, priority=0, weight=65535)),
                task("remove", "srv_record", wanted(named, state="absent")),
            )
        ],
        LOCAL,
    ).assert_ok()
    made = run.result("localhost", "publish")
    assert made["changes"] == predicted.assert_ok().result("localhost")["changes"]
    assert made["changed"] and made["verified"] is True and made["zone"] == DOMAIN
    assert made["records"][0]["ttl"] == 300
    assert not run.result("localhost", "again")["changed"]
    assert run.result("localhost", "rank")["changes"] == [
        {
            "setting": f"_vlmcs._tcp.{DOMAIN}",
            "before": [f"10 100 1688 kms1.{DOMAIN}"],
            "after": [f"0 65535 1688 kms1.{DOMAIN}"],
        }
    ]
    assert named.values(DOMAIN) == [f"20 0 1688 kms2.{DOMAIN}"]


#: What an update has otherwise than the one that would be taken; its code, and what the message must say.
REFUSED: dict[str, tuple[Data, str, tuple[str, ...]]] = {
    "another key": ({"tsig_name": "other-key"}, "BADKEY", ("tsig_name",)),
    "another secret": ({"tsig_secret": "b3RoZXItc2VjcmV0LTEyMzQ="}, "BADSIG", ("tsig_secret",)),
    "another domain": ({"domain": "example.org"}, "REFUSED", ("serves neither",)),
    "another zone": ({"zone": "com"}, "NOTAUTH", ("primary",)),
    "no key": ({"tsig_name": None, "tsig_secret": None}, "REFUSED", ("tsig_name", "owns it")),
}


def test_a_refusal_names_its_code_and_what_to_do(ansible: Ansible, named: Named) -> None:
    tasks = []
    for name, (more, _code, _says) in REFUSED.items():
        arguments = {key: value for key, value in wanted(named, **more).items() if value is not None}
        tasks.append(task(name, "srv_record", arguments, ignore_errors=True))
    run = ansible.playbook([play("all", *tasks)], LOCAL)
    for name, (_more, code, says) in REFUSED.items():
        result = run.result("localhost", name)
        assert result["kind"] == "failed" and result["rcode"] == code, (name, result)
        absent = [part for part in (named.entry, *says, "Nothing was changed.") if part not in result["msg"]]
        assert absent == [], (name, result["msg"])
    assert named.values(DOMAIN) == []


def _write(port: int, number: int, barrier: t.Any, failures: t.Any) -> None:
    """One controller of many: publishes its own host, ranks it anew, and takes an old value of it away.

    One host is ranked by all of them at once, each in its own way.
    """
    import dns.name  # a process of its own
    import dns.tsig

    from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import parse_nameserver
    from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
    from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import Updater, Wish
    from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import ZoneServer, read

    key = dns.tsig.Key(dns.name.from_text(KEY_NAME), KEY_SECRET, dns.tsig.HMAC_SHA256)
    server = ZoneServer(parse_nameserver(f"127.0.0.1:{port}"), key)
    zone = dns.name.from_text(DOMAIN)
    own = f"kms{number}"
    steps = [
        (True, own, 1688, 0),
        (True, own, 1689, 0),
        (True, "shared", 1688, number),
        (True, own, 1688, 10),
        (True, "shared", 1688, 100 + number),
        (False, own, 1689, 0),
    ]
    for present, host, its_port, priority in steps:
        record = SrvRecord(DOMAIN, f"{host}.{DOMAIN}", its_port, priority, 100)
        barrier.wait(60)
        outcome = Updater(server, zone, Wish(record, present)).run(read(server, DOMAIN))
        # Where all rank one host, the rank may be another's by the time it is read again.
        if outcome.failure is not None and not (host == "shared" and outcome.failure.code == "NOT_SHOWN"):
            failures.put(f"kms{number}: {outcome.failure}")


def test_concurrent_writers_at_one_name_lose_nothing(named: Named) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, failures = context.Barrier(WRITERS), context.Queue()
    processes = [
        context.Process(target=_write, args=(named.port, number, barrier, failures)) for number in range(WRITERS)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * WRITERS
    assert failures.empty()
    found = named.values(DOMAIN)
    shared = [value for value in found if "shared" in value]
    assert len(shared) == 1 and int(shared[0].split()[0]) >= 100
    own = [f"10 100 1688 kms{number}.{DOMAIN}" for number in range(WRITERS)]
    assert [value for value in found if value not in shared] == own


def test_hosts_of_one_play_publish_at_one_name(ansible: Ansible, named: Named) -> None:
    """Whatever their connection is: none is opened."""
    hosts = {f"kms{number}": {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"} for number in range(WRITERS)}
    arguments = wanted(named, target=f"{{{{ inventory_hostname }}}}.{DOMAIN}", priority=10)
    run = ansible.playbook([play("all", task("publish", "srv_record", arguments))], inventory({"kms_hosts": hosts}))
    assert all(result["verified"] for result in run.assert_ok().results("publish").values())
    assert named.values(DOMAIN) == [f"10 0 1688 kms{number}.{DOMAIN}" for number in range(WRITERS)]
