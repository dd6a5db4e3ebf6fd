# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded name server: zones with hundreds of KMS hosts, who may transfer them, and owners of names."""

from __future__ import annotations

import asyncio
import typing as t

import dns.asyncquery
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update
import dns.xfr
import dns.zone
import pytest

from lab.dns.client import EmbeddedClient
from lab.dns.names import REFUSED, DnsFailure, Srv
from lab.dns.server import DnsServer
from lab.dns.zone import Zone

ZONE = "corp.example.com"
OWNER = f"_vlmcs._tcp.{ZONE}."
ONE, TWO = "127.0.0.11", "127.0.0.12"
SECRETS = {"admin-key": "c2ltdWxhdGVkLXNlY3JldC0x", "other-key": "c2ltdWxhdGVkLXNlY3JldC0y"}


def _keyring(name: str) -> t.Any:
    return dns.tsigkeyring.from_text({name: SECRETS[name]})


def _serve(work: t.Callable[[DnsServer, Zone], t.Awaitable[t.Any]], **options: t.Any) -> t.Any:
    async def run() -> t.Any:
        server = DnsServer(SECRETS)
        zone = server.add_zone(ZONE, **options)
        await server.start()
        try:
            return await work(server, zone)
        finally:
            await server.stop()

    return asyncio.run(run())


def _fill(zone: Zone, count: int) -> None:
    """Hosts with names long enough to fill a message whether or not their targets are compressed.

    RFC 2782 forbids that, but dnspython does it up to 2.8: a value takes 49 bytes, or 33.
    """
    for number in range(count):
        name = f"web{number:09d}"
        zone.add(zone.name("_vlmcs._tcp"), "SRV", f"0 0 1688 {name}.{ZONE}.")
        zone.add(zone.name(name), "A", "127.0.0.13")


async def _ask(server: DnsServer) -> dns.message.Message:
    query = dns.message.make_query(OWNER, "SRV")
    answer, _tcp = await dns.asyncquery.udp_with_fallback(query, server.address, timeout=30, port=server.port)
    return answer


async def _transfer(server: DnsServer, source: str = ONE, key: str | None = None) -> dns.zone.Zone:
    copy = dns.zone.Zone(ZONE)
    query, _serial = dns.xfr.make_query(copy, keyring=_keyring(key) if key else None)
    await dns.asyncquery.inbound_xfr(server.address, copy, query, port=server.port, timeout=30, source=source)
    return copy


async def _update(server: DnsServer, source: str, key: str | None = None, priority: int = 0) -> dns.rcode.Rcode:
    message = dns.update.UpdateMessage(ZONE, keyring=_keyring(key) if key else None)
    message.add(OWNER, 300, "SRV", f"{priority} 0 1688 kms1.{ZONE}.")
    answer = await dns.asyncquery.udp(message, server.address, timeout=30, port=server.port, source=source)
    return answer.rcode()


# -- size


def test_hundreds_of_hosts_fit_into_an_answer_without_the_addresses_that_do_not() -> None:
    async def work(server: DnsServer, zone: Zone) -> tuple[int, int]:
        _fill(zone, 1300)
        answer = await _ask(server)
        return len(answer.answer[0]), len(answer.additional)

    assert _serve(work) == (1300, 0)


def test_an_answer_that_no_message_can_hold_is_truncated() -> None:
    async def work(server: DnsServer, zone: Zone) -> None:
        _fill(zone, 2100)
        query = dns.message.make_query(OWNER, "SRV")
        answer = await dns.asyncquery.tcp(query, server.address, timeout=30, port=server.port)
        assert answer.flags & dns.flags.TC
        assert not answer.answer

    _serve(work)


@pytest.mark.parametrize("key", [None, "other-key"])
def test_a_large_zone_is_transferred_in_several_messages(key: str | None) -> None:
    async def work(server: DnsServer, zone: Zone) -> tuple[int, int]:
        _fill(zone, 1600)
        copy = await _transfer(server, key=key)
        values = copy.get_rdataset("_vlmcs._tcp", "SRV")
        return len(values or ()), sum(1 for name in copy if str(name).startswith("web"))

    assert _serve(work, allow_transfer=True) == (1600, 1600)


