# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WQL data queries: ``select ... from class where ...`` (Win32 documentation, "WQL (SQL for WMI)")."""

from __future__ import annotations

import dataclasses
import datetime
import operator
import re
import typing as t

from ..cim import CimClass, CimError, CimValue, Instance, Property
from .values import integer_range

WBEM_E_INVALID_QUERY = 0x80041017

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<number>-?\d+(?:\.\d+)?)(?![\w.])
    | (?P<word>[A-Za-z_]\w*)
    | (?P<sign><=|>=|<>|!=|=|<|>|\(|\)|,|\*)
    )""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, t.Callable[[t.Any, t.Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_DMTF = re.compile(r"(\d{14})\.(\d{6})([+-])(\d{3})")

Predicate = t.Callable[[t.Mapping[str, CimValue]], bool]


def invalid(text: str) -> CimError:
    """The error of a query that WMI cannot read, or that names a column that the class does not have."""
    return CimError(WBEM_E_INVALID_QUERY, f"Invalid query: {text}")


@dataclasses.dataclass(frozen=True)
class Query:
    """A query that has been read but not yet bound to a class; ``columns`` is None for ``*``."""

    columns: tuple[str, ...] | None
    class_name: str
    condition: t.Any

    def bind(self, cim_class: CimClass) -> BoundQuery:
        """Checks the names against the class; raises CimError for an unknown column."""
        if self.columns is not None:
            for column in self.columns:
                _find(cim_class, column)
        columns = None if self.columns is None else frozenset(column.lower() for column in self.columns)
        predicate = _predicate(self.condition, cim_class) if self.condition else None
        return BoundQuery(columns, predicate)


@dataclasses.dataclass(frozen=True)
class BoundQuery:
    """``columns`` in lower case, None for all."""

    columns: frozenset[str] | None
    predicate: Predicate | None

    def select(self, instances: t.Iterable[Instance]) -> list[Instance]:
        if self.predicate is None:
            return list(instances)
        return [instance for instance in instances if self.predicate(instance.values)]


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        return self.kind == "sign" and self.text in signs


_END = _Token("end", "")


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise invalid(f"at {text[position:][:20]!r}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def _unquote(literal: str) -> str:
    text = literal[1:-1]
    if re.search(r"(?<!\\)(?:\\\\)*\\(?![\\'\"])", text):  # a backslash is doubled (about_WQL)
        raise invalid(f"single backslash in {literal}")
    return re.sub(r"\\(.)", r"\1", text)


class _Parser:
    """Recursive descent: or-terms of and-terms of factors."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._position = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._position] if self._position < len(self._tokens) else _END

    def _take(self) -> _Token:
        token = self._next
        self._position += 1
        return token

    def _expect(self, accepted: bool) -> _Token:
        if not accepted:
            raise invalid(f"at {self._next.text or 'its end'!r}")
        return self._take()

    def query(self) -> Query:
        self._expect(self._next.is_word("select"))
        columns = self._columns()
        self._expect(self._next.is_word("from"))
        class_name = self._expect(self._next.kind == "word").text
        condition = None
        if self._next.is_word("where"):
            self._take()
            condition = self._or()
        self._expect(self._next is _END)
        return Query(columns, class_name, condition)

    def _columns(self) -> tuple[str, ...] | None:
        if self._next.is_sign("*"):
            self._take()
            return None
        columns = [self._expect(self._next.kind == "word").text]
        while self._next.is_sign(","):
            self._take()
            columns.append(self._expect(self._next.kind == "word").text)
        return tuple(columns)

    def _or(self) -> t.Any:
        terms = [self._and()]
        while self._next.is_word("or"):
            self._take()
            terms.append(self._and())
        return terms[0] if len(terms) == 1 else ("or", terms)

    def _and(self) -> t.Any:
        terms = [self._factor()]
        while self._next.is_word("and"):
            self._take()
            terms.append(self._factor())
        return terms[0] if len(terms) == 1 else ("and", terms)

    def _factor(self) -> t.Any:
        if self._next.is_word("not"):
            self._take()
            return ("not", self._factor())
        if self._next.is_sign("("):
            self._take()
            inner = self._or()
            self._expect(self._next.is_sign(")"))
            return inner
        return self._comparison()

    def _comparison(self) -> t.Any:
        column = self._expect(self._next.kind == "word").text
        if self._next.is_word("is"):
            self._take()
            sign = "="
            if self._next.is_word("not"):
                self._take()
                sign = "<>"
            self._expect(self._next.is_word("null"))
            return ("null", column, sign)
        if self._next.is_word("like"):
            self._take()
            return ("like", column, _unquote(self._expect(self._next.kind == "string").text))
        sign = self._expect(self._next.is_sign(*_COMPARISONS)).text
        return self._operand(column, sign)

    def _operand(self, column: str, sign: str) -> t.Any:
        token = self._expect(self._next.kind in ("string", "number") or self._next.is_word("null", "true", "false"))
        if token.is_word("null"):
            if sign not in ("=", "<>", "!="):
                raise invalid(f"{column} {sign} null")
            return ("null", column, sign)
        literal = _unquote(token.text) if token.kind == "string" else token.text
        return ("compare", column, sign, literal, token.kind)


def parse(text: str) -> Query:
    """Reads a query; raises CimError (WBEM_E_INVALID_QUERY)."""
    return _Parser(text).query()


def _find(cim_class: CimClass, column: str) -> Property:
    prop = cim_class.find_property(column)
    if prop is None:
        raise invalid(f"{cim_class.name} has no property {column}")
    return prop


def _predicate(condition: t.Any, cim_class: CimClass) -> Predicate:
    kind = condition[0]
    if kind in ("or", "and"):
        parts = [_predicate(part, cim_class) for part in condition[1]]
        combine = any if kind == "or" else all
        return lambda values: combine(part(values) for part in parts)
    if kind == "not":
        inner = _predicate(condition[1], cim_class)
        return lambda values: not inner(values)
    prop = _find(cim_class, condition[1])
    if kind == "null":
        wanted = condition[2] == "="
        return lambda values: (values.get(prop.name) is None) == wanted
    if prop.array:
        raise invalid(f"{prop.name} is an array")
    if kind == "like":
        return _like(prop, condition[2])
    return _compare(prop, condition[2], _literal(prop, condition[3], condition[4]))


def _compare(prop: Property, sign: str, wanted: t.Any) -> Predicate:
    compare = _COMPARISONS[sign]
    fold = prop.type == "string"

    def test(values: t.Mapping[str, CimValue]) -> bool:
        value = values.get(prop.name)
        if value is None:
            return False
        return compare(value.lower() if fold else value, wanted)

    return test


def _like(prop: Property, pattern: str) -> Predicate:
    if prop.type != "string":
        raise invalid(f"{prop.name} is no string")
    parts = []
    for piece in re.findall(r"\[\^?[^\]]*\]|.", pattern, re.DOTALL):
        if piece == "%":
            parts.append(".*")
        elif piece == "_":
            parts.append(".")
        elif len(piece) > 2 and piece.startswith("["):
            parts.append(
                f"[{'^' if piece[1] == '^' else ''}{re.escape(piece[1:-1].lstrip('^')).replace(chr(92) + '-', '-')}]"
            )
        else:
            parts.append(re.escape(piece))
    compiled = re.compile("".join(parts), re.IGNORECASE | re.DOTALL)
    return lambda values: values.get(prop.name) is not None and compiled.fullmatch(values[prop.name]) is not None


def _literal(prop: Property, text: str, kind: str) -> t.Any:
    """The literal as the property's type, or the error of a query that compares what cannot be compared."""
    if prop.type == "string":
        if kind != "string":
            raise invalid(f"{prop.name} is a string")
        return text.lower()
    if prop.type == "datetime":
        return _dmtf_datetime(text)
    if prop.type == "boolean":
        if text.lower() not in ("true", "false", "1", "0", "-1"):
            raise invalid(f"{prop.name} is a boolean")
        return text.lower() not in ("false", "0")
    try:
        return int(text) if integer_range(prop.type) else float(text)
    except ValueError as exc:
        raise invalid(f"{prop.name} is a number") from exc


def _dmtf_datetime(text: str) -> datetime.datetime:
    """``yyyymmddHHMMSS.mmmmmm+UUU``, the offset in minutes (DSP0004, 5.2.4)."""
    match = _DMTF.fullmatch(text)
    if match is None:
        raise invalid(f"{text!r} is no CIM datetime")
    minutes = int(match[4]) * (1 if match[3] == "+" else -1)
    try:
        moment = datetime.datetime.strptime(f"{match[1]}.{match[2]}", "%Y%m%d%H%M%S.%f")
    except ValueError as exc:
        raise invalid(f"{text!r} is no CIM datetime") from exc
    return moment.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=minutes)))
