# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``: run a simulated fleet, and talk to a running one."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import typing as t

from .client import LabClient, LabError
from .control import Control
from .faults import FAULTS
from .serving import Lab

_STATE_FILE = "lab.json"
_CONTROL_VARIABLE = "LAB_CONTROL"


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return int(options.function(options))
    except (LabError, ConnectionError) as exc:
        print(exc, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description="A simulated Windows fleet on loopback.")
    parser.add_argument("--log-level", default="warning")
    commands = parser.add_subparsers(required=True)

    run = commands.add_parser("run", help="serve the fleet of a file until interrupted")
    run.add_argument("fleet", type=pathlib.Path)
    run.add_argument("--set", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help="a parameter")
    run.add_argument("--state-dir", type=pathlib.Path, help="where to keep files while running (default: temporary)")
    run.add_argument("--inventory", type=pathlib.Path, help="write the Ansible inventory here")
    run.add_argument("--connection", default="winrm", choices=("winrm", "psrp"), help="of the inventory")
    run.add_argument("--until-eof", action="store_true", help="stop at the end of standard input")
    run.set_defaults(function=_run)

    control = argparse.ArgumentParser(add_help=False)
    control.add_argument("--control", help=f"URL of the running lab (default: ${_CONTROL_VARIABLE} or --state-dir)")
    control.add_argument("--state-dir", type=pathlib.Path)
    ctl = commands.add_parser("ctl", parents=[control], help="run a command of a running lab; 'commands' lists them")
    ctl.add_argument("command")
    ctl.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="values are JSON or plain text")
    ctl.set_defaults(function=_ctl)
    inventory = commands.add_parser("inventory", parents=[control], help="print the inventory of a running lab")
    inventory.add_argument("--connection", default="winrm", choices=("winrm", "psrp"))
    inventory.add_argument("--transport")
    inventory.set_defaults(function=_inventory)
    listed = commands.add_parser("faults", help="list the faults that a machine can be given")
    listed.set_defaults(function=_faults)
    return parser


def _run(options: argparse.Namespace) -> int:
    given: pathlib.Path | None = options.state_dir
    folder = given or pathlib.Path(tempfile.mkdtemp(prefix="lab-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(_serve(options, folder))
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _serve(options: argparse.Namespace, folder: pathlib.Path) -> None:
    from . import fleet  # what ctl needs starts faster without it

    ended = asyncio.Event()
    await _watch_for_the_end(ended, options.until_eof)
    try:
        loaded = fleet.load(options.fleet, dict(map(_argument, options.parameters)))
    except (OSError, ValueError) as exc:
        raise LabError(f"{options.fleet}: {exc}") from exc
    lab = Lab(loaded, folder)
    control = Control(lab)
    try:
        await lab.start()
        await control.start(lab.service_address)
        _tell(options, lab, control, folder)
        await ended.wait()
    finally:
        control.stop()
        await lab.stop()


def _tell(options: argparse.Namespace, lab: Lab, control: Control, folder: pathlib.Path) -> None:
    """One line of JSON on standard output says that every port is open, and where to go on."""
    inventory = (options.inventory or folder / "inventory.yml").resolve()
    inventory.write_text(lab.fleet.inventory_text(options.connection), encoding="utf-8")
    ready = {
        "control": control.url,
        "dns": lab.fleet.dns_address,
        "inventory": str(inventory),
        "machines": len(lab.endpoints),
        "pid": os.getpid(),
    }
    (folder / _STATE_FILE).write_text(json.dumps(ready), encoding="utf-8")
    print(json.dumps(ready), flush=True)


async def _watch_for_the_end(ended: asyncio.Event, until_eof: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if until_eof:
        await loop.connect_read_pipe(lambda: _UntilEof(ended), sys.stdin)


class _UntilEof(asyncio.Protocol):
    """Whoever started the lab holds its standard input open; its end is theirs."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()


def _client(options: argparse.Namespace) -> LabClient:
    url = options.control or os.environ.get(_CONTROL_VARIABLE)
    if not url and options.state_dir:
        with contextlib.suppress(OSError):
            url = json.loads((options.state_dir / _STATE_FILE).read_text(encoding="utf-8"))["control"]
    if not url:
        raise LabError(f"which lab? --control URL, --state-dir DIR or ${_CONTROL_VARIABLE} says it")
    return LabClient(url)


def _ctl(options: argparse.Namespace) -> int:
    result = _client(options).call(options.command, **dict(map(_argument, options.arguments)))
    if result is not None:
        print(result if isinstance(result, str) else json.dumps(result, indent=2))
    return 0


def _argument(text: str) -> tuple[str, t.Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise LabError(f"{text} is no NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _inventory(options: argparse.Namespace) -> int:
    print(_client(options).inventory(options.connection, options.transport), end="")
    return 0


def _faults(_options: argparse.Namespace) -> int:
    for name, kind in FAULTS.items():
        parameters = ", ".join(f"{key}={value!r}" for key, value in kind.parameters.items())
        print(f"{name:18}{parameters:30}{kind.does}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
