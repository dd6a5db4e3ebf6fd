# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make one SRV value present or absent; documentation in plugins/modules/srv_record.yml."""

from __future__ import annotations

import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible import srv_record
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import Arguments
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.result import Result
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.srv_action import SrvAction
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import Wish
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient


class ActionModule(SrvAction):
    arguments = Arguments("srv_record", ranges=srv_record.RANGES)

    def wish_of(self, args: dict[str, t.Any]) -> Wish:
        return srv_record.wish_of(args)

    def by_dynamic_update(self, args: dict[str, t.Any], wish: Wish, **modes: bool) -> Result:
        return srv_record.by_dynamic_update(args, wish, **modes)

    def by_windows_dns(self, cim: CimClient, args: dict[str, t.Any], wish: Wish, host: str, **modes: bool) -> Result:
        return srv_record.by_windows_dns(cim, args, wish, host, **modes)
