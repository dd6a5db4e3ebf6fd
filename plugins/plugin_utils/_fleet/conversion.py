# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Turning KMS hosts that are not approved back into clients: who is to be, against whom, and which values go.

It starts from a report (``survey``), made in the same run or an earlier one. The machines and DNS are the only memory:
what a run that died has left undone shows in the next report.
"""

from __future__ import annotations

import collections.abc as c
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import RELEASES
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.host_keys import serves

from .approval import ApprovedHosts, spelled
from .batches import Done, State
from .finding import Kind
from .reading import NOT_REACHED, Reading
from .recheck import why_changed
from .rogues import Treatment, domains_listed
from .survey import Status, machines_to_convert

#: What is told of a machine before it was changed, of what M(fleetops.kms.info) gives.
_BEFORE = (
    "role",
    "edition_id",
    "channel",
    "partial_product_key",
    "license_status_name",
    "is_kms_host",
    "current_count",
    "publish_list",
    "listening_port",
    "dns_publishing",
    "host_caching",
    "kms_server",
)

Entry = c.Mapping[str, t.Any]


def ready_hosts(report: c.Mapping[str, t.Any]) -> list[Entry]:
    """Return the approved hosts that are published, have an address as far as that was looked up, and are activated."""
    return [
        host
        for host in report["hosts"]
        if host["approved"]
        and host["records"]
        and host["addresses"] != []
        and any(k["activated"] for k in host["keys"])
    ]


def _keys(host: Entry, application: str = "windows") -> list[Entry]:
    """The activated host keys of an application."""
    return [key for key in host["keys"] if key["application"] == application and key["activated"]]


def answering_hosts(report: c.Mapping[str, t.Any]) -> dict[str, str]:
    """Return, by inventory name, where the approved hosts listen (``name:port``) that answer clients now.

    Those have counted as many clients as they need. The one that clients are to ask first comes first.
    """
    found = [
        (min((record["priority"], record["port"]) for record in host["records"]), host)
        for host in ready_hosts(report)
        if any((key["current_count"] or 0) >= (key["required_count"] or 1) for key in _keys(host))
    ]
    found.sort(key=lambda item: (item[0][0], item[1]["fqdn"]))
    return {str(host["machine"]): f"{host['fqdn']}:{port}" for (_priority, port), host in found if host["machine"]}


def plan(
    report: c.Mapping[str, t.Any],
    machines: c.Collection[str],
    approved: ApprovedHosts | None = None,
    declared: c.Collection[str] = (),
) -> dict[str, t.Any]:
    """Return what a run is to do, as plain data; ``machines`` are the inventory names that it may touch.

    ``orders`` says it for each machine, ``hosts`` are those of Windows (and clients that only have to be tidied up),
    ``office`` those that have, or had, host keys of Office alone: their Windows is left as it is. ``left_out`` are
    rogues that a run can do nothing about, with the reason, and whether something is left to do by a person
    (``is_open``); ``outside`` machines that another run has to do. ``approved`` are hosts that are approved here, and
    ``declared`` the inventory names of the declared hosts, whatever an earlier report says: none of them is touched.
    Machines that are to be converted have their turn before those that stay hosts of Office, and these before those
    that only have to be tidied up: the first one is to prove that conversion works.
    """
    known = ApprovedHosts.of([*report["approved_hosts"], *(approved.patterns if approved else ())])
    entries = [entry for entry in report["hosts"] if not entry["approved"] and entry["fqdn"] not in known]
    wanted = set(machines_to_convert(report))
    servers, ready = answering_hosts(report), ready_hosts(report)
    # An earlier report knows of the machines of other runs: each tells of its own, and of what is no machine's.
    everybody = {*(entry["machine"] for entry in entries), *(item["machine"] for item in report["unread"])}
    others = everybody - {None, *machines} if "earlier" in report else set()
    orders, left_out, outside = {}, [], []
    for entry in entries:
        name = entry["machine"]
        reason = _why_left_out(entry, wanted, declared, ready)
        if reason is not None:
            left_out.append({**_left_out(entry), "reason": reason, "is_open": _is_open(entry, others)})
        elif name in machines:
            orders[name] = _order(entry, servers, is_earlier="earlier" in report)
        else:
            outside.append(name)
    here = [entry for entry in entries if entry["machine"] in machines and entry["machine"] not in declared]
    orders = dict(sorted(orders.items(), key=lambda item: _turn(item[1])))
    office = [name for name, order in orders.items() if order["leaves_windows"]]
    return {
        "hosts": [name for name in orders if name not in set(office)],
        "office": office,
        "orders": orders,
        "left_out": _with_unread(left_out, report["unread"]),
        "outside": sorted(outside),
        "approved": list(known.patterns),
        "unanswered": unanswered(report),
        "notes": list((report.get("earlier") or {}).get("notes") or ()),
        "stop": _why_not(report, ready, len(orders), sum(_is_unserved(entry, ready) for entry in here)),
    }


def unanswered(report: c.Mapping[str, t.Any]) -> list[str]:
    """Return, a line each, what DNS would not tell, of a domain or of all zones of a Windows DNS server.

    Machines that are named only there were not found.
    """
    kind = Kind.DNS_UNANSWERED.value
    domains = [str(finding["text"]) for finding in report.get("unanswered") or () if finding["kind"] == kind]
    return domains + [
        f"the zones of the DNS server {one['machine']} could not be read: {one['problem']}"
        for one in report.get("unread_zones") or ()
    ]


def _why_left_out(
    entry: Entry, wanted: c.Container[str], declared: c.Container[str], ready: c.Sequence[Entry]
) -> str | None:
    """Return why a run does nothing about an entry of a report, None where it can."""
    if entry["machine"] in declared and entry["treatment"] != Treatment.REPORT.value:
        return f"declared as a KMS host, says it is {entry['fqdn'] or 'nobody'}: mend its name, or the declaration"
    if entry["machine"] not in wanted:
        return str(entry["advice"])
    if entry["treatment"] != Treatment.REMOVE_RECORDS.value and _is_unserved(entry, ready):
        return (
            "the approved KMS hosts that would serve it as a client are not published, or their names have no address:"
            " deploy them first (deploy_hosts)"
        )
    return None


def _is_open(entry: Entry, others: c.Set[str]) -> bool:
    """Whether what is left out is something to do for a person that no other run tells of."""
    is_there = bool(entry["records"] or entry["keys"])
    return is_there and not entry.get("is_outside") and not {entry["machine"], entry["fqdn"]} & others


def _is_unserved(entry: Entry, ready: c.Sequence[Entry]) -> bool:
    """Whether no approved host that clients can find would serve what a host key leaves behind: Windows, or Office."""
    applications = {key["application"] for key in entry["keys"]}
    if "windows" in applications:
        able = {host["machine"] for host in ready if _keys(host)}
        return not able & set(entry["served_by"] or ())
    return "office" in applications and not any(_keys(host, "office") for host in ready)


def _why_not(report: c.Mapping[str, t.Any], ready: c.Sequence[Entry], orders: int, unserved: int) -> list[str]:
    if (orders or unserved) and not ready:
        told = [f"{host['fqdn']}: {host['advice']}" for host in report["hosts"] if host["approved"] and host["advice"]]
        return [
            "no approved KMS host is published, resolvable and activated: what is turned into a client would find none."
            " Deploy one first (deploy_hosts), and take the KMS hosts into --limit",
            *told,
        ]
    if unserved and not orders:
        return [f"no approved KMS host would serve any of the {unserved} rogues as a client; see above what each needs"]
    return []


def _turn(order: Entry) -> int:
    return 2 if order["treatment"] == Treatment.REMOVE_RECORDS.value else int(order["stays_host"])


def _with_unread(left_out: c.Sequence[dict[str, t.Any]], unread: c.Iterable[Entry]) -> list[dict[str, t.Any]]:
    """What is left out, and each machine that could not be read: once, though DNS may name it, too."""
    reasons = {str(item["machine"]): f"could not be read: {item['problem']}" for item in unread}
    told = {item["machine"] or item["fqdn"] for item in left_out}
    return [
        *(
            {**item, "machine": item["fqdn"], "reason": reasons[item["fqdn"]]}
            if not item["machine"] and item["fqdn"] in reasons
            else item
            for item in left_out
        ),
        *(
            {"machine": name, "fqdn": "", "inventory_line": "", "reason": reason, "is_open": False}
            for name, reason in reasons.items()
            if name not in told
        ),
    ]


def _left_out(entry: Entry) -> dict[str, str]:
    return {
        "machine": entry["machine"] or ", ".join(entry["machines"]),
        "fqdn": entry["fqdn"],
        "inventory_line": "" if entry["status"] == Status.STALE.value else entry["inventory_line"],
    }


def _order(entry: Entry, servers: c.Mapping[str, str], *, is_earlier: bool) -> dict[str, t.Any]:
    treatment = entry["treatment"]
    #: Of a machine that never was a host, or is done with that, only the values in DNS go: it keeps its settings.
    is_touched = treatment != Treatment.REMOVE_RECORDS.value or bool(entry.get("is_unfinished"))
    office = [key["activation_id"] for key in entry["keys"] if key["application"] == "office"]
    served_by = entry["served_by"] or ()
    is_only_office = treatment == Treatment.REMOVE_OFFICE_KEY.value
    #: A Windows that is no KMS client was none before: what it has of a host, it was one of Office alone.
    was_only_office = treatment == Treatment.REMOVE_RECORDS.value and is_touched and entry["role"] != "kms_client"
    return {
        "fqdn": entry["fqdn"],
        "treatment": treatment,
        "is_touched": is_touched,
        #: Nobody would notice that it has become another than an earlier report says, unless it is looked at.
        "is_looked_at": is_earlier and not is_touched,
        "keeps_key": treatment == Treatment.REMOVE_RECORDS.value,
        "leaves_windows": is_only_office or was_only_office,
        "against": next((place for name, place in servers.items() if name in served_by), ""),
        #: It is fixed to a host that is not approved, another rogue perhaps, which as a client it would ask.
        "is_misled": bool(entry.get("fixed_to")) and is_touched,
        "activation_ids": office if is_only_office else [],
        "stays_host": bool(office) and not is_only_office,
        "domains": sorted({record["domain"] for record in entry["records"]} | set(entry["publishes_in"] or ())),
    }


def orders_in_short(planned: c.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return what each machine of a large fleet has to look up, as small as it can be: Ansible goes through all of it
    for each of them."""
    orders = planned["orders"]
    places = [order["against"] for order in orders.values()]
    usual = max(sorted(set(places)), key=places.count, default="")
    return {
        "against": usual,
        "other": {name: order["against"] for name, order in orders.items() if order["against"] != usual},
        #: The names of those that are not called so in the inventory.
        "fqdn": {name: order["fqdn"] for name, order in orders.items() if order["fqdn"] != name},
        "stays_host": [name for name, order in orders.items() if order["stays_host"]],
        "keep": [name for name, order in orders.items() if order["keeps_key"]],
        "misled": [name for name, order in orders.items() if order["is_misled"]],
        "untouched": [name for name, order in orders.items() if not order["is_touched"]],
        "look": [name for name, order in orders.items() if order["is_looked_at"]],
    }


