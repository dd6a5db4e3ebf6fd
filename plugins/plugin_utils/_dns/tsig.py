# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shared secrets that messages to a DNS server are signed with (TSIG, RFC 8945)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from .records import normalise_name

try:
    import dns.name
    import dns.tsig
except ImportError:  # query.DNSPYTHON_IMPORT_ERROR tells the plugins
    pass

if TYPE_CHECKING:
    from dns.tsig import Key


def tsig_key(name: str, secret: str, algorithm: str = "hmac-sha256") -> Key:
    """Make a key of its name, its secret in base64 (blanks are ignored) and its algorithm (RFC 8945 6).

    Raises ValueError, whose text never holds the secret.
    """
    try:
        decoded = base64.b64decode("".join(secret.split()), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise ValueError(f"the secret of the TSIG key {name!r} is not base64")
    return dns.tsig.Key(dns.name.from_text(normalise_name(name)), decoded, algorithm)
