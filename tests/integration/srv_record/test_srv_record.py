# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on the simulated fleet: a Windows DNS server over CIM, dynamic updates, and what is refused at once."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from integration.kit import Ansible, Data, host_vars, inventory, play, task, writes

from lab.client import LabProcess

DOMAIN = "corp.example.com"
OWNER = f"_vlmcs._tcp.{DOMAIN}"
SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"

FLEET: Data = {
    "seed": 1,
    "dns": {
        "tsig": {"kms-key": SECRET},
        "zones": {
            DOMAIN: {
                "records": [
                    {"name": OWNER, "type": "SRV", "data": f"20 100 1688 kms2.{DOMAIN}."},
                    {"name": OWNER, "type": "SRV", "data": f"0 0 1688 web07.{DOMAIN}."},
                    {"name": OWNER, "type": "SRV", "data": f"0 0 1689 web07.{DOMAIN}."},
                    {"name": OWNER, "type": "SRV", "data": f"5 5 1688 web07.{DOMAIN}."},
                ]
            },
            "signed.example.net": {"tsig": "kms-key"},
            "locked.example.net": {"policy": "deny"},
        },
    },
    "machines": {
        "dns1": {"windows": "server2022/ServerStandard", "domain": DOMAIN, "dns_server": True},
        "kms1": {"windows": "server2022/ServerStandard", "domain": DOMAIN},
    },
}


@pytest.fixture
def lab() -> Iterator[LabProcess]:
    with LabProcess(FLEET) as running:
        yield running


def records(result: Data) -> list[str]:
    return [
        f"{row['priority']} {row['weight']} {row['port']} {row['target'].partition('.')[0]}"
        for row in result["records"]
    ]


BEFORE = ["0 0 1688 web07", "0 0 1689 web07", "5 5 1688 web07", "20 100 1688 kms2"]


def by_windows(target: str, **more: t.Any) -> Data:
    return {"domain": DOMAIN, "target": f"{target}.{DOMAIN}", "via": "windows_dns", **more}


@pytest.mark.parametrize("connection", ["winrm", "psrp"])
def test_a_windows_dns_server_is_predicted_changed_proven_and_left_alone(
    ansible: Ansible, lab: LabProcess, connection: str
) -> None:
    hosts = inventory({"dns_servers": {"dns1": host_vars(lab, connection)["dns1"]}})
    steps = [
        task("publish", "srv_record", by_windows("kms1", priority=10, weight=100, ttl=300)),
        task("rank", "srv_record", by_windows("kms2", priority=0, weight=65535)),
        task("merge", "srv_record", by_windows("web07", priority=30)),
        task("remove", "srv_record", by_windows("web07", port=1689, state="absent")),
    ]
    predicted = ansible.playbook([play("all", *steps)], hosts, "--check", "--diff").assert_ok()
    assert writes(lab) == [] and lab.stats()["total"]["writes"] == 0
    run = ansible.playbook([play("all", *steps)], hosts).assert_ok()
    for step in ("publish", "rank", "merge", "remove"):
        made, foreseen = run.results(step)["dns1"], predicted.results(step)["dns1"]
        assert made["changes"] == foreseen["changes"] != [], step
        assert made["verified"] is True and foreseen["verified"] is None
        assert foreseen["diff"]["before"] != foreseen["diff"]["after"]
    assert run.results("merge")["dns1"]["changes"] == [
        {
            "setting": OWNER,
            "before": [f"0 0 1688 web07.{DOMAIN}", f"5 5 1688 web07.{DOMAIN}"],
            "after": [f"30 0 1688 web07.{DOMAIN}"],
        }
    ]
    assert records(run.results("remove")["dns1"]) == [
        "0 65535 1688 kms2",
        "10 100 1688 kms1",
        "30 0 1688 web07",
    ]
    lab.reset_stats()
    again = ansible.playbook([play("all", *steps)], hosts).assert_ok()
    assert not any(again.results(step)["dns1"]["changed"] for step in ("publish", "rank", "merge", "remove"))
    assert lab.stats()["total"]["writes"] == 0


#: Machine, what is asked of it, and what it says.
NOT_SERVED: dict[str, tuple[str, Data, str]] = {
    "no DNS server": ("kms1", {}, "no Windows DNS server"),
    "another domain": ("dns1", {"domain": "example.org"}, "holds no zone"),
    "another zone": ("dns1", {"zone": "example.com"}, "holds no zone"),
}


