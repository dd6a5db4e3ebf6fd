# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is there: Basic, NTLM and Negotiate for one TCP connection (RFC 7617, RFC 4559)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import pathlib
import typing as t

import spnego
from spnego._ntlm_raw.crypto import (
    ntowfv1,
)  # the NT hash; hashing here spares pyspnego the costly LM hash per handshake

_NTLM_SIGNATURE = b"NTLMSSP\x00"
_SPNEGO_SCHEMES = ("negotiate", "ntlm")


class AccountFile:
    """The accounts of a machine in the form that pyspnego's NTLM acceptor reads.

    The acceptor takes its accounts from the file that NTLM_USER_FILE names; machines with the same accounts share a
    file. ``select`` must be called before each step of a handshake, with no await between the two.
    """

    def __init__(self, folder: pathlib.Path, accounts: t.Mapping[str, str]) -> None:
        text = "".join(
            f"{user}:0:{'0' * 32}:{ntowfv1(word).hex().upper()}:[U]:LCT-0\n" for user, word in accounts.items()
        )
        self.path = folder / f"accounts-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        if not self.path.exists():
            self.path.touch(mode=0o600)
            self.path.write_text(text, encoding="utf-8")

    def select(self) -> None:
        os.environ["NTLM_USER_FILE"] = str(self.path)


class Refused(Exception):
    """The credentials are wrong, or no step of a handshake: HTTP 401."""


class Authenticator:
    """The authentication state of one TCP connection."""

    def __init__(
        self, accounts: t.Mapping[str, str], account_file: AccountFile, schemes: t.Sequence[str], basic_allowed: bool
    ) -> None:
        self._accounts = accounts
        self._account_file = account_file
        self._schemes = schemes
        self._basic_allowed = basic_allowed and "basic" in schemes
        self._handshake: spnego.ContextProxy | None = None
        self.context: spnego.ContextProxy | None = None
        self.user: str | None = None

    @property
    def challenges(self) -> list[tuple[str, str]]:
        """The WWW-Authenticate headers of a 401 answer."""
        names = ["Negotiate"] if any(scheme in _SPNEGO_SCHEMES for scheme in self._schemes) else []
        names += ['Basic realm="WSMAN"'] if self._basic_allowed else []
        return [("WWW-Authenticate", name) for name in names]

    def step(self, authorization: str) -> str | None:
        """Takes an Authorization header and returns the WWW-Authenticate value to answer with, if any.

        Sets ``user`` when the client is known from now on; raises Refused.
        """
        scheme, _blank, token_text = authorization.partition(" ")
        try:
            token = base64.b64decode(token_text.strip(), validate=True)
        except binascii.Error as exc:
            raise Refused("no base64") from exc
        if not token:
            raise Refused("no token")
        if scheme.lower() == "basic":
            self._basic(token)
            return None
        if scheme.lower() not in _SPNEGO_SCHEMES or not any(name in _SPNEGO_SCHEMES for name in self._schemes):
            raise Refused(f"scheme {scheme} is not offered")
        answer = self._negotiate(token)
        return f"{scheme} {base64.b64encode(answer).decode()}" if answer else None

    def forget(self) -> None:
        """Ends a handshake and an authenticated session."""
        self._handshake = self.context = self.user = None

    def _basic(self, token: bytes) -> None:
        if not self._basic_allowed:
            raise Refused("Basic is not offered")
        user, _colon, password = token.decode("utf-8", "replace").partition(":")
        for known, word in self._accounts.items():
            if known.lower() == user.lower() and hmac.compare_digest(word.encode(), password.encode()):
                self.user = known
                return
        raise Refused("wrong user or password")

    def _negotiate(self, token: bytes) -> bytes | None:
        raw_ntlm = token.startswith(_NTLM_SIGNATURE)
        if self._handshake is None or self._handshake.complete:
            self.forget()
            self._account_file.select()
            self._handshake = spnego.server(
                protocol="ntlm" if raw_ntlm else "negotiate",
                service="http",
                options=spnego.NegotiateOptions.wrapping_winrm,
            )
        self._account_file.select()
        try:
            answer = self._handshake.step(token)
        except Exception as exc:  # pyspnego raises many kinds for hostile tokens; all of them mean no
            self.forget()
            raise Refused("handshake failed") from exc
        if self._handshake.complete:
            self.context = self._handshake
            self.user = self.context.client_principal or ""
        return answer
