# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on which there is nothing to do, and the task that says so: what costs are measured on."""

from __future__ import annotations

import typing as t

from integration.kit import Data, play, task

#: The most that a machine may be sent in one task, NTLM handshake included: a settled one (README), and a KMS host that
#: is turned into a client (docs/benchmarks.md).
MOST_REQUESTS = {"client": 8, "host": 14, "conversion": 38}
MOST_BYTES = {"client": 16_000, "conversion": 64_000}

KEY = "XXXXX-XXXXX-NXXXX-XXXXX-HK222"
KEY_OPTION = f"host_key={KEY}"

_SPP = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform"
_HOST_CACHING_OFF = {_SPP: {"DisableKeyManagementServiceHostCaching": ["dword", 1]}}

#: What the roles ask for.
_HOST_OPTIONS: Data = {
    "product_key": "{{ host_key }}",
    "publish": [{"domain": "corp.example.com", "priority": 10, "weight": 100}],
    "dns_publishing": True,
    "firewall": True,
}
_CLIENT_OPTIONS: Data = {"host_caching": False}


def fleet(clients: int) -> Data:
    """One server that a run of ``host_play`` settles, and clients that are settled from the start."""
    return {
        "seed": 1,
        "keys": [{"key": KEY, "kind": "csvlk", "product": "server-2022"}],
        "dns": {"zones": {"corp.example.com": {}}},
        "machines": {
            "kms1": {"windows": "server2022/ServerStandard", "domain": "corp.example.com", "group": "kms_hosts"},
            "pc": {
                "count": clients,
                "windows": ["windows11/Professional", "windows10/Enterprise"],
                "domain": "corp.example.com",
                "activated": True,
                "registry": _HOST_CACHING_OFF,
            },
        },
    }


def host_play() -> Data:
    """The task of a KMS host; the key comes with KEY_OPTION."""
    return play("kms_hosts", task("host", "host", _HOST_OPTIONS))


def client_play() -> Data:
    """The task of a KMS client."""
    return play("kms_clients", task("client", "client", _CLIENT_OPTIONS))


def noop_play() -> Data:
    """A task that does nothing on the same machines; its connection is one that costs nothing either."""
    return play("kms_clients", {"name": "noop", "noop": {}}, vars={"ansible_connection": "local"})


def over_limits(kind: str, counted: t.Mapping[str, t.Any]) -> list[str]:
    """What a machine's counters in the lab have beyond the limits."""
    limits = {"requests": MOST_REQUESTS[kind], "bytes_in": MOST_BYTES.get(kind), "shells": 0, "writes": 0}
    limits["authentications"] = 1
    return [
        f"{name} {counted[name]}, limit {limit}"
        for name, limit in limits.items()
        if limit is not None and counted[name] > limit
    ]
