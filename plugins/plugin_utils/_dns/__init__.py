# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SRV records: asked for, put in order, shared out and compared. Knows nothing of Windows."""
