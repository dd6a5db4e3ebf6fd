# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's HTTP: a small asyncio server, WinRM authentication and message encryption."""
