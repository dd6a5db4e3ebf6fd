# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two client libraries that Ansible uses must be at home here: pywinrm and pypsrp."""

from __future__ import annotations

import typing as t
from xml.etree import ElementTree as ET

import pypsrp.exceptions
import pypsrp.wsman
import pytest
import winrm
import winrm.exceptions
from unit.lab.wire.kit import NS, Loop, envelope

from lab.http.winrm import Endpoint
from lab.wsman import names

PASSWORD = "Sim:Pa55-word"
URI = f"{names.WMI_URI}root/cimv2/*"
QUERY = (
    "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>32000</w:MaxElements>"
    f'<w:Filter Dialect="{names.WQL}">select * from Toy_System</w:Filter></n:Enumerate>'
)


def by_pywinrm(endpoint: Endpoint, transport: str, user: str = "Administrator", password: str = PASSWORD) -> t.Any:
    machine = endpoint.machine
    scheme = "https" if machine.tls else "http"
    return winrm.Protocol(
        f"{scheme}://{machine.address}:{machine.port}/wsman",
        transport=transport,
        username=user,
        password=password,
        server_cert_validation="ignore",
    )


def by_pypsrp(endpoint: Endpoint, auth: str, password: str = PASSWORD, **options: t.Any) -> t.Any:
    machine = endpoint.machine
    return pypsrp.wsman.WSMan(
        machine.address,
        port=machine.port,
        ssl=machine.tls,
        auth=auth,
        username="Administrator",
        password=password,
        cert_validation=False,
        **options,
    )


@pytest.mark.parametrize(
    ("transport", "settings"),
    [
        ("ntlm", {}),
        ("ntlm", {"tls": True}),
        ("basic", {"auth": ("basic",), "allow_unencrypted": True}),
        ("ssl", {"auth": ("basic", "negotiate"), "tls": True}),
    ],
)
def test_pywinrm_gets_its_answer(loop: Loop, transport: str, settings: dict[str, t.Any]) -> None:
    endpoint = loop.serve(**settings)
    protocol = by_pywinrm(endpoint, transport)
    for _again in range(2):
        answer = ET.fromstring(protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY)))
        items = answer.find("s:Body/n:EnumerateResponse/w:Items", NS)
        assert items is not None and len(items) == 1
    protocol.transport.close_session()
    assert endpoint.stats.authentications >= 1
    assert endpoint.stats.operations == {"Enumerate": 2}


@pytest.mark.parametrize(
    ("auth", "settings", "options"),
    [
        ("ntlm", {}, {}),
        ("negotiate", {}, {}),
        ("negotiate", {"tls": True}, {}),
        ("basic", {"auth": ("basic",), "allow_unencrypted": True}, {"encryption": "never"}),
        ("basic", {"auth": ("basic",), "tls": True}, {}),
    ],
)
def test_pypsrp_gets_its_answer(loop: Loop, auth: str, settings: dict[str, t.Any], options: dict[str, t.Any]) -> None:
    endpoint = loop.serve(**settings)
    client = by_pypsrp(endpoint, auth, **options)
    for _again in range(2):
        resource = ET.fromstring(
            QUERY.replace("<n:Enumerate>", f'<n:Enumerate xmlns:n="{NS["n"]}" xmlns:w="{NS["w"]}">')
        )
        body = client.enumerate(URI, resource)
        assert len(body.findall("n:EnumerateResponse/w:Items/*", NS)) == 1
    client.transport.close()
    assert endpoint.stats.operations == {"Enumerate": 2}


def test_the_first_answer_over_ntlm_takes_four_requests(loop: Loop) -> None:
    """A question without credentials, two steps of the handshake, and the sealed message."""
    endpoint = loop.serve()
    protocol = by_pywinrm(endpoint, "ntlm")
    protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    assert (endpoint.stats.requests, endpoint.stats.authentications) == (4, 1)
    protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    assert (endpoint.stats.requests, endpoint.stats.authentications) == (5, 1)
    protocol.transport.close_session()


