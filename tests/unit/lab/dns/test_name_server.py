# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded name server over its own sockets, asked and updated by dnspython."""

from __future__ import annotations

import asyncio
import typing as t

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone
import pytest

from lab.dns import names
from lab.dns.client import EmbeddedClient, ExternalClient
from lab.dns.names import DnsFailure, Srv
from lab.dns.server import DnsServer

ZONE = "corp.example.com"
OWNER = f"_vlmcs._tcp.{ZONE}."
ONE, TWO = "127.0.0.11", "127.0.0.12"
SECRETS = {"kms-key": "c2ltdWxhdGVkLXNlY3JldC0x"}
WRONG_SECRETS = {"kms-key": "c2ltdWxhdGVkLXNlY3JldC0y"}


async def _ask(server: DnsServer, name: str = OWNER, kind: str = "SRV", tcp: bool = False) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=False)
    send = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
    return await send(query, server.address, timeout=30, port=server.port)


async def _update(
    server: DnsServer, fill: t.Callable[[dns.update.UpdateMessage], object], source: str = ONE, **options: t.Any
) -> dns.rcode.Rcode:
    message = dns.update.UpdateMessage(ZONE, **options)
    fill(message)
    answer = await dns.asyncquery.udp(message, server.address, timeout=30, port=server.port, source=source)
    return answer.rcode()


def _add(target: str, priority: int = 0) -> t.Callable[[dns.update.UpdateMessage], None]:
    return lambda message: message.add(OWNER, 300, "SRV", f"{priority} 0 1688 {target}.{ZONE}.")


def _texts(answer: dns.message.Message) -> set[str]:
    return {rdata.to_text() for rrset in answer.answer for rdata in rrset}


def _serve(
    work: t.Callable[[DnsServer], t.Awaitable[t.Any]], keys: dict[str, str] | None = None, **zone: t.Any
) -> t.Any:
    """Run some work against a server with one zone."""

    async def run() -> t.Any:
        server = DnsServer(keys)
        server.add_zone(ZONE, **zone)
        await server.start()
        try:
            return await work(server)
        finally:
            await server.stop()

    return asyncio.run(run())


def test_missing_name_missing_type_and_foreign_zone_are_told_apart() -> None:
    async def work(server: DnsServer) -> None:
        missing = await _ask(server)
        assert (missing.rcode(), bool(missing.flags & dns.flags.AA)) == (dns.rcode.NXDOMAIN, True)
        assert missing.authority[0].rdtype == dns.rdatatype.SOA
        await _update(server, _add("kms1"))
        empty = await _ask(server, OWNER, "A")
        assert (empty.rcode(), empty.answer) == (dns.rcode.NOERROR, [])
        above = await _ask(server, f"_tcp.{ZONE}.", "A")
        assert above.rcode() == dns.rcode.NOERROR
        assert (await _ask(server, "_vlmcs._tcp.elsewhere.example.org.")).rcode() == dns.rcode.REFUSED

    _serve(work)


def test_updates_add_and_delete_single_values_and_raise_the_serial() -> None:
    async def work(server: DnsServer) -> None:
        zone = server.zone_of_text(ZONE)
        assert zone is not None
        for name in ("kms1", "kms2"):
            assert await _update(server, _add(name)) == dns.rcode.NOERROR
        assert zone.serial == 3
        assert await _update(server, _add("kms2")) == dns.rcode.NOERROR
        assert zone.serial == 3
        await _update(server, lambda message: message.delete(OWNER, "SRV", f"0 0 1688 kms1.{ZONE}."))
        answer = await _ask(server)
        assert _texts(answer) == {f"0 0 1688 kms2.{ZONE}."}
        assert answer.answer[0].ttl == 300
        await _update(server, lambda message: message.delete(OWNER))
        assert (await _ask(server)).rcode() == dns.rcode.NXDOMAIN

    _serve(work)


