# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated Windows fleet on loopback: WinRM endpoints, licensing rules and DNS, for rehearsals and tests."""
