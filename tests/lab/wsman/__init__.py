# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's WS-Management service: SOAP in, CIM operations on a machine's repository, SOAP out."""
