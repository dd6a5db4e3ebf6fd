# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the data files beside this module."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

#: The C parser, where PyYAML was built with it, is some ten times faster than the Python one.
_Loader: t.Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FOLDER = pathlib.Path(__file__).parent / "data"


def load(name: str) -> t.Any:
    """Parse ``data/<name>.yml``. Call it once, when the using module is imported: parsing is not cached."""
    return yaml.load((_FOLDER / f"{name}.yml").read_bytes(), Loader=_Loader)