def test_what_a_windows_server_does_not_hold_is_refused(ansible: Ansible, lab: LabProcess) -> None:
    plays = [
        play(host, task(name, "srv_record", {**by_windows("kms1"), **more}, ignore_errors=True))
        for name, (host, more, _says) in NOT_SERVED.items()
    ]
    run = ansible.playbook(plays, inventory({"servers": host_vars(lab)}))
    for name, (host, _more, says) in NOT_SERVED.items():
        result = run.result(host, name)
        assert result["kind"] == "failed" and says in result["msg"], (name, result)


LOCAL = {"localhost": {"ansible_connection": "local"}}


def test_an_update_by_the_controller_needs_no_connection_and_keeps_its_secret(
    ansible: Ansible, lab: LabProcess
) -> None:
    hosts = inventory({"elsewhere": {"kms1": {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}}})
    arguments = {
        "domain": "signed.example.net",
        "target": f"kms1.{DOMAIN}",
        "server": lab.dns,
        "tsig_name": "kms-key",
        "tsig_secret": "{{ secret }}",
    }
    steps = [
        task("record", "srv_record", arguments),
        task("again", "srv_record", arguments),
        task("refused", "srv_record", {**arguments, "domain": "locked.example.net"}, ignore_errors=True),
        task("unknown", "srv_record", {**arguments, "tsig_name": "no-key"}, ignore_errors=True),
        task("broken", "srv_record", {**arguments, "tsig_secret": "!{{ secret }}"}, ignore_errors=True),
    ]
    variables = {"secret": SECRET}
    run = ansible.playbook([play("all", *steps, vars=variables)], hosts, "-vvvv", "--diff").assert_ok()
    assert run.results("record")["kms1"]["verified"] is True
    assert not run.results("again")["kms1"]["changed"]
    assert run.results("refused")["kms1"]["rcode"] == "REFUSED"
    assert run.results("unknown")["kms1"]["rcode"] == "NOTAUTH"
    assert "not base64" in run.results("broken")["kms1"]["msg"]
    assert SECRET not in run.output


GOOD = {"domain": DOMAIN, "target": f"kms1.{DOMAIN}", "server": "127.0.0.1:9"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"server": None}, ("server", "required")),
        ({"domain": "corp..example.com"}, ("domain",)),
        ({"target": "192.0.2.7"}, ("target", "host name")),
        ({"target": "."}, ("target", "host name")),
        ({"port": 0}, ("port", "1 to 65535")),
        ({"priority": 65536}, ("priority", "0 to 65535")),
        ({"weight": -1}, ("weight", "0 to 65535")),
        ({"ttl": -1}, ("ttl", "0 to 2147483647")),
        ({"timeout": 0}, ("timeout", "1 to 600")),
        ({"zone": "example.net"}, ("zone", "does not lie in")),
        ({"server": "127.0.0.1:70000"}, ("server", "port")),
        ({"tsig_name": "kms-key"}, ("tsig_secret",)),
        ({"tsig_name": "kms-key", "tsig_secret": SECRET, "gss_tsig": True}, ("tsig_name", "gss_tsig")),
        ({"gss_principal": "kms1@EXAMPLE.COM"}, ("server", "host name")),
        ({"via": "windows_dns"}, ("server", "delegate_to")),
        ({"state": "gone"}, ("state", "absent")),
        ({"sever": "192.0.2.1"}, ("sever", "unknown option")),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_sent(more: Data, words: tuple[str, ...]) -> None:
    from ansible_collections.fleetops.kms.plugins.action.srv_record import ActionModule
    from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import InvalidArguments
    from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_record import check, wish_of

    given = {name: value for name, value in {**GOOD, **more}.items() if value is not None}
    with pytest.raises(InvalidArguments) as refusal:
        args = ActionModule.arguments.validate(given)
        wish_of(args)
        check(args)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_a_server_that_does_not_answer_is_told(ansible: Ansible) -> None:
    result = ansible.playbook(
        [play("all", task("record", "srv_record", GOOD))], inventory({"controllers": LOCAL})
    ).result("localhost")
    assert result["kind"] == "failed" and result["rcode"] == "UNREACHABLE" and "127.0.0.1:9" in result["msg"]
