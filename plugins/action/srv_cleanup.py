# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remove the SRV values of many targets; documentation in plugins/modules/srv_cleanup.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible import srv_cleanup
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments, Range
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.result import Result
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_action import SrvAction
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_cleanup import Wishes
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient


class ActionModule(SrvAction):
    arguments = Arguments("srv_cleanup", ranges=(Range("timeout", 1, 600),))

    def wish_of(self, args: dict[str, t.Any]) -> Wishes:
        return srv_cleanup.wishes_of(args)

    def by_dynamic_update(self, args: dict[str, t.Any], wish: Wishes, **modes: bool) -> Result:
        return srv_cleanup.by_dynamic_update(args, wish, **modes)

    def by_windows_dns(self, cim: CimClient, args: dict[str, t.Any], wish: Wishes, host: str, **modes: bool) -> Result:
        return srv_cleanup.by_windows_dns(cim, wish, host, **modes)
