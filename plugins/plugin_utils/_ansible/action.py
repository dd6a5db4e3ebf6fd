# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The base of the action plugins: validate, open one session, run the engine, close, give the result."""

from __future__ import annotations

import re
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Target
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import is_published
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure, Outcome, Planner, run
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.reader import Needs, Reader
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.refusal import Refusal
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.session import Session
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import TransportError, WsmanError

from .arguments import Arguments, InvalidArguments, product_key
from .connection import HttpTransport, UnusableConnection, open_transport
from .result import Result, failure_result, refusal_result, result_of

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: Words that stand for a key in one module or another.
KEYWORDS = ("client_setup", "keep")


class KmsAction(ActionBase):
    """An action plugin names its arguments and turns them into needs and a planner."""

    TRANSFERS_FILES = False
    _requires_connection = True
    arguments: Arguments

    def wish(self, args: dict[str, t.Any]) -> tuple[Needs, Planner]:
        """What must be read, and the pure function that plans from it. Raises InvalidArguments or Refusal."""
        raise TypeError(f"{type(self).__name__} does not say what it wishes")

    def complete(self, result: Result, args: dict[str, t.Any], outcome: Outcome) -> None:
        """Add to the result what only this module tells."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result: Result = super().run(tmp, task_vars) or {}
        host = str(self._task.delegate_to or (task_vars or {}).get("inventory_hostname"))
        result.update(self._run(host))
        return result

    def _run(self, host: str) -> Result:
        try:
            args = self.arguments.validate(self._task.args)
            needs, planner = self.wish(args)
            transport = self._open()
        except (InvalidArguments, Refusal, UnusableConnection) as error:
            return refusal_result(str(error), host)
        except WsmanError as error:
            return failure_result(Failure("Connecting", error), host, [], None)
        try:
            return self._work(transport, args, needs, planner, host)
        finally:
            transport.close()

    def _open(self) -> HttpTransport:
        if self._task.become:
            raise UnusableConnection("become has no effect on WS-Management: remove it from this task or play.")
        return open_transport(self._connection)

    def _work(
        self, transport: HttpTransport, args: dict[str, t.Any], needs: Needs, planner: Planner, host: str
    ) -> Result:
        try:
            self.refuse_unencrypted(transport, args)
            cim = CimClient(transport, operation_timeout=transport.operation_timeout)
            session = Session(cim, Reader(cim, encrypted=transport.encrypted), needs)
            outcome = run(session, planner, check_mode=self._task.check_mode)
        except Refusal as error:
            return refusal_result(str(error), host)
        except Exception as error:  # nothing has been sent that changes anything: reading is all that was done
            doing = "Connecting" if isinstance(error, TransportError) else "Reading the machine"
            return failure_result(Failure(doing, error), host, [], None) | {"changes": []}
        result = result_of(outcome, host, session, diff=self._task.diff)
        self.complete(result, args, outcome)
        return result

    def refuse_unencrypted(self, transport: HttpTransport, args: dict[str, t.Any]) -> None:
        """A key that is not published does not travel in the clear unless the user insists."""
        key = product_key(args.get("product_key"), keywords=KEYWORDS)
        if transport.encrypted or args.get("allow_unencrypted") or not isinstance(key, ProductKey):
            return
        if not is_published(key):
            raise Refusal(
                f"The connection to {transport.endpoint} is not encrypted and would carry the product key in the"
                " clear. Use HTTPS, or NTLM, Kerberos or CredSSP with message encryption; or set allow_unencrypted:"
                " true if you accept that (kms_host_allow_unencrypted or kms_client_allow_unencrypted in the roles)."
            )


def target(args: dict[str, t.Any]) -> Target:
    """The product that the options name."""
    return Target(Application(args["application"]), activation_id(args.get("activation_id") or ""))


def activation_id(text: str, option: str = "activation_id") -> str:
    """The activation ID that an option gives, in the spelling of Windows' own; "" for none.

    Raises InvalidArguments for what is no GUID.
    """
    found = text.strip().strip("{}").lower()
    if found and not _GUID.fullmatch(found):
        raise InvalidArguments(
            f"{option}: {text!r} is no activation ID, such as 47f3b983-7c53-4d45-abc6-bcd91e2dd90a;"
            " fleetops.kms.info tells those of a machine"
        )
    return found
