# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running lab: the machines of a fleet, each with its listener, and the commands by which they are controlled."""

from __future__ import annotations

import gc
import inspect
import pathlib
import resource
import ssl
import typing as t

from . import stats
from .addresses import AddressBlock
from .http.tls import server_context
from .http.winrm import Endpoint, Machine


class Fleet(t.Protocol):
    """What is served (``lab.fleet``).

    ``commands`` are offered by the control API beside those of ``Lab``: functions or coroutine functions that take
    keywords and return what JSON can hold.
    """

    @property
    def machines(self) -> t.Mapping[str, Machine]: ...

    @property
    def commands(self) -> t.Mapping[str, t.Callable[..., t.Any]]: ...

    def assign_addresses(self, block: AddressBlock) -> None:
        """Gives every machine its ``address`` and ``port`` (``block.machine(tls)``); DNS may use ``block.service``."""

    async def start(self) -> None:
        """Starts what is no WinRM listener: DNS, the machines' other ports, timers."""

    async def stop(self) -> None:
        """Ends what ``start`` has started."""

    @property
    def dns_address(self) -> str | None:
        """``address:port`` of the name server, once started."""

    def inventory_text(self, connection: str = "winrm", transport: str | None = None) -> str:
        """An Ansible inventory as YAML."""


class CommandError(ValueError):
    """A command is unknown, or its arguments are wrong."""


def raise_file_limit() -> None:
    """Lifts the soft limit on open files to the hard one: every listener and connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Lab:
    """Serves a fleet; ``folder`` keeps account files and the TLS key while it runs."""

    def __init__(self, fleet: Fleet, folder: pathlib.Path) -> None:
        self.fleet = fleet
        self._folder = folder
        self._block = AddressBlock()
        self.endpoints: dict[str, Endpoint] = {}
        self.commands: dict[str, t.Callable[..., t.Any]] = {}

    @property
    def service_address(self) -> str:
        return self._block.service

    async def start(self) -> None:
        """Opens every port."""
        raise_file_limit()
        self.fleet.assign_addresses(self._block)
        tls = self._tls()
        self.endpoints = {name: Endpoint(machine, self._folder, tls) for name, machine in self.fleet.machines.items()}
        await self.fleet.start()
        await self.settle()
        self.commands = {**_own_commands(self), **self.fleet.commands}
        gc.collect()
        gc.freeze()  # the fleet stays for good: the collector need not look at it again

    async def stop(self) -> None:
        """Closes every port and gives the addresses back."""
        for endpoint in self.endpoints.values():
            endpoint.stop()
        await self.fleet.stop()
        self._block.release()

    async def settle(self) -> None:
        """Opens and closes ports as power and faults say now."""
        for endpoint in self.endpoints.values():
            if endpoint.listening != endpoint.wanted:
                await endpoint.settle()

    async def command(self, name: str, arguments: t.Mapping[str, t.Any]) -> t.Any:
        """Runs a command; raises CommandError for a wrong call."""
        function = self.commands.get(name)
        if function is None:
            raise CommandError(f"there is no command {name}; there are {', '.join(sorted(self.commands))}")
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as exc:
            raise CommandError(f"{name}: {exc}") from exc
        result = function(**arguments)
        if inspect.isawaitable(result):
            result = await result
        await self.settle()
        return result

    def chosen(self, machine: str | t.Sequence[str] | None) -> list[Endpoint]:
        """The listeners of a machine, of several, or of all (None or ``*``); raises CommandError."""
        if machine is None or machine == "*":
            return list(self.endpoints.values())
        names = [machine] if isinstance(machine, str) else list(machine)
        unknown = [name for name in names if name not in self.endpoints]
        if unknown:
            raise CommandError(f"no machine is named {', '.join(unknown)}")
        return [self.endpoints[name] for name in names]

    def _tls(self) -> ssl.SSLContext | None:
        if not any(machine.tls for machine in self.fleet.machines.values()):
            return None
        return server_context(self._folder)


def _own_commands(lab: Lab) -> dict[str, t.Callable[..., t.Any]]:
    """The commands that concern the wire; ``machine`` is a name, a list of names, or ``*`` for all."""
    Chosen = str | t.Sequence[str] | None

    def machines() -> list[dict[str, t.Any]]:
        return [
            {
                "name": name,
                "address": endpoint.machine.address,
                "port": endpoint.machine.port,
                "tls": endpoint.machine.tls,
                "powered": endpoint.machine.powered,
                "listening": endpoint.listening,
                "faults": endpoint.faults.to_json(),
            }
            for name, endpoint in lab.endpoints.items()
        ]

    def statistics(machine: Chosen = None) -> dict[str, t.Any]:
        chosen = lab.chosen(machine)
        return {
            "total": stats.total(endpoint.stats for endpoint in chosen).to_json(),
            "machines": {endpoint.machine.name: endpoint.stats.to_json() for endpoint in chosen},
        }

    def totals() -> dict[str, t.Any]:
        return stats.total(endpoint.stats for endpoint in lab.endpoints.values()).to_json()

    def reset_stats(machine: Chosen = None) -> None:
        for endpoint in lab.chosen(machine):
            endpoint.stats.reset()

    def set_fault(fault: t.Mapping[str, t.Any] | str, machine: Chosen = None) -> None:
        for endpoint in lab.chosen(machine):
            endpoint.faults.add(fault)

    def clear_faults(machine: Chosen = None, name: str | None = None) -> None:
        for endpoint in lab.chosen(machine):
            endpoint.faults.clear(name)

    def faults(machine: Chosen = None) -> dict[str, t.Any]:
        return {endpoint.machine.name: endpoint.faults.to_json() for endpoint in lab.chosen(machine)}

    def sick() -> dict[str, list[str]]:
        """The machines by what is wrong with them: the faults that are set, and ``off``."""
        found: dict[str, list[str]] = {}
        for name, endpoint in lab.endpoints.items():
            for fault in endpoint.faults.to_json():
                found.setdefault(fault["name"], []).append(name)
            if not endpoint.machine.powered:
                found.setdefault("off", []).append(name)
        return found

    def power(on: bool) -> t.Callable[[Chosen], None]:
        def switch(machine: Chosen) -> None:
            for endpoint in lab.chosen(machine):
                endpoint.machine.powered = on

        return switch

    def inventory(connection: str = "winrm", transport: str | None = None) -> str:
        return lab.fleet.inventory_text(connection, transport)

    return {
        "machines": machines,
        "stats": statistics,
        "totals": totals,
        "reset_stats": reset_stats,
        "set_fault": set_fault,
        "clear_faults": clear_faults,
        "faults": faults,
        "sick": sick,
        "stop_machine": power(False),
        "start_machine": power(True),
        "inventory": inventory,
        "commands": lambda: sorted(lab.commands),
    }
