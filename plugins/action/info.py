# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the licensing state of a machine; documentation in plugins/modules/info.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments, Range
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Plan
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Outcome, Planner
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import HOST_VERSION, Needs


class ActionModule(KmsAction):
    arguments = Arguments("info", ranges=(Range("event_hours", 1, 8760),))

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        needs = Needs(
            edition=True,
            fqdn=True,
            publish_list=True,
            search_domains=True,
            registry=(HOST_VERSION,),
            firewall=args["firewall"],
            events=tuple(args["event_codes"]) if args["events"] else (),
            event_hours=args["event_hours"],
            events_of_hosts=args["events_of"] == "kms_hosts",
            served_clients=args["clients_served"],
            srv_values=args["srv_records"],
        )
        return needs, lambda machine: Plan()

    def complete(self, result: dict[str, t.Any], args: dict[str, t.Any], outcome: Outcome) -> None:
        """What tells of changes has no place in the result of a module that makes none."""
        for name in ("changes", "verified", "restarted"):
            result.pop(name, None)
