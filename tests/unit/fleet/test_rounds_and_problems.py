# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is asked again, and what input cannot be."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.role_input import default_of, role_problems
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet import declared
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.declared import declare
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.problems import clashes, notes
from ansible_collections.fleetops.kms.plugins.plugin_utils._fleet.rounds import Round, is_worth_another, summary

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
SECRET = "QWRTY-PVKMX-NBCDF-GHJKW-HK2A2"  # no product key: it has an A


def test_who_waits() -> None:
    now = Round.of(
        {
            "a": {"pending": "below_threshold", "answered_count": 3},
            "b": {"changed": True},
            "c": {"failed": True, "msg": "x"},
            "d": None,
        }
    )
    assert now.waiting == {"a": 3}


@pytest.mark.parametrize(
    ("before", "now", "again"),
    [
        (None, {}, False),
        (None, {"a": 1}, True),
        (None, {"a": None}, True),
        ({"a": 1, "b": 2}, {"a": 2, "b": 2}, True),
        ({"a": 2, "b": 2}, {"a": 2, "b": 2}, False),
        ({"a": 2, "b": 2}, {"b": 2}, True),
        ({"a": None}, {"a": None}, False),
        ({"a": None}, {"a": 4}, True),
        ({"a": 1}, {}, False),
    ],
)
def test_they_are_asked_again_while_a_count_rises(
    before: dict[str, int | None] | None, now: dict[str, int | None], again: bool
) -> None:
    assert is_worth_another(Round(now), Round(before) if before is not None else None) is again


def test_the_summary_has_the_count() -> None:
    assert summary(Round({}), 5) == ""
    text = summary(Round({"a": 3, "b": 20}), 30)
    assert text.startswith("2 of 30 clients wait")
    assert "20" in text


def test_a_machine_is_not_two_hosts_nor_host_and_client() -> None:
    hosts = [declare(name, {"kms_host_domains": ["a.example.com"]}, "kms1.corp.example.com") for name in ("x", "y")]
    assert len(clashes(hosts, [])) == 1
    assert len(clashes(hosts[:1], ["x"])) == 1
    assert clashes(hosts[:1], ["y"]) == []
    assert "z" in clashes([], ["y", "z"], ["x", "z"])[0]


def test_hosts_that_share_the_clients_are_told() -> None:
    first = declare("kms1", {}, "kms1.corp.example.com")
    second = declare("kms2", {}, "kms2.corp.example.com")
    third = declare("kms3", {"kms_host_rank": "secondary"}, "kms3.corp.example.com")
    assert len(notes([first, second, third])) == 1
    assert notes([first, third]) == []


@pytest.mark.parametrize(
    ("role", "variables", "word"),
    [
        ("kms_host", {"kms_host_rank": "first"}, "kms_host_rank"),
        ("kms_host", {"kms_host_srv_priority": "ten"}, "kms_host_srv_priority"),
        (
            "kms_host",
            {"kms_host_srv_priority": 70000, "kms_host_domains": ["a.example.com"]},
            "kms_host_srv_priority: 70000",
        ),
        (
            "kms_host",
            {"kms_host_srv_weight": 70000, "kms_host_domains": ["a.example.com"]},
            "kms_host_srv_weight: 70000",
        ),
        ("kms_host", {"kms_host_publish": ["a.example.com, 10, 100000"]}, "kms_host_publish: weight '100000'"),
        ("kms_host", {"kms_host_publish": [{"domain": "a.example.com", "weight": -1}]}, "kms_host_publish: weight"),
        ("kms_host", {"kms_host_publish": ["a.example.com, 1, 2, 3"]}, "kms_host_publish: "),
        ("kms_host", {"kms_host_publish": 5}, "kms_host_publish: "),
        ("kms_host", {"kms_host_publish": [None]}, "kms_host_publish has an entry that is empty"),
        ("kms_host", {"kms_host_domains": [None]}, "kms_host_domains has an entry that is empty"),
        ("kms_host", {"kms_host_domains": ["two words"]}, "kms_host_domains: domain 'two words'"),
        ("kms_host", {"kms_host_fqdn": "kms1"}, "kms_host_fqdn: "),
        ("kms_host", {"kms_host_domains": {"a": 1}}, 'kms_host_domains is to be a list, each entry text, not {"a": 1}'),
        ("kms_host", {"kms_host_srv_weight": []}, "kms_host_srv_weight is to be a whole number, not []"),
        ("kms_client", {"kms_client_replace": {}}, "kms_client_replace is to be a list"),
        ("kms_host", {"kms_host_publish": [{"priority": 1}]}, "domain"),
        ("kms_host", {"kms_host_publish": [{"domain": "a.example.com", "prio": 1}]}, "prio"),
        ("kms_host", {"kms_host_domains": ["a.example.com", "A.example.com"]}, "more than once"),
        ("kms_host", {"kms_host_listening_port": 0}, "1 to 65535"),
        ("kms_host", {"kms_host_listening_port": 1689, "kms_host_firewall": True}, "kms_host_firewall"),
        ("kms_host", {"kms_host_verify_retries": -1}, "0 to"),
        ("kms_host", {"kms_host_product_key": SECRET}, "kms_host_product_key"),
        ("kms_client", {"kms_client_product_key": SECRET}, "kms_client_product_key"),
        ("kms_client", {"kms_client_port": 65536}, "0 to 65535"),
        ("kms_client", {"kms_client_replace": ["avma", "pirate"]}, "pirate"),
        ("kms_client", {"kms_client_activate": "perhaps"}, "kms_client_activate"),
        ("kms_host", {"kms_host_nameservers": ["192.0.2.1:dns"]}, "kms_host_nameservers"),
        ("kms_host", {"kms_approved_hosts": ["*"]}, "kms_approved_hosts"),
        ("kms_convert", {"kms_approved_hosts": 5}, "'5' is not a fully qualified name"),
        ("kms_convert", {"kms_convert_report_path": "/no/such/folder/report.json"}, "no folder /no/such/folder"),
        ("kms_rogues", {"kms_report_path": "/"}, "is a folder"),
        ("kms_verify", {"kms_verify_timeout": "abc"}, "kms_verify_timeout"),
        ("kms_verify", {"kms_verify_timeout": 0}, "0.1 to 60"),
        ("kms_verify", {"kms_verify_event_hours": 99999}, "1 to 8760"),
        ("kms_verify", {"kms_verify_event_codes": [4624]}, "4624"),
        ("kms_verify", {"kms_verify_nameservers": "192.0.2.1, two words"}, "two words"),
        ("kms_verify", {"kms_verify_fail": "perhaps"}, "kms_verify_fail"),
        ("kms_verify", {"kms_dns_timeout": 0}, "0.1 to 60"),
    ],
)
def test_bad_input_is_told_with_its_variable_and_without_the_key(
    role: str, variables: dict[str, t.Any], word: str
) -> None:
    (problem,), doubtful = role_problems(role, {"one": variables, "two": variables})
    assert problem.startswith("one, two: ")
    assert word in problem
    assert SECRET not in problem
    assert "class" not in problem
    assert doubtful == []


