# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a role for many machines at once, checked by the role's own argument spec."""

from __future__ import annotations

import difflib
import functools
import json
import os
import re
import typing as t
from collections.abc import Callable, Iterable, Mapping

import yaml
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import parse_nameserver
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import domain_of_term
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.approval import ApprovedHosts, as_list
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey, ProductKeyError
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import DEFAULT_PORT
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_client import KEEP
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.plan_key import CLIENT_SETUP
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import SRV_NUMBER_MAX
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.settings import CLIENT_SETTINGS, HOST_SETTINGS

from .fleet_filter import plain
from .spec import SpecValidator

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ROLES = os.path.join(os.path.dirname(__file__), "..", "..", "..", "roles")

#: What a spec cannot say: the lowest and the highest of a number.
RANGES = {
    **{f"kms_host_{row.option}": (row.minimum, row.maximum) for row in HOST_SETTINGS if row.maximum is not None},
    **{f"kms_client_{row.option}": (row.minimum, row.maximum) for row in CLIENT_SETTINGS if row.maximum is not None},
    "kms_host_srv_priority": (0, SRV_NUMBER_MAX),
    "kms_host_srv_weight": (0, SRV_NUMBER_MAX),
    "kms_host_verify_retries": (0, 10_000),
    "kms_host_verify_delay": (0, 3_600),
    "kms_verify_timeout": (0.1, 60),
    "kms_verify_event_hours": (1, 8_760),
    "kms_steer_retries": (0, 10_000),
    "kms_steer_delay": (0, 3_600),
    "kms_convert_retries": (0, 10_000),
    "kms_convert_delay": (0, 3_600),
    "kms_convert_max_fail_percentage": (0, 100),
    "kms_convert_report_max_age": (1, 8_760),
    "kms_retire_retries": (0, 10_000),
    "kms_retire_delay": (0, 3_600),
    "kms_dns_timeout": (0.1, 60),
    "kms_dns_tcp_timeout": (0.1, 600),
}

#: Lists of names, and what refuses one of them: found out later, it would be after machines were changed.
NAMES: Mapping[str, Callable[[str], object]] = {
    "kms_host_nameservers": parse_nameserver,
    "kms_verify_nameservers": parse_nameserver,
    "kms_convert_nameservers": parse_nameserver,
    "kms_approved_hosts": lambda name: ApprovedHosts.of([name]),
    "kms_domains": domain_of_term,
}

#: The entry points whose variables users set. What is required of them is given by the playbooks.
ENTRY_POINTS = {"kms_verify": ("main", "read")}

#: The types of argument specs in words that do not need Python to be understood.
TYPES: Mapping[str, str] = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "path": "a path",
    "str": "text",
}

_TEMPLATE_STARTS = ("{{", "{%")

Machines = Mapping[str, Mapping[str, t.Any]]


def default_of(name: str) -> t.Any:
    """Return the default that a role's spec gives a variable; the role is the beginning of its name.

    Raises ValueError for a variable that is none of a role, or has no fixed default.
    """
    role = "_".join(name.split("_")[:2])
    if not os.path.isdir(os.path.join(_ROLES, role)):
        raise ValueError(f"{name} is no variable of a role")
    option = _spec_of(role)[0].get(name, {})
    if "default" not in option:
        raise ValueError(f"{name} has no default in the role {role}")
    return option["default"]


def role_problems(role: str, machines: Machines) -> tuple[list[str], list[str]]:
    """Return what is wrong with the variables of machines, and what is doubtful, each said once for all of them."""
    spec = _spec_of(role)[0]
    validator = SpecValidator(spec)
    wrong: dict[str, list[str]] = {}
    doubtful: dict[str, list[str]] = {}
    for name, variables in machines.items():
        for text in _problems(role, name, spec, validator, variables):
            wrong.setdefault(text, []).append(name)
        for text in role_notes(role, variables):
            doubtful.setdefault(text, []).append(name)
    return [_line(*item) for item in wrong.items()], [_line(*item) for item in doubtful.items()]


def _line(text: str, names: list[str]) -> str:
    named = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{named}: {text}"


def _spec_of(role: str) -> tuple[dict[str, dict[str, t.Any]], set[str]]:
    """What a role takes from its user, and the names of all of its variables."""
    with open(os.path.join(_ROLES, role, "meta", "argument_specs.yml"), encoding="utf-8") as file:
        document = yaml.load(file, Loader=_LOADER)
    entries: dict[str, dict[str, t.Any]] = document["argument_specs"]
    options = {
        name: option
        for entry in ENTRY_POINTS.get(role, ("main",))
        for name, option in entries[entry]["options"].items()
        if not option.get("required")
    }
    return options, {name for entry in entries.values() for name in entry.get("options", ())}


@functools.cache
def _variables_of_roles() -> frozenset[str]:
    """The variables of all roles."""
    roles = (name for name in os.listdir(_ROLES) if os.path.isdir(os.path.join(_ROLES, name)))
    return frozenset(name for role in roles for name in _spec_of(role)[1])


