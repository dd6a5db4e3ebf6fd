# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One line of a verification: what is wrong, how bad it is, and which machines it concerns."""

from __future__ import annotations

import collections.abc as c
import dataclasses
import enum
import typing as t

#: So many machines are named in a line; the data name all.
NAMED_MACHINES = 5

#: What findings about many machines stand under.
CLIENTS = "clients"


class Severity(enum.Enum):
    """Whether a finding makes the verification fail."""

    FAIL = "fail"
    WARN = "warn"


class Kind(enum.Enum):
    """What a finding is about; the values are what users read in the data."""

    # In DNS
    MISSING = "missing"
    DIFFERENT = "different"
    NOT_APPROVED = "not_approved"
    NOT_APPROVED_BEHIND = "not_approved_behind"
    UNDECLARED = "undeclared"
    STEERED = "steered"
    DNS_UNANSWERED = "dns_unanswered"
    SERVICE_DENIED = "service_denied"
    # Of a KMS host
    NAME_UNKNOWN = "name_unknown"
    NOT_READ = "not_read"
    NO_HOST_KEY = "no_host_key"
    NOT_ACTIVATED = "not_activated"
    PUBLISHING_REFUSED = "publishing_refused"
    PUBLISHING_UNPROVEN = "publishing_unproven"
    PUBLISHING_UNDECLARED = "publishing_undeclared"
    PUBLISH_LIST = "publish_list"
    HOST_KEY_TOO_OLD = "host_key_too_old"
    HOST_KEY_UNKNOWN = "host_key_unknown"
    BELOW_THRESHOLD = "below_threshold"
    NO_COUNT = "no_count"
    PORT_CLOSED = "port_closed"
    # Of clients
    NOT_LICENSED = "not_licensed"
    NOT_A_CLIENT = "not_a_client"
    UNDECLARED_HOST = "undeclared_host"
    FIXED_ELSEWHERE = "fixed_elsewhere"
    SERVED_ELSEWHERE = "served_elsewhere"
    NOTHING_PUBLISHED = "nothing_published"
    DUPLICATE_CMID = "duplicate_cmid"


#: What a run of the playbooks brings in order by itself. In check mode it has not done so yet.
MENDED_BY_A_RUN = frozenset(
    {
        Kind.MISSING,
        Kind.DIFFERENT,
        Kind.NO_HOST_KEY,
        Kind.NOT_ACTIVATED,
        Kind.PUBLISHING_REFUSED,
        Kind.PUBLISH_LIST,
        Kind.NOT_LICENSED,
        Kind.NOT_A_CLIENT,
    }
)

#: What concerns one host alone, so that it is no fault of a run that leaves that host out.
OF_ONE_HOST = frozenset({Kind.MISSING, Kind.DIFFERENT})


@dataclasses.dataclass(frozen=True)
class Finding:
    """``subject`` is a domain, a host or "clients"; ``machines`` are names of the inventory, told before ``detail``."""

    severity: Severity
    kind: Kind
    subject: str
    text: str
    machines: tuple[str, ...] = ()
    detail: str = ""

    @property
    def line(self) -> str:
        """The finding without its severity and subject; clients are counted and named, the first few of them."""
        if self.subject != CLIENTS or not self.machines:
            return self.text
        named = ", ".join(self.machines[:NAMED_MACHINES])
        more = len(self.machines) - NAMED_MACHINES
        detail = f" ({self.detail})" if self.detail else ""
        if more <= 0:
            return f"{self.text}: {named}{detail}"
        return f"{self.text} ({len(self.machines)} machines): {named} and {more} more{detail}"

    def as_dict(self) -> dict[str, t.Any]:
        """Return the finding as plain data."""
        return {
            "severity": self.severity.value,
            "kind": self.kind.value,
            "subject": self.subject,
            "text": self.line,
            "machines": list(self.machines),
        }


def fail(kind: Kind, subject: str, text: str, *machines: str, detail: str = "") -> Finding:
    """Return a finding that makes the verification fail."""
    return Finding(Severity.FAIL, kind, subject, text, machines, detail)


def warn(kind: Kind, subject: str, text: str, *machines: str) -> Finding:
    """Return a finding that is only told."""
    return Finding(Severity.WARN, kind, subject, text, machines)


def soften(findings: c.Iterable[Finding], changing: c.Collection[str]) -> list[Finding]:
    """Turn what a run would mend on the machines that it would change into warnings: check mode has changed nothing."""
    return _told_only(findings, MENDED_BY_A_RUN, set(changing), "this run would change that")


def leave_out(findings: c.Iterable[Finding], outside: c.Collection[str]) -> list[Finding]:
    """Turn what is wrong with hosts that the run was limited not to look at into warnings."""
    return _told_only(findings, OF_ONE_HOST, set(outside), "left out of this run")


def _told_only(
    findings: c.Iterable[Finding], kinds: c.Collection[Kind], machines: set[str], note: str
) -> list[Finding]:
    return [
        dataclasses.replace(item, severity=Severity.WARN, text=f"{item.text} ({note})")
        if item.kind in kinds and item.machines and machines.issuperset(item.machines)
        else item
        for item in findings
    ]


def gather(findings: c.Iterable[Finding]) -> list[Finding]:
    """Put findings that say the same of different machines into one, and what fails first; otherwise keep the order."""
    machines: dict[Finding, list[str]] = {}
    for item in findings:
        machines.setdefault(dataclasses.replace(item, machines=()), []).extend(item.machines)
    result = [dataclasses.replace(item, machines=tuple(dict.fromkeys(names))) for item, names in machines.items()]
    return sorted(result, key=lambda item: item.severity is Severity.WARN)


def lines(findings: c.Sequence[Finding]) -> list[str]:
    """Return findings as a table: severity, subject, text."""
    width = max((len(item.subject) for item in findings), default=0)
    return [f"{item.severity.value.upper()}  {item.subject:{width}}  {item.line}" for item in findings]