def test_prerequisites_hold_or_stop_the_whole_update() -> None:
    async def work(server: DnsServer) -> None:
        await _update(server, _add("kms1"))
        value = f"0 0 1688 kms1.{ZONE}."
        conditions: list[tuple[t.Callable[[dns.update.UpdateMessage], object], dns.rcode.Rcode]] = [
            (lambda m: m.present(OWNER), dns.rcode.NOERROR),
            (lambda m: m.present(OWNER, "SRV"), dns.rcode.NOERROR),
            (lambda m: m.present(OWNER, "SRV", value), dns.rcode.NOERROR),
            (lambda m: m.present(OWNER, "SRV", f"9 9 1688 kms1.{ZONE}."), dns.rcode.NXRRSET),
            (lambda m: m.present(f"other.{ZONE}."), dns.rcode.NXDOMAIN),
            (lambda m: m.present(OWNER, "A"), dns.rcode.NXRRSET),
            (lambda m: m.absent(OWNER), dns.rcode.YXDOMAIN),
            (lambda m: m.absent(OWNER, "SRV"), dns.rcode.YXRRSET),
            (lambda m: m.absent(f"other.{ZONE}."), dns.rcode.NOERROR),
        ]
        for number, (condition, rcode) in enumerate(conditions):

            def fill(
                message: dns.update.UpdateMessage,
                condition: t.Callable[[dns.update.UpdateMessage], object] = condition,
                number: int = number,
            ) -> None:
                condition(message)
                message.add(f"mark{number}.{ZONE}.", 60, "TXT", "done")

            assert await _update(server, fill) == rcode
            marked = (await _ask(server, f"mark{number}.{ZONE}.", "TXT")).rcode() == dns.rcode.NOERROR
            assert marked == (rcode == dns.rcode.NOERROR)

    _serve(work)


def test_a_value_prerequisite_names_the_whole_set() -> None:
    async def work(server: DnsServer) -> None:
        for name in ("kms1", "kms2"):
            await _update(server, _add(name))
        half = await _update(server, lambda m: m.present(OWNER, "SRV", f"0 0 1688 kms1.{ZONE}."))
        whole = await _update(
            server, lambda m: m.present(OWNER, "SRV", f"0 0 1688 kms1.{ZONE}.", f"0 0 1688 kms2.{ZONE}.")
        )
        assert (half, whole) == (dns.rcode.NXRRSET, dns.rcode.NOERROR)

    _serve(work)


def test_in_a_secure_zone_the_first_updater_owns_the_name_even_when_it_is_empty() -> None:
    async def work(server: DnsServer) -> None:
        assert await _update(server, _add("kms1"), ONE) == dns.rcode.NOERROR
        assert await _update(server, _add("kms2"), TWO) == dns.rcode.REFUSED
        assert await _update(server, lambda message: message.delete(OWNER), ONE) == dns.rcode.NOERROR
        assert (await _ask(server)).rcode() == dns.rcode.NXDOMAIN
        assert await _update(server, _add("kms2"), TWO) == dns.rcode.REFUSED
        assert await _update(server, _add("kms1"), ONE) == dns.rcode.NOERROR

    _serve(work, policy="secure")


def test_deny_and_wrong_zone() -> None:
    async def work(server: DnsServer) -> None:
        assert await _update(server, _add("kms1")) == dns.rcode.REFUSED
        foreign = dns.update.UpdateMessage("example.org")
        foreign.add("a.example.org.", 60, "A", "192.0.2.1")
        answer = await dns.asyncquery.udp(foreign, server.address, timeout=30, port=server.port)
        assert answer.rcode() == dns.rcode.NOTAUTH

    _serve(work, policy="deny")


def test_a_zone_with_a_key_takes_signed_updates_only() -> None:
    keyring = dns.tsigkeyring.from_text(SECRETS)

    async def work(server: DnsServer) -> None:
        assert await _update(server, _add("kms1")) == dns.rcode.REFUSED
        assert await _update(server, _add("kms1"), keyring=keyring) == dns.rcode.NOERROR
        with pytest.raises(DnsFailure, match="0x80072338"):
            await ExternalClient(server.address, server.port, WRONG_SECRETS).publish(
                ZONE, Srv(0, 0, 1688, f"kms2.{ZONE}"), TWO, replace=True
            )
        assert len(_texts(await _ask(server))) == 1

    _serve(work, SECRETS, tsig="kms-key")


@pytest.mark.parametrize(("failure", "rcode"), [("servfail", dns.rcode.SERVFAIL), ("refused", dns.rcode.REFUSED)])
def test_failures_strike_queries_and_updates(failure: str, rcode: dns.rcode.Rcode) -> None:
    async def work(server: DnsServer) -> None:
        zone = server.zone_of_text(ZONE)
        assert zone is not None
        zone.failures[zone.name("_vlmcs._tcp")] = failure
        assert (await _ask(server)).rcode() == rcode
        assert await _update(server, _add("kms1")) == rcode
        assert (await _ask(server, ZONE, "SOA")).rcode() == dns.rcode.NOERROR

    _serve(work)


def test_silence_is_a_time_out() -> None:
    server = DnsServer()
    zone = server.add_zone(ZONE)
    zone.failures[zone.origin] = "timeout"
    assert server.process(dns.message.make_query(OWNER, "SRV").to_wire(), ONE) is None
    assert server.process(dns.update.UpdateMessage(ZONE).to_wire(), ONE) is None


