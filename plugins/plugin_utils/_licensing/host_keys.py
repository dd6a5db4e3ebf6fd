# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which KMS host key (CSVLK) may live on which Windows, and which Windows it activates.

Source: Microsoft Learn, KMS activation planning; the table is ``data/host_keys.yml``.
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import re

from .editions import RELEASES, Release, Windows, generation, is_azure, is_evaluation
from .tables import load


@dataclasses.dataclass(frozen=True)
class HostKey:
    """A generation of host keys. ``hosts`` maps a release to the updates of which it needs one (none: empty)."""

    id: str
    name: str
    tokens: tuple[str, ...]
    hosts: c.Mapping[str, tuple[str, ...]]
    #: kind of release -> newest release of it that is activated; None: none of this kind.
    up_to: c.Mapping[str, str | None]
    also: frozenset[str]


@dataclasses.dataclass(frozen=True)
class HostVerdict:
    """Whether a Windows can be a KMS host. ``reason`` is empty when it can and nothing needs to be said."""

    allowed: bool
    reason: str = ""
    #: Updates of which one must be installed for it.
    updates: tuple[str, ...] = ()


def can_host(os: Windows) -> HostVerdict:
    """Whether a Windows can be a KMS host with any key at all."""
    if is_evaluation(os.edition_id, os.sku):
        return HostVerdict(False, "An evaluation edition takes no host key: convert it to a licensed edition first.")
    if is_azure(os.edition_id, os.sku):
        return HostVerdict(False, "An Azure edition cannot be a KMS host: use another edition of Windows Server.")
    return HostVerdict(True)


def may_install(host_key: str, os: Windows) -> HostVerdict:
    """Whether a host key of a generation (its id) may be installed on a Windows.

    Unknown keys and releases are allowed with a reason to show: Windows itself has the last word.
    """
    verdict = can_host(os)
    if not verdict.allowed:
        return verdict
    key, release = HOST_KEYS.get(host_key), _release(os)
    if key is None or release is None:
        return HostVerdict(
            True, f"It is not known whether a host key for {host_key} may be installed on build {os.build}."
        )
    if release.id not in key.hosts:
        names = ", ".join(RELEASES[item].name for item in key.hosts)
        return HostVerdict(False, f"A host key for {key.name} cannot be installed on {release.name}, only on {names}.")
    updates = key.hosts[release.id]
    reason = f"{release.name} accepts a host key for {key.name} once it has {' or '.join(updates)} or a later update."
    return HostVerdict(True, reason if updates else "", updates)


def installable_on(os: Windows) -> tuple[HostKey, ...]:
    """The generations of host keys that may be installed on a Windows, newest first; none for an unknown release."""
    release = _release(os) if can_host(os).allowed else None
    return tuple(key for key in HOST_KEYS.values() if release is not None and release.id in key.hosts)


def serves(host_key: str | None, release: str | None) -> bool | None:
    """Whether a host key of a generation activates a release (both by id); None when that is not known."""
    key, wanted = HOST_KEYS.get(host_key or ""), RELEASES.get(release or "")
    if key is None or wanted is None:
        return None
    if wanted.id in key.also:
        return True
    if wanted.kind not in key.up_to:
        return None
    newest = key.up_to[wanted.kind]
    return newest is not None and _AGE[wanted.id] <= _AGE[newest]


def host_key_of(description: str | None) -> str | None:
    """The generation (its id) of a host key, from the Description of its product; None when the text does not tell.

    The text reads ``..., VOLUME_KMS_WS22 channel``. The bare ``VOLUME_KMS`` of Office and of old Windows tells nothing.
    """
    match = _TOKEN.search((description or "").upper())
    token = re.sub(r"[^A-Z0-9]", "", match.group(1)) if match else ""
    found = ((len(start), key.id) for key in HOST_KEYS.values() for start in key.tokens if token.startswith(start))
    return max(found, default=(0, None))[1]


def _release(os: Windows) -> Release | None:
    return generation(os.build, os.is_server, os.edition_id, os.sku)


def _read() -> dict[str, HostKey]:
    return {
        row["id"]: HostKey(
            id=row["id"],
            name=row["name"],
            tokens=tuple(row["tokens"]),
            hosts={release: tuple(updates) for release, updates in row["hosts"].items()},
            up_to=row["activates"]["up_to"],
            also=frozenset(row["activates"]["also"]),
        )
        for row in load("host_keys")["host_keys"]
    }


_TOKEN = re.compile(r"VOLUME_KMS_([A-Z0-9_-]+)")
#: Generations of host keys by id, newest first.
HOST_KEYS = _read()
_AGE = {release: age for age, release in enumerate(RELEASES)}
