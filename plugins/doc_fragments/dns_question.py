# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How DNS is asked, the same in every plugin that does."""

from __future__ import annotations


class ModuleDocFragment:
    """Options of the lookup and of the inventory plugin; C(plugin_utils/_dns/query.py) has them as QueryOptions."""

    DOCUMENTATION = r"""
options:
  nameservers:
    description:
      - DNS servers to ask, in turn until one knows.
      - Each is an V(address), an V(address:port), a V([v6]:port), or a host name with or without a port.
      - Without this the servers that the controller's own resolver is configured with.
    type: list
    elements: str
    default: []
    env:
      - name: FLEETOPS_KMS_NAMESERVERS
    ini:
      - section: fleetops_kms
        key: nameservers
    vars:
      - name: kms_nameservers
  port:
    description: The port of a server in O(nameservers) that names none, and of authoritative servers.
    type: int
    default: 53
    env:
      - name: FLEETOPS_KMS_DNS_PORT
    ini:
      - section: fleetops_kms
        key: dns_port
    vars:
      - name: kms_dns_port
  tcp:
    description: Ask by TCP at once. Otherwise TCP is used only where an answer is too long for UDP.
    type: bool
    default: false
    env:
      - name: FLEETOPS_KMS_DNS_TCP
    ini:
      - section: fleetops_kms
        key: dns_tcp
    vars:
      - name: kms_dns_tcp
  timeout:
    description:
      - Seconds that one server is given for one question by UDP, repetitions included, or to take a connection by TCP.
    type: float
    default: 2.0
    env:
      - name: FLEETOPS_KMS_DNS_TIMEOUT
    ini:
      - section: fleetops_kms
        key: dns_timeout
    vars:
      - name: kms_dns_timeout
  tcp_timeout:
    description:
      - Seconds that one server is given for its answer by TCP. The values of a few hundred machines take it.
    type: float
    default: 10.0
    env:
      - name: FLEETOPS_KMS_DNS_TCP_TIMEOUT
    ini:
      - section: fleetops_kms
        key: dns_tcp_timeout
    vars:
      - name: kms_dns_tcp_timeout
  lifetime:
    description: Seconds after which no further server is asked the same question.
    type: float
    default: 6.0
    env:
      - name: FLEETOPS_KMS_DNS_LIFETIME
    ini:
      - section: fleetops_kms
        key: dns_lifetime
    vars:
      - name: kms_dns_lifetime
  retries:
    description: How often an unanswered UDP question is sent again to the same server, spread over O(timeout).
    type: int
    default: 1
    env:
      - name: FLEETOPS_KMS_DNS_RETRIES
    ini:
      - section: fleetops_kms
        key: dns_retries
    vars:
      - name: kms_dns_retries
  authoritative:
    description:
      - Ask the servers of the zone itself. They are found through O(nameservers) or the controller's own resolver.
      - A resolver remembers a record until its TTL ends, and a missing one often for an hour. Use this after a change.
    type: bool
    default: false
    vars:
      - name: kms_dns_authoritative
"""
