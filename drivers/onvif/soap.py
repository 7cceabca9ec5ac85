"""Requests of ONVIF's services by onvif-zeep-async, sent by our own HTTP client; answers as plain mappings.

The library knows the services' WSDL files (it ships them) and WS-Security. Connections, login, TLS, limits and the parsing of
what a device sends are ours, so that neither a bomb nor an exception of zeep gets any further. Import it off the event loop: it
costs about a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

_HANDLERS = tuple(logging.getLogger().handlers)
import onvif  # noqa: E402
from lxml import etree  # noqa: E402
from onvif.client import ONVIFService, UsernameDigestTokenDtDiff  # noqa: E402
from onvif.definition import SERVICES  # noqa: E402
from onvif.exceptions import ONVIFError  # noqa: E402
from zeep import Settings  # noqa: E402
from zeep.exceptions import Error as ZeepError  # noqa: E402

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused  # noqa: E402
from device_profiles.secrets import Secret, secret_text  # noqa: E402
from drivers.document import DocumentError, parse_xml, pick  # noqa: E402
from drivers.http_client import HttpClient, Reply  # noqa: E402
from drivers.http_login import Lockout, stamp_of  # noqa: E402

for _handler in set(logging.getLogger().handlers) - set(_HANDLERS):
    logging.getLogger().removeHandler(_handler)  # the library sets up logging for the whole process

_FOLDER = Path(onvif.__file__).parent / "wsdl"
_RAW = Settings(strict=False, raw_response=True)
_TYPE = "application/soap+xml; charset=utf-8"
_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_BY_HAND = {"media2": "http://www.onvif.org/ver20/media/wsdl"}
_ADDRESSING = ("http://www.w3.org/2005/08/addressing", "http://schemas.xmlsoap.org/ws/2004/08/addressing")
_TO = "{http://www.w3.org/2005/08/addressing}To"
_STATUS = {
    "NotAuthorized": "BadUserAccessDenied", "ActionNotSupported": "BadNotSupported", "InvalidArgVal": "BadOutOfRange",
    "NoEntity": "BadNodeIdUnknown", "NoProfile": "BadNodeIdUnknown", "NoSource": "BadNodeIdUnknown",
    "OperationProhibited": "BadUserAccessDenied", "UnknownAction": "BadNotSupported",
    "FailedAuthentication": "BadUserAccessDenied", "InvalidSecurity": "BadUserAccessDenied",
}  # fmt: skip
"""Subcode of a fault: ONVIF Core Specification 24.06, 5.8.2; those of a login also WS-Security 1.1, 12."""
_NO_LOGIN = frozenset({"NotAuthorized", "FailedAuthentication", "InvalidSecurity"})
_CLOCK = "GetSystemDateAndTime"
Body = Mapping[str, Any]


class _Transport:
    """What zeep sends goes through the link's own client. `waits_s` is that of the next request."""

    cache = None

    def __init__(self, soap: Soap) -> None:
        self._soap = soap

    async def post_xml(self, address: str, envelope: Any, headers: Mapping[str, str]) -> Reply:
        """`address` is the path on the device's host, after the place holder that zeep wants to see."""
        action = headers.get("SOAPAction", "").strip('"')
        kind = _TYPE + (f'; action="{action}"' if action else "")
        path, _, waits = address.removeprefix("http://device").rpartition("#")
        for to in envelope.iter(_TO):
            to.text = self._soap.addresses.get(path) or self._soap.base + path
        return await self._soap.client.request(
            "POST", path, body=etree.tostring(envelope, xml_declaration=True, encoding="utf-8"), content_type=kind,
            waits_s=float(waits), any_status=True, where=self._soap.where,
        )  # fmt: skip

    async def aclose(self) -> None:
        """Nothing is open."""


