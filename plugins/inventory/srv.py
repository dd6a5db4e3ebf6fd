# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The machines that DNS names as KMS hosts, approved or not, as an inventory."""

from __future__ import annotations

DOCUMENTATION = r"""
name: srv
author:
  - The fleetops.kms contributors (@fleetops)
short_description: The machines that DNS names as KMS hosts
version_added: 0.1.0
description:
  - Asks DNS for the C(_vlmcs._tcp) SRV records by which Windows clients find their KMS host, for many domains at once,
    and makes a host of each target. A target that several domains name is one host.
  - A host is in the group C(kms_approved) when O(approved_hosts) names it, else in C(kms_rogue).
    A host for which DNS has no address is in C(kms_stale) too. Each domain has a group of its hosts, such as
    C(kms_domain_corp_example_com). The first three groups are there even when they are empty.
  - The question goes from the controller to DNS. Nothing is changed and no Windows machine is asked.
  - The file must be named C(kms_srv.yml) or C(<anything>.kms_srv.yml), or the same with C(.yaml).
extends_documentation_fragment:
  - constructed
  - inventory_cache
  - fleetops.kms.dns_question
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [fleetops.kms.srv]
  domains:
    description:
      - Domains to ask for, such as V(corp.example.com). The full name, V(_vlmcs._tcp.corp.example.com), is the same.
    type: list
    elements: str
    required: true
  approved_hosts:
    description:
      - The KMS hosts that are meant to be ones, by their full names in DNS, such as V(kms1.corp.example.com).
      - A name may hold wildcards, as in V(kms?.corp.example.com) or V(*.kms.example.com). V(*) also stands for dots.
      - Refused are a short name, which no name in DNS is, and V(*) alone, as then there would be no rogues.
      - An empty list says that every KMS host in these domains is a rogue.
    type: list
    elements: str
    required: true
    vars:
      - name: kms_approved_hosts
  zone_transfer:
    description:
      - Also have each of O(domains) transferred as a zone, to find the subdomains of it that have such records too.
      - The transfer is asked of O(nameservers). Without them, or with O(authoritative), it is asked of the servers of
        the zone itself, which have to allow it to this controller.
      - A zone that no server transfers gives a warning. Its own records are found all the same.
      - Zones that are delegated out of a zone are not part of it. Name them in O(domains).
    type: bool
    default: false
  zone_transfer_timeout:
    description:
      - Seconds for the transfer of one zone from one server. It takes about a second for every 10,000 records.
    type: float
    default: 120.0
  tsig_name:
    description: The name of the TSIG key that a zone transfer is signed with, where its server asks for one.
    type: str
    env:
      - name: FLEETOPS_KMS_TSIG_NAME
    vars:
      - name: kms_dns_tsig_name
  tsig_secret:
    description: The secret of the key O(tsig_name), in base64.
    type: str
    env:
      - name: FLEETOPS_KMS_TSIG_SECRET
    vars:
      - name: kms_dns_tsig_secret
  tsig_algorithm:
    description: The algorithm of the key O(tsig_name).
    type: str
    choices: [hmac-sha1, hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
    default: hmac-sha256
    env:
      - name: FLEETOPS_KMS_TSIG_ALGORITHM
    vars:
      - name: kms_dns_tsig_algorithm
  on_error:
    description:
      - What to do for a domain that DNS gives no useful answer for, such as a time-out, a refusal, a failing server or
        a malformed answer. A domain without a record is no error.
      - V(fail_if_all) warns and goes on with the others, but fails when there is no other. V(fail) fails at the first
        one. V(warn) always goes on.
      - Each warning names the domain and its server.
    type: str
    choices: [fail_if_all, fail, warn]
    default: fail_if_all
notes:
  - "Each host has these variables. C(kms_srv): the records that name it, a list of C(domain), C(priority), C(weight),
    C(port) and C(ttl). C(kms_srv_domains): their domains. C(kms_approved): whether O(approved_hosts) names it.
    C(kms_resolves): whether DNS has an address for it, null when no server would say."
  - "Who may write to a zone decides which names come out of it. A target that is no plain host name (letters, digits,
    hyphens, and underscores inside a label, with at least two labels) is told in a warning and left out. Values from
    DNS are never treated as templates. Ansible signs in to the machines that the names lead to: use Kerberos or checked
    TLS certificates with hosts that are not approved."
  - Ansible goes on without an inventory that failed, unless C(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) is set.
  - C(ansible_host) is left alone. Set it with O(compose) where a host is to be reached by another name.
  - The cache keeps what DNS said. O(approved_hosts) and the constructed options work on it at each run. It is
    not kept while a domain does not answer or a zone is not transferred, and not used when O(domains) or another
    option of the question has changed.
requirements:
  - dnspython >= 2.6.1 (on the controller)
seealso:
  - plugin: fleetops.kms.srv
    plugin_type: lookup
"""