@pytest.mark.parametrize(
    ("role", "variables"),
    [
        ("kms_host", {}),
        (
            "kms_host",
            {"kms_host_listening_port": "1689", "kms_host_firewall": "no", "kms_host_domains": "a.example.com"},
        ),
        ("kms_host", {"kms_host_publish": ["a.example.com, 10, 100", {"domain": "b.example.com"}]}),
        ("kms_host", {"kms_host_publish": "a.example.com, 10, 100"}),
        ("kms_host", {"kms_host_publish": ""}),
        ("kms_host", {"kms_host_publish": [], "kms_host_fqdn": "kms1.corp.example.com"}),
        ("kms_client", {"kms_client_product_key": "keep", "kms_client_port": 0, "kms_client_server": ""}),
        ("kms_client", {"kms_client_product_key": "client_setup", "other_variable": 1}),
        ("kms_verify", {}),
        (
            "kms_verify",
            {
                "kms_verify_timeout": "0.5",
                "kms_verify_nameservers": "192.0.2.1,[2001:db8::1]:53",
                "kms_verify_fleet": 1,
            },
        ),
    ],
)
def test_good_input_is_let_pass(role: str, variables: dict[str, t.Any]) -> None:
    assert role_problems(role, {"one": variables}) == ([], [])


@pytest.mark.parametrize("role", ["kms_host", "kms_client", "kms_verify", "kms_records", "kms_rogues", "kms_convert"])
def test_null_is_what_is_not_given(role: str) -> None:
    variables = {name: None for entry in specification(role).values() for name in entry["options"]}
    assert role_problems(role, {"one": variables}) == ([], [])


@pytest.mark.parametrize(
    ("name", "default"), [("kms_verify_fail", True), ("kms_host_verify_delay", 15), ("kms_client_server", "")]
)
def test_a_default_is_found_by_the_name_of_its_variable(name: str, default: t.Any) -> None:
    assert default_of(name) == default


@pytest.mark.parametrize("name", ["kms_host_fqdn", "kms_host_nonsense", "other_thing_x"])
def test_what_has_no_default_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        default_of(name)


def test_a_misspelled_variable_is_told() -> None:
    problems, doubtful = role_problems("kms_host", {"one": {"kms_host_domain": [], "kms_host_notes": "mine"}})
    assert problems == []
    assert len(doubtful) == 1
    assert "kms_host_domains" in doubtful[0]


def test_a_secret_of_the_wrong_type_is_not_repeated() -> None:
    problems, _doubtful = role_problems("kms_host", {"one": {"kms_host_product_key": {"key": SECRET}}})
    assert SECRET not in str(problems)


def specification(role: str) -> dict[str, t.Any]:
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return t.cast(dict[str, t.Any], yaml.safe_load(text)["argument_specs"])


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_defaults_are_those_of_the_specification(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8"))
    options = {name: option for entry in specification(role).values() for name, option in entry["options"].items()}
    defaults = {name: value for name, value in defaults.items() if not name.startswith("_")}
    assert set(defaults) <= set(options)
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    fixed = {name: value for name, value in defaults.items() if not str(value).startswith("{{")}
    assert {name: documented.get(name) for name in fixed} == fixed


def test_ranks_and_variables_are_those_of_the_specification() -> None:
    options = specification("kms_host")["main"]["options"]
    assert options["kms_host_rank"]["choices"] == list(declared.RANKS)
    assert options["kms_host_rank"]["default"] == declared.DEFAULT_RANK
    assert options["kms_host_srv_weight"]["default"] == declared.DEFAULT_WEIGHT
    assert set(declared.VARIABLES) <= set(options)


def test_keys_are_secret_in_the_specifications() -> None:
    for role in ("kms_host", "kms_client"):
        assert specification(role)["main"]["options"][f"{role}_product_key"]["no_log"] is True
    secrets = [
        option
        for path in ROLES.iterdir()
        for entry in specification(path.name).values()
        for name, option in entry["options"].items()
        if name == "kms_dns_tsig_secret"
    ]
    assert secrets
    assert all(option["no_log"] is True for option in secrets)
