# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many values removed at once, against the lab's name server: no other value is touched, nothing is hidden."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import dns.name
import pytest
from unit.dns.test_update_server import DOMAIN, SECRET, Server, served, zone_server
from unit.dns.test_update_windows import ACCESS_DENIED
from unit.dns.test_update_windows import Server as WindowsServer

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible import srv_cleanup
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns import removal
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import read
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault, TransportError


@pytest.fixture
def open_server() -> Iterator[Server]:
    with served(Server()) as server:
        yield server


@pytest.fixture
def signed_server() -> Iterator[Server]:
    with served(Server({"kms-key": SECRET}), tsig="kms-key") as server:
        yield server


@pytest.fixture
def rogues(open_server: Server) -> list[str]:
    names = [f"web{number}.{DOMAIN}" for number in range(5)]
    for name in names:
        open_server.put(f"0 0 1688 {name}.")
    open_server.put(f"30 7 1689 {names[0]}.")
    open_server.put(f"10 100 1688 kms1.{DOMAIN}.")
    return names


def test_every_value_of_the_targets_goes_and_no_other(
    open_server: Server,
    rogues: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    server = zone_server(open_server)
    values = removal.of_targets(read(server, DOMAIN), rogues[:4])
    assert len(values) == 5
    done = removal.remove(server, dns.name.from_text(DOMAIN), DOMAIN, values)
    assert (set(done.gone), done.left, done.failure) == (set(values), (), None)
    assert {record.target for record in read(server, DOMAIN).records} == {rogues[4], f"kms1.{DOMAIN}"}


def test_what_comes_in_between_stays_and_what_is_gone_already_is_no_error(
    open_server: Server,
    rogues: list[str],
) -> None:
    server = zone_server(open_server)
    values = removal.of_targets(read(server, DOMAIN), rogues)
    open_server.before = lambda there: there.put(f"20 100 1688 kms2.{DOMAIN}.")
    zone = dns.name.from_text(DOMAIN)
    for _again in range(2):
        assert removal.remove(server, zone, DOMAIN, values).failure is None
    assert {record.target for record in read(server, DOMAIN).records} == {f"kms1.{DOMAIN}", f"kms2.{DOMAIN}"}


def test_a_refusal_is_told_with_what_is_left(signed_server: Server) -> None:
    signed_server.put(f"0 0 1688 web0.{DOMAIN}.")
    server = zone_server(signed_server)
    values = read(server, DOMAIN).records
    done = removal.remove(server, dns.name.from_text(DOMAIN), DOMAIN, values)
    assert done.left == values
    assert done.failure is not None
    assert done.failure.code == "REFUSED"


# -- what the module tells when things go wrong midway

SETTING = f"_vlmcs._tcp.{DOMAIN}"
Data = dict[str, t.Any]


def clean(server: Server, names: list[str]) -> Data:
    args = {"server": f"{server.address}:{server.port}", "timeout": 2}
    args |= dict.fromkeys(("tsig_name", "tsig_secret", "gss_tsig", "gss_principal"))
    return srv_cleanup.by_dynamic_update(args, {DOMAIN: set(names)}, check_mode=False, diff=False)


def go_silent(server: Server, *, after: int) -> None:
    """Answer nothing any more, once so many updates have been answered."""

    def reply(_request: bytes, answer: bytes | None) -> bytes | None:
        if server.updates >= after:
            server.answers = lambda *_arguments, **_more: []  # type: ignore[method-assign]
        return answer

    server.reply = reply


@pytest.mark.parametrize(("answered", "accepted"), [(1, 2), (2, 4), (3, 5)])
def test_updates_whose_effect_cannot_be_read_are_not_called_nothing(
    open_server: Server, rogues: list[str], monkeypatch: pytest.MonkeyPatch, answered: int, accepted: int
) -> None:
    monkeypatch.setattr(removal, "AT_ONCE", 2)
    go_silent(open_server, after=answered)
    result = clean(open_server, rogues[:4])
    assert result["failed"] and result["changed"]
    assert (result["uncertain"], result["domains_failed"]) == ([SETTING], [DOMAIN])
    assert f"accepted the removal of {accepted} of 5 values" in result["msg"]
    assert "Nothing was changed" not in result["msg"]
    assert (len(result["removed"]), len(result["left"])) == (accepted, 5 - accepted)
    assert len(result["changes"][0]["after"]) == 5 - accepted


def test_an_update_that_is_not_answered_may_have_been_done(open_server: Server, rogues: list[str]) -> None:
    def reply(_request: bytes, _answer: bytes | None) -> bytes | None:
        open_server.answers = lambda *_arguments, **_more: []  # type: ignore[method-assign]
        return None

    open_server.reply = reply
    result = clean(open_server, rogues)
    assert (result["changed"], result["uncertain"], result["removed"]) == (True, [SETTING], [])
    assert "is not known" in result["msg"]


def on_windows(server: WindowsServer) -> Data:
    names = {f"web{number}.{DOMAIN}" for number in range(3)}
    return srv_cleanup.by_windows_dns(t.cast(t.Any, server), {DOMAIN: names}, "dns1", check_mode=False, diff=False)


@pytest.fixture
def windows_server() -> WindowsServer:
    return WindowsServer("0 0 1688 web0", "0 0 1688 web1", "0 0 1688 web2", "10 100 1688 kms1")


def test_a_connection_that_is_lost_among_the_values_leaves_what_is_done_told(windows_server: WindowsServer) -> None:
    def lose(what: str) -> None:
        if "web1" in what:
            raise TransportError("lost")

    windows_server.before = lose
    result = on_windows(windows_server)
    assert result["failed"] and result["changed"] and "uncertain" not in result
    assert [row["target"] for row in result["removed"]] == [f"web0.{DOMAIN}"]
    assert "1 of 3 values are gone." in result["msg"]
    assert "Nothing was changed" not in result["msg"]
    assert set(windows_server.values) == {"0 0 1688 web1", "0 0 1688 web2", "10 100 1688 kms1"}


def test_a_server_that_cannot_be_read_again_leaves_what_it_accepted_told(windows_server: WindowsServer) -> None:
    def lose(what: str) -> None:
        if "web2" in what:
            windows_server.query = broken  # type: ignore[method-assign]
            raise TransportError("lost")

    def broken(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        raise TransportError("lost")

    windows_server.before = lose
    result = on_windows(windows_server)
    assert result["failed"] and result["changed"]
    assert (result["uncertain"], len(result["removed"]), len(result["left"])) == ([SETTING], 2, 1)
    assert "accepted the removal of 2 of 3 values" in result["msg"]
    assert "Nothing was changed" not in result["msg"]


def test_values_that_may_not_be_removed_do_not_keep_the_others(windows_server: WindowsServer) -> None:
    def deny(what: str) -> None:
        if "web0" in what:
            raise CimFault(ACCESS_DENIED, "denied")

    windows_server.before = deny
    result = on_windows(windows_server)
    assert [row["target"] for row in result["left"]] == [f"web0.{DOMAIN}"]
    assert "0x80070005" in result["msg"] and "2 of 3 values are gone." in result["msg"]
    assert "Nothing was changed" not in result["msg"]


def test_a_server_that_refuses_all_and_dies_changed_nothing(windows_server: WindowsServer) -> None:
    def deny(_what: str) -> None:
        windows_server.query = broken  # type: ignore[method-assign]
        raise CimFault(ACCESS_DENIED, "denied")

    def broken(*_arguments: t.Any, **_options: t.Any) -> t.Any:
        raise TransportError("lost", sent=False)

    windows_server.before = deny
    result = on_windows(windows_server)
    assert (result["changed"], result["changes"], "uncertain" in result) == (False, [], False)
    assert result["msg"].endswith("Nothing was changed.")
