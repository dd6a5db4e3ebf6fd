# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several name servers are given, and one of them still shows a KMS host that the others do not: it counts."""

from __future__ import annotations

import json
import typing as t

import pytest
from integration.clean_up.rogue_fleet import BRANCH, CONVERT, CORP, KMS1, fleet, records, rows, run
from integration.kit import Ansible
from integration.steering.test_who_writes import STEER, UNSTEER, described, of
from unit.dns.loopback_dns import LoopbackDns, running, zones

from lab.client import LabProcess

WEB = f"web01.{CORP}"


@pytest.fixture
def behind() -> t.Iterator[LoopbackDns]:
    """A server that has not seen that a host is gone."""
    declared = "_vlmcs._tcp SRV 10 100 1688 kms1\n_vlmcs._tcp SRV 20 100 1688 kms2\n_vlmcs._tcp SRV 0 0 1688 web01\n"
    with running(zones((f"{CORP}.", declared), (f"{BRANCH}.", ""))) as server:
        yield server


def all_of(lab: LabProcess, behind: LoopbackDns) -> tuple[str, str]:
    return "-e", json.dumps({"kms_host_nameservers": [str(lab.dns), behind.entry]})


def test_a_domain_is_steered_while_any_server_shows_the_reason(ansible: Ansible, behind: LoopbackDns) -> None:
    with LabProcess(described()) as lab:
        run(ansible, lab, STEER, *all_of(lab, behind)).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("0", "65535")}

        run(ansible, lab, STEER, *UNSTEER, *all_of(lab, behind)).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("0", "65535")}

        run(ansible, lab, STEER, *UNSTEER).assert_ok()
        lab.call("settle")
        assert of(lab, KMS1) == {("10", "100")}


def test_a_value_is_gone_when_no_server_shows_it(ansible: Ansible, behind: LoopbackDns) -> None:
    with LabProcess(fleet(rogues=2, clients=1)) as lab:
        done = run(ansible, lab, CONVERT, *all_of(lab, behind))
        assert done.returncode != 0
        assert WEB not in {target for _domain, target, _priority, _weight in records(lab)}
        assert rows(done)[WEB]["values_left"] == [f"{CORP}: {WEB}"]