def test_a_fault_is_sealed_like_any_answer(loop: Loop) -> None:
    endpoint = loop.serve()
    protocol = by_pywinrm(endpoint, "ntlm")
    with pytest.raises(winrm.exceptions.WinRMTransportError) as caught:
        protocol.transport.send_message(envelope(names.GET_ACTION, f"{names.WMI_URI}root/cimv2/Toy_Service"))
    assert caught.value.code == 500
    text = caught.value.response_text  # bytes before pywinrm 0.5
    assert "2150859002" in (text if isinstance(text, str) else text.decode())
    protocol.transport.close_session()


@pytest.mark.parametrize("user", ["Administrator", "nobody"])
def test_wrong_credentials_are_refused(loop: Loop, user: str) -> None:
    endpoint = loop.serve()
    protocol = by_pywinrm(endpoint, "ntlm", user, "wrong")
    with pytest.raises(winrm.exceptions.InvalidCredentialsError):
        protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    assert endpoint.stats.authentications == 0
    assert endpoint.stats.refused_authentications >= 1
    assert endpoint.stats.operations == {}


def test_wrong_credentials_are_refused_by_negotiate(loop: Loop) -> None:
    client = by_pypsrp(loop.serve(), "negotiate", "wrong")
    with pytest.raises(pypsrp.exceptions.AuthenticationError):
        client.get(URI)


def test_each_machine_has_its_own_accounts(loop: Loop) -> None:
    """The same user name, another password: the acceptor must not mix the account files up."""
    first = loop.serve()
    second = loop.serve(accounts={"Administrator": "other", r"CORP\admin": "third", "ops@corp.example.com": "fourth"})
    for endpoint, user, password in (
        (first, "Administrator", PASSWORD),
        (second, "administrator", "other"),
        (second, r"CORP\admin", "third"),
        (second, "ops@corp.example.com", "fourth"),
    ):
        protocol = by_pywinrm(endpoint, "ntlm", user, password)
        assert b"EnumerateResponse" in protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
        protocol.transport.close_session()
    with pytest.raises(winrm.exceptions.InvalidCredentialsError):
        by_pywinrm(second, "ntlm", "Administrator", PASSWORD).transport.send_message(
            envelope(names.ENUMERATE_ACTION, URI, QUERY)
        )


def test_unencrypted_messages_are_refused_unless_allowed(loop: Loop) -> None:
    endpoint = loop.serve()
    client = by_pypsrp(endpoint, "ntlm", encryption="never")
    with pytest.raises(pypsrp.exceptions.WinRMTransportError):
        client.get(URI)
    assert endpoint.stats.operations == {}
    allowed = loop.serve(allow_unencrypted=True)
    client = by_pypsrp(allowed, "ntlm", encryption="never")
    assert client.get(f"{names.WMI_URI}root/cimv2/Toy_System")[0].tag.endswith("Toy_System")


def test_basic_is_not_offered_in_the_clear_unless_allowed(loop: Loop) -> None:
    protocol = by_pywinrm(loop.serve(auth=("basic",)), "basic")
    with pytest.raises(winrm.exceptions.InvalidCredentialsError):
        protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))


def test_a_dropped_connection_leaves_old_keys(loop: Loop) -> None:
    """The known trap of the libraries: after a dropped connection the sealed body meets a new session, HTTP 400."""
    endpoint = loop.serve(faults=({"fault": "drop_after", "when": "between", "times": 1},))
    protocol = by_pywinrm(endpoint, "ntlm")
    protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    with pytest.raises(winrm.exceptions.WinRMTransportError) as caught:
        protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    assert caught.value.code == 400
    protocol.transport.close_session()
    assert b"EnumerateResponse" in protocol.transport.send_message(envelope(names.ENUMERATE_ACTION, URI, QUERY))
    protocol.transport.close_session()


def test_a_shell_is_denied_and_counted(loop: Loop) -> None:
    endpoint = loop.serve()
    protocol = by_pywinrm(endpoint, "ntlm")
    with pytest.raises(winrm.exceptions.WinRMError):
        protocol.open_shell()
    protocol.transport.close_session()
    assert endpoint.stats.shells == 1
