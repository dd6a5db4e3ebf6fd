# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole story on a simulated fleet: before, deployed, the primary lost, settled; rogues, and the fleet healed.

``make demo`` runs it.

Each sentence is printed only after it has been seen to be true; the first that is not ends the demonstration with the
end of what Ansible said and exit code 1.
"""

from __future__ import annotations

import collections
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from integration.kit import Ansible, Run, play, task  # noqa: E402

from lab.client import LabError, LabProcess  # noqa: E402

FLEET = ROOT / "tests" / "lab" / "fleets" / "rogues.yml"
FOLDER = ROOT / "build" / "demo"
LOG = FOLDER / "ansible.log"
DOMAINS = ["corp.example.com", "branch.example.net"]
PRIMARY, SECONDARY = "kms1.corp.example.com", "kms2.corp.example.com"
#: Priority and weight that the inventory's ranks come to.
RANKS = {PRIMARY: ("10", "100"), SECONDARY: ("20", "100")}

#: What clients hear of hosts that are no good to them.
_TURNED_DOWN = {"0xC004F042": "its key does not serve their Windows", "0xC004F038": "too few counted"}

_WEEK, _TWO_HOURS = 7 * 86400, 2 * 3600
_SHOWN_LINES = 40
_INDENT = " " * 15


class DemoFailed(Exception):
    """The story did not go as it is told; the text says where."""


class Stage:
    """The fleet, and Ansible in front of it."""

    def __init__(self, lab: LabProcess) -> None:
        self.lab = lab
        self.machines = len(lab.machines())
        self._ansible = Ansible(FOLDER)
        self._inventory = FOLDER / "inventory.yml"
        self._inventory.write_text(lab.inventory(), encoding="utf-8")

    def run(self, book: t.Any, **variables: t.Any) -> tuple[Run, float]:
        """Run a playbook and return it with its seconds; what Ansible prints goes to the log."""
        started = time.monotonic()
        run = self._ansible.playbook(
            book, self._inventory, "-e", json.dumps(variables), env={"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}
        )
        seconds = time.monotonic() - started
        with LOG.open("a", encoding="utf-8") as log:
            log.write(run.output)
        expect(run.returncode == 0, f"ansible-playbook ended with {run.returncode}")
        return run, seconds

    def dns(self, header: bool) -> list[str]:
        """What the name server answers for the domains, asked and set in columns by the collection's own plugins."""
        table = "{{ query('fleetops.kms.srv', domains) | fleetops.kms.srv_table(domains, header) }}"
        variables = {
            "domains": DOMAINS,
            "header": header,
            "kms_nameservers": [self.lab.dns],
            "ansible_connection": "local",
        }
        run, _seconds = self.run(
            [play("localhost", task("dns", "ansible.builtin.debug", {"msg": table}), vars=variables)]
        )
        return t.cast("list[str]", run.result("localhost", "dns")["msg"])

    def clients(self) -> dict[str, dict[str, t.Any]]:
        """The licence of each KMS client, as the simulated machine itself has it."""
        licences = self.lab.call("licences")
        return {name: rows[0] for name, rows in licences.items() if rows and rows[0]["kind"] == "gvlk"}

    def served_by(self, host: str) -> set[str]:
        """The clients that are licensed and whose last activation was by this host."""
        clients = self.clients().items()
        return {name for name, row in clients if row["license_status"] == 1 and row["kms_server"] == host}

    def records(self) -> set[tuple[str, str, tuple[str, str]]]:
        """Domain, target, and priority and weight of every KMS host in the zones themselves."""
        rows = [line.split() for line in self.lab.call("dns")]
        return {(row[0].removeprefix("_vlmcs._tcp.").rstrip("."), row[7].rstrip("."), (row[4], row[5])) for row in rows}


def expect(holds: bool, otherwise: str) -> None:
    """Go on only if it is so."""
    if not holds:
        raise DemoFailed(otherwise)


def tell(title: str, *lines: str) -> None:
    """Print a paragraph of the story."""
    for number, line in enumerate(lines):
        print(f"{title:{len(_INDENT)}}{line}" if number == 0 else f"{_INDENT}{line}", flush=True)


