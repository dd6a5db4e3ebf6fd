# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module of the collection supports, told once."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes and notes; options stand with their modules, because the run reads them from there."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and tell exactly what would be changed, without changing it.
  diff_mode:
    support: full
    description: Shows each setting before and after in diff mode.
  idempotent:
    support: full
    description: A second run with the same options sends no write.
  platform:
    support: full
    platforms: windows
    description: The Windows that can be managed. Windows 8 and Windows Server 2012 or newer. Windows 7 and
      Windows Server 2008 R2 can be read, given a key and activated.
notes:
  - Runs on the controller and speaks CIM over WS-Management through the host's own connection, which must be
    P(ansible.builtin.winrm#connection) or P(ansible.builtin.psrp#connection). No shell and no PowerShell is started on
    the target.
  - A product key that comes from a variable is never shown, not even with C(-vvvv). A key that is written literally
    into a playbook cannot be protected, because Ansible itself prints and records the task as it is written.
"""
