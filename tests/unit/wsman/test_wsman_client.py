# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations, and what is sent again when a connection was lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from unit.wsman.shapes import (
    WIDGET,
    FakeTransport,
    client_of,
    fault,
    first_page,
    instance,
    next_page,
    output,
    referenced,
    soap,
    widget,
)

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    AuthenticationError,
    CimFault,
    InvalidArgument,
    OperationTimedOut,
    ProtocolError,
    TransportError,
)

DONE = output("<p:ReturnValue>0</p:ReturnValue>")
LOST = TransportError("the connection was lost")
NOT_SENT = TransportError("the connection was lost before anything was sent", sent=False)
UNREACHABLE = TransportError("nobody is there", sent=False, dropped=False)


def ids(client: CimClient, limit: int | None = None, max_pages: int = 500) -> list[str]:
    return [str(item["ID"]) for item in client.query(WIDGET, limit=limit, max_pages=max_pages)]


# --- queries ---


def test_a_query_follows_the_newest_context_to_the_end() -> None:
    client, transport = client_of(
        first_page(widget("a"), "uuid:C1"),
        next_page(widget("b") + widget("c"), "uuid:C2"),
        next_page("", "uuid:C3"),
        next_page(widget("d")),
    )
    assert ids(client) == ["a", "b", "c", "d"]
    assert transport.events == ["Enumerate", "Pull", "Pull", "Pull"]
    assert "select * from Test_Widget" in transport.sent[0]
    assert [f"uuid:C{n}</n:Enum" in transport.sent[n] for n in (1, 2, 3)] == [True, True, True]


def test_one_instance_is_one_request() -> None:
    client, transport = client_of(first_page(widget("a")))
    assert ids(client) == ["a"] and transport.events == ["Enumerate"]


def test_nothing_found_is_an_empty_list() -> None:
    assert ids(client_of(first_page(""))[0]) == []


def test_every_request_has_an_identity_of_its_own() -> None:
    client, transport = client_of(first_page(widget("a"), "uuid:C1"), next_page(""))
    ids(client)
    first, second = (sent.partition("<a:MessageID>")[2].partition("<")[0] for sent in transport.sent)
    assert first != second and first.startswith("uuid:") and first[5:] == first[5:].upper()


def test_a_limit_releases_the_rest() -> None:
    client, transport = client_of(first_page(widget("a") + widget("b"), "uuid:C1"), "")
    assert ids(client, limit=1) == ["a"]
    assert transport.events == ["Enumerate", "Release"] and "uuid:C1" in transport.sent[1]


def test_a_release_that_fails_is_no_loss() -> None:
    assert ids(client_of(first_page(widget("a"), "uuid:C1"), LOST)[0], limit=1) == ["a"]
    assert ids(client_of(first_page(widget("a"), "uuid:C1"), fault())[0], limit=1) == ["a"]


def test_a_query_without_end_is_given_up_and_released() -> None:
    client, transport = client_of(*[first_page("", "uuid:C")], *[next_page("", "uuid:C")] * 2, "")
    with pytest.raises(ProtocolError, match="3 pages"):
        ids(client, max_pages=3)
    assert transport.events == ["Enumerate", "Pull", "Pull", "Release"]


def test_a_lost_connection_starts_the_whole_query_again() -> None:
    client, transport = client_of(first_page(widget("a"), "uuid:C1"), LOST, first_page(widget("a") + widget("b")))
    assert ids(client) == ["a", "b"]
    assert transport.events == ["Enumerate", "Pull", "reconnect", "Enumerate"]


MODE = "<w:EnumerationMode>EnumerateObjectAndEPR</w:EnumerationMode>"
UNSUPPORTED = fault(subcode="w:UnsupportedFeature")


def test_only_a_query_that_wants_selectors_asks_for_them() -> None:
    keys = '<w:Selector Name="Path">p</w:Selector>'
    client, transport = client_of(first_page(referenced("a", keys), "uuid:C1"), next_page(referenced("b", keys)))
    assert [item.selectors for item in client.query(WIDGET, with_selectors=True)] == [{"Path": "p"}] * 2
    assert MODE in transport.sent[0]
    client, transport = client_of(first_page(widget("a")))
    assert [item.selectors for item in client.query(WIDGET)] == [{"ID": "a"}] and MODE not in transport.sent[0]


