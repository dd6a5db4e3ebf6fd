# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of ``generations.yml`` and ``keys.yml`` as objects, loaded once per process."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import typing as t

import yaml

_FOLDER = pathlib.Path(__file__).parent
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_table(name: str) -> dict[str, t.Any]:
    """One YAML table of this folder."""
    with (_FOLDER / name).open(encoding="utf-8") as stream:
        return t.cast("dict[str, t.Any]", yaml.load(stream, Loader=_LOADER))


@dataclasses.dataclass(frozen=True)
class Generation:
    """A release of Windows; ``host_keys`` maps a host key's product to the update it needs here (None: no update)."""

    def __hash__(self) -> int:  # the mapping below cannot be hashed, and the name says it all
        return hash(self.name)

    name: str
    family: str
    level: float
    caption: str
    build: int
    version: str
    spp_version: str
    editions: tuple[str, ...]
    host_keys: t.Mapping[str, str | None]

    @property
    def is_server(self) -> bool:
        return self.family == "server"


@dataclasses.dataclass(frozen=True)
class Edition:
    """An edition by its EditionID, with its OperatingSystemSKU number (GetProductInfo)."""

    edition_id: str
    sku: int
    words: str
    family: str

    @property
    def is_evaluation(self) -> bool:
        return "Eval" in self.edition_id

    @property
    def is_azure(self) -> bool:
        return self.edition_id.startswith("ServerTurbine")


@dataclasses.dataclass(frozen=True)
class HostKeyProduct:
    """What a Windows host key (CSVLK) is good for: the highest server and client level that it activates."""

    name: str
    token: str
    product_name: str
    servers: float
    clients: float


@dataclasses.dataclass(frozen=True)
class OfficeHostKeyProduct:
    """What an Office host key is: its activation ID, release, and the lowest builds of its hosts."""

    name: str
    id: str
    release: int
    server_build: int
    client_build: int


@dataclasses.dataclass(frozen=True)
class SetupKey:
    """A published client key for Windows: fits its editions from ``build_min`` to ``build_max`` (None: open)."""

    key: str
    editions: tuple[str, ...]
    build_min: int
    build_max: int | None

    def fits_build(self, build: int) -> bool:
        return self.build_min <= build and (self.build_max is None or build <= self.build_max)


@dataclasses.dataclass(frozen=True)
class OfficeSetupKey:
    """A published client key for an Office product."""

    key: str
    name: str
    release: int


@functools.cache
def generations() -> dict[str, Generation]:
    """All generations by name."""
    rows = load_table("generations.yml")["generations"]
    return {
        name: Generation(name=name, **{**row, "version": str(row["version"]), "editions": tuple(row["editions"])})
        for name, row in rows.items()
    }


@functools.cache
def editions() -> dict[str, Edition]:
    rows = load_table("generations.yml")["editions"]
    return {name: Edition(name, row[0], row[1], row[2]) for name, row in rows.items()}


@functools.cache
def host_key_products() -> dict[str, HostKeyProduct]:
    rows = load_table("generations.yml")["host_keys"]
    return {
        name: HostKeyProduct(name, row["token"], row["name"], row["servers"], row["clients"])
        for name, row in rows.items()
    }


@functools.cache
def office_host_key_products() -> dict[str, OfficeHostKeyProduct]:
    rows = load_table("generations.yml")["office_host_keys"]
    return {name: OfficeHostKeyProduct(name=name, **row) for name, row in rows.items()}


@functools.cache
def product_ids() -> dict[str, str]:
    return dict(load_table("generations.yml")["product_ids"])


@functools.cache
def setup_keys() -> dict[str, SetupKey]:
    """The published client keys for Windows, by key."""
    return {
        row["key"]: SetupKey(row["key"], tuple(row["editions"]), row["build_min"], row["build_max"])
        for row in load_table("keys.yml")["windows"]
    }


@functools.cache
def office_setup_keys() -> dict[str, OfficeSetupKey]:
    return {
        row["key"]: OfficeSetupKey(row["key"], row["name"], row["release"]) for row in load_table("keys.yml")["office"]
    }


def find_setup_key(edition_id: str, build: int) -> SetupKey | None:
    """The published client key for an edition and build, or None (an evaluation edition has none)."""
    return next((key for key in setup_keys().values() if edition_id in key.editions and key.fits_build(build)), None)
