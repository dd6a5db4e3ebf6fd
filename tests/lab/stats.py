# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine was asked: requests, bytes, writes and calls, so that tests can say how many there may be."""

from __future__ import annotations

import dataclasses
import typing as t

#: Arguments whose value is shortened to its last five characters wherever it is noted.
SECRET_ARGUMENTS = frozenset({"productkey"})


def mask(name: str, value: t.Any) -> t.Any:
    """The value as it may be noted: of a product key only the last five characters."""
    if name.lower() in SECRET_ARGUMENTS and value is not None:
        return f"*****-{str(value)[-5:]}"
    return value


@dataclasses.dataclass(frozen=True)
class Call:
    """A method call that reached the class; ``time`` is in seconds since the epoch."""

    namespace: str
    class_name: str
    method: str
    arguments: dict[str, t.Any]
    write: bool
    time: float

    @classmethod
    def masked(cls, path: tuple[str, str, str], arguments: t.Mapping[str, t.Any], write: bool, time: float) -> Call:
        """A call by its namespace, class and method, with its secret arguments masked."""
        return cls(*path, {name: mask(name, value) for name, value in arguments.items()}, write, time)


@dataclasses.dataclass
class Stats:
    """Counters of one machine; bytes are HTTP header and body, TLS and TCP left out.

    ``writes`` counts the calls that the repository says may change the machine, Put and Delete, also those that
    failed. ``operations`` counts by the name of the operation: ``Enumerate``, ``Get`` or the name of a method.
    """

    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    authentications: int = 0
    refused_authentications: int = 0
    shells: int = 0
    writes: int = 0
    soap_faults: int = 0
    operations: dict[str, int] = dataclasses.field(default_factory=dict)
    invokes: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)

    def count_operation(self, name: str) -> None:
        self.operations[name] = self.operations.get(name, 0) + 1

    def note_invoke(self, call: Call) -> None:
        self.invokes.append(dict(vars(call)))

    def reset(self) -> None:
        """Everything to nothing."""
        vars(self).update(vars(Stats()))

    def to_json(self) -> dict[str, t.Any]:
        return dataclasses.asdict(self)


def total(parts: t.Iterable[Stats]) -> Stats:
    """The sum over machines; the calls themselves are left out."""
    result = Stats()
    for part in parts:
        for field in dataclasses.fields(Stats):
            value = getattr(part, field.name)
            if isinstance(value, int):
                setattr(result, field.name, getattr(result, field.name) + value)
        for name, count in part.operations.items():
            result.operations[name] = result.operations.get(name, 0) + count
    return result
