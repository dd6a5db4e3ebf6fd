# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the declared input of a fleet, before any machine is touched."""

from __future__ import annotations

import collections.abc as c

from .declared import DeclaredHost


def clashes(hosts: c.Sequence[DeclaredHost], clients: c.Collection[str], fleet: c.Iterable[str] = ()) -> list[str]:
    """Return what cannot be: one machine twice, as two hosts or as host and client.

    ``fleet`` are the names of further hosts, which the run is not about.
    """
    owners: dict[str, list[str]] = {}
    for host in hosts:
        if host.fqdn:
            owners.setdefault(host.fqdn, []).append(host.name)
    problems = [f"{', '.join(names)}: are all {fqdn}" for fqdn, names in owners.items() if len(names) > 1]
    both = {*(host.name for host in hosts), *fleet} & set(clients)
    if both:
        problems.append(f"{', '.join(sorted(both))}: both KMS host and client; take them out of kms_clients_pattern")
    return problems


def notes(hosts: c.Sequence[DeclaredHost]) -> list[str]:
    """Return what is allowed, but worth saying: hosts that share the clients of a domain instead of standing by."""
    groups: dict[tuple[str, int], list[str]] = {}
    for host in hosts:
        for entry in host.publish:
            groups.setdefault((entry.domain, entry.priority), []).append(f"{host.name} ({entry.weight})")
    return [
        f"{domain}: {' and '.join(names)} have the same priority {priority}: they share the clients by their weights"
        for (domain, priority), names in groups.items()
        if len(names) > 1
    ]
