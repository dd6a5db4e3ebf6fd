# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which TCP ports can be reached from the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: reachable
author:
  - The fleetops.kms contributors (@fleetops)
short_description: Which KMS hosts can be reached by TCP from the controller
version_added: 0.1.0
description:
  - Opens a TCP connection to each endpoint, all at once, and closes it. Nothing is sent.
  - That a port can be reached from the controller does not prove that every client can reach it.
options:
  _terms:
    description: Endpoints, each a dictionary with C(address) and perhaps C(port). Other keys are handed through.
    type: list
    elements: dict
    required: true
  port:
    description: The port of an endpoint that names none.
    type: int
    default: 1688
  timeout:
    description: Seconds that one endpoint is given.
    type: float
    default: 3.0
seealso:
  - plugin: fleetops.kms.srv
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Show which KMS hosts answer
  ansible.builtin.debug:
    msg: "{{ query('fleetops.kms.reachable', endpoints) }}"
  vars:
    endpoints:
      - {address: kms1.corp.example.com}
      - {address: 192.0.2.22, port: 1689}
"""

RETURN = r"""
_list:
  description: The endpoints in the order given.
  type: list
  elements: dict
  contains:
    address:
      description: The address or name.
      type: str
    port:
      description: The port.
      type: int
    reachable:
      description: Whether a connection could be opened.
      type: bool
    error:
      description: Why not, else empty.
      type: str
"""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

_AT_ONCE = 32


class LookupModule(LookupBase):
    """Try every endpoint."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the endpoints with what came of them."""
        unknown = sorted(set(kwargs) - {"port", "timeout"})
        if unknown:
            raise AnsibleLookupError(f"fleetops.kms.reachable has no option {', '.join(unknown)}; it has port, timeout")
        self.set_options(var_options=variables, direct=kwargs)
        endpoints = [self._endpoint(term) for item in terms for term in (item if isinstance(item, list) else [item])]
        timeout = self.get_option("timeout")
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            errors = list(pool.map(lambda endpoint: _error(endpoint["address"], endpoint["port"], timeout), endpoints))
        return [
            {**endpoint, "reachable": not error, "error": error}
            for endpoint, error in zip(endpoints, errors, strict=True)
        ]

    def _endpoint(self, term: Any) -> dict[str, Any]:
        if not isinstance(term, Mapping) or not term.get("address"):
            raise AnsibleLookupError(
                f"fleetops.kms.reachable: an endpoint is a dictionary with an address, not {term!r}"
            )
        return {**term, "address": str(term["address"]), "port": int(term.get("port") or self.get_option("port"))}


def _error(address: str, port: int, timeout: float) -> str:
    """Why no connection could be opened; empty when one could."""
    try:
        with socket.create_connection((address, port), timeout=timeout):
            return ""
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except (OSError, UnicodeError) as error:
        return (getattr(error, "strerror", None) or str(error)).lower()
