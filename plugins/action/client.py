# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a machine a KMS client; documentation in plugins/modules/client.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import (
    KmsAction,
    activation_id,
    target,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import (
    Arguments,
    InvalidArguments,
    given,
    host_and_port,
    product_key,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.conversion import published_as
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Outcome, Planner
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_client import (
    KEEP,
    DesiredClient,
    needs_of,
    plan_client,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_key import CLIENT_SETUP
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.report import report
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.settings import CLIENT_SETTINGS


def host_keys(args: dict[str, t.Any]) -> frozenset[str]:
    """The activation IDs of the host keys that go. Raises InvalidArguments where they cannot be meant."""
    found = frozenset(activation_id(text, "activation_ids") for text in args["activation_ids"])
    is_fit = args["application"] == Application.OFFICE.value and args["convert_host"] and not args["activation_id"]
    if found and not is_fit:
        raise InvalidArguments(
            "activation_ids: they name host keys of Office that are removed, with application: office and convert_host:"
            " true, in place of activation_id."
        )
    return found


class ActionModule(KmsAction):
    arguments = Arguments("client", ranges=CLIENT_SETTINGS)

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        desired = DesiredClient(
            product_key=product_key(args["product_key"], keywords=(CLIENT_SETUP, KEEP)) or CLIENT_SETUP,
            target=target(args),
            settings=given(args, CLIENT_SETTINGS),
            activate=args["activate"],
            replace=frozenset(args["replace"]),
            convert_host=args["convert_host"],
            host_keys=host_keys(args),
            activate_against=host_and_port("activate_against", args["activate_against"]),
            clear_publish_list=args["clear_publish_list"],
            expected_fqdn=args["expected_fqdn"],
        )
        return needs_of(desired), lambda machine: plan_client(machine, desired)

    def complete(self, result: dict[str, t.Any], args: dict[str, t.Any], outcome: Outcome) -> None:
        if args["convert_host"]:
            result["published_as"] = published_as(outcome.before)
            if outcome.changes:
                result["kms_before"] = report(outcome.before)
