# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory srv: hosts, variables and groups of what DNS says, and what becomes of what it should not say."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.tsig
import pytest
import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from hypothesis import given
from hypothesis import strategies as st
from unit.dns.loopback_dns import Handler, Message, rcode, running, zones
from unit.plugins.plugin_options import options_of

from ansible_collections.fleetops.kms.plugins.inventory import srv
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.hostnames import why_no_domain, why_no_host

NAME = "fleetops.kms.srv"
CORP = (
    "corp.example.com.",
    "_vlmcs._tcp SRV 10 100 1688 KMS1\n_vlmcs._tcp SRV 0 0 1688 web07\n_vlmcs._tcp SRV 0 0 1688 gone\n"
    "kms1 A 192.0.2.1\nweb07 AAAA 2001:db8::7\n"
    "_vlmcs._tcp.lab SRV 0 0 1689 web07\n_VLMCS._TCP.deep.lab SRV 5 0 1688 kms1\n_vlmcs._tcp.none SRV 0 0 1688 .\n",
)
BRANCH = ("branch.example.net.", "_vlmcs._tcp SRV 20 50 1688 kms1.corp.example.com.\n")


@dataclass
class Parsed:
    """An inventory as it came out of the plugin."""

    data: InventoryData
    warnings: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> set[str]:
        return set(self.data.hosts)

    def vars(self, host: str) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.data.hosts[host].get_vars().items()
            if name.startswith(("kms_", "ansible_"))
        }

    @property
    def groups(self) -> dict[str, set[str]]:
        return {
            name: {host.name for host in group.hosts}
            for name, group in self.data.groups.items()
            if name not in ("all", "ungrouped")
        }


@pytest.fixture(scope="module", autouse=True)
def _options_are_known() -> None:
    """Do what the plugin loader does before it makes a plugin."""
    constants.config.initialize_plugin_configuration_definitions("inventory", NAME, options_of(srv, "inventory"))


