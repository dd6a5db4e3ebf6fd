# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Product keys are shown by nothing, and do not travel in the clear."""

from __future__ import annotations

import dataclasses
import select
import socket
import socketserver
import threading
import typing as t

import pytest
from integration.kit import Ansible, Data, Run, host_vars, inventory, play, task

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
CLIENT_KEY = "VDYBN-27WPP-V4HQT-9VMD4-VMK7H"
MAK_KEY = "BMCFP-JVGBT-NQWYX-PMFRK-MK222"
UNKNOWN_KEY = "GTHVN-KPXRW-NMQTJ-DPVCY-YYYYY"
MISTYPED_KEY = "HDRWC-TFXPY-NGMKB-VQJHT-HK2!!"
#: In the firmware of every workstation of the lab; no module asks for it or shows it.
FIRMWARE_KEY = "FRMWR-KKKKK-QQQQQ-NRRRR-W4X2K"
KEYS = (HOST_KEY, CLIENT_KEY, MAK_KEY, UNKNOWN_KEY, MISTYPED_KEY, FIRMWARE_KEY)


def spellings(key: str) -> set[str]:
    """How a key may turn up: whole or without its last five characters, with dashes of both kinds or without."""
    groups = key.split("-")
    parts = (groups, groups[:4])
    return {dash.join(part) for part in parts for dash in ("-", "", " ", "\u2013", "\\u2013")}


def leaks(text: str) -> list[str]:
    """The keys that a text holds, in any spelling and case."""
    lowered = text.lower()
    return [key for key in KEYS if any(spelling.lower() in lowered for spelling in spellings(key))]


def test_the_search_finds_keys_in_every_spelling() -> None:
    for text in ("x qwrtypvkmxnbcdfghjkwhk222 y", "QWRTY-PVKMX-NBCDF-GHJKW", "qwrty\u2013pvkmx\u2013nbcdf\u2013ghjkw"):
        assert leaks(text) == [HOST_KEY]
    assert leaks("*****-HK222") == []


PLAIN: Data = {"auth": ["basic"], "allow_unencrypted": True}
SERVER: Data = {"windows": "server2022/ServerStandard", "domain": "corp.example.com"}
FLEET: Data = {
    "seed": 1,
    "keys": [
        {"key": HOST_KEY, "kind": "csvlk", "product": "server-2022"},
        {"key": MAK_KEY, "kind": "mak", "limit": 50},
    ],
    "dns": {"zones": {"corp.example.com": None}},
    "active_directory": {"activation_objects": [{"name": "all", "key": HOST_KEY}]},
    "machines": {
        "host": SERVER,
        "psrp-host": SERVER,
        "invalid": SERVER,
        "mistyped": SERVER,
        "wrong-kind": SERVER,
        "client": {**SERVER, "licence": "retail", "activated": False},
        "keyed": SERVER,
        "workstation": {"windows": "windows11/Professional", "domain": "corp.example.com"},
        "open-workstation": {"windows": "windows11/Professional", "domain": "corp.example.com", **PLAIN},
        "open-host": {**SERVER, **PLAIN},
        "open-psrp-host": {**SERVER, **PLAIN},
        "open-client": {**SERVER, **PLAIN, "licence": "retail", "activated": False},
        "broken": {**SERVER, "faults": [{"fault": "error", "code": 0x80070057, "method": "InstallProductKey"}]},
    },
}

#: Host: module, and the key it is given, in the spelling of a person.
WORK: dict[str, tuple[str, str]] = {
    "host": ("host", HOST_KEY),
    "psrp-host": ("host", HOST_KEY.lower().replace("-", "\u2013")),
    "invalid": ("host", UNKNOWN_KEY),
    "mistyped": ("host", MISTYPED_KEY),
    "wrong-kind": ("host", MAK_KEY.replace("-", "")),
    "client": ("client", f" {CLIENT_KEY.lower()} "),
    "keyed": ("product_key", MAK_KEY),
    "workstation": ("client", MAK_KEY),
    "open-host": ("host", HOST_KEY),
    "broken": ("host", HOST_KEY),
}
FAILING = {"invalid", "mistyped", "wrong-kind", "workstation", "open-host", "broken"}


