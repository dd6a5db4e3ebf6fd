# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates signed by Kerberos (GSS-TSIG), as secure zones of Active Directory want them: MIT Kerberos and BIND."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

import pytest
from integration.kit import Ansible, Data, inventory, play, task
from integration.srv_record.servers import REALM, Environment, Kdc, Named, missing

_MISSING = missing("named", "krb5kdc", "kdb5_util", "kadmin.local", "kinit")
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)
pytest.importorskip("gssapi", reason="not installed: the Python library gssapi", exc_type=ImportError)

DOMAIN = "corp.example.com"
#: One identity may write the name, as its owner in a secure zone.
POLICY = f'update-policy {{ grant "kms1\\@{REALM}" name _vlmcs._tcp.{DOMAIN}. SRV; }};'
LOCAL = inventory({"controllers": {"localhost": {"ansible_connection": "local"}}})


@dataclasses.dataclass(frozen=True)
class Realm:
    """The name server, and the environments of the owner of the name and of somebody else."""

    named: Named
    kdc: Kdc
    owner: Environment
    other: Environment


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with Kdc(tmp_path_factory.mktemp("kdc")) as kdc:
        keytab = kdc.keytab("DNS/localhost")
        folder: pathlib.Path = tmp_path_factory.mktemp("named")
        with Named(folder, {DOMAIN: POLICY}, keytab, kdc.environment) as named:
            yield Realm(named, kdc, kdc.ticket("kms1"), kdc.ticket("kms2"))


def wanted(realm: Realm, **more: object) -> Data:
    server = f"localhost:{realm.named.port}"
    return {"domain": DOMAIN, "target": f"kms1.{DOMAIN}", "server": server, "gss_tsig": True, **more}


def run_one(ansible: Ansible, arguments: Data, environment: Environment) -> Data:
    return ansible.playbook([play("all", task("record", "srv_record", arguments))], LOCAL, env=environment).result(
        "localhost"
    )


def test_the_ticket_at_hand_signs_the_update(ansible: Ansible, realm: Realm) -> None:
    made = run_one(ansible, wanted(realm, priority=10), realm.owner)
    assert made["kind"] == "ok" and made["changed"] and made["verified"] is True, made
    assert realm.named.values(DOMAIN) == [f"10 0 1688 kms1.{DOMAIN}"]
    gone = run_one(ansible, wanted(realm, gss_principal=f"kms1@{REALM}", state="absent"), realm.owner)
    assert gone["kind"] == "ok" and gone["changed"], gone
    assert realm.named.values(DOMAIN) == []


def test_another_identity_is_refused_as_in_a_secure_zone(ansible: Ansible, realm: Realm) -> None:
    result = run_one(ansible, wanted(realm), realm.other)
    assert result["kind"] == "failed" and result["rcode"] == "REFUSED", result
    assert "owns it" in result["msg"] and "Nothing was changed." in result["msg"]
    assert realm.named.values(DOMAIN) == []


@pytest.mark.parametrize(
    ("cache", "more"),
    [("nothing", {}), ("kms1", {"gss_principal": f"nobody@{REALM}"})],
)
def test_without_a_ticket_kerberos_is_told(ansible: Ansible, realm: Realm, cache: str, more: Data) -> None:
    environment = {**realm.owner, "KRB5CCNAME": f"FILE:{realm.kdc.folder}/{cache}.cache"}
    result = run_one(ansible, wanted(realm, **more), environment)
    assert result["kind"] == "failed" and result["rcode"] == "KERBEROS", result
    assert "kinit" in result["msg"]


def test_kerberos_wants_the_servers_name(ansible: Ansible, realm: Realm) -> None:
    result = run_one(ansible, wanted(realm, server=realm.named.entry), realm.owner)
    assert result["kind"] == "failed" and "host name" in result["msg"], result
