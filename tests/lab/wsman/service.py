# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The WS-Management service of one machine: from a SOAP request to the CIM operation and its answer (MS-WSMV 3.1)."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
import logging
import re
import time
import typing as t
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from ..cim import CimClass, CimError, CimValue, Instance, Method, Property, Repository
from ..faults import Operation
from ..stats import Call, Stats
from . import envelope, names, soap_fault, values, wql
from .enumerations import Enumeration, Enumerations
from .envelope import Envelope
from .soap_fault import SoapFault

log = logging.getLogger(__name__)

WBEM_E_NOT_FOUND = 0x80041002
WBEM_E_TYPE_MISMATCH = 0x80041005
WBEM_E_INVALID_NAMESPACE = 0x8004100E
WBEM_E_INVALID_CLASS = 0x80041010
WBEM_E_INVALID_METHOD = 0x8004102E
WBEM_E_INVALID_METHOD_PARAMETERS = 0x8004102F

NOT_A_SINGLETON = 0x803380FA
WQL_NEEDS_STAR = 0x803380FB
UNEXPECTED_SELECTORS = 0x8033805B
UNRECOGNIZED_ARGUMENT = 0x803381E1
DMTF_URI = 0x80338139
KEY_CHANGED = 0x803380ED

_NS = {"s": names.SOAP, "w": names.WSMAN, "n": names.ENUMERATION}


@dataclasses.dataclass(frozen=True)
class Target:
    """The namespace and class of a resource URI; the class is ``*`` for queries."""

    namespace: str
    class_name: str


@dataclasses.dataclass(frozen=True)
class Reply:
    """What an operation answers: the action, the body's XML and the prefixes to declare."""

    action: str
    body: str
    prefixes: str = "saxwp"


def invalid_body(text: str) -> SoapFault:
    return SoapFault(0x80338027, "w:SchemaValidationError", text)


def access_denied() -> SoapFault:
    """WinRM itself denies access: a Win32 code, not an HRESULT."""
    return SoapFault(soap_fault.ACCESS_DENIED, "w:AccessDenied", "Access is denied.")


def timed_out() -> SoapFault:
    """The operation took longer than OperationTimeout; it goes on (MS-WSMV 3.1.4.1.6)."""
    return SoapFault(0x80338029, "w:TimedOut", "The operation did not end in time.", sender=False)


def too_many_operations() -> SoapFault:
    return SoapFault(0x803381A6, "w:QuotaLimit", "This user has too many operations.", cim_status=27, from_wmi=True)


def _wmi_fault(code: int, subcode: str, text: str, detail: str = "") -> SoapFault:
    return SoapFault(code, subcode, text, detail=detail, from_wmi=True)


