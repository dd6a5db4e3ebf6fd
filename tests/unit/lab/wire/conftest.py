# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the wire tests."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from unit.lab.wire.kit import Loop, Plain


@pytest.fixture
def loop(tmp_path: pathlib.Path) -> t.Iterator[Loop]:
    loop = Loop(tmp_path)
    yield loop
    loop.close()


@pytest.fixture
def plain(loop: Loop) -> t.Iterator[t.Callable[..., Plain]]:
    clients: list[Plain] = []

    def make(**settings: t.Any) -> Plain:
        endpoint = loop.serve(auth=("basic",), allow_unencrypted=True, **settings)
        clients.append(Plain(endpoint))
        return clients[-1]

    yield make
    for client in clients:
        client.close()