def judge(machine: str, order: Entry, result: t.Any, *, check_mode: bool = False, seen: Reading | None = None) -> Done:
    """Return what came of a machine by the registered result of its task (M(fleetops.kms.client), maybe in a loop).

    ``seen`` is what a machine said of itself that this run only has to look at, by an earlier report.
    """
    if not order["is_touched"]:
        why = why_changed(order["fqdn"], seen) if seen is not None else ""
        state = State.UNREACHABLE if seen is not None and seen.state == NOT_REACHED else State.FAILED
        return Done(machine, state, why) if why else Done(machine, State.SETTLED)
    if not isinstance(result, c.Mapping):
        return Done(machine, State.FAILED, "the run did not get to it")
    results = [one for one in result.get("results") or [result] if isinstance(one, c.Mapping)]
    for one in results:
        if one.get("unreachable"):
            return Done(machine, State.UNREACHABLE, _message(one))
        if "verified" not in one:
            return Done(machine, State.FAILED, _message(one))
    if order["stays_host"] or (not check_mode and _kms(results[-1]).get("is_kms_host")):
        return Done(machine, State.STAYS_HOST, "a host key of Office is left: the next run deals with it")
    # A publish list is cleared after the conversion, and only in check mode by the same task.
    made = [change for one in results for change in one.get("changes") or () if change.get("setting") != "publish_list"]
    return Done(machine, State.CONVERTED if made else State.SETTLED)


