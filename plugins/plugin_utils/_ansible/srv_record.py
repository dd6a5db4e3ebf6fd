# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One SRV value present or absent: from options to a wish, by dynamic update or Windows' own classes, to a result."""

from __future__ import annotations

import contextlib
import typing as t

import yaml
from ansible.module_utils.basic import missing_required_lib

from ansible_collections.fleetops.kms.plugins.plugin_utils._dns import gss, tsig
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.nameservers import (
    Nameserver,
    is_address,
    parse_nameserver,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.query import DNSPYTHON_IMPORT_ERROR
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.records import (
    NO_TARGET,
    SERVICE,
    SrvRecord,
    domain_of_term,
    normalise_name,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.update import DENIED, Edit, Outcome, Updater, Wish, plan
from ansible_collections.fleetops.kms.plugins.plugin_utils._dns.zone import (
    ALIAS,
    MALFORMED,
    NO_REPLY,
    NOT_AUTHORITATIVE,
    TRUNCATED,
    UNREACHABLE,
    UNVERIFIED,
    DnsFailure,
    QuestionFailure,
    RecordSet,
    ZoneServer,
    find_zone,
    owner_of,
    read,
    text_of,
    zone_named,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.engine import Failure
from ansible_collections.fleetops.kms.plugins.plugin_utils._licensing.session import leaves_outcome_unknown
from ansible_collections.fleetops.kms.plugins.plugin_utils._windows.dns_server import (
    OVERTAKEN,
    DnsServer,
    SrvValue,
    Zone,
)
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.client import CimClient
from ansible_collections.fleetops.kms.plugins.plugin_utils._wsman.errors import CimFault, TransportError

from .arguments import InvalidArguments, Range
from .result import Result, failure_result, refusal_result

if t.TYPE_CHECKING:
    from dns.tsig import Key

RANGES = (
    Range("port", 1, 65535),
    Range("priority", 0, 65535),
    Range("weight", 0, 65535),
    Range("ttl", 0, 2147483647),  # RFC 2181 8
    Range("timeout", 1, 600),
)

#: Options that only a dynamic update has.
_UPDATE_OPTIONS = ("server", "tsig_name", "tsig_secret", "gss_tsig", "gss_principal")

#: How often values of a Windows DNS server are planned anew because somebody else was faster.
_MAX_ATTEMPTS = 8

#: WBEM_E_INVALID_NAMESPACE, WBEM_E_INVALID_CLASS, and what WinRM makes of them (resource not found, filter not
#: processed): Windows without the role of a DNS server.
NO_DNS_SERVER = frozenset({0x8004100E, 0x80041010, 0x80338000, 0x8033801A})

_ADVICE = {
    "REFUSED": (
        "It does not take this update from this sender. If the zone wants secure updates, sign it (tsig_name or"
        " gss_tsig) with an identity that may write there. In an Active Directory zone the first computer that wrote"
        " the name owns it, even after the record is gone: give the updating account or a group of all KMS hosts full"
        " control on _vlmcs._tcp in this zone, or have an administrator delete that name, or use via: windows_dns."
    ),
    "NOTAUTH": (
        "It is not the primary of this zone, or does not know the key (tsig_name) that signs the update. Name a server"
        " that takes updates for the zone and a key that is configured there."
    ),
    "NOTZONE": "The record does not lie in that zone for this server. Check zone, or leave it out to have it found.",
    "SERVFAIL": (
        "The server itself failed; its log says why (a zone that is frozen, read-only or without its database)."
        " Samba's internal DNS server says so, too, when it refuses an update to a name that somebody else owns."
    ),
    "NOTIMP": "It takes no dynamic updates. Name the primary server of the zone.",
    "FORMERR": "It does not understand the update. Name the primary server of the zone.",
    "NXDOMAIN": "The zone does not exist there.",
    "BADKEY": "It does not know the key, or not with this algorithm. Check tsig_name and tsig_algorithm.",
    "BADSIG": "The secret differs from the server's. Check tsig_secret and tsig_name.",
    "BADTIME": "The clocks of controller and server differ by more than five minutes. Set them right.",
    "BADTRUNC": "It wants a longer signature. Check tsig_algorithm.",
    "CONFLICT": "Others keep changing the same name faster than this run can. Run again.",
    "NOT_SHOWN": (
        "The server accepted the update, but does not show the value as wished. It may come from a wildcard record (*)."
    ),
    DENIED: (
        "The server shows values of this name, and denies them when an update depends on them. A wildcard record (*)"
        " makes them up: change that record itself, the name has none of its own. Or the server takes updates in"
        " another view, or for another zone, than it answers from (zone, tsig_name)."
    ),
    TRUNCATED: (
        "The name has more values than a DNS message holds, some 1,300. Have them removed on a Windows DNS server"
        " (via: windows_dns), or with the server's own tools."
    ),
    UNREACHABLE: "Nothing answers there by TCP. Check server, its port and the firewalls between.",
    NO_REPLY: "There was no reply in time.",
    MALFORMED: "What it sent is no proper answer.",
    UNVERIFIED: "The signature of its reply could not be verified.",
    NOT_AUTHORITATIVE: "It does not hold this zone itself. Name the zone's primary server, or a domain controller.",
    ALIAS: "The name is an alias (CNAME), which can have no records of its own. Give the domain that it leads to.",
    gss.KERBEROS: (
        "Kerberos gave no ticket for the service DNS/<server>. Check that a valid ticket is at hand (klist, kinit),"
        " that gss_principal is in the cache, and that server is the name that the service principal is registered for."
    ),
}

#: What the same codes mean in answer to a question.
_QUESTION_ADVICE = {
    "REFUSED": "It serves neither this domain nor this client. Name a server of the zone that the controller may ask.",
    "SERVFAIL": "The server itself failed; its log says why (a zone that is expired or cannot be loaded).",
    "NOTAUTH": "It does not know the key (tsig_name), or does not hold this zone.",
}


def wish_of(args: dict[str, t.Any]) -> Wish:
    """The wish that the options tell. Raises InvalidArguments."""
    present = args["state"] == "present"
    domain = _named("domain", domain_of_term, args["domain"])
    target = _named("target", normalise_name, args["target"])
    if present and (target == NO_TARGET or "\\" in target or is_address(target)):
        raise InvalidArguments(f"target: {args['target']!r} is no host name (RFC 2782 wants one, not an address)")
    record = SrvRecord(domain, target, args["port"], args["priority"], args["weight"], args["ttl"])
    return Wish(record, present, args["ttl"] if present else None)


def check(args: dict[str, t.Any]) -> None:
    """Refuse options that do not go together, with InvalidArguments."""
    _check_zone(args)
    if args["via"] != "rfc2136":
        given = [name for name in _UPDATE_OPTIONS if args[name]]
        if given:
            raise InvalidArguments(
                f"{', '.join(given)}: for via rfc2136 only. With via windows_dns the DNS server is the task's host"
                " (delegate_to), and its connection has the credentials."
            )
        return
    if not args["server"]:
        raise InvalidArguments("server: required for via rfc2136, a server that takes updates for the zone")
    if bool(args["tsig_name"]) != bool(args["tsig_secret"]):
        raise InvalidArguments("tsig_name and tsig_secret: give both, or none")
    server = server_of(args)
    if args["tsig_name"] and wants_gss(args):
        raise InvalidArguments("tsig_name and gss_tsig: an update is signed in one way only")
    if wants_gss(args) and server.address is not None:
        raise InvalidArguments(
            "server: give its host name, not its address, for gss_tsig: Kerberos knows the server by name (DNS/<name>)"
        )
    if DNSPYTHON_IMPORT_ERROR:
        raise InvalidArguments(missing_required_lib("dnspython >= 2.6.1"))
    if wants_gss(args) and gss.GSSAPI_IMPORT_ERROR:
        raise InvalidArguments(missing_required_lib("gssapi"))
    tsig_key(args)


def _named(option: str, parse: t.Callable[[str], t.Any], text: str) -> t.Any:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidArguments(f"{option}: {error}") from None


def wants_gss(args: dict[str, t.Any]) -> bool:
    """Whether the update is to be signed by Kerberos."""
    return bool(args["gss_tsig"] or args["gss_principal"])


def server_of(args: dict[str, t.Any]) -> Nameserver:
    """The server that takes the update. Raises InvalidArguments."""
    return t.cast(Nameserver, _named("server", parse_nameserver, args["server"]))


def tsig_key(args: dict[str, t.Any]) -> Key | None:
    """The TSIG key that the options give. Raises InvalidArguments."""
    if not args["tsig_name"]:
        return None
    try:
        return tsig.tsig_key(args["tsig_name"], args["tsig_secret"], args["tsig_algorithm"])
    except ValueError as error:
        raise InvalidArguments(f"tsig_name, tsig_secret: {error}") from None


def _check_zone(args: dict[str, t.Any]) -> None:
    if not args.get("zone"):  # an option of M(fleetops.kms.srv_record) only
        return
    zone, owner = _named("zone", normalise_name, args["zone"]), f"{SERVICE}.{domain_of_term(args['domain'])}"
    if zone != NO_TARGET and not f".{owner}".endswith(f".{zone}"):
        raise InvalidArguments(f"zone: {owner} does not lie in {zone}")


# -- by dynamic update


def by_dynamic_update(args: dict[str, t.Any], wish: Wish, *, check_mode: bool, diff: bool) -> Result:
    """Fulfil the wish by RFC 2136 and return the result; what goes wrong on the network is a failed result."""
    server = ZoneServer(server_of(args), tsig_key(args), args["timeout"])
    common: Result = {"server": str(server.server)}
    domain = wish.record.domain
    doing = f"Reading {SERVICE}.{domain}"
    try:
        zone = zone_named(args["zone"]) if args["zone"] else find_zone(server, owner_of(domain))
        found = read(server, domain)
        edit = plan(found.records, wish)
        if edit is None or check_mode:
            outcome = Outcome(found, edit, found, is_verified=edit is None)
        else:
            doing = _doing(wish)
            if wants_gss(args):
                server.key = gss.agree_on_key(server, args["gss_principal"])
            outcome = Updater(server, zone, wish).run(found)
    except DnsFailure as failure:
        return common | failed(doing, server, failure, "Nothing was changed.")
    if outcome.failure is not None:
        return common | _failed_update(server, wish, outcome)
    predicted = outcome.edit.result(outcome.before.records) if outcome.edit and check_mode else None
    after = RecordSet(domain, predicted) if predicted is not None else (outcome.after or found)
    verified = True if outcome.is_verified else None
    return common | _result(wish, outcome, after, text_of(zone), verified, diff=diff)


def _doing(wish: Wish) -> str:
    record = wish.record
    where = f"{SERVICE}.{record.domain}"
    if wish.present:
        return f"Publishing the value {text_of_value(record)} in {where}"
    return f"Removing the values of {record.target}, port {record.port}, from {where}"


def _failed_update(server: ZoneServer, wish: Wish, outcome: Outcome) -> Result:
    """A failure after something was sent: the server was asked what became of it, if it still could be."""
    failure = t.cast(DnsFailure, outcome.failure)
    changes, is_uncertain = _changes(wish, outcome.before, outcome.edit), False
    if outcome.after is not None and failure.code == "NOT_SHOWN":
        changes = _changed_values(wish, outcome.before, outcome.after.records)
        is_uncertain = not changes  # it was done, and somebody else undid it; or it was not done at all
        told = "Others may have changed the same name since. Run again to find out."
    elif outcome.edit is not None:
        told = "The update was accepted, but the server could not be asked again. Run again to find out."
    elif failure.is_proven or failure.code == "CONFLICT":
        told = "Nothing was changed."
    elif outcome.after is None:
        is_uncertain = True
        told = "The server could not be asked again, so whether it was done is not known. Run again to find out."
    else:
        told = "It was asked again and does not show the change; the update is not repeated by itself: run again."
    result = failed(_doing(wish), server, failure, told)
    result |= {"changed": bool(changes) or is_uncertain, "changes": changes}
    return result | ({"uncertain": [_owner(wish)]} if is_uncertain else {})


def failed(doing: str, server: ZoneServer, failure: DnsFailure, told: str) -> Result:
    """The result of what a server did not do: why, and what to do about it."""
    detail = f" ({failure.detail})" if failure.detail else ""
    advice = _ADVICE.get(failure.code, "The server gave no other reason.")
    if isinstance(failure, QuestionFailure):
        advice = _QUESTION_ADVICE.get(failure.code, advice)
    return {
        "failed": True,
        "changed": False,
        "changes": [],
        "rcode": failure.code,
        "msg": f"{doing} failed at {server.server}: {failure.code}{detail}. {advice} {told}",
    }


# -- the result of both ways


def _result(wish: Wish, outcome: Outcome, after: RecordSet, zone: str, verified: bool | None, *, diff: bool) -> Result:
    changes = _changes(wish, outcome.before, outcome.edit)
    result: Result = {
        "changed": bool(changes),
        "changes": changes,
        "verified": verified,
        "zone": zone,
        "records": [record.as_dict() for record in after.records],
    }
    if diff and changes:
        result["diff"] = {
            "before_header": zone,
            "after_header": zone,
            "before": "".join(diff_line(item["setting"], item["before"]) for item in changes),
            "after": "".join(diff_line(item["setting"], item["after"]) for item in changes),
        }
    return result


def _changes(wish: Wish, before: RecordSet, edit: Edit | None) -> list[Result]:
    """The values that are meant, before and after; and the TTL, where a value that stays gets another one."""
    if edit is None:
        return []
    old = wish.of(before.records)
    changes = _changed_values(wish, before, edit.result(before.records))
    if old and wish.ttl is not None and {record.ttl for record in old} != {wish.ttl}:
        changes.append({"setting": f"{_owner(wish)} ttl", "before": old[0].ttl, "after": wish.ttl})
    return changes


def _changed_values(wish: Wish, before: RecordSet, after: t.Iterable[SrvRecord]) -> list[Result]:
    old, new = ([*map(text_of_value, wish.of(records))] for records in (before.records, after))
    return [{"setting": _owner(wish), "before": old, "after": new}] if old != new else []


def text_of_value(record: SrvRecord) -> str:
    """A value as it stands in a zone file."""
    return f"{record.priority} {record.weight} {record.port} {record.target}"


def diff_line(setting: str, value: t.Any) -> str:
    """A setting in the YAML of a diff."""
    dumped: str = yaml.safe_dump({setting: value}, default_flow_style=False, width=200)
    return dumped


# -- by the classes of a Windows DNS server


def by_windows_dns(
    cim: CimClient, args: dict[str, t.Any], wish: Wish, host: str, *, check_mode: bool, diff: bool
) -> Result:
    """Fulfil the wish on a Windows DNS server and return the result."""
    common: Result = {"server": host}
    dns_server = DnsServer(cim)
    try:
        zone = dns_server.zone_of(_owner(wish), normalise_name(args["zone"]) if args["zone"] else None)
        if zone is None:
            return common | refusal_result(_no_zone(args, wish), host)
        values = _WindowsValues(dns_server, zone, wish)
        found = values.read()
    except Exception as error:  # nothing has been sent that changes anything
        if isinstance(error, CimFault) and error.hresult in NO_DNS_SERVER:
            return common | refusal_result(
                "This machine is no Windows DNS server: it has no CIM namespace root/MicrosoftDNS. Delegate the task to"
                " one (delegate_to).",
                host,
            )
        doing = "Connecting" if isinstance(error, TransportError) else f"Reading {_owner(wish)}"
        return common | failure_result(Failure(doing, error), host, [], None) | {"changes": []}
    edit = plan(found.records, wish)
    if edit is None or check_mode:
        after = RecordSet(found.domain, edit.result(found.records)) if edit else found
        return common | _result(wish, Outcome(found, edit), after, zone.name, None if edit else True, diff=diff)
    return common | values.fulfil(found, host, diff=diff)


def _owner(wish: Wish) -> str:
    return f"{SERVICE}.{wish.record.domain}"


def _no_zone(args: dict[str, t.Any], wish: Wish) -> str:
    what = args["zone"] or f"that {_owner(wish)} lies in"
    return f"This DNS server holds no zone {what}. Delegate the task to a server of the zone."


class _WindowsValues:
    """The values of one name on a Windows DNS server, changed one by one."""

    def __init__(self, server: DnsServer, zone: Zone, wish: Wish) -> None:
        self._server = server
        self._zone = zone
        self._wish = wish
        self._values: dict[SrvRecord, SrvValue] = {}

    def read(self) -> RecordSet:
        """What the server has now."""
        domain = self._wish.record.domain
        values = self._server.values(self._zone.name, _owner(self._wish))
        self._values = by_record(domain, values)
        return RecordSet(domain, tuple(sorted(self._values, key=lambda record: record.sort_key)))

    def fulfil(self, found: RecordSet, host: str, *, diff: bool) -> Result:
        """Change values until the wish is fulfilled; the result tells what the server shows then."""
        error: Exception | None = None
        try:
            self._change()
        except Exception as failure:  # whatever it is: what was changed so far must be told
            error = failure
        try:
            after = self.read()
        except Exception as failure:
            what = Failure(_doing(self._wish), error) if error else Failure("Reading the records again", failure)
            return self._failed(what, host, [], is_uncertain=True)
        edit = _difference(self._wish, found, after)
        if plan(after.records, self._wish) is None:
            return _result(self._wish, Outcome(found, edit), after, self._zone.name, True, diff=diff)
        changes = _changes(self._wish, found, edit)
        reason = error or RuntimeError("the server accepted the change, but does not show the value as wished.")
        is_uncertain = not changes and (error is None or leaves_outcome_unknown(error))
        return self._failed(Failure(_doing(self._wish), reason), host, changes, is_uncertain=is_uncertain)

    def _failed(self, failure: Failure, host: str, changes: list[Result], *, is_uncertain: bool) -> Result:
        uncertain = [_owner(self._wish)] if is_uncertain else []
        result = failure_result(failure, host, changes, None, uncertain=uncertain)
        result |= {"changed": bool(changes or uncertain), "changes": changes}
        return result | ({"uncertain": uncertain} if uncertain else {})

    def _change(self) -> None:
        for attempt in range(_MAX_ATTEMPTS):
            edit = plan(self._values, self._wish)
            if edit is None:
                return
            try:
                self._carry_out(edit)
                return
            except CimFault as fault:
                if fault.hresult not in OVERTAKEN or attempt == _MAX_ATTEMPTS - 1:
                    raise
            self.read()

    def _carry_out(self, edit: Edit) -> None:
        """The wished value first, in one step out of an old one where there is one, then what is left over."""
        surplus = [self._values[record] for record in edit.remove]
        if edit.add is not None:
            new, same = _value(edit.add), self._values.get(edit.add)
            old = same or (surplus.pop(0) if surplus else None)
            if old is None:
                self._server.create(self._zone, _owner(self._wish), new)
            else:
                self._server.modify(old, new)
        for value in surplus:
            self._server.delete(value)


def _difference(wish: Wish, before: RecordSet, after: RecordSet) -> Edit | None:
    """The edit that leads from one reading to the other, as far as the values are meant."""
    old, new = wish.of(before.records), wish.of(after.records)
    if [(*record.sort_key, record.ttl) for record in old] == [(*record.sort_key, record.ttl) for record in new]:
        return None
    add = next((record for record in new if record == wish.record), None) if wish.present else None
    return Edit(remove=tuple(record for record in old if record not in new), add=add)


def by_record(domain: str, values: t.Iterable[SrvValue]) -> dict[SrvRecord, SrvValue]:
    """The values of a Windows DNS server by what they say; nobody can mean one whose target is no name."""
    found = {}
    for value in values:
        with contextlib.suppress(ValueError):
            record = SrvRecord(domain, value.target, value.port, value.priority, value.weight, value.ttl)
            found[record] = value
    return found


def _value(record: SrvRecord) -> SrvValue:
    ttl = record.ttl or 0
    return SrvValue(record.priority, record.weight, record.port, f"{record.target}.", ttl, {})
