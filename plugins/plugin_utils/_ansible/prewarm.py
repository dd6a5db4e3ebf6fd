# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One NTLM session with nobody, in memory, and a few templates, before Ansible forks its workers.

Each task on each machine runs in a worker that is forked from the controller's process and ends with the task. What
the libraries set up at their first use (compiled patterns, codecs, flag members, OpenSSL's legacy provider for RC4,
Jinja's filters)
would be set up again in every one of them. What this module has touched once in the parent, they find made.

Nothing leaves the process: the connection's socket is an object that holds the answers. No thread is started, no
setting is changed, and what fails is left for the workers to do.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import io
import struct
import typing as t

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

try:
    from ansible.template import trust_as_template as _as_template
except ImportError:  # before ansible-core 2.19 every text is a template

    def _as_template(value: str) -> str:
        return value


try:
    import requests
    import requests.adapters
    import urllib3
    import urllib3.connection
    from winrm.encryption import Encryption
    from winrm.transport import Transport
except ImportError:  # psrp only, or neither: every worker then sets up what it uses
    requests = None  # type: ignore[assignment]

#: A name that is nobody's (RFC 2606); it is never looked up.
_ENDPOINT = "http://warm-up.invalid:5985/wsman"

#: Of sealed messages (MS-WSMV 2.2.9.1); http.client compiles a pattern for their boundary.
_SEALED = "application/HTTP-SPNEGO-session-encrypted"


def _challenge() -> bytes:
    """An NTLM CHALLENGE_MESSAGE (MS-NLMP 2.2.1.2) with the flags and the target information that Windows sends."""
    name = "WARM-UP".encode("utf-16-le")
    pairs = ((1, name), (2, name), (7, bytes(8)), (0, b""))  # MsvAvNbComputerName, MsvAvNbDomainName, MsvAvTimestamp
    target_info = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in pairs)
    fields = struct.pack("<HHI", len(name), len(name), 56)
    fields += struct.pack("<I", 0xE28A8235) + bytes(8) + bytes(8)
    fields += struct.pack("<HHI", len(target_info), len(target_info), 56 + len(name))
    return b"NTLMSSP\0" + struct.pack("<I", 2) + fields + b"\x0a\x00\x7c\x4f\x00\x00\x00\x0f" + name + target_info


def _response(status: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Server: Microsoft-HTTPAPI/2.0", *headers, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


def _answers() -> list[bytes]:
    challenge = base64.b64encode(_challenge()).decode()
    return [
        _response("401 Unauthorized", "WWW-Authenticate: Negotiate"),
        _response("401 Unauthorized", f"WWW-Authenticate: Negotiate {challenge}"),
        _response("200 OK", f'Content-Type: multipart/encrypted;protocol="{_SEALED}";boundary="Encrypted Boundary"'),
    ]


class _Answer(io.BytesIO):
    """A socket's file; requests_ntlm looks for a certificate in the socket below it."""

    _sock = None

    @property
    def raw(self) -> _Answer:
        return self


class _Wire:
    """What a connection uses of a socket; each request is met by the next answer."""

    def __init__(self) -> None:
        self._answers = _answers()

    def sendall(self, data: bytes) -> None:
        """Nobody listens."""

    def makefile(self, *_args: t.Any, **_kwargs: t.Any) -> _Answer:
        return _Answer(self._answers.pop(0))

    def settimeout(self, timeout: float | None) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is open."""


def _rehearse() -> None:
    """Everything that opening a session and sealing one message takes, with the libraries' own code."""

    class Connection(urllib3.connection.HTTPConnection):
        is_connected = True  # asking would need a real socket

        def connect(self) -> None:
            self.sock = _Wire()

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    # A proxy or a certificate store named in the environment would be warned of here, and then never again.
    transport: t.Any = Transport(
        _ENDPOINT,
        username="user",
        password="password",
        auth_method="ntlm",
        proxy=None,
        server_cert_validation="ignore",
        message_encryption="never",
    )
    transport.build_session()
    session = transport.session
    adapter = requests.adapters.HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool}
    session.mount("http://", adapter)
    try:
        transport.setup_encryption(session)
    except TypeError:  # before pywinrm 0.5 it knows its session
        transport.setup_encryption()
    encryption = transport.encryption
    if not isinstance(encryption, Encryption):
        return
    encryption.prepare_encrypted_request(session, _ENDPOINT, b"message")
    transport.close_session()
    codecs.lookup("utf-8-sig")  # _wsman decodes answers with it


def _rehearse_templates() -> None:
    """What a worker takes to evaluate a task's condition and its arguments: filters are found, patterns compiled."""
    templar = Templar(DataLoader(), variables={"given": "winrm"})
    templar.template(_as_template("{{ missing | default([1, 2], true) }}"))
    condition = "(given | default('winrm')).split('.')[-1] in ['winrm', 'psrp']"
    if hasattr(templar, "evaluate_conditional"):
        templar.evaluate_conditional(_as_template(condition))
    else:  # before ansible-core 2.19
        templar.template(f"{{% if {condition} %}} True {{% else %}} False {{% endif %}}")


def prewarm() -> None:
    """Rehearse a task and a session, the latter if the libraries are there; never fails."""
    for rehearse in (_rehearse_templates, _rehearse):
        if rehearse is _rehearse and requests is None:
            continue
        with contextlib.suppress(Exception):  # libraries of another make: nothing is gained, nothing is lost
            rehearse()
