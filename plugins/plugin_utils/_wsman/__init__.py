# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIM over WS-Management, sans-IO: calls become bytes, bytes become instances, results or errors.

Nothing here opens a socket or authenticates: ``client.CimClient`` is handed a transport. Nothing here knows
Windows licensing either: the classes, and what their numbers mean, belong to the caller.

``names``     namespaces and action URIs
``model``     classes, instances and results
``values``    CIM values to and from their XML text
``envelope``  requests to bytes
``answer``    bytes to parsed answers
``faults``    a SOAP fault to one error
``codes``     names of WS-Management, WMI and Win32 error codes
``errors``    what may be raised
``client``    the operations, and the rules for sending again
"""
