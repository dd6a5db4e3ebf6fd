# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on demand: what may go wrong between a client and a machine, by name.

A fault is a mapping: ``fault`` (a name of ``FAULTS``), its own parameters, and for all of them ``times`` (how often it
strikes; for ever without it), ``method`` or ``action`` (only this method of a class, or ``Enumerate``, ``Pull``,
``Release``, ``Get``, ``Put``, ``Delete``) and ``class`` (only this class).
"""

from __future__ import annotations

import dataclasses
import enum
import typing as t

#: No fault keeps a connection waiting for longer than this.
MAX_SECONDS = 120.0


class Stage(enum.Enum):
    """When a fault strikes."""

    MACHINE = "machine"  #: all the time that it is set
    LOGON = "logon"
    BEFORE = "before"  #: when the operation is known, before it runs
    AFTER = "after"  #: when the operation has run, before its answer is sent


@dataclasses.dataclass(frozen=True)
class Kind:
    """A row of the table: when the fault strikes, and its parameters with their defaults."""

    stage: Stage
    does: str
    parameters: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


FAULTS: dict[str, Kind] = {
    "dead": Kind(Stage.MACHINE, "the port is closed"),
    "wrong_password": Kind(Stage.LOGON, "every account is refused with HTTP 401"),
    "hang": Kind(Stage.BEFORE, "no answer; the connection is closed after `seconds`", {"seconds": 60.0}),
    "slow": Kind(Stage.BEFORE, "the answer comes `seconds` later", {"seconds": 1.0}),
    "http_413": Kind(Stage.BEFORE, "HTTP 413 without a body"),
    "quota": Kind(Stage.BEFORE, "fault 0x803381A6: too many operations of this user"),
    "access_denied": Kind(Stage.BEFORE, "fault w:AccessDenied, code 5"),
    "error": Kind(
        Stage.BEFORE,
        "a provider's error instead of the operation: HRESULT `code`, in the detail shape `shape`",
        {"code": 0x80041001, "shape": None},
    ),
    "timed_out": Kind(
        Stage.BEFORE,
        "fault w:TimedOut at once; the operation goes on and is done `seconds` later",
        {"seconds": 0.0},
    ),
    "drop_after": Kind(
        Stage.AFTER,
        "the connection is closed: `when` is `before` or `after` the operation has run, without an answer, or `between`"
        " this operation and the next, after the answer",
        {"when": "after"},
    ),
    "half_answer": Kind(Stage.AFTER, "half of the answer's body, then the connection is closed"),
    "doctype": Kind(Stage.AFTER, "the answer carries a DOCTYPE with an external entity"),
    "entity_bomb": Kind(Stage.AFTER, "the answer carries entities that grow exponentially"),
    "oversize": Kind(Stage.AFTER, "the answer is `bytes` larger than asked for", {"bytes": 8 * 1024 * 1024}),
    "wrong_relates_to": Kind(Stage.AFTER, "the answer belongs to another request"),
    "not_xml": Kind(Stage.AFTER, "the answer is no XML"),
}
_COMMON = {"fault", "times", "method", "action", "class"}
DROP_MOMENTS = ("before", "after", "between")


class UnknownFault(ValueError):
    """The description of a fault is wrong."""


@dataclasses.dataclass(frozen=True)
class Operation:
    """What a request asks for, as far as faults and counters care: ``Enumerate`` ... or the name of a method."""

    name: str
    class_name: str = ""


@dataclasses.dataclass
class Fault:
    """A fault that is set on a machine; ``left`` is None for one that never ends."""

    name: str
    parameters: dict[str, t.Any]
    left: int | None = None
    operation: str | None = None
    class_name: str | None = None

    @classmethod
    def parse(cls, description: t.Mapping[str, t.Any] | str) -> Fault:
        """Reads a description (see the module); raises UnknownFault."""
        if isinstance(description, str):
            description = {"fault": description}
        name = description.get("fault")
        kind = FAULTS.get(str(name))
        if kind is None:
            raise UnknownFault(f"no fault is named {name!r}; there are {', '.join(sorted(FAULTS))}")
        unknown = set(description) - _COMMON - set(kind.parameters)
        if unknown:
            raise UnknownFault(f"fault {name} takes no {', '.join(sorted(unknown))}")
        parameters = {key: description.get(key, default) for key, default in kind.parameters.items()}
        if parameters.get("when", "after") not in DROP_MOMENTS:
            raise UnknownFault(f"when is one of {', '.join(DROP_MOMENTS)}")
        if "seconds" in parameters:
            parameters["seconds"] = min(float(parameters["seconds"]), MAX_SECONDS)
        if "code" in parameters:
            parameters["code"] = int(str(parameters["code"]), 0) & 0xFFFFFFFF
        times = description.get("times")
        operation = description.get("method", description.get("action"))
        return cls(str(name), parameters, None if times is None else int(times), operation, description.get("class"))

    @property
    def stage(self) -> Stage:
        if self.name == "drop_after" and self.parameters["when"] == "before":
            return Stage.BEFORE
        return FAULTS[self.name].stage

    def hits(self, operation: Operation | None) -> bool:
        """Whether the fault is for this operation; one without conditions is for all."""
        if operation is None:
            return self.operation is None and self.class_name is None
        return (self.operation is None or self.operation.lower() == operation.name.lower()) and (
            self.class_name is None or self.class_name.lower() == operation.class_name.lower()
        )

    def to_json(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


class FaultBox:
    """The faults that are set on one machine, in the order in which they were set."""

    def __init__(self, descriptions: t.Iterable[t.Mapping[str, t.Any] | str] = ()) -> None:
        self._faults = [Fault.parse(description) for description in descriptions]

    def __len__(self) -> int:
        return len(self._faults)

    def add(self, description: t.Mapping[str, t.Any] | str) -> None:
        self._faults.append(Fault.parse(description))

    def clear(self, name: str | None = None) -> None:
        """Forgets the faults of that name, or all."""
        self._faults = [fault for fault in self._faults if name is not None and fault.name != name]

    def has(self, name: str) -> bool:
        return any(fault.name == name for fault in self._faults)

    def take(self, stage: Stage, operation: Operation | None = None) -> list[Fault]:
        """The faults that strike now; each strike is counted against ``times``."""
        if not self._faults:
            return []
        struck = [fault for fault in self._faults if fault.stage is stage and fault.hits(operation)]
        for fault in struck:
            if fault.left is not None:
                fault.left -= 1
        self._faults = [fault for fault in self._faults if fault.left is None or fault.left > 0]
        return struck

    def to_json(self) -> list[dict[str, t.Any]]:
        return [fault.to_json() for fault in self._faults]
