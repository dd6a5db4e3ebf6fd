# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values of a Windows DNS server, changed one by one while others change them too, and while things fail midway."""

from __future__ import annotations

import typing as t
from collections.abc import Callable

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_record import by_windows_dns
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import Wish
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault, TransportError
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import CimClass, Instance

DOMAIN = "corp.example.com"
NOT_FOUND = 0x80338000
ACCESS_DENIED = 0x80070005

Data = dict[str, t.Any]


class Server:
    """The DNS classes of a server as a CIM client shows them; ``before`` is told each write before it is done.

    What addresses a value is this server's own, and no property of it.
    """

    def __init__(self, *values: str) -> None:
        self.values = dict.fromkeys(values, 600)
        self.before: Callable[[str], None] = lambda _what: None
        self.writes: list[str] = []

    def query(self, cim_class: CimClass, wql: str, *, with_selectors: bool = False) -> list[Instance]:
        if cim_class.name == "MicrosoftDNS_SOAType":
            assert f"(ContainerName = '{DOMAIN}' and OwnerName = '{DOMAIN}')" in wql
            zones = [
                {"ContainerName": name, "DnsServerName": f"dns1.{DOMAIN}", "OwnerName": name}
                for name in ("example.com", DOMAIN)
            ]
            return [Instance(cim_class, cim_class.name, row) for row in zones]
        assert f"ContainerName = '{DOMAIN}'" in wql and f"OwnerName = '_vlmcs._tcp.{DOMAIN}'" in wql
        return [
            Instance(cim_class, cim_class.name, self._row(text, ttl), {"Handle": text} if with_selectors else {})
            for text, ttl in self.values.items()
        ]

    def invoke(
        self, _class: CimClass, method: str, arguments: Data, *, selectors: t.Mapping[str, str] | None = None
    ) -> None:
        self._write(f"{method} {selectors['Handle'] if selectors else ''}".strip())
        if selectors:
            self._take(selectors)
        target = str(arguments["SRVDomainName"]).partition(".")[0]
        text = f"{arguments['Priority']} {arguments['Weight']} {arguments['Port']} {target}"
        self.values[text] = arguments["TTL"]

    def delete(self, _class: CimClass, selectors: t.Mapping[str, str]) -> None:
        self._write(f"Delete {selectors['Handle']}")
        self._take(selectors)

    def _write(self, what: str) -> None:
        self.writes.append(what)
        self.before(what)

    def _take(self, selectors: t.Mapping[str, str]) -> None:
        if self.values.pop(selectors["Handle"], None) is None:
            raise CimFault(NOT_FOUND, "not found")

    @staticmethod
    def _row(text: str, ttl: int) -> Data:
        priority, weight, port, target = text.split()
        return {
            "ContainerName": DOMAIN,
            "DnsServerName": f"dns1.{DOMAIN}",
            "DomainName": DOMAIN,
            "OwnerName": f"_vlmcs._tcp.{DOMAIN}",
            "RecordClass": 1,
            "RecordData": text,
            "TTL": ttl,
            "Priority": int(priority),
            "Weight": int(weight),
            "Port": int(port),
            "SRVDomainName": f"{target}.{DOMAIN}.",
        }


def run(server: Server, text: str, *, present: bool = True, ttl: int | None = None) -> Data:
    priority, weight, port, target = text.split()
    record = SrvRecord(DOMAIN, f"{target}.{DOMAIN}", int(port), int(priority), int(weight), ttl)
    wish = Wish(record, present, ttl)
    return by_windows_dns(t.cast(t.Any, server), {"zone": None}, wish, "dns1", check_mode=False, diff=False)


