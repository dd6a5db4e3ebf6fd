# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transports made from Ansible's own connection objects, without a WinRS shell and without a PowerShell runspace.

Ansible's ``winrm`` and ``psrp`` connections hold every setting (credentials, ports, TLS, Kerberos tickets), for the
delegated host when ``delegate_to`` is used. Their ``_connect`` would open a shell on the target; the parts in front
of it are used instead. They are the same in ansible-core 2.16 to 2.21.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import AuthenticationError, TransportError

from .prewarm import prewarm

try:
    import requests
except ImportError:  # pywinrm and pypsrp both bring it; without them no transport is made
    requests = None  # type: ignore[assignment]

try:
    import winrm
    import winrm.exceptions
except ImportError:
    winrm = None

try:
    import pypsrp
    import pypsrp.exceptions
    import pypsrp.wsman
except ImportError:
    pypsrp = None

try:
    import spnego.exceptions
except ImportError:  # comes with pypsrp, and with pywinrm's NTLM
    spnego = None

try:
    from winrm.vendor.requests_kerberos import exceptions as kerberos
except ImportError:
    kerberos = None

prewarm()

#: How the libraries say that no ticket or token could be had, or that the other side could not prove itself.
_TICKET_ERRORS: tuple[type[Exception], ...] = (
    *((spnego.exceptions.SpnegoError,) if spnego else ()),
    *((kerberos.KerberosExchangeError, kerberos.MutualAuthenticationError) if kerberos else ()),
)

#: HTTP waits longer than the operation may take, so that a late operation is told by a fault, not by silence.
HTTP_GRACE = 15.0

#: Seconds for an ordinary operation, at the least (the default of pywinrm and pypsrp).
MINIMUM_TIMEOUT = 20.0

_LOOK_FOR = (
    "Check that the machine is up, that WinRM listens at this port (ansible_port, HTTP or HTTPS), and the firewalls in"
    " between."
)

#: pypsrp logs whole messages at the level DEBUG; they may hold a product key.
logging.getLogger("pypsrp").setLevel(logging.INFO)


class UnusableConnection(Exception):
    """The task's connection cannot carry CIM; the text names those that can."""


class HttpTransport(abc.ABC):
    """A session of one of the two libraries; the mapping of its errors is the same for both."""

    #: Exceptions by which the library says that the credentials were refused, and that HTTP gave an error status.
    refused: tuple[type[Exception], ...] = ()
    http_error: tuple[type[Exception], ...] = ()

    def __init__(self, endpoint: str, *, encrypted: bool, operation_timeout: float = MINIMUM_TIMEOUT) -> None:
        self.endpoint = endpoint
        self.encrypted = encrypted
        #: Seconds for an ordinary operation: the connection's own setting, where it is longer than ours.
        self.operation_timeout = max(float(operation_timeout), MINIMUM_TIMEOUT)

    @abc.abstractmethod
    def _post(self, envelope: bytes, timeout: float) -> bytes:
        """Send through the library."""

    @abc.abstractmethod
    def reconnect(self) -> None:
        """Forget the session: the next message connects and authenticates anew."""

    def close(self) -> None:
        with contextlib.suppress(Exception):  # a session that is gone already is closed
            self.reconnect()

    def send(self, envelope: bytes, *, operation_timeout: float) -> bytes:
        """Post one envelope; the body of an HTTP 500 is an answer, too (a SOAP fault)."""
        try:
            return self._post(envelope, operation_timeout + HTTP_GRACE)
        except self.refused as error:
            raise AuthenticationError(
                f"the credentials were refused by {self.endpoint}. Check ansible_user and ansible_password, and that"
                " the account is an administrator who may use WinRM."
            ) from error
        except self.http_error as error:
            return self._body_of(error)
        except _TICKET_ERRORS as error:
            raise self._no_ticket(error) from error
        except requests.exceptions.RequestException as error:
            raise self._lost(error) from error
        except (KeyError, UnicodeDecodeError, ValueError) as error:
            # An error page where an encrypted answer was due, or bytes that cannot be decrypted.
            raise TransportError(f"{self.endpoint} sent an answer that cannot be decrypted") from error
        except AnsibleConnectionFailure as error:
            raise TransportError(str(error), sent=False, dropped=False) from error

    def _body_of(self, error: Exception) -> bytes:
        status = getattr(error, "code", 0)
        text = getattr(error, "response_text", "") or ""
        body = text.encode() if isinstance(text, str) else bytes(text)
        if b"Envelope" in body:
            return body
        if status == 400:
            # A body encrypted under the keys of a dropped connection: it could not be read, so nothing was done.
            raise TransportError(f"{self.endpoint} dropped the connection (HTTP 400)", sent=False)
        if status == 413:
            raise TransportError(
                f"{self.endpoint} refused the request as too large (HTTP 413)", sent=False, dropped=False
            )
        raise TransportError(f"{self.endpoint} answered HTTP {status} without a WS-Management message", dropped=False)

    def _no_ticket(self, error: Exception) -> AuthenticationError:
        return AuthenticationError(
            f"{self.endpoint} could not be authenticated to: {_innermost(error)}. For Kerberos check the ticket"
            " (klist), the clock, and that the name the host is reached by has a service principal (HTTP/name or"
            " WSMAN/name)."
        )

    def _lost(self, error: Exception) -> TransportError:
        exceptions = requests.exceptions
        if isinstance(error, exceptions.SSLError):
            return TransportError(
                f"TLS to {self.endpoint} failed: {_innermost(error)}. For a certificate that the controller does not"
                " know set ansible_winrm_server_cert_validation or ansible_psrp_cert_validation.",
                sent=False,
                dropped=False,
            )
        if isinstance(error, exceptions.ConnectTimeout):
            return TransportError(
                f"{self.endpoint} did not accept a connection in time. {_LOOK_FOR}", sent=False, dropped=False
            )
        if isinstance(error, exceptions.ReadTimeout):
            return TransportError(f"{self.endpoint} did not answer in time", dropped=False)
        text = str(error)
        never_connected = "NewConnectionError" in text or "NameResolutionError" in text
        if never_connected:
            return TransportError(
                f"no connection to {self.endpoint}: {_innermost(error)}. {_LOOK_FOR}", sent=False, dropped=False
            )
        return TransportError(f"the connection to {self.endpoint} was lost: {_innermost(error)}")


