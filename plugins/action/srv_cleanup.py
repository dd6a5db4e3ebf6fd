# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove the SRV values of many targets; documentation in plugins/modules/srv_cleanup.yml."""

from __future__ import annotations

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.action import KmsAction
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments, InvalidArguments, Range
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.connection import UnusableConnection
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.result import (
    Result,
    failure_result,
    refusal_result,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_cleanup import (
    by_dynamic_update,
    by_windows_dns,
    wishes_of,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_record import check
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import WsmanError


class ActionModule(KmsAction):
    _requires_connection = False
    arguments = Arguments("srv_cleanup", ranges=(Range("timeout", 1, 600),))

    def _run(self, host: str) -> Result:
        modes = {"check_mode": self._task.check_mode, "diff": self._task.diff}
        try:
            args = self.arguments.validate(self._task.args) | {"zone": None}
            wishes = wishes_of(args)
            check(args)
            if args["via"] == "rfc2136":
                return by_dynamic_update(args, wishes, **modes)
            transport = self._open()
        except (InvalidArguments, UnusableConnection) as error:
            return refusal_result(str(error), host)
        except WsmanError as error:
            return failure_result(Failure("Connecting", error), host, [], None) | {"changes": []}
        try:
            return by_windows_dns(CimClient(transport), wishes, host, **modes)
        finally:
            transport.close()
