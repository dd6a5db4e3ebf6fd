# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The simulated Windows machines: their state, their CIM classes and the licensing rules between them."""