def _problems(
    role: str, name: str, spec: Mapping[str, t.Any], validator: SpecValidator, variables: Mapping[str, t.Any]
) -> list[str]:
    provided: dict[str, t.Any] = {}
    problems = []
    for option, argument in spec.items():
        try:
            value = _filled_in(variables.get(option))
            if value is not None:  # null is what is not given
                provided[option] = value
        except Exception as error:  # a template that cannot be filled in
            why = "" if argument.get("no_log") else f": {error}"
            problems.append(f"{option} cannot be worked out{why}")
    problems += _invalid(spec, validator, provided)
    problems += [text for option, value in provided.items() if (text := _out_of_range(option, value))]
    if role == "kms_host" and not problems:
        problems += _undeclarable(name, provided)
    problems += [text for option, check in NAMES.items() for text in _refused(option, check, provided.get(option))]
    paths = [option for option, argument in spec.items() if argument.get("type") == "path"]
    problems += [text for option in paths if (text := _unwritable(option, provided.get(option)))]
    return list(dict.fromkeys(problems + _key_problems(provided)))


def _undeclarable(name: str, provided: Mapping[str, t.Any]) -> list[str]:
    try:
        host = declare(name, provided)
    except ValueError as error:
        return [str(error)]
    if provided.get("kms_host_firewall") in (None, "") or not boolean(provided["kms_host_firewall"], strict=False):
        return []
    if host.port == DEFAULT_PORT:
        return []
    return [
        f"kms_host_firewall: the predefined rules are fixed to TCP {DEFAULT_PORT}; for port {host.port} set it to false"
        " and open that port with a rule of your own"
    ]


def _filled_in(value: t.Any) -> t.Any:
    """The value with every template in it filled in. Raises what Ansible raises for an undefined variable.

    Since ansible-core 2.19 an undefined variable is a value that raises only when it is used; before, hostvars hand out
    the template itself. No variable of a role has any business with braces otherwise.
    """
    if isinstance(value, Mapping):
        return {key: _filled_in(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled_in(item) for item in value]
    if any(start in str(value) for start in _TEMPLATE_STARTS):
        raise ValueError(f"nothing is known that its template could be filled in with: {value}")
    return value


def _invalid(spec: Mapping[str, t.Any], validator: SpecValidator, provided: dict[str, t.Any]) -> list[str]:
    """What the spec refuses. A message about a secret could repeat it, so it says only that."""
    messages: list[str] = validator.validate(provided).error_messages
    secrets = {option for option, argument in spec.items() if argument.get("no_log")}
    problems = []
    for option, value in provided.items():
        own = [text for text in messages if re.search(rf"\b{option}\b", text)]
        if own and option in secrets:
            problems.append(f"{option} is not of the type that it must have")
        elif isinstance(value, list) and None in value:
            problems.append(f"{option} has an entry that is empty (null)")
        elif any("unable to convert" in text for text in own):
            problems.append(f"{option} is to be {_kind(spec[option])}, not {_shown(value)}")
        else:
            problems += own
    return problems


def _kind(argument: Mapping[str, t.Any]) -> str:
    """The type of an argument in words."""
    elements = TYPES.get(argument.get("elements", ""), "")
    return TYPES.get(argument.get("type", "str"), "something else") + (f", each entry {elements}" if elements else "")


def _shown(value: t.Any) -> str:
    """A value as a user would write it. Plain text first: Ansible tags its own, which no JSON takes."""
    return json.dumps(plain(value), default=str)


def _out_of_range(option: str, value: t.Any) -> str:
    lowest, highest = RANGES.get(option, (None, None))
    try:
        number = float(value)
    except (TypeError, ValueError):
        return ""  # the spec has said so
    if lowest is None or highest is None or lowest <= number <= highest:
        return ""
    return f"{option}: {value} is out of range, it accepts {lowest} to {highest}"


def _unwritable(option: str, value: t.Any) -> str:
    """Why a file on the controller cannot be written, which would else be found out when all is done."""
    if not value or not isinstance(value, str):
        return ""
    path = os.path.abspath(os.path.expanduser(value))
    folder = os.path.dirname(path)
    if os.path.isdir(path):
        return f"{option}: {value} is a folder; name a file"
    if not os.path.isdir(folder):
        return f"{option}: there is no folder {folder} on the controller"
    return "" if os.access(path if os.path.exists(path) else folder, os.W_OK) else f"{option}: {path} cannot be written"


def _refused(option: str, check: Callable[[str], object], value: t.Any) -> list[str]:
    """What refuses the names of a list; a value that is no list, nor a name alone, was refused by the spec."""
    problems = []
    for name in () if isinstance(value, Mapping) else as_list(value):
        try:
            check(name)
        except ValueError as error:
            problems.append(f"{option}: {error}")
    return problems


def _key_problems(provided: Mapping[str, t.Any]) -> list[str]:
    problems = []
    for option in ("kms_host_product_key", "kms_client_product_key"):
        key = provided.get(option)
        if (
            not isinstance(key, str)
            or not key
            or (option == "kms_client_product_key" and key.strip().lower() in (CLIENT_SETUP, KEEP))
        ):
            continue
        try:
            ProductKey(key)
        except ProductKeyError as error:
            problems.append(f"{option}: {error}")
    return problems


def role_notes(role: str, variables: Iterable[str]) -> list[str]:
    """Return which variables look much like one of the role, but are none, nor one of another role."""
    others = [str(name) for name in variables if name.startswith("kms_") and name not in _variables_of_roles()]
    near = [(name, _nearest(role, name)) for name in others]
    return [f"{name} is no variable of the role {role}; is {match} meant?" for name, match in near if match]


@functools.cache
def _nearest(role: str, name: str) -> str:
    """The variable of a role that a name looks much like, "" for none; many machines have the same names."""
    return next(iter(difflib.get_close_matches(name, _spec_of(role)[1], n=1, cutoff=0.85)), "")