def test_a_server_that_gives_no_selectors_is_asked_without() -> None:
    client, transport = client_of(UNSUPPORTED, first_page(widget("a")))
    assert [item.selectors for item in client.query(WIDGET, with_selectors=True)] == [{"ID": "a"}]
    assert transport.events == ["Enumerate", "Enumerate"] and MODE not in transport.sent[1]


@pytest.mark.parametrize(
    ("with_selectors", "answer"), [(False, UNSUPPORTED), (True, fault(subcode="n:CannotProcessFilter"))]
)
def test_any_other_refusal_of_a_query_stands(with_selectors: bool, answer: str) -> None:
    client, transport = client_of(answer)
    with pytest.raises(CimFault):
        client.query(WIDGET, with_selectors=with_selectors)
    assert transport.events == ["Enumerate"]


# --- other operations ---


def test_get() -> None:
    client, transport = client_of(widget("a"))
    assert client.get(WIDGET, {"ID": "a"})["ID"] == "a"
    assert '<w:Selector Name="ID">a</w:Selector>' in transport.sent[0]


def test_get_that_finds_nothing_in_the_body_is_no_answer() -> None:
    with pytest.raises(ProtocolError) as caught:
        client_of("")[0].get(WIDGET)
    assert caught.value.operation == "Get Test_Widget"


def test_a_return_value_is_no_error() -> None:
    client, transport = client_of(output("<p:Text>x</p:Text><p:ReturnValue>5</p:ReturnValue>"))
    result = client.invoke(WIDGET, "Act", {"A": 1}, selectors={"ID": "a"}, operation_timeout=60)
    assert result.return_value == 5 and result.outputs["text"] == "x"
    assert transport.timeouts == [60] and "PT60.000S" in transport.sent[0]


def test_put_of_one_property_reads_nothing_before() -> None:
    client, transport = client_of(instance("<p:Count>2</p:Count>"))
    assert client.put(WIDGET, {"ID": "a"}, {"Count": 2})["Count"] == 2
    assert transport.events == ["Put"] and "<Count>2</Count>" in transport.sent[0]


def test_put_of_several_properties_writes_the_whole_instance() -> None:
    before = "<p:Count>1</p:Count><p:Enabled>false</p:Enabled><p:ID>a</p:ID><p:SecretKey>sesame</p:SecretKey>"
    client, transport = client_of(instance(before, "Test_Gadget"), instance("<p:Count>2</p:Count>"))
    client.put(WIDGET, {"ID": "a"}, {"count": 2, "Enabled": True})
    assert transport.events == ["Get", "Put"]
    assert "<p:Count>2</p:Count><p:Enabled>true</p:Enabled><p:ID>a</p:ID></p:Test_Gadget>" in transport.sent[1]


def test_put_may_be_answered_by_nothing() -> None:
    assert len(client_of("")[0].put(WIDGET, {"ID": "a"}, {"Count": 2}).values) == 0


def test_delete() -> None:
    client, transport = client_of("")
    client.delete(WIDGET, {"ID": "a"})
    assert transport.events == ["Delete"]


def test_what_cannot_be_sent_is_not_sent() -> None:
    client, transport = client_of()
    with pytest.raises(InvalidArgument, match="ProductKey"):
        client.invoke(WIDGET, "Act", {"ProductKey": "sesame\x00"})
    assert transport.events == []


# --- answers that are none ---


@pytest.mark.parametrize("relates_to", ["uuid:of-another", None])
def test_the_answer_to_another_request_is_refused(relates_to: str | None) -> None:
    client, _transport = client_of(soap(widget("a"), relates_to))
    with pytest.raises(ProtocolError, match="another request"):
        client.get(WIDGET)


def test_a_fault_may_relate_to_nothing_but_not_to_another_request() -> None:
    with pytest.raises(CimFault, match="Something failed"):
        client_of(soap(fault(), None))[0].get(WIDGET)
    with pytest.raises(ProtocolError):
        client_of(soap(fault(), "uuid:of-another"))[0].get(WIDGET)


