# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a plugin as Ansible knows them, the fragments of its documentation included."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from ansible.plugins.loader import fragment_loader
from ansible.utils.plugin_docs import get_docstring

_OWN = "fleetops.kms."


class _Fragments:
    """Finds fragments of this collection without a collection being installed."""

    def get(self, name: str, *args: Any, **keywords: Any) -> Any:
        if not name.startswith(_OWN):
            return fragment_loader.get(name, *args, **keywords)
        module = f"ansible_collections.{_OWN}plugins.doc_fragments.{name.removeprefix(_OWN)}"
        fragment = importlib.import_module(module).ModuleDocFragment()
        fragment.ansible_name = name
        return fragment


def options_of(plugin: ModuleType, kind: str) -> dict[str, Any]:
    """Return the options of a plugin of a kind, such as ``lookup``."""
    options: dict[str, Any] = get_docstring(plugin.__file__, _Fragments(), plugin_type=kind)[0]["options"]
    return options
