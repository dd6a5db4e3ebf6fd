# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the action plugins that write SRV records: by dynamic update, or on a Windows DNS server."""

from __future__ import annotations

import abc
import typing as t

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import WsmanError

from .action import KmsAction
from .arguments import InvalidArguments
from .connection import UnusableConnection
from .result import Result, failure_result, refusal_result
from .srv_record import check


class SrvAction(KmsAction):
    """An action plugin says what it wishes, and how each way fulfils that. Only one way needs a connection."""

    _requires_connection = False

    @abc.abstractmethod
    def wish_of(self, args: dict[str, t.Any]) -> t.Any:
        """What the options wish for, as the ways take it. Raises InvalidArguments."""

    @abc.abstractmethod
    def by_dynamic_update(self, args: dict[str, t.Any], wish: t.Any, **modes: bool) -> Result:
        """Fulfil it by RFC 2136. ``modes`` are check_mode and diff."""

    @abc.abstractmethod
    def by_windows_dns(self, cim: CimClient, args: dict[str, t.Any], wish: t.Any, host: str, **modes: bool) -> Result:
        """Fulfil it on a Windows DNS server."""

    def _run(self, host: str) -> Result:
        modes = {"check_mode": self._task.check_mode, "diff": self._task.diff}
        try:
            args = self.arguments.validate(self._task.args)
            wish = self.wish_of(args)
            check(args)
            if args["via"] == "rfc2136":
                return self.by_dynamic_update(args, wish, **modes)
            transport = self._open()
        except (InvalidArguments, UnusableConnection) as error:
            return refusal_result(str(error), host)
        except WsmanError as error:
            return failure_result(Failure("Connecting", error), host, [], None) | {"changes": []}
        try:
            return self.by_windows_dns(CimClient(transport), args, wish, host, **modes)
        finally:
            transport.close()