def test_an_oversize_answer_is_refused() -> None:
    client = CimClient(FakeTransport(widget("a" * 1000)), max_answer=1000)
    with pytest.raises(ProtocolError, match="bytes"):
        client.get(WIDGET)


def test_errors_name_the_operation_and_hide_what_was_sent() -> None:
    client, _transport = client_of(fault(reason="No such key: open-sesame"))
    with pytest.raises(CimFault) as caught:
        client.invoke(WIDGET, "Act", {"Key": "open-sesame"})
    assert caught.value.operation == "Invoke Test_Widget.Act"
    assert "No such key: ***" in str(caught.value) and "sesame" not in repr(caught.value)


# --- sending again ---

Operation = Callable[[CimClient], object]

READS: dict[str, tuple[Operation, str]] = {
    "query": (lambda client: client.query(WIDGET), first_page("")),
    "get": (lambda client: client.get(WIDGET), widget("a")),
    "getter": (lambda client: client.invoke(WIDGET, "Get", read_only=True), DONE),
}
WRITES: dict[str, tuple[Operation, str]] = {
    "invoke": (lambda client: client.invoke(WIDGET, "Act"), DONE),
    "put": (lambda client: client.put(WIDGET, {"ID": "a"}, {"Count": 1}), ""),
    "delete": (lambda client: client.delete(WIDGET, {"ID": "a"}), ""),
}
ALL = {**READS, **WRITES}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("error", [LOST, NOT_SENT, TransportError("lost", sent=True)])
def test_a_read_is_sent_once_more(name: str, error: TransportError) -> None:
    operation, answer = READS[name]
    client, transport = client_of(error, answer)
    operation(client)
    assert len(transport.sent) == 2 and transport.events[1] == "reconnect"


@pytest.mark.parametrize("name", READS)
def test_a_read_is_sent_no_third_time(name: str) -> None:
    client, transport = client_of(LOST, LOST, READS[name][1])
    with pytest.raises(TransportError):
        READS[name][0](client)
    assert len(transport.sent) == 2


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("error", [LOST, TransportError("lost", sent=True)])
def test_a_write_that_may_have_arrived_is_never_sent_twice(name: str, error: TransportError) -> None:
    client, transport = client_of(error, WRITES[name][1])
    with pytest.raises(TransportError):
        WRITES[name][0](client)
    assert len(transport.sent) == 1 and "reconnect" not in transport.events


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_was_not_delivered_is_sent_once_more(name: str) -> None:
    operation, answer = WRITES[name]
    client, transport = client_of(NOT_SENT, answer)
    operation(client)
    assert len(transport.sent) == 2

    client, transport = client_of(NOT_SENT, NOT_SENT, answer)
    with pytest.raises(TransportError):
        operation(client)
    assert len(transport.sent) == 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("step", [AuthenticationError("no"), UNREACHABLE, b"no XML", fault()])
def test_nothing_else_is_tried_again(name: str, step: Exception | str | bytes) -> None:
    operation, answer = ALL[name]
    client, transport = client_of(step, answer)
    with pytest.raises((TransportError, ProtocolError, CimFault)):
        operation(client)
    assert len(transport.sent) == 1


@pytest.mark.parametrize("name", ALL)
def test_only_a_read_that_ran_out_of_time_is_asked_once_more(name: str) -> None:
    operation, answer = ALL[name]
    slow = fault(subcode="w:TimedOut")
    client, transport = client_of(slow, answer)
    if name in READS:
        operation(client)
        assert len(transport.sent) == 2
    else:
        with pytest.raises(OperationTimedOut):
            operation(client)
        assert len(transport.sent) == 1


def test_a_time_out_is_told_apart() -> None:
    with pytest.raises(OperationTimedOut):
        client_of(fault(subcode="w:TimedOut"))[0].invoke(WIDGET, "Act")


def test_close_ends_the_session() -> None:
    client, transport = client_of()
    client.close()
    assert transport.events == ["close"]