# -- the story


def before(stage: Stage) -> None:
    """Nobody is published, nobody is licensed."""
    expect(stage.lab.call("summary")["licensed"] == {}, "clients are licensed before anything was done")
    lines = stage.dns(header=False)
    expect(all("no record" in line for line in lines), "DNS has records before anything was done")
    tell("DNS before", *lines)


def deploy(stage: Stage) -> None:
    """One command makes all of it so."""
    stage.lab.reset_stats()
    run, seconds = stage.run("fleetops.kms.site")
    found = run.custom["kms_verify"]
    clients = len(stage.clients())
    expect(found["failed"] == 0, "verify found what fails")
    expect(stage.served_by(PRIMARY) == set(stage.clients()), "not all clients are licensed by the primary")
    writes = stage.lab.totals()["writes"]
    tell(
        "site",
        f"ansible-playbook fleetops.kms.site: {stage.machines} machines, {writes} writes, {seconds:.0f} s;",
        f"2 KMS hosts activated and published, {found['clients_licensed']} of {clients} clients licensed.",
    )
    tell("DNS after", *stage.dns(header=True))


def lose_primary(stage: Stage) -> None:
    """The primary is off for a week: its clients renew at the secondary, which first has to count them."""
    stage.lab.stop_machine(PRIMARY)
    everybody = set(stage.clients())
    expect(not stage.served_by(SECONDARY), "the secondary has served clients while the primary lived")
    stage.lab.advance(_WEEK)
    renewed = stage.served_by(SECONDARY)
    refused = everybody - renewed
    expect(bool(renewed and refused), "the secondary answered everybody, or nobody")
    codes = {stage.lab.call("events", machine=name, code=12289)[-1]["strings"][0] for name in refused}
    expect(codes == {"0xC004F038"}, f"clients were turned down with {', '.join(sorted(codes))}")
    expect(all(row["license_status"] == 1 for row in stage.clients().values()), "a client has lost its licence")
    days = min(row["grace_minutes"] for row in stage.clients().values()) // 1440
    tell(
        "primary off",
        "kms1 loses its power. A week on the clients renew, and find kms2, which has counted nobody yet: the first",
        f"{len(refused)} hear 0xC004F038, too few (licences run on for {days} days), {len(renewed)} are renewed.",
    )
    stage.lab.advance(_TWO_HOURS)
    expect(stage.served_by(SECONDARY) == everybody, "not all clients were renewed by the secondary")
    count = max(stage.lab.call("summary")["counts"][SECONDARY].values())
    tell("", f"Two hours later these ask again: all {len(everybody)} are renewed by kms2, which has counted {count}.")
    stage.lab.start_machine(PRIMARY)


def settle(stage: Stage) -> None:
    """The second run finds nothing to do, and costs little."""
    stage.lab.reset_stats()
    run, seconds = stage.run("fleetops.kms.site")
    totals = stage.lab.totals()
    changed = sum(row["changed"] for row in run.rows[-1]["hosts"].values())
    expect(changed == 0, f"the second run reports changed={changed}")
    expect(totals["writes"] == 0, f"the second run sent {totals['writes']} writes")
    expect(totals["shells"] == 0, "a shell was started on a machine")
    tell("site again", "kms1 is back. changed=0, no write was sent, no shell was started.")
    requests, sent, received = (totals[name] / stage.machines for name in ("requests", "bytes_in", "bytes_out"))
    tell(
        "what it cost",
        f"A machine: {requests:.0f} HTTP requests, {sent / 1000:.0f} kB sent, {received / 1000:.0f} kB received,"
        f" {seconds / stage.machines:.2f} s, for setting it and then verifying it.",
    )


