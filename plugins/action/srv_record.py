# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make one SRV value present or absent; documentation in plugins/modules/srv_record.yml."""

from __future__ import annotations

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments, InvalidArguments
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.connection import UnusableConnection
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.result import (
    Result,
    failure_result,
    refusal_result,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_record import (
    RANGES,
    by_dynamic_update,
    by_windows_dns,
    check,
    wish_of,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import WsmanError


class ActionModule(KmsAction):
    _requires_connection = False
    arguments = Arguments("srv_record", ranges=RANGES)

    def _run(self, host: str) -> Result:
        try:
            args = self.arguments.validate(self._task.args)
            wish = wish_of(args)
            check(args)
            if args["via"] == "rfc2136":
                return by_dynamic_update(args, wish, check_mode=self._task.check_mode, diff=self._task.diff)
            transport = self._open()
        except (InvalidArguments, UnusableConnection) as error:
            return refusal_result(str(error), host)
        except WsmanError as error:
            return failure_result(Failure("Connecting", error), host, [], None) | {"changes": []}
        try:
            cim = CimClient(transport)
            return by_windows_dns(cim, args, wish, host, check_mode=self._task.check_mode, diff=self._task.diff)
        finally:
            transport.close()
