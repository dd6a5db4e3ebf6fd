# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project of docs/awx.md, run as AWX runs it: by ansible-runner, with extra variables and an inventory."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import typing as t

import jinja2
import pytest
import yaml
from integration.kit import ROOT, Data, environment, program, writes

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
FLEET: Data = {
    "seed": 1,
    "keys": [{"key": HOST_KEY, "kind": "csvlk", "product": "server-2022"}],
    "dns": {"zones": {"corp.example.com": None, "branch.example.net": None}},
    "machines": {
        "kms1": {
            "windows": "server2022/ServerStandard",
            "domain": "corp.example.com",
            "group": "kms_hosts",
            "vars": {"kms_host_rank": "primary"},
        },
        "kms2": {
            "windows": "server2022/ServerStandard",
            "domain": "corp.example.com",
            "group": "kms_hosts",
            "vars": {"kms_host_rank": "secondary"},
        },
        "srv": {
            "count": 6,
            "windows": "server2019/ServerStandard",
            "domain": ["corp.example.com", "branch.example.net"],
        },
    },
}
#: What AWX's own database would give: not in the project, not in the inventory.
TYPED: Data = {"kms_host_verify_retries": 20, "kms_host_verify_delay": 1}


def guide() -> str:
    return (ROOT / "docs" / "awx.md").read_text(encoding="utf-8")


def blocks(language: str) -> dict[str, str]:
    """The code blocks of the guide by the comment in their first line."""
    found = re.findall(rf"```{language}\n(?:# ([^\n]+)\n)?(.*?)```", guide(), flags=re.DOTALL)
    return dict(found)


def extra_vars() -> Data:
    """What the credential type of the guide injects."""
    injected = yaml.safe_load(blocks("yaml")["credential type: injector configuration"])["extra_vars"]
    (field,) = yaml.safe_load(blocks("yaml")["credential type: input configuration"])["fields"]
    assert field["secret"] is True
    return {name: jinja2.Template(text).render({field["id"]: HOST_KEY}) for name, text in injected.items()}


def survey() -> Data:
    return t.cast(Data, json.loads(blocks("json")[""]))


def survey_answers() -> Data:
    """What AWX passes on when nobody changes an answer: texts, also where a variable is of another type."""
    return {question["variable"]: question["default"] for question in survey()["spec"]}


def tree(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclasses.dataclass
class Controller:
    """A private data folder as AWX makes one for a job."""

    folder: pathlib.Path
    lab: LabProcess

    def __post_init__(self) -> None:
        for name, text in blocks("yaml").items():
            if name.endswith(".yml"):
                path = self.folder / "project" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        (self.folder / "inventory").mkdir()
        inventory = yaml.safe_load(self.lab.inventory_path.read_text(encoding="utf-8"))
        (self.folder / "inventory" / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")
        (self.folder / "env").mkdir()

    def run(self, playbook: str, variables: Data) -> Job:
        (self.folder / "env" / "extravars").write_text(json.dumps(variables), encoding="utf-8")
        (self.folder / "home").mkdir(exist_ok=True)
        name = playbook.partition(".")[0]
        done = subprocess.run(
            [program("ansible-runner"), "run", str(self.folder), "-p", playbook, "--ident", name, "-v"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment(self.folder / "home"),
            timeout=300,
            check=False,
        )
        return Job(done.returncode, done.stdout.decode(errors="replace"), self.folder / "artifacts" / name)


@dataclasses.dataclass(frozen=True)
class Job:
    returncode: int
    output: str
    artifacts: pathlib.Path

    def stats(self) -> Data:
        """The last event: what each host did, and what set_stats has handed on."""
        events = [json.loads(path.read_text()) for path in (self.artifacts / "job_events").glob("*.json")]
        (found,) = [event for event in events if event["event"] == "playbook_on_stats"]
        return t.cast(Data, found["event_data"])


@dataclasses.dataclass(frozen=True)
class Story:
    project_before: dict[str, str]
    project_after: dict[str, str]
    site: Job
    verify: Job
    again: Job
    writes_again: list[str]
    shells: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Story]:
    with LabProcess(FLEET) as lab:
        controller = Controller(tmp_path_factory.mktemp("awx"), lab)
        project = controller.folder / "project"
        before = tree(project)
        site = controller.run("site.yml", {**TYPED, **extra_vars()})
        verify = controller.run("verify.yml", {})
        shells = lab.totals()["shells"]
        lab.reset_stats()
        again = controller.run("configure_clients.yml", survey_answers())
        yield Story(before, tree(project), site, verify, again, writes(lab), shells)


def test_the_project_holds_a_file_for_each_template() -> None:
    files = {name: text for name, text in blocks("yaml").items() if name.endswith(".yml")}
    requirements = yaml.safe_load(files.pop("collections/requirements.yml"))
    assert [entry["name"] for entry in requirements["collections"]] == ["fleetops.kms"]
    assert {"site.yml", "deploy_hosts.yml", "configure_clients.yml", "verify.yml"} <= set(files)
    for name, text in files.items():
        assert (ROOT / "playbooks" / name).is_file()
        assert yaml.safe_load(text) == [{"import_playbook": f"fleetops.kms.{name.partition('.')[0]}"}]
    named_by_templates = set(re.findall(r"\| `(\w+\.yml)` \|", guide()))
    assert named_by_templates <= set(files)


def test_site_ends_well(story: Story) -> None:
    assert story.site.returncode == 0, story.site.output
    stats = story.site.stats()
    assert not stats["failures"] and not stats["dark"]
    assert stats["changed"]["kms1.corp.example.com"] >= 1


def test_the_findings_are_in_the_artifacts(story: Story) -> None:
    assert story.verify.returncode == 0, story.verify.output
    found = story.verify.stats()["artifact_data"]["kms_verify"]
    assert found["failed"] == 0
    assert found["clients_licensed"] == 6


def test_nothing_is_left_in_the_project(story: Story) -> None:
    assert story.project_after == story.project_before


def test_the_key_is_in_no_artifact(story: Story) -> None:
    groups = HOST_KEY.split("-")[:4]
    kept = [path for path in story.site.artifacts.rglob("*") if path.is_file()]
    assert len(kept) > 20
    for path in kept:
        text = path.read_text(errors="replace").upper()
        assert "-".join(groups) not in text and "".join(groups) not in text, path
    assert "-".join(groups) not in story.site.output.upper()


def test_a_job_without_the_key_configures_clients_and_writes_nothing_more(story: Story) -> None:
    assert story.again.returncode == 0, story.again.output
    assert story.writes_again == []
    assert story.shells == 0


def test_the_survey_asks_for_variables_of_the_roles() -> None:
    assert set(survey()) == {"name", "description", "spec"}
    specs = [yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml")]
    known = {name for spec in specs for name in spec["argument_specs"]["main"]["options"]}
    for question in survey()["spec"]:
        assert {"type", "question_name", "variable", "required"} <= set(question)
        assert question["variable"] in known
        assert question["default"] in question.get("choices", [question["default"]])
