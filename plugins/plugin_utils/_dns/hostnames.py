# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names from DNS may be used as names of machines and domains: DNS itself allows any byte in them."""

from __future__ import annotations

import re

_MAX_NAME = 253
# Letters, digits and hyphens (RFC 952, RFC 1123 2.1), and the underscore inside, which Windows allows in the names of
# machines. One in front marks what is no machine and no domain, such as "_tcp" (RFC 8552 1.1).
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?\Z")


def why_no_domain(name: str) -> str | None:
    """Return why a name, in lower case and without the final dot, is not that of a domain; None when it is."""
    if len(name) > _MAX_NAME:
        return f"it is longer than {_MAX_NAME} characters"
    odd = next((label for label in name.split(".") if not _LABEL.match(label)), None)
    if odd is not None:
        return f"{odd!r} is not made of letters and digits, with hyphens and underscores only inside, 63 at most"
    if name.rpartition(".")[2].isdigit():
        return "it ends in a number, as an address does"  # RFC 3696 2: no top-level domain is all digits
    return None


def why_no_host(name: str) -> str | None:
    """Return why a name, in lower case and without the final dot, is not that of a machine in DNS; None when it is.

    A single label is refused: it could be the name of a group, or "localhost", and no machine is found by it in DNS.
    So is what means the asking machine itself (RFC 6761 6.3).
    """
    if name.rpartition(".")[2] == "localhost":
        return "it means this machine"
    if "." not in name:
        return "it has no domain"
    return why_no_domain(name)
