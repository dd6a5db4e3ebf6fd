# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input is refused before anything is sent, and the message names the option and what it accepts."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
import yaml

from ansible_collections.fleetops.kms.plugins.action.client import host_keys
from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.arguments import (
    SECRETS,
    Arguments,
    InvalidArguments,
    confirmation_id,
    given,
    host_and_port,
    product_key,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.settings import CLIENT_SETTINGS, HOST_SETTINGS

MODULES = pathlib.Path(__file__).parents[3] / "plugins" / "modules"
HOST = Arguments("host", ranges=HOST_SETTINGS)
CLIENT = Arguments("client", ranges=CLIENT_SETTINGS)


def options(module: str) -> dict[str, t.Any]:
    document = yaml.safe_load((MODULES / f"{module}.yml").read_text(encoding="utf-8"))
    found: dict[str, t.Any] = document["DOCUMENTATION"]["options"]
    return found


@pytest.mark.parametrize(("module", "rows"), [("host", HOST_SETTINGS), ("client", CLIENT_SETTINGS)])
def test_every_row_of_the_settings_is_a_documented_option(module: str, rows: t.Sequence[t.Any]) -> None:
    documented = options(module)
    for row in rows:
        assert row.option in documented
        if row.maximum is not None:
            text = (
                " ".join([*documented[row.option]["description"]])
                if isinstance(documented[row.option]["description"], list)
                else documented[row.option]["description"]
            )
            assert str(row.minimum) in text and str(row.maximum) in text, f"{row.option}: say its range"


def test_every_secret_is_an_option_somewhere_and_is_not_logged() -> None:
    documented = {name for module in MODULES.glob("*.yml") for name in options(module.stem)}
    assert documented >= SECRETS
    assert HOST.spec["product_key"]["no_log"] and not HOST.spec["publish"]["no_log"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"listening_port": 0}, ("listening_port", "1 to 65535")),
        ({"listening_port": 65536}, ("listening_port", "1 to 65535")),
        ({"activation_interval": 14}, ("activation_interval", "15 to 43200")),
        ({"renewal_interval": 43201}, ("renewal_interval", "15 to 43200")),
        ({"restart": "maybe"}, ("restart", "auto", "always", "never")),
        ({"publish": [{"priority": 1}]}, ("domain", "publish")),
        ({"firewall": "perhaps"}, ("firewall",)),
        ({"publsih": []}, ("publsih",)),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_option(arguments: t.Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArguments) as refused:
        HOST.validate(arguments)
    assert all(word in str(refused.value) for word in words)


@pytest.mark.parametrize("value", [15, 43200])
def test_the_ends_of_a_range_are_accepted(value: int) -> None:
    assert HOST.validate({"activation_interval": value})["activation_interval"] == value


def test_an_option_that_is_left_out_is_none() -> None:
    arguments = CLIENT.validate({})
    assert arguments["server"] is None and arguments["host_caching"] is None
    assert arguments["product_key"] == "client_setup" and arguments["replace"] == []


def test_a_word_or_a_key_and_nothing_else() -> None:
    assert product_key(" Client_Setup ", keywords=("client_setup",)) == "client_setup"
    assert product_key(None) is None
    key = product_key("bbbbb ccccc-ddddd\u2013fffffngggg")
    assert isinstance(key, ProductKey) and key.partial == "NGGGG"
    with pytest.raises(InvalidArguments, match="product_key.*keep"):
        product_key("keepit", keywords=("keep",))


def test_a_bad_key_is_refused_without_being_repeated() -> None:
    bad = "BBBBB-CCCCC-DDDDD-FFFFF-NGGGA"
    with pytest.raises(InvalidArguments) as refused:
        product_key(bad)
    assert not any(group in str(refused.value) for group in bad.split("-"))
    assert refused.value.__cause__ is None


def test_a_confirmation_id_may_be_written_in_groups() -> None:
    assert confirmation_id("123456-654321 000000") == "123456654321000000"
    assert confirmation_id(None) == ""
    with pytest.raises(InvalidArguments, match="confirmation_id"):
        confirmation_id("12345X")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("", None),
        ("kms1.example.com", ("kms1.example.com", 1688)),
        ("kms1:1690", ("kms1", 1690)),
        ("[2001:db8::1]", ("[2001:db8::1]", 1688)),
        ("[2001:db8::1]:1690", ("[2001:db8::1]", 1690)),
    ],
)
def test_a_host_with_or_without_a_port(text: str | None, wanted: tuple[str, int] | None) -> None:
    assert host_and_port("activate_against", text) == wanted


@pytest.mark.parametrize("text", ["kms1:0", "kms1:70000", "kms1:x", "a b", "2001:db8::1", "kms1:"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidArguments, match="activate_against"):
        host_and_port("activate_against", text)


@pytest.mark.parametrize(
    "arguments",
    [
        {"server": "kms1.example.com:1688"},
        {"server": "kms 1"},
        {"server": "-kms1"},
        {"lookup_domain": "bad..domain"},
        {"lookup_domain": "{{ domain }}"},
    ],
)
def test_a_name_that_can_be_none_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(InvalidArguments, match=next(iter(arguments))):
        given(arguments, CLIENT_SETTINGS)


@pytest.mark.parametrize("name", ["", "kms1", "KMS1.example.com.", "192.0.2.1", "2001:db8::1", "[2001:db8::1]"])
def test_a_name_or_an_address_is_accepted(name: str) -> None:
    assert given({"server": name}, CLIENT_SETTINGS) == {"server": name}


FIRST, SECOND = "0f0f0f0f-0f0f-4f0f-8f0f-0f0f0f0f0f0f", "1f1f1f1f-1f1f-4f1f-8f1f-1f1f1f1f1f1f"
OFFICE_KEYS = {
    "application": "office",
    "convert_host": True,
    "activation_id": None,
    "activation_ids": [f"{{{FIRST.upper()}}} ", SECOND],
}


def test_activation_ids_are_host_keys_of_office_that_go() -> None:
    assert host_keys(OFFICE_KEYS) == {FIRST, SECOND}
    assert host_keys({**OFFICE_KEYS, "activation_ids": [], "convert_host": False}) == frozenset()


@pytest.mark.parametrize(
    "wrong",
    [{"application": "windows"}, {"convert_host": False}, {"activation_id": FIRST}],
)
def test_activation_ids_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArguments, match="activation_ids"):
        host_keys({**OFFICE_KEYS, **wrong})


@pytest.mark.parametrize("text", ["0f0f", "*", f"{FIRST}0"])
def test_an_activation_id_that_no_product_can_have_is_refused(text: str) -> None:
    """One that is not there is passed over, so a mistyped one would be a success."""
    with pytest.raises(InvalidArguments, match="activation_ids: .* is no activation ID"):
        host_keys({**OFFICE_KEYS, "activation_ids": [text]})
