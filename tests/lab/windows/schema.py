# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIM classes as each build of Windows has them, made from ``classes.yml``."""

from __future__ import annotations

import functools
import re
import typing as t

from lab.cim import CimClass, Method, Property
from lab.windows.data import load_table

#: Namespaces that exist everywhere; root/StandardCimv2 came with Windows 8 and Server 2012.
_NAMESPACES = {"root": 0, "root/cimv2": 0, "root/default": 0, "root/standardcimv2": 9200}

#: Namespaces that a role of the server brings, by the feature that a machine has then.
_FEATURES = {"root/microsoftdns": "dns_server"}

_METHOD = re.compile(
    r"^(?P<name>\w+)\((?P<inputs>[^)]*)\)(?: -> (?P<outputs>\w+ [\w\[\]]+(?:, \w+ [\w\[\]]+)*))?(?P<flags>.*)$"
)

Catalogue = dict[tuple[str, str], CimClass]


def _in_build(flags: list[str], build: int) -> bool:
    limits = dict(flag.split("=") for flag in flags if flag.startswith(("since=", "until=")))
    return int(limits.get("since", 0)) <= build <= int(limits.get("until", 10**9))


def _parse_property(line: str, build: int) -> Property | None:
    name, cim_type, *flags = line.split()
    if not _in_build(flags, build):
        return None
    return Property(name, cim_type, array="array" in flags, key="key" in flags, required="required" in flags)


def _parse_parameters(text: str | None) -> tuple[Property, ...]:
    pairs = [part.split() for part in (text or "").split(",") if part.strip()]
    return tuple(Property(name, cim_type.removesuffix("[]"), array=cim_type.endswith("[]")) for name, cim_type in pairs)


def _parse_method(line: str, build: int) -> Method | None:
    match = _METHOD.match(line)
    if match is None:
        raise ValueError(f"bad method line in classes.yml: {line}")
    flags = match["flags"].split()
    if not _in_build(flags, build):
        return None
    inputs, outputs = _parse_parameters(match["inputs"]), _parse_parameters(match["outputs"])
    return Method(match["name"], inputs, outputs, static="static" in flags, returns="void" not in flags)


@functools.cache
def _table() -> dict[str, t.Any]:
    return load_table("classes.yml")


@functools.cache
def catalogue(build: int, features: frozenset[str] = frozenset()) -> Catalogue:
    """The classes of a build, by lower-case namespace and class name. Shared by all machines of that build.

    ``features`` are the roles that bring classes of their own.
    """
    found: Catalogue = {}
    for name, row in _table().items():
        if row.get("since", 0) > build or row.get("feature", "") not in {"", *features}:
            continue
        properties = tuple(p for line in row["properties"] if (p := _parse_property(line, build)))
        methods = tuple(m for line in row.get("methods", ()) if (m := _parse_method(line, build)))
        for namespace in row["namespaces"]:
            cim_class = CimClass(namespace, name, properties, methods, singleton=row.get("singleton", False))
            found[namespace.lower(), name.lower()] = cim_class
    return found


def has_namespace(namespace: str, build: int, features: frozenset[str] = frozenset()) -> bool:
    """Whether a build of Windows with these roles has the namespace (any case, slashes or backslashes)."""
    name = namespace.replace("\\", "/").lower()
    since = _NAMESPACES.get(name)
    return _FEATURES.get(name) in features or (since is not None and since <= build)


@functools.cache
def _reading_methods() -> frozenset[tuple[str, str]]:
    return frozenset(
        (name.lower(), line.split("(")[0].lower())
        for name, row in _table().items()
        for line in row.get("methods", ())
        if "write=no" in line.split()
    )


def is_write(cim_class: CimClass, method: Method) -> bool:
    """Whether a method may change the machine; unknown methods count as writes."""
    return (cim_class.name.lower(), method.name.lower()) not in _reading_methods()
