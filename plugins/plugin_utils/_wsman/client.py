# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of CIM over a transport, and the rules for sending something again.

A kept-alive connection may have been dropped meanwhile: Windows closes an idle one within about two minutes
(MS-WSMV, product note 22). So what only reads is sent once more on a new connection. What writes is sent once more
only when certainly nothing was delivered: else its outcome is unknown, and the caller must read again.
"""

from __future__ import annotations

import contextlib
import typing as t
import uuid
from collections.abc import Callable, Iterator, Mapping

from . import envelope
from .answer import MAX_ANSWER, Answer, Page, parse, read_instance, read_item, read_method_result, read_page
from .errors import CimFault, OperationTimedOut, ProtocolError, TransportError, WsmanError
from .faults import parse_fault
from .model import CimClass, Instance, MethodResult, Value

_T = t.TypeVar("_T")

#: A query that needs more answers than this is given up: a page of Windows has some 50 instances.
MAX_PAGES = 500


class Transport(t.Protocol):
    """An authenticated way to one machine's WS-Management endpoint."""

    endpoint: str

    def send(self, envelope: bytes, *, operation_timeout: float) -> bytes:
        """Posts the envelope and returns the answer's body, also when the HTTP status tells of a fault.

        Raises ``TransportError`` when there is no such answer. HTTP waits 15 seconds longer than the operation may
        take (in seconds), so that a late operation is told by a fault rather than by silence.
        """

    def reconnect(self) -> None:
        """Drops the session; the next ``send`` connects and authenticates anew."""

    def close(self) -> None:
        """Ends the session."""


def _new_message_id() -> str:
    return f"uuid:{str(uuid.uuid4()).upper()}"