class Inventory:
    """One configuration file, parsed as often as wanted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "test.kms_srv.yml"

    def parse(self, refresh: bool = False, **options: Any) -> Parsed:
        content = {"plugin": NAME, "approved_hosts": ["kms1.corp.example.com"], "retries": 0, **options}
        self.path.write_text(yaml.safe_dump(content), encoding="utf-8")
        plugin = srv.InventoryModule()
        plugin._load_name = NAME
        plugin._redirected_names = [NAME]
        parsed = Parsed(InventoryData())
        ignore = types.SimpleNamespace(warning=parsed.warnings.append, vv=len, vvv=len, debug=len)
        plugin.display = ignore
        plugin.parse(parsed.data, DataLoader(), str(self.path), cache=not refresh)
        if options.get("cache"):
            plugin.update_cache_if_changed()
        parsed.data.reconcile_inventory()
        return parsed


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return Inventory(tmp_path)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"domains": []}, "domains"), ({"domains": ["x.example"], "nameserver": ["::1"]}, "nameserver:")],
)
def test_a_mistyped_option_and_no_domain_are_refused(inventory: Inventory, options: dict[str, Any], word: str) -> None:
    with pytest.raises(AnsibleError, match=word):
        inventory.parse(**options)


def test_targets_of_all_domains_are_hosts_with_their_records(inventory: Inventory) -> None:
    with running(zones(CORP, BRANCH)) as server:
        found = inventory.parse(domains=["corp.example.com", "branch.example.net"], nameservers=[server.entry])
    assert found.vars("kms1.corp.example.com") == {
        "kms_srv": [
            {"domain": "branch.example.net", "priority": 20, "weight": 50, "port": 1688, "ttl": 3600},
            {"domain": "corp.example.com", "priority": 10, "weight": 100, "port": 1688, "ttl": 3600},
        ],
        "kms_srv_domains": ["branch.example.net", "corp.example.com"],
        "kms_approved": True,
        "kms_resolves": True,
    }
    assert found.groups == {
        "kms_approved": {"kms1.corp.example.com"},
        "kms_rogue": {"web07.corp.example.com", "gone.corp.example.com"},
        "kms_stale": {"gone.corp.example.com"},
        "kms_domain_corp_example_com": {
            "kms1.corp.example.com",
            "web07.corp.example.com",
            "gone.corp.example.com",
        },
        "kms_domain_branch_example_net": {"kms1.corp.example.com"},
    }
    assert found.vars("gone.corp.example.com")["kms_resolves"] is False
    assert found.warnings == []


@pytest.mark.parametrize(
    ("approved", "expected"),
    [
        ([], set()),
        (["KMS1.corp.example.com."], {"kms1.corp.example.com"}),
        (["kms?.corp.example.com", "web*"], {"kms1.corp.example.com", "web07.corp.example.com"}),
        (["KMS1.Corp.*."], {"kms1.corp.example.com"}),
    ],
)
def test_approved_hosts_are_names_or_globs(inventory: Inventory, approved: list[str], expected: set[str]) -> None:
    with running(zones(CORP)) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], approved_hosts=approved)
    assert found.groups["kms_approved"] == expected
    assert found.groups["kms_rogue"] == found.hosts - expected


@pytest.mark.parametrize("approved", [["*"], ["*.*"], ["kms1"], ["kms1.corp.example.com", "?*"]])
def test_approval_follows_the_rules_of_the_roles(inventory: Inventory, approved: list[str]) -> None:
    """One pattern would approve every rogue, the other nobody: the real host would land among the rogues."""
    with running(zones(CORP)) as server, pytest.raises(AnsibleError, match="approved_hosts"):
        inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], approved_hosts=approved)


def test_approved_hosts_have_to_be_said(inventory: Inventory) -> None:
    with pytest.raises(AnsibleError, match="approved_hosts"):
        inventory.parse(domains=["corp.example.com"], approved_hosts=None)


def test_broken_domain_is_told_and_the_others_stay(inventory: Inventory) -> None:
    with running(zones(BRANCH)) as server:
        found = inventory.parse(domains=["broken.example.org", "branch.example.net"], nameservers=[server.entry])
    assert found.hosts == {"kms1.corp.example.com"}
    told = [warning for warning in found.warnings if "broken.example.org" in warning]
    assert len(told) == 1
    assert server.entry in told[0]
    assert "REFUSED" in told[0]


def test_address_that_no_server_would_tell_is_not_called_stale(inventory: Inventory) -> None:
    with running(zones(BRANCH)) as server:
        found = inventory.parse(domains=["branch.example.net"], nameservers=[server.entry])
    assert found.vars("kms1.corp.example.com")["kms_resolves"] is None
    assert found.groups["kms_stale"] == set()
    assert any("kms1.corp.example.com" in warning and "REFUSED" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("on_error", "domains", "fails"),
    [
        ("fail_if_all", ["corp.example.com", "broken.example.org"], False),
        ("fail_if_all", ["broken.example.org"], True),
        ("fail", ["corp.example.com", "broken.example.org"], True),
        ("warn", ["broken.example.org"], False),
        ("fail", ["empty.corp.example.com"], False),
    ],
)
def test_when_a_broken_domain_fails(inventory: Inventory, on_error: str, domains: list[str], fails: bool) -> None:
    with running(zones(CORP)) as server:
        options = {"domains": domains, "nameservers": [server.entry], "on_error": on_error}
        if not fails:
            assert isinstance(inventory.parse(**options), Parsed)
            return
        with pytest.raises(AnsibleError, match="broken.example.org") as error:
            inventory.parse(**options)
        assert server.entry in str(error.value)


HOSTILE = [
    "{{7*191}}.example.com.",
    "-oProxyCommand.example.com.",
    "all.",
    "localhost.",
    "a.localhost.",
    "127.0.0.1.",
    "kms_rogue.",
    "_tcp.example.com.",
    "a\\032b.example.com.",
    "a\\010b.example.com.",
    "a\\..example.com.",
    "web[1\\0582].example.com.",
    "\\000" * 40 + ".example.com.",
    "trailing-.example.com.",
    "\\195\\169.example.com.",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_target_is_left_out_and_told_while_its_neighbours_stay(inventory: Inventory, target: str) -> None:
    zone = (
        "corp.example.com.",
        f"_vlmcs._tcp SRV 0 0 1688 {target}\n_vlmcs._tcp SRV 0 0 1688 kms1\nkms1 A 192.0.2.1\n",
    )
    with running(zones(zone)) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry])
    assert found.hosts == {"kms1.corp.example.com"}
    assert any("corp.example.com" in warning and "no " in warning for warning in found.warnings)
    assert all(warning.isascii() and warning.isprintable() for warning in found.warnings)


def test_service_that_is_decidedly_not_available_is_no_host(inventory: Inventory) -> None:
    zone = (
        "corp.example.com.",
        "_vlmcs._tcp SRV 0 0 0 .\n_vlmcs._tcp.odd SRV 0 0 0 .\n_vlmcs._tcp.odd SRV 1 0 1 kms1\n",
    )
    with running(zones(zone)) as server:
        found = inventory.parse(domains=["corp.example.com", "odd.corp.example.com"], nameservers=[server.entry])
    assert found.hosts == {"kms1.corp.example.com"}
    assert found.warnings == []


def test_zone_transfer_finds_unknown_subdomains(inventory: Inventory) -> None:
    with running(zones(CORP, transfers=True)) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], zone_transfer=True)
    assert found.groups["kms_domain_lab_corp_example_com"] == {"web07.corp.example.com"}
    assert found.groups["kms_domain_deep_lab_corp_example_com"] == {"kms1.corp.example.com"}
    assert found.vars("web07.corp.example.com")["kms_srv_domains"] == ["corp.example.com", "lab.corp.example.com"]
    assert found.warnings == []


def test_zone_transfer_is_asked_of_the_servers_of_the_zone(inventory: Inventory) -> None:
    """The one given server knows the zone's own, listens where they do, and does not transfer itself."""
    corp = (CORP[0], CORP[1] + "@ NS dc\ndc A 127.0.0.2\n")
    with (
        running(zones(corp, transfers=True), "127.0.0.2") as own,
        running(zones(corp), "127.0.0.1", own.port) as given,
    ):
        found = inventory.parse(
            domains=["corp.example.com"],
            nameservers=[given.entry],
            port=own.port,
            zone_transfer=True,
            authoritative=True,
        )
    assert "kms_domain_lab_corp_example_com" in found.groups
    assert found.warnings == []


