# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the message of a failure says was changed before."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.fleetops.kms.plugins.plugin_utils._ansible.result import failure_result
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure

CHANGE = {"setting": "product_key", "before": "", "after": "*****-HK222"}


@pytest.mark.parametrize(
    ("changes", "more", "told"),
    [
        ([], {}, ["Nothing was changed."]),
        ([], {"restarted": True}, ["sppsvc", "was restarted, nothing else was changed."]),
        ([CHANGE], {"restarted": True}, ["Changed before it failed: product_key."]),
        ([], {"uncertain": ["server"], "restarted": True}, ["Whether server was changed is not known"]),
    ],
)
def test_a_failure_tells_what_was_changed_before_it(changes: list[t.Any], more: t.Any, told: list[str]) -> None:
    message = failure_result(Failure("Activating", ValueError("no")), "pc1", changes, None, **more)["msg"]
    assert all(text in message for text in told)
    assert ("Nothing was changed" in message) is (not changes and not more)
