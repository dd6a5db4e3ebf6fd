# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SRV values of many targets removed in one task: by dynamic update, or by the classes of a Windows DNS server."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns import gss
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import (
    SERVICE,
    SrvRecord,
    domain_of_term,
    normalise_name,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.removal import Removed, of_targets, remove
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import (
    DnsFailure,
    ZoneServer,
    find_zone,
    owner_of,
    read,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.session import leaves_outcome_unknown
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.dns_server import OVERTAKEN, DnsServer, SrvValue
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault

from .arguments import InvalidArguments
from .result import Result, failure_result, failure_text
from .srv_record import NO_DNS_SERVER, by_record, diff_line, failed, server_of, text_of_value, tsig_key, wants_gss

#: What is to go, by domain: the names that values of it name.
Wishes = dict[str, set[str]]


def wishes_of(args: dict[str, t.Any]) -> Wishes:
    """Return the targets by domain. Raises InvalidArguments."""
    found: Wishes = {}
    for value in args["values"]:
        try:
            found.setdefault(domain_of_term(value["domain"]), set()).add(normalise_name(value["target"]))
        except ValueError as error:
            raise InvalidArguments(f"values: {error}") from None
    return found


@dataclasses.dataclass(frozen=True)
class _Domain:
    """What was done in one domain; ``left`` is what is not known to be gone, ``problem`` why."""

    domain: str
    gone: tuple[SrvRecord, ...] = ()
    left: tuple[SrvRecord, ...] = ()
    problem: str = ""
    is_certain: bool = True

    @property
    def before(self) -> tuple[SrvRecord, ...]:
        """What was to go."""
        return tuple(sorted((*self.gone, *self.left), key=lambda record: record.sort_key))

    @classmethod
    def after(cls, domain: str, removed: Removed, problem: str) -> _Domain:
        """What came of the removal; ``problem`` is what went wrong."""
        told = f"{problem} {_told(removed)}" if problem else ""
        return cls(domain, removed.gone, removed.left, told, removed.is_certain)


def _told(removed: Removed) -> str:
    """How much was done nevertheless."""
    gone, total = len(removed.gone), len(removed.gone) + len(removed.left)
    if removed.is_shown:
        return f"{gone} of {total} values are gone."
    if removed.is_certain:
        return "Nothing was changed."
    return (
        f"The server could not be asked again, so what is gone is not known (it accepted the removal of {gone} of"
        f" {total} values). Run again to find out."
    )


def by_dynamic_update(args: dict[str, t.Any], wishes: Wishes, *, check_mode: bool, diff: bool) -> Result:
    """Remove the values by RFC 2136. Each domain is done by itself: one that fails does not keep the others."""
    server = ZoneServer(server_of(args), tsig_key(args), args["timeout"])
    plain = server.key
    done = []
    for domain, targets in sorted(wishes.items()):
        doing = f"Reading {SERVICE}.{domain}"
        try:
            server.key = plain
            values = of_targets(read(server, domain), targets)
            if not values or check_mode:
                done.append(_Domain(domain, values))
                continue
            doing = f"Removing {len(values)} values from {SERVICE}.{domain}"
            zone = find_zone(server, owner_of(domain))
            if wants_gss(args):
                server.key = gss.agree_on_key(server, args["gss_principal"])
            removed = remove(server, zone, domain, values)
        except DnsFailure as failure:
            done.append(_Domain(domain, problem=failed(doing, server, failure, "Nothing was changed.")["msg"]))
            continue
        why = removed.failure
        problem = failed(doing, server, why, "")["msg"].rstrip() if why is not None else ""
        done.append(_Domain.after(domain, removed, problem))
    return {"server": str(server.server)} | _result(done, check_mode=check_mode, diff=diff)


def by_windows_dns(cim: CimClient, wishes: Wishes, host: str, *, check_mode: bool, diff: bool) -> Result:
    """Remove the values on a Windows DNS server, one after another in one session."""
    server = DnsServer(cim)
    done = []
    for domain, targets in sorted(wishes.items()):
        try:
            done.append(_on_windows(server, domain, targets, host, check_mode))
        except Exception as error:  # nothing was sent for this domain; the others are to be told all the same
            if isinstance(error, CimFault) and error.hresult in NO_DNS_SERVER:
                text = f"{host} is no Windows DNS server: it has no CIM namespace root/MicrosoftDNS."
            else:
                text = failure_result(Failure(f"Reading {SERVICE}.{domain}", error), host, [], None)["msg"]
            done.append(_Domain(domain, problem=text))
    return {"server": host} | _result(done, check_mode=check_mode, diff=diff)


def _on_windows(server: DnsServer, domain: str, targets: set[str], host: str, check_mode: bool) -> _Domain:
    owner = f"{SERVICE}.{domain}"
    zone = server.zone_of(owner)
    if zone is None:
        return _Domain(domain, problem=f"This DNS server holds no zone that {owner} lies in.")

    def read_values() -> dict[SrvRecord, SrvValue]:
        found = by_record(domain, server.values(zone.name, owner))
        return {record: value for record, value in found.items() if record.target in targets}

    before = read_values()
    if not before or check_mode:
        return _Domain(domain, tuple(before))
    deleted, errors = _delete(server, before)
    problem = failure_text(Failure(f"Removing from {owner}", errors[0]), host) if errors else ""
    try:
        shown = read_values()
    except Exception as failure:  # what was deleted must be told
        left = tuple(record for record in before if record not in deleted)
        problem = problem or failure_text(Failure(f"Reading {owner} again", failure), host)
        is_certain = not deleted and bool(errors) and not any(map(leaves_outcome_unknown, errors))
        return _Domain.after(domain, Removed(deleted, left, is_shown=False, is_certain=is_certain), problem)
    left = tuple(record for record in before if record in shown)
    if left and not problem:
        problem = f"{owner}: the server accepted the removal, but does not show it."
    gone = tuple(record for record in before if record not in left)
    return _Domain.after(domain, Removed(gone, left), problem if left else "")


def _delete(server: DnsServer, values: t.Mapping[SrvRecord, SrvValue]) -> tuple[tuple[SrvRecord, ...], list[Exception]]:
    """Delete values; return those that are gone by the server's account, and what went wrong with others.

    A fault concerns one value. Anything else is the connection's, and ends it.
    """
    deleted: list[SrvRecord] = []
    errors: list[Exception] = []
    for record, value in values.items():
        try:
            server.delete(value)
        except CimFault as fault:
            if fault.hresult not in OVERTAKEN:  # what somebody else has removed is gone
                errors.append(fault)
                continue
        except Exception as error:
            errors.append(error)
            break
        deleted.append(record)
    return tuple(deleted), errors


def _result(done: t.Sequence[_Domain], *, check_mode: bool, diff: bool) -> Result:
    changes: list[Result] = [
        {
            "setting": f"{SERVICE}.{one.domain}",
            "before": [text_of_value(record) for record in one.before],
            "after": [text_of_value(record) for record in one.left],
        }
        for one in done
        if one.gone
    ]
    uncertain = [f"{SERVICE}.{one.domain}" for one in done if not one.is_certain]
    problems = [one.problem for one in done if one.problem]
    result: Result = {
        "changed": bool(changes or uncertain),
        "changes": changes,
        "removed": [record.as_dict() for one in done for record in one.gone],
        "left": [record.as_dict() for one in done for record in one.left],
        "domains_failed": [one.domain for one in done if one.problem],
        "verified": None if check_mode and changes else not problems,
    }
    if diff and changes:
        result["diff"] = {
            "before": "".join(diff_line(item["setting"], item["before"]) for item in changes),
            "after": "".join(diff_line(item["setting"], item["after"]) for item in changes),
        }
    if uncertain:
        result["uncertain"] = uncertain
    if problems:
        result |= {"failed": True, "msg": " ".join(problems)}
    return result
