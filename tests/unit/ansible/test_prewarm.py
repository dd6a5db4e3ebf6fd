# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal of a session: it goes all the way with the installed libraries, reaches nobody and never fails."""

from __future__ import annotations

import socket
import threading
import typing as t
import warnings

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible import prewarm


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: t.Any, **_kwargs: t.Any) -> t.NoReturn:
        raise AssertionError("the network was used")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.usefixtures("no_network")
def test_session_is_opened_and_a_message_sealed_without_network_thread_or_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    sealed: list[bytes] = []
    original = prewarm.Encryption.prepare_encrypted_request

    def note(*args: t.Any) -> t.Any:
        request = original(*args)
        sealed.append(request.body)
        return request

    monkeypatch.setattr(prewarm.Encryption, "prepare_encrypted_request", note)
    threads = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prewarm._rehearse()
    assert len(sealed) == 1
    assert b"message" not in sealed[0]
    assert threading.active_count() == threads


def test_what_fails_is_left_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> t.NoReturn:
        raise RuntimeError("a library of another make")

    monkeypatch.setattr(prewarm, "_rehearse", fail)
    prewarm.prewarm()


def test_a_missing_library_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prewarm, "requests", None)
    prewarm.prewarm()
