# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Win32_* classes and the firewall rules."""

from __future__ import annotations

import datetime as dt
import typing as t

from lab.cim import CimError, Instance
from lab.windows import eventlog
from lab.windows.firewall import DOMAIN, PRIVATE, PUBLIC, FirewallRule
from lab.windows.providers.base import WBEM_INVALID_PARAMETER, WBEM_READ_ONLY, Provider
from lab.windows.service import RUNNING, STOPPED

_INSTALLED = dt.datetime(2024, 1, 15, 9, 0, tzinfo=dt.timezone.utc)

_OPERATING_SYSTEM: dict[str, t.Any] = {
    "BootDevice": "\\Device\\HarddiskVolume1",
    "BuildType": "Multiprocessor Free",
    "CodeSet": "1252",
    "CountryCode": "1",
    "CreationClassName": "Win32_OperatingSystem",
    "CSCreationClassName": "Win32_ComputerSystem",
    "CurrentTimeZone": 0,
    "DataExecutionPrevention_32BitApplications": True,
    "DataExecutionPrevention_Available": True,
    "DataExecutionPrevention_Drivers": True,
    "DataExecutionPrevention_SupportPolicy": 3,
    "Debug": False,
    "Description": "",
    "Distributed": False,
    "EncryptionLevel": 256,
    "ForegroundApplicationBoost": 0,
    "FreePhysicalMemory": 1048576,
    "FreeSpaceInPagingFiles": 8388608,
    "FreeVirtualMemory": 8388608,
    "InstallDate": _INSTALLED,
    "Locale": "0409",
    "Manufacturer": "Microsoft Corporation",
    "MaxNumberOfProcesses": 0xFFFFFFFF,
    "MaxProcessMemorySize": 137438953344,
    "MUILanguages": ["en-US"],
    "NumberOfLicensedUsers": 0,
    "NumberOfProcesses": 38,
    "NumberOfUsers": 0,
    "Organization": "",
    "OSArchitecture": "64-bit",
    "OSLanguage": 1033,
    "OSType": 18,
    "PortableOperatingSystem": False,
    "Primary": True,
    "RegisteredUser": "Windows User",
    "SerialNumber": "00000-00000-00000-AA000",
    "ServicePackMajorVersion": 0,
    "ServicePackMinorVersion": 0,
    "SizeStoredInPagingFiles": 8388608,
    "Status": "OK",
    "SystemDevice": "\\Device\\HarddiskVolume2",
    "SystemDirectory": "C:\\Windows\\system32",
    "SystemDrive": "C:",
    "TotalVirtualMemorySize": 9017972,
    "TotalVisibleMemorySize": 4194304,
    "WindowsDirectory": "C:\\Windows",
}


class OperatingSystemProvider(Provider):
    """Win32_OperatingSystem, a singleton."""

    def instances(self) -> list[Instance]:
        machine = self.machine
        generation, is_server = machine.generation, machine.generation.is_server
        caption = f"{generation.caption} {machine.edition.words}"
        suite = (272 if is_server else 256) | (128 if "Datacenter" in machine.edition.edition_id else 0)
        own = {
            "BuildNumber": str(generation.build),
            "Caption": caption,
            "CSDVersion": "Service Pack 1" if generation.build == 7601 else None,
            "CSName": machine.host_name.upper(),
            "LastBootUpTime": machine.booted,
            "LocalDateTime": machine.now(),
            "Name": f"{caption}|C:\\Windows|\\Device\\Harddisk0\\Partition2",
            "OperatingSystemSKU": machine.edition.sku,
            "OSProductSuite": suite,
            "ProductType": 3 if is_server else 1,
            "SuiteMask": suite,
            "Version": generation.version,
        }
        return [self.make({**_OPERATING_SYSTEM, **own})]


class ComputerSystemProvider(Provider):
    """Win32_ComputerSystem; Domain is the AD domain, or the workgroup of a machine that is in none."""

    def instances(self) -> list[Instance]:
        machine = self.machine
        joined, is_server = bool(machine.ad_domain), machine.generation.is_server
        values = {
            "Caption": machine.host_name.upper(),
            "CreationClassName": "Win32_ComputerSystem",
            "Description": "AT/AT COMPATIBLE",
            "DNSHostName": machine.host_name,
            "Domain": machine.ad_domain or "WORKGROUP",
            "DomainRole": (3 if joined else 2) if is_server else (1 if joined else 0),
            "HypervisorPresent": True,
            "Manufacturer": "Simulated",
            "Model": "Loopback",
            "Name": machine.host_name.upper(),
            "NumberOfProcessors": 1,
            "PartOfDomain": joined,
            "PrimaryOwnerName": "Windows User",
            "Roles": ["LM_Workstation", "LM_Server", "NT"],
            "Status": "OK",
            "SystemType": "x64-based PC",
            "TotalPhysicalMemory": 4294967296,
            "Workgroup": None if joined else "WORKGROUP",
        }
        return [self.make(values)]


class EventProvider(Provider):
    """Win32_NTLogEvent, newest first as Windows returns them."""

    def instances(self) -> list[Instance]:
        return [self._make(event) for event in reversed(self.machine.events.events())]

    def _make(self, event: eventlog.Event) -> Instance:
        strings = list(event.strings)
        one_string = self.machine.generation.build < 9200
        return self.make(
            {
                "Category": 0,
                "ComputerName": self.machine.fqdn,
                "EventCode": event.code,
                "EventIdentifier": event.identifier,
                "EventType": event.event_type,
                "InsertionStrings": [",".join(strings)] if one_string else strings,
                "Logfile": event.logfile,
                "RecordNumber": event.record,
                "SourceName": eventlog.SOURCE,
                "TimeGenerated": event.time,
                "TimeWritten": event.time,
                "Type": "Warning" if event.event_type == 2 else "Information",
            }
        )


