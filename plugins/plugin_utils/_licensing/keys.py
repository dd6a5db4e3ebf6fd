# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A product key as a value that does not give itself away."""

from __future__ import annotations

import re
import typing as t
import unicodedata

#: The 24 characters of a key. Keys since Windows 8 hold one N besides; older ones hold none.
ALPHABET = frozenset("BCDFGHJKMPQRTVWXY2346789")
MARKER = "N"

_LENGTH = 25
_GROUP = 5

#: Minus sign and soft hyphen are no dashes to Unicode, yet they get into keys that pass through office programs.
_EXTRA_DASHES = "\u2212\u00ad"


class ProductKeyError(ValueError):
    """A text that is no product key. The message tells what is wrong and never repeats any of the text."""


class ProductKey:
    """Five groups of five characters. Only ``reveal`` gives the key; str, repr and format give the masked form.

    It refuses to be pickled or dumped, so that no cache, log or result holds it by accident.
    """

    __slots__ = ("__text",)
    __text: str

    def __init__(self, text: str) -> None:
        """Take a key as people paste it: any case, blanks, any kind of dash or none; or raise ProductKeyError."""
        object.__setattr__(self, "_ProductKey__text", _normalise(text))

    @property
    def partial(self) -> str:
        """The last five characters: what Windows itself shows as PartialProductKey."""
        return self.__text[-_GROUP:]

    @property
    def masked(self) -> str:
        """``*****-`` and the last five characters."""
        return mask(self.partial)

    def reveal(self) -> str:
        """The whole key, for the call that installs it and for nothing else."""
        return self.__text

    def __str__(self) -> str:
        return self.masked

    def __repr__(self) -> str:
        return f"ProductKey({self.masked!r})"

    def __eq__(self, other: object) -> bool:
        return self.__text == other.__text if isinstance(other, ProductKey) else NotImplemented

    def __hash__(self) -> int:
        return hash((ProductKey, self.__text))

    def __setattr__(self, name: str, value: object) -> t.NoReturn:
        raise AttributeError("a ProductKey does not change")

    def __delattr__(self, name: str) -> t.NoReturn:
        raise AttributeError("a ProductKey does not change")

    def __copy__(self) -> ProductKey:
        return self

    def __deepcopy__(self, memo: object) -> ProductKey:
        return self

    def __reduce_ex__(self, protocol: t.SupportsIndex) -> t.NoReturn:
        raise TypeError("a ProductKey is not to be stored")

    def __getstate__(self) -> t.NoReturn:
        raise TypeError("a ProductKey is not to be stored")


def mask(partial_product_key: str) -> str:
    """The form in which a key is shown, from its last five characters."""
    return f"*****-{partial_product_key}"


def _normalise(text: str) -> str:
    if not isinstance(text, str):
        raise ProductKeyError("a product key is a text of 25 letters and digits")
    if "*" in text:
        raise ProductKeyError("this product key is masked with asterisks: give the whole key")
    letters = "".join(char for char in unicodedata.normalize("NFKC", text).upper() if not _is_filling(char))
    if not letters:
        raise ProductKeyError("the product key is empty")
    _check(letters)
    return "-".join(re.findall("." * _GROUP, letters))


def _is_filling(char: str) -> bool:
    """Blanks, invisible format characters and dashes, which people put between the groups or carry along."""
    return char.isspace() or char in _EXTRA_DASHES or unicodedata.category(char) in ("Pd", "Cf")


def _check(letters: str) -> None:
    if len(letters) != _LENGTH:
        raise ProductKeyError(
            f"a product key has {_LENGTH} letters and digits in five groups; this one has {len(letters)}"
        )
    for index, char in enumerate(letters):
        if char not in ALPHABET and char != MARKER:
            raise ProductKeyError(
                f"character {index % _GROUP + 1} of group {index // _GROUP + 1} is none that product keys use: "
                "they have no vowel, no L, S or Z and no 0, 1 or 5"
            )
    if letters.count(MARKER) > 1:
        raise ProductKeyError(f"a product key has the letter {MARKER} at most once; this one has it more often")
