# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Windows a machine is, and the client setup key that Microsoft publishes for it."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from .channels import Application
from .keys import ProductKey
from .refusal import Refusal
from .tables import load


class Windows(t.Protocol):
    """What the rules need to know of a Windows."""

    @property
    def build(self) -> int:
        """CurrentBuildNumber."""

    @property
    def sku(self) -> int:
        """OperatingSystemSKU."""

    @property
    def is_server(self) -> bool:
        """Whether ProductType is not workstation."""

    @property
    def edition_id(self) -> str | None:
        """EditionID of the registry; None when it is not known."""


class NoClientKey(Refusal):
    """No client setup key can be chosen; the text says why and what to do instead."""


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of Windows; ``kind`` is server, sac, annual, client or ltsc."""

    id: str
    name: str
    kind: str
    build_min: int
    build_max: int | None

    def has(self, build: int) -> bool:
        """Whether a build number is one of this release."""
        return self.build_min <= build and (self.build_max is None or build <= self.build_max)


@dataclasses.dataclass(frozen=True)
class SetupKey:
    """A published client setup key (GVLK). It is public: it says which edition, and entitles to nothing."""

    name: str
    group: str
    key: str
    application: Application
    edition_ids: tuple[str, ...] = ()
    skus: tuple[int, ...] = ()
    build_min: int = 0
    build_max: int | None = None
    #: Whether edition, SKU and key are known for certain to belong together (mapping A of the data file).
    certain: bool = True

    @property
    def partial(self) -> str:
        """The last five characters, as PartialProductKey shows them; no two published keys share them."""
        return self.key[-5:]

    def is_for_build(self, build: int) -> bool:
        """Whether the key is published for the release with this build number."""
        return self.build_min <= build and (self.build_max is None or build <= self.build_max)


#: OperatingSystemSKU of the evaluation editions (GetProductInfo), for machines whose EditionID is not known.
_EVALUATION_SKUS = frozenset({72, 79, 80, 84, 129, 130, 159, 160})
_AZURE_SKUS = frozenset({406, 407, 408})
_AZURE_EDITIONS = ("ServerTurbine", "ServerAzureStackHCI")
_CORE_SKUS = frozenset({12, 13, 14, 29, 39, 40, 41, 145, 146, 147, 148, 159, 160, 406, 408})
_LTSC_SKUS = frozenset({125, 126, 129, 130, 191, 205})
_SAC_SKUS = frozenset({145, 146})

#: What Caption must hold, in every language, before a key of an uncertain mapping is taken.
_CONFIRMED_BY = {
    "ServerTurbine": "azure edition",
    "ServerTurbineCor": "azure edition",
    "IoTEnterpriseS": "iot enterprise",
    "ServerHPC": "hpc",
    "ServerHPCV": "hpc",
}


def is_evaluation(edition_id: str | None, sku: int = 0) -> bool:
    """Whether this is an evaluation edition, which takes no volume key at all."""
    return "eval" in edition_id.lower() if edition_id else sku in _EVALUATION_SKUS


def is_azure(edition_id: str | None, sku: int = 0) -> bool:
    """Whether this is an edition for Azure alone (Datacenter: Azure Edition, Azure Stack HCI)."""
    return edition_id.startswith(_AZURE_EDITIONS) if edition_id else sku in _AZURE_SKUS


def is_server_edition(edition_id: str | None) -> bool | None:
    """Whether an EditionID is one of Windows Server; None when it is not known. ServerRdsh is Windows 10 and 11."""
    if not edition_id:
        return None
    return edition_id.startswith("Server") and not edition_id.startswith("ServerRdsh")


def is_core(edition_id: str | None, sku: int = 0) -> bool:
    """Whether edition or SKU tell of Server Core. No is no proof: since 2012 Core often reports as the full edition."""
    return sku in _CORE_SKUS or (edition_id or "").startswith("Server") and (edition_id or "").endswith(("Cor", "Core"))


def generation(build: int, is_server: bool, edition_id: str | None = None, sku: int = 0) -> Release | None:
    """The release that a build is; None for one that is not in the table.

    EditionID (or SKU) is needed for what shares its build with something else: LTSC with Windows 10 and 11, version
    1809 of the semi-annual channel with Server 2019. ``sku`` is looked at only when ``edition_id`` is not known.
    """
    kinds = _kinds(is_server, edition_id, sku)
    return next(
        (release for kind in kinds for release in RELEASES.values() if release.kind == kind and release.has(build)),
        None,
    )


def client_setup_key(
    edition_id: str | None, sku: int, build: int, *, server: bool | None = None, caption: str | None = None
) -> SetupKey:
    """The published client setup key of a Windows; raise NoClientKey if there is none or it is in doubt.

    EditionID decides, and OperatingSystemSKU only in its absence: core editions report various SKUs. ``server``
    (whether ProductType is a server's) and ``caption`` are second opinions, the latter for the few editions of which
    it is not certain that the key belongs to them.
    """
    what = f"{edition_id or f'SKU {sku}'}, build {build}"
    refuse_evaluation(edition_id, sku, build)
    rows = [row for row in SETUP_KEYS if row.application is Application.WINDOWS and row.is_for_build(build)]
    found = [row for row in rows if (edition_id in row.edition_ids if edition_id else sku in row.skus)]
    if not found:
        raise NoClientKey(_nothing_published(edition_id, sku, build, what))
    (row,) = found
    if server is not None and server != is_server_edition(row.edition_ids[0]):
        kind = "server" if server else "workstation"
        raise NoClientKey(
            f"This Windows says that it is a {kind}, but {what} is {row.name}: give the product key itself."
        )
    if not row.certain and not _is_confirmed(row, edition_id, caption):
        raise NoClientKey(
            f"Microsoft publishes a client setup key for {row.name}, but that {what} is this edition is not certain: "
            "check the edition and give the product key itself."
        )
    return row


def refuse_evaluation(edition_id: str | None, sku: int, build: int) -> None:
    """Raise NoClientKey, with the way to convert it, when this is an evaluation edition: it takes no volume key."""
    if is_evaluation(edition_id, sku):
        raise NoClientKey(_evaluation_advice(edition_id, build, f"{edition_id or f'SKU {sku}'}, build {build}"))


def fallback_key(partial_product_key: str) -> ProductKey | None:
    """The published key that was installed, by its last five characters: the only kind that can be put back."""
    row = find_published(partial_product_key)
    return ProductKey(row.key) if row else None


def office_setup_key(name: str) -> SetupKey:
    """The published client setup key of an Office product by its name; raise NoClientKey for an unknown one."""
    by_name = {row.name.lower(): row for row in SETUP_KEYS if row.application is Application.OFFICE}
    wanted = " ".join(name.split()).lower()
    if wanted in by_name:
        return by_name[wanted]
    near = ", ".join(by_name[item].name for item in difflib.get_close_matches(wanted, by_name, n=3))
    raise NoClientKey(f"No published client setup key is named {name!r}." + (f" Did you mean: {near}?" if near else ""))


def find_published(partial_product_key: str | None) -> SetupKey | None:
    """The published key that ends in these five characters, as PartialProductKey tells them; None if none does."""
    return _BY_PARTIAL.get((partial_product_key or "").strip().upper())


def is_published(key: ProductKey) -> bool:
    """Whether the whole key is one of the published ones, which are no secret."""
    row = find_published(key.partial)
    return row is not None and row.key == key.reveal()


def _kinds(is_server: bool, edition_id: str | None, sku: int) -> tuple[str, ...]:
    if not is_server:
        ltsc = edition_id.startswith(("EnterpriseS", "IoTEnterpriseS")) if edition_id else sku in _LTSC_SKUS
        return ("ltsc",) if ltsc else ("client",)
    sac = edition_id.endswith("ACor") if edition_id else sku in _SAC_SKUS
    return ("sac", "annual") if sac else ("server", "sac", "annual")


def _is_confirmed(row: SetupKey, edition_id: str | None, caption: str | None) -> bool:
    word = _CONFIRMED_BY.get(edition_id or row.edition_ids[0])
    return bool(word and caption) and str(word) in str(caption).lower()


def _evaluation_advice(edition_id: str | None, build: int, what: str) -> str:
    text = f"This is an evaluation edition ({what}): it takes no volume key, neither a client's nor a host's."
    if not edition_id or not is_server_edition(edition_id):
        return f"{text} Install the licensed edition first; an evaluation of a client Windows cannot be converted."
    target = re.sub("eval", "", edition_id, flags=re.IGNORECASE)
    keys = [row.key for row in SETUP_KEYS if target in row.edition_ids and row.is_for_build(build)]
    command = f"DISM /Online /Set-Edition:{target} /ProductKey:{keys[0] if keys else '<key>'} /AcceptEula"
    return f"{text} Convert it first, which restarts it: {command} (a domain controller must be demoted before)."


def _nothing_published(edition_id: str | None, sku: int, build: int, what: str) -> str:
    if (edition_id or "").startswith("ServerAzureStackHCI"):
        return f"Azure Stack HCI ({what}) has no client setup key: it is licensed through its Azure subscription."
    same = [row for row in SETUP_KEYS if (edition_id in row.edition_ids if edition_id else sku in row.skus)]
    if same:
        return (
            f"The published client setup keys of this edition are for other builds ({what}): "
            "give the product key itself if there is one for this release."
        )
    return (
        f"Microsoft publishes no client setup key for this edition ({what}): "
        "it cannot be a KMS client unless the edition is changed or a product key is given."
    )


def _read_keys() -> tuple[SetupKey, ...]:
    table = load("client_setup_keys")
    windows = (
        SetupKey(
            name=row["name"],
            group=row["group"],
            key=row["key"],
            application=Application.WINDOWS,
            edition_ids=tuple(row["edition_ids"]),
            skus=tuple(row["operating_system_skus"]),
            build_min=row["build_min"],
            build_max=row["build_max"],
            certain=row["mapping"] == "A",
        )
        for row in table["windows"]
    )
    office = (SetupKey(row["name"], row["group"], row["key"], Application.OFFICE) for row in table["office"])
    return (*windows, *office)


def _read_releases() -> dict[str, Release]:
    rows = load("releases")["releases"]
    return {row["id"]: Release(row["id"], row["name"], row["kind"], *row["builds"]) for row in rows}


#: Every published key, Windows first, in the order of Microsoft's pages.
SETUP_KEYS = _read_keys()
#: Every known release by its id, oldest first within a kind.
RELEASES = _read_releases()
_BY_PARTIAL = {row.partial: row for row in SETUP_KEYS}
