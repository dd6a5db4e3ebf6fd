# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Activate a product; documentation in plugins/modules/activation.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction, target
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments, confirmation_id
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Outcome, Planner
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_activation import (
    DesiredActivation,
    needs_of,
    plan_activation,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs


class ActionModule(KmsAction):
    arguments = Arguments("activation")

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        desired = DesiredActivation(target(args), args["force"], confirmation_id(args["confirmation_id"]))
        return needs_of(desired), lambda machine: plan_activation(machine, desired)

    def complete(self, result: dict[str, t.Any], args: dict[str, t.Any], outcome: Outcome) -> None:
        product = target(args).find(outcome.after)
        result["installation_id"] = product.installation_id if product else None
