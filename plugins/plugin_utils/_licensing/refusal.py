# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before anything is sent."""

from __future__ import annotations


class Refusal(Exception):
    """The wish does not fit this machine; the text says why and what to do."""
