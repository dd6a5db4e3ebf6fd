# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong: one readable message, what was changed is told, and the next run repairs it.

Each case is a machine of its own. All cases run in one playbook, then what went wrong is mended in the lab, then the
playbook runs again.
"""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from integration.kit import Ansible, Data, Run, host_vars, inventory, play, task

from lab.client import LabProcess

HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HK222"
EXHAUSTED_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HKQQQ"
OFFICE_HOST_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-HKVVV"
MAK_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-MK222"
UNKNOWN_KEY = "QWRTY-PVKMX-NBCDF-GHJKW-BCDFG"
OFFICE_2021 = "FXYTK-NJJ8C-GB6DW-3DYQT-6F7TH"
VISIO_2021 = "KNH8D-FGHT4-T8RK3-CTDYJ-K2HT4"

SERVER: Data = {"windows": "server2022/ServerStandard"}
#: A server that Active Directory activates: whatever keeps it from that is the case.
MEMBER: Data = {**SERVER, "domain": "corp.example.com"}
#: One that asks DNS of a domain without Active Directory.
LONER: Data = {**SERVER, "joined": False}

KMS_ONLY: Data = {"activation_type": "kms"}
PUBLISH: Data = {"publish": [{"domain": "corp.example.com", "priority": 10, "weight": 100}]}
HOST: Data = {"product_key": HOST_KEY, **PUBLISH}

Commands = tuple[tuple[str, Data], ...]
CLEAR: Commands = (("clear_faults", {}),)


@dataclasses.dataclass(frozen=True)
class Case:
    """A machine, the task that is run on it, what the task must say, and how it is put right.

    ``sent`` are the calls of a method that the machine must have seen in the first run. The second run has ``again``
    in place of ``arguments`` and must end as ``then`` says, with a machine that shows ``shows``. ``variables`` are for
    the first run only, ``prepare`` and ``mend`` are commands of the lab in front of either run.
    """

    module: str
    arguments: Data
    says: tuple[str, ...]
    machine: Data = dataclasses.field(default_factory=lambda: MEMBER)
    kind: str = "failed"
    changed: tuple[str, ...] = ()
    hresult: str | None = None
    sent: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    variables: Data = dataclasses.field(default_factory=dict)
    connection: str = "winrm"
    prepare: Commands = ()
    mend: Commands = CLEAR
    again: Data | None = None
    then: str = "ok"
    shows: Data = dataclasses.field(default_factory=dict)


def faulty(*faults: Data | str, **more: t.Any) -> Data:
    """A member server with faults from the start."""
    return {**MEMBER, **more, "faults": [{"fault": item} if isinstance(item, str) else item for item in faults]}


def provider_error(shape: str, language: str) -> Case:
    fault = {"fault": "error", "code": "0xC004E002", "shape": shape, "method": "InstallProductKey"}
    return Case(
        "client",
        {"product_key": "client_setup", "host_caching": False},
        ("0xC004E002", "licence store", "Installing the KMS client key"),
        faulty(fault, licence="retail", activated=False, fault_shape=shape, language=language),
        hresult="0xC004E002",
        sent={"Activate": 0},
        shows={"license_status_name": "licensed"},
    )


def hostile(fault: str, says: str, **more: t.Any) -> Case:
    return Case("client", {"host_caching": False}, (says,), faulty({"fault": fault, **more}), kind="")


CASES: dict[str, Case] = {
    # -- not reached
    "wrong-password": Case(
        "client",
        {},
        ("credentials were refused", "ansible_password"),
        kind="unreachable",
        variables={"ansible_password": "wrong"},
    ),
    "wrong-password-psrp": Case(
        "client",
        {},
        ("credentials were refused", "ansible_password"),
        kind="unreachable",
        connection="psrp",
        variables={"ansible_password": "wrong"},
    ),
    "dead": Case("client", {}, ("no connection to", "refused", "ansible_port"), faulty("dead"), kind="unreachable"),
    "silent": Case(
        "client",
        {},
        ("Connecting failed on silent", "was lost"),
        faulty({"fault": "hang", "seconds": 0.5}),
        kind="unreachable",
    ),
    "access-denied": Case("client", {}, ("0x80070005", "denied"), faulty("access_denied"), hresult="0x80070005"),
    "quota": Case("client", {}, ("0x803381A6",), faulty("quota"), hresult="0x803381A6"),
    "too-large": Case("client", {}, ("HTTP 413",), faulty("http_413"), kind="unreachable"),
    # -- hostile answers
    "doctype": hostile("doctype", "document type declaration"),
    "entity-bomb": hostile("entity_bomb", "document type declaration"),
    "oversize": hostile("oversize", "more than the 2000000 allowed"),
    "half-answer": hostile("half_answer", "half-answer"),
    "wrong-relates-to": hostile("wrong_relates_to", "another request"),
    "not-xml": hostile("not_xml", "XML"),
    # -- errors of the provider, in every shape and in another language
    "error-wmi": provider_error("wmi_error", "en-US"),
    "error-wsman": provider_error("wsman_fault", "de-DE"),
    "error-extended": provider_error("extended", "de-DE"),
    # -- keys
    "invalid-key": Case(
        "host",
        {**HOST, "product_key": UNKNOWN_KEY},
        ("0xC004F050 SL_E_INVALID_PRODUCT_KEY", "Installing the KMS host key *****-BCDFG"),
        changed=("publish_list",),
        hresult="0xC004F050",
        sent={"InstallProductKey": 1, "Activate": 0},
        again=HOST,
        shows={"role": "kms_host", "license_status_name": "licensed"},
    ),
    "no-host-key": Case(
        "host",
        {**HOST, "product_key": MAK_KEY},
        ("not a KMS host key", "Volume:MAK", "*****-VMK7H", "put back"),
        changed=("publish_list",),
        sent={"InstallProductKey": 2, "Activate": 0},
        again=HOST,
        shows={"role": "kms_host", "license_status_name": "licensed"},
    ),
    "no-client-key": Case(
        "client",
        {"product_key": MAK_KEY},
        ("not a KMS client key", "*****-VMK7H", "put back"),
        sent={"InstallProductKey": 2, "Activate": 0},
        again={},
        shows={"role": "kms_client", "license_status_name": "licensed"},
    ),
    "wrong-edition": Case(
        "client",
        {"product_key": "WX4NM-KYWYW-QJJR4-XV3QB-6VM33"},
        ("0xC004F069 SL_E_MISMATCHED_PRODUCT_SKU", "edition"),
        hresult="0xC004F069",
        again={},
        shows={"license_status_name": "licensed"},
    ),
    "evaluation-client": Case(
        "client",
        {},
        ("evaluation edition", "DISM /Online /Set-Edition:ServerStandard"),
        {**MEMBER, "windows": "server2022/ServerStandardEval"},
        then="failed",
    ),
    "evaluation-host": Case(
        "host",
        HOST,
        ("evaluation edition",),
        {**MEMBER, "windows": "server2022/ServerStandardEval"},
        sent={"InstallProductKey": 0},
        then="failed",
    ),
    "azure-edition": Case(
        "host",
        HOST,
        ("Azure edition cannot be a KMS host",),
        {**MEMBER, "windows": "server2022/ServerTurbine"},
        sent={"InstallProductKey": 0},
        then="failed",
    ),
    "exhausted-key": Case(
        "host",
        {"product_key": EXHAUSTED_KEY, **PUBLISH},
        ("0xC004C008 SL_E_CHPA_MAXIMUM_UNLOCK_EXCEEDED", "6 ", "installation ID", "confirmation_id"),
        changed=("publish_list", "product_key"),
        hresult="0xC004C008",
        sent={"InstallProductKey": 1, "Activate": 1},
        then="failed",
    ),
    "no-internet": Case(
        "host",
        HOST,
        ("0x80072EE2", "Activating"),
        {**MEMBER, "internet": False},
        changed=("publish_list", "product_key"),
        hresult="0x80072EE2",
        mend=(("set_state", {"internet": True}),),
        shows={"role": "kms_host", "license_status_name": "licensed"},
    ),
    # -- no KMS host
    "no-srv": Case(
        "client",
        {"host_caching": False, **KMS_ONLY},
        ("0x8007232B", "_vlmcs._tcp", "lookup_domain or server"),
        {**LONER, "domain": "empty.example.com"},
        changed=("host_caching", "activation_type"),
        hresult="0x8007232B",
        then="failed",
    ),
    "unknown-domain": Case(
        "client",
        {"lookup_domain": "nowhere.corp.example.com", **KMS_ONLY},
        ("0x8007232B", "_vlmcs._tcp", "lookup_domain or server"),
        changed=("lookup_domain", "activation_type"),
        hresult="0x8007232B",
        again={"lookup_domain": "", "activation_type": "all"},
        shows={"license_status_name": "licensed", "activation_type": "ad"},
    ),
    "no-kms-host": Case(
        "client",
        KMS_ONLY,
        ("0xC004F074 SL_E_VL_BINDING_SERVICE_UNAVAILABLE", "0x800706BA", "1688"),
        {**LONER, "domain": "dead.example.com"},
        changed=("activation_type",),
        hresult="0xC004F074",
        then="failed",
    ),
    "below-threshold": Case(
        "client",
        KMS_ONLY,
        (),
        {**LONER, "domain": "cold.example.com"},
        kind="ok",
        changed=("activation_type",),
        then="ok",
    ),
    # -- lost on the way
    "lost-after-write": Case(
        "client",
        {"server": "kms9.example.com", "host_caching": False},
        ("Setting server", "was lost", "Run again", "Changed before it failed: server"),
        faulty({"fault": "drop_after", "when": "after", "method": "SetKeyManagementServiceMachine", "times": 1}),
        kind="unreachable",
        changed=("server",),
        sent={"SetKeyManagementServiceMachine": 1, "DisableKeyManagementServiceHostCaching": 0},
        again={"server": "", "host_caching": False},
        shows={"host_caching": False, "kms_server": None},
    ),
    "died-after-writes": Case(
        "client",
        {"server": "kms9.example.com", "host_caching": False},
        ("Setting host_caching", "Changed before it failed: server"),
        {**MEMBER, "die_on_method": "DisableKeyManagementServiceHostCaching"},
        kind="unreachable",
        changed=("server",),
        mend=(("set_state", {"die_on_method": ""}), ("start_machine", {})),
        again={"server": "", "host_caching": False},
        shows={"host_caching": False, "kms_server": None},
    ),
    "died-before-the-start": Case(
        "host",
        HOST,
        ("Starting the Software Protection service", "Changed before it failed: publish_list"),
        {**MEMBER, "die_on_method": "StartService"},
        kind="unreachable",
        changed=("publish_list",),
        sent={"InstallProductKey": 0},
        mend=(("set_state", {"die_on_method": ""}), ("start_machine", {})),
        shows={"role": "kms_host", "publish_list": ["corp.example.com, 10, 100"]},
    ),
    "disabled-service": Case(
        "host",
        HOST,
        ("Starting the Software Protection service", "disabled"),
        changed=("publish_list",),
        sent={"InstallProductKey": 0},
        prepare=(("set_state", {"service": "disabled"}),),
        mend=(("set_state", {"service": "auto"}),),
        shows={"role": "kms_host"},
    ),
    "dropped-between": Case(
        "client",
        {"host_caching": False},
        (),
        faulty({"fault": "drop_after", "when": "between", "times": 4}),
        kind="ok",
        changed=("host_caching", "activated"),
    ),
    "dropped-while-reading": Case(
        "client",
        {"host_caching": False},
        (),
        faulty({"fault": "drop_after", "when": "after", "action": "Enumerate", "times": 1}),
        kind="ok",
        changed=("host_caching", "activated"),
    ),
    "slow-key": Case(
        "host",
        HOST,
        (),
        faulty({"fault": "timed_out", "seconds": 1.5, "method": "InstallProductKey", "times": 1}),
        kind="ok",
        changed=("publish_list", "product_key", "activated"),
        sent={"InstallProductKey": 1, "Activate": 1},
        shows={"role": "kms_host"},
    ),
    "slow-activation": Case(
        "client",
        {},
        (),
        faulty({"fault": "timed_out", "seconds": 1.5, "method": "Activate", "times": 1}),
        kind="ok",
        changed=("activated",),
        sent={"Activate": 1},
        shows={"license_status_name": "licensed"},
    ),
    "lost-activation": Case(
        "client",
        {},
        (),
        faulty({"fault": "drop_after", "when": "after", "method": "Activate", "times": 1}),
        kind="ok",
        changed=("activated",),
        sent={"Activate": 1},
        shows={"license_status_name": "licensed"},
    ),
    # -- what is not given up unasked
    "mak": Case(
        "client",
        {},
        ("activated licence of the kind mak", "replace: [mak] (kms_client_replace in the role)"),
        {**MEMBER, "licence": MAK_KEY, "activated": True},
        sent={"InstallProductKey": 0},
        again={"replace": ["mak"]},
        shows={"role": "kms_client", "license_status_name": "licensed"},
    ),
    "oem": Case(
        "client",
        {},
        ("activated licence of the kind oem", "replace: [oem]"),
        {"windows": "windows11/Professional", "domain": "corp.example.com", "licence": "oem"},
        sent={"InstallProductKey": 0},
        again={"replace": ["oem"]},
        shows={"role": "kms_client", "license_status_name": "licensed"},
    ),
    "kms-host": Case(
        "client",
        {},
        ("is a KMS host", "convert_host: true", "fleetops.kms.convert_rogues"),
        {**MEMBER, "licence": HOST_KEY, "activated": True},
        sent={"InstallProductKey": 0},
        again={"convert_host": True},
        shows={"role": "kms_client", "is_kms_host": False, "dns_publishing": False},
    ),
    "several-office": Case(
        "client",
        {"application": "office", "product_key": "keep"},
        ("activation_id must name one", "*****-6F7TH", "*****-K2HT4"),
        {
            **MEMBER,
            "office": ["Professional Plus/2021", "Visio Professional/2021"],
            "keys": [{"key": OFFICE_2021}, {"key": VISIO_2021}],
        },
        then="failed",
    ),
    "office-host-key": Case(
        "host",
        {"application": "office", "product_key": OFFICE_HOST_KEY},
        (),
        {**MEMBER, "office_pack": ["office-2021"], "activated": True},
        kind="ok",
        changed=("product_key", "activated"),
        shows={"role": "kms_client", "license_status_name": "licensed", "is_kms_host": True},
    ),
    "office-without-pack": Case(
        "host",
        {"application": "office", "product_key": OFFICE_HOST_KEY},
        ("0xC004F015",),
        hresult="0xC004F015",
        then="failed",
    ),
    # -- old Windows
    "windows7-client": Case(
        "client",
        {},
        ("Windows 7", "7601", "older than Windows 8"),
        {"windows": "windows7/Enterprise", "domain": "corp.example.com"},
        then="failed",
    ),
    "server2008r2-host": Case(
        "host",
        HOST,
        ("2008 R2", "7601", "older than Windows Server 2012"),
        {"windows": "server2008r2/ServerStandard", "domain": "corp.example.com"},
        sent={"InstallProductKey": 0},
        then="failed",
    ),
    "windows7-info": Case(
        "info",
        {},
        (),
        {"windows": "windows7/Enterprise", "domain": "corp.example.com"},
        kind="ok",
        shows={"role": "kms_client", "build": 7601, "partial_product_key": "HVTHH", "lookup_domain": None},
    ),
    # -- a zone that refuses the host
    "refused-update": Case(
        "host",
        HOST,
        (),
        {**MEMBER, "publish_refused": ["*"]},
        kind="ok",
        changed=("publish_list", "product_key", "activated"),
    ),
}

#: What happens on the wire, happens to both libraries.
ON_THE_WIRE = (
    "dead",
    "silent",
    "too-large",
    "doctype",
    "oversize",
    "half-answer",
    "wrong-relates-to",
    "not-xml",
    "error-extended",
    "lost-after-write",
    "dropped-between",
    "dropped-while-reading",
    "slow-key",
    "lost-activation",
)
CASES.update({f"{name}-psrp": dataclasses.replace(CASES[name], connection="psrp") for name in ON_THE_WIRE})

#: Modules in the order of the playbook.
MODULES = ("info", "client", "host")


def fleet() -> Data:
    machines: Data = {
        "kms0": {**SERVER, "licence": HOST_KEY, "activated": True, "kms_rule": True, "domain": "cold.example.com"},
        "gone": {**SERVER, "licence": HOST_KEY, "activated": True, "domain": "dead.example.com"},
    }
    machines.update({name: case.machine for name, case in CASES.items()})
    return {
        "seed": 1,
        "keys": [
            {"key": HOST_KEY, "kind": "csvlk", "product": "server-2022", "limit": 50},
            {"key": EXHAUSTED_KEY, "kind": "csvlk", "product": "server-2022", "limit": 0},
            {"key": OFFICE_HOST_KEY, "kind": "csvlk", "product": "office-2021"},
            {"key": MAK_KEY, "kind": "mak", "limit": 50},
        ],
        "dns": {"zones": dict.fromkeys(f"{zone}.example.com" for zone in ("corp", "empty", "dead", "cold"))},
        "active_directory": {"activation_objects": [{"name": "all", "key": HOST_KEY}]},
        "machines": machines,
    }


def full_name(name: str) -> str:
    domain = CASES[name].machine.get("domain")
    return f"{name}.{domain}" if domain else name


@dataclasses.dataclass(frozen=True)
class Story:
    """Two runs of the same playbook, the first with all that is wrong.

    ``calls`` by machine and method, ``refused`` logons by machine.
    """

    first: Run
    second: Run
    calls: dict[str, dict[str, int]]
    refused: dict[str, int]
    confirmed: Run
    totals: Data
    events: Run


def _inventory(variables: dict[str, Data], arguments: t.Callable[[Case], Data], *, wrong: bool) -> Data:
    groups: dict[str, dict[str, Data]] = {module: {} for module in MODULES}
    for name, case in CASES.items():
        own = {**variables[name], **(case.variables if wrong else {}), "kms_arguments": arguments(case)}
        groups[case.module][name] = own
    return inventory(groups, ansible_winrm_connection_timeout=10, ansible_psrp_connection_timeout=10)


def _command(lab: LabProcess, commands: t.Callable[[Case], Commands]) -> None:
    for name, case in CASES.items():
        for command, arguments in commands(case):
            lab.call(command, machine=full_name(name), **arguments)


def _calls(lab: LabProcess) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for machine, stats in lab.stats()["machines"].items():
        counted = found.setdefault(machine.partition(".")[0], {})
        for call in stats["invokes"]:
            counted[call["method"]] = counted.get(call["method"], 0) + 1
    return found


def _refused(lab: LabProcess) -> dict[str, int]:
    machines = lab.stats()["machines"]
    return {name.partition(".")[0]: stats["refused_authentications"] for name, stats in machines.items()}


PLAYBOOK = [
    play(module, {"name": "work", f"fleetops.kms.{module}": {}, "args": "{{ kms_arguments }}"}) for module in MODULES
]


@pytest.fixture(scope="module")
def story(ansible: Ansible) -> t.Iterator[Story]:
    with LabProcess(fleet()) as lab:
        lab.stop_machine("gone.dead.example.com")
        ways = {connection: host_vars(lab, connection) for connection in ("winrm", "psrp")}
        variables = {name: ways[case.connection][name] for name, case in CASES.items()}
        _command(lab, lambda case: case.prepare)
        lab.reset_stats()
        first = ansible.playbook(PLAYBOOK, _inventory(variables, lambda case: case.arguments, wrong=True))
        calls, refused = _calls(lab), _refused(lab)
        _command(lab, lambda case: case.mend)
        again = _inventory(variables, lambda case: case.arguments if case.again is None else case.again, wrong=False)
        second = ansible.playbook(PLAYBOOK, again)
        exhausted = {**variables["exhausted-key"], "cid": _confirmation(lab, first)}
        confirmed = ansible.playbook(
            [play("all", task("deposit", "activation", {"confirmation_id": "{{ cid }}"}))],
            inventory({"exhausted": {"exhausted-key": exhausted}}),
        )
        events = ansible.playbook(
            [play("all", task("info", "info", {"events": True}))],
            inventory({"refused": {"refused-update": variables["refused-update"]}}),
        )
        yield Story(first, second, calls, refused, confirmed, lab.totals(), events)


def _confirmation(lab: LabProcess, run: Run) -> str:
    """What the telephone service says to the installation ID that the message gives."""
    words = run.result("exhausted-key")["msg"].split()
    installation_id = next(word.strip(".,") for word in words if len(word.strip(".,")) == 63)
    return str(lab.call("confirmation_id", installation_id=installation_id))


def settings(result: Data) -> tuple[str, ...]:
    return tuple(row["setting"] for row in result["changes"])


@pytest.mark.parametrize("name", CASES)
def test_the_first_run_says_what_is_wrong_and_what_was_changed(story: Story, name: str) -> None:
    case, result = CASES[name], story.first.result(name)
    if case.kind:
        assert result["kind"] == case.kind, result
    message = str(result.get("msg", ""))
    if result["kind"] != "ok":
        assert name in message
        assert "Traceback" not in message and "\n" not in message
    assert [part for part in case.says if part not in message] == [], message
    assert settings(result) == case.changed if case.module != "info" else True
    assert result.get("changed", False) is bool(case.changed)
    assert result.get("hresult") == case.hresult


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.sent])
def test_no_write_is_sent_twice(story: Story, name: str) -> None:
    case = CASES[name]
    assert {method: story.calls[name].get(method, 0) for method in case.sent} == dict(case.sent)


@pytest.mark.parametrize("name", ["wrong-password", "wrong-password-psrp"])
def test_a_wrong_password_is_tried_once(story: Story, name: str) -> None:
    """Each try counts towards an account lockout."""
    assert story.refused[name] == 1


@pytest.mark.parametrize("name", CASES)
def test_the_next_run_repairs_it(story: Story, name: str) -> None:
    case, result = CASES[name], story.second.result(name)
    assert result["kind"] == case.then, result
    if case.then == "ok":
        assert {setting: result["kms"][setting] for setting in case.shows} == case.shows


def test_a_host_below_its_threshold_is_pending_with_its_count(story: Story) -> None:
    result = story.first.result("below-threshold")
    assert result["pending"] == "below_threshold"
    assert result["answered_count"] == 1


def test_an_office_host_key_stands_beside_the_windows_key(story: Story) -> None:
    products = {item["application"]: item for item in story.second.result("office-host-key")["kms"]["products"]}
    assert products["windows"]["role"] == "kms_client"
    assert products["windows"]["license_status_name"] == "licensed"
    assert products["office"]["role"] == "kms_host"
    assert story.second.result("office-host-key")["changed"] is False


def test_an_exhausted_host_key_is_activated_by_telephone(story: Story) -> None:
    result = story.confirmed.assert_ok().result("exhausted-key")
    assert result["changes"] == [{"setting": "activated", "before": False, "after": True}]
    assert result["verified"] is True


def test_a_refused_dynamic_update_is_seen_in_the_events(story: Story) -> None:
    events = story.events.assert_ok().result("refused-update")["kms"]["events"]
    failed = [event for event in events if event["code"] == 12293]
    assert failed and failed[0]["fields"] == ["0x80072338", "corp.example.com"]


def test_no_shell_and_no_runspace_is_opened(story: Story) -> None:
    assert story.totals["shells"] == 0
