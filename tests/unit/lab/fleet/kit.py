# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet that runs as long as something is done with it."""

from __future__ import annotations

import asyncio
import typing as t

from lab import fleet
from lab.addresses import AddressBlock
from lab.fleet import Fleet


def run_fleet(description: t.Any, work: t.Callable[[Fleet], t.Awaitable[t.Any]]) -> t.Any:
    async def run() -> t.Any:
        made, block = fleet.load(description), AddressBlock()
        made.assign_addresses(block)
        await made.start()
        try:
            return await work(made)
        finally:
            await made.stop()
            block.release()

    return asyncio.run(run())