EXAMPLES = r"""
# rogues.kms_srv.yml: who is a KMS host in these domains, and who is meant to be one
plugin: fleetops.kms.srv
domains:
  - corp.example.com
  - branch.example.net
approved_hosts:
  - kms1.corp.example.com
  - kms2.corp.example.com

---
# Subdomains that nobody knows of, from a domain controller that allows the transfer; what it said is kept for an hour
plugin: fleetops.kms.srv
domains: [corp.example.com]
nameservers: [dc1.corp.example.com]
approved_hosts: ["kms?.corp.example.com"]
zone_transfer: true
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/fleetops_kms
cache_timeout: 3600

---
# Rogues that outrank every approved host, by domain; reached by WinRM
plugin: fleetops.kms.srv
domains: [corp.example.com, branch.example.net]
approved_hosts: [kms1.corp.example.com]
strict: true
compose:
  ansible_connection: "'winrm'"
  kms_first: kms_srv | map(attribute='priority') | min == 0
groups:
  kms_urgent: kms_resolves and not kms_approved and kms_srv | selectattr('priority', 'equalto', 0)
keyed_groups:
  - key: kms_srv | map(attribute='port') | unique | list
    prefix: kms_port
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.group import to_safe_group_name
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.approved import ApprovedHosts
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.exchange import Outcome
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.hostnames import why_no_domain, why_no_host
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.query import (
    DNSPYTHON_IMPORT_ERROR,
    Answer,
    QueryOptions,
    query_srv,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import NO_TARGET, SrvRecord
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.transfer import Transfer, find_domains
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.tsig import tsig_key

try:
    from ansible.utils.unsafe_proxy import wrap_var
except ImportError:  # where text is no template unless it is tagged as one, nothing needs wrapping

    def wrap_var(value: Any) -> Any:
        """Return the value."""
        return value


_SUFFIXES = ("kms_srv.yml", "kms_srv.yaml")
_QUERY_OPTIONS = ("port", "tcp", "timeout", "tcp_timeout", "lifetime", "retries", "authoritative")
_ASKED_OPTIONS = ("domains", "nameservers", "zone_transfer", *_QUERY_OPTIONS)
_APPROVED = "kms_approved"
_ROGUE = "kms_rogue"
_STALE = "kms_stale"


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Ask DNS or the cache, then make hosts of the targets."""

    NAME = "fleetops.kms.srv"

    def verify_file(self, path: str) -> bool:
        """Tell whether the file is one of this plugin, by its name."""
        name = PurePath(path).name
        named = name in _SUFFIXES or name.endswith(tuple(f".{suffix}" for suffix in _SUFFIXES))
        if not named:
            self.display.debug(f"{self.NAME}: {path} is not named *.{_SUFFIXES[0]} or *.{_SUFFIXES[1]}")
        return bool(named and super().verify_file(path))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory from a configuration file."""
        super().parse(inventory, loader, path, cache)
        if DNSPYTHON_IMPORT_ERROR:
            raise AnsibleParserError(missing_required_lib("dnspython >= 2.6.1")) from DNSPYTHON_IMPORT_ERROR
        self._refuse_unknown(self._read_config_data(path))
        self._approved = self._approved_hosts()
        said = self._cached_or_asked(path, cache)
        for warning in said["warnings"]:
            self._warn(warning)
        self._populate([SrvRecord.from_mapping(record) for record in said["records"]], said["resolves"])

    def _refuse_unknown(self, config: Mapping[str, Any]) -> None:
        """Refuse what Ansible would pass over: a mistyped option, and no domain at all."""
        unknown = sorted(set(map(str, config)) - set(self.option_definitions))
        if unknown:
            raise AnsibleParserError(f"{self.NAME}: {', '.join(unknown)}: unknown option (ansible-doc -t inventory)")
        if not self.get_option("domains"):
            raise AnsibleParserError(f"{self.NAME}: domains: name at least one domain")

    def _approved_hosts(self) -> ApprovedHosts:
        """Return who is approved, by the rules of the roles; nobody, where the list says so by being empty."""
        patterns = self.get_option("approved_hosts")
        try:
            return ApprovedHosts.of(patterns) if patterns else ApprovedHosts(())
        except ValueError as error:
            raise AnsibleParserError(f"{self.NAME}: approved_hosts: {error}") from error

    def _cached_or_asked(self, path: str, cache: bool) -> dict[str, Any]:
        """Return what DNS says, as plain JSON; ``cache`` is false when the user wants the cache to be renewed."""
        keeps = self.get_option("cache")
        key = self.get_cache_key(path)
        asked = self._fingerprint()
        if keeps and cache:
            kept = self._cache.get(key)
            if kept and kept.get("asked") == asked:
                return dict(kept)
        said = {"asked": asked, **self._ask()}
        if keeps and said["complete"]:
            self._cache[key] = said
        return said

    def _fingerprint(self) -> str:
        """Return what stands for the question, so that the answer to another one is not taken for its answer."""
        asked = [1, *(str(self.get_option(name)) for name in _ASKED_OPTIONS)]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _ask(self) -> dict[str, Any]:
        """Ask DNS. ``complete`` tells whether every domain has answered, and every zone was transferred."""
        try:
            options = QueryOptions(
                nameservers=tuple(self.get_option("nameservers")),
                resolve=True,
                **{name: self.get_option(name) for name in _QUERY_OPTIONS},
            )
            transfers = self._transfers(options)
            warnings = [transfer.message for transfer in transfers if not transfer.nameserver]
            is_whole = not warnings
            answers = query_srv([*self.get_option("domains"), *_found(transfers, warnings)], options)
        except ValueError as error:
            raise AnsibleParserError(f"{self.NAME}: {error}") from error
        broken = [answer for answer in answers if not _is_useful(answer)]
        lost = [answer for answer in broken if not answer.records]
        self._fail_if_wanted(broken, nothing=len(lost) == len(answers))
        unresolved = {name: why for answer in answers for name, why in answer.unresolved.items()}
        warnings += [answer.message for answer in broken]
        warnings += [
            f"whether {name} has an address is not known: {why}"
            for name, why in sorted(unresolved.items())
            if why_no_host(name) is None
        ]
        return {
            "records": [record.as_dict() for answer in answers for record in answer.records],
            "resolves": _resolves(answers),
            "warnings": warnings,
            "complete": is_whole and not lost,
        }

    def _transfers(self, options: QueryOptions) -> tuple[Transfer, ...]:
        """Return what zone transfers tell, if they are wanted."""
        if not self.get_option("zone_transfer"):
            return ()
        domains, timeout = self.get_option("domains"), self.get_option("zone_transfer_timeout")
        transfers = find_domains(domains, options, timeout, self._tsig_key())
        for transfer in transfers:
            self.display.vv(f"{self.NAME}: {transfer.message}")
        return transfers

    def _tsig_key(self) -> Any:
        """Return the key of zone transfers, None without one. Raises ValueError for half a key."""
        name, secret = self.get_option("tsig_name"), self.get_option("tsig_secret")
        if bool(name) != bool(secret):
            raise ValueError("tsig_name and tsig_secret belong together")
        return tsig_key(name, secret, self.get_option("tsig_algorithm")) if name else None

    def _fail_if_wanted(self, broken: list[Answer], nothing: bool) -> None:
        """Fail for what did not answer, in one message, when the user's policy is to; ``nothing``: no domain did."""
        policy = self.get_option("on_error")
        if broken and (policy == "fail" or (policy == "fail_if_all" and nothing)):
            reasons = "; ".join(answer.message for answer in broken)
            raise AnsibleParserError(f"{self.NAME}: DNS did not give the SRV records that were asked for: {reasons}")

    def _populate(self, records: Iterable[SrvRecord], resolves: Mapping[str, bool | None]) -> None:
        """Make a host of each target that is the name of a machine."""
        for group in (_APPROVED, _ROGUE, _STALE):
            self.inventory.add_group(group)
        by_target: dict[str, list[SrvRecord]] = {}
        for record in sorted(records, key=lambda record: record.sort_key):
            if record.target != NO_TARGET:
                by_target.setdefault(record.target, []).append(record)
        for target, named_by in sorted(by_target.items()):
            why = why_no_host(target)
            if why is None:
                self._add_host(target, named_by, resolves.get(target))
            else:
                domains = ", ".join(dict.fromkeys(record.domain for record in named_by))
                self._warn(f"{domains}: the SRV target {target!r} is left out, as it is no host name: {why}")

    def _add_host(self, name: str, records: list[SrvRecord], resolves: bool | None) -> None:
        """Add a host with its variables and groups."""
        approved = name in self._approved
        domains = list(dict.fromkeys(record.domain for record in records))
        variables = {
            "kms_srv": [
                {key: value for key, value in record.as_dict().items() if key != "target"} for record in records
            ],
            "kms_srv_domains": domains,
            "kms_approved": approved,
            "kms_resolves": resolves,
        }
        self.inventory.add_host(name)
        for variable, value in variables.items():
            self.inventory.set_variable(name, variable, wrap_var(value))
        groups = [_APPROVED if approved else _ROGUE, *map(_domain_group, domains)]
        for group in [*groups, _STALE] if resolves is False else groups:
            self.inventory.add_host(name, group=self.inventory.add_group(group))
        self._construct(name)

    def _construct(self, name: str) -> None:
        """Apply the constructed options to a host."""
        strict = self.get_option("strict")
        variables = self.inventory.get_host(name).get_vars()
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        variables = self.inventory.get_host(name).get_vars()
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)

    def _warn(self, text: str) -> None:
        self.display.warning(f"{self.NAME}: {text}")


def _is_useful(answer: Answer) -> bool:
    """Whether DNS told of a domain: its records, or that it has none. "Decidedly not available" tells that too."""
    return answer.outcome in (Outcome.ANSWERED, Outcome.NOT_AVAILABLE) or answer.outcome.is_missing


def _resolves(answers: Iterable[Answer]) -> dict[str, bool | None]:
    """Return whether each target has an address; None where no server would say."""
    return {
        target: True if addresses else (None if target in answer.unresolved else False)
        for answer in answers
        for target, addresses in answer.addresses.items()
    }


def _found(transfers: Iterable[Transfer], warnings: list[str]) -> Iterable[str]:
    """Return the domains that transfers tell of; what is none is added to the warnings."""
    for transfer in transfers:
        for domain in transfer.domains:
            why = why_no_domain(domain)
            if why is None:
                yield domain
            else:
                warnings.append(f"{transfer.zone}: {domain!r} in it is left out, as it is no domain: {why}")


def _domain_group(domain: str) -> str:
    """Return the name of the group of a domain's hosts."""
    return str(to_safe_group_name(f"kms_domain_{domain}", force=True, silent=True))