def test_refused_transfer_is_told_and_loses_nothing_else(inventory: Inventory) -> None:
    with running(zones(CORP, BRANCH)) as server:
        found = inventory.parse(
            domains=["corp.example.com", "branch.example.net"], nameservers=[server.entry], zone_transfer=True
        )
    assert len(found.hosts) == 3
    told = [warning for warning in found.warnings if "transfer" in warning]
    assert len(told) == 2
    assert all(server.entry in warning and "REFUSED" in warning for warning in told)


def test_transfer_of_what_is_no_zone_is_told_so(inventory: Inventory) -> None:
    with running(zones(CORP, transfers=True)) as server:
        found = inventory.parse(domains=["lab.corp.example.com"], nameservers=[server.entry], zone_transfer=True)
    assert found.hosts == {"web07.corp.example.com"}
    assert any("has no zone of that name" in warning for warning in found.warnings)


def _truncating(handler: Handler) -> Handler:
    """A server whose transfers lack the SOA record at their end."""

    def handle(query: Message, by_tcp: bool) -> Message | bytes | None:
        response = handler(query, by_tcp)
        if query.question[0].rdtype == dns.rdatatype.AXFR:
            assert isinstance(response, Message)
            response.answer.pop()
        return response

    return handle


def test_transfer_that_breaks_off_does_not_pass_for_the_whole(inventory: Inventory) -> None:
    with running(_truncating(zones(CORP, transfers=True))) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], zone_transfer=True)
    assert "kms_domain_lab_corp_example_com" not in found.groups
    assert any("corp.example.com" in warning and "transfer" in warning for warning in found.warnings)


