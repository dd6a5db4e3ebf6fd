# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long generated tests search: a moment in every run, longer where HYPOTHESIS_PROFILE=long asks for it.

``brief`` is for the releases that run the same code once more.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# No deadline: how fast a machine is, is no property of the code.
settings.register_profile("short", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("brief", settings.get_profile("short"), max_examples=10)
settings.register_profile("long", settings.get_profile("short"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
