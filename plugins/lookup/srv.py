# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The KMS hosts that DNS names, domain by domain."""

from __future__ import annotations

DOCUMENTATION = r"""
name: srv
author:
  - The fleetops.kms contributors (@fleetops)
short_description: The KMS hosts that DNS names for a domain
version_added: 0.1.0
description:
  - Asks DNS for the C(_vlmcs._tcp) SRV records by which Windows clients find their KMS host, for many domains at once.
  - The question goes from the controller to DNS. Nothing is changed and no Windows machine is asked.
  - A client asks the records of the lowest priority first. Within it the weight says how often each one is asked first.
extends_documentation_fragment:
  - fleetops.kms.dns_question
options:
  _terms:
    description:
      - Domains, such as V(corp.example.com). The full name, V(_vlmcs._tcp.corp.example.com), is the same.
      - A domain that is named twice is asked for once.
    type: list
    elements: str
    required: true
  on_missing:
    description:
      - What to do for a domain that has no record, that is where DNS answers "no such name" or "no such data".
      - V(empty) returns no record for it, V(error) fails.
    type: str
    choices: [empty, error]
    default: empty
  on_error:
    description:
      - What to do for a domain that DNS gives no useful answer for, such as a time-out, a refusal, a failing server, a
        malformed answer, or the target V(.) by which a domain says that it decidedly has no such service.
      - V(fail) fails and names each domain, its server and the reason. V(warn) warns, and returns the other domains.
      - V(return) returns an item of C(domain), C(nameserver), C(outcome) and C(error) beside the records.
    type: str
    choices: [fail, warn, return]
    default: fail
  all_nameservers:
    description:
      - Ask every server, not just until one knows. Each record then carries the C(nameserver) that it came from.
      - This shows whether a change has reached every server of a zone, together with O(authoritative).
      - A server without the record returns nothing for it. Use O(on_missing=error) to be told.
    type: bool
    default: false
  resolve:
    description: Find the addresses of each target too. Each record then carries C(addresses).
    type: bool
    default: false
  resolve_targets:
    description:
      - With O(resolve), find the addresses of these targets only. Records of others carry no C(addresses).
      - Without it all are looked up, which is two questions for each machine that has become a KMS host.
    type: list
    elements: str
notes:
  - Use C(query), or C(lookup) with C(wantlist=true), to get a list even where there is just one record.
  - Values that come from DNS are never treated as templates.
requirements:
  - dnspython >= 2.6.1 (on the controller)
seealso:
  - plugin: fleetops.kms.published
    plugin_type: test
  - plugin: fleetops.kms.srv_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show who serves the clients of two domains
  ansible.builtin.debug:
    msg: "{{ query('fleetops.kms.srv', 'corp.example.com', 'branch.example.net') | fleetops.kms.srv_table }}"

- name: Prove that every server of the zone sends clients to the primary first
  ansible.builtin.assert:
    that: >-
      query('fleetops.kms.srv', 'corp.example.com', authoritative=true, all_nameservers=true, on_missing='error')
      is fleetops.kms.published(wanted)
  vars:
    wanted:
      - {domain: corp.example.com, target: kms1.corp.example.com, port: 1688, priority: 10, weight: 100}
      - {domain: corp.example.com, target: kms2.corp.example.com, port: 1688, priority: 20, weight: 100}

- name: Ask two domain controllers, one of them on a port of its own
  ansible.builtin.debug:
    msg: "{{ query('fleetops.kms.srv', 'corp.example.com', nameservers=['192.0.2.10', '[2001:db8::10]:5353']) }}"
"""

RETURN = r"""
_list:
  description:
    - The records, in the order of the domains as given, then of priority, weight (the heaviest first), target and port.
  type: list
  elements: dict
  contains:
    domain:
      description: The domain, in lower case and without a final dot.
      type: str
      sample: corp.example.com
    target:
      description: The KMS host, in lower case and without a final dot.
      type: str
      sample: kms1.corp.example.com
    port:
      description: The port on which the host listens.
      type: int
      sample: 1688
    priority:
      description: The SRV priority. The lowest is asked first.
      type: int
      sample: 10
    weight:
      description: The SRV weight, relative to the others of the same priority.
      type: int
      sample: 100
    ttl:
      description: Seconds for which the record may be remembered.
      type: int
      sample: 3600
    share:
      description: The fraction of the domain's clients that ask this record first, from 0 to 1.
      type: float
      sample: 1.0
    nameserver:
      description: The server that the record came from.
      type: str
      returned: with O(all_nameservers)
      sample: 192.0.2.10
    addresses:
      description: The addresses of the target, none if it has none. Null if DNS gave no useful answer about them.
      type: list
      elements: str
      returned: with O(resolve)
      sample: [192.0.2.21]
    outcome:
      description: In place of a record, what became of the question, such as V(servfail) or V(timeout).
      type: str
      returned: with O(on_error=return), for a domain that DNS gave no useful answer for
      sample: servfail
    error:
      description: The same as a sentence, with the server.
      type: str
      returned: with O(on_error=return), for a domain that DNS gave no useful answer for
      sample: "192.0.2.10 failed to find an answer (SERVFAIL): its own servers or the zone are at fault"
"""

