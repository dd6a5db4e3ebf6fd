# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests, and how they are shared out among processors."""

from __future__ import annotations

import os
import typing as t

import pytest
from integration.kit import Ansible


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: t.Any) -> t.Any:
    """Keep the tests of a file together: they share a lab and the runs against it.

    Files in the order of the command line, not those with the most tests first: these are not the slowest.
    """
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False
    return LoadScopeScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More workers than processors: each of them waits now and then for the programs that it has started."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processors + (processors + 1) // 2


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Ansible:
    """Runs playbooks."""
    return Ansible(tmp_path_factory.mktemp("ansible"))
