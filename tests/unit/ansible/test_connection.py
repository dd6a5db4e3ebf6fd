# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way in which HTTP can fail, told as what it means for the request: sent, not sent, or unknown."""

from __future__ import annotations

import types
import typing as t

import pytest
import requests
import spnego.exceptions
import urllib3

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.connection import (
    HttpTransport,
    UnusableConnection,
    open_transport,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import AuthenticationError, TransportError


class Refused(Exception):
    pass


class HttpError(Exception):
    def __init__(self, code: int, response_text: str) -> None:
        super().__init__(code)
        self.code = code
        self.response_text = response_text


class Transport(HttpTransport):
    refused = (Refused,)
    http_error = (HttpError,)

    def __init__(self, error: Exception, **options: t.Any) -> None:
        super().__init__("http://machine.example.com:5985/wsman", encrypted=True, **options)
        self.error = error

    def _post(self, envelope: bytes, timeout: float) -> bytes:
        raise self.error

    def reconnect(self) -> None:
        raise ConnectionError("the socket is gone")


def send(error: Exception) -> TransportError:
    with pytest.raises(TransportError) as caught:
        Transport(error).send(b"<Envelope/>", operation_timeout=20)
    return caught.value


def test_a_fault_is_an_answer() -> None:
    body = "<s:Envelope>fault</s:Envelope>"
    assert Transport(HttpError(500, body)).send(b"", operation_timeout=20) == body.encode()
    assert Transport(HttpError(400, body)).send(b"", operation_timeout=20) == body.encode()


def _no_route() -> requests.exceptions.ConnectionError:
    inner = urllib3.exceptions.NewConnectionError(t.cast(t.Any, None), "[Errno 111] Connection refused")
    return requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(t.cast(t.Any, None), "/wsman", inner))


@pytest.mark.parametrize(
    ("error", "sent", "dropped"),
    [
        (HttpError(400, ""), False, True),
        (HttpError(413, ""), False, False),
        (HttpError(503, "<html>proxy</html>"), None, False),
        (requests.exceptions.ConnectTimeout(), False, False),
        (requests.exceptions.ReadTimeout(), None, False),
        (requests.exceptions.SSLError("certificate verify failed"), False, False),
        (_no_route(), False, False),
        (requests.exceptions.ConnectionError("Connection aborted"), None, True),
        (KeyError("Content-Type"), None, True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), None, True),
    ],
)
def test_what_is_known_of_the_request(error: Exception, sent: bool | None, dropped: bool) -> None:
    told = send(error)
    assert (told.sent, told.dropped) == (sent, dropped)
    assert "machine.example.com" in str(told)


def test_refused_credentials_are_told_as_such() -> None:
    told = send(Refused())
    assert isinstance(told, AuthenticationError) and "ansible_password" in str(told)


def test_closing_a_session_that_is_gone_is_no_error() -> None:
    Transport(Refused()).close()


@pytest.mark.parametrize("kind", ["ssh", "local", "network_cli"])
def test_another_connection_is_refused_by_naming_the_two_that_work(kind: str) -> None:
    with pytest.raises(UnusableConnection) as refused:
        open_transport(types.SimpleNamespace(transport=kind))
    assert kind in str(refused.value) and "winrm" in str(refused.value) and "psrp" in str(refused.value)


def test_a_missing_ticket_is_told_as_one_and_not_tried_again() -> None:
    told = send(spnego.exceptions.NoContextError(context_msg="no credentials cache"))
    assert isinstance(told, AuthenticationError) and "klist" in str(told)


def _with_a_context() -> Exception:
    """An error that came up while another was handled: it has that for its context."""
    try:
        try:
            raise OSError("the connection before was closed")
        except OSError:
            raise _no_route() from None
    except requests.exceptions.ConnectionError as error:
        return error


def test_the_cause_is_the_errors_own_and_not_an_earlier_one() -> None:
    told = send(_with_a_context())
    assert "refused" in str(told) and "before" not in str(told)


@pytest.mark.parametrize(("given", "kept"), [(55, 55), (5, 20)])
def test_a_longer_time_out_of_the_connection_is_kept(given: float, kept: float) -> None:
    assert Transport(Refused(), operation_timeout=given).operation_timeout == kept
