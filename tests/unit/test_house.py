# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the house that no linter knows: which room may import which, and that a module's parts agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
COLLECTION = "ansible_collections.fleetops.kms.plugins"

# Ansible loads these folders by name; everything else is ours to arrange.
PLUGIN_KINDS = ("action", "doc_fragments", "filter", "inventory", "lookup", "modules", "test")

# Room -> rooms that it may import. Each sees only what lies below it, so the protocol can be read without Windows,
# Windows without licensing, licensing without Ansible.
ARROWS = {
    "_wsman": set(),
    "_dns": set(),
    "_windows": {"_wsman"},
    "_licensing": {"_windows", "_wsman"},
    "_fleet": {"_licensing", "_dns"},
    "_ansible": {"_licensing", "_windows", "_wsman", "_dns", "_fleet"},
}
# Who may know Ansible, its connections and sockets: the others are handed what they need.
FOREIGN = {"ansible", "pypsrp", "requests", "socket", "spnego", "urllib3", "winrm"}
FACING = {"_ansible": FOREIGN, "_dns": {"socket"}}


def _imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, those inside functions included."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".")
            yield ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
        elif isinstance(node, ast.ImportFrom):
            module = (node.module or "").replace(COLLECTION, "plugins")
            # "from package import room" names the room only on the right.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _room(module: str) -> str | None:
    """The room of plugin_utils that an import leads to."""
    found = re.match(r"plugins\.plugin_utils\.(\w+)", module.replace(COLLECTION, "plugins"))
    return found[1] if found else None


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_room_is_known() -> None:
    rooms = {path.name for path in (PLUGINS / "plugin_utils").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= set(ARROWS)


@pytest.mark.parametrize("path", _sources("plugins/plugin_utils"), ids=_name)
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(PLUGINS / "plugin_utils").parts[0]
    met = {room for module in _imports(path) if (room := _room(module))}
    assert met <= {own, *ARROWS[own]}


@pytest.mark.parametrize("path", _sources("plugins/plugin_utils"), ids=_name)
def test_only_what_faces_ansible_knows_ansible_or_sockets(path: Path) -> None:
    own = path.relative_to(PLUGINS / "plugin_utils").parts[0]
    met = {module.split(".")[0] for module in _imports(path)} & FOREIGN
    assert met <= FACING.get(own, set())


@pytest.mark.parametrize("path", _sources("plugins"), ids=_name)
def test_no_folder_hides_a_module(path: Path) -> None:
    """Ansible's loader takes a folder of that name, package or not, where Python's own would take the module."""
    assert not path.with_suffix("").is_dir()


@pytest.mark.parametrize("path", _sources("tests/lab"), ids=_name)
def test_the_lab_shares_no_code_with_the_plugins(path: Path) -> None:
    assert not [module for module in _imports(path) if module.split(".")[0] in ("ansible_collections", "plugins")]


@pytest.mark.parametrize("path", _sources(*(f"plugins/{kind}" for kind in PLUGIN_KINDS)), ids=_name)
def test_a_plugin_names_its_licence_and_defers_annotations(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("# GNU General Public License v3.0+") for line in lines[:4])
    documented_only = all(isinstance(node, ast.Expr) for node in ast.parse("\n".join(lines)).body)
    assert documented_only or "from __future__ import annotations" in lines


def _modules(folder: str, suffix: str) -> set[str]:
    return {path.stem for path in (PLUGINS / folder).glob(f"*{suffix}")}


def test_a_module_is_its_documentation_a_stub_and_an_action() -> None:
    documented = _modules("modules", ".yml")
    assert documented == _modules("modules", ".py") == _modules("action", ".py")


def test_the_action_group_names_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert set(runtime["action_groups"]["kms"]) == _modules("modules", ".yml")


@pytest.mark.parametrize("path", sorted((PLUGINS / "modules").glob("*.yml")), ids=_name)
def test_a_module_documents_itself_with_typed_options(path: Path) -> None:
    documentation = yaml.safe_load(path.read_text(encoding="utf-8"))["DOCUMENTATION"]
    assert documentation["module"] == path.stem
    assert all("type" in option for option in (documentation.get("options") or {}).values())


def _fragments_of_modules() -> list[Path]:
    texts = [path.read_text(encoding="utf-8") for path in (PLUGINS / "modules").glob("*.yml")]
    return [path for path in _sources("plugins/doc_fragments") if any(f"fleetops.kms.{path.stem}" in t for t in texts)]


@pytest.mark.parametrize("path", _fragments_of_modules(), ids=_name)
def test_a_fragment_of_a_module_brings_no_options(path: Path) -> None:
    """A run reads its options from the module's own file, which knows nothing of fragments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    texts = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    assert texts
    assert not any(yaml.safe_load(text).get("options") for text in texts)


# Inputs that are one for a whole fleet, so that several roles and playbooks share them.
FLEET_INPUTS = re.compile(r"kms_(approved_hosts|domains|report_path|dns_\w+)")


@pytest.mark.parametrize("path", sorted((ROOT / "roles").glob("*/")), ids=_name)
def test_a_role_declares_its_inputs_and_prefixes_them(path: Path) -> None:
    specification = yaml.safe_load((path / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    for entry in specification["argument_specs"].values():
        names = [name for name in entry.get("options", {}) if not FLEET_INPUTS.fullmatch(name)]
        assert all(name.startswith(f"{path.name}_") for name in names)
    assert (path / "README.md").is_file()


_OWN_PATHS = re.compile(r"(?<![\w./~-])/(?:work|root|home|Users)/\w")
_TEXT = {".cfg", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ""}
_SHIPPED = ("changelogs", "docs", "extensions", "meta", "playbooks", "plugins", "roles", "tests")


def _texts() -> list[Path]:
    files = [path for folder in _SHIPPED for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    return [path for path in files if path.suffix in _TEXT and not {"__pycache__", "output"} & set(path.parts)]


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in _texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _OWN_PATHS.search(line)
    ]
    assert not found


def test_no_sanity_failure_is_ignored() -> None:
    kept = [line for path in (ROOT / "tests/sanity").glob("ignore*.txt") for line in path.read_text().splitlines()]
    assert not [line for line in kept if line.strip() and not line.startswith("#")]