class Service:
    """Serves one machine's repository. ``machine`` is the name in faults, ``shape`` and ``language`` their form."""

    def __init__(
        self, repository: Repository, stats: Stats, machine: str, shape: str = "wmi_error", language: str = "en-US"
    ) -> None:
        self._repository = repository
        self._stats = stats
        self._machine = machine
        self._shape = shape
        self._language = language
        self._enumerations: Enumerations[Instance] = Enumerations()
        self._running: set[asyncio.Task[t.Any]] = set()

    # Requests and answers

    def operation(self, request: Envelope) -> Operation:
        """What the request asks for, for counters and faults."""
        kind = _STANDARD.get(request.action)
        target = _split_uri(request.resource_uri)
        class_name = target.class_name if target else ""
        if kind is None:
            return Operation(request.action.rpartition("/")[2], class_name)
        if class_name == "*":
            text = "".join(request.body.itertext())
            match = re.search(r"\bfrom\s+(\w+)", text, re.IGNORECASE)
            class_name = match[1] if match else ""
        return Operation(kind[0], class_name)

    async def run(self, request: Envelope) -> bytes:
        """Runs the operation and returns the answer; raises SoapFault and CimError."""
        reply = await self._dispatch(request)
        message = envelope.render(reply.action, request.message_id, reply.body, reply.prefixes)
        if len(message) > request.max_envelope_size:
            raise SoapFault(
                0x80338048, "w:EncodingLimit", "The answer is larger than MaxEnvelopeSize.", detail="MaxEnvelopeSize"
            )
        return message

    async def run_in_time(self, request: Envelope) -> bytes:
        """As ``run``; after OperationTimeout it raises the fault w:TimedOut while the operation goes on."""
        if request.action in _STANDARD:
            return await self.run(request)
        task = self.start(request)
        done, _pending = await asyncio.wait({task}, timeout=request.timeout)
        if not done:
            raise timed_out()
        return task.result()

    def start(self, request: Envelope, delay: float = 0.0) -> asyncio.Task[bytes]:
        """Runs the operation on its own, ``delay`` seconds from now, whether or not somebody waits for it."""

        async def later() -> bytes:
            if delay:
                await asyncio.sleep(delay)
            return await self.run(request)

        task = asyncio.get_running_loop().create_task(later())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def halt(self) -> None:
        """The power is cut: what runs is lost, and so are the enumerations."""
        for task in self._running:
            task.cancel()
        self._enumerations = Enumerations()

    def _ended(self, task: asyncio.Task[t.Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen: nobody may be waiting any more

    def fault(self, error: SoapFault | CimError, request: Envelope | None, shape: str | None = None) -> bytes:
        """The fault message for an error."""
        if isinstance(error, CimError):
            in_query = request is not None and request.action == names.ENUMERATE_ACTION
            error = soap_fault.from_cim_error(error, in_query, shape)
        self._stats.soap_faults += 1
        body = soap_fault.body(error, self._machine, self._shape, self._language)
        relates_to = request.message_id if request else ""
        return envelope.render(soap_fault.action(error), relates_to, body, "saxwnp")

    async def _dispatch(self, request: Envelope) -> Reply:
        self._stats.count_operation(self.operation(request).name)
        if request.resource_uri.lower().startswith(tuple(uri.lower() for uri in names.SHELL_URIS)):
            if request.action == names.CREATE_ACTION:
                self._stats.shells += 1
            raise access_denied()
        target = self._target(request)
        standard = _STANDARD.get(request.action)
        if standard is not None:
            return await standard[1](self, request, target)
        return await self._invoke(request, target)

    def _target(self, request: Envelope) -> Target:
        if request.resource_uri.lower().startswith(names.CIM_URI.lower()):
            raise _wmi_fault(DMTF_URI, "a:DestinationUnreachable", "The class is no DMTF class.")
        target = _split_uri(request.resource_uri)
        if target is None:
            raise SoapFault(
                soap_fault.RESOURCE_NOT_FOUND, "a:DestinationUnreachable", "No such resource.",
                detail="InvalidResourceURI",
            )  # fmt: skip
        named = request.selectors.get("__cimnamespace")
        if named is not None and named.replace("\\", "/").lower() != target.namespace.lower():
            raise SoapFault(UNEXPECTED_SELECTORS, "w:InvalidSelectors", "__cimnamespace differs from the URI.")
        return target

    def _class(self, namespace: str, name: str) -> CimClass:
        if not self._repository.find_namespace(namespace):
            raise CimError(WBEM_E_INVALID_NAMESPACE, f"There is no namespace {namespace}.")
        cim_class = self._repository.find_class(namespace, name)
        if cim_class is None:
            raise CimError(WBEM_E_INVALID_CLASS, f"There is no class {name}.")
        return cim_class

    # Enumeration

    async def _enumerate(self, request: Envelope, target: Target) -> Reply:
        body = _only_child(request.body, f"{{{names.ENUMERATION}}}Enumerate")
        if _plain_selectors(request):
            raise SoapFault(WQL_NEEDS_STAR, "w:InvalidSelectors", "An enumeration takes no selectors.")
        enumeration = self._query(request, target, body)
        if body.find("w:OptimizeEnumeration", _NS) is None:
            return self._enumerate_reply(enumeration, "")
        max_elements = _positive(body.find("w:MaxElements", _NS), 1)
        if len(enumeration.rows) > 1:
            max_elements = 1  # as recorded from 2008 R2 and 2012, whatever was asked for
        items = enumeration.page(max_elements, request.max_envelope_size - names.ENVELOPE_ROOM)
        return self._enumerate_reply(enumeration, f"<w:Items>{items}</w:Items>" if items else "<w:Items/>")

    def _enumerate_reply(self, enumeration: Enumeration[Instance], items: str) -> Reply:
        more = bool(enumeration.rows) or not items
        context = self._enumerations.keep(enumeration) if more else ""
        end = "" if more else "<w:EndOfSequence/>"
        body = (
            f"<n:EnumerateResponse><n:EnumerationContext>{context}</n:EnumerationContext>{items}{end}"
            "</n:EnumerateResponse>"
        )
        return Reply(f"{names.ENUMERATE_ACTION}Response", body, "sanw")

    def _query(self, request: Envelope, target: Target, body: ET.Element) -> Enumeration[Instance]:
        filters = body.findall("w:Filter", _NS) + body.findall("n:Filter", _NS)
        with_references = _with_references(body)
        whole = functools.partial(
            values.item_xml if with_references else values.instance_xml, precise=_precise(request)
        )
        if not filters:
            if target.class_name == "*":
                raise SoapFault(soap_fault.CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", "There is no filter.")
            rows = self._repository.instances(self._class(target.namespace, target.class_name))
            return Enumeration(collections.deque(rows), whole)
        if len(filters) > 1 or filters[0].get("Dialect") != names.WQL:
            raise SoapFault(0x80338019, "n:FilterDialectRequestedUnavailable", "WQL only.")
        if target.class_name != "*":
            raise _wmi_fault(WQL_NEEDS_STAR, "w:InvalidSelectors", "WQL needs the resource URI that ends in *.")
        query = wql.parse(filters[0].text or "")
        cim_class = self._class(target.namespace, query.class_name)
        bound = query.bind(cim_class)
        found = collections.deque(bound.select(self._repository.instances(cim_class)))
        if bound.columns is None:
            return Enumeration(found, whole)
        if with_references:
            raise SoapFault(
                soap_fault.CANNOT_PROCESS_FILTER, "n:CannotProcessFilter", "Columns have no reference: select *."
            )
        return Enumeration(found, functools.partial(values.fragment_xml, columns=bound.columns))

    async def _pull(self, request: Envelope, _target: Target) -> Reply:
        body = _only_child(request.body, f"{{{names.ENUMERATION}}}Pull")
        max_elements = _positive(body.find("n:MaxElements", _NS), 1)
        enumeration = self._enumerations.take(_context(body))
        items = enumeration.page(max_elements, request.max_envelope_size - names.ENVELOPE_ROOM)
        inner = f"<n:Items>{items}</n:Items>" if items else "<n:Items/>"
        if enumeration.rows:
            context = self._enumerations.keep(enumeration)
            inner = f"<n:EnumerationContext>{context}</n:EnumerationContext>{inner}"
        else:
            inner += "<n:EndOfSequence/>"
        return Reply(f"{names.PULL_ACTION}Response", f"<n:PullResponse>{inner}</n:PullResponse>", "sanw")

    async def _release(self, request: Envelope, _target: Target) -> Reply:
        self._enumerations.take(_context(_only_child(request.body, f"{{{names.ENUMERATION}}}Release")))
        return Reply(f"{names.RELEASE_ACTION}Response", "", "sanw")

    # One instance

    async def _get(self, request: Envelope, target: Target) -> Reply:
        instance = self._instance(request, self._class(target.namespace, target.class_name))
        return Reply(f"{names.GET_ACTION}Response", self._representation(request, instance))

    async def _put(self, request: Envelope, target: Target) -> Reply:
        cim_class = self._class(target.namespace, target.class_name)
        self._stats.writes += 1
        instance = self._instance(request, cim_class)
        given = _fragment_values(request, cim_class) if request.fragment else _instance_values(request, cim_class)
        changes = {name: value for name, value in given.items() if instance.values.get(name) != value}
        if any(prop.name in changes for prop in cim_class.keys):
            raise _wmi_fault(KEY_CHANGED, "w:InvalidParameter", "A key cannot be changed.")
        changed = await self._repository.modify(cim_class, instance, changes)
        return Reply(f"{names.PUT_ACTION}Response", self._representation(request, changed))

    async def _delete(self, request: Envelope, target: Target) -> Reply:
        cim_class = self._class(target.namespace, target.class_name)
        self._stats.writes += 1
        if len(request.body):
            raise invalid_body("Delete has no body.")
        await self._repository.delete(cim_class, self._instance(request, cim_class))
        return Reply(f"{names.DELETE_ACTION}Response", "")

    async def _create(self, _request: Envelope, _target: Target) -> Reply:
        raise SoapFault(0x80338013, "a:ActionNotSupported", "No instance can be created here.")

    def _representation(self, request: Envelope, instance: Instance) -> str:
        if request.fragment is None:
            return values.instance_xml(instance, _precise(request))
        prop = _fragment_property(request.fragment, instance.cim_class)
        return values.fragment_xml(instance, {prop.name.lower()})

    def _instance(self, request: Envelope, cim_class: CimClass) -> Instance:
        selectors = _plain_selectors(request)
        keys = {prop.name.lower(): prop for prop in cim_class.keys}
        if any(name not in keys for name in selectors):
            raise _wmi_fault(UNEXPECTED_SELECTORS, "w:InvalidSelectors", "A selector is no key.", "UnexpectedSelectors")
        instances = self._repository.instances(cim_class)
        if not selectors and cim_class.singleton:
            return instances[0]
        if len(selectors) != len(keys) or not keys:
            raise _wmi_fault(
                NOT_A_SINGLETON, "w:InvalidSelectors", "The class is no singleton: all keys are needed.",
                "InsufficientSelectors",
            )  # fmt: skip
        for instance in instances:
            if all(_selects(keys[name], instance, text) for name, text in selectors.items()):
                return instance
        raise CimError(WBEM_E_NOT_FOUND, "There is no such instance.")

    # Methods

    async def _invoke(self, request: Envelope, target: Target) -> Reply:
        uri, _slash, method_name = request.action.rpartition("/")
        if uri.lower() != request.resource_uri.lower() or target.class_name == "*":
            raise SoapFault(0x80338013, "a:ActionNotSupported", "The action is not one of the resource's.")
        cim_class = self._class(target.namespace, target.class_name)
        method = cim_class.find_method(method_name)
        if method is None or method.name != method_name:
            raise CimError(WBEM_E_INVALID_METHOD, f"{cim_class.name} has no method {method_name}.")
        write = self._repository.is_write(cim_class, method)
        self._stats.writes += write
        arguments = _arguments(request, method)
        path = (cim_class.namespace, cim_class.name, method.name)
        self._stats.note_invoke(Call.masked(path, arguments, write, time.time()))
        instance = self._invoke_on(request, cim_class, method)
        result = await self._repository.invoke(cim_class, instance, method, arguments)
        return Reply(f"{values.class_uri(cim_class)}/{method.name}Response", _output(cim_class, method, result))

    def _invoke_on(self, request: Envelope, cim_class: CimClass, method: Method) -> Instance | None:
        if not method.static:
            return self._instance(request, cim_class)
        if _plain_selectors(request):
            raise _wmi_fault(UNEXPECTED_SELECTORS, "w:InvalidSelectors", "The method is static.", "UnexpectedSelectors")
        return None


_Handler = t.Callable[[Service, Envelope, Target], t.Awaitable[Reply]]
_STANDARD: dict[str, tuple[str, _Handler]] = {
    names.ENUMERATE_ACTION: ("Enumerate", Service._enumerate),
    names.PULL_ACTION: ("Pull", Service._pull),
    names.RELEASE_ACTION: ("Release", Service._release),
    names.GET_ACTION: ("Get", Service._get),
    names.PUT_ACTION: ("Put", Service._put),
    names.DELETE_ACTION: ("Delete", Service._delete),
    names.CREATE_ACTION: ("Create", Service._create),
}


@functools.lru_cache(maxsize=1024)
def _split_uri(uri: str) -> Target | None:
    if not uri.lower().startswith(names.WMI_URI.lower()):
        return None
    namespace, _slash, class_name = uri[len(names.WMI_URI) :].rpartition("/")
    if not re.fullmatch(r"\w+(?:/\w+)*", namespace) or not re.fullmatch(r"\*|\w+", class_name):
        return None
    return Target(namespace, class_name)


def _plain_selectors(request: Envelope) -> dict[str, str]:
    return {name: text for name, text in request.selectors.items() if name != "__cimnamespace"}


def _precise(request: Envelope) -> bool:
    return request.options.get("msftwinrm:useprecisearrays", "").lower() == "true"


def _only_child(body: ET.Element, tag: str) -> ET.Element:
    if len(body) != 1 or body[0].tag != tag:
        raise invalid_body(f"The body is no {tag}.")
    return body[0]


def _positive(element: ET.Element | None, default: int) -> int:
    if element is None:
        return default
    text = (element.text or "").strip()
    if not text.isdecimal() or int(text) < 1:
        raise SoapFault(0x8033802F, "w:InvalidParameter", f"{text!r} is no positive number.")
    return int(text)


def _with_references(body: ET.Element) -> bool:
    """Whether each object is to come with its reference; references alone are an option that is not offered here."""
    modes = body.findall("w:EnumerationMode", _NS)
    if len(modes) > 1:
        raise invalid_body("There is more than one enumeration mode.")
    if modes and (modes[0].text or "").strip() != "EnumerateObjectAndEPR":
        raise SoapFault(0x80338086, "w:UnsupportedFeature", "No such mode.", detail="EnumerationMode")
    return bool(modes)


def _context(body: ET.Element) -> str:
    element = body.find("n:EnumerationContext", _NS)
    if element is None:
        raise invalid_body("There is no enumeration context.")
    return (element.text or "").strip()


def _selects(key: Property, instance: Instance, text: str) -> bool:
    value = instance.values.get(key.name)
    return value is not None and values.text_of(key, value).lower() == text.strip().lower()


def _split_tag(element: ET.Element) -> tuple[str, str]:
    namespace, _brace, name = element.tag.rpartition("}")
    return namespace.lstrip("{"), name


def _grouped(parent: ET.Element, namespace: str) -> dict[str, list[ET.Element]]:
    """The children by name; all must be in the namespace of the class, repeated ones side by side."""
    groups: dict[str, list[ET.Element]] = {}
    last = None
    for child in parent:
        child_namespace, name = _split_tag(child)
        if child_namespace.lower() != namespace.lower():
            raise _wmi_fault(UNRECOGNIZED_ARGUMENT, "w:InvalidParameter", f"{child.tag} is not of {namespace}.")
        if name in groups and name != last:
            raise CimError(WBEM_E_INVALID_METHOD_PARAMETERS, f"{name} is there twice.")
        groups.setdefault(name, []).append(child)
        last = name
    return groups


def _typed(groups: t.Mapping[str, list[ET.Element]], properties: t.Sequence[Property]) -> dict[str, CimValue]:
    """The values of the elements; names are case-sensitive here (Win32 documentation, "Resource URIs")."""
    known = {prop.name: prop for prop in properties}
    result: dict[str, CimValue] = {}
    for name, elements in groups.items():
        prop = known.get(name)
        if prop is None:
            raise _wmi_fault(
                UNRECOGNIZED_ARGUMENT, "w:InvalidParameter", f"The object contains an unrecognized argument {name}."
            )
        try:
            result[name] = values.parse_elements(prop, elements)
        except values.BadValue as exc:
            raise CimError(WBEM_E_TYPE_MISMATCH, str(exc)) from exc
    return result


def _arguments(request: Envelope, method: Method) -> dict[str, CimValue]:
    body = _only_input(request, f"{method.name}_INPUT")
    arguments = _typed(_grouped(body, request.resource_uri), method.inputs)
    missing = [prop.name for prop in method.inputs if prop.required and arguments.get(prop.name) is None]
    if missing:
        raise CimError(WBEM_E_INVALID_METHOD_PARAMETERS, f"{method.name} needs {', '.join(missing)}.")
    return arguments


def _only_input(request: Envelope, name: str) -> ET.Element:
    if len(request.body) != 1:
        raise invalid_body("The body holds one element.")
    namespace, found = _split_tag(request.body[0])
    if found != name or namespace.lower() != request.resource_uri.lower():
        raise SoapFault(0x80338058, "w:SchemaValidationError", f"The body is not the {name} of the class.")
    return request.body[0]


def _output(cim_class: CimClass, method: Method, result: t.Mapping[str, CimValue]) -> str:
    uri = values.class_uri(cim_class)
    inner = "".join(values.to_xml(prop, result.get(prop.name)) for prop in method.outputs)
    if method.returns:
        inner += f"<p:ReturnValue>{escape(str(result.get('ReturnValue', 0)))}</p:ReturnValue>"
    return (
        f'<p:{method.name}_OUTPUT xmlns:xsi="{names.XSI}" xmlns:p="{uri}" xmlns:cim="{names.CIM}">{inner}'
        f"</p:{method.name}_OUTPUT>"
    )


def _instance_values(request: Envelope, cim_class: CimClass) -> dict[str, CimValue]:
    body = _only_input(request, cim_class.name)
    given = _typed(_grouped(body, request.resource_uri), cim_class.properties)
    missing = [prop.name for prop in cim_class.properties if not prop.array and prop.name not in given]
    if missing:  # Win32 documentation, "Session.Put": all non-array properties are sent
        raise SoapFault(0x80338057, "w:SchemaValidationError", f"Without {', '.join(missing)}.", detail="MissingValues")
    return given


def _fragment_property(name: str, cim_class: CimClass) -> Property:
    for prop in cim_class.properties:  # case-sensitive, unlike selectors
        if prop.name == name:
            return prop
    raise SoapFault(0x80338059, "w:InvalidSelectors", f"There is no property {name}.", detail="InvalidFragment")


def _fragment_values(request: Envelope, cim_class: CimClass) -> dict[str, CimValue]:
    prop = _fragment_property(t.cast(str, request.fragment), cim_class)
    body = _only_child(request.body, f"{{{names.WSMAN}}}XmlFragment")
    elements = list(body)
    if not elements or any(
        _split_tag(element)[1] != prop.name or _split_tag(element)[0].lower() not in ("", request.resource_uri.lower())
        for element in elements
    ):
        raise invalid_body(f"The fragment holds {prop.name} and nothing else.")
    try:
        return {prop.name: values.parse_elements(prop, elements)}
    except values.BadValue as exc:
        raise CimError(WBEM_E_TYPE_MISMATCH, str(exc)) from exc
