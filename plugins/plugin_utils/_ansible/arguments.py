# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module's arguments, from the options of its documentation: they are written once, in plugins/modules/<name>.yml."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

import yaml

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey, ProductKeyError
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import DEFAULT_PORT

from .spec import SpecValidator

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MODULES = os.path.join(os.path.dirname(__file__), "..", "..", "modules")

#: Of an option's documentation: what an argument spec knows, too.
_SPEC_KEYS = ("type", "required", "default", "choices", "elements", "aliases")

#: What the documentation's schema cannot say: options that are never to be logged.
SECRETS = {"product_key", "confirmation_id", "tsig_secret"}


class InvalidArguments(Exception):
    """Arguments that are refused before anything is sent; the text names the option and what it accepts."""


@dataclasses.dataclass(frozen=True)
class Range:
    """What numbers an option accepts; the rows of the settings tables say it in the same words."""

    option: str
    minimum: int
    maximum: int


class Arguments:
    """The argument spec of one module. Made once, when the action plugin is loaded."""

    def __init__(self, module: str, *, ranges: t.Sequence[t.Any] = ()) -> None:
        self._ranges = ranges
        with open(os.path.join(_MODULES, f"{module}.yml"), encoding="utf-8") as file:
            document = yaml.load(file, Loader=_LOADER)
        self.spec = _spec(document["DOCUMENTATION"].get("options") or {})
        self._validator = SpecValidator(self.spec)

    def validate(self, given: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """The arguments with their types and defaults; an option that was not given is None."""
        result = self._validator.validate(given)
        if result.unsupported_parameters:
            unknown = ", ".join(
                sorted(
                    ".".join(map(str, name)) if isinstance(name, tuple) else str(name)
                    for name in result.unsupported_parameters
                )
            )
            raise InvalidArguments(f"unknown option {unknown}; there are: {', '.join(self.spec)}")
        if result.error_messages:
            raise InvalidArguments("; ".join(result.error_messages))
        arguments: dict[str, t.Any] = _plain(result.validated_parameters)
        for row in self._ranges:
            _check_range(row, arguments.get(row.option))
        return arguments


def _plain(value: t.Any) -> t.Any:
    """The value without the tags that ansible-core 2.19 and later hang on it: they are subclasses of str and int, which
    for instance a YAML dump refuses."""
    if isinstance(value, dict):
        return {str.__str__(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _spec(options: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    return {name: _argument(name, option) for name, option in options.items()}


def _argument(name: str, option: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    argument = {key: option[key] for key in _SPEC_KEYS if key in option}
    argument.setdefault("type", "str")
    argument["no_log"] = name in SECRETS
    if "suboptions" in option:
        argument["options"] = _spec(option["suboptions"])
    return argument


def _check_range(row: t.Any, value: t.Any) -> None:
    if value is None or row.minimum is None or row.maximum is None:
        return
    if not row.minimum <= value <= row.maximum:
        raise InvalidArguments(f"{row.option}: {value} is out of range, it accepts {row.minimum} to {row.maximum}")


def given(arguments: t.Mapping[str, t.Any], rows: t.Iterable[t.Any]) -> dict[str, t.Any]:
    """The settings that the user gave, by option: what is left out is left alone."""
    found = {row.option: arguments[row.option] for row in rows if arguments.get(row.option) is not None}
    for row in rows:
        problem = getattr(row, "problem", None)
        wrong = problem(found[row.option]) if problem and row.option in found else ""
        if wrong:
            raise InvalidArguments(f"{row.option}: {found[row.option]!r} is refused, {wrong}")
    return found


def product_key(text: str | None, *, keywords: tuple[str, ...] = ()) -> ProductKey | str | None:
    """A product key, or one of the words that may stand for one; None when nothing was given."""
    if text is None:
        return None
    word = text.strip().lower()
    if word in keywords:
        return word
    try:
        return ProductKey(text)
    except ProductKeyError as error:
        words = f", or one of: {', '.join(keywords)}" if keywords else ""
        raise InvalidArguments(f"product_key: {error} (it accepts a product key{words})") from None


def confirmation_id(text: str | None) -> str:
    """A confirmation ID without the blanks and dashes that people write into it; empty when none was given."""
    digits = re.sub(r"[\s-]", "", text or "")
    if digits and not (digits.isdigit() and digits.isascii()):
        raise InvalidArguments("confirmation_id: it accepts digits only, with or without blanks and dashes")
    return digits


def host_and_port(option: str, text: str | None) -> tuple[str, int] | None:
    """``name``, ``name:port``, ``[v6]`` or ``[v6]:port`` as name and port; None when nothing was given."""
    if not text:
        return None
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(?::(\d{1,5}))?", text.strip())
    port = int(match.group(2) or DEFAULT_PORT) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise InvalidArguments(f"{option}: it accepts a name or an address, with or without :port (1 to 65535)")
    return match.group(1), port
