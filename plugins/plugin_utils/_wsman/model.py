# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes, instances and results of CIM, as far as a client of WMI needs them."""

from __future__ import annotations

import dataclasses
import enum
import re
import typing as t
from collections.abc import Iterator, Mapping

from . import names

#: A value as Python has it: None, bool, int, float, str, an aware ``datetime``; a list of these; for an embedded
#: object or a reference a mapping of its parts. An interval stays text (``P0DT0H1M40S``).
Value = t.Any

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NAMESPACE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*\Z")


def is_name(text: str) -> bool:
    """Whether the text can name a CIM class, property, method or parameter (DSP0004)."""
    return _NAME.match(text) is not None


class CimType(enum.Enum):
    """What XML cannot tell: answers of WMI carry no type attribute."""

    STRING = "string"
    BOOLEAN = "boolean"
    DATETIME = "datetime"
    INTEGER = "integer"
    REAL = "real"


@dataclasses.dataclass(frozen=True)
class PropertyType:
    """The type of a property or parameter. An array of one element looks like a scalar on the wire."""

    type: CimType = CimType.STRING
    array: bool = False


STRING = PropertyType()


class Properties(Mapping[str, Value]):
    """Values by name, in the order given; CIM names are not case-sensitive (DSP0004)."""

    __slots__ = ("_items",)

    def __init__(self, values: Mapping[str, Value] | None = None) -> None:
        self._items = {name.lower(): (name, value) for name, value in (values or {}).items()}

    def __getitem__(self, name: str) -> Value:
        return self._items[name.lower()][1]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._items

    def __iter__(self) -> Iterator[str]:
        return (name for name, _value in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        theirs = other if isinstance(other, Properties) else Properties(other)
        return {key: value for key, (_name, value) in self._items.items()} == {
            key: value for key, (_name, value) in theirs._items.items()
        }

    __hash__ = None  # type: ignore[assignment]  # what says "not hashable" in Python; typing knows no such thing

    def __repr__(self) -> str:
        return f"<Properties: {', '.join(self)}>"


@dataclasses.dataclass(frozen=True)
class CimClass:
    """A class of a namespace and the types of its values.

    ``namespace``  with slashes, for instance ``root/cimv2``
    ``types``      properties and parameters that are not strings; ``Method.Parameter`` names the parameter of one
                   method, where the same name has another type elsewhere (StdRegProv ``uValue``)
    ``drop``       properties that are never kept: secrets
    ``keys``       key properties, the selectors of an instance
    """

    namespace: str
    name: str
    types: Mapping[str, PropertyType] = dataclasses.field(default_factory=dict, hash=False, repr=False)
    drop: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    _types: dict[str, PropertyType] = dataclasses.field(init=False, hash=False, repr=False, compare=False)
    _methods: dict[str, dict[str, PropertyType]] = dataclasses.field(init=False, hash=False, repr=False, compare=False)
    _drop: frozenset[str] = dataclasses.field(init=False, hash=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _NAMESPACE.match(self.namespace) or not is_name(self.name):
            raise ValueError(f"not a CIM class: {self.namespace}:{self.name}")
        methods: dict[str, dict[str, PropertyType]] = {}
        for name, kind in self.types.items():
            method, _dot, parameter = name.lower().rpartition(".")
            methods.setdefault(method, {})[parameter] = kind
        object.__setattr__(self, "_types", methods.pop("", {}))
        object.__setattr__(self, "_methods", methods)
        object.__setattr__(self, "_drop", frozenset(name.lower() for name in self.drop))

    @property
    def resource_uri(self) -> str:
        """The URI of the class (MS-WSMV 3.1.4.1.1)."""
        return f"{names.WMI}/{self.namespace}/{self.name}"

    @property
    def query_uri(self) -> str:
        """The URI that takes a WQL filter: the class is told by the query, and selectors are refused."""
        return f"{names.WMI}/{self.namespace}/*"

    def types_for(self, method: str | None = None) -> Mapping[str, PropertyType]:
        """The types by names in lower case: of the properties or, with ``method``, of that method's parameters."""
        own = self._methods.get(method.lower()) if method is not None else None
        return self._types | own if own else self._types

    def type_of(self, name: str, method: str | None = None) -> PropertyType:
        """The type of a property or, with ``method``, of a parameter of that method."""
        return self.types_for(method).get(name.lower(), STRING)

    @property
    def dropped(self) -> frozenset[str]:
        """The properties that must not be kept, in lower case."""
        return self._drop


@dataclasses.dataclass(frozen=True)
class Instance:
    """An instance as it was read.

    ``name`` is the class it really is of: maybe one derived from ``cim_class``. ``given_selectors`` are those that the
    other side gave with it: none, unless the query asked for them.
    """

    cim_class: CimClass
    name: str
    values: Mapping[str, Value] = dataclasses.field(default_factory=Properties, hash=False, repr=False)
    given_selectors: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.values, Properties):
            object.__setattr__(self, "values", Properties(self.values))

    def get(self, prop: str, default: Value = None) -> Value:
        """The value, None when null, ``default`` when the instance has no such property."""
        return self.values.get(prop, default)

    def __getitem__(self, prop: str) -> Value:
        """The value, None when null or when the instance has no such property (an older Windows)."""
        return self.values.get(prop)

    def has(self, prop: str) -> bool:
        """Whether the instance has the property at all, null or not."""
        return prop in self.values

    @property
    def selectors(self) -> dict[str, str]:
        """What addresses this instance: the selectors that were given with it, else its key properties.

        A null key is an empty text.
        """
        if self.given_selectors:
            return dict(self.given_selectors)
        return {key: "" if self[key] is None else str(self[key]) for key in self.cim_class.keys}


@dataclasses.dataclass(frozen=True)
class MethodResult:
    """What a method gave back. A return value other than 0 is the method's answer, not an error here."""

    return_value: int | None
    outputs: Mapping[str, Value] = dataclasses.field(default_factory=Properties, hash=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.outputs, Properties):
            object.__setattr__(self, "outputs", Properties(self.outputs))
