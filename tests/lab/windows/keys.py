# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Product keys of the simulation: the published client keys and what the fleet file declares.

The declared keys are invented; a key is nothing but a name for a row of the fleet file.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from lab.windows import data

_SYNTAX = re.compile(r"^[2346789BCDFGHJKMNPQRTVWXY]{5}(-[2346789BCDFGHJKMNPQRTVWXY]{5}){4}$")

KINDS = ("gvlk", "office_gvlk", "csvlk", "mak", "retail", "oem", "avma")

#: Limits of a host key: so many hosts, each so many activations (Planning for KMS activation).
HOST_LIMIT, HOST_ACTIVATIONS = 6, 10


@dataclasses.dataclass(frozen=True)
class ProductKey:
    """What a key is. ``product`` names a host key product (csvlk) or an Office product; ``editions`` and the builds
    limit where a Windows key fits. ``limit`` counts hosts (csvlk) or activations (mak)."""

    key: str
    kind: str
    product: str = ""
    editions: tuple[str, ...] = ()
    build_min: int = 0
    build_max: int | None = None
    limit: int | None = None
    activations: int = HOST_ACTIVATIONS
    blocked: bool = False

    @property
    def partial(self) -> str:
        """The last five characters, as PartialProductKey shows them."""
        return self.key[-5:]

    def fits_build(self, build: int) -> bool:
        return self.build_min <= build and (self.build_max is None or build <= self.build_max)


def is_well_formed(key: str) -> bool:
    """Five groups of five characters of the product key alphabet, upper case, with hyphens."""
    return _SYNTAX.match(key) is not None


class KeyBook:
    """All keys that the simulated world knows."""

    def __init__(self, declared: t.Iterable[t.Mapping[str, t.Any]] = ()) -> None:
        self._keys: dict[str, ProductKey] = {}
        for setup in data.setup_keys().values():
            self.add(ProductKey(setup.key, "gvlk", "", setup.editions, setup.build_min, setup.build_max))
        for office in data.office_setup_keys().values():
            self.add(ProductKey(office.key, "office_gvlk", f"{office.name}/{office.release}"))
        for row in declared:
            self._declare(row)

    def add(self, key: ProductKey) -> ProductKey:
        return self._keys.setdefault(key.key, key)

    def _declare(self, row: t.Mapping[str, t.Any]) -> None:
        key = ProductKey(**{**row, "editions": tuple(row.get("editions", ()))})
        if not is_well_formed(key.key) or key.kind not in KINDS:
            raise ValueError(f"the fleet's key ...{key.key[-5:]} is malformed or of an unknown kind ({key.kind})")
        known = (*data.host_key_products(), *data.office_host_key_products())
        if key.kind == "csvlk" and key.product not in known:
            raise ValueError(f"the fleet's host key ...{key.partial} names no product of {', '.join(known)}")
        self.add(key)

    def find(self, key: str) -> ProductKey | None:
        return self._keys.get(key)

    def by_kind(self, kind: str) -> list[ProductKey]:
        return [key for key in self._keys.values() if key.kind == kind]
