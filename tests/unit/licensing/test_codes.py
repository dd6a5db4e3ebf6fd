# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Result codes: every code an operator meets has a name, a meaning and a hint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing import codes
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.tables import load

ROWS = load("errors")["errors"]

# Numbers and symbols as the Windows SDK has them; one of each part of the table.
KNOWN = [
    (0xC004F074, "SL_E_VL_BINDING_SERVICE_UNAVAILABLE"),
    (0xC004F038, "SL_E_VL_NOT_ENOUGH_COUNT"),
    (0xC004F041, "SL_E_VL_KEY_MANAGEMENT_SERVICE_NOT_ACTIVATED"),
    (0xC004C008, "SL_E_CHPA_MAXIMUM_UNLOCK_EXCEEDED"),
    (0xC004B006, "SL_E_SRV_INVALID_BINDING"),
    (0xC004C010, "SL_E_CHPA_INVALID_PRODUCT_KEY_CHAR"),
    (0xC004F020, "SL_E_INVALID_PACKAGE"),
    (0xC004F02F, "SL_E_CIDIID_INVALID_DATA_LENGTH"),
    (0xC004F30A, "SL_E_TKA_INVALID_CERTIFICATE"),
    (0xC004FD02, "SL_E_IA_PARENT_PARTITION_NOT_ACTIVATED"),
    (0x4004F401, "SL_I_STORE_BASED_ACTIVATION"),
    (0x80072338, "DNS_ERROR_RCODE_BADSIG"),
    (0x800706BA, "RPC_S_SERVER_UNAVAILABLE"),
    (0x8004102E, "WBEM_E_INVALID_METHOD"),
    (0x803380FA, "ERROR_WSMAN_INVALID_URI_WMI_SINGLETON"),
]


@pytest.mark.parametrize(("number", "symbol"), KNOWN)
def test_known_codes(number: int, symbol: str) -> None:
    code = codes.describe(number)
    assert (code.code, code.symbol) == (number, symbol)
    assert codes.describe(number - (1 << 32)) == code  # as a signed 32-bit number


def test_hex_is_what_search_engines_know() -> None:
    assert codes.describe(0xC004F074).hex == "0xC004F074"
    assert codes.describe(0x4004F00C).hex == "0x4004F00C"
    assert str(codes.describe(-1073418124)) == "0xC004F074 SL_E_VL_BINDING_SERVICE_UNAVAILABLE"


@pytest.mark.parametrize(
    ("win32", "hresult"), [(2, "0x80070002"), (5, "0x80070005"), (87, "0x80070057"), (1722, "0x800706BA")]
)
def test_a_bare_win32_code_is_taken_as_its_hresult(win32: int, hresult: str) -> None:
    assert codes.describe(win32).hex == hresult
    assert codes.describe(win32).symbol


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0xC004F9AB, "licensing service"),
        (0xC004C9AB, "activation service"),
        (0x80041FFF, "WMI"),
        (0x80338FFF, "WS-Management"),
        (0x80070FFF, "4095"),
        (0xC0000005, "not in the table"),
    ],
)
def test_an_unknown_code_is_described_by_its_facility(number: int, word: str) -> None:
    code = codes.describe(number)
    assert code.symbol is None
    assert word in code.meaning
    assert code.hint


@given(st.integers())
def test_describing_never_fails(number: int) -> None:
    code = codes.describe(number)
    assert 0 <= code.code <= 0xFFFFFFFF
    assert code.meaning
    assert code.hint
    assert len(code.hex) == 10


def test_information_is_no_failure() -> None:
    assert not codes.describe(0x4004F00C).is_failure
    assert not codes.describe(0).is_failure
    assert codes.describe(0xC004F056).is_failure


def test_the_table_is_whole() -> None:
    numbers = [number for row in ROWS for number in row["codes"]]
    assert len(numbers) == len(set(numbers))
    assert all(isinstance(number, int) and number > 0xFFFF for number in numbers)
    for row in ROWS:
        for text in (row["meaning"], row["hint"]):
            assert text.endswith((".", "!"))
            # Microsoft's own texts all begin so; ours say it in other words.
            assert "reported that" not in text
            assert "determined that" not in text


def test_named_codes_have_the_number_of_their_name() -> None:
    named = {name: value for name, value in vars(codes).items() if name.startswith(("SL_", "DNS_"))}
    assert named
    for name, value in named.items():
        assert codes.describe(value).symbol == name


def test_a_hint_names_variables_that_the_roles_have() -> None:
    specs = Path(__file__).parents[3].glob("roles/*/meta/argument_specs.yml")
    entries = [entry for path in specs for entry in yaml.safe_load(path.read_text())["argument_specs"].values()]
    known = {name for entry in entries for name in entry.get("options", {})}
    named = {name for row in ROWS for name in re.findall(r"\bkms_[a-z_]+", row["hint"])}
    assert "kms_host_publish_via" in named
    assert named <= known