def _message(result: c.Mapping[str, t.Any]) -> str:
    return " ".join(str(result.get("msg") or "no reason was given").split())


def _kms(result: t.Any) -> c.Mapping[str, t.Any]:
    found = result.get("kms") if isinstance(result, c.Mapping) else None
    return found if isinstance(found, c.Mapping) else {}


def last_result(result: t.Any) -> c.Mapping[str, t.Any]:
    """Return the result of a task, of its last item where it was a loop."""
    if not isinstance(result, c.Mapping):
        return {}
    items = result.get("results")
    return items[-1] if isinstance(items, c.Sequence) and items else result


def values_of(done: Done, order: Entry, result: t.Any, approved: c.Container[str] = ()) -> list[dict[str, str]]:
    """Return the values in DNS (domain, target) that a machine leaves behind: none while it is a host.

    The name of an approved host is never among them, whatever a machine says of itself. A machine whose conversion
    failed after its key, as one that could not be activated, is a host no more. So is one that keeps its key and has
    told where it was published: then it has been read, is the one that is meant, and what failed came after that.
    """
    last = last_result(result)
    is_no_host = (
        done.state in (State.CONVERTED, State.SETTLED)
        or (order["keeps_key"] and "published_as" in last)
        or any(change.get("setting") == "product_key" for change in last.get("changes") or ())
    )
    if not is_no_host or order["stays_host"] or not order["fqdn"]:
        return []
    own = [(spelled(one["domain"]), spelled(one["target"])) for one in last.get("published_as") or ()]
    known = [(domain, order["fqdn"]) for domain in order["domains"]]
    return [
        {"domain": domain, "target": target}
        for domain, target in dict.fromkeys([*known, *own])
        if target not in approved
    ]


