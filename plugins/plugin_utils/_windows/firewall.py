# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The predefined inbound rules of the Key Management Service (Windows Filtering Platform WMI, MSFT_NetFirewallRule).

They are selected by InstanceID, never by display name, which is localised. Both are fixed to TCP port 1688.
"""

from __future__ import annotations

import dataclasses
import enum

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient

from .classes import FIREWALL_RULE

KMS_RULES = ("SPPSVC-In-TCP", "SPPSVC-In-TCP-NoScope")
KMS_RULE_PORT = 1688

_ENABLED = 1
_DISABLED = 2


class Profile(enum.IntFlag):
    """Network profiles; zero stands for every profile."""

    ANY = 0
    DOMAIN = 1
    PRIVATE = 2
    PUBLIC = 4


#: What a KMS host is opened to: never the public profile.
SERVED_PROFILES = Profile.DOMAIN | Profile.PRIVATE


@dataclasses.dataclass(frozen=True)
class FirewallRule:
    """One rule: its InstanceID, whether it is enabled, and for which profiles."""

    name: str
    enabled: bool
    profiles: Profile

    def __str__(self) -> str:
        names = [
            str(item.name).capitalize()
            for item in (Profile.DOMAIN, Profile.PRIVATE, Profile.PUBLIC)
            if item in self.profiles
        ]
        return f"{self.name}: {'enabled' if self.enabled else 'disabled'} ({', '.join(names) or 'any profile'})"

    def opened(self) -> FirewallRule:
        """The rule as a KMS host needs it: enabled for at least the domain and private profiles.

        A disabled rule is opened for exactly those two; an enabled one keeps what somebody gave it.
        """
        if not self.enabled:
            return dataclasses.replace(self, enabled=True, profiles=SERVED_PROFILES)
        if self.profiles == Profile.ANY:
            return self
        return dataclasses.replace(self, profiles=self.profiles | SERVED_PROFILES)

    def closed(self) -> FirewallRule:
        return dataclasses.replace(self, enabled=False)


class Firewall:
    """The KMS rules of one machine."""

    def __init__(self, cim: CimClient) -> None:
        self._cim = cim

    def rules(self) -> tuple[FirewallRule, ...]:
        """The KMS rules that exist, by name."""
        condition = " or ".join(f"InstanceID = '{name}'" for name in KMS_RULES)
        rows = self._cim.query(FIREWALL_RULE, f"select * from MSFT_NetFirewallRule where {condition}")
        found = (
            FirewallRule(str(row["InstanceID"]), row["Enabled"] == _ENABLED, Profile(int(row["Profiles"] or 0) & 7))
            for row in rows
        )
        return tuple(sorted(found, key=lambda rule: rule.name))

    def write(self, before: FirewallRule, after: FirewallRule) -> None:
        """Bring the rule from one state to the other, profiles first: it is never open wider than asked for."""
        selectors = {
            "CreationClassName": f"MSFT|FW|FirewallRule|{after.name}",
            "PolicyRuleName": "",
            "SystemCreationClassName": "",
            "SystemName": "",
        }
        if before.profiles != after.profiles:
            self._cim.put(FIREWALL_RULE, selectors, {"Profiles": int(after.profiles)})
        if before.enabled != after.enabled:
            self._cim.put(FIREWALL_RULE, selectors, {"Enabled": _ENABLED if after.enabled else _DISABLED})
