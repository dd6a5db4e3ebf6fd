# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a settled machine is sent in one task: counts, not times."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from benchmarks.settled import KEY_OPTION, client_play, fleet, host_play, over_limits
from integration.kit import Ansible, Run

from lab.client import LabProcess

MACHINES = {"host": "kms1.corp.example.com", "client": "pc01.corp.example.com"}


@dataclasses.dataclass(frozen=True)
class Settled:
    """A run on settled machines, and what the lab has counted in it, by machine."""

    run: Run
    counted: dict[str, dict[str, t.Any]]


@pytest.fixture(scope="module", params=["winrm", "psrp"])
def settled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settled:
    folder = tmp_path_factory.mktemp("cost")
    ansible = Ansible(folder)
    with LabProcess(fleet(clients=1)) as lab:
        inventory = folder / "lab.yml"
        inventory.write_text(lab.inventory(connection=request.param), encoding="utf-8")
        ansible.playbook([host_play()], inventory, "-e", KEY_OPTION).assert_ok()
        lab.reset_stats()
        run = ansible.playbook([host_play(), client_play()], inventory, "-e", KEY_OPTION).assert_ok()
        return Settled(run, lab.stats()["machines"])


@pytest.mark.parametrize("kind", MACHINES)
def test_settled_machine_stays_as_it_is_within_the_limits(settled: Settled, kind: str) -> None:
    machine = MACHINES[kind]
    assert settled.run.result(machine)["changed"] is False
    assert settled.counted[machine]["requests"] > 0
    assert over_limits(kind, settled.counted[machine]) == []
