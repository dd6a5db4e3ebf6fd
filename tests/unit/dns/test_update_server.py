# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dynamic updates against a name server that does what servers do: refuses, is overtaken, signs badly, goes silent."""

from __future__ import annotations

import asyncio
import threading
import typing as t
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible import srv_record
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import parse_nameserver
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import DENIED, Outcome, Updater, Wish
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import (
    DnsFailure,
    QuestionFailure,
    ZoneServer,
    find_zone,
    owner_of,
    read,
)
from lab.dns.server import DnsServer

DOMAIN = "corp.example.com"
OWNER = owner_of(DOMAIN)
SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"
OTHER_SECRET = "c2ltdWxhdGVkLXNlY3JldC0y"

Reply = Callable[[bytes, bytes | None], bytes | None]


class Server(DnsServer):
    """The embedded server, with hands in between: ``before`` an update comes in, ``reply`` after it was answered."""

    def __init__(self, keys: t.Mapping[str, str] | None = None) -> None:
        super().__init__(keys)
        self.before: Callable[[Server], None] = lambda _server: None
        self.reply: Reply = lambda _request, reply: reply

    def answers(self, wire: bytes, source: str, tcp: bool = False) -> list[bytes]:
        if not _is_update(wire):
            return super().answers(wire, source, tcp)
        self.before(self)
        reply = self.reply(wire, next(iter(super().answers(wire, source, tcp)), None))
        return [] if reply is None else [reply]

    def put(self, text: str) -> None:
        """Add a value behind everybody's back."""
        self.zones[dns.name.from_text(DOMAIN)].add(OWNER, "SRV", text, 600)


def _is_update(wire: bytes) -> bool:
    return wire[2] >> 3 & 0xF == 5


@contextmanager
def served(server: Server, **zone: t.Any) -> Iterator[Server]:
    """The server on loopback in a thread, with one zone."""
    server.add_zone(DOMAIN, **zone)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(server.stop())
        loop.close()


@pytest.fixture
def open_server() -> Iterator[Server]:
    with served(Server()) as server:
        yield server


@pytest.fixture
def signed_server() -> Iterator[Server]:
    with served(Server({"kms-key": SECRET}), tsig="kms-key") as server:
        yield server


def wish(target: str, priority: int = 10, *, present: bool = True, ttl: int | None = None) -> Wish:
    return Wish(SrvRecord(DOMAIN, f"{target}.{DOMAIN}", 1688, priority, 100), present, ttl)


def zone_server(server: DnsServer, secret: str | None = None, name: str = "kms-key") -> ZoneServer:
    key = dns.tsig.Key(dns.name.from_text(name), secret, dns.tsig.HMAC_SHA256) if secret else None
    return ZoneServer(parse_nameserver(f"{server.address}:{server.port}"), key, timeout=2)


def fulfil(server: DnsServer, wanted: Wish, secret: str | None = None, pauses: list[float] | None = None) -> Outcome:
    """Read and update as the module does; pauses are noted and not made."""
    there = zone_server(server, secret)
    noted = pauses if pauses is not None else []
    return Updater(there, find_zone(there, OWNER), wanted, noted.append).run(read(there, DOMAIN))


def values(server: DnsServer) -> list[str]:
    found = server.zones[dns.name.from_text(DOMAIN)].find(OWNER, dns.rdatatype.SRV)
    return sorted(rdata.to_text().replace(f".{DOMAIN}.", "") for rdata in found or ())


def test_a_value_comes_changes_its_rank_and_goes(open_server: Server) -> None:
    open_server.put(f"20 0 1688 kms2.{DOMAIN}.")
    for wanted, expected in (
        (wish("kms1"), ["10 100 1688 kms1", "20 0 1688 kms2"]),
        (wish("kms1", 0), ["0 100 1688 kms1", "20 0 1688 kms2"]),
        (wish("kms1", 99, present=False), ["20 0 1688 kms2"]),
        (wish("kms2", 99, present=False), []),
    ):
        outcome = fulfil(open_server, wanted)
        assert outcome.is_verified and outcome.edit is not None and outcome.failure is None
        assert values(open_server) == expected
    assert open_server.updates == 4