class WinrmTransport(HttpTransport):
    """pywinrm's transport, as Ansible's ``winrm`` connection configures it."""

    def __init__(self, connection: t.Any) -> None:
        self.refused = (winrm.exceptions.InvalidCredentialsError,)
        self.http_error = (winrm.exceptions.WinRMTransportError,)
        protocol = _winrm_protocol(connection)
        self._transport = protocol.transport
        is_tls = self._transport.endpoint.lower().startswith("https")
        wraps = self._transport.auth_method in ("ntlm", "kerberos", "credssp")
        super().__init__(
            self._transport.endpoint,
            encrypted=is_tls or (wraps and self._transport.message_encryption != "never"),
            operation_timeout=protocol.operation_timeout_sec,
        )

    def _post(self, envelope: bytes, timeout: float) -> bytes:
        self._transport.read_timeout_sec = timeout
        # Proxies and certificate stores of the environment are merged when the session is built; requests would
        # read the whole environment for each message again.
        if not self._transport.session:  # before 0.5 pywinrm would build another one for each message
            self._transport.build_session()
            self._transport.session.trust_env = False
        return bytes(self._transport.send_message(envelope))

    def reconnect(self) -> None:
        self._transport.close_session()
        self._transport.encryption = None


class PsrpTransport(HttpTransport):
    """pypsrp's transport, as Ansible's ``psrp`` connection configures it."""

    def __init__(self, connection: t.Any) -> None:
        self.refused = (pypsrp.exceptions.AuthenticationError,)
        self.http_error = (pypsrp.exceptions.WinRMTransportError,)
        connection._build_kwargs()
        wsman = pypsrp.wsman.WSMan(**connection._psrp_conn_kwargs)
        self._transport = wsman.transport
        super().__init__(
            self._transport.endpoint,
            encrypted=bool(self._transport.ssl or self._transport.wrap_required),
            operation_timeout=wsman.operation_timeout,
        )

    def _post(self, envelope: bytes, timeout: float) -> bytes:
        self._transport.read_timeout = timeout
        return bytes(self._transport.send(envelope))

    def reconnect(self) -> None:
        self._transport.close()
        self._transport.session = None
        self._transport.encryption = None


def _winrm_protocol(connection: t.Any) -> t.Any:
    """pywinrm's Protocol with Ansible's settings (and its Kerberos ticket), but without the shell that it opens.

    A connection that has a shell ID opens none: it is given one for the time of the call.
    """
    connection._build_winrm_kwargs()
    shell_id = connection.shell_id
    connection.shell_id = shell_id or "none"
    try:
        return connection._winrm_connect()
    finally:
        connection.shell_id = shell_id


_TRANSPORTS: dict[str, tuple[t.Callable[[t.Any], HttpTransport], str]] = {
    "winrm": (WinrmTransport, "pywinrm"),
    "psrp": (PsrpTransport, "pypsrp"),
}


def open_transport(connection: t.Any) -> HttpTransport:
    """The transport of the task's connection; nothing is sent yet.

    Raises UnusableConnection where the connection is of another kind or its library is missing, and TransportError
    where its settings lead nowhere (for instance no Kerberos ticket).
    """
    kind = getattr(connection, "transport", None) or type(connection).__name__
    if kind not in _TRANSPORTS:
        raise UnusableConnection(
            f"This module speaks CIM over WS-Management and needs the connection winrm or psrp, not '{kind}'. Set"
            " ansible_connection for this host (or for the host that the task is delegated to)."
        )
    factory, library = _TRANSPORTS[kind]
    if (winrm if kind == "winrm" else pypsrp) is None:
        raise UnusableConnection(
            f"The Python library {library} is missing on the controller; the {kind} connection needs it."
            f" Install it in the environment that runs Ansible: pip install {library}"
        )
    try:
        return factory(connection)
    except AnsibleError as error:
        raise TransportError(str(error), sent=False, dropped=False) from error
    except Exception as error:
        if type(error).__module__.startswith(("winrm", "pypsrp")) or isinstance(error, ValueError):
            raise TransportError(
                f"the {kind} connection cannot be set up: {error}", sent=False, dropped=False
            ) from error
        raise


def _innermost(error: BaseException) -> str:
    """What lies at the bottom of an error that libraries have wrapped: the operating system's own words.

    Only what an error itself holds is followed. Its context may be an earlier error that has nothing to do with it.
    """
    while (inner := _inner(error)) is not None:
        error = inner
    return str(getattr(error, "strerror", None) or error)


def _inner(error: BaseException) -> BaseException | None:
    held = (getattr(error, "reason", None), *reversed(error.args), error.__cause__)
    return next((item for item in held if isinstance(item, BaseException)), None)
