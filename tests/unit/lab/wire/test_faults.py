# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand do what their names say, as often as they were told, to the operation they are for."""

from __future__ import annotations

import asyncio
import http.client
import typing as t
from xml.etree import ElementTree as ET

import pytest
from unit.lab.wire.kit import NS, Loop, Plain
from unit.lab.wire.toy import ToyRepository

from lab.faults import Fault, UnknownFault

Make = t.Callable[..., Plain]
LOST = (ConnectionResetError, BrokenPipeError, http.client.IncompleteRead)  # RemoteDisconnected is a reset too


def rename(client: Plain) -> t.Any:
    return client.invoke("root/cimv2/Toy_Service", "Rename", "<c:Text>x</c:Text>", {"Name": "svc1"})


def calls(client: Plain) -> int:
    return len(t.cast(ToyRepository, client.endpoint.machine.repository).calls)


def query(client: Plain) -> t.Any:
    return client.query("select * from Toy_System")


@pytest.mark.parametrize(
    "bad", ["nonsense", {"fault": "slow", "code": 1}, {"fault": "drop_after", "when": "never"}, {}]
)
def test_descriptions_are_checked(bad: t.Any) -> None:
    with pytest.raises(UnknownFault):
        Fault.parse(bad)


def test_waiting_is_bounded() -> None:
    assert Fault.parse({"fault": "hang", "seconds": 1e9}).parameters["seconds"] <= 120


def test_a_fault_strikes_so_many_times_and_only_its_operation(plain: Make) -> None:
    client = plain()
    client.endpoint.faults.add({"fault": "error", "method": "Rename", "code": "0xC004F074", "times": 2})
    assert query(client).status == 200
    assert [rename(client).wsman_code for _time in range(3)] == [0xC004F074, 0xC004F074, None]
    assert calls(client) == 1


def test_a_fault_for_a_class_hits_queries_too(plain: Make) -> None:
    client = plain(faults=({"fault": "access_denied", "class": "Toy_System"},))
    assert query(client).wsman_code == 5
    assert client.query("select Name from Toy_Service").status == 200


@pytest.mark.parametrize("shape", ["wmi_error", "wsman_fault", "extended"])
def test_an_error_in_a_shape_of_its_own(plain: Make, shape: str) -> None:
    client = plain(faults=({"fault": "error", "method": "Rename", "code": 0x80041001, "shape": shape},))
    answer = rename(client)
    assert (answer.root.find(".//e:MSFT_WmiError", NS) is not None) == (shape == "wmi_error")
    assert (answer.root.find(".//{*}__ExtendedStatus") is not None) == (shape == "extended")


@pytest.mark.parametrize(("when", "done"), [("before", 0), ("after", 1)])
def test_a_connection_lost_without_an_answer(plain: Make, when: str, done: int) -> None:
    client = plain(faults=({"fault": "drop_after", "method": "Rename", "when": when},))
    with pytest.raises(LOST):
        rename(client)
    assert calls(client) == done


def test_a_connection_lost_between_two_requests(plain: Make) -> None:
    client = plain(faults=({"fault": "drop_after", "action": "Enumerate", "when": "between", "times": 1},))
    assert query(client).status == 200
    with pytest.raises(LOST):
        query(client)
    assert query(client).status == 200


def test_half_an_answer(plain: Make) -> None:
    with pytest.raises(http.client.IncompleteRead):
        query(plain(faults=("half_answer",)))


def test_timed_out_goes_on(loop: Loop, plain: Make) -> None:
    client = plain(faults=({"fault": "timed_out", "method": "Rename", "times": 1},))
    answer = rename(client)
    assert (answer.subcode, answer.wsman_code) == ("w:TimedOut", 0x80338029)
    rename(client)  # the first has long been scheduled when this one runs
    assert calls(client) == 2


@pytest.mark.parametrize("name", ["doctype", "entity_bomb"])
def test_hostile_document_types(plain: Make, name: str) -> None:
    answer = query(plain(faults=(name,)))
    assert answer.status == 200
    assert answer.data.startswith(b"<!DOCTYPE")
    assert b"<!ENTITY" in answer.data and b"&" in answer.data.partition(b"]>")[2]


def test_other_spoiled_answers(plain: Make) -> None:
    client = plain()
    client.endpoint.faults.add({"fault": "wrong_relates_to", "times": 1})
    assert query(client).text("a:RelatesTo") == "uuid:00000000-0000-0000-0000-000000000000"
    client.endpoint.faults.add({"fault": "not_xml", "times": 1})
    with pytest.raises(ET.ParseError):
        assert query(client).root
    client.endpoint.faults.add({"fault": "oversize", "bytes": 2_000_000, "times": 1})
    assert len(query(client).data) > 2_000_000


def test_refusals(plain: Make) -> None:
    client = plain()
    for name, status in (("http_413", 413), ("quota", 500), ("access_denied", 500), ("wrong_password", 401)):
        client.endpoint.faults.add({"fault": name, "times": 1})
        assert query(client).status == status
    assert query(client).status == 200


def test_slow_and_hang_are_about_waiting(plain: Make) -> None:
    client = plain(faults=({"fault": "slow", "seconds": 0},))
    assert query(client).status == 200
    client.endpoint.faults.clear("slow")
    client.endpoint.faults.add({"fault": "hang", "seconds": 0})
    with pytest.raises(LOST):
        query(client)


def test_a_dead_machine_refuses_connections_until_it_is_alive(loop: Loop, plain: Make) -> None:
    client = plain()
    assert query(client).status == 200
    client.endpoint.faults.add("dead")
    loop.call(client.endpoint.settle())
    with pytest.raises(LOST):
        query(client)
    with pytest.raises(ConnectionRefusedError):
        query(client)
    client.endpoint.faults.clear()
    loop.call(client.endpoint.settle())
    assert query(client).status == 200


def test_a_machine_that_dies_of_a_call_answers_nothing_more(plain: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = plain()
    machine = client.endpoint.machine
    repository = t.cast(ToyRepository, machine.repository)
    original = repository.invoke

    async def die(*arguments: t.Any) -> dict[str, t.Any]:
        machine.powered = False
        return await original(*arguments)

    monkeypatch.setattr(repository, "invoke", die)
    with pytest.raises(LOST):
        rename(client)
    with pytest.raises(ConnectionRefusedError):
        rename(client)
    assert calls(client) == 1


def test_what_was_running_is_lost_with_the_power(loop: Loop, plain: Make) -> None:
    client = plain(faults=({"fault": "timed_out", "method": "Rename", "seconds": 60, "times": 1},))
    context = client.query("select * from Toy_Service").text("n:EnumerationContext") or ""
    assert rename(client).subcode == "w:TimedOut"
    for powered in (False, True):
        client.endpoint.machine.powered = powered
        loop.call(client.endpoint.settle())
    with pytest.raises(LOST):
        query(client)
    assert client.pull(context).subcode == "n:InvalidEnumerationContext"
    assert loop.call(_tasks_left()) == 0
    assert calls(client) == 0


async def _tasks_left() -> int:
    """The delayed operations that are still to come."""
    return sum("later" in repr(task.get_coro()) for task in asyncio.all_tasks())