def test_a_settled_value_sends_no_update(open_server: Server) -> None:
    fulfil(open_server, wish("kms1"))
    outcome = fulfil(open_server, wish("kms1"))
    assert outcome.is_verified and outcome.edit is None
    assert open_server.updates == 1


def test_a_ttl_alone_is_a_change(open_server: Server) -> None:
    fulfil(open_server, wish("kms1"))
    outcome = fulfil(open_server, wish("kms1", ttl=60))
    assert outcome.is_verified and outcome.edit is not None
    assert [record.ttl for record in read(zone_server(open_server), DOMAIN).records] == [60]


def test_the_zone_is_the_deepest_that_the_server_holds(open_server: Server) -> None:
    assert find_zone(zone_server(open_server), OWNER) == dns.name.from_text(DOMAIN)
    open_server.add_zone(f"_tcp.{DOMAIN}")
    assert find_zone(zone_server(open_server), OWNER) == dns.name.from_text(f"_tcp.{DOMAIN}")


def test_a_foreign_name_is_refused_when_reading(open_server: Server) -> None:
    with pytest.raises(DnsFailure) as failure:
        find_zone(zone_server(open_server), owner_of("example.org"))
    assert failure.value.code == "REFUSED" and isinstance(failure.value, QuestionFailure)


def test_an_alias_is_told(open_server: Server) -> None:
    open_server.zones[dns.name.from_text(DOMAIN)].add(OWNER, "CNAME", f"_vlmcs._tcp.other.{DOMAIN}.")
    with pytest.raises(DnsFailure) as failure:
        read(zone_server(open_server), DOMAIN)
    assert failure.value.code == "ALIAS" and f"_vlmcs._tcp.other.{DOMAIN}" in failure.value.detail


def test_whoever_was_faster_loses_nothing(open_server: Server) -> None:
    overtakers = [f"{number} 0 1688 rogue{number}.{DOMAIN}." for number in range(3)]
    open_server.before = lambda server: server.put(overtakers.pop()) if overtakers else None
    pauses: list[float] = []
    outcome = fulfil(open_server, wish("kms1"), pauses=pauses)
    assert outcome.is_verified
    assert values(open_server) == ["0 0 1688 rogue0", "1 0 1688 rogue1", "10 100 1688 kms1", "2 0 1688 rogue2"]
    assert len(pauses) == 3


def test_a_wish_that_somebody_else_fulfils_meanwhile_is_no_change(open_server: Server) -> None:
    open_server.before = lambda server: server.put(f"10 100 1688 kms1.{DOMAIN}.")
    outcome = fulfil(open_server, wish("kms1"))
    assert outcome.is_verified and outcome.edit is None


def test_being_overtaken_for_ever_ends(open_server: Server) -> None:
    numbers = iter(range(1000))
    open_server.before = lambda server: server.put(f"0 0 1688 rogue{next(numbers)}.{DOMAIN}.")
    outcome = fulfil(open_server, wish("kms1"))
    assert outcome.failure is not None and outcome.failure.code == "CONFLICT"
    assert "10 100 1688 kms1" not in values(open_server)


def test_values_that_nobody_has_end_at_once() -> None:
    """A wildcard makes them up for questions, and an update that depends on them is denied."""
    with served(Wildcard()) as server:
        server.put(f"0 0 1688 web07.{DOMAIN}.")
        pauses: list[float] = []
        outcome = fulfil(server, wish("web07", present=False), pauses=pauses)
        result = module(server, wish("kms1"))
    assert outcome.failure is not None and outcome.failure.code == DENIED and len(pauses) < 5
    assert "wildcard" in result["msg"] and "Nothing was changed." in result["msg"] and result["changed"] is False


class Wildcard(Server):
    """Has no value of the name itself: an update that depends on one is denied (RFC 2136 3.2.3)."""

    def answers(self, wire: bytes, source: str, tcp: bool = False) -> list[bytes]:
        if not _is_update(wire):
            return super().answers(wire, source, tcp)
        denial = dns.message.make_response(dns.message.from_wire(wire))
        denial.set_rcode(dns.rcode.NXRRSET)
        return [denial.to_wire()]