def test_odd_domain_in_a_transfer_is_left_out_and_told(inventory: Inventory) -> None:
    corp = (CORP[0], CORP[1] + "_vlmcs._tcp.{{7*191}} SRV 0 0 1688 web07\n")
    with running(zones(corp, transfers=True)) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], zone_transfer=True)
    assert all("{" not in domain for host in found.hosts for domain in found.vars(host)["kms_srv_domains"])
    assert any("{{7*191}}" in warning for warning in found.warnings)


KEY_NAME = dns.name.from_text("transfer-key")
SECRET = "c2VjcmV0LW9mLXRoZS10ZXN0"


def _signed_only(handler: Handler) -> Handler:
    """A server that transfers only what a key has signed for."""

    def handle(query: Message, by_tcp: bool) -> Message | bytes | None:
        if query.question[0].rdtype == dns.rdatatype.AXFR and not query.had_tsig:
            return rcode(dns.rcode.REFUSED)(query, by_tcp)
        return handler(query, by_tcp)

    return handle


@pytest.mark.parametrize("signs", [True, False])
def test_transfer_is_signed_with_the_key(inventory: Inventory, signs: bool) -> None:
    keyring = {KEY_NAME: dns.tsig.Key(KEY_NAME, SECRET, "hmac-sha256")}
    key = {"tsig_name": "transfer-key", "tsig_secret": SECRET} if signs else {}
    with running(_signed_only(zones(CORP, transfers=True)), keyring=keyring) as server:
        found = inventory.parse(domains=["corp.example.com"], nameservers=[server.entry], zone_transfer=True, **key)
    assert ("kms_domain_lab_corp_example_com" in found.groups) is signs
    assert bool(found.warnings) is not signs


@pytest.mark.parametrize(
    "key",
    [{"tsig_name": "transfer-key"}, {"tsig_secret": SECRET}, {"tsig_name": "transfer-key", "tsig_secret": "!not-it"}],
)
def test_half_a_key_is_refused_without_showing_it(inventory: Inventory, key: dict[str, str]) -> None:
    with pytest.raises(AnsibleError, match=r"tsig|TSIG") as error:
        inventory.parse(domains=["corp.example.com"], nameservers=["127.0.0.1"], zone_transfer=True, **key)
    assert SECRET not in str(error.value)
    assert "!not-it" not in str(error.value)


def test_constructed_options(inventory: Inventory) -> None:
    with running(zones(CORP)) as server:
        found = inventory.parse(
            domains=["corp.example.com"],
            nameservers=[server.entry],
            strict=True,
            compose={"ansible_host": "inventory_hostname.split('.')[0]"},
            groups={"urgent": "not kms_approved and kms_resolves"},
            keyed_groups=[{"key": "kms_srv | map(attribute='port') | unique | list", "prefix": "port"}],
        )
    assert found.vars("web07.corp.example.com")["ansible_host"] == "web07"
    assert found.groups["urgent"] == {"web07.corp.example.com"}
    assert found.groups["port_1688"] == found.hosts


def test_strict_constructed_option_fails(inventory: Inventory) -> None:
    with running(zones(CORP)) as server, pytest.raises(AnsibleError, match="broken"):
        inventory.parse(
            domains=["corp.example.com"],
            nameservers=[server.entry],
            strict=True,
            compose={"broken": "no_such_variable"},
        )


def _cache(folder: Path) -> dict[str, Any]:
    return {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(folder / "cache")}