def rogues_appear(stage: Stage) -> None:
    """Six machines become KMS hosts by accident; clients meet them first, and are turned down."""
    clients = sorted(stage.clients())
    rogues = stage.lab.call("go_rogue")
    others = [name for name in clients if name not in rogues]
    codes = collections.Counter(stage.lab.call("activate", machine=others).values())
    turned_down = len(others) - codes.pop("0x00000000", 0)
    expect(turned_down > 0, "no client was turned down by a rogue")
    expect(set(codes) <= set(_TURNED_DOWN), f"clients were turned down with {', '.join(codes)}")
    told = ", ".join(f"{number} hear {code}, {_TURNED_DOWN[code]}" for code, number in codes.most_common())
    tell(
        "rogues",
        f"Somebody installs host keys on {len(rogues)} machines, which publish themselves before kms1 and kms2.",
        f"Of {len(others)} clients that want to renew {turned_down} are turned down:",
        f"{told}.",
    )
    run, seconds = stage.run("fleetops.kms.find_rogues")
    found = [host for host in run.custom["kms_rogues"]["hosts"] if host["status"] == "rogue"]
    expect({host["machine"] for host in found} == set(rogues), "find_rogues did not find these six")
    keys = sorted((host["keys"][0]["partial_product_key"], host["machine"].partition(".")[0]) for host in found)
    groups = itertools.groupby(keys, key=lambda pair: pair[0])
    named = "; ".join(f"{key} on {', '.join(name for _key, name in pairs)}" for key, pairs in groups)
    tell("find_rogues", f"{seconds:.0f} s: the host key {named}.")


def heal(stage: Stage) -> None:
    """One command turns them back, removes their records, and leaves nothing to do."""
    how = {"kms_dns_via": "rfc2136", "kms_dns_server": stage.lab.dns, "kms_steer_delay": 1, "kms_convert_delay": 1}
    run, seconds = stage.run("fleetops.kms.clean_up", **how)
    report = run.custom["kms_convert"]
    expect(report["values_left"] == 0, "values of rogues are left in DNS")
    wanted = {(domain, name, rank) for domain in DOMAINS for name, rank in RANKS.items()}
    expect(stage.records() == wanted, "DNS does not have the two real hosts at their ranks, and nobody else")
    codes = stage.lab.call("activate", machine=sorted(stage.clients()))
    failed = {name: code for name, code in codes.items() if int(code, 16)}
    expect(not failed, f"clients cannot activate: {failed}")
    everybody = stage.served_by(PRIMARY)
    expect(len(everybody) == stage.machines - len(RANKS), "not all machines are licensed by the primary")
    expect(not stage.lab.call("repeated"), "a key was installed twice, or an activation wasted")
    tell(
        "clean_up",
        f"{seconds:.0f} s: steered past the rogues, {report['converted']} turned back into clients, their records",
        f"removed, unsteered. All {len(everybody)} clients renew at kms1:",
        *stage.dns(header=False),
    )
    stage.lab.reset_stats()
    run, _seconds = stage.run("fleetops.kms.clean_up", **how)
    changed = sum(row["changed"] for row in run.rows[-1]["hosts"].values())
    writes = stage.lab.totals()["writes"]
    expect((changed, writes) == (0, 0), f"the second clean_up reports changed={changed} and sent {writes} writes")
    tell("once more", "clean_up again: changed=0, no write was sent.")


def _story() -> None:
    started = time.monotonic()
    with LabProcess(FLEET) as lab:
        stage = Stage(lab)
        tell(
            "a fleet",
            f"{stage.machines} simulated Windows machines on loopback: 2 servers to become KMS hosts,"
            f" {stage.machines - len(RANKS)} clients, {len(DOMAINS)} DNS domains.",
        )
        for scene in (before, deploy, lose_primary, settle, rogues_appear, heal):
            scene(stage)
    tell(
        "look next", f"All that Ansible said: {os.path.relpath(LOG, ROOT)} ({time.monotonic() - started:.0f} s in all)."
    )
    tell("", "make lab keeps such a fleet running and prints its inventory and what to try on it.")


def main() -> int:
    """Tell the story; 1 if it does not go as told."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        _story()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (DemoFailed, LabError, AssertionError, OSError, subprocess.SubprocessError) as error:
        said = LOG.read_text(encoding="utf-8") if LOG.exists() else ""
        print(*f"{said}\nThe demonstration failed: {error}".splitlines()[-_SHOWN_LINES:], sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