@pytest.mark.parametrize(
    ("values", "wanted", "present", "writes"),
    [
        ((), "10 100 1688 kms1", True, ["CreateInstanceFromPropertyData"]),
        (("0 0 1688 kms1",), "10 100 1688 kms1", True, ["Modify 0 0 1688 kms1"]),
        (("0 0 1688 kms1", "5 5 1688 kms1"), "10 0 1688 kms1", True, ["Modify 0 0 1688 kms1", "Delete 5 5 1688 kms1"]),
        (("0 0 1688 kms1", "10 0 1688 kms1"), "10 0 1688 kms1", True, ["Delete 0 0 1688 kms1"]),
        (("0 0 1688 kms1", "5 5 1688 kms1"), "1 1 1688 kms1", False, ["Delete 0 0 1688 kms1", "Delete 5 5 1688 kms1"]),
        (("10 0 1688 kms1",), "10 0 1688 kms1", True, []),
    ],
)
def test_each_value_is_changed_in_one_step(
    values: tuple[str, ...], wanted: str, present: bool, writes: list[str]
) -> None:
    server = Server(*values, "20 0 1688 kms2")
    result = run(server, wanted, present=present)
    assert server.writes == writes and result["changed"] == bool(writes) and result["verified"] is True
    assert set(server.values) == {"20 0 1688 kms2", *([wanted] if present else [])}


def test_a_value_whose_target_is_no_name_is_left_alone_and_keeps_no_other_from_being_changed() -> None:
    """Windows shows a name as it is, blanks included."""
    odd = f"0 0 1688 {'x' * 64}"
    server = Server(odd, "0 0 1688 kms1")
    assert run(server, "10 100 1688 kms1")["verified"] is True
    assert set(server.values) == {odd, "10 100 1688 kms1"}


def test_a_ttl_alone_is_modified() -> None:
    server = Server("10 0 1688 kms1")
    result = run(server, "10 0 1688 kms1", ttl=60)
    assert server.values == {"10 0 1688 kms1": 60}
    assert result["changes"] == [{"setting": f"_vlmcs._tcp.{DOMAIN} ttl", "before": 600, "after": 60}]


def test_a_value_that_somebody_else_changes_meanwhile_is_read_again() -> None:
    server = Server("0 0 1688 kms1")

    def overtake(_what: str) -> None:
        if len(server.writes) == 1:
            server.values = {"7 7 1688 kms1": 600}

    server.before = overtake
    result = run(server, "10 100 1688 kms1")
    assert result["verified"] is True and set(server.values) == {"10 100 1688 kms1"}
    assert server.writes == ["Modify 0 0 1688 kms1", "Modify 7 7 1688 kms1"]


def test_a_value_that_is_gone_already_is_none_to_remove() -> None:
    server = Server("0 0 1688 kms1")
    server.before = lambda _what: server.values.clear()
    result = run(server, "0 0 1688 kms1", present=False)
    assert result["verified"] is True and not result.get("failed")


@pytest.mark.parametrize("error", [CimFault(ACCESS_DENIED, "denied"), TransportError("lost")])
def test_a_failure_midway_tells_what_was_changed(error: Exception) -> None:
    server = Server("0 0 1688 kms1", "5 5 1688 kms1")

    def fail(what: str) -> None:
        if what.startswith("Delete"):
            raise error

    server.before = fail
    result = run(server, "10 100 1688 kms1")
    assert result.get("failed") or result.get("unreachable")
    assert result["changed"] and "0 0 1688" in str(result["changes"][0]["before"])
    assert f"10 100 1688 kms1.{DOMAIN}" in result["changes"][0]["after"]


def test_a_call_that_is_lost_after_it_was_done_is_settled_by_asking() -> None:
    server = Server("0 0 1688 kms1")
    real = server.invoke

    def lose(*arguments: t.Any, **more: t.Any) -> None:
        real(*arguments, **more)
        raise TransportError("lost")

    server.invoke = lose  # type: ignore[method-assign]
    result = run(server, "10 100 1688 kms1")
    assert result["changed"] and result["verified"] is True and not result.get("failed")


def test_a_change_whose_effect_cannot_be_read_is_not_called_nothing() -> None:
    server = Server("0 0 1688 kms1", "5 5 1688 kms1")

    def lose(what: str) -> None:
        if what.startswith("Delete"):
            server.query = lost  # type: ignore[method-assign]
            lost()

    def lost(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        raise TransportError("lost")

    server.before = lose
    result = run(server, "10 100 1688 kms1")
    assert result["changed"] and result["uncertain"] == [f"_vlmcs._tcp.{DOMAIN}"]
    assert "is not known" in result["msg"] and "Nothing was changed" not in result["msg"]