class Soap:
    """The services of one host."""

    def __init__(self, client: HttpClient, lockout: Lockout, user: str, password_file: str) -> None:
        self.client = client
        self.where = client.link.where
        self._lockout = lockout
        self._password_file = password_file
        self._user = user
        self._stamp = stamp_of(password_file)
        self._token = UsernameDigestTokenDtDiff(user, _password(password_file), use_digest=True) if user else None
        self._services: dict[str, ONVIFService] = {}
        self._granted: set[str] = set()
        """Operations that this login was good for: where another is refused, the user may not do that one."""
        link = client.link
        tls = link.http is not None and link.http.tls
        host = f"[{link.host}]" if ":" in link.host else link.host
        self.base = f"http{'s' * tls}://{host}:{link.port}{link.http.path if link.http is not None else ''}"
        self.addresses: dict[str, str] = {}
        """Endpoints as the device named them, by their path: it wants to see those in each request (WS-Addressing 1.0, 3.3)."""
        self.ahead_s = 0.0
        self.clock_moved: Callable[[], Awaitable[bool]] | None = None
        """Asks the device for its time, after a refused login: a device that was without power may have forgotten it."""

    @property
    def user(self) -> str:
        """ "" where nobody logs in."""
        return self._user

    def set_clock(self, ahead_s: float) -> None:
        """Our logins carry the time that the device believes in: it refuses others as replays."""
        self.ahead_s = ahead_s
        if self._token is not None:
            self._token.dt_diff = timedelta(seconds=ahead_s)

    async def ask(
        self,
        service: str,
        operation: str,
        path: str,
        *,
        login: bool = True,
        waits_s: float = 0.0,
        headers: tuple[Any, ...] = (),
        **params: Any,
    ) -> Body:
        """The content of `{operation}Response`.

        Raises DeviceRefused for a fault; DeviceMismatch for what is no answer; other DeviceError, LinkError.
        """
        return pick_body(await self.ask_raw(
            service, operation, path, login=login, waits_s=waits_s, headers=headers, **params
        ), operation, self.where)  # fmt: skip

    async def ask_raw(
        self,
        service: str,
        operation: str,
        path: str,
        *,
        login: bool,
        waits_s: float,
        headers: tuple[Any, ...],
        **params: Any,
    ) -> bytes:
        """The bytes of an answer that is a safe XML document and no fault."""
        if self._token is not None and self._stamp != (stamp := stamp_of(self._password_file)):
            self._stamp, self._token.password = stamp, _password(self._password_file)
            self._granted.clear()
        is_login = login and self._token is not None
        for is_first in (True, False):
            reply = await self._send(service, operation, path, waits_s, headers, params, is_login=is_login)
            fault = self._fault(reply, operation)
            if fault is None:
                break
            if fault.code != 401 or not (is_login or reply.is_logged_in):
                raise fault
            if not is_first or operation == _CLOCK or self.clock_moved is None or not await self.clock_moved():
                raise self._denied(fault, operation)
        if is_login:
            self._granted.add(operation)
            self._lockout.accepted()
        return reply.body

    async def _send(
        self,
        service: str,
        operation: str,
        path: str,
        waits_s: float,
        headers: tuple[Any, ...],
        params: Mapping[str, Any],
        *,
        is_login: bool,
    ) -> Reply:
        if service in _BY_HAND:
            return await self._send_by_hand(service, operation, path, params, is_login=is_login)
        own = await self._service(service)
        zeep_client = own.zeep_client if is_login else own.zeep_client_authless
        assert zeep_client is not None
        zeep_client.settings = _RAW
        binding = "{{{ns}}}{binding}".format(**SERVICES[service])
        more = {"_soapheaders": list(headers)} if headers else {}
        try:
            proxy = zeep_client.create_service(binding, f"http://device{path}#{waits_s:g}")
            reply: Reply = await getattr(proxy, operation)(**params, **more)
        except (ZeepError, ONVIFError, etree.LxmlError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{operation} cannot be put into words ({str(error)[:120]})", where=self.where) from error
        return reply

    async def _send_by_hand(
        self, service: str, operation: str, path: str, params: Mapping[str, Any], *, is_login: bool
    ) -> Reply:
        """An operation of flat texts, of a service that the library has no WSDL of."""
        space = _BY_HAND[service]
        envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"s": _SOAP, "own": space})
        etree.SubElement(envelope, f"{{{_SOAP}}}Header")
        asked = etree.SubElement(etree.SubElement(envelope, f"{{{_SOAP}}}Body"), f"{{{space}}}{operation}")
        for name, value in params.items():
            etree.SubElement(asked, f"{{{space}}}{name}").text = str(value)
        if is_login and self._token is not None:
            envelope, _ = self._token.apply(envelope, {})
        headers = {"SOAPAction": f'"{space}/{operation}"'}
        return await _Transport(self).post_xml(f"http://device{path}#0", envelope, headers)

    async def _service(self, name: str) -> ONVIFService:
        if name not in self._services:
            facts = SERVICES[name]
            own = ONVIFService(
                "http://device/", self._user or None, None, str(_FOLDER / facts["wsdl"]), no_cache=True,
                binding_name="{{{ns}}}{binding}".format(**facts),
            )  # fmt: skip
            await own.close()  # its own session: ours is used
            own.transport = _Transport(self)
            try:
                async with asyncio.timeout(60):
                    await own.setup()
            except (ZeepError, ONVIFError, etree.LxmlError, OSError) as error:
                step = "install the agent again: onvif-zeep-async is incomplete"
                raise ConfigError(
                    f"{facts['wsdl']} cannot be read ({error})", where=self.where, next_step=step
                ) from error
            assert own.zeep_client is not None
            own.zeep_client.wsse = self._token
            self._services[name] = own
        return self._services[name]

    def _fault(self, reply: Reply, operation: str) -> DeviceRefused | None:
        """What the device refuses; None for an answer. Raises DeviceMismatch for neither."""
        try:
            document = parse_xml(reply.body)
            fault = pick(document, "Envelope/Body/Fault")
        except (DocumentError, KeyError) as error:
            if reply.status == 401:
                fault = {"Code": "NotAuthorized"}
            elif reply.status == 403:
                raise DeviceRefused(
                    f"the device refused {operation}: HTTP 403", code=403, status="BadUserAccessDenied", where=self.where,
                    next_step="see in the device's settings that ONVIF is on for this user, and that it is not locked",
                ) from None  # fmt: skip
            elif not 200 <= reply.status < 300:
                step = "check its port, and that ONVIF is switched on in its settings"
                what = f"HTTP {reply.status} to {operation}, without a fault"
                raise DeviceMismatch(what, where=self.where, next_step=step) from None
            elif isinstance(error, DocumentError):
                raise DeviceMismatch(f"the answer to {operation} is {error}", where=self.where) from error
            else:
                return None
        codes = _texts(fault, ("Subcode", "Code", "faultcode"))
        code = next((text for text in codes if text in _STATUS), codes[0] if codes else "fault")
        words = " ".join(_texts(fault, ("Reason", "faultstring"), local=False))[:120]
        step = (
            "give the link user and password_file of a user that ONVIF knows: many cameras keep a list of their own"
            if code in _NO_LOGIN
            else ""
        )
        return DeviceRefused(
            f"the device refused {operation}: {code}{f' ({words})' if words.isprintable() and words else ''}",
            code=401 if code in _NO_LOGIN else reply.status, status=_STATUS.get(code, "BadDeviceFailure"),
            where=self.where, next_step=step,
        )  # fmt: skip

    def _denied(self, fault: DeviceRefused, operation: str) -> DeviceRefused:
        """Either the password is wrong, and is not tried again for long; or its user may not do this, and others it may."""
        code, step = 401, f"correct the password in {self._password_file}, and see that this user may use ONVIF"
        if self._granted and operation not in self._granted:
            code, step = 403, f"give {self._user!r} a higher level in the device's list of ONVIF users"
        else:
            self._granted.clear()
            self._lockout.refused(self._stamp)
        return DeviceRefused(fault.what, code=code, status=fault.status, where=self.where, next_step=step)


