# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services, registry, firewall rules and events over a CIM client that only remembers what it was asked."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.classes import LOG_EVENT, SERVICE
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.errors import (
    OperationFailed,
    hresult_from_return_value,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.event_log import EventLog
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.firewall import Firewall, FirewallRule, Profile
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.identity import (
    read_fqdn,
    read_operating_system,
    read_search_domains,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.registry import (
    OtherType,
    Registry,
    RegistryValue,
    ValueType,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.service import ServiceControl
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.model import Instance, MethodResult, Properties

UTC = datetime.timezone.utc


class Cim:
    """Answers are taken from a list, in their order; calls are remembered."""

    def __init__(self, *answers: t.Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[t.Any, ...]] = []

    def invoke(self, cim_class: t.Any, method: str, arguments: t.Any = None, **options: t.Any) -> MethodResult:
        self.calls.append((method, dict(arguments or {}), options))
        code, outputs = self.answers.pop(0)
        return MethodResult(code, Properties(outputs))

    def query(self, cim_class: t.Any, wql: str | None = None, **options: t.Any) -> list[Instance]:
        self.calls.append((wql,))
        rows = self.answers.pop(0)[: options.get("limit")]
        return [Instance(cim_class, cim_class.name, Properties(row)) for row in rows]

    def put(self, cim_class: t.Any, selectors: t.Any, properties: t.Any) -> None:
        self.calls.append((dict(selectors)["CreationClassName"], dict(properties)))


def cim(*answers: t.Any) -> t.Any:
    return Cim(*answers)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def service(client: t.Any) -> tuple[ServiceControl, Time]:
    clock = Time()
    return ServiceControl(client, "sppsvc", deadline=30, sleep=clock.sleep, clock=clock), clock


def state(name: str) -> list[dict[str, str]]:
    return [{"State": name}]


def test_stopping_waits_until_the_service_says_stopped() -> None:
    client = cim((0, {}), state("Stop Pending"), state("Stop Pending"), state("Stopped"))
    service(client)[0].stop()
    assert client.answers == []
    assert client.calls[0][2] == {"selectors": {"Name": "sppsvc"}}


@pytest.mark.parametrize("code", [5, 6])
def test_a_service_that_is_stopped_already_is_fine(code: int) -> None:
    service(cim((code, {}), state("Stopped")))[0].stop()


def test_a_service_that_runs_already_is_fine() -> None:
    service(cim((10, {})))[0].start()


def test_a_service_that_started_and_stopped_itself_again_is_fine() -> None:
    service(cim((0, {}), state("Stopped")))[0].start()


def test_waiting_is_bounded_and_says_where_the_service_hangs() -> None:
    control, clock = service(cim((0, {}), *[state("Stop Pending")] * 100))
    with pytest.raises(OperationFailed, match="Stop Pending"):
        control.stop()
    assert 30 < clock.now < 40


def test_a_refused_request_says_why() -> None:
    with pytest.raises(OperationFailed, match=r"Stopping the service sppsvc failed: .* 2, access denied"):
        service(cim((2, {})))[0].stop()


VALUE = RegistryValue("SOFTWARE\\Example", "Name", ValueType.STRING)
MULTI = RegistryValue("SOFTWARE\\Example", "List", ValueType.MULTI_STRING)


NAMES = {"sNames": ["Other", "name"], "Types": [1, 4]}


def test_an_absent_value_is_none_however_it_is_said() -> None:
    assert Registry(cim((2, {}))).get(VALUE) is None
    assert Registry(cim((1, {}), (0, {"sNames": None, "Types": None}))).get(VALUE) is None
    assert Registry(cim((1, {}), (2, {}))).get(VALUE) is None


@pytest.mark.parametrize("code", [1, 13])
def test_a_value_of_another_type_is_not_taken_for_absent(code: int) -> None:
    found = Registry(cim((code, {}), (0, NAMES))).get(VALUE)
    assert found == OtherType(4) and "REG_DWORD" in str(found)
    assert Registry(cim((code, {}), (0, NAMES))).text(VALUE) == ""


def test_values_come_in_their_type() -> None:
    assert Registry(cim((0, {"sValue": "text"}))).get(VALUE) == "text"
    assert Registry(cim((0, {"sValue": ["a", "b"]}))).get(MULTI) == ("a", "b")
    assert Registry(cim((0, {"sValue": None}))).get(MULTI) == ()


OTHER = RegistryValue("SOFTWARE\\Example", "Other", ValueType.STRING)
THIRD = RegistryValue("SOFTWARE\\Example", "Third", ValueType.DWORD)
ELSEWHERE = RegistryValue("SOFTWARE\\Elsewhere", "Name", ValueType.STRING)


def test_only_what_a_key_has_is_asked_for_and_what_has_another_type_is_told() -> None:
    client = cim((0, NAMES), (0, {"sValue": "text"}), (2, {}))
    assert Registry(client).get_all([VALUE, OTHER, THIRD, ELSEWHERE]) == {
        VALUE: OtherType(4), OTHER: "text", THIRD: None, ELSEWHERE: None,
    }  # fmt: skip
    assert [call[0] for call in client.calls] == ["EnumValues", "GetStringValue", "GetStringValue"]


def test_two_values_are_listed_first_only_if_they_are_rare() -> None:
    client = cim((0, {"sValue": "a"}), (0, {"sValue": "b"}))
    assert Registry(client).get_all([VALUE, OTHER]) == {VALUE: "a", OTHER: "b"}
    rare = cim((0, {"sNames": None, "Types": None}))
    assert Registry(rare).get_all([VALUE, OTHER], rare=True) == {VALUE: None, OTHER: None}


def test_a_key_that_is_not_there_has_no_values() -> None:
    assert Registry(cim((2, {}))).get_all([VALUE, OTHER, THIRD]) == {VALUE: None, OTHER: None, THIRD: None}


@pytest.mark.parametrize("listing", [(5, {}), (0, {"sNames": ["Name", "Other"], "Types": [1]})])
def test_where_a_key_cannot_be_listed_each_value_is_asked_for(listing: t.Any) -> None:
    client = cim(listing, (0, {"sValue": "a"}), (2, {}))
    assert Registry(client).get_all([VALUE, OTHER], rare=True) == {VALUE: "a", OTHER: None}


def test_reading_may_be_repeated_and_writing_may_not() -> None:
    client = cim((0, {"sValue": "x"}), (0, {}), (0, {}))
    registry = Registry(client)
    registry.get(VALUE)
    registry.set(VALUE, "y")
    registry.delete(VALUE)
    assert [call[2].get("read_only") for call in client.calls] == [True, False, False]
    assert client.calls[1][0] == "SetStringValue"
    assert client.calls[1][1]["hDefKey"] == 0x80000002


def test_a_refused_write_is_named_with_its_code() -> None:
    with pytest.raises(OperationFailed, match="SetStringValue.*Example.*Name") as failed:
        Registry(cim((5, {}))).set(VALUE, "x")
    assert failed.value.hresult == 0x80070005


def test_deleting_what_is_not_there_is_no_error() -> None:
    Registry(cim((2, {}))).delete(VALUE)


@pytest.mark.parametrize(("value", "hresult"), [(5, 0x80070005), (0xC004F050, 0xC004F050), (-1073418160, 0xC004F050)])
def test_a_return_value_is_a_win32_code_or_an_hresult(value: int, hresult: int) -> None:
    assert hresult_from_return_value(value) == hresult


def test_a_rule_is_never_open_wider_than_asked_for() -> None:
    """Profiles are written before the rule is enabled."""
    client = cim()
    closed = FirewallRule("SPPSVC-In-TCP", False, Profile.PRIVATE | Profile.PUBLIC)
    Firewall(client).write(closed, closed.opened())
    assert client.calls == [
        ("MSFT|FW|FirewallRule|SPPSVC-In-TCP", {"Profiles": 3}),
        ("MSFT|FW|FirewallRule|SPPSVC-In-TCP", {"Enabled": 1}),
    ]


def test_rules_are_told_by_their_instance_id() -> None:
    rows = [
        {"InstanceID": "SPPSVC-In-TCP-NoScope", "Enabled": 2, "Profiles": 1},
        {"InstanceID": "SPPSVC-In-TCP", "Enabled": 1, "Profiles": 0},
    ]
    rules = Firewall(cim(rows)).rules()
    assert [str(rule) for rule in rules] == [
        "SPPSVC-In-TCP: enabled (any profile)",
        "SPPSVC-In-TCP-NoScope: disabled (Domain)",
    ]


def event(time: datetime.datetime | None, *strings: str) -> dict[str, t.Any]:
    return {
        "Logfile": "Application",
        "EventCode": 12293,
        "SourceName": "Microsoft-Windows-Security-SPP",
        "TimeGenerated": time,
        "InsertionStrings": list(strings),
    }


def test_events_of_other_sources_with_the_same_number_are_left_out() -> None:
    """Volume shadow copies write 12289 to 12293 into the same log."""
    first = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    rows = [event(first, "a, 1"), {**event(first, "shadow copy"), "SourceName": "VSS"}]
    assert len(EventLog(cim(rows)).events([12293], first).found) == 1


def test_events_are_asked_for_by_log_code_and_time() -> None:
    client = cim([])
    since = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
    EventLog(client).events([12293, 12294], since)
    (wql,) = client.calls[0]
    assert "Logfile = 'Application'" in wql
    assert "EventCode = 12293 or EventCode = 12294" in wql
    assert "TimeGenerated >= '20260102020405.000000+000'" in wql
    assert wql.startswith("select EventCode, InsertionStrings, Logfile, SourceName, TimeGenerated from")


def test_a_log_with_more_events_than_are_read_says_so() -> None:
    day = datetime.datetime(2026, 1, 1, tzinfo=UTC)
    whole = EventLog(cim([event(day, "a, 1"), event(day, "b, 2")])).events([12290], day, limit=3)
    cut = EventLog(cim([event(day, "a, 1"), event(day, "b, 2"), event(day, "c, 3")])).events([12290], day, limit=2)
    assert (len(whole.found), whole.is_cut) == (2, False)
    assert (len(cut.found), cut.is_cut) == (2, True)


def test_events_come_in_their_order_with_their_fields_either_way() -> None:
    first, second = (datetime.datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))
    rows = [event(second, "0x80072338", "corp.example.com"), event(first, "0x80072338, branch.example.net")]
    found = EventLog(cim(rows)).events([12293], first).found
    assert [item.fields for item in found] == [
        ("0x80072338", "branch.example.net"),
        ("0x80072338", "corp.example.com"),
    ]


def test_a_windows_that_lacks_a_column_is_asked_for_all() -> None:
    class Old(Cim):
        def query(self, cim_class: t.Any, wql: str | None = None, **options: t.Any) -> list[Instance]:
            if wql is not None:
                raise CimFault(0x80041017)
            return super().query(cim_class, wql, **options)

    old: t.Any = Old([{"Caption": "Microsoft(R) Windows(R) Server 2003", "BuildNumber": "3790"}])
    assert read_operating_system(old, with_edition=False).build == 3790


def test_a_machine_is_its_host_name_and_its_primary_suffix() -> None:
    assert read_fqdn(cim((0, {"sValue": "KMS1"}), (0, {"sValue": "Corp.example.com"}))) == "kms1.corp.example.com"
    assert read_fqdn(cim((0, {"sValue": "KMS1"}), (2, {}))) == "kms1"


def test_the_search_list_may_be_separated_in_either_way() -> None:
    assert read_search_domains(cim((0, {"sValue": "corp.example.com, Branch.example.net"}))) == (
        "corp.example.com",
        "branch.example.net",
    )
    assert read_search_domains(cim((2, {}))) == ()


def test_the_classes_name_their_keys() -> None:
    assert SERVICE.keys == ("Name",) and LOG_EVENT.resource_uri.endswith("cimv2/Win32_NTLogEvent")
