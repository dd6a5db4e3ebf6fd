# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs that are one for a whole fleet, such as who is approved and who writes the records."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence

from .arguments import Arguments, InvalidArguments
from .role_input import default_of, role_notes, role_problems
from .srv_record import check

#: How the records are written that are not written by the hosts themselves: options of M(fleetops.kms.srv_cleanup).
_WRITER = ("server", "tsig_name", "tsig_secret", "tsig_algorithm", "gss_tsig", "gss_principal")
_WRITER_VARIABLES = tuple(f"kms_dns_{option}" for option in _WRITER)

#: Inputs that several roles share: what one machine is told of them must hold for all.
SHARED = ("kms_approved_hosts", "kms_domains", "kms_dns_via", *_WRITER_VARIABLES)

_PUBLISH_VIA = "kms_host_publish_via"

#: Options in a message of the module, which the roles call otherwise.
_OPTION = re.compile(r"\b(?:tsig_(?:name|secret)|gss_(?:tsig|principal))\b|^server(?=:)")

Variables = Mapping[str, t.Any]
Machines = Mapping[str, Variables]


def fleet_problems(hostvars: Machines, name: str, hosts: Sequence[str], roles: Sequence[str]) -> list[str]:
    """Return what is wrong with the inputs of ``roles`` for a fleet, as the machine ``name`` has them.

    ``hosts`` are the KMS hosts: where they are told something else, a run would not know which of the two is meant.
    """
    own = hostvars[name]
    found = [text for role in roles for text in role_problems(role, {name: own})[0]]
    found = list(dict.fromkeys(found)) + _differing(hostvars, name, hosts, SHARED)
    return found or _unfit(own, hostvars, "kms_dns_via", own.get("kms_dns_via") or "none")


def fleet_notes(own: Variables, roles: Sequence[str]) -> list[str]:
    """Return what is doubtful in the inputs of ``roles``: mistyped names, which Ansible passes over; each said once."""
    told = {text.partition(" ")[0]: text for role in reversed(roles) for text in role_notes(role, own)}
    return list(told.values())


def publish_problems(hostvars: Machines, hosts: Sequence[str]) -> list[str]:
    """Return what is wrong with who publishes KMS hosts: one choice for them all, as one task writes for all."""
    if not hosts:
        return []
    first, *others = hosts
    own = hostvars[first]
    via = own.get(_PUBLISH_VIA) or default_of(_PUBLISH_VIA)
    options = (_PUBLISH_VIA, *(() if via == "host" else _WRITER_VARIABLES))
    return _differing(hostvars, first, others, options) or _unfit(own, hostvars, _PUBLISH_VIA, via)


def _differing(hostvars: Machines, name: str, others: Iterable[str], options: Sequence[str]) -> list[str]:
    """Which options other machines have otherwise than ``name`` has; what is not given is the same as its default."""
    own = _values(hostvars[name], options)
    return [
        f"{option} is not the same for {other} and {name}: set it for the whole fleet (group all, or --extra-vars)"
        for other in others
        for option, value in _values(hostvars[other], options).items()
        if value != own[option]
    ]


def _values(variables: Variables, options: Sequence[str]) -> dict[str, t.Any]:
    defaults = {"kms_dns_via": "none", _PUBLISH_VIA: default_of(_PUBLISH_VIA)}
    return {option: variables.get(option) or defaults.get(option) for option in options}


def _unfit(own: Variables, hostvars: Machines, variable: str, via: str) -> list[str]:
    """Why records could not be written as ``variable`` says: found out later, it would be after a change."""
    server = own.get("kms_dns_server")
    problems = []
    if via in ("rfc2136", "windows_dns") and not server:
        problems.append(f"{variable}: {via} needs kms_dns_server")
    if via == "windows_dns" and server and server not in hostvars:
        problems.append(f"kms_dns_server: {server} is to be the inventory name of a Windows DNS server")
    if bool(own.get("kms_dns_tsig_name")) != bool(own.get("kms_dns_tsig_secret")):
        problems.append("kms_dns_tsig_name and kms_dns_tsig_secret belong together")
    return problems or (_unsendable(own) if via == "rfc2136" else [])


def _unsendable(own: Variables) -> list[str]:
    """What M(fleetops.kms.srv_cleanup) would refuse."""
    given = {option: own.get(variable) for option, variable in zip(_WRITER, _WRITER_VARIABLES, strict=True)}
    options = {option: value for option, value in given.items() if value not in (None, "")}
    try:
        check(Arguments("srv_cleanup").validate({**options, "values": [], "via": "rfc2136"}))
    except InvalidArguments as error:
        return [_OPTION.sub(lambda found: f"kms_dns_{found[0]}", str(error))]
    return []
