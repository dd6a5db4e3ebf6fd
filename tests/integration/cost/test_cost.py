# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is sent in one task, settled or turned from a KMS host into a client: counts, not times."""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import pytest
from benchmarks.settled import KEY, KEY_OPTION, MOST_BYTES, MOST_REQUESTS, client_play, fleet, host_play, over_limits
from integration.kit import Ansible, Data, Run, play, task

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


_ROGUE = "web01.corp.example.com"


def _with_rogue() -> Data:
    """A KMS host that answers clients, and one that nobody approved."""
    host = {
        "windows": "server2022/ServerStandard",
        "domain": "corp.example.com",
        "licence": KEY,
        "activated": True,
        "kms_rule": True,
    }
    return {
        "seed": 1,
        "keys": [{"key": KEY, "kind": "csvlk", "product": "server-2022", "limit": 10}],
        "dns": {"zones": {"corp.example.com": {}}},
        "machines": {
            "kms1": {**host, "group": "kms_hosts", "counted": 50},
            "web01": {**host, "group": "rogues"},
        },
    }


def test_a_kms_host_becomes_a_client_within_the_limits(tmp_path: pathlib.Path) -> None:
    convert = {"convert_host": True, "host_caching": False, "activate_against": "kms1.corp.example.com"}
    with LabProcess(_with_rogue()) as lab:
        run = Ansible(tmp_path).playbook([play("rogues", task("client", "client", convert))], lab.inventory_path)
        counted = lab.stats()["machines"][_ROGUE]
    result = run.assert_ok().result(_ROGUE)
    assert result["changed"] and result["verified"] and result["restarted"]
    assert result["kms"]["license_status_name"] == "licensed" and not result["kms"]["is_kms_host"]
    assert counted["requests"] <= MOST_REQUESTS["conversion"]
    assert counted["bytes_in"] <= MOST_BYTES["conversion"]
