# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests."""

from __future__ import annotations

import typing as t

import pytest
from integration.kit import Ansible


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> t.Any:
    """Keep the tests of a file together: they share a lab and the runs against it."""
    from xdist.scheduler import LoadScopeScheduling

    return LoadScopeScheduling(config, log)


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """Runs playbooks."""
    return Ansible(tmp_path_factory.mktemp("ansible"))
