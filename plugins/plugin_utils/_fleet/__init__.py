# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole fleet: what is declared of its KMS hosts, what was read of its machines and of DNS, and what is wrong."""