def playbook() -> list[Data]:
    """Every module with a key from a variable; what it returns is printed, registered, kept and handed on."""
    key = {"product_key": "{{ given_key }}"}
    tasks = [
        task(f"do {module}", module, key, when=f"use == '{module}'", register=f"done_{module}", ignore_errors=True)
        for module in ("host", "client", "product_key")
    ]
    tasks += [
        task("info", "info", {"events": True}, register="told"),
        task("activate", "activation", {}, register="activated", ignore_errors=True),
        *(
            task(f"print {name}", "ansible.builtin.debug", {"var": name})
            for name in ("done_host", "done_client", "done_product_key", "told", "activated")
        ),
        task(
            "hand on",
            "ansible.builtin.set_stats",
            {"data": {"kms_{{ inventory_hostname | replace('-', '_') }}": "{{ [done_host, told] }}"}},
        ),
        task("keep", "ansible.builtin.set_fact", {"kept": "{{ told }}", "cacheable": True}),
    ]
    return [play("all", *tasks)]


def hosts(lab: LabProcess, names: t.Iterable[str]) -> Data:
    ntlm, psrp = host_vars(lab), host_vars(lab, "psrp")
    found: dict[str, Data] = {}
    for name in names:
        module, key = WORK.get(name, ("none", ""))
        variables = (psrp if "psrp" in name else ntlm)[name]
        found[name] = {**variables, "use": module, "given_key": key}
    return inventory({"machines": found})


@dataclasses.dataclass(frozen=True)
class Story:
    """A run in check mode, and one for real; the log that both wrote; what the lab saw of each way."""

    checked: Run
    real: Run
    log: str
    calls: Data


@pytest.fixture(scope="module")
def lab() -> t.Iterator[LabProcess]:
    with LabProcess(FLEET) as lab:
        yield lab


@pytest.fixture(scope="module")
def story(ansible: Ansible, lab: LabProcess) -> Story:
    log = ansible.folder / "ansible.log"
    env = {"ANSIBLE_LOG_PATH": str(log), "ANSIBLE_SHOW_CUSTOM_STATS": "1", "ANSIBLE_DISPLAY_ARGS_TO_STDOUT": "1"}
    where = hosts(lab, WORK)
    checked = ansible.playbook(playbook(), where, "-vvvv", "--check", "--diff", env=env)
    real = ansible.playbook(playbook(), where, "-vvvvvv", "--diff", env={**env, "ANSIBLE_DEBUG": "1"})
    return Story(checked, real, log.read_text(encoding="utf-8"), lab.stats()["machines"])


def test_the_keys_were_used(story: Story) -> None:
    """Else there would be nothing to leak."""
    installed = {
        name.partition(".")[0]: call["arguments"]["ProductKey"]
        for name, stats in story.calls.items()
        for call in stats["invokes"]
        if call["method"] == "InstallProductKey"
    }
    assert installed["host"] == installed["psrp-host"] == "*****-HK222"
    assert installed["keyed"] == "*****-MK222"
    assert installed["client"] == "*****-VMK7H"


@pytest.mark.parametrize("name", WORK)
def test_each_key_did_what_it_was_for(story: Story, name: str) -> None:
    kind = story.real.results(f"do {WORK[name][0]}")[name]["kind"]
    assert kind == ("failed" if name in FAILING else "ok")


@pytest.mark.parametrize("where", ["checked", "real"])
def test_no_output_shows_a_key(story: Story, where: str) -> None:
    run: Run = getattr(story, where)
    assert len(run.output) > 10_000
    assert leaks(run.output) == []


def test_no_log_shows_a_key(story: Story) -> None:
    assert "host key" in story.log
    assert leaks(story.log) == []


def test_no_result_holds_a_key(story: Story) -> None:
    assert leaks(repr(story.checked.rows)) == []
    assert leaks(repr(story.real.rows)) == []
    assert story.real.custom["kms_host"]


