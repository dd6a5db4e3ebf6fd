# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loopback addresses for the machines of one lab, so that labs that run side by side never meet."""

from __future__ import annotations

import errno
import itertools
import os
import random
import socket

HTTP_PORT = 5985
HTTPS_PORT = 5986
_LOCK_PORT = 5984
_HOSTS_PER_NET = 250


class NoAddresses(OSError):
    """Every block of loopback addresses is taken by other labs."""


class AddressBlock:
    """One of the nets 127.x.0.0/16, held until ``release``; 127.x.0.1 is for services, the rest for machines.

    Where only 127.0.0.1 exists (macOS) all machines share it, each with a port of its own, and ``shared`` is True.
    """

    def __init__(self) -> None:
        self._machines = itertools.count()
        self._lock, self._octet = _claim()

    @property
    def shared(self) -> bool:
        return self._octet is None

    @property
    def service(self) -> str:
        """The address for what is no machine: DNS, the control API."""
        return "127.0.0.1" if self._octet is None else f"127.{self._octet}.0.1"

    def machine(self, tls: bool = False) -> tuple[str, int]:
        """The address and the WinRM port of the next machine."""
        if self._octet is None:
            return "127.0.0.1", _free_port()
        net, host = divmod(next(self._machines), _HOSTS_PER_NET)
        if net > 253:
            raise NoAddresses("more machines than a block has addresses")
        return f"127.{self._octet}.{net + 1}.{host + 1}", HTTPS_PORT if tls else HTTP_PORT

    def release(self) -> None:
        """Gives the block back; the end of the process does the same."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _claim() -> tuple[socket.socket | None, int | None]:
    """A listening socket is the lock: it goes with its process, however that ends."""
    octets = list(range(1, 255))
    random.Random(os.getpid()).shuffle(octets)
    for octet in octets:
        lock = socket.socket()
        try:
            lock.bind((f"127.{octet}.255.254", _LOCK_PORT))
            lock.listen(1)
        except OSError as exc:
            lock.close()
            if exc.errno != errno.EADDRINUSE:
                return None, None
            continue
        return lock, octet
    raise NoAddresses("every block of loopback addresses is taken")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
