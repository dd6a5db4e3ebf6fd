# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether DNS sends clients to the wanted KMS hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import findings_of


def published(records: Any, wanted: Any) -> bool:
    """Return whether ``records`` satisfy ``wanted``, at each name server where they say which they came from."""
    try:
        return not any(finding.breaks for _nameserver, finding in findings_of(records, wanted))
    except ValueError as error:
        raise AnsibleFilterError(f"fleetops.kms.published: {error}") from error


class TestModule:
    """Hand the test to Ansible."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Return the test by its name."""
        return {"published": published}
