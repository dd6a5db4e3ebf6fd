# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup srv: what its options do, and how it tells of what did not answer."""

from __future__ import annotations

from typing import Any

import dns.rcode
import pytest
from ansible import constants
from ansible.errors import AnsibleError
from unit.dns.loopback_dns import rcode, running, zones
from unit.plugins.plugin_options import options_of

from ansible_collections.fleetops.kms.plugins.lookup import srv
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.mappings import addresses_of

NAME = "fleetops.kms.srv"
CORP = (
    "corp.example.com.",
    "_vlmcs._tcp SRV 20 100 1688 kms3\n_vlmcs._tcp SRV 10 100 1688 kms2\n_vlmcs._tcp SRV 10 300 1688 KMS1\n"
    "kms1 A 192.0.2.1\n_vlmcs._tcp.closed SRV 0 0 0 .\n",
)
BRANCH = ("branch.example.net.", "_vlmcs._tcp SRV 0 0 1688 kms1.corp.example.com.\n")


@pytest.fixture(scope="module", autouse=True)
def _options_are_known() -> None:
    """Do what the plugin loader does before it makes a plugin."""
    constants.config.initialize_plugin_configuration_definitions("lookup", NAME, options_of(srv, "lookup"))


def look_up(*terms: Any, variables: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
    plugin = srv.LookupModule()
    plugin._load_name = NAME
    return plugin.run(list(terms), variables, **options)


def test_flat_list_in_order_with_shares() -> None:
    with running(zones(CORP, BRANCH)) as server:
        found = look_up("corp.example.com", ["_vlmcs._tcp.branch.example.net."], nameservers=[server.entry])
    assert found[0] == {
        "domain": "corp.example.com",
        "target": "kms1.corp.example.com",
        "port": 1688,
        "priority": 10,
        "weight": 300,
        "ttl": 3600,
        "share": 0.75,
    }
    assert [(record["domain"], record["target"], record["share"]) for record in found[1:]] == [
        ("corp.example.com", "kms2.corp.example.com", 0.25),
        ("corp.example.com", "kms3.corp.example.com", 0),
        ("branch.example.net", "kms1.corp.example.com", 1),
    ]


def test_missing_domain_is_empty_unless_it_is_an_error() -> None:
    with running(zones(CORP)) as server:
        assert look_up("none.corp.example.com", nameservers=[server.entry]) == []
        with pytest.raises(AnsibleError, match="none.corp.example.com") as error:
            look_up("none.corp.example.com", "corp.example.com", nameservers=[server.entry], on_missing="error")
    assert server.entry in str(error.value)
    assert "NXDOMAIN" in str(error.value)


@pytest.mark.parametrize("on_missing", ["empty", "error"])
def test_refusal_is_an_error_whatever_a_missing_name_is(on_missing: str) -> None:
    with running(rcode(dns.rcode.REFUSED)) as server, pytest.raises(AnsibleError, match="REFUSED") as error:
        look_up("corp.example.com", nameservers=[server.entry], on_missing=on_missing)
    assert server.entry in str(error.value)


def test_all_failures_are_told_in_one_message() -> None:
    with running(zones(CORP)) as server, pytest.raises(AnsibleError) as error:
        look_up("a.example.org", "corp.example.com", "closed.corp.example.com", nameservers=[server.entry])
    assert "a.example.org: " in str(error.value)
    assert "closed.corp.example.com: " in str(error.value)
    assert "decidedly" in str(error.value)


def test_warning_lets_the_other_domains_through(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(srv.display, "warning", warnings.append)
    with running(zones(BRANCH)) as server:
        found = look_up("corp.example.com", "branch.example.net", nameservers=[server.entry], on_error="warn")
    assert [record["domain"] for record in found] == ["branch.example.net"]
    assert len(warnings) == 1
    assert "corp.example.com" in warnings[0]
    assert server.entry in warnings[0]


def test_a_domain_without_an_answer_can_be_returned_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(srv.display, "warning", warnings.append)
    with running(zones(BRANCH)) as server:
        asked = ("corp.example.com", "branch.example.net", "none.branch.example.net")
        lost, found = look_up(*asked, nameservers=[server.entry], on_error="return")
    assert (lost["domain"], lost["nameserver"], lost["outcome"]) == ("corp.example.com", server.entry, "refused")
    assert server.entry in lost["error"]
    assert found["target"] == "kms1.corp.example.com"
    assert warnings == []


def test_records_of_all_servers_carry_them_and_have_their_own_shares() -> None:
    with running(zones(CORP)) as first, running(zones(CORP)) as second:
        found = look_up("corp.example.com", nameservers=[first.entry, second.entry], all_nameservers=True)
    assert [record["nameserver"] for record in found] == [first.entry] * 3 + [second.entry] * 3
    assert [record["share"] for record in found] == [0.75, 0.25, 0] * 2


def test_addresses() -> None:
    with running(zones(CORP)) as server:
        found = look_up("corp.example.com", nameservers=[server.entry], resolve=True)
        assert [record["addresses"] for record in found] == [["192.0.2.1"], [], []]
        one = ["KMS1.corp.example.com."]
        found = look_up("corp.example.com", nameservers=[server.entry], resolve=True, resolve_targets=one)
    assert [record.get("addresses") for record in found] == [["192.0.2.1"], None, None]


def test_addresses_that_dns_does_not_tell_are_not_known_which_is_not_none() -> None:
    targets = "_vlmcs._tcp SRV 0 0 1688 web\n_vlmcs._tcp SRV 1 0 1688 silent.example.org.\n"
    with running(zones(("corp.example.com.", targets))) as server:
        found = look_up("corp.example.com", nameservers=[server.entry], resolve=True)
    assert [record["addresses"] for record in found] == [[], None]
    assert addresses_of(found) == {"web.corp.example.com": []}


def test_options_from_variables_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(zones(CORP)) as server:
        assert look_up("corp.example.com", variables={"kms_nameservers": [server.entry]})
        monkeypatch.setenv("FLEETOPS_KMS_NAMESERVERS", f"{server.entry},[::1]:{server.port}")
        assert look_up("corp.example.com", tcp=True)
        assert [by_tcp for _name, _type, by_tcp, _edns in server.questions] == [False, True]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"nameserver": ["192.0.2.1"]}, "has no option nameserver; it has .*nameservers"),
        ({"nameservers": ["192.0.2.1:x"]}, "no name server"),
        ({"timeout": 0}, "above 0"),
        ({"retries": -1}, "retries"),
        ({"on_error": "ignore"}, "on_error"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(AnsibleError, match=text):
        look_up("corp.example.com", **options)


@pytest.mark.parametrize("term", ["", "a..b", ".", 7, None, {"domain": "a"}])
def test_what_is_no_domain_is_refused(term: Any) -> None:
    with pytest.raises(AnsibleError, match="fleetops.kms.srv: "):
        look_up(term, nameservers=["192.0.2.1"])


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srv, "DNSPYTHON_IMPORT_ERROR", ImportError("no dns"))
    with pytest.raises(AnsibleError, match="dnspython"):
        look_up("corp.example.com")
