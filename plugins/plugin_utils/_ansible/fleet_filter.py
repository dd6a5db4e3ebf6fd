# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the filters over a whole fleet share: how they fail, and where the roles keep what they read of a machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.reading import Reading, reading_of

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # where text is no template unless it is tagged as one, nothing needs wrapping

    def wrap_var(value: Any) -> Any:
        """Return the value."""
        return value


#: The variables in which a machine's reading, and what turned it into a client, are kept during a run.
READ = "_kms_verify_read"
CONVERTED = "_kms_convert_result"

#: Of a reading, what a conversion does not change and does not read.
_LASTING = ("search_domains",)

Filter = Callable[..., Any]


def fleet_filter(function: Filter) -> Filter:
    """Make a filter of a function: a ValueError is the user's, and text from machines or DNS is never a template."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return wrap_var(function(*args, **kwargs))
        except ValueError as error:
            raise AnsibleFilterError(f"fleetops.kms.{function.__name__}: {error}") from error

    return run


def reading(hostvars: Mapping[str, Any], name: str) -> Reading:
    """Return what was read of a machine of the inventory. A machine's variables are worked out at each call."""
    return reading_of(name, hostvars[name].get(READ))


def newest(variables: Mapping[str, Any]) -> Any:
    """Return the newest result that shows a machine: of its conversion, where that went well, or of its reading.

    Once a machine is converted nothing of it but its publish list changes. A conversion ends by reading all again.
    """
    read, converted = variables.get(READ), variables.get(CONVERTED)
    if not isinstance(converted, Mapping) or "verified" not in converted or not isinstance(read, Mapping):
        return read
    before, kms = read.get("kms") or {}, converted.get("kms") or {}
    return {"kms": {**kms, **{name: before.get(name) for name in _LASTING}}}


def plain(value: Any) -> Any:
    """Return data without what Ansible hangs on it: lazy containers and tagged values."""
    if isinstance(value, Mapping):
        return {str.__str__(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str.__str__(value) if isinstance(value, str) else value
