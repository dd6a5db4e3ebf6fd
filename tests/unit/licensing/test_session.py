# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A long call whose outcome is unknown is settled by reading, for a bounded time, and never made twice."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import Machine, Product
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.session import SETTLE, STOPPING, Session
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    AuthenticationError,
    CimFault,
    OperationTimedOut,
    ProtocolError,
    TransportError,
)

from .machines import machine, product

DONE = machine(product())
NOT_YET = machine(product(status=5))


class Reader:
    """Reads what it is given, in its order; the last again and again."""

    def __init__(self, *reads: Machine | Exception) -> None:
        self.reads = [NOT_YET, *reads]
        self.count = 0
        self.last = NOT_YET

    def read(self, needs: Needs, known: Machine | None = None) -> Machine:
        self.count += 1
        found = self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]
        if isinstance(found, Exception):
            raise found
        self.last = found
        return found

    def products(self) -> tuple[Product, ...]:
        return self.read(Needs()).products


class Call:
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        raise self.error


def session(reader: Reader) -> tuple[Session, list[float]]:
    slept: list[float] = []
    made = Session(t.cast(t.Any, None), t.cast(t.Any, reader), Needs(), sleep=slept.append, clock=lambda: sum(slept))
    return made, slept


def is_done(now: Machine) -> bool:
    return now.windows is not None and now.windows.is_licensed


UNKNOWN = [OperationTimedOut(0x80338029), TransportError("lost"), ProtocolError("truncated")]


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_a_call_that_was_done_after_all_is_no_failure(error: Exception) -> None:
    call = Call(error)
    session(Reader(NOT_YET, NOT_YET, DONE))[0].settle(call, is_done)
    assert call.count == 1


@pytest.mark.parametrize(
    "busy", [OperationTimedOut(0x80338029), TransportError("gone"), CimFault(0xC004F075), ProtocolError("garbled")]
)
def test_reads_that_fail_while_the_machine_is_at_work_do_not_end_the_watch(busy: Exception) -> None:
    session(Reader(busy, busy, DONE))[0].settle(Call(TransportError("lost")), is_done)


def test_the_watch_is_bounded_and_then_the_first_error_counts() -> None:
    call = Call(OperationTimedOut(0x80338029))
    watched, slept = session(Reader(CimFault(0x80041001)))
    with pytest.raises(OperationTimedOut):
        watched.settle(call, is_done)
    assert SETTLE < sum(slept) < SETTLE + 15
    assert call.count == 1


def test_refused_credentials_are_not_tried_again() -> None:
    reader = Reader(AuthenticationError("no"))
    watched, slept = session(reader)
    with pytest.raises(TransportError, match="lost"):
        watched.settle(Call(TransportError("lost")), is_done)
    assert reader.count == 2 and slept == []


@pytest.mark.parametrize(
    "error", [CimFault(0xC004F050), TransportError("refused", sent=False), AuthenticationError("no")]
)
def test_a_certain_failure_is_not_watched(error: Exception) -> None:
    reader = Reader(DONE)
    with pytest.raises(type(error)):
        session(reader)[0].settle(Call(error), is_done)
    assert reader.count == 1


def test_what_a_licensing_call_does_not_change_is_not_read_again() -> None:
    asked: list[str] = []

    class Listening(Reader):
        def read(self, needs: Needs, known: Machine | None = None) -> Machine:
            asked.append("all")
            return super().read(needs, known)

        def products(self) -> tuple[Product, ...]:
            asked.append("products")
            return DONE.products

    one = session(Listening())[0]
    assert is_done(one.read_products()) and is_done(one.machine)
    assert asked == ["all", "products"]
    assert one.machine.operating_system is NOT_YET.operating_system


def test_a_service_that_stops_just_now_is_waited_for() -> None:
    """Somebody else restarts it."""
    stopping = CimFault(0xC004F075)
    waiting, slept = session(Reader(stopping, stopping, DONE))
    assert waiting.read_again() is DONE and len(slept) == 2


def test_a_service_that_never_stops_stopping_is_told() -> None:
    waiting, slept = session(Reader(CimFault(0xC004F075)))
    with pytest.raises(CimFault):
        waiting.read_again()
    assert STOPPING < sum(slept) < STOPPING + 5