def still_there(
    values: c.Iterable[Entry],
    records: c.Iterable[Entry],
    cleaned: c.Collection[str],
    silent: c.Mapping[str, str] | None = None,
) -> list[Entry]:
    """Return the values that are not proven gone, with ``error`` where it is a server that did not answer.

    A value is gone when DNS shows it nowhere (``records``), and its domain either was ``cleaned`` at a server of the
    zone that shows so itself, or has other values and no server that is ``silent`` (domains with the reason): a domain
    without any may not have answered. Such a one, perhaps of a domain that is no more, says what can be done about it.
    """
    errors = silent or {}
    shown = {(record["domain"], record["target"]) for record in records}
    answered = ({domain for domain, _target in shown} - set(errors)) | set(cleaned)
    left = [one for one in values if (one["domain"], one["target"]) in shown or one["domain"] not in answered]
    return [{**one, "error": why} if (why := _why_unproven(one, shown, errors)) else one for one in left]


def _why_unproven(value: Entry, shown: c.Container[tuple[str, str]], errors: c.Mapping[str, str]) -> str:
    """Return why a value may still be there that DNS does not show, or what else of its domain is not known."""
    domain = value["domain"]
    if (domain, value["target"]) in shown:
        return errors.get(domain, "")
    return errors.get(domain) or (
        "DNS shows nothing there, which proves nothing unless the server that removes records is asked, too"
        " (kms_dns_via, kms_dns_server). If there is no such domain any more, clear the machine's publish list:"
        " fleetops.kms.client with product_key: keep, activate: false and clear_publish_list: true"
    )


def row_of(done: Done, order: Entry, result: t.Any, left: c.Sequence[Entry]) -> dict[str, t.Any]:
    """Return what is kept of a machine for the report, the state before the change included."""
    last = last_result(result)
    before = last.get("kms_before") or {}
    return {
        "machine": done.machine,
        "fqdn": order["fqdn"],
        "state": done.state.value,
        "text": done.text,
        "pending": last.get("pending"),
        "changes": list(last.get("changes") or ()),
        "before": {name: before.get(name) for name in _BEFORE} if before else None,
        "values_left": [*map(left_in_words, left)],
    }


