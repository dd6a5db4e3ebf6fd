# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way out, with a rogue that cannot be reached: its domain stays steered until the next run gets to it."""

from __future__ import annotations

from integration.clean_up.rogue_fleet import BRANCH, CLEAN_UP, CORP, HEALED, KMS1, KMS2, fleet, records, run, shown
from integration.kit import Ansible, writes

from lab.client import LabProcess

SICK = f"web01.{CORP}"


def test_a_domain_with_a_sick_rogue_stays_steered_and_is_said_to_be(ansible: Ansible) -> None:
    with LabProcess(fleet(rogues=3)) as lab:
        before = records(lab)
        checked = run(ansible, lab, CLEAN_UP, "--check", "--diff").assert_ok()
        steers, *_converts, unsteers = map(str, shown(checked, "Show the plan"))
        assert f"{CORP}: steered to {KMS1}, past " in steers
        assert "it unsteers once no reason is left" in unsteers
        assert (writes(lab), records(lab)) == ([], before)

        lab.stop_machine(SICK)
        done = run(ansible, lab, CLEAN_UP, "-e", "kms_verify_fail=false")  # which would fail for it, too
        assert done.returncode != 0
        lab.call("settle")
        assert records(lab) == {
            (CORP, SICK, "0", "0"),
            (CORP, KMS1, "0", "65535"),
            *(value for value in HEALED if value[:2] != (CORP, KMS1)),
        }
        assert (BRANCH, KMS2, "20", "100") in records(lab)
        assert SICK in str(done.custom["kms_convert"]["left_out"])
        assert f"stays steered: {SICK}" in str(shown(done, "Show the plan"))
        assert f"1 are left as they are, with a KMS host key or values in DNS, and see above why: {SICK}" in done.output

        lab.start_machine(SICK)
        healed = run(ansible, lab, CLEAN_UP).assert_ok()
        assert len(healed.results("Read the machine")) > len(healed.results("Read the client")) == 0
        assert healed.custom["kms_verify"]["clients_licensed"] == healed.custom["kms_verify"]["clients"]
        lab.call("settle")
        assert records(lab) == HEALED