def test_the_last_five_characters_are_shown(story: Story) -> None:
    assert story.real.results("do host")["host"]["kms"]["partial_product_key"] == "HK222"


def sent_to(lab: LabProcess, name: str) -> Data:
    return t.cast(Data, lab.stats(f"{name}.corp.example.com")["total"])


@pytest.mark.parametrize("name", ["open-host", "open-psrp-host"])
def test_a_secret_key_is_refused_on_an_open_connection_before_anything_is_sent(
    ansible: Ansible, lab: LabProcess, name: str
) -> None:
    lab.reset_stats()
    arguments = {"product_key": HOST_KEY}
    plays = [
        play("all", task("refused", "host", arguments, ignore_errors=True)),
        play("all", task("refused key", "product_key", arguments, ignore_errors=True)),
        play("all", task("refused client", "client", arguments, ignore_errors=True)),
    ]
    run = ansible.playbook(plays, hosts(lab, [name]))
    for row in ("refused", "refused key", "refused client"):
        message = run.results(row)[name]["msg"]
        assert "not encrypted" in message and "allow_unencrypted: true" in message
        assert "kms_host_allow_unencrypted" in message and "kms_client_allow_unencrypted" in message
    assert sent_to(lab, name)["requests"] == 0
    allowed = ansible.playbook(
        [play("all", task("allowed", "host", {**arguments, "allow_unencrypted": True}))], hosts(lab, [name])
    )
    assert allowed.assert_ok().result(name)["kms"]["role"] == "kms_host"


class Wire(socketserver.ThreadingTCPServer):
    """Stands between Ansible and a machine, and keeps all that passes."""

    daemon_threads = True

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.target = target
        self.seen = bytearray()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Relay(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Wire)
        with socket.create_connection(self.server.target) as upstream:
            ends = {self.request: upstream, upstream: self.request}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    self.server.seen += data
                    ends[end].sendall(data)


@pytest.fixture
def tapped(lab: LabProcess) -> t.Iterator[t.Callable[[str], tuple[Data, Wire]]]:
    """An inventory by which a machine is reached through a wire that is tapped."""
    wires: list[Wire] = []

    def tap(name: str) -> tuple[Data, Wire]:
        where = hosts(lab, [name])
        variables = where["all"]["children"]["machines"]["hosts"][name]
        wires.append(Wire((variables["ansible_host"], variables["ansible_port"])))
        variables["ansible_host"], variables["ansible_port"] = wires[-1].server_address
        return where, wires[-1]

    yield tap
    for wire in wires:
        wire.close()


def test_an_open_wire_carries_no_firmware_key(ansible: Ansible, tapped: t.Callable[[str], tuple[Data, Wire]]) -> None:
    where, wire = tapped("open-workstation")
    run = ansible.playbook([play("all", task("info", "info"))], where).assert_ok()
    assert run.result("open-workstation")["kms"]["role"] == "kms_client"
    assert b"ClientMachineID" in wire.seen and b"Envelope" in wire.seen
    assert b"OA3xOriginalProductKey" not in wire.seen
    assert leaks(wire.seen.decode(errors="replace")) == []


def test_an_encrypted_wire_carries_no_key(ansible: Ansible, tapped: t.Callable[[str], tuple[Data, Wire]]) -> None:
    where, wire = tapped("workstation")
    run = ansible.playbook([play("all", task("key", "product_key", {"product_key": MAK_KEY}))], where).assert_ok()
    assert run.result("workstation")["kms"]["partial_product_key"] == "MK222"
    assert b"application/HTTP-SPNEGO-session-encrypted" in wire.seen
    assert b"Envelope" not in wire.seen
    assert leaks(wire.seen.decode(errors="replace")) == []


def test_a_published_key_may_travel_openly(ansible: Ansible, lab: LabProcess) -> None:
    where = hosts(lab, ["open-client"])
    run = ansible.playbook([play("all", task("client", "client", {"product_key": CLIENT_KEY}))], where).assert_ok()
    assert run.result("open-client")["kms"]["license_status_name"] == "licensed"
