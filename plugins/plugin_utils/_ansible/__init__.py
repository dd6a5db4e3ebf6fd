# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What faces Ansible: the base action, arguments from YAML, the transports of its connections, and results."""