def left_in_words(value: Entry) -> str:
    """Return a value that ``still_there`` tells of as a line for people."""
    why = f" (not proven gone: {value['error']})" if value.get("error") else ""
    return f"{value['domain']}: {value['target']}{why}"


def done_of(row: Entry) -> Done:
    """Return the outcome that ``row_of`` has kept."""
    return Done(str(row["machine"]), State(row["state"]), str(row["text"]))


def retire_problems(report: c.Mapping[str, t.Any], name: str) -> list[str]:
    """Return why an approved host cannot be retired yet; ``name`` is its name in the inventory.

    In every domain that it leaves, another approved host must be published that answers clients (who meets only hosts
    below their threshold is turned down), with a key for every Windows that the leaving key activates; and one of these
    hosts must activate the machine itself.
    """
    own = next((host for host in report["hosts"] if host["machine"] == name and host["approved"]), None)
    if own is None:
        return [f"{name} is no declared KMS host that could be looked at"]
    if own["problem"]:
        gone = "If it is gone for good, take it out of the KMS hosts, and its values out of DNS"
        return [f"{name} could not be read: {own['problem']} {gone} (fleetops.kms.srv_cleanup)."]
    answering = [host for host in ready_hosts(report) if host["machine"] in answering_hosts(report) and host is not own]
    if not answering:
        return [f"no other KMS host is published, activated and at its threshold: {name} is needed"]
    problems = _other_keys(own)
    for domain in sorted({record["domain"] for record in own["records"]}):
        there = [host for host in answering if any(record["domain"] == domain for record in host["records"])]
        missing = _unserved(own, there)
        if not there:
            problems.append(f"{domain}: no other KMS host that answers clients is published there")
        elif missing:
            problems.append(f"{domain}: no other KMS host that answers clients has a key for {', '.join(missing)}")
    if not {host["machine"] for host in answering} & set(own["served_by"] or ()):
        problems.append(f"no other KMS host that answers clients would activate {name} itself")
    return problems + [
        f"{domain['domain']}: clients are steered to {name}; have them steered to another host first (steer_clients)"
        for domain in report["domains"]
        if domain["steered_to"] == own["fqdn"]
    ]


def _other_keys(own: Entry) -> list[str]:
    found = [key["activation_id"] for key in own["keys"] if key["application"] != "windows"]
    if not found:
        return []
    text = f"{own['machine']} has a KMS host key of another application, too, and would remain a KMS host: "
    return [f"{text}remove it first, by its activation ID {', '.join(map(str, found))}"]


def _unserved(own: Entry, others: c.Iterable[Entry]) -> list[str]:
    """Return what the keys of a host activate and those of the others do not; an unknown key is given the benefit."""
    kept = [key["generation"] for host in others for key in _keys(host)]
    return [
        release.name
        for release in RELEASES.values()
        if any(serves(key["generation"], release.id) for key in _keys(own))
        and all(serves(generation, release.id) is False for generation in kept)
    ]


def retirement(report: c.Mapping[str, t.Any], name: str) -> dict[str, t.Any]:
    """Return what is to be done to retire an approved host: whether it still is one, its values, and its successor."""
    own = next(host for host in report["hosts"] if host["machine"] == name)
    places = {host: place for host, place in answering_hosts(report).items() if host != name}
    served_by = own["served_by"] or ()
    # What it published as counts after its publishing was turned off, too: a second start has that behind it.
    listed = domains_listed(own.get("publish_list"), own["fqdn"])
    domains = {*(record["domain"] for record in own["records"]), *listed}
    return {
        "fqdn": own["fqdn"],
        "is_kms_host": bool(own["is_kms_host"]),
        "against": next((place for host, place in places.items() if host in served_by), ""),
        "values": [{"domain": domain, "target": own["fqdn"]} for domain in sorted(domains)],
    }
