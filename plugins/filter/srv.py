# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SRV records for people: who serves which share of the clients, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns import mappings, records

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # where text is no template unless it is tagged as one, nothing needs wrapping

    def wrap_var(value: Any) -> Any:
        """Return the value."""
        return value


_Result = TypeVar("_Result")


def _of_dns(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Make a filter of a function: a ValueError is the user's, and a result with text from DNS is never a template."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> _Result:
        try:
            result: _Result = wrap_var(function(*args, **kwargs))
        except ValueError as error:
            raise AnsibleFilterError(f"fleetops.kms.{function.__name__}: {error}") from error
        return result

    return run


@_of_dns
def shares(values: Any) -> dict[str, dict[str, float]]:
    """Return, by domain and target, the fraction of the domain's clients that ask the target first."""
    found = list(dict.fromkeys(mappings.records_of(values)))
    result: dict[str, dict[str, float]] = {}
    for record, share in zip(found, records.shares(found), strict=True):
        targets = result.setdefault(record.domain, {})
        targets[record.target] = targets.get(record.target, 0.0) + share
    return result


@_of_dns
def srv_table(values: Any, domains: Iterable[str] = (), header: bool = True) -> list[str]:
    """Return a table of SRV records as lines; each of ``domains`` that has no record gets a line that says so."""
    values, unanswered = mappings.split_answers(values)
    groups = mappings.by_nameserver(values)
    rows = [
        (*_cells(record, share), nameserver)
        for nameserver, found in groups.items()
        for record, share in zip(found, records.shares(found), strict=True)
    ]
    known = {row[0] for row in rows}
    asked = [records.domain_of_term(domain) for domain in ([domains] if isinstance(domains, str) else domains)]
    silent = {item.domain for item in unanswered}
    absent = [
        (domain, "", "", "", "no answer" if domain in silent else "no record", "", "")
        for domain in dict.fromkeys([*asked, *sorted(silent)])
        if domain not in known
    ]
    head = [("domain", "priority", "weight", "port", "target", "share", "nameserver" if any(groups) else "")]
    return _aligned([*(head if header else []), *rows, *absent])


def _cells(record: records.SrvRecord, share: float) -> tuple[str, str, str, str, str, str]:
    numbers = (str(record.priority), str(record.weight), str(record.port))
    return (record.domain, *numbers, record.target, _percent(share))


def _percent(share: float) -> str:
    """Return a share as a whole percentage that does not call a few nobody."""
    return "<1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


_ALIGN = ("<", ">", ">", ">", "<", ">", "<")  # numbers to the right


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows of cells as lines with columns under each other."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{align}{width}}" for cell, align, width in zip(row, _ALIGN, widths, strict=True)).rstrip()
        for row in rows
    ]


@_of_dns
def publish_findings(values: Any, wanted: Any) -> list[dict[str, Any]]:
    """Return how records differ from the wanted ones, as the test ``published`` sees them."""
    return [
        {
            "kind": finding.kind.value,
            "breaks": finding.breaks,
            "domain": finding.domain,
            "message": f"{finding.message} (at {nameserver})" if nameserver else finding.message,
            "wanted": finding.wanted.as_dict() if finding.wanted else None,
            "found": finding.found.as_dict() if finding.found else None,
            "share": finding.share,
            **({"nameserver": nameserver} if nameserver else {}),
        }
        for nameserver, finding in mappings.findings_of(values, wanted)
    ]


class FilterModule:
    """Hand the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"publish_findings": publish_findings, "shares": shares, "srv_table": srv_table}
