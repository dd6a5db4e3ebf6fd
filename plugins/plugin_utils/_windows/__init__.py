# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rest of Windows over CIM: registry, services, firewall rules, the event log and who a machine is."""
