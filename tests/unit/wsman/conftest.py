# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of the tests with generated input."""

from __future__ import annotations

from hypothesis import settings

# No test of these may fail because the machine is busy.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
