# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Product keys: what people paste is understood, and nothing gives the key away."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import traceback
import typing as t

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.editions import SETUP_KEYS
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.keys import ProductKey, ProductKeyError

KEY = "NW6C2-QMPVW-D7KKK-3GKT6-VCFB2"
CHARS = "BCDFGHJKMPQRTVWXY2346789"


def grouped(letters: str) -> str:
    return "-".join(letters[i : i + 5] for i in range(0, 25, 5))


KEYS = st.text(alphabet=CHARS, min_size=25, max_size=25).map(grouped)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.lower(),
        f"  {KEY}\r\n",
        KEY.replace("-", ""),
        KEY.replace("-", " "),
        KEY.replace("-", "\u2013"),  # en dash
        KEY.replace("-", "\u2014"),  # em dash
        KEY.replace("-", "\u2011"),  # no-break hyphen
        KEY.replace("-", "\u2212"),  # minus sign
        KEY.replace("-", " - "),
        KEY.replace("-", "\u00a0"),  # no-break space
        "\ufeff" + KEY + "\u200b",  # byte order mark, zero-width space
        "".join(chr(ord(char) + 0xFEE0) for char in KEY),  # full-width forms
    ],
)
def test_what_people_paste(text: str) -> None:
    key = ProductKey(text)
    assert key.reveal() == KEY
    assert key.masked == "*****-VCFB2"
    assert key.partial == "VCFB2"


@pytest.mark.parametrize("row", SETUP_KEYS, ids=lambda row: row.name)
def test_every_published_key_is_one(row: t.Any) -> None:
    assert ProductKey(row.key).reveal() == row.key


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        (" - - ", "empty"),
        (KEY[:-1], "24"),
        (KEY + "2", "26"),
        (KEY.replace("W6", "O6"), "character 2 of group 1"),
        (KEY.replace("VCFB2", "VCFB5"), "character 5 of group 5"),
        (KEY.replace("VCFB2", "VCFN2"), "at most once"),
        ("*****-*****-*****-*****-VCFB2", "masked"),
        (None, "text"),
        (25, "text"),
    ],
)
def test_what_is_no_key_is_told_why(text: t.Any, said: str) -> None:
    with pytest.raises(ProductKeyError, match=said):
        ProductKey(text)


@given(KEYS)
def test_no_form_gives_the_key_away(text: str) -> None:
    key = ProductKey(text)
    hidden = text[:-6]  # all but the last group and its hyphen
    holder = dataclasses.make_dataclass("Holder", ["key"])(key)
    forms = [str(key), repr(key), f"{key}", f"{key!r}", "%s" % key, repr([key]), repr({key: 1}), repr(holder)]  # noqa: UP031 (that form is to be tried)
    forms += [
        repr(dataclasses.asdict(holder)),
        repr(copy.copy(key)),
        repr(copy.deepcopy([key])),
        json.dumps(key, default=str),
    ]
    for form in forms:
        assert not any(group in form for group in hidden.split("-") if group != key.partial)
        assert key.partial in form


@pytest.mark.parametrize(
    "store",
    [
        pickle.dumps,
        json.dumps,
        yaml.safe_dump,
        yaml.dump,
        vars,
        lambda key: key.__getstate__(),
        lambda key: key.__dict__,
        lambda key: setattr(key, "text", ""),
        lambda key: setattr(key, "_ProductKey__text", ""),
        lambda key: delattr(key, "_ProductKey__text"),
    ],
)
def test_it_is_neither_stored_nor_changed(store: t.Callable[[ProductKey], t.Any]) -> None:
    key = ProductKey(KEY)
    with pytest.raises((TypeError, AttributeError, yaml.YAMLError)) as caught:
        store(key)
    assert "QMPVW" not in str(caught.value)
    assert key.reveal() == KEY


@given(KEYS, st.integers(min_value=0, max_value=24), st.sampled_from("AEIOULSZ015!?é"))
def test_no_error_repeats_the_key(text: str, place: int, wrong: str) -> None:
    letters = text.replace("-", "")
    broken = grouped(letters[:place] + wrong + letters[place + 1 :])
    for bad in (broken, text + "2", text[:-1], "NN" + text[2:]):
        with pytest.raises(ProductKeyError) as caught:
            ProductKey(bad)
        shown = str(caught.value) + "".join(traceback.format_exception_only(caught.value))
        assert not any(group in shown for group in bad.split("-"))
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_equality_is_that_of_the_key() -> None:
    assert ProductKey(KEY) == ProductKey(KEY.lower())
    assert len({ProductKey(KEY), ProductKey(KEY.replace("-", ""))}) == 1
    assert ProductKey(KEY) != ProductKey(KEY[:-1] + "3")
    assert ProductKey(KEY) != KEY
