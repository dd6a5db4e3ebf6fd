# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRV questions against real servers on loopback: every outcome, and every way to an answer."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from unit.dns.loopback_dns import Handler, Message, rcode, running, silent, zones

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.exchange import Outcome, _receive
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import Nameserver, parse_nameserver
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.query import (
    Answer,
    QueryOptions,
    query_srv,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord

CORP = (
    "corp.example.com.",
    """
_vlmcs._tcp SRV 20 100 1688 KMS2
_vlmcs._tcp SRV 10 100 1688 kms1
kms1 A 192.0.2.1
kms1 AAAA 2001:db8::1
kms2 A 192.0.2.2
_vlmcs._tcp.text TXT "no SRV"
_vlmcs._tcp.closed SRV 0 0 0 .
_vlmcs._tcp.alias CNAME _vlmcs._tcp
_vlmcs._tcp.loop CNAME _vlmcs._tcp.loop2
_vlmcs._tcp.loop2 CNAME _vlmcs._tcp.loop
_vlmcs._tcp.away CNAME _vlmcs._tcp.branch.example.net.
""",
)
BRANCH = ("branch.example.net.", "_vlmcs._tcp SRV 10 100 1688 kms1.corp.example.com.\n")
KMS1 = SrvRecord("corp.example.com", "kms1.corp.example.com", 1688, 10, 100)
KMS2 = SrvRecord("corp.example.com", "kms2.corp.example.com", 1688, 20, 100)


def ask(domain: str, *servers: str, **options: Any) -> Answer:
    """Return the one answer for a domain."""
    (answer,) = query_srv([domain], QueryOptions(nameservers=servers, **options))
    return answer


def closed_port() -> str:
    """Return an address where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_records_come_in_order_with_ttl_and_normal_names() -> None:
    with running(zones(CORP)) as server:
        answer = ask("Corp.Example.COM.", server.entry)
    assert answer.outcome is Outcome.ANSWERED
    assert answer.records == (KMS1, KMS2)
    assert [record.ttl for record in answer.records] == [3600, 3600]
    assert str(answer.nameserver) == server.entry


def test_full_service_name_and_domain_are_one_question() -> None:
    with running(zones(CORP)) as server:
        options = QueryOptions(nameservers=(server.entry,))
        answers = query_srv(["corp.example.com", "_VLMCS._tcp.corp.example.com."], options)
        assert len(answers) == len(server.questions) == 1


@pytest.mark.parametrize(
    ("domain", "outcome"),
    [
        ("none.corp.example.com", Outcome.NXDOMAIN),
        ("text.corp.example.com", Outcome.NO_DATA),
        ("closed.corp.example.com", Outcome.NOT_AVAILABLE),
        ("loop.corp.example.com", Outcome.MALFORMED),
        ("elsewhere.example.org", Outcome.REFUSED),
    ],
)
def test_what_a_zone_can_say(domain: str, outcome: Outcome) -> None:
    with running(zones(CORP)) as server:
        answer = ask(domain, server.entry)
    assert answer.outcome is outcome
    assert answer.records == ()
    assert domain in answer.message
    assert server.entry in answer.message


def broken(query: Message, _by_tcp: bool) -> bytes:
    """Answer with a header that promises more than follows."""
    wire = bytearray(dns.message.make_response(query).to_wire())
    wire[7] = 9
    return bytes(wire)


def foreign(query: Message, _by_tcp: bool) -> bytes:
    """Answer to a question that nobody asked."""
    response = dns.message.make_response(query)
    response.id = query.id ^ 0xFFFF
    return response.to_wire()


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (rcode(dns.rcode.SERVFAIL), Outcome.SERVFAIL),
        (rcode(dns.rcode.REFUSED), Outcome.REFUSED),
        (rcode(dns.rcode.NOTAUTH), Outcome.ERROR_CODE),
        (rcode(dns.rcode.FORMERR), Outcome.ERROR_CODE),
        (silent, Outcome.TIMEOUT),
        (broken, Outcome.MALFORMED),
        (foreign, Outcome.TIMEOUT),
    ],
)
def test_servers_that_fail_are_told_apart(handler: Handler, outcome: Outcome) -> None:
    with running(handler) as server:
        # Where nothing comes the time runs out; else it has to be enough on a busy machine.
        waits = outcome in (Outcome.TIMEOUT, Outcome.MALFORMED)
        answer = ask("corp.example.com", server.entry, timeout=0.2 if waits else 10.0, lifetime=20.0)
    assert answer.outcome is outcome
    assert "corp.example.com" in answer.message
    assert server.entry in answer.message


@pytest.mark.parametrize("tcp", [False, True])
def test_closed_port_is_unreachable(tcp: bool) -> None:
    assert ask("corp.example.com", closed_port(), tcp=tcp).outcome is Outcome.UNREACHABLE


def test_every_outcome_has_a_message_of_its_own() -> None:
    messages = {Answer("corp.example.com", outcome).message for outcome in Outcome}
    assert len(messages) == len(Outcome)
    assert all(message.startswith("corp.example.com: ") for message in messages)


@pytest.mark.parametrize("first", [rcode(dns.rcode.SERVFAIL), rcode(dns.rcode.REFUSED), silent, broken])
def test_next_server_is_asked_when_one_fails(first: Handler) -> None:
    with running(first) as bad, running(zones(CORP)) as good:
        answer = ask("corp.example.com", bad.entry, good.entry, timeout=0.2)
    assert answer.records == (KMS1, KMS2)
    assert str(answer.nameserver) == good.entry


def test_missing_name_is_final() -> None:
    with running(zones(CORP)) as first, running(zones(CORP)) as second:
        assert ask("none.corp.example.com", first.entry, second.entry).outcome is Outcome.NXDOMAIN
        assert second.questions == []


def test_failure_that_tells_most_is_reported() -> None:
    with running(silent) as dead, running(rcode(dns.rcode.REFUSED)) as refusing:
        answer = ask("corp.example.com", dead.entry, refusing.entry, timeout=0.1)
    assert answer.outcome is Outcome.REFUSED
    assert str(answer.nameserver) == refusing.entry


def test_lifetime_ends_the_round_of_servers() -> None:
    with running(silent) as dead, running(zones(CORP)) as good:
        answer = ask("corp.example.com", dead.entry, good.entry, timeout=5, lifetime=0.2)
        assert answer.outcome is Outcome.TIMEOUT
        assert good.questions == []


def test_lost_question_is_sent_again_without_edns() -> None:
    answer_zone = zones(CORP)

    def drops_edns(query: Message, by_tcp: bool) -> Message | bytes | None:
        return None if query.edns >= 0 else answer_zone(query, by_tcp)

    with running(drops_edns) as server:
        assert ask("corp.example.com", server.entry, timeout=0.4).records == (KMS1, KMS2)
        assert [edns for *_rest, edns in server.questions] == [True, False]


def test_server_that_rejects_edns_is_asked_without() -> None:
    answer_zone, reject = zones(CORP), rcode(dns.rcode.FORMERR)

    def old(query: Message, by_tcp: bool) -> Message | bytes | None:
        return reject(query, by_tcp) if query.edns >= 0 else answer_zone(query, by_tcp)

    with running(old) as server:
        assert ask("corp.example.com", server.entry).records == (KMS1, KMS2)


def test_an_answer_that_no_message_can_hold_is_not_taken_for_the_whole() -> None:
    """Some 1,300 SRV values fill a message. What is missing in it must not be taken for gone."""

    def truncates(query: Message, by_tcp: bool) -> Message | bytes | None:
        reply = zones(CORP)(query, by_tcp)
        assert isinstance(reply, dns.message.Message)
        reply.flags |= dns.flags.TC
        reply.answer.clear()
        return reply

    with running(truncates) as server:
        answer = ask("corp.example.com", server.entry)
    assert answer.outcome is Outcome.MALFORMED and "larger" in answer.message


def test_truncated_answer_is_fetched_by_tcp() -> None:
    answer_zone = zones(CORP)

    def truncates(query: Message, by_tcp: bool) -> Message | bytes | None:
        if by_tcp:
            return answer_zone(query, by_tcp)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response

    with running(truncates) as server:
        assert ask("corp.example.com", server.entry).records == (KMS1, KMS2)
        assert [by_tcp for _name, _type, by_tcp, _edns in server.questions] == [False, True]


def test_an_answer_over_tcp_has_a_time_of_its_own() -> None:
    """It may take longer than an answer over UDP may, and shorter."""
    answer_zone = zones(CORP)

    def waits(query: Message, by_tcp: bool) -> Message | bytes | None:
        time.sleep(1.1)
        return answer_zone(query, by_tcp)

    with running(waits) as server:
        assert ask("corp.example.com", server.entry, tcp=True, timeout=1.0).records == (KMS1, KMS2)

    def hangs(query: Message, by_tcp: bool) -> Message | bytes | None:
        if by_tcp:
            hung.wait(60)
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.TC
        return response

    hung = threading.Event()
    with running(hangs) as server:
        answer = ask("corp.example.com", server.entry, timeout=30.0, tcp_timeout=0.1)
        hung.set()
    assert answer.outcome is Outcome.TIMEOUT
    assert "by TCP in 0.1 s" in answer.message


def test_an_answer_that_waited_for_this_process_has_come_in_time() -> None:
    async def busy() -> bytes | None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with near, far:
            near.setblocking(False)
            waiting = asyncio.ensure_future(_receive(near, asyncio.get_running_loop().time() + 0.05))
            await asyncio.sleep(0)
            far.send(b"an answer")
            time.sleep(0.1)
            return await waiting

    assert asyncio.run(busy()) == b"an answer"


def many(count: int) -> str:
    return "".join(f"_vlmcs._tcp SRV 0 0 1688 w{number:04}.k.test.\n" for number in range(count))


def test_two_thousand_values_of_one_name_are_read_whole_for_several_domains_at_once() -> None:
    """A message of 64 kB holds them where their names are short."""
    origins = [f"d{number}.example." for number in range(2)]
    whole = zones(*((origin, many(2_000)) for origin in origins))

    def truncates(query: Message, by_tcp: bool) -> Message | bytes | None:
        response = whole(query, by_tcp)
        assert isinstance(response, dns.message.Message)
        if by_tcp:
            return response.to_wire(max_size=65_535)
        response.flags |= dns.flags.TC
        response.answer.clear()
        return response

    with running(truncates) as server:
        answers = query_srv(origins, QueryOptions(nameservers=(server.entry,), timeout=30, tcp_timeout=60, lifetime=60))
    assert [(answer.outcome, len(answer.records)) for answer in answers] == [(Outcome.ANSWERED, 2_000)] * 2


def test_addresses_are_asked_for_after_all_records_and_only_those_wanted() -> None:
    other = (
        "branch.example.net.",
        "_vlmcs._tcp SRV 0 0 1688 a.example.org.\n_vlmcs._tcp SRV 0 0 1688 b.example.org.\n",
    )
    with running(zones(CORP, other)) as server:
        options = QueryOptions(
            nameservers=(server.entry,), resolve=True, resolve_targets=frozenset({"a.example.org"}), timeout=30
        )
        branch, corp = query_srv(["branch.example.net", "corp.example.com"], options)
        kinds = [kind for _name, kind, _tcp, _edns in server.questions]
        names = {name for name, kind, _tcp, _edns in server.questions if kind != "SRV"}
    assert kinds[:2] == ["SRV", "SRV"]
    assert names == {"a.example.org."}
    assert (list(branch.addresses), corp.addresses) == (["a.example.org"], {})


def test_tcp_only() -> None:
    with running(zones(CORP)) as server:
        assert ask("corp.example.com", server.entry, tcp=True).records == (KMS1, KMS2)
        assert [by_tcp for _name, _type, by_tcp, _edns in server.questions] == [True]


def test_forged_datagram_does_not_stop_the_wait() -> None:
    """CVE-2023-29483: what cannot be the answer is ignored while the true one may still come."""
    answer_zone = zones(CORP)
    asked: list[Message] = []

    def forged_first(query: Message, by_tcp: bool) -> Message | bytes | None:
        asked.append(query)
        return broken(query, by_tcp) if len(asked) == 1 else answer_zone(query, by_tcp)

    with running(forged_first) as server:
        assert ask("corp.example.com", server.entry, timeout=0.4).records == (KMS1, KMS2)


def test_alias_is_followed_inside_the_zone_and_beyond() -> None:
    with running(zones(CORP, BRANCH)) as server:
        inside = ask("alias.corp.example.com", server.entry)
        beyond = ask("away.corp.example.com", server.entry)
    assert [record.target for record in inside.records] == ["kms1.corp.example.com", "kms2.corp.example.com"]
    assert {record.domain for record in inside.records} == {"alias.corp.example.com"}
    assert [record.target for record in beyond.records] == ["kms1.corp.example.com"]


def test_a_hostile_target_is_escaped_and_hides_no_other() -> None:
    """DNS allows any byte in a name: one value of anybody must not make a domain unreadable."""
    zone = (
        "corp.example.com.",
        "_vlmcs._tcp SRV 0 0 1688 a\\032b\\010c\n_vlmcs._tcp.long SRV 0 0 1688 " + "\\000" * 40 + "\n"
        "_vlmcs._tcp.dots SRV 0 0 1688 a\\..b\n_vlmcs._tcp.dots SRV 10 0 1688 kms1\n",
    )
    with running(zones(zone)) as server:
        odd = ask("corp.example.com", server.entry)
        long = ask("long.corp.example.com", server.entry)
        dots = ask("dots.corp.example.com", server.entry)
    assert odd.records[0].target == "a\\032b\\010c.corp.example.com"
    assert long.records[0].target == "\\000" * 40 + ".corp.example.com"
    assert [record.target for record in dots.records] == ["a\\..b.corp.example.com", "kms1.corp.example.com"]


def test_all_nameservers_answer_for_themselves() -> None:
    stale = ("corp.example.com.", "_vlmcs._tcp SRV 0 0 1688 old\n")
    with running(zones(CORP)) as first, running(zones(stale)) as second, running(silent) as third:
        options = QueryOptions(
            nameservers=(first.entry, second.entry, third.entry), all_nameservers=True, timeout=0.2, retries=0
        )
        answers = query_srv(["corp.example.com"], options)
    assert [(str(answer.nameserver), answer.outcome) for answer in answers] == [
        (first.entry, Outcome.ANSWERED),
        (second.entry, Outcome.ANSWERED),
        (third.entry, Outcome.TIMEOUT),
    ]
    assert [len(answer.records) for answer in answers] == [2, 1, 0]


def test_addresses_come_from_the_answer_or_are_asked_for() -> None:
    branch = (
        "branch.example.net.",
        "_vlmcs._tcp SRV 10 1 1688 kms2.corp.example.com.\n_vlmcs._tcp SRV 20 1 1688 gone\n",
    )
    with running(zones(CORP, branch)) as server:
        own = ask("corp.example.com", server.entry, resolve=True)
        assert len(server.questions) == 1
        other = ask("branch.example.net", server.entry, resolve=True)
    assert own.addresses == {
        "kms1.corp.example.com": ("192.0.2.1", "2001:db8::1"),
        "kms2.corp.example.com": ("192.0.2.2",),
    }
    assert other.addresses == {"kms2.corp.example.com": ("192.0.2.2",), "gone.branch.example.net": ()}


def recursive_view(*zone_servers: str) -> Handler:
    """A resolver that knows the zone's servers and whose memory of the service's name is stale."""
    ns = "".join(f"@ NS ns{n}\nns{n} A {address}\n" for n, address in enumerate(zone_servers, 1))
    return zones(("corp.example.com.", ns + "_vlmcs._tcp SRV 0 0 1688 stale\n"))


def test_authoritative_servers_are_found_and_asked_and_the_resolver_is_not_spoiled() -> None:
    with running(zones(CORP)) as own, running(recursive_view("127.0.0.1")) as resolver:
        answer = ask("corp.example.com", resolver.entry, authoritative=True, port=own.port)
        names = {name for name, *_rest in resolver.questions}
    assert answer.records == (KMS1, KMS2)
    assert (answer.nameserver and answer.nameserver.host) == "ns1.corp.example.com"
    assert not [name for name in names if name.startswith("_vlmcs")]


def test_authoritative_finds_the_zone_above_the_domain() -> None:
    branch = ("corp.example.com.", "_vlmcs._tcp.branch SRV 10 100 1688 kms1\n")
    with running(zones(branch)) as own, running(recursive_view("127.0.0.1")) as resolver:
        answer = ask("branch.corp.example.com", resolver.entry, authoritative=True, port=own.port)
    assert [record.target for record in answer.records] == ["kms1.corp.example.com"]


def test_every_authoritative_server_is_asked() -> None:
    with running(zones(CORP)) as first:
        late = ("corp.example.com.", "kms1 A 192.0.2.1\n")
        with (
            running(zones(late), "127.0.0.3", first.port) as _second,
            running(recursive_view("127.0.0.1", "127.0.0.3")) as resolver,
        ):
            options = QueryOptions(
                nameservers=(resolver.entry,), authoritative=True, all_nameservers=True, port=first.port
            )
            answers = query_srv(["corp.example.com"], options)
    assert [answer.outcome for answer in answers] == [Outcome.ANSWERED, Outcome.NXDOMAIN]


def test_addresses_of_one_server_are_ways_to_one_answer() -> None:
    """A server with an address that is closed from here is not a second server that fails."""
    resolver_zone = ("corp.example.com.", "@ NS ns1\nns1 A 127.0.0.1\nns1 AAAA ::1\n")
    with running(zones(CORP)) as own, running(zones(resolver_zone)) as resolver:
        options = QueryOptions(nameservers=(resolver.entry,), authoritative=True, all_nameservers=True, port=own.port)
        answers = query_srv(["corp.example.com"], options)
    assert [answer.records for answer in answers] == [(KMS1, KMS2)]


def test_delegated_service_is_followed_from_the_parent_zone() -> None:
    """A zone on BIND often hands _tcp over to the domain controllers."""
    parent = ("corp.example.com.", "@ NS ns1\nns1 A 127.0.0.1\n_tcp NS dc1\ndc1 A 127.0.0.3\n")
    child = ("_tcp.corp.example.com.", "_vlmcs SRV 10 100 1688 kms1.corp.example.com.\n")
    with (
        running(zones(parent)) as own,
        running(zones(child), "127.0.0.3", own.port),
        running(recursive_view("127.0.0.1")) as resolver,
    ):
        answer = ask("corp.example.com", resolver.entry, authoritative=True, port=own.port)
        assert ask("corp.example.com", own.entry).outcome is Outcome.REFERRAL
    assert answer.records == (KMS1,)


@pytest.mark.parametrize("handler", [rcode(dns.rcode.SERVFAIL), silent])
def test_zone_that_cannot_be_found_says_so(handler: Handler) -> None:
    with running(handler) as resolver:
        answer = ask("corp.example.com", resolver.entry, authoritative=True, timeout=0.2)
    assert answer.outcome in (Outcome.SERVFAIL, Outcome.TIMEOUT)
    assert "authoritative for corp.example.com" in answer.message
    assert resolver.entry in answer.message


def test_many_domains_are_asked_at_once() -> None:
    """No server answers before it has been asked for every domain: one by one would never end in answers."""
    domains = [f"d{n}.example.com" for n in range(50)]
    zone = zones(("example.com.", "".join(f"_vlmcs._tcp.d{n} SRV 0 0 1688 kms\n" for n in range(50))))
    seen: set[str] = set()

    def waits_for_all(query: Message, by_tcp: bool) -> Message | bytes | None:
        seen.add(query.question[0].name.to_text())
        return zone(query, by_tcp) if len(seen) == len(domains) else None

    with running(waits_for_all) as server:
        answers = query_srv(domains, QueryOptions(nameservers=(server.entry,), timeout=4, retries=7))
    assert [answer.domain for answer in answers] == domains
    assert {answer.outcome for answer in answers} == {Outcome.ANSWERED}


def test_name_server_by_name_and_unknown_name_server() -> None:
    with running(zones(CORP)) as server:
        assert ask("corp.example.com", f"localhost:{server.port}").records == (KMS1, KMS2)
    unknown = ask("corp.example.com", "nowhere.invalid")
    assert unknown.outcome is Outcome.UNREACHABLE
    assert "nowhere.invalid" in unknown.message


def test_system_resolver_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    with running(zones(CORP)) as server:

        class Configured(dns.resolver.Resolver):
            def __init__(self) -> None:
                super().__init__(configure=False)
                self.nameservers, self.port = [server.address], server.port

        monkeypatch.setattr(dns.resolver, "Resolver", Configured)
        assert ask("corp.example.com").records == (KMS1, KMS2)


def test_machine_without_resolver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def unconfigured() -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "Resolver", unconfigured)
    answer = ask("corp.example.com")
    assert answer.outcome is Outcome.UNREACHABLE
    assert "no name server" in answer.message


@pytest.mark.parametrize(
    ("entry", "server"),
    [
        ("192.0.2.1", Nameserver("192.0.2.1", 5300, "192.0.2.1")),
        ("192.0.2.1:53", Nameserver("192.0.2.1", 53, "192.0.2.1")),
        ("2001:db8::1", Nameserver("2001:db8::1", 5300, "2001:db8::1")),
        ("[2001:db8::1]", Nameserver("2001:db8::1", 5300, "2001:db8::1")),
        ("[2001:db8::1]:53", Nameserver("2001:db8::1", 53, "2001:db8::1")),
        (" DC1.example.com. ", Nameserver("dc1.example.com", 5300)),
        ("dc1:53", Nameserver("dc1", 53)),
    ],
)
def test_name_server_entries(entry: str, server: Nameserver) -> None:
    assert parse_nameserver(entry, 5300) == server
    assert parse_nameserver(str(server), server.port) == server


@pytest.mark.parametrize(
    "entry", ["", "192.0.2.1:", "192.0.2.1:0", "dc1:65536", "dc1:x", "[2001:db8::1", "[dc1]:53", "a b", "-@;", "[::1]x"]
)
def test_what_is_no_name_server(entry: str) -> None:
    with pytest.raises(ValueError, match="no name server"):
        parse_nameserver(entry)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        QueryOptions(timeout=0)
    with pytest.raises(ValueError, match="above 0"):
        QueryOptions(tcp_timeout=0)
    with pytest.raises(ValueError, match="retries"):
        QueryOptions(retries=-1)
    with pytest.raises(ValueError, match="DNS name"):
        query_srv(["a..b"])
    for domain in ("a\\999.example.com", ".".join(["x" * 62] * 4)):
        with pytest.raises(ValueError, match="no domain"):
            query_srv([domain])
    asyncio.run(asyncio.sleep(0))  # the refusal left no event loop behind