def _password(file: str) -> str:
    return secret_text(Secret(file=file)) if file else ""


def pick_body(data: bytes, operation: str, where: str) -> Body:
    """The content of `{operation}Response` in a document that was parsed before."""
    try:
        found = pick(parse_xml(data), f"Envelope/Body/{operation}Response")
    except KeyError:
        raise DeviceMismatch(f"the answer to {operation} is another one", where=where) from None
    return found if isinstance(found, dict) else {}


def reference_headers(data: bytes) -> tuple[Any, ...]:
    """What a device wants to see again in each request of a subscription: reference parameters (WS-Addressing 1.0, 2.1), at old
    ones also reference properties (the submission of August 2004).
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    names = {f"{{{space}}}{name}" for space in _ADDRESSING for name in ("ReferenceParameters", "ReferenceProperties")}
    found = (each for each in etree.fromstring(data, parser).iter() if each.tag in names)
    return tuple(child for each in found for child in each if isinstance(child.tag, str))[:8]


def _texts(fault: Any, names: tuple[str, ...], *, local: bool = True) -> list[str]:
    """The texts below these elements, deepest first; `local` without their prefix."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                if not key.startswith("@"):
                    walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)
        elif value:
            found.append(str(value).rpartition(":")[2] if local else str(value))

    def seek(value: Any) -> None:
        if isinstance(value, dict):
            for key, each in value.items():
                walk(each) if key in names else seek(each)

    seek(fault)
    return found[::-1] if local else found
