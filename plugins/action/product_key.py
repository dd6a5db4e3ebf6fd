# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Install or remove a product key; documentation in plugins/modules/product_key.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction, target
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import (
    Arguments,
    InvalidArguments,
    product_key,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Planner
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_key import DesiredKey, needs_of, plan_key
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs


class ActionModule(KmsAction):
    arguments = Arguments("product_key")

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        present = args["state"] == "present"
        if present and not args["product_key"] and not args["clear_from_registry"]:
            raise InvalidArguments(
                "product_key: a key or 'client_setup' is needed with state=present (or clear_from_registry=true alone)"
            )
        desired = DesiredKey(
            product_key=product_key(args["product_key"], keywords=("client_setup",)),
            present=present,
            target=target(args),
            clear_from_registry=args["clear_from_registry"],
        )
        return needs_of(desired), lambda machine: plan_key(machine, desired)
