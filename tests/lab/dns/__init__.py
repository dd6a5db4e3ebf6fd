# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DNS for the simulated fleet: an embedded authoritative server, or a real one elsewhere."""