# -- who may transfer


@pytest.mark.parametrize(
    ("allow", "source", "key", "allowed"),
    [
        ([ONE], ONE, None, True),
        ([ONE], TWO, None, False),
        (["other-key"], TWO, "other-key", True),
        (["other-key"], TWO, "admin-key", False),
        (["other-key"], TWO, None, False),
        ([], ONE, None, False),
    ],
)
def test_a_transfer_is_for_those_who_are_listed(allow: list[str], source: str, key: str | None, allowed: bool) -> None:
    async def work(server: DnsServer, _zone: Zone) -> bool:
        try:
            await _transfer(server, source, key)
        except dns.xfr.TransferError as error:
            assert error.rcode == dns.rcode.REFUSED
            return False
        return True

    assert _serve(work, allow_transfer=allow) is allowed


def test_a_name_below_a_zone_is_no_zone_to_transfer() -> None:
    async def work(server: DnsServer, _zone: Zone) -> None:
        query = dns.message.make_query(f"below.{ZONE}", "AXFR")
        answer = await dns.asyncquery.tcp(query, server.address, timeout=30, port=server.port)
        assert answer.rcode() == dns.rcode.NOTAUTH

    _serve(work, allow_transfer=True)


# -- owners


def test_an_administrators_key_writes_where_somebody_else_owns_the_name() -> None:
    async def work(server: DnsServer, _zone: Zone) -> list[dns.rcode.Rcode]:
        return [
            await _update(server, ONE),
            await _update(server, TWO, "other-key", priority=1),
            await _update(server, TWO, "admin-key", priority=2),
            await _update(server, ONE, priority=3),
        ]

    codes = _serve(work, policy="secure", admins=["admin-key"])
    assert codes == [dns.rcode.NOERROR, dns.rcode.REFUSED, dns.rcode.NOERROR, dns.rcode.NOERROR]


def test_a_host_whose_record_an_administrator_wrote_cannot_publish_it_again() -> None:
    """What stands already is no proof of the right to write it: the host still learns that it is refused."""

    async def work(_server: DnsServer, zone: Zone) -> int:
        record = Srv(0, 0, 1688, f"kms1.{ZONE}")
        update = dns.update.UpdateMessage(ZONE)
        update.add(zone.name("_vlmcs._tcp"), 3600, "SRV", f"0 0 1688 kms1.{ZONE}.")
        zone.administer(update, "administrator")
        with pytest.raises(DnsFailure) as caught:
            await EmbeddedClient(_server).publish(ZONE, record, ONE, replace=True)
        return caught.value.code

    assert _serve(work, policy="secure") == REFUSED


# -- what machines of this process see


def test_lookups_follow_every_change() -> None:
    async def work(server: DnsServer, zone: Zone) -> None:
        client = EmbeddedClient(server)

        async def seen() -> list[int]:
            try:
                return sorted(record.priority for record in await client.lookup_srv(ZONE, ONE))
            except DnsFailure:
                return []

        assert await seen() == []
        for priority in (1, 2):
            await _update(server, ONE, priority=priority)
        assert await seen() == [1, 2]
        update = dns.update.UpdateMessage(ZONE)
        update.delete(zone.name("_vlmcs._tcp"), "SRV", f"1 0 1688 kms1.{ZONE}.")
        zone.administer(update, "administrator")
        assert await seen() == [2]
        zone.failures[zone.origin] = "servfail"
        assert await seen() == []
        zone.failures.clear()
        assert await seen() == [2]

    _serve(work)


def test_names_above_a_record_exist_as_long_as_it_does() -> None:
    async def work(_server: DnsServer, zone: Zone) -> None:
        names = [zone.name(text) for text in ("_vlmcs._tcp", "_tcp")]
        zone.add(names[0], "SRV", f"0 0 1688 kms1.{ZONE}.")
        zone.add(names[0], "TXT", "also here")
        assert all(map(zone.exists, names))
        for rdtype in ("SRV", "TXT"):
            update = dns.update.UpdateMessage(ZONE)
            update.delete(names[0], rdtype)
            zone.administer(update, "administrator")
        assert not any(map(zone.exists, names))
        assert zone.exists(zone.origin)

    _serve(work)
