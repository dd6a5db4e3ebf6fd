# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on loopback, without root: BIND with a TSIG key, and a Kerberos KDC whose tickets it takes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import socket
import subprocess
import time
import typing as t

import dns.exception
import dns.message
import dns.query
import dns.rcode

#: Where Debian and Fedora put what is not on a user's path.
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])

#: Seconds for a server to come up.
_START = 30.0

KEY_NAME = "kms-update"
KEY_SECRET = "c2ltdWxhdGVkLXNlY3JldC0x"
REALM = "EXAMPLE.COM"

Environment = dict[str, str]


def find(program: str) -> str | None:
    """The path of a program, or None."""
    return shutil.which(program, path=_PATH)


def missing(*programs: str) -> str:
    """A line that says which programs are not installed; empty when all are."""
    absent = [program for program in programs if find(program) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


@dataclasses.dataclass
class Named:
    """A BIND of its own. ``zones`` are origins with the statement that says who may update them."""

    folder: pathlib.Path
    zones: t.Mapping[str, str]
    keytab: pathlib.Path | None = None
    environment: Environment = dataclasses.field(default_factory=dict)
    port: int = 0

    def __enter__(self) -> Named:
        self.port = _free_port()
        self._write()
        with (self.folder / "named.log").open("w") as log:
            self._process = subprocess.Popen(
                [str(find("named")), "-g", "-c", str(self.folder / "named.conf")],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )
        _wait(self._answers, self._process, self.folder / "named.log")
        return self

    def __exit__(self, *_exc: object) -> None:
        _end(self._process)

    @property
    def entry(self) -> str:
        """The server as an option takes it."""
        return f"127.0.0.1:{self.port}"

    def values(self, domain: str) -> list[str]:
        """The SRV values of a domain, targets without the final dot."""
        query = dns.message.make_query(f"_vlmcs._tcp.{domain}", "SRV")
        answer = dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=5)
        return sorted(rdata.to_text().rstrip(".") for rrset in answer.answer for rdata in rrset)

    def _answers(self) -> bool:
        query = dns.message.make_query(next(iter(self.zones)), "SOA")
        with contextlib.suppress(OSError, EOFError, dns.exception.DNSException):
            return dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=2).rcode() == dns.rcode.NOERROR
        return False

    def _write(self) -> None:
        kerberos = f'tkey-gssapi-keytab "{self.keytab}";' if self.keytab else ""
        lines = [
            f'options {{ directory "{self.folder}"; pid-file none; session-keyfile none; recursion no;',
            f"listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};",
            f"dnssec-validation no; notify no; {kerberos} }};",
            "controls { };",
            f'key "{KEY_NAME}" {{ algorithm hmac-sha256; secret "{KEY_SECRET}"; }};',
        ]
        for number, (origin, update) in enumerate(self.zones.items()):
            lines.append(f'zone "{origin}" {{ type primary; file "{number}.db"; {update} }};')
            data = "$TTL 600\n@ SOA ns hostmaster 1 900 300 604800 60\n@ NS ns\nns A 127.0.0.1\n"
            (self.folder / f"{number}.db").write_text(data)
        (self.folder / "named.conf").write_text("\n".join(lines) + "\n")


class Kdc:
    """A Kerberos realm of its own; ``environment`` is what its users need."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.environment: Environment = {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5RCACHETYPE": "none",
        }

    def __enter__(self) -> Kdc:
        port = _free_port()
        (self.folder / "krb5.conf").write_text(
            f"[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\ndns_lookup_realm = false\n"
            "dns_canonicalize_hostname = false\nrdns = false\nudp_preference_limit = 1\n"
            f"[realms]\n{REALM} = {{\nkdc = 127.0.0.1:{port}\n}}\n[domain_realm]\nlocalhost = {REALM}\n"
        )
        (self.folder / "kdc.conf").write_text(
            f"[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n"
            f"[realms]\n{REALM} = {{\ndatabase_name = {self.folder}/principal\n"
            f"key_stash_file = {self.folder}/stash\nacl_file = {self.folder}/acl\n}}\n"
        )
        self._run("kdb5_util", "create", "-s", "-r", REALM, "-P", "simulated")
        log = self.folder / "kdc.log"
        with log.open("w") as stream:
            self._process = subprocess.Popen(
                [str(find("krb5kdc")), "-n"], stdout=stream, stderr=stream, env={**os.environ, **self.environment}
            )
        _wait(lambda: _is_open(port), self._process, log)
        return self

    def __exit__(self, *_exc: object) -> None:
        _end(self._process)

    def keytab(self, principal: str) -> pathlib.Path:
        """Add a principal and return a file with its key."""
        path = self.folder / f"{principal.replace('/', '_')}.keytab"
        self._run("kadmin.local", "-q", f"addprinc -randkey {principal}")
        self._run("kadmin.local", "-q", f"ktadd -k {path} {principal}")
        return path

    def ticket(self, principal: str) -> Environment:
        """Add a user, get its ticket and return the environment that has it at hand."""
        cache = self.folder / f"{principal}.cache"
        environment = {**self.environment, "KRB5CCNAME": f"FILE:{cache}"}
        self._run("kinit", "-k", "-t", str(self.keytab(principal)), principal, environment=environment)
        return environment

    def _run(self, program: str, *arguments: str, environment: Environment | None = None) -> None:
        done = subprocess.run(
            [str(find(program)), *arguments],
            env={**os.environ, **(environment or self.environment)},
            capture_output=True,
            text=True,
            timeout=_START,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def _free_port() -> int:
    """A port that is free for TCP and for UDP now."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            port = int(tcp.getsockname()[1])
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _wait(is_up: t.Callable[[], bool], process: subprocess.Popen[t.Any], log: pathlib.Path) -> None:
    """Until a server answers; a server that ends or stays silent is an error with its log."""
    end = time.monotonic() + _START
    while not is_up():
        if process.poll() is not None or time.monotonic() > end:
            _end(process)
            raise RuntimeError(f"the server did not come up:\n{log.read_text()}")
        time.sleep(0.05)


def _end(process: subprocess.Popen[t.Any]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