def test_truncation_sends_the_client_to_tcp() -> None:
    async def work(server: DnsServer) -> None:
        for number in range(30):
            await _update(server, _add(f"a-host-with-a-long-name-{number}"))
        short = await _ask(server)
        assert short.flags & dns.flags.TC and not short.answer
        assert len(_texts(await _ask(server, tcp=True))) == 30
        records = await ExternalClient(server.address, server.port).lookup_srv(ZONE, ONE)
        assert len(records) == 30

    _serve(work)


def test_srv_answers_carry_the_addresses_of_their_targets() -> None:
    async def work(server: DnsServer) -> None:
        zone = server.zone_of_text(ZONE)
        assert zone is not None
        zone.add(zone.name("kms1"), "A", ONE)
        await _update(server, _add("kms1"))
        answer = await _ask(server)
        assert [rrset[0].to_text() for rrset in answer.additional] == [ONE]

    _serve(work)


@pytest.mark.parametrize("allowed", [True, False])
def test_zone_transfer_is_a_switch(allowed: bool) -> None:
    async def work(server: DnsServer) -> set[str]:
        await _update(server, _add("kms1"))
        copy = dns.zone.Zone(ZONE)
        await dns.asyncquery.inbound_xfr(server.address, copy, port=server.port, timeout=30)
        return {str(name) for name in copy}

    if allowed:
        assert _serve(work, allow_transfer=True) == {"@", "ns", "_vlmcs._tcp"}
    else:
        with pytest.raises(dns.xfr.TransferError, match="REFUSED"):
            _serve(work)


def test_bytes_that_are_no_message_do_no_harm() -> None:
    server = DnsServer()
    assert server.process(b"short", ONE) is None
    answer = dns.message.from_wire(server.process(b"\x12\x34\x01\x00" + b"\xff" * 20, ONE) or b"")
    assert (answer.id, answer.rcode()) == (0x1234, dns.rcode.FORMERR)


@pytest.mark.parametrize("replace", [True, False])
def test_publishing_twice_through_the_machines_client(replace: bool) -> None:
    async def work(server: DnsServer) -> t.Sequence[Srv]:
        client = EmbeddedClient(server)
        other, old, new = (Srv(p, 1, 1688, f"{name}.{ZONE}") for p, name in ((0, "kms2"), (10, "kms1"), (20, "kms1")))
        for record, source in ((other, TWO), (old, ONE), (new, ONE)):
            await client.publish(ZONE, record, source, replace)
        return await client.lookup_srv(ZONE, ONE)

    assert sorted(record.priority for record in _serve(work)) == ([0, 20] if replace else [0, 10, 20])


def test_updates_come_from_the_address_of_the_machine() -> None:
    async def work(server: DnsServer) -> None:
        client = EmbeddedClient(server)
        await client.publish(ZONE, Srv(0, 0, 1688, f"kms1.{ZONE}"), ONE, replace=True)
        zone = server.zone_of_text(ZONE)
        assert zone is not None
        assert zone.owners[zone.name("_vlmcs._tcp")] == ONE
        with pytest.raises(DnsFailure) as caught:
            await client.publish(ZONE, Srv(0, 0, 1688, f"kms2.{ZONE}"), TWO, replace=True)
        assert caught.value.code == names.REFUSED

    _serve(work, policy="secure")


def test_machines_on_one_shared_address_are_told_apart_by_name() -> None:
    async def work(server: DnsServer) -> None:
        client = EmbeddedClient(server)
        await client.publish(ZONE, Srv(0, 0, 1688, f"kms1.{ZONE}"), "127.0.0.1#kms1", replace=True)
        with pytest.raises(DnsFailure):
            await client.publish(ZONE, Srv(0, 0, 1688, f"kms2.{ZONE}"), "127.0.0.1#kms2", replace=True)

    _serve(work, policy="secure")


def test_a_domain_below_a_zone_is_published_in_that_zone() -> None:
    async def work(server: DnsServer) -> t.Sequence[Srv]:
        client = EmbeddedClient(server)
        await client.publish(f"lab.{ZONE}", Srv(0, 0, 1688, f"kms1.{ZONE}"), ONE, replace=True)
        return await client.lookup_srv(f"lab.{ZONE}", ONE)

    assert len(_serve(work)) == 1


def test_codes_of_the_machines_client() -> None:
    async def work(server: DnsServer) -> list[int]:
        client, codes = EmbeddedClient(server), []
        for domain in (ZONE, "example.org"):
            with pytest.raises(DnsFailure) as caught:
                await client.lookup_srv(domain, ONE)
            codes.append(caught.value.code)
        return codes

    assert _serve(work) == [names.NAME_ERROR, names.REFUSED]