from collections.abc import Iterable
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.exchange import Outcome
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import Unanswered
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.query import (
    DNSPYTHON_IMPORT_ERROR,
    Answer,
    QueryOptions,
    query_srv,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import normalise_name, shares

display = Display()

_QUERY_OPTIONS = (
    ("port", "tcp", "timeout", "tcp_timeout", "lifetime", "retries", "authoritative")
    + ("all_nameservers", "resolve")
)  # fmt: skip


class LookupModule(LookupBase):
    """Ask DNS, then apply the user's policy to what did not answer."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the records of all domains as one list."""
        if DNSPYTHON_IMPORT_ERROR:
            raise AnsibleLookupError(missing_required_lib("dnspython >= 2.6.1")) from DNSPYTHON_IMPORT_ERROR
        # Ansible ignores a keyword that no option has, so that a misspelled one would silently do nothing.
        unknown = sorted(set(kwargs) - set(self.option_definitions))
        if unknown:
            known = ", ".join(sorted(set(self.option_definitions) - {"_terms"}))
            raise AnsibleLookupError(f"fleetops.kms.srv has no option {', '.join(unknown)}; it has {known}")
        self.set_options(var_options=variables, direct=kwargs)
        targets = self.get_option("resolve_targets")
        try:
            options = QueryOptions(
                nameservers=tuple(self.get_option("nameservers")),
                resolve_targets=None if targets is None else frozenset(map(normalise_name, targets)),
                **{name: self.get_option(name) for name in _QUERY_OPTIONS},
            )
            answers = query_srv(_domains(terms), options)
        except ValueError as error:
            raise AnsibleLookupError(f"fleetops.kms.srv: {error}") from error
        self._apply_policies(answers)
        told = self.get_option("on_error") == "return"
        return [
            item for answer in answers for item in (*_records(answer, options), *(_failure(answer) if told else ()))
        ]

    def _apply_policies(self, answers: Iterable[Answer]) -> None:
        """Fail for the answers that must not be passed over, all in one message, and warn of the others."""
        fatal: list[str] = []
        for answer in answers:
            if answer.outcome is Outcome.ANSWERED:
                continue
            if answer.outcome.is_missing:
                if self.get_option("on_missing") == "error":
                    fatal.append(answer.message)
            elif self.get_option("on_error") == "fail":
                fatal.append(answer.message)
            elif self.get_option("on_error") == "warn":
                display.warning(f"fleetops.kms.srv: {answer.message}")
        if fatal:
            raise AnsibleLookupError(f"DNS did not give the SRV records that were asked for: {'; '.join(fatal)}")


def _domains(terms: Iterable[Any]) -> Iterable[str]:
    """Return the terms as one flat list. Raises ValueError for what is no text."""
    for term in terms:
        if isinstance(term, str):
            yield term
        elif isinstance(term, (list, tuple)):
            yield from _domains(term)
        else:
            raise ValueError(f"a domain is expected, not {term!r}")


def _failure(answer: Answer) -> Iterable[dict[str, Any]]:
    """Return the reason why DNS gave no useful answer, as users see it; none when it did."""
    if answer.outcome is not Outcome.ANSWERED and not answer.outcome.is_missing:
        server = str(answer.nameserver or "")
        yield Unanswered(answer.domain, server, answer.outcome.value, answer.reason).as_dict()


def _records(answer: Answer, options: QueryOptions) -> Iterable[dict[str, Any]]:
    """Return the records of an answer as users see them."""
    for record, share in zip(answer.records, shares(answer.records), strict=True):
        result = {**record.as_dict(), "share": share}
        if options.all_nameservers:
            result["nameserver"] = str(answer.nameserver)
        if options.resolve and (options.resolve_targets is None or record.target in options.resolve_targets):
            found = answer.addresses.get(record.target, ())
            result["addresses"] = list(found) if found or record.target not in answer.unresolved else None
        yield result
