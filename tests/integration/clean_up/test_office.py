# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host keys of Office by accident: they go one machine first, and only where an approved host serves Office."""

from __future__ import annotations

from integration.clean_up.rogue_fleet import (
    BRANCH,
    CONVERT,
    CORP,
    HEALED,
    KMS1,
    OFFICE_KEY,
    fleet,
    key_calls,
    records,
    rows,
    run,
    shown,
)
from integration.kit import Ansible, Data, writes

from lab.client import LabProcess

DESKS = [f"desk{number:02}.{CORP}" for number in (1, 2)]
BOTH = f"both.{CORP}"


def office_fleet() -> Data:
    described = fleet(rogues=2, clients=1)
    rogue = described["machines"].pop("shop")
    del described["machines"]["web"]
    office = {"office_pack": ["office-2021"], "keys": [{"key": OFFICE_KEY, "activated": True}]}
    described["machines"]["kms1"]["office_pack"] = ["office-2021"]
    described["machines"]["desk"] = {
        "count": 2,
        "windows": "windows10/Enterprise",
        "domain": CORP,
        "activated": True,
        **office,
    }
    described["machines"]["both"] = {**rogue, **office, "publish": [], "powered": False}
    return described


def state(lab: LabProcess, machine: str) -> str:
    return str(lab.call("state", machine=machine))


def test_a_windows_that_is_no_kms_client_is_left_as_it_is_and_nothing_of_the_host_stays(ansible: Ansible) -> None:
    """Also where the machine died when its key was gone: the rest is found by what it keeps."""
    described = office_fleet()
    for name in ("both", "desk"):
        del described["machines"][name]
    described["machines"]["kms1"]["keys"] = [{"key": OFFICE_KEY, "activated": True}]
    described["machines"] |= {
        name: {
            "windows": "windows10/Professional",
            "domain": CORP,
            "licence": licence,
            "office_pack": ["office-2021"],
            "keys": [{"key": OFFICE_KEY, "activated": True}],
            "publish": [f"{CORP}, 0, 0", f"{BRANCH}, 0, 0"],
            "kms_rule": True,
        }
        for name, licence in (("laptop", "oem"), ("kiosk", "mak"))
    }
    names = [f"{name}.{CORP}" for name in ("laptop", "kiosk")]
    with LabProcess(described) as lab:
        lab.call("set_state", machine=names[0], die_on_method="UninstallProductKey")
        first = run(ansible, lab, CONVERT, "-e", "kms_convert_batches=[2]")
        assert {name: row["state"] for name, row in rows(first).items()} == {
            names[0]: "unreachable",
            names[1]: "converted",
        }
        lab.start_machine(names[0])
        lab.call("settle")
        assert "KeyManagementServiceVersion" in state(lab, names[0])

        done = run(ansible, lab, CONVERT).assert_ok()
        assert {name: row["state"] for name, row in rows(done).items()} == {names[0]: "converted"}
        assert records(lab) == HEALED
        assert key_calls(lab) == {name: ["UninstallProductKey"] for name in names}
        for name in names:
            assert "KeyManagementServiceVersion" not in state(lab, name)
            assert "DnsDomainPublishList" not in state(lab, name)
            assert not any(rule["enabled"] == 1 for rule in lab.call("state", machine=name)["firewall"])

        lab.reset_stats()
        assert rows(run(ansible, lab, CONVERT).assert_ok()) == {}
        assert writes(lab) == []


def test_office_goes_in_batches_once_an_approved_host_serves_it(ansible: Ansible) -> None:
    with LabProcess(office_fleet()) as lab:
        refused = run(ansible, lab, CONVERT)
        assert refused.returncode != 0
        assert writes(lab) == []
        assert "serve any of the 2 rogues" in refused.output
        assert "application: office" in " ".join(shown(refused, "Show the plan")[0])

        lab.call("go_rogue", machine=KMS1, key=OFFICE_KEY)
        lab.set_fault({"fault": "error", "method": "UninstallProductKey", "code": 0xC004F069}, DESKS[0])
        stopped = run(ansible, lab, CONVERT)
        assert {name: row["state"] for name, row in rows(stopped).items()} == {DESKS[0]: "failed"}
        assert stopped.custom["kms_convert"]["no_turn"] == [DESKS[1]]
        assert DESKS[1] not in key_calls(lab)

        lab.clear_faults()
        done = run(ansible, lab, CONVERT).assert_ok()
        assert {name: row["state"] for name, row in rows(done).items()} == dict.fromkeys(DESKS, "converted")
        assert records(lab) == HEALED

        # Both keys: Windows first, and check mode says so; the machine is a host until the next run.
        lab.start_machine(BOTH)
        checked = run(ansible, lab, CONVERT, "--check")
        assert rows(checked)[BOTH]["state"] == "stays_host"
        assert rows(run(ansible, lab, CONVERT))[BOTH]["state"] == "stays_host"
        assert BOTH in {target for _domain, target, *_rest in records(lab)}
        run(ansible, lab, CONVERT).assert_ok()
        assert records(lab) == HEALED
        assert key_calls(lab)[BOTH] == ["InstallProductKey", "Activate", "UninstallProductKey"]
