# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many values removed at once, against the lab's name server: no other value is touched, nothing is hidden."""

from __future__ import annotations

from collections.abc import Iterator

import dns.name
import pytest
from unit.dns.test_update_server import DOMAIN, SECRET, Server, served, zone_server

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns import removal
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import read


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