def test_cache_answers_in_place_of_dns(inventory: Inventory, tmp_path: Path) -> None:
    with running(zones(CORP, BRANCH)) as server:
        options = {"domains": ["corp.example.com"], "nameservers": [server.entry], **_cache(tmp_path)}
        first = inventory.parse(**options)
        asked = len(server.questions)
        second = inventory.parse(**options)
        assert len(server.questions) == asked
        assert second.groups == first.groups
        assert all(second.vars(host) == first.vars(host) for host in first.hosts)
        # Whom the user approves of is no part of what DNS said.
        third = inventory.parse(**{**options, "approved_hosts": ["web07.corp.example.com"]})
        assert len(server.questions) == asked
        assert third.groups["kms_approved"] == {"web07.corp.example.com"}
        inventory.parse(refresh=True, **options)
        assert len(server.questions) == 2 * asked
        other = inventory.parse(**{**options, "domains": ["branch.example.net"]})
        assert other.hosts == {"kms1.corp.example.com"}


def test_warnings_of_refused_names_are_told_from_the_cache_too(inventory: Inventory, tmp_path: Path) -> None:
    corp = (CORP[0], CORP[1] + "_vlmcs._tcp SRV 0 0 1688 localhost.\nlocalhost A 127.0.0.1\n")
    with running(zones(corp, ("localhost.", "@ A 127.0.0.1\n"))) as server:
        options = {"domains": ["corp.example.com"], "nameservers": [server.entry]}
        first = inventory.parse(**options, **_cache(tmp_path))
        asked = len(server.questions)
        second = inventory.parse(**options, **_cache(tmp_path))
        assert len(server.questions) == asked
    assert len(first.warnings) == 1
    assert second.warnings == first.warnings


@pytest.mark.parametrize("transfers", [True, False])
def test_the_rest_of_a_zone_that_is_not_transferred_is_not_cached(
    inventory: Inventory, tmp_path: Path, transfers: bool
) -> None:
    with running(zones(CORP, transfers=transfers)) as server:
        options = {"domains": ["corp.example.com"], "nameservers": [server.entry], "zone_transfer": True}
        inventory.parse(**options, **_cache(tmp_path))
        asked = len(server.questions)
        inventory.parse(**options, **_cache(tmp_path))
        assert (len(server.questions) == asked) == transfers


def test_answer_with_a_hole_is_not_cached(inventory: Inventory, tmp_path: Path) -> None:
    with running(zones(CORP)) as server:
        options = {"domains": ["corp.example.com", "broken.example.org"], "nameservers": [server.entry]}
        inventory.parse(**options, **_cache(tmp_path))
        asked = len(server.questions)
        assert inventory.parse(**options, **_cache(tmp_path)).warnings
        assert len(server.questions) == 2 * asked


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [
        ("rogues.kms_srv.yml", True),
        ("rogues.kms_srv.yaml", True),
        ("kms_srv.yml", True),
        ("notkms_srv.yml", False),
        ("kms_srv.json", False),
    ],
)
def test_file_is_known_by_its_name(tmp_path: Path, name: str, is_ours: bool) -> None:
    (tmp_path / name).touch()
    assert srv.InventoryModule().verify_file(str(tmp_path / name)) is is_ours


def test_examples_use_known_options() -> None:
    known = options_of(srv, "inventory")
    for example in yaml.safe_load_all(srv.EXAMPLES):
        assert set(example) <= set(known)


@pytest.mark.parametrize("name", ["kms1.corp.example.com", "a.b", "win_10.corp.example.com", "x" * 63 + ".example.com"])
def test_names_of_machines(name: str) -> None:
    assert why_no_host(name) is None


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "kms1.corp.example.com\n", "x" * 64 + ".example.com", "a." * 127 + "b"]
)
def test_no_names_of_machines(name: str) -> None:
    assert why_no_host(name)


def test_single_label_may_be_a_domain() -> None:
    assert why_no_domain("corp") is None


@given(st.text(max_size=80))
def test_accepted_name_is_inert(name: str) -> None:
    """Whatever is accepted has no character that a shell, a template, a pattern or an option gives a meaning to."""
    if why_no_host(name) is None:
        assert name.replace(".", "").replace("-", "").replace("_", "").isalnum()
        assert name.isascii()
        assert name == name.lower()
        assert not name.startswith(("-", "_", "."))