def test_a_set_that_fills_a_message_is_changed_nevertheless(open_server: Server) -> None:
    """A host of 1,233 has another rank, and one goes: named as prerequisites they leave no room for that."""
    zone = open_server.zones[dns.name.from_text(DOMAIN)]
    for number in range(1233):
        zone.add(OWNER, "SRV", f"0 0 1688 workstation-{number:04}.{DOMAIN}.", 600)
    for wanted in (wish("workstation-0007"), wish("workstation-0008", present=False)):
        outcome = fulfil(open_server, wanted)
        assert outcome.is_verified, outcome.failure
    found = values(open_server)
    assert len(found) == 1232
    assert "10 100 1688 workstation-0007" in found and "0 0 1688 workstation-0007" not in found


def test_the_second_host_of_a_secure_zone_is_refused_also_when_the_record_is_gone() -> None:
    with served(Server(), policy="secure") as server:
        zone = server.zones[dns.name.from_text(DOMAIN)]
        zone.owners[OWNER] = "192.0.2.1"
        outcome = fulfil(server, wish("kms2"))
        assert outcome.failure is not None and outcome.failure.code == "REFUSED" and outcome.failure.is_proven
        assert values(server) == []


@pytest.mark.parametrize("failure", ["refused", "servfail"])
def test_a_refusal_is_told_by_its_code(open_server: Server, failure: str) -> None:
    there = zone_server(open_server)
    found = read(there, DOMAIN)
    open_server.zones[dns.name.from_text(DOMAIN)].failures[OWNER] = failure
    outcome = Updater(there, dns.name.from_text(DOMAIN), wish("kms1"), lambda _seconds: None).run(found)
    assert outcome.failure is not None and outcome.failure.code == failure.upper()


def test_a_zone_that_is_not_there_is_told(open_server: Server) -> None:
    there = zone_server(open_server)
    outcome = Updater(there, dns.name.from_text("example.com"), wish("kms1")).run(read(there, DOMAIN))
    assert outcome.failure is not None and outcome.failure.code == "NOTAUTH"


# -- signatures


def test_a_signed_update_is_done_and_its_reply_verified(signed_server: Server) -> None:
    assert fulfil(signed_server, wish("kms1"), SECRET).is_verified
    assert values(signed_server) == ["10 100 1688 kms1"]


def test_an_unsigned_update_is_refused_where_a_key_is_wanted(signed_server: Server) -> None:
    outcome = fulfil(signed_server, wish("kms1"))
    assert outcome.failure is not None and outcome.failure.code == "REFUSED"


def test_a_wrong_secret_shows_when_reading_before_anything_is_sent(signed_server: Server) -> None:
    with pytest.raises(DnsFailure) as failure:
        fulfil(signed_server, wish("kms1"), OTHER_SECRET)
    assert failure.value.code == "NOTAUTH" and not failure.value.is_proven
    assert signed_server.updates == 0


def _forged(_request: bytes, reply: bytes | None) -> bytes | None:
    """A reply whose last octet, part of the TSIG record's trailing fields, is another one."""
    assert reply is not None
    at = len(reply) - 8  # inside the MAC, in front of original ID, error and other length (RFC 8945 4.2)
    return reply[:at] + bytes([reply[at] ^ 0xFF]) + reply[at + 1 :]


def _lost(_request: bytes, _reply: bytes | None) -> None:
    return None


def _unsigned(_request: bytes, reply: bytes | None) -> bytes | None:
    """The bare header of the reply."""
    assert reply is not None
    return reply[:4] + bytes(8)


@pytest.mark.parametrize("spoil", [_forged, _lost, _unsigned])
def test_an_update_without_a_trusted_reply_is_settled_by_asking(signed_server: Server, spoil: Reply) -> None:
    signed_server.reply = spoil
    outcome = fulfil(signed_server, wish("kms1"), SECRET)
    assert outcome.is_verified and outcome.edit is not None and outcome.failure is None
    assert signed_server.updates == 1


