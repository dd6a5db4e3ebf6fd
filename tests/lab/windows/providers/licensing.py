# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SoftwareLicensingService and SoftwareLicensingProduct."""

from __future__ import annotations

import datetime as dt
import typing as t

from lab.cim import CimError, Instance
from lab.windows import registry
from lab.windows.centre import ActivationObject, installation_id
from lab.windows.kms_host import HostRole
from lab.windows.products import LICENSED, REASON_NONE, UNLICENSED, WINDOWS_APPLICATION, Licence, Sku
from lab.windows.providers.base import NOT_APPLICABLE, Provider
from lab.windows.spp import INVALID_KEY, INVALID_PARAMETER, NOT_ALLOWED, SKU_NOT_INSTALLED, SoftwareProtection

#: The firmware's OEM key of every machine with one: never a real key, and easy to look for in logs.
FIRMWARE_KEY = "FRMWR-KKKKK-QQQQQ-NRRRR-W4X2K"

_NO_DATE = dt.datetime(1601, 1, 1, tzinfo=dt.timezone.utc)
_TOKEN_NOT_FOUND = 0xC004F304
_VALUE_NOT_FOUND = 0xC004F012
_CENTRE_NEEDS_HOST_KEY = 0xC004F07D
_AO_NAME_TOO_LONG = 0xC004F082

_COUNTER_PROPERTIES = {
    "KeyManagementServiceTotalRequests": "Total",
    "KeyManagementServiceFailedRequests": "Failed",
    "KeyManagementServiceUnlicensedRequests": "Unlicensed",
    "KeyManagementServiceLicensedRequests": "Licensed",
    "KeyManagementServiceOOBGraceRequests": "OOBGrace",
    "KeyManagementServiceOOTGraceRequests": "OOTGrace",
    "KeyManagementServiceNonGenuineGraceRequests": "NonGenuineGrace",
    "KeyManagementServiceNotificationRequests": "Notification",
}

_NO_COUNTERS: dict[str, t.Any] = {
    **dict.fromkeys(_COUNTER_PROPERTIES, NOT_APPLICABLE),
    "KeyManagementServiceCurrentCount": NOT_APPLICABLE,
    "RequiredClientCount": NOT_APPLICABLE,
    "IsKeyManagementServiceMachine": 0,
}

_TOKEN_FIELDS: dict[str, t.Any] = {
    "TokenActivationAdditionalInfo": "",
    "TokenActivationCertificateThumbprint": "",
    "TokenActivationGrantNumber": NOT_APPLICABLE,
    "TokenActivationILID": "",
    "TokenActivationILVID": NOT_APPLICABLE,
}

_SERVICE_DEFAULTS: dict[str, t.Any] = {
    **_TOKEN_FIELDS,
    "OA2xBiosMarkerMinorVersion": 1,
    "OA2xBiosMarkerStatus": 1,
    "PolicyCacheRefreshRequired": 0,
    "KeyManagementServiceActivationDisabled": False,
    "AzureMetadataResponse": 0,
    "EmitWindowsMeter": 0,
    "SubscriptionEdition": "",
    "SubscriptionExpiry": "",
    "SubscriptionStatus": 0,
    "SubscriptionType": 0,
}

_PRODUCT_DEFAULTS: dict[str, t.Any] = {
    **_NO_COUNTERS,
    **_TOKEN_FIELDS,
    **dict.fromkeys(
        (
            "ADActivationCsvlkPid",
            "ADActivationCsvlkSkuId",
            "ADActivationObjectDN",
            "ADActivationObjectName",
            "AutomaticVMActivationHostDigitalPid2",
            "AutomaticVMActivationHostMachineName",
            "IAID",
            "LicenseDependsOn",
            "MachineURL",
            "ProcessorURL",
            "ProductKeyURL",
            "UseLicenseURL",
            "ValidationURL",
            "KeyManagementServiceProductKeyID",
        ),
        "",
    ),
    "AutomaticVMActivationLastActivationTime": _NO_DATE,
    "EvaluationEndDate": _NO_DATE,
    "ExtendedGrace": NOT_APPLICABLE,
    "GenuineStatus": 0,
    "LicenseStatus": UNLICENSED,
    "LicenseStatusReason": REASON_NONE,
    "GracePeriodRemaining": 0,
    "RemainingAppReArmCount": 1000,
    "RemainingSkuReArmCount": 1001,
    "VLActivationInterval": NOT_APPLICABLE,
    "VLRenewalInterval": NOT_APPLICABLE,
    "VLActivationType": 0,
    "DiscoveredKeyManagementServiceMachineName": "",
    "DiscoveredKeyManagementServiceMachineIpAddress": "",
    "DiscoveredKeyManagementServiceMachinePort": 0,
}


