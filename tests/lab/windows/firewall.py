# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two firewall rules of the Key Management Service.

The rules open TCP 1688 only. On client Windows there are two, scoped by profile; servers have the first alone
(whether the second exists there is not documented).
"""

from __future__ import annotations

import dataclasses

DOMAIN, PRIVATE, PUBLIC = 1, 2, 4
RULE, RULE_NO_SCOPE = "SPPSVC-In-TCP", "SPPSVC-In-TCP-NoScope"
KMS_PORT = 1688


@dataclasses.dataclass
class FirewallRule:
    """``enabled`` is 1 (on) or 2 (off); ``profiles`` a bit mask, 0 meaning any (MSFT_NetFirewallRule)."""

    name: str
    profiles: int
    enabled: int = 2

    def opens(self, profile: int) -> bool:
        return self.enabled == 1 and (self.profiles == 0 or bool(self.profiles & profile))


def default_rules(is_server: bool) -> list[FirewallRule]:
    """The rules as a fresh machine has them: disabled."""
    if is_server:
        return [FirewallRule(RULE, PRIVATE | PUBLIC)]
    return [FirewallRule(RULE, PRIVATE | PUBLIC), FirewallRule(RULE_NO_SCOPE, DOMAIN)]