class WindowsServiceProvider(Provider):
    """Win32_Service: sppsvc and a service beside it, so that a missing filter shows."""

    def instances(self) -> list[Instance]:
        service = self.machine.service
        state = service.state
        return [
            self._make(
                "sppsvc",
                "Software Protection",
                "C:\\Windows\\system32\\sppsvc.exe",
                state,
                "Disabled" if service.disabled else "Auto",
            ),
            self._make("WinRM", "Windows Remote Management (WS-Management)", "svchost.exe -k NetworkService", RUNNING),
        ]

    def _make(self, name: str, display: str, path: str, state: str, start_mode: str = "Auto") -> Instance:
        running = state != STOPPED
        return self.make(
            {
                "AcceptPause": False,
                "AcceptStop": state == RUNNING,
                "Caption": display,
                "CheckPoint": 0,
                "CreationClassName": "Win32_Service",
                "DelayedAutoStart": name == "sppsvc",
                "Description": display,
                "DesktopInteract": False,
                "DisplayName": display,
                "ErrorControl": "Normal",
                "ExitCode": 0,
                "Name": name,
                "PathName": path,
                "ProcessId": 1688 if running else 0,
                "ServiceSpecificExitCode": 0,
                "ServiceType": "Own Process" if name == "sppsvc" else "Share Process",
                "Started": running,
                "StartMode": start_mode,
                "StartName": "NT AUTHORITY\\NetworkService",
                "State": state,
                "Status": "OK",
                "SystemCreationClassName": "Win32_ComputerSystem",
                "SystemName": self.machine.host_name.upper(),
                "TagId": 0,
                "WaitHint": 0,
            }
        )

    @staticmethod
    def _is_sppsvc(instance: Instance | None) -> bool:
        return instance is not None and instance.values["Name"] == "sppsvc"

    def do_startservice(self, instance: Instance | None) -> int:
        return self.machine.service.start() if self._is_sppsvc(instance) else 10

    def do_stopservice(self, instance: Instance | None) -> int:
        return self.machine.service.stop() if self._is_sppsvc(instance) else 2

    def do_interrogateservice(self, instance: Instance | None) -> int:
        return 0 if self._is_sppsvc(instance) and self.machine.service.state == RUNNING else 6

    def do_pauseservice(self, instance: Instance | None) -> int:
        return 5

    def do_resumeservice(self, instance: Instance | None) -> int:
        return 5

    def do_changestartmode(self, instance: Instance | None, startmode: str | None) -> int:
        if startmode not in ("Automatic", "Manual", "Disabled"):
            return 21
        if not self._is_sppsvc(instance):
            return 2
        self.machine.service.disabled = startmode == "Disabled"
        return 0


class FirewallRuleProvider(Provider):
    """MSFT_NetFirewallRule: the rules of the Key Management Service and one of another group."""

    def instances(self) -> list[Instance]:
        other = FirewallRule("WINRM-HTTP-In-TCP", DOMAIN | PRIVATE, enabled=1)
        return [self._make(rule, "@FirewallAPI.dll,-28002") for rule in self.machine.rules] + [
            self._make(other, "@FirewallAPI.dll,-30267")
        ]

    def _make(self, rule: FirewallRule, group: str) -> Instance:
        return self.make(
            {
                "Action": 2,
                "ConditionListType": 3,
                "CreationClassName": f"MSFT|FW|FirewallRule|{rule.name}",
                "Direction": 1,
                "DisplayGroup": "Key Management Service" if group.endswith("28002") else "Windows Remote Management",
                "DisplayName": rule.name,
                "EdgeTraversalPolicy": 0,
                "ElementName": rule.name,
                "Enabled": rule.enabled,
                "InstanceID": rule.name,
                "PolicyRuleName": "",
                "PolicyStoreSource": "PersistentStore",
                "PolicyStoreSourceType": 1,
                "PrimaryStatus": 1,
                "Profiles": rule.profiles,
                "RuleGroup": group,
                "SequencedActions": 3,
                "Status": "The rule was parsed successfully from the store.",
                "StatusCode": 65536,
                "SystemCreationClassName": "",
                "SystemName": "",
            }
        )

    def _rule(self, instance: Instance | None) -> FirewallRule:
        name = instance.values["InstanceID"] if instance else None
        for rule in self.machine.rules:
            if rule.name == name:
                return rule
        raise CimError(WBEM_READ_ONLY, "this rule is not simulated")

    def do_enable(self, instance: Instance | None) -> int:
        self._rule(instance).enabled = 1
        return 0

    def do_disable(self, instance: Instance | None) -> int:
        self._rule(instance).enabled = 2
        return 0

    def modify(self, instance: Instance, changes: t.Mapping[str, t.Any]) -> Instance:
        """Put of Enabled and Profiles; other properties must keep their value."""
        rule = self._rule(instance)
        for name, value in changes.items():
            if name not in ("Enabled", "Profiles") and value != instance.values.get(name):
                raise CimError(WBEM_READ_ONLY, f"{name} cannot be changed")
        enabled = changes.get("Enabled", rule.enabled)
        profiles = changes.get("Profiles", rule.profiles)
        if enabled not in (1, 2) or profiles is None or not 0 <= profiles <= DOMAIN | PRIVATE | PUBLIC:
            raise CimError(WBEM_INVALID_PARAMETER, "Enabled is 1 or 2, Profiles a mask of 1, 2 and 4")
        rule.enabled, rule.profiles = enabled, profiles
        return self._make(rule, "@FirewallAPI.dll,-28002")
