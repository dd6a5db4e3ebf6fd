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
from integration.clean_up.rogue_fleet import BRANCH, CORP, HEALED, KMS1, KMS2, fleet, key_calls, records
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


def injected(title: str, **values: str) -> Data:
    """What a credential type of the guide injects, of a credential with these values."""
    variables = yaml.safe_load(blocks("yaml")[f"{title}: injector configuration"])["extra_vars"]
    fields = yaml.safe_load(blocks("yaml")[f"{title}: input configuration"])["fields"]
    assert {field["id"] for field in fields} == set(values)
    assert any(field.get("secret") for field in fields)
    return {name: jinja2.Template(text).render(values) for name, text in variables.items()}


def survey() -> Data:
    return t.cast(Data, json.loads(blocks("json")[""]))


def survey_answers() -> Data:
    """What AWX passes on when nobody changes an answer: texts, also where a variable is of another type."""
    return {question["variable"]: question["default"] for question in survey()["spec"]}


def tree(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def _leave_out(group: Data, names: t.Container[str]) -> None:
    group["hosts"] = {name: own for name, own in (group.get("hosts") or {}).items() if name not in names}
    for child in (group.get("children") or {}).values():
        _leave_out(child, names)


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
        (self.folder / "env").mkdir()
        self.inventory()

    def inventory(self, *, without: t.Container[str] = (), **variables: t.Any) -> None:
        """The inventory as a job has it: a slice lacks hosts, and keeps the groups with their variables."""
        inventory = yaml.safe_load(self.lab.inventory_path.read_text(encoding="utf-8"))
        inventory["all"].setdefault("vars", {}).update(variables)
        _leave_out(inventory["all"], without)
        (self.folder / "inventory" / "hosts.json").write_text(json.dumps(inventory), encoding="utf-8")

    def run(self, playbook: str, variables: Data, job: str = "") -> Job:
        (self.folder / "env" / "extravars").write_text(json.dumps(variables), encoding="utf-8")
        (self.folder / "home").mkdir(exist_ok=True)
        name = job or playbook.partition(".")[0]
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
        site = controller.run("site.yml", {**TYPED, **injected("credential type", kms_host_product_key=HOST_KEY)})
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


# -- find, approve, convert in slices

TSIG_SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"
ROGUES = tuple(f"{name}.{CORP}" for name in ("web01", "web02", "web03", "shop"))
CLIENTS = tuple(f"{name}.{CORP}" for name in ("pc01", "pc02"))
#: What stands in the inventory, for all hosts.
EVERYWHERE: Data = {"kms_approved_hosts": [KMS1, KMS2], "kms_dns_via": "rfc2136"}
#: Two slices: the approved hosts are in the first.
SLICES = ({KMS1, KMS2, *ROGUES[:2]}, {*ROGUES[2:], *CLIENTS})


@dataclasses.dataclass(frozen=True)
class Rogues:
    """The jobs of the workflow, with what a slice that was refused had sent."""

    found: Job
    unapproved: Job
    windows_dns: Job
    refused_writes: list[str]
    slices: tuple[Job, ...]
    keys: dict[str, list[str]]
    records: set[tuple[str, str, str, str]]
    again: Job


@pytest.fixture(scope="module")
def rogues(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Rogues]:
    described = fleet(rogues=4, clients=2)
    zones = {name: {"tsig": "kms-key"} for name in (CORP, BRANCH)}
    described["dns"] = {"zones": zones, "tsig": {"kms-key": TSIG_SECRET}}
    with LabProcess(described) as lab:
        controller = Controller(tmp_path_factory.mktemp("rogues"), lab)
        everywhere = {**EVERYWHERE, "kms_dns_server": lab.dns, "kms_convert_nameservers": [lab.dns]}
        title = "credential type for DNS updates"
        key = injected(title, kms_dns_tsig_name="kms-key", kms_dns_tsig_secret=TSIG_SECRET)
        template = yaml.safe_load(blocks("yaml")["extra variables of the template for convert_rogues"])
        soon = {"kms_convert_delay": 0, "kms_convert_retries": 2}

        def convert(job: str, hosts: t.Container[str], **variables: t.Any) -> Job:
            left_out = {name for name in (KMS1, KMS2, *ROGUES, *CLIENTS) if name not in hosts}
            controller.inventory(without=left_out, **{**everywhere, **variables})
            return controller.run("convert_rogues.yml", {**soon, **key, **template, **handed_on}, job)

        controller.inventory(**everywhere)
        found = controller.run("find_rogues.yml", key)
        handed_on = found.stats()["artifact_data"]
        lab.reset_stats()
        unapproved = convert("unapproved", SLICES[1], kms_approved_hosts=[])
        windows_dns = convert("windows_dns", SLICES[1], kms_dns_via="windows_dns", kms_dns_server=f"dns1.{CORP}")
        refused_writes = writes(lab)
        slices = tuple(convert(f"slice{number}", hosts) for number, hosts in enumerate(SLICES))
        keys, seen = key_calls(lab), records(lab)
        controller.inventory(**everywhere)
        again = controller.run("find_rogues.yml", key, "again")
        yield Rogues(found, unapproved, windows_dns, refused_writes, slices, keys, seen, again)


def converted(job: Job) -> set[str]:
    rows = job.stats()["artifact_data"]["kms_convert"]["machines"]
    return {row["machine"] for row in rows if row["state"] == "converted"}


def test_a_slice_converts_the_rogues_in_it_from_the_report_of_the_job_before(rogues: Rogues) -> None:
    assert rogues.found.returncode == 0, rogues.found.output
    for job, hosts in zip(rogues.slices, SLICES, strict=True):
        assert job.returncode == 0, job.output
        assert converted(job) == {*ROGUES} & hosts
    assert set(rogues.keys) == {*ROGUES}


def test_the_records_are_removed_with_the_key_of_the_credential(rogues: Rogues) -> None:
    assert rogues.records == HEALED
    kept = [path for job in rogues.slices for path in job.artifacts.rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert [path for path in kept if TSIG_SECRET in path.read_text(errors="replace")] == []
    assert rogues.again.returncode == 0, rogues.again.output
    hosts = rogues.again.stats()["artifact_data"]["kms_rogues"]["hosts"]
    assert {host["fqdn"]: host["status"] for host in hosts} == {KMS1: "approved", KMS2: "approved"}


def test_a_slice_that_cannot_see_the_approved_hosts_says_so(rogues: Rogues) -> None:
    first, second = (job.output for job in rogues.slices)
    assert f"{KMS1} cannot be looked at in this run" in second
    assert "cannot be looked at" not in first


def test_a_slice_that_lacks_what_it_needs_is_refused_before_anything_is_touched(rogues: Rogues) -> None:
    assert rogues.unapproved.returncode != 0
    assert "kms_approved_hosts" in rogues.unapproved.output
    assert rogues.windows_dns.returncode != 0
    assert "kms_dns_server" in rogues.windows_dns.output
    assert rogues.refused_writes == []
