# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WQL, held against what the Win32 documentation and slmgr.vbs expect of it."""

from __future__ import annotations

import pytest
from unit.lab.wire.toy import SERVICE, services

from lab.cim import CimError, Instance
from lab.wsman import wql

ROWS = [Instance(SERVICE, values) for values in services(6).values()]


def select(where: str) -> list[str]:
    bound = wql.parse(f"select * from Toy_Service where {where}").bind(SERVICE)
    return [row.values["Name"].removeprefix("svc") for row in bound.select(ROWS)]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Name = 'svc1'", "1"),
        ("NAME='SVC1'", "1"),
        ('Name = "svc1"', "1"),
        ("Name <> 'svc1' and Name != 'svc2'", "0345"),
        ("Weight >= 2 AND Weight < 4", "23"),
        ("Weight > '4'", "5"),
        ("Weight <= 1 OR NOT Weight < 5", "015"),
        ("not (Weight = 1 or Weight = 2) and Running = true", "35"),
        ("Running = FALSE", "024"),
        ("Key is null", "1245"),
        ("Key IS NOT NULL", "03"),
        ("Key = null", "1245"),
        ("Key <> null", "03"),
        ("PATH = 'C:\\\\Windows\\\\svc2.exe'", "2"),
        ("Name like 'svc%'", "012345"),
        ("Name like '%C_'", "012345"),
        ("Name like 'svc[1-3]'", "123"),
        ("Name like 'svc[^1-3]'", "045"),
        ("Name like 'v%'", ""),
        ("Since >= '20240520083015.250000+000'", "345"),
        ("Since < '20240517103015.250001+120'", "0"),
        ("Key > 'k0'", "3"),
        ("State = 'Run' or State = 'Running' and Weight = 1", "1"),
    ],
)
def test_where(where: str, found: str) -> None:
    assert "".join(select(where)) == found


def test_a_quote_in_a_literal() -> None:
    assert wql.parse(r"select * from X where A = 'it\'s'").condition[3] == "it's"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "select",
        "select * Toy_Service",
        "select * from",
        "select Name, from Toy_Service",
        "select * from Toy_Service where",
        "select * from Toy_Service where Name",
        "select * from Toy_Service where Name = ",
        "select * from Toy_Service where Name = svc1",
        "select * from Toy_Service where Name = 'svc1",
        "select * from Toy_Service where Name = 'svc1' garbage",
        "select * from Toy_Service where (Name = 'svc1'",
        "select * from Toy_Service where Name is 'svc1'",
        "select * from Toy_Service where Name > null",
        "select * from Toy_Service where Name == 'svc1'",
        "select * from Toy_Service; select * from Toy_Service",
        r"select * from Toy_Service where Path = 'C:\Windows'",
        "associators of {Toy_Service}",
    ],
)
def test_bad_syntax(text: str) -> None:
    with pytest.raises(CimError) as caught:
        wql.parse(text)
    assert caught.value.code == 0x80041017


@pytest.mark.parametrize(
    "text",
    [
        "select Missing from Toy_Service",
        "select * from Toy_Service where Missing = 1",
        "select * from Toy_Service where Name = 1",
        "select * from Toy_Service where Weight = 'many'",
        "select * from Toy_Service where Running = 'perhaps'",
        "select * from Toy_Service where Since > '2024-05-17'",
        "select * from Toy_Service where Tags = 'a'",
        "select * from Toy_Service where Weight like '1%'",
    ],
)
def test_what_does_not_fit_the_class(text: str) -> None:
    with pytest.raises(CimError) as caught:
        wql.parse(text).bind(SERVICE)
    assert caught.value.code == 0x80041017