@pytest.mark.parametrize(("spoil", "code"), [(_forged, "UNVERIFIED"), (_lost, "NO_REPLY"), (_unsigned, "UNVERIFIED")])
def test_a_success_that_nobody_shows_is_not_believed(signed_server: Server, spoil: Reply, code: str) -> None:
    def undone(request: bytes, reply: bytes | None) -> bytes | None:
        signed_server.zones[dns.name.from_text(DOMAIN)].administer(_removal(), "")
        return spoil(request, reply)

    signed_server.reply = undone
    pauses: list[float] = []
    outcome = fulfil(signed_server, wish("kms1"), SECRET, pauses)
    assert outcome.failure is not None and outcome.failure.code == code and not outcome.failure.is_proven
    assert outcome.edit is None and outcome.after is not None and outcome.after.records == ()
    assert signed_server.updates == 1 and len(pauses) == 3


def _removal() -> dns.update.UpdateMessage:
    message = dns.update.UpdateMessage(DOMAIN)
    message.delete(OWNER)
    return message


def test_a_server_that_dies_after_the_update_leaves_it_unknown(signed_server: Server) -> None:
    there = zone_server(signed_server, SECRET)
    found = read(there, DOMAIN)

    def die(_request: bytes, _reply: bytes | None) -> None:
        signed_server.zones[dns.name.from_text(DOMAIN)].failures[OWNER] = "servfail"

    signed_server.reply = die
    outcome = Updater(there, dns.name.from_text(DOMAIN), wish("kms1"), lambda _seconds: None).run(found)
    assert outcome.failure is not None and outcome.failure.code == "NO_REPLY"
    assert outcome.after is None and outcome.edit is None


def test_nothing_there_is_told_as_unreachable() -> None:
    with served(Server()) as server:
        there = zone_server(server)
    with pytest.raises(DnsFailure) as failure:
        read(there, DOMAIN)
    assert failure.value.code == "UNREACHABLE"


# -- what the module tells of it


def module(server: DnsServer, wanted: Wish) -> dict[str, t.Any]:
    args: dict[str, t.Any] = {"server": f"{server.address}:{server.port}", "timeout": 2}
    args |= dict.fromkeys(("zone", "tsig_name", "tsig_secret", "gss_tsig", "gss_principal"))
    return srv_record.by_dynamic_update(args, wanted, check_mode=False, diff=False)


def test_an_accepted_update_that_is_undone_at_once_is_not_called_nothing(open_server: Server) -> None:
    def undone(_request: bytes, reply: bytes | None) -> bytes | None:
        open_server.zones[dns.name.from_text(DOMAIN)].administer(_removal(), "")
        return reply

    open_server.reply = undone
    result = module(open_server, wish("kms1"))
    assert result["failed"] and result["rcode"] == "NOT_SHOWN"
    assert result["changed"] and result["uncertain"] == [f"_vlmcs._tcp.{DOMAIN}"]
    assert "accepted" in result["msg"] and "Nothing was changed" not in result["msg"]


def test_an_accepted_update_tells_what_is_left_of_it(open_server: Server) -> None:
    def overwritten(_request: bytes, reply: bytes | None) -> bytes | None:
        open_server.zones[dns.name.from_text(DOMAIN)].administer(_removal(), "")
        open_server.put(f"5 5 1688 kms1.{DOMAIN}.")
        return reply

    open_server.put(f"0 0 1688 kms1.{DOMAIN}.")
    open_server.reply = overwritten
    result = module(open_server, wish("kms1"))
    assert result["failed"] and result["changed"] and "Nothing was changed" not in result["msg"]
    (change,) = result["changes"]
    assert (change["before"], change["after"]) == ([f"0 0 1688 kms1.{DOMAIN}"], [f"5 5 1688 kms1.{DOMAIN}"])


def test_a_proven_refusal_changed_nothing(open_server: Server) -> None:
    def die(_request: bytes, _reply: bytes | None) -> bytes | None:
        zone.failures[OWNER] = "servfail"
        return _reply

    zone = open_server.zones[dns.name.from_text(DOMAIN)]
    open_server.before = lambda _server: zone.failures.update({OWNER: "refused"})
    open_server.reply = die
    result = module(open_server, wish("kms1"))
    assert (result["changed"], result["rcode"]) == (False, "REFUSED")
    assert result["msg"].endswith("Nothing was changed.")
