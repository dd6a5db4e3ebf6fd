# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Software Protection Platform: the data of the field, a machine's state, and what is to change on it."""
