# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outcomes as Ansible's result: one shape for every module, a diff that a person reads, and messages to act on."""

from __future__ import annotations

import typing as t

import yaml

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.changes import Change
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.channels import Application, Channel
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.codes import (
    HOST_KEY_NOT_KNOWN_HERE,
    SL_E_CHPA_MAXIMUM_UNLOCK_EXCEEDED,
    SL_E_VL_BINDING_SERVICE_UNAVAILABLE,
    describe,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure, Outcome
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.host_keys import installable_on, may_install
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.operations import (
    Activate,
    ActivateAgainst,
    DepositConfirmation,
    InstallKey,
    last_inner_code,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.report import report
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.session import Session
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import (
    CimFault,
    OperationTimedOut,
    ProtocolError,
    TransportError,
)

Result = dict[str, t.Any]


def result_of(outcome: Outcome, host: str, session: Session, *, diff: bool) -> Result:
    """The result of a run, failed or not."""
    changes = [{"setting": item.setting, "before": item.before, "after": item.after} for item in outcome.changes]
    result: Result = {
        "changed": bool(changes) or outcome.restarted or bool(outcome.uncertain),
        "changes": changes,
        "verified": outcome.verified,
        "restarted": outcome.restarted,
        "kms": report(outcome.after),
    }
    if outcome.plan.restart_withheld and changes:
        result["restart_required"] = True
    if outcome.pending:
        result["pending"] = outcome.pending
        result["answered_count"] = outcome.answered_count
    if warnings := [*outcome.plan.warnings, *outcome.notes]:
        result["warnings"] = warnings
    if outcome.uncertain:
        result["uncertain"] = [item.setting for item in outcome.uncertain]
    if diff and (changes or outcome.restarted):
        result["diff"] = diff_of(outcome.changes, host, restarts=outcome.restarted)
    if outcome.failure is not None:
        # A failure is one paragraph to act on; the whole machine beneath it would bury it.
        del result["kms"], result["verified"]
        uncertain = result.get("uncertain", ())
        told = failure_result(outcome.failure, host, changes, session, uncertain=uncertain, restarted=outcome.restarted)
        result.update(told)
    return result


def diff_of(changes: t.Sequence[Change], host: str, *, restarts: bool) -> Result:
    """Before and after as the settings read in a playbook."""
    before = "".join(_setting(item.setting, item.before, item.before_note) for item in changes)
    after = "".join(_setting(item.setting, item.after, item.after_note) for item in changes)
    return {
        "before_header": host,  # Ansible writes "before: " and "after: " in front
        "after_header": host,
        "before": before,
        "after": after + ("restart: sppsvc\n" if restarts else ""),
    }


def failure_result(
    failure: Failure,
    host: str,
    changes: t.Sequence[Result],
    session: Session | None,
    *,
    uncertain: t.Sequence[str] = (),
    restarted: bool = False,
) -> Result:
    """``msg`` with host, operation, code, meaning and what to do; the code once more by itself."""
    hresult = _hresult(failure)
    changed = _tell(changes, uncertain, restarted=restarted)
    result: Result = {"failed": True, "msg": f"{failure_text(failure, host, session)} {changed}"}
    if failure.is_unreachable:
        result["unreachable"] = True
        del result["failed"]
    if hresult:
        code = describe(hresult)
        result["hresult"], result["symbol"] = code.hex, code.symbol
    return result


def failure_text(failure: Failure, host: str, session: Session | None = None) -> str:
    """What failed, why, and what to do; not what was changed before."""
    hresult = _hresult(failure)
    message = f"{failure.operation} failed on {host}: {_explain(failure, hresult)}"
    return f"{message} {_advice(failure, hresult, session)}".rstrip()


def _hresult(failure: Failure) -> int | None:
    return getattr(failure.error, "hresult", None) or None


def refusal_result(text: str, host: str) -> Result:
    """A wish that was refused before anything was sent."""
    return {"failed": True, "changed": False, "changes": [], "msg": f"Refused on {host}, nothing was changed: {text}"}


def _explain(failure: Failure, hresult: int | None) -> str:
    error = failure.error
    if isinstance(error, OperationTimedOut):
        return f"the machine did not finish in time. {_advice_on_time(failure)}"
    if isinstance(error, TransportError):
        again = " Run again: what is done already is left alone." if error.dropped else ""
        return f"{str(error).rstrip('.')}.{again}"
    if isinstance(error, ProtocolError):
        return (
            f"{str(error).rstrip('.')}. That is no answer of WinRM: look for a proxy or another service between the"
            " controller and the machine."
        )
    if hresult is None:
        return f"{str(error).rstrip('.')}."
    code = describe(hresult)
    name = f"{code.hex} {code.symbol}" if code.symbol else code.hex
    own = "" if isinstance(error, CimFault) else f" {error}"
    if isinstance(error, CimFault) and code.symbol is None and error.reason:
        own = f" Windows says: {error.reason.rstrip('.')}."
    return f"{name}.{own} {code.meaning} {code.hint}".strip()


def _advice(failure: Failure, hresult: int | None, session: Session | None) -> str:
    """What only this machine can add to the code's general advice."""
    if session is None:
        return ""
    step = failure.step
    if _is_windows_host_key(step) and hresult in HOST_KEY_NOT_KNOWN_HERE:
        system = session.machine.operating_system
        taken = [f"{key.name}{_after(may_install(key.id, system).updates)}" for key in installable_on(system)]
        if taken:
            return f"{system.caption} takes host keys for: {'; '.join(taken)}."
    if hresult == SL_E_CHPA_MAXIMUM_UNLOCK_EXCEEDED:
        found = [item for item in session.machine.products if not item.is_licensed and item.installation_id]
        if found:
            return (
                f"To activate by telephone use the installation ID {found[0].installation_id} and the option"
                " confirmation_id of fleetops.kms.activation."
            )
    if hresult == SL_E_VL_BINDING_SERVICE_UNAVAILABLE:
        try:
            inner = last_inner_code(session)
        except Exception:
            inner = None  # an aid only
        if inner:
            code = describe(inner)
            return f"The client's own log names the cause: {code.hex}. {code.meaning} {code.hint}"
    return ""


def _is_windows_host_key(step: object) -> bool:
    return (
        isinstance(step, InstallKey) and step.expected is Channel.KMS_HOST and step.application is Application.WINDOWS
    )


def _after(updates: t.Sequence[str]) -> str:
    return f" (with the update {' or '.join(updates)} or a later one)" if updates else ""


def _advice_on_time(failure: Failure) -> str:
    if failure.step is None:
        return (
            "It was asked twice. If it is only slow, give it longer with ansible_winrm_operation_timeout_sec (and"
            " ansible_winrm_read_timeout_sec), or ansible_psrp_operation_timeout."
        )
    if isinstance(failure.step, (InstallKey, Activate, ActivateAgainst, DepositConfirmation)):
        return (
            "It may still be at work: it was watched for a minute and does not show the change. The call is not"
            " repeated by itself: run again."
        )
    return "It may still be at work, and the call is not repeated by itself: run again."


def _tell(changes: t.Sequence[Result], uncertain: t.Sequence[str], *, restarted: bool) -> str:
    told = []
    if changes:
        told.append(f"Changed before it failed: {', '.join(item['setting'] for item in changes)}.")
    if uncertain:
        told.append(f"Whether {', '.join(uncertain)} was changed is not known: run again, what is done is left alone.")
    if restarted and not told:
        return "The licensing service (sppsvc) was restarted, nothing else was changed."
    return " ".join(told) or "Nothing was changed."


def _setting(name: str, value: t.Any, note: str) -> str:
    text = f"{value} ({note})" if note else value
    dumped: str = yaml.safe_dump({name: text}, default_flow_style=False, width=200, allow_unicode=True)
    return dumped
