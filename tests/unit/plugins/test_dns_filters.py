# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test published and the filters over SRV records and publish lists."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError

from ansible_collections.fleetops.kms.plugins.filter import publish, srv
from ansible_collections.fleetops.kms.plugins.test import published as test_plugin

published = test_plugin.TestModule().tests()["published"]
FILTERS = {**publish.FilterModule().filters(), **srv.FilterModule().filters()}


def record(target: str, priority: Any, weight: int, **more: Any) -> dict[str, Any]:
    return {
        "domain": "corp.example.com",
        "target": f"{target}.corp.example.com",
        "port": 1688,
        "priority": priority,
        "weight": weight,
        **more,
    }


WANTED = [record("kms1", 10, 100), record("kms2", 20, 100)]


def test_published_ignores_spelling_and_what_it_does_not_know() -> None:
    there = [
        record("KMS1", "10", 100, ttl=60, share=1.0) | {"domain": "Corp.Example.com."},
        record("kms2", 20, 100, ttl=60, share=0.0),
    ]
    assert published(there, WANTED)
    assert not published([*there, record("rogue", 0, 0)], WANTED)
    assert not published([], WANTED)


def test_published_must_hold_at_each_name_server() -> None:
    first = [value | {"nameserver": "192.0.2.1"} for value in WANTED]
    second = [value | {"nameserver": "192.0.2.2"} for value in WANTED]
    assert published(first + second, WANTED)
    assert not published(first + second[:1], WANTED)
    (finding,) = FILTERS["publish_findings"](first + second[:1], WANTED)
    assert finding["nameserver"] == "192.0.2.2"
    assert finding["message"].endswith("kms2.corp.example.com is missing (at 192.0.2.2)")


@pytest.mark.parametrize("wanted", ["corp.example.com", {"domain": "a"}, [7], [{"domain": "a"}], None])
def test_published_refuses_what_is_no_record(wanted: Any) -> None:
    with pytest.raises(AnsibleError, match="published: "):
        published(WANTED, wanted)


def test_publish_list_there_and_back() -> None:
    texts = FILTERS["publish_list"](["Corp.example.com. ,10 ,100", {"domain": "branch.example.net", "priority": "20"}])
    assert texts == ["corp.example.com, 10, 100", "branch.example.net, 20, 0"]
    entries = FILTERS["publish_entries"](texts)
    assert entries[0] == {"domain": "corp.example.com", "priority": 10, "weight": 100}
    assert FILTERS["publish_list"](entries) == texts
    assert FILTERS["publish_list"]("corp.example.com") == ["corp.example.com, 0, 0"]


def test_bad_publish_entry_is_refused() -> None:
    for name in ("publish_list", "publish_entries"):
        with pytest.raises(AnsibleError, match="weight"):
            FILTERS[name](["corp.example.com, 1, heavy"])
    with pytest.raises(AnsibleError):
        FILTERS["publish_list"](7)


def test_wanted_records_are_what_published_takes() -> None:
    primary = FILTERS["wanted_records"](["corp.example.com, 10, 100"], "KMS1.corp.example.com.")
    secondary = FILTERS["wanted_records"](
        [{"domain": "corp.example.com", "priority": 20, "weight": 100}], "kms2.corp.example.com"
    )
    assert primary + secondary == WANTED
    assert FILTERS["wanted_records"]("a.example.com", "kms1.example.com", 1700)[0]["port"] == 1700
    for fqdn in ("", "a b", None):
        with pytest.raises(AnsibleError, match="wanted_records"):
            FILTERS["wanted_records"]("a.example.com", fqdn)


def test_shares_by_domain_and_target() -> None:
    found = [record("kms1", 0, 3), record("kms2", 0, 1), record("kms3", 1, 9)]
    expected = {
        "corp.example.com": {
            "kms1.corp.example.com": 0.75,
            "kms2.corp.example.com": 0.25,
            "kms3.corp.example.com": 0,
        }
    }
    assert FILTERS["shares"](found) == expected
    twice = [value | {"nameserver": server} for server in ("192.0.2.1", "192.0.2.2") for value in found]
    assert FILTERS["shares"](twice) == expected


def test_table_lines_up() -> None:
    values = [record("web07", 0, 0), record("kms1", 10, 65535)]
    assert FILTERS["srv_table"](values, ["corp.example.com", "branch.example.net"]) == [
        "domain              priority  weight  port  target                  share",
        "corp.example.com           0       0  1688  web07.corp.example.com  100 %",
        "corp.example.com          10   65535  1688  kms1.corp.example.com     0 %",
        "branch.example.net                          no record",
    ]
    assert FILTERS["srv_table"](values[:1], header=False) == [
        "corp.example.com  0  0  1688  web07.corp.example.com  100 %"
    ]
    assert FILTERS["srv_table"]([], header=False) == []


def test_a_table_tells_no_answer_from_no_record() -> None:
    lost = {"domain": "branch.example.net", "nameserver": "", "outcome": "timeout", "error": "did not answer in time"}
    lines = FILTERS["srv_table"]([record("kms1", 10, 100), lost], ["empty.example.com"], header=False)
    assert [line.split()[0] for line in lines] == ["corp.example.com", "empty.example.com", "branch.example.net"]
    assert lines[1].endswith("no record")
    assert lines[2].endswith("no answer")


def test_table_tells_name_servers_and_small_shares() -> None:
    values = [record("kms1", 0, 65535), record("kms2", 0, 1), record("kms1", 5, 0)]
    lines = FILTERS["srv_table"]([value | {"nameserver": "192.0.2.1"} for value in values])
    assert lines[0].endswith("nameserver")
    assert [line.split()[5:] for line in lines[1:]] == [
        ["100", "%", "192.0.2.1"],
        ["<1", "%", "192.0.2.1"],
        ["0", "%", "192.0.2.1"],
    ]


def test_findings_say_why() -> None:
    (finding,) = FILTERS["publish_findings"]([*WANTED, record("web07", 0, 0)], WANTED)
    assert finding["kind"] == "outranking"
    assert finding["breaks"] is True
    assert finding["found"]["target"] == "web07.corp.example.com"
    assert finding["wanted"] is None
    assert finding["share"] == 1
    assert FILTERS["publish_findings"](WANTED, WANTED) == []
