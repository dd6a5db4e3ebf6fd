# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs that are one for a whole fleet, such as who is approved and who writes the records."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from .role_input import role_problems

#: Inputs that several roles share: what one machine is told of them must hold for all.
SHARED = (
    "kms_approved_hosts",
    "kms_domains",
    "kms_dns_via",
    "kms_dns_server",
    "kms_dns_tsig_name",
    "kms_dns_tsig_secret",
    "kms_dns_tsig_algorithm",
    "kms_dns_gss_tsig",
    "kms_dns_gss_principal",
)

Machines = Mapping[str, Mapping[str, t.Any]]


def fleet_problems(hostvars: Machines, name: str, hosts: Sequence[str], roles: Sequence[str]) -> list[str]:
    """Return what is wrong with the inputs of ``roles`` for a fleet, as the machine ``name`` has them.

    ``hosts`` are the KMS hosts: where they are told something else, a run would not know which of the two is meant.
    """
    own = hostvars[name]
    found = [text for role in roles for text in role_problems(role, {name: own})[0]]
    found = list(dict.fromkeys(found))
    for host in hosts:
        found += [
            f"{option} is not the same for {host} and {name}: set it for the whole fleet (group all, or --extra-vars)"
            for option in SHARED
            if option in hostvars[host] and hostvars[host][option] != own.get(option)
        ]
    return found or _unfit(own, hostvars)


def _unfit(own: Mapping[str, t.Any], hostvars: Machines) -> list[str]:
    """What does not fit together."""
    via, server = own.get("kms_dns_via") or "none", own.get("kms_dns_server")
    problems = []
    if via != "none" and not server:
        problems.append(f"kms_dns_via: {via} needs kms_dns_server")
    if via == "windows_dns" and server and server not in hostvars:
        problems.append(f"kms_dns_server: {server} is to be the inventory name of a Windows DNS server")
    if bool(own.get("kms_dns_tsig_name")) != bool(own.get("kms_dns_tsig_secret")):
        problems.append("kms_dns_tsig_name and kms_dns_tsig_secret belong together")
    return problems