def _discovered(found: tuple[str, int, str]) -> dict[str, t.Any]:
    return {
        "DiscoveredKeyManagementServiceMachineName": found[0],
        "DiscoveredKeyManagementServiceMachinePort": found[1],
        "DiscoveredKeyManagementServiceMachineIpAddress": found[2],
    }


class _LicensingProvider(Provider):
    """What service and product share: the client settings, for the machine or for one product."""

    @property
    def spp(self) -> SoftwareProtection:
        return self.machine.spp

    def _sku_of(self, instance: Instance | None) -> Sku | None:
        """The product whose own settings a method changes; None for the service."""
        return None

    async def invoke(self, instance: Instance | None, *args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
        self.machine.service.touch()
        self.spp.settle()
        return await super().invoke(instance, *args, **kwargs)

    def _counters(self, role: HostRole | None) -> dict[str, t.Any]:
        if role is None:
            return _NO_COUNTERS
        counters: dict[str, t.Any] = {name: role.requests[key] for name, key in _COUNTER_PROPERTIES.items()}
        counters["KeyManagementServiceCurrentCount"] = role.count(self.machine.now())
        counters["RequiredClientCount"] = role.required()
        counters["IsKeyManagementServiceMachine"] = 1
        return counters

    def do_setkeymanagementservicemachine(self, instance: Instance | None, machinename: str | None) -> None:
        if not machinename or any(char.isspace() for char in machinename):
            raise CimError(INVALID_PARAMETER, "no machine name")
        self.spp.write_setting("KeyManagementServiceName", registry.SZ, machinename, self._sku_of(instance))

    def do_clearkeymanagementservicemachine(self, instance: Instance | None) -> None:
        self.spp.clear_setting("KeyManagementServiceName", self._sku_of(instance))
        self.spp.discovered = ("", 0, "")
        for licence in self.spp.licences.values():
            licence.discovered = ("", 0, "")

    def do_setkeymanagementserviceport(self, instance: Instance | None, portnumber: int | None) -> None:
        port = _port(portnumber)
        self.spp.write_setting("KeyManagementServicePort", registry.SZ, str(port), self._sku_of(instance))

    def do_clearkeymanagementserviceport(self, instance: Instance | None) -> None:
        self.spp.clear_setting("KeyManagementServicePort", self._sku_of(instance))

    def do_setkeymanagementservicelookupdomain(self, instance: Instance | None, lookupdomain: str | None) -> None:
        if not lookupdomain:
            raise CimError(INVALID_PARAMETER, "no lookup domain")
        self.spp.write_setting("KeyManagementServiceLookupDomain", registry.SZ, lookupdomain, self._sku_of(instance))

    def do_clearkeymanagementservicelookupdomain(self, instance: Instance | None) -> None:
        self.spp.clear_setting("KeyManagementServiceLookupDomain", self._sku_of(instance))

    def do_setvlactivationtypeenabled(self, instance: Instance | None, activationtype: int | None) -> None:
        if activationtype not in (1, 2, 3):
            raise CimError(INVALID_PARAMETER, "1 AD, 2 KMS, 3 token")
        self.spp.write_setting("VLActivationType", registry.DWORD, activationtype, self._sku_of(instance))

    def do_clearvlactivationtypeenabled(self, instance: Instance | None) -> None:
        self.spp.clear_setting("VLActivationType", self._sku_of(instance))


class ServiceProvider(_LicensingProvider):
    """SoftwareLicensingService: one instance, keyed by Version."""

    def instances(self) -> list[Instance]:
        self.machine.service.touch()
        self.spp.settle()
        spp, generation = self.spp, self.machine.generation
        main = spp.main_role()
        licence = spp.windows_licence()
        settings = {
            "Version": generation.spp_version,
            "ClientMachineID": spp.client_machine_id,
            "KeyManagementServiceMachine": spp.setting("KeyManagementServiceName"),
            "KeyManagementServicePort": spp.port_setting("KeyManagementServicePort") or 1688,
            "KeyManagementServiceLookupDomain": spp.setting("KeyManagementServiceLookupDomain"),
            "KeyManagementServiceHostCaching": spp.host_caching,
            "KeyManagementServiceListeningPort": spp.listening_port,
            "KeyManagementServiceDnsPublishing": not spp.flag("DisableDnsPublishing"),
            "KeyManagementServiceLowPriority": spp.flag("EnableKmsLowPriority"),
            "KeyManagementServiceProductKeyID": licence.host_product_key_id if licence else "",
            "RemainingWindowsReArmCount": spp.rearms_left,
            "VLActivationInterval": spp.activation_interval if main else NOT_APPLICABLE,
            "VLRenewalInterval": spp.renewal_interval if main else NOT_APPLICABLE,
            **self._firmware(),
        }
        return [self.make({**_SERVICE_DEFAULTS, **self._counters(main), **_discovered(spp.discovered), **settings})]

    def _firmware(self) -> dict[str, t.Any]:
        """A client machine came with an OEM key in its firmware; servers have none."""
        has_key = not self.machine.generation.is_server
        return {
            "OA3xOriginalProductKey": FIRMWARE_KEY if has_key else "",
            "OA3xOriginalProductKeyDescription": "[4.0] Professional OEM:DM" if has_key else "",
            "OA3xOriginalProductKeyPkPn": "[4.0] X00-00000" if has_key else "",
        }

    def do_installproductkey(self, _instance: Instance | None, productkey: str | None) -> None:
        self.spp.install_key(productkey)

    def do_installlicense(self, _instance: Instance | None, license: str | None) -> None:
        if not license:
            raise CimError(INVALID_PARAMETER, "no licence")

    def do_installlicensepackage(self, _instance: Instance | None, licensepackage: str | None) -> None:
        if not licensepackage:
            raise CimError(INVALID_PARAMETER, "no licence package")

    def do_refreshlicensestatus(self, _instance: Instance | None) -> None:
        self.spp.settle()

    def do_clearproductkeyfromregistry(self, _instance: Instance | None) -> None:
        self.spp.clear_key_from_registry()

    def do_setvlactivationinterval(self, _instance: Instance | None, activationinterval: int | None) -> None:
        self.spp.set_interval("VLActivationInterval", activationinterval or 0)

    def do_setvlrenewalinterval(self, _instance: Instance | None, renewalinterval: int | None) -> None:
        self.spp.set_interval("VLRenewalInterval", renewalinterval or 0)

    def do_setkeymanagementservicelisteningport(self, _instance: Instance | None, portnumber: int | None) -> None:
        self.spp.require_host()
        self.spp.write_setting("KeyManagementServiceListeningPort", registry.SZ, str(_port(portnumber)))

    def do_clearkeymanagementservicelisteningport(self, _instance: Instance | None) -> None:
        self.spp.require_host()
        self.spp.clear_setting("KeyManagementServiceListeningPort")

    def do_disablekeymanagementservicednspublishing(
        self, _instance: Instance | None, disablepublishing: bool | None
    ) -> None:
        self.spp.require_host()
        self.spp.write_setting("DisableDnsPublishing", registry.DWORD, _flag(disablepublishing))

    def do_enablekeymanagementservicelowpriority(
        self, _instance: Instance | None, enablelowpriority: bool | None
    ) -> None:
        self.spp.require_host()
        self.spp.write_setting("EnableKmsLowPriority", registry.DWORD, _flag(enablelowpriority))

    def do_disablekeymanagementservicehostcaching(
        self, _instance: Instance | None, disablecaching: bool | None
    ) -> None:
        self.spp.write_setting("DisableKeyManagementServiceHostCaching", registry.DWORD, _flag(disablecaching))

    def do_disablekeymanagementserviceactivation(
        self, _instance: Instance | None, disableactivation: bool | None
    ) -> None:
        self.spp.require_host()
        self.spp.write_setting("DisableKmsActivation", registry.DWORD, _flag(disableactivation))

    def do_acquiregenuineticket(self, _instance: Instance | None, **arguments: t.Any) -> None:
        raise CimError(NOT_ALLOWED, "the requested operation is not allowed")

    def do_rearmwindows(self, _instance: Instance | None) -> None:
        self.spp.rearm()

    def do_rearmapp(self, _instance: Instance | None, applicationid: str | None) -> None:
        if not applicationid:
            raise CimError(INVALID_PARAMETER, "no application ID")
        self.spp.rearm()

    # -- activation objects in Active Directory

    def _directory_key(self, productkey: str | None) -> t.Any:
        if not self.machine.ad_domain:
            raise CimError(NOT_ALLOWED, "the machine is in no domain")
        key = self.machine.world.keys.find(productkey or "")
        if key is None:
            raise CimError(INVALID_KEY, "the product key is invalid")
        if key.kind != "csvlk":
            raise CimError(_CENTRE_NEEDS_HOST_KEY, "not a host key")
        return key

    def _deposit(self, key: t.Any, name: str | None) -> None:
        name = name or f"Activation Object {key.partial}"
        if len(name) > 40:
            raise CimError(_AO_NAME_TOO_LONG, "the object's name is too long")
        self.machine.world.ad_objects.append(ActivationObject(name, key))

    def do_doactivedirectoryonlineactivation(
        self, _instance: Instance | None, productkey: str | None, activationobjectname: str | None
    ) -> None:
        key = self._directory_key(productkey)
        code = self.machine.world.centre.activate(key, "active-directory")
        if code:
            raise CimError(code, "the activation centre refuses the key")
        self._deposit(key, activationobjectname)

    def do_generateactivedirectoryofflineactivationid(
        self, _instance: Instance | None, productkey: str | None
    ) -> dict[str, t.Any]:
        key = self._directory_key(productkey)
        return {"InstallationID": installation_id("active-directory", key.product, key.key)}

    def do_depositactivedirectoryofflineactivationconfirmation(
        self,
        _instance: Instance | None,
        productkey: str | None,
        confirmationid: str | None,
        activationobjectname: str | None,
    ) -> None:
        key = self._directory_key(productkey)
        iid = installation_id("active-directory", key.product, key.key)
        code = self.machine.world.centre.check_confirmation(iid, iid, confirmationid or "")
        if code:
            raise CimError(code, "the confirmation ID is refused")
        self._deposit(key, activationobjectname)


class ProductProvider(_LicensingProvider):
    """SoftwareLicensingProduct: every product that licences are installed for, most of them without a key."""

    def instances(self) -> list[Instance]:
        self.machine.service.touch()
        self.spp.settle()
        return [self._make(sku, self.spp.licences.get(sku.id)) for sku in self.machine.skus]

    def _make(self, sku: Sku, licence: Licence | None) -> Instance:
        spp = self.spp
        values = {
            **_PRODUCT_DEFAULTS,
            "ID": sku.id,
            "ApplicationID": sku.application_id,
            "Name": sku.name,
            "Description": sku.description,
            "LicenseFamily": sku.family,
            "LicenseIsAddon": sku.kind == "addon",
            "LicenseDependsOn": WINDOWS_APPLICATION if sku.kind == "addon" else "",
            "TrustedTime": self.machine.now(),
            "KeyManagementServiceMachine": spp.setting("KeyManagementServiceName", sku),
            "KeyManagementServicePort": spp.port_setting("KeyManagementServicePort", sku),
            "KeyManagementServiceLookupDomain": spp.setting("KeyManagementServiceLookupDomain", sku),
            "VLActivationTypeEnabled": spp.activation_type(sku),
        }
        if licence is not None:
            values.update(self._keyed(licence))
        return self.make(values)

    def _keyed(self, licence: Licence) -> dict[str, t.Any]:
        """What a product with a key shows beyond one without."""
        role = self.spp.role_of(licence.sku.id)
        values = {
            **self._counters(role),
            **_discovered(licence.discovered),
            "PartialProductKey": licence.partial_product_key,
            "ProductKeyChannel": licence.sku.channel,
            "ProductKeyID": licence.product_key_id,
            "ProductKeyID2": licence.product_key_id,
            "OfflineInstallationId": self.spp.offline_installation_id(licence),
            "LicenseStatus": licence.status,
            "LicenseStatusReason": licence.reason,
            "GracePeriodRemaining": licence.minutes_left(self.machine.now()),
            "VLActivationType": licence.activation_type,
            "KeyManagementServiceProductKeyID": licence.host_product_key_id,
            "ADActivationObjectName": licence.ad_object[0],
            "ADActivationCsvlkSkuId": licence.ad_object[1],
        }
        if role is not None:
            values["VLActivationInterval"] = self.spp.activation_interval
            values["VLRenewalInterval"] = self.spp.renewal_interval
        elif licence.renewal_interval is not None:
            values["VLActivationInterval"] = licence.activation_interval
            values["VLRenewalInterval"] = licence.renewal_interval
        if licence.sku.kind == "eval" and licence.status == LICENSED:
            values["EvaluationEndDate"] = licence.expires
        return values

    def _sku_of(self, instance: Instance | None) -> Sku | None:
        sku = self.spp.find_sku(self._id(instance))
        if sku is None:
            raise CimError(SKU_NOT_INSTALLED, "the product is not installed")
        return sku

    @staticmethod
    def _id(instance: Instance | None) -> str:
        return str(instance.values["ID"]) if instance else ""

    async def do_activate(self, instance: Instance | None) -> None:
        await self.spp.activate(self._id(instance))

    def do_uninstallproductkey(self, instance: Instance | None) -> None:
        self.spp.uninstall_key(self._id(instance))

    def do_depositofflineconfirmationid(
        self, instance: Instance | None, installationid: str | None, confirmationid: str | None
    ) -> None:
        self.spp.deposit_confirmation(self._id(instance), installationid, confirmationid)

    def do_getpolicyinformationdword(self, _instance: Instance | None, policyname: str | None) -> None:
        raise CimError(_VALUE_NOT_FOUND, f"no policy {policyname}")

    def do_getpolicyinformationstring(self, _instance: Instance | None, policyname: str | None) -> None:
        raise CimError(_VALUE_NOT_FOUND, f"no policy {policyname}")

    def do_gettokenactivationgrants(self, _instance: Instance | None) -> None:
        raise CimError(_TOKEN_NOT_FOUND, "no token activation licence")

    def do_generatetokenactivationchallenge(self, _instance: Instance | None) -> None:
        raise CimError(_TOKEN_NOT_FOUND, "no token activation licence")

    def do_deposittokenactivationresponse(self, _instance: Instance | None, **arguments: t.Any) -> None:
        raise CimError(_TOKEN_NOT_FOUND, "no token activation licence")

    def do_rearmsku(self, _instance: Instance | None) -> None:
        self.spp.rearm()


def _port(number: int | None) -> int:
    if number is None or not 0 < number <= 0xFFFF:
        raise CimError(INVALID_PARAMETER, "a port is 1 to 65535")
    return number


def _flag(value: bool | None) -> int:
    if value is None:
        raise CimError(INVALID_PARAMETER, "a boolean is needed")
    return int(value)
