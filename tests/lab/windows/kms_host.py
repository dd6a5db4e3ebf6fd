# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a KMS host does with a request: the rules of counting and answering.

Sources: "Planning for KMS activation" (thresholds, cache of twice the threshold, 30 days), "Activation error codes",
"Volume Activation Technical Reference" (request counters, events). Nothing here is the KMS protocol: a request is a
Python object.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import typing as t

from lab.windows import data
from lab.windows.clock import DAY
from lab.windows.products import LICENSED, Licence, Sku

NOT_ACTIVATED = 0xC004F041
WRONG_PRODUCT = 0xC004F042
CLOCK_SKEW = 0xC004F06C
COUNT_TOO_LOW = 0xC004F038

_COUNT_DAYS = 30 * DAY
_CLOCK_TOLERANCE = dt.timedelta(hours=4)

#: LicenseStatus of the asking client: the counter that its request goes to.
_BUCKETS = ("Unlicensed", "Licensed", "OOBGrace", "OOTGrace", "NonGenuineGrace", "Notification")
COUNTERS = ("Total", "Failed", *_BUCKETS)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a client says about itself; ``threshold`` is its N-policy (25 or 5)."""

    sku: Sku
    generation: data.Generation
    client_machine_id: str
    fqdn: str
    time: dt.datetime
    status: int
    minutes_left: int
    threshold: int


@dataclasses.dataclass(frozen=True)
class Answer:
    """``code`` is 0 or the HRESULT that the client reports; intervals are minutes."""

    code: int
    count: int
    activation_interval: int
    renewal_interval: int
    product_key_id: str


@dataclasses.dataclass
class HostRole:
    """One host key at work: its counters and its cache of client machine IDs."""

    licence: Licence
    withdrawn: bool = False
    requests: dict[str, int] = dataclasses.field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    seen: collections.OrderedDict[str, tuple[dt.datetime, int]] = dataclasses.field(
        default_factory=collections.OrderedDict
    )

    @property
    def is_windows(self) -> bool:
        return self.licence.sku.is_windows

    def required(self) -> int:
        """RequiredClientCount: 25 once clients have asked, else 5; a client's host key begins at 25."""
        if not self.is_windows:
            return 5
        first = 25 if data.host_key_products()[self.licence.sku.host_key].servers == 0 else 5
        return max([first, *(threshold for _time, threshold in self.seen.values())])

    def count(self, now: dt.datetime) -> int:
        """Different clients of the last 30 days, never more than twice the threshold."""
        for client_machine_id, (time, _threshold) in list(self.seen.items()):
            if now - time > _COUNT_DAYS:
                del self.seen[client_machine_id]
        return len(self.seen)

    def _remember(self, request: Request, now: dt.datetime) -> int:
        self.seen.pop(request.client_machine_id, None)
        self.seen[request.client_machine_id] = (now, request.threshold)
        while self.count(now) > 2 * self.required():
            self.seen.popitem(last=False)
        return len(self.seen)

    def serves(self, sku: Sku, generation: data.Generation) -> bool:
        return activates(self.licence.sku.host_key, sku, generation)

    def answer(self, request: Request, now: dt.datetime) -> tuple[int, int]:
        """Answer code and count after a request; counts, and counts the request itself."""
        code, count = self._judge(request, now)
        self.requests["Total"] += 1
        self.requests["Failed" if code else _BUCKETS[min(request.status, 5)]] += 1
        return code, count

    def _judge(self, request: Request, now: dt.datetime) -> tuple[int, int]:
        if self.licence.status != LICENSED:
            return NOT_ACTIVATED, self.count(now)
        if not self.serves(request.sku, request.generation):
            return WRONG_PRODUCT, self.count(now)
        if abs(request.time - now) > _CLOCK_TOLERANCE:
            return CLOCK_SKEW, self.count(now)
        count = self._remember(request, now)
        return (0 if count >= request.threshold else COUNT_TOO_LOW), count


def activates(host_key: str, sku: Sku, generation: data.Generation) -> bool:
    """Whether a host key product activates a client product on a generation (table in generations.yml)."""
    office = data.office_host_key_products().get(host_key)
    if (office is None) != sku.is_windows:
        return False
    if office is not None:
        return int(sku.host_key.rpartition("/")[2]) <= office.release
    product = data.host_key_products()[host_key]
    return generation.level <= (product.servers if generation.is_server else product.clients)


def choose_role(roles: t.Iterable[HostRole], sku: Sku, generation: data.Generation) -> HostRole | None:
    """The role that answers: one that serves the product, else one of the same application, else any."""
    ranked = sorted(roles, key=lambda role: (not role.serves(sku, generation), role.is_windows != sku.is_windows))
    return ranked[0] if ranked else None