class CimClient:
    """CIM operations on one machine.

    ``operation_timeout`` in seconds for each request, ``max_envelope_size`` and ``max_answer`` in bytes: what is
    asked for, and what is accepted. Every operation raises ``CimFault`` (``OperationTimedOut`` among them) when the
    other side refuses, ``TransportError`` when it cannot be reached, ``ProtocolError`` when it makes no sense,
    ``InvalidArgument`` for what cannot be sent.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        operation_timeout: float = 20.0,
        max_envelope_size: int = 512000,
        max_answer: int = MAX_ANSWER,
        new_message_id: Callable[[], str] = _new_message_id,
    ) -> None:
        self.transport = transport
        self.operation_timeout = operation_timeout
        self.max_answer = max_answer
        self._writer = envelope.Writer(transport.endpoint, max_envelope_size)
        self._new_message_id = new_message_id

    def query(
        self,
        cim_class: CimClass,
        wql: str | None = None,
        *,
        limit: int | None = None,
        max_pages: int = MAX_PAGES,
        with_selectors: bool = False,
    ) -> list[Instance]:
        """The instances that a WQL query yields, of derived classes too; all of the class without a query.

        ``limit`` stops after so many instances and releases the rest. ``with_selectors`` has the other side tell what
        addresses each instance, whatever the keys of the class are; the query must select whole instances (``*``).
        Where the other side does not, the key properties address it as ever.
        """
        text = wql or f"select * from {cim_class.name}"
        return self._run(
            f"Query {cim_class.name}",
            lambda: self._query(cim_class, text, limit, max_pages, with_selectors),
            read_only=True,
        )

    def get(self, cim_class: CimClass, selectors: Mapping[str, str] | None = None) -> Instance:
        """The instance of these keys; of a singleton class without keys."""
        message = envelope.get(cim_class, selectors or {})
        return self._run(
            f"Get {cim_class.name}", lambda: read_instance(self._send(message).content, cim_class), read_only=True
        )

    def put(self, cim_class: CimClass, selectors: Mapping[str, str], properties: Mapping[str, Value]) -> Instance:
        """Writes properties and returns the instance as the other side then tells it.

        One property goes as a fragment, which leaves the others alone. Several are put into the instance as it is
        now, and the whole is written: a change made by others in between is lost.
        """
        if not properties:
            raise ValueError("no property to write")
        if len(properties) == 1:
            ((name, value),) = properties.items()
            message = envelope.put_property(cim_class, selectors, name, value)
        else:
            now = self.get(cim_class, selectors)
            message = envelope.put_instance(cim_class, selectors, now.name, _merged(now.values, properties))
        return self._run(f"Put {cim_class.name}", lambda: self._written(message, cim_class), read_only=False)

    def invoke(
        self,
        cim_class: CimClass,
        method: str,
        arguments: Mapping[str, Value] | None = None,
        *,
        selectors: Mapping[str, str] | None = None,
        operation_timeout: float | None = None,
        read_only: bool = False,
    ) -> MethodResult:
        """Calls a method: of the class, or of the instance that the selectors tell.

        ``read_only`` says that the call changes nothing, so that it may be sent again (the getters of StdRegProv).
        A return value other than 0 is no error here.
        """
        message = envelope.invoke(cim_class, method, arguments or {}, selectors or {})
        return self._run(
            f"Invoke {cim_class.name}.{method}",
            lambda: read_method_result(self._send(message, operation_timeout), cim_class, method),
            read_only=read_only,
        )

    def delete(self, cim_class: CimClass, selectors: Mapping[str, str]) -> None:
        """Removes the instance of these keys."""
        message = envelope.delete(cim_class, selectors)
        self._run(f"Delete {cim_class.name}", lambda: self._send(message), read_only=False)

    def close(self) -> None:
        """Ends the transport's session."""
        self.transport.close()

    def _run(self, operation: str, attempt: Callable[[], _T], *, read_only: bool) -> _T:
        try:
            return self._once_more(attempt, read_only)
        except WsmanError as error:
            error.operation = operation
            raise

    def _once_more(self, attempt: Callable[[], _T], read_only: bool) -> _T:
        try:
            return attempt()
        except TransportError as error:
            if not error.dropped or not (read_only or error.sent is False):
                raise
            self.transport.reconnect()
        except OperationTimedOut:
            if not read_only:
                raise
        return attempt()

    def _send(self, message: envelope.Message, operation_timeout: float | None = None) -> Answer:
        timeout = self.operation_timeout if operation_timeout is None else operation_timeout
        message_id = self._new_message_id()
        data = self._writer.write(message, message_id=message_id, operation_timeout=timeout)
        answer = parse(self.transport.send(data, operation_timeout=timeout), self.max_answer)
        # A fault may come without it: the request was perhaps not even read.
        if answer.relates_to != message_id and not (answer.fault is not None and answer.relates_to is None):
            raise ProtocolError("the answer relates to another request")
        if answer.fault is not None:
            raise parse_fault(answer.fault, message.hidden)
        return answer

    def _written(self, message: envelope.Message, cim_class: CimClass) -> Instance:
        answer = self._send(message)
        return read_instance(answer.content, cim_class) if answer.body else Instance(cim_class, cim_class.name)

    def _query(
        self, cim_class: CimClass, wql: str, limit: int | None, max_pages: int, with_selectors: bool
    ) -> list[Instance]:
        instances: list[Instance] = []
        for page in self._pages(cim_class, self._start(cim_class, wql, with_selectors), max_pages):
            instances.extend(read_item(item, cim_class) for item in page.items)
            if limit is not None and len(instances) >= limit:
                if page.context is not None:
                    self._release(cim_class, page.context)
                break
        return instances[:limit]

    def _start(self, cim_class: CimClass, wql: str, with_selectors: bool) -> Page:
        try:
            return read_page(self._send(envelope.enumerate_wql(cim_class, wql, with_selectors=with_selectors)))
        except CimFault as fault:
            # A service need not give references, and then says so with this fault (DSP0226 8.7).
            if not with_selectors or fault.subcode != "UnsupportedFeature":
                raise
        return self._start(cim_class, wql, with_selectors=False)

    def _pages(self, cim_class: CimClass, page: Page, max_pages: int) -> Iterator[Page]:
        yield page
        for _number in range(1, max_pages):
            if page.context is None:
                return
            page = read_page(self._send(envelope.pull(cim_class, page.context)))
            yield page
        if page.context is not None:
            self._release(cim_class, page.context)
            raise ProtocolError(f"the query has more than {max_pages} pages")

    def _release(self, cim_class: CimClass, context: str) -> None:
        """Frees the query on the other side, which else keeps it for minutes; it is no loss when that fails."""
        with contextlib.suppress(WsmanError):
            self._send(envelope.release(cim_class, context))


def _merged(now: Mapping[str, Value], properties: Mapping[str, Value]) -> dict[str, Value]:
    changed = {name.lower(): value for name, value in properties.items()}
    merged = {name: changed.pop(name.lower(), value) for name, value in now.items()}
    return merged | {name: value for name, value in properties.items() if name.lower() in changed}
