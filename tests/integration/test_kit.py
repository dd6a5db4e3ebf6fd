# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is a fork of one process is a run of ``ansible-playbook``: what the tests see is what users get."""

from __future__ import annotations

import pathlib
import re
import subprocess

import pytest
from integration.kit import Ansible, Run, inventory, play, task

HERE = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
LOCAL = inventory({"machines": {"one": HERE, "two": HERE}})
#: What a run can see of itself, plugins of Ansible and of the collection, a module, and a failure.
PLAYS = [
    play(
        "machines",
        task(
            "see", "ansible.builtin.debug", {"msg": "{{ [inventory_hostname, playbook_dir, lookup('env', 'HOME')] }}"}
        ),
        task("read", "ansible.builtin.command", {"cmd": "cat"}, changed_when=False, run_once=True),
        task("compare", "ansible.builtin.debug", {"msg": "{{ [] is fleetops.kms.published([]) }}"}),
        task("filter", "ansible.builtin.debug", {"msg": "{{ {'b': 1, 'a': 2} | dict2items | sort(attribute='key') }}"}),
        task("stop", "ansible.builtin.fail", {"msg": "on purpose"}, when="inventory_hostname == 'two'"),
    )
]


def seen(run: Run) -> list[object]:
    """What each task has given, without times and the like."""
    return [
        (row["host"], row["task"], row["kind"], row["result"].get("msg"), row["result"].get("stdout"))
        for row in sorted(run.rows[:-1], key=lambda row: (row["task"], row["host"]))
    ]


def lines(run: Run) -> list[str]:
    """What was printed, in any order of the machines and for a playbook of any number."""
    return sorted(re.sub(r"playbook-\d+", "playbook", run.output).splitlines())


def test_a_fork_does_what_the_program_does(ansible: Ansible) -> None:
    """One that is given options of plugins has them, the next one has not."""
    program = ansible.playbook(PLAYS, LOCAL, env={"ANSIBLE_NOCOWS": "1"})
    first, in_yaml, second = (
        ansible.playbook(PLAYS, LOCAL, env=env) for env in (None, {"ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"}, None)
    )
    assert program.returncode == 2 and len(program.rows) == 9, program.output
    for fork in (first, second):
        assert fork.returncode == program.returncode
        assert seen(fork) == seen(program)
        assert lines(fork) == lines(program)
    assert "msg: on purpose" in in_yaml.output and "msg: on purpose" not in program.output


def test_a_run_that_is_stuck_is_killed_and_the_next_one_runs(tmp_path: pathlib.Path, ansible: Ansible) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text("import threading\nthreading.Event().wait()\n", encoding="utf-8")
    with pytest.raises(subprocess.TimeoutExpired):
        ansible.warm_start.run([str(stuck)], tmp_path, {}, tmp_path / "output.txt", 0)
    ansible.playbook([play("machines", task("see", "ansible.builtin.debug"))], LOCAL).assert_ok()
