# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Publish lists in one spelling, and the SRV records that they make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.machine import DEFAULT_PORT
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.publish import (
    PublishEntry,
    format_entry,
    normalise,
)


def _entries(publish: Any) -> tuple[PublishEntry, ...]:
    """Return a publish list as entries; one entry alone is a list too."""
    if isinstance(publish, (str, Mapping)):
        publish = [publish]
    if not isinstance(publish, Iterable):
        raise AnsibleFilterError(f"a publish list is expected, not {publish!r}")
    try:
        return normalise(publish)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from error


def publish_list(publish: Any) -> list[str]:
    """Return a publish list as the text that a KMS host keeps."""
    return [format_entry(entry) for entry in _entries(publish)]


def publish_entries(publish: Any) -> list[dict[str, Any]]:
    """Return a publish list as dictionaries."""
    return [{"domain": entry.domain, "priority": entry.priority, "weight": entry.weight} for entry in _entries(publish)]


def wanted_records(publish: Any, fqdn: str, port: int = DEFAULT_PORT) -> list[dict[str, Any]]:
    """Return the SRV records that a host of this name makes of its publish list."""
    try:
        return [
            SrvRecord(entry.domain, fqdn, port, entry.priority, entry.weight).as_dict() for entry in _entries(publish)
        ]
    except (ValueError, AttributeError) as error:
        raise AnsibleFilterError(f"fleetops.kms.wanted_records: {error}") from error


class FilterModule:
    """Hand the filters to Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names."""
        return {"publish_entries": publish_entries, "publish_list": publish_list, "wanted_records": wanted_records}
