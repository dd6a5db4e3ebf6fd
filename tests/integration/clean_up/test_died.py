# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that dies while it is activated: nothing in DNS tells of it any more, and still it is gone on with."""

from __future__ import annotations

from integration.clean_up.rogue_fleet import (
    CONVERT,
    CORP,
    FIND,
    HEALED,
    KMS1,
    KMS2,
    fleet,
    key_calls,
    records,
    rows,
    run,
    shown,
)
from integration.kit import Ansible, writes

from lab.client import LabProcess

DIED = f"web01.{CORP}"
MARK, FIXED = "KeyManagementServiceVersion", "KeyManagementServiceName"


def test_it_is_found_by_what_it_keeps_and_not_left_fixed_to_a_host(ansible: Ansible) -> None:
    described = fleet(rogues=2, clients=1)
    del described["machines"]["shop"]
    described["machines"]["kms2"]["kms_rule"] = False
    with LabProcess(described) as lab:

        def registry() -> str:
            return str(lab.call("state", machine=DIED)["registry"])

        lab.call("set_state", machine=DIED, die_on_method="SetKeyManagementServiceMachine")
        first = run(ansible, lab, CONVERT)
        assert rows(first)[DIED]["state"] == "unreachable"
        told = [line for line in shown(first, "Show the plan")[0] if line.startswith("WARNING")]
        assert [line.split(" was ")[0] for line in told] == [f"WARNING: {KMS2}: TCP 1688"]
        assert records(lab) == HEALED
        lab.start_machine(DIED)
        lab.call("settle")
        assert records(lab) == HEALED
        assert MARK in registry()
        assert f"'{KMS1}'" in registry()
        assert "DnsDomainPublishList" not in registry()

        found = run(ansible, lab, FIND).assert_ok().custom["kms_rogues"]
        (left,) = [host for host in found["hosts"] if host["machine"] == DIED]
        assert (left["status"], left["records"]) == ("left_behind", [])

        done = run(ansible, lab, CONVERT).assert_ok()
        assert rows(done)[DIED]["state"] == "converted"
        assert key_calls(lab)[DIED] == ["InstallProductKey", "Activate"]
        assert [row["license_status"] for row in lab.call("state", machine=DIED)["licences"]] == [1]
        assert MARK not in registry()
        assert FIXED not in registry()

        lab.reset_stats()
        assert rows(run(ansible, lab, CONVERT).assert_ok()) == {}
        assert writes(lab) == []
