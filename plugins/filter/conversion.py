# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rogue KMS hosts turned into clients in batches: the plan, what came of each batch, and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.fleet_filter import (
    CONVERTED,
    READ,
    Filter,
    fleet_filter,
    plain,
    reading,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import (
    addresses_of,
    not_answered_at_all,
    records_of,
    split_answers,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import batches, conversion, recheck
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts, as_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import DeclaredHost
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import reading_of
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.survey import report_of, unreached

#: What names the data of ``convert_report`` and its form. The number changes when a field changes its meaning.
SCHEMA = "fleetops.kms.conversion"
VERSION = 1

#: What is planned in batches: Windows (and what only has to be tidied up), then host keys of Office alone.
KINDS = ("hosts", "office")

#: Where the role keeps what came of clearing a machine's publish list.
CLEARED = "_kms_convert_cleared"


@fleet_filter
def convert_problems(
    report: Any, steps: Any, now: str = "", max_age_hours: float = 24, is_given: bool | None = None
) -> list[str]:
    """Return what is wrong with the size of batches, and with a report that was made earlier (if any).

    ``now`` is the time in UTC, as such a report tells it: one that is older than so many hours is refused. With
    ``is_given`` one that is empty is refused, too.
    """
    problems = []
    try:
        batches.batch_sizes(1, _steps(steps))
    except ValueError as error:
        problems.append(f"kms_convert_batches: {error}")
    if report if is_given is None else is_given:
        try:
            too_old = recheck.why_not_of_now(report_of(report), now, float(max_age_hours))
        except ValueError as error:
            too_old = str(error)
        problems += [f"kms_convert_report: {too_old}"] * bool(too_old)
    return problems


@fleet_filter
def convert_questions(report: Any) -> dict[str, list[str]]:
    """Return what to ask DNS again before an earlier report is acted on: ``domains``, and ``targets`` to resolve."""
    return plain(recheck.questions(report_of(report)))


@fleet_filter
def convert_recheck(
    report: Any, hostvars: Mapping[str, Any], records: Any, declared: Sequence[Mapping[str, Any]] = ()
) -> dict[str, str]:
    """Return an earlier report, as ``json``, as DNS and the approved hosts that were read in this run say it is now."""
    given = report_of(report)
    answers, unanswered = split_answers(records)
    names = {host["machine"] for host in given["hosts"] if host["approved"] and host["machine"]}
    readings = {name: reading(hostvars, name) for name in names if name in hostvars and READ in hostvars[name]}
    found = list(answers)
    hosts = [DeclaredHost.from_dict(item) for item in declared]
    silent = not_answered_at_all(found, unanswered)
    now = recheck.recheck(given, records_of(found), addresses_of(found), silent, readings, hosts)
    return {"json": json.dumps(plain(now))}


def _read(text: str) -> Any:
    """Return data that a fact holds as text: Ansible goes through the whole of any other fact at every use."""
    return json.loads(str(text))


def _steps(steps: Any) -> Sequence[Any]:
    """The sizes; text such as "1, 20%" or "[1, 20%]" is what a survey or ``-e name=value`` gives."""
    if isinstance(steps, str):
        return as_list(steps.strip().removeprefix("[").removesuffix("]"))
    return steps if isinstance(steps, (list, tuple)) else [steps]


@fleet_filter
def convert_plan(
    report: Mapping[str, Any],
    machines: Sequence[str],
    steps: Any,
    declared: Sequence[Mapping[str, Any]] = (),
    approved: Any = None,
    started: float = 0.0,
    outside: Sequence[str] = (),
    probes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return what a run is to do, from a report on the fleet.

    ``outside`` are approved hosts that the run may not touch (a limit): what it decides on would be a part of the
    whole. ``probes`` say whose TCP port was reached from the controller, which only warns. Nobody may be approved only
    where a report says so: this run has to know whom to leave alone.
    """
    hosts = [DeclaredHost.from_dict(item) for item in declared]
    given = [*as_list(approved), *(host.fqdn for host in hosts if host.fqdn)]
    known = ApprovedHosts.of(given) if given or not hosts else None
    planned = conversion.plan(report_of(report), set(machines), known, {host.name for host in hosts})
    if outside:
        text = f"{', '.join(sorted(outside))}: approved KMS hosts outside of this run; take them into --limit"
        planned["stop"] = [text, *planned["stop"]]
    sizes = {kind: batches.batch_sizes(len(planned[kind]), _steps(steps)) for kind in KINDS}
    total = len(planned["orders"])
    planned["notes"] += [f"WARNING: {line}" for line in unreached(probes)] if total else []
    lines = [*planned["notes"], f"{total} machines to turn into clients or to tidy up{_in_batches(sizes['hosts'])}."]
    if planned["office"]:
        lines.append(
            f"{len(planned['office'])} of them keep their Windows as it is and lose host keys of Office alone,"
            f" last{_in_batches(sizes['office'])}."
        )
    lines += batches.by_reason((item["machine"] or item["fqdn"], item["reason"]) for item in planned["left_out"])
    added = [item["inventory_line"] for item in planned["left_out"] if item["inventory_line"]]
    if added:
        lines.append(f"Not in the inventory; below hosts: add {batches.named(added)}")
    if planned["outside"]:
        lines.append(
            f"{len(planned['outside'])} more machines are outside of this run: {batches.named(planned['outside'])}"
        )
    return plain(
        {
            "json": json.dumps(plain({**planned, "sizes": sizes, "started": float(started)})),
            **{kind: planned[kind] for kind in KINDS},
            "sizes": {kind: found or [1] for kind, found in sizes.items()},
            "stop": planned["stop"],
            "short": conversion.orders_in_short(planned),
            "lines": lines
            if total or planned["left_out"] or planned["outside"]
            else [*planned["notes"], "There is nothing to convert."],
        }
    )


@fleet_filter
def convert_batch(plan: str, tally: Mapping[str, Any], kind: str = "hosts") -> list[str]:
    """Return the machines whose turn it is: the next batch of a kind, ``hosts`` or ``office``."""
    planned = _read(plan)
    done, sizes = _batches_done(tally, kind), planned["sizes"][kind]
    before = sum(sizes[:done])
    return list(planned[kind][before : before + sum(sizes[done : done + 1])])


def _batches_done(tally: Mapping[str, Any], kind: str) -> int:
    return int((tally.get("batches_done") or {}).get(kind, 0))


def _in_batches(sizes: Sequence[int]) -> str:
    return f", in batches of {', '.join(map(str, sizes))}" if sizes else ""


@fleet_filter
def convert_values(
    plan: str, hostvars: Mapping[str, Any], names: Sequence[str], check_mode: bool = False
) -> list[dict[str, str]]:
    """Return the values (domain, target) that the machines of a batch leave behind in DNS."""
    planned = _read(plan)
    return [value for name in names for value in _came_of(planned, name, hostvars[name], check_mode)[1]]


def _came_of(
    planned: Mapping[str, Any], name: str, variables: Mapping[str, Any], check_mode: bool
) -> tuple[batches.Done, list[dict[str, str]]]:
    """What came of a machine, and the values that it leaves behind in DNS."""
    order, approved = planned["orders"][name], ApprovedHosts(tuple(planned["approved"]))
    result = variables.get(CONVERTED)
    seen = reading_of(name, variables.get(READ)) if order["is_looked_at"] else None
    done = conversion.judge(name, order, result, check_mode=check_mode, seen=seen)
    return done, conversion.values_of(done, order, result, approved)


def _failed_domains(cleanup: Any, values: Sequence[Mapping[str, Any]]) -> set[str]:
    """The domains in which a removal failed: all of them when M(fleetops.kms.srv_cleanup) itself did."""
    if isinstance(cleanup, Mapping) and "domains_failed" in cleanup:
        return {str(name) for name in cleanup["domains_failed"]}
    return {str(value["domain"]) for value in values}


@fleet_filter
def convert_left(values: Sequence[Mapping[str, Any]], records: Any, cleanup: Any = None) -> list[dict[str, Any]]:
    """Return the values that are not proven gone, each with its ``text``.

    ``cleanup`` is the result of M(fleetops.kms.srv_cleanup), if any.
    """
    cleaned = {str(value["domain"]) for value in values} - _failed_domains(cleanup, values)
    answers, unanswered = split_answers(records)
    silent = {item.domain: item.error for item in unanswered if not item.denies}
    left = conversion.still_there(values, answers, cleaned, silent)
    return [{**one, "text": conversion.left_in_words(one)} for one in left]


@fleet_filter
def convert_tally(
    tally: Mapping[str, Any],
    plan: str,
    hostvars: Mapping[str, Any],
    names: Sequence[str],
    left: Sequence[Mapping[str, Any]],
    now: float,
    max_fail_percentage: float,
    kind: str = "hosts",
    check_mode: bool = False,
    via: str = "none",
    cleanup: Any = None,
) -> dict[str, Any]:
    """Return the tally after a batch: what came of each machine so far, whether to go on, and what to show."""
    planned, so_far = _read(plan), _read(tally.get("json") or "{}")
    by_target: dict[str, list[Mapping[str, Any]]] = {}
    for value in left:
        by_target.setdefault(str(value["target"]), []).append(value)
    rows, clear = [], []
    values: list[dict[str, str]] = []
    for name in names:
        order, variables = planned["orders"][name], hostvars[name]
        result = variables.get(CONVERTED)
        done, gone = _came_of(planned, name, variables, check_mode)
        values += gone
        targets = dict.fromkeys([order["fqdn"], *(value["target"] for value in gone)])
        own = [value for target in targets for value in by_target.get(target, ())]
        rows.append(conversion.row_of(done, order, result, own))
        kms = conversion.last_result(result).get("kms") or {}
        if not check_mode and not own and kms.get("publish_list") and done.state.value in ("converted", "settled"):
            clear.append(name)
    batch = [conversion.done_of(row) for row in rows]
    every = [*map(conversion.done_of, so_far.get("rows") or ()), *batch]
    # What went well with Windows tells nothing about Office: each kind begins with a machine that has to prove it.
    alike = [one for one in every if one.machine in set(planned[kind])]
    stop = batches.why_stop(alike, batch, float(max_fail_percentage))
    if not stop and via != "none" and not check_mode:
        is_first = not so_far.get("rows")
        stop = batches.why_stop_removal(values, left, _failed_domains(cleanup, values), is_first=is_first)
    lines = [batches.progress(every, len(planned["orders"]), float(now) - planned["started"], goes_on=not stop)]
    if check_mode:
        lines[0] += " (check mode: nothing was changed)"
    lines += batches.by_reason((one.machine, one.text) for one in batch if one.state in batches.TROUBLE)
    if stop:
        lines.append(f"Stopped: {stop}. What is done stays done; run again to go on from there.")
    return plain(
        {
            "json": json.dumps(
                plain(
                    {
                        "rows": [*(so_far.get("rows") or ()), *rows],
                        "all_to_clear": [*(so_far.get("all_to_clear") or ()), *clear],
                    }
                )
            ),
            "batches_done": {one: _batches_done(tally, one) + (one == kind) for one in KINDS},
            "to_clear": clear,
            "stop": stop or tally.get("stop") or "",
            "lines": lines,
        }
    )


@fleet_filter
def convert_report(
    plan: str, tally: Mapping[str, Any], hostvars: Mapping[str, Any], via: str = "none"
) -> dict[str, Any]:
    """Return the report on a run as ``json`` and ``lines``, and why it is not done (``open``, a line each)."""
    planned, so_far = _read(plan), _read(tally.get("json") or "{}")
    rows = [dict(row) for row in so_far.get("rows") or ()]
    for row in rows:
        result = hostvars[row["machine"]].get(CLEARED) if row["machine"] in (so_far.get("all_to_clear") or ()) else None
        if isinstance(result, Mapping) and "verified" not in result:
            row["state"] = batches.State.FAILED.value
            row["text"] = f"its publish list was not cleared: {result.get('msg')}"
    had = {row["machine"] for row in rows}
    turnless = [name for name in planned["orders"] if name not in had]
    trouble = [row for row in rows if conversion.done_of(row).state in batches.TROUBLE]
    left = [row for row in rows if row["values_left"]]
    pending = [row["machine"] for row in rows if row["pending"]]
    states = {state.value: sum(row["state"] == state.value for row in rows) for state in batches.State}
    is_idle = not (planned["orders"] or planned["left_out"] or planned["outside"])
    lines = list(tally.get("lines") or ())[:1]
    lines = lines or ["There was nothing to convert." if is_idle else "No machine had its turn."]
    lines += planned.get("notes") or []
    lines += batches.by_reason((row["machine"], row["text"]) for row in trouble)
    if left:
        how = "set kms_dns_via to have them removed" if via == "none" else "see above why"
        lines.append(f"Values are left in DNS of {batches.named([row['machine'] for row in left])} ({how}):")
        lines += [f"  {value}" for row in left for value in row["values_left"]][:20]
    if pending:
        lines.append(f"Wait for the count of their KMS host: {batches.named(pending)}")
    if turnless:
        lines.append(f"Had no turn: {batches.named(turnless)}. {tally.get('stop') or ''}".rstrip())
    if planned["outside"]:
        lines.append(f"{len(planned['outside'])} rogues are outside of this run: {batches.named(planned['outside'])}")
    if planned["left_out"]:
        lines.append(f"{len(planned['left_out'])} are left as they are, clients may still find them:")
        found = [(item["machine"] or item["fqdn"], item["reason"]) for item in planned["left_out"]]
        lines += [f"  {line}" for line in batches.by_reason(found)]
    unanswered = planned.get("unanswered") or []
    lines += unanswered
    report = {
        "schema": SCHEMA,
        "version": VERSION,
        **states,
        "values_left": sum(len(row["values_left"]) for row in rows),
        "stopped": tally.get("stop") or "",
        "machines": rows,
        "no_turn": turnless,
        "left_out": planned["left_out"],
        "outside": planned["outside"],
        "unanswered": unanswered,
    }
    undone = len(trouble) + len(turnless) + (0 if via == "none" else len(left))
    is_open = [f"{undone} machines are not done, see above."] * bool(undone) + unanswered
    persons = [item["machine"] or item["fqdn"] for item in planned["left_out"] if item["is_open"]]
    if persons:
        is_open.append(
            f"{len(persons)} are left as they are, with a KMS host key or values in DNS, and see above why:"
            f" {batches.named(persons)}"
        )
    return plain({"json": json.dumps(plain(report)), "lines": lines, "open": is_open})


@fleet_filter
def retire_problems(report: Mapping[str, Any], name: str) -> list[str]:
    """Return why a KMS host cannot be retired yet."""
    return conversion.retire_problems(report_of(report), name)


@fleet_filter
def retirement(report: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what is to be done to retire a KMS host that can be."""
    return plain(conversion.retirement(report_of(report), name))


class FilterModule:
    """Hand the filters to Ansible."""

    def filters(self) -> dict[str, Filter]:
        """Return the filters by their names."""
        filters = (
            convert_batch,
            convert_left,
            convert_plan,
            convert_problems,
            convert_questions,
            convert_recheck,
            convert_report,
            convert_tally,
            convert_values,
            retire_problems,
            retirement,
        )
        return {function.__name__: function for function in filters}
