# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a machine a KMS host; documentation in plugins/modules/host.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction, target
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import (
    Arguments,
    InvalidArguments,
    given,
    product_key,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Planner
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_host import DesiredHost, needs_of, plan_host
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import (
    PublishEntry,
    PublishError,
    normalise,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.settings import HOST_SETTINGS


class ActionModule(KmsAction):
    arguments = Arguments("host", ranges=HOST_SETTINGS)

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        key = product_key(args["product_key"])
        desired = DesiredHost(
            product_key=key if isinstance(key, ProductKey) else None,
            application=target(args).application,
            activate=args["activate"],
            publish=_entries(args["publish"]),
            settings=given(args, HOST_SETTINGS),
            firewall=args["firewall"],
            restart=args["restart"],
        )
        return needs_of(desired), lambda machine: plan_host(machine, desired)


def _entries(entries: list[dict[str, t.Any]] | None) -> tuple[PublishEntry, ...] | None:
    try:
        return None if entries is None else normalise(entries)
    except PublishError as error:
        raise InvalidArguments(f"publish: {error}") from error
