"""A simulated ONVIF camera or recorder: SOAP by hand, a changing picture, motion, pull points, logins, a clock that is off.

Written from the ONVIF Core, Media and Recording Control specifications and from WS-Security UsernameToken Profile 1.0; shares no
code with the driver. Logins of more than five minutes from its own clock are refused, as cameras do.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from aiohttp import web

from firmware_sim import onvif_media
from firmware_sim.http_host import HttpHost
from firmware_sim.onvif_picture import picture

_NS = (
    'xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="http://www.onvif.org/ver10/schema" '
    'xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" '
    'xmlns:tev="http://www.onvif.org/ver10/events/wsdl" xmlns:trc="http://www.onvif.org/ver10/recording/wsdl" '
    'xmlns:wsnt="http://docs.oasis-open.org/wsn/b-2" xmlns:wsa="http://www.w3.org/2005/08/addressing" '
    'xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:tns1="http://www.onvif.org/ver10/topics" '
    'xmlns:ter="http://www.onvif.org/ver10/error" '
    'xmlns:sim="urn:plantroom:sim"'
)
_FREE = frozenset({"GetSystemDateAndTime", "GetServices", "GetCapabilities", "GetHostname", "GetWsdlUrl"})
"""Operations of the class PRE_AUTH, which need no login (Core Specification, 5.9.4)."""
_SKEW_S = 300
_MOTION = (
    "tns1:RuleEngine/CellMotionDetector/Motion",
    {"VideoSourceConfigurationToken": "vsc1", "Rule": "MyMotion"},
    "IsMotion",
)
_TAMPER = ("tns1:VideoSource/GlobalSceneChange/ImagingService", {"Source": "vs1"}, "State")
_PROPERTIES = {"motion": _MOTION, "tamper": _TAMPER}


@dataclass(slots=True)
class _Subscription:
    until: float
    queue: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class OnvifCamera(HttpHost):
    """Listens while it is entered. `clock_s`: how far its clock is ahead. `sources`: more than one makes it a recorder."""

    realm = "onvif-sim"

    def __init__(
        self,
        *,
        port: int = 0,
        user: str = "admin",
        password: str = "",
        digest: bool = False,
        sources: int = 1,
        clock_s: float = 0.0,
        name: str = "SIM-CAM",
        references: bool = False,
    ) -> None:
        super().__init__(port=port, user=user, password=password if digest else "")
        self.wsse = password if not digest else ""
        self.sources = sources
        self.clock_s = clock_s
        self.name = name
        self.serial = "SIMCAM0001"
        self.references = references
        """Subscriptions share one address and are told apart by a reference parameter, as at Axis."""
        self.ntp = False
        self.recording = True
        self.services_known = True
        """False: answers GetServices with a fault, as old cameras do."""
        self.media = ("media", "media2")
        """Its media services: many have both, cameras of profile T alone the second only."""
        self.elsewhere = ""
        """Scheme and host by which it knows itself, where it is behind a router; "" = the ones it is asked at."""
        self.forbidden: set[str] = set()
        """Operations that its user may not do."""
        self.refusal_status = 400
        """HTTP status of a refused token: 400, at some 401, with gSOAP's challenge that means nothing."""
        self.grants_s = 600.0
        """The longest life of a subscription."""
        self.waits_s = 60.0
        """The longest wait of a pull; more is refused. 0 answers at once, whatever it is asked."""
        self.token = "vs{n}"
        """Of a video source; some makes count them 00000, 00001."""
        self.pictureless: set[str] = set()
        """Media profiles without snapshots."""
        self.stream_uri = ""
        """Instead of the usual one, as XML has it."""
        self.answer: bytes | None = None
        """What is sent instead of any right answer."""
        self.active = dict.fromkeys(_PROPERTIES, False)
        self.asked: list[str] = []
        self.refused_tokens = 0
        self.pictures = 0
        self.subscriptions: dict[str, _Subscription] = {}
        self._nonces: set[str] = set()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._stopping = asyncio.Event()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for each in self.subscriptions.values():
            each.arrived.set()
        await super().__aexit__(kind, error, trace)

    def now(self) -> float:
        """The camera's own idea of UTC."""
        return time.time() + self.clock_s

    def happen(self, name: str, active: bool) -> None:
        """`motion` or `tamper` begins or ends."""
        self.active[name] = active
        self.say(*_PROPERTIES[name], active)

    def cross(self, line: str = "1", rule: str = "MyLine") -> None:
        """Somebody crosses a line: an event without a state."""
        source = {"VideoSourceConfigurationToken": "vsc1", "Rule": rule}
        self._tell(self._message("tns1:RuleEngine/LineDetector/Crossed", source, {"ObjectId": line}, ""))

    def say(self, topic: str, source: dict[str, str], item: str, active: bool, operation: str = "Changed") -> None:
        """Any property, to all who subscribed."""
        self._tell(self._message(topic, source, {item: str(active).lower()}, operation))

    def lose_subscriptions(self) -> None:
        """As after a restart."""
        for each in self.subscriptions.values():
            each.arrived.set()
        self.subscriptions.clear()

    def _tell(self, message: str) -> None:
        for each in self.subscriptions.values():
            each.queue.append(message)
            each.arrived.set()

    def _message(self, topic: str, source: dict[str, str], data: dict[str, str], operation: str) -> str:
        at = datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        said = f' PropertyOperation="{operation}"' if operation else ""
        items = [
            "".join(f"<tt:SimpleItem Name={quoteattr(key)} Value={quoteattr(value)}/>" for key, value in each.items())
            for each in (source, data)
        ]
        return (
            "<wsnt:NotificationMessage>"
            f'<wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">{topic}</wsnt:Topic>'
            f'<wsnt:Message><tt:Message UtcTime="{at}"{said}><tt:Source>{items[0]}</tt:Source>'
            f"<tt:Data>{items[1]}</tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>"
        )

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """SOAP by POST, the picture by GET."""
        if request.method == "GET" and request.path == "/snapshot":
            self.pictures += 1
            return web.Response(body=picture(self.pictures), content_type="image/jpeg")
        if request.method != "POST":
            return web.Response(status=404)
        if self.answer is not None:
            return web.Response(body=self.answer, content_type="application/soap+xml")
        try:
            envelope = ElementTree.fromstring(await request.read())
            [operation] = next(each for each in envelope if _local(each) == "Body")
        except (ElementTree.ParseError, StopIteration, ValueError):
            return _fault("ter:WellFormed", "no SOAP")
        name = _local(operation)
        self.asked.append(name)
        if _text(envelope, "To") not in ("", self._at(request.path_qs)):
            return _fault("ter:InvalidArgVal", "the request is to somebody else")
        if name in self.forbidden or (name not in _FREE and self.wsse and not self._is_let_in(envelope)):
            return _fault("ter:NotAuthorized", "Sender not Authorized", self.refusal_status)
        handler = getattr(self, f"_do_{name}", None)
        if handler is None:
            return _fault("ter:ActionNotSupported", "Optional Action Not Implemented")
        found = handler(request, envelope, operation)
        answer = await found if asyncio.iscoroutine(found) else found
        return answer if isinstance(answer, web.Response) else _reply(str(answer))

    def _is_let_in(self, envelope: ElementTree.Element) -> bool:
        said = {_local(each): (each.text or "").strip() for each in envelope.iter() if _local(each) in _TOKEN}
        if not said:
            return False
        try:
            created = datetime.fromisoformat(said["Created"].replace("Z", "+00:00"))
            nonce = b64decode(said["Nonce"])
        except (KeyError, ValueError):
            return False
        digest = hashlib.sha1(nonce + said["Created"].encode() + self.wsse.encode(), usedforsecurity=False).digest()
        right = said.get("Username") == self.user and said.get("Password") == b64encode(digest).decode()
        fresh = abs(created.timestamp() - self.now()) < _SKEW_S and said["Nonce"] not in self._nonces
        self._nonces.add(said["Nonce"])
        self.refused_tokens += not (right and fresh)
        return right and fresh

    # device management
    def _do_GetSystemDateAndTime(self, *_: Any) -> str:
        at = datetime.fromtimestamp(self.now(), UTC)
        return (
            f"<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>{'NTP' if self.ntp else 'Manual'}"
            "</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone>"
            f"<tt:UTCDateTime><tt:Time><tt:Hour>{at.hour}</tt:Hour><tt:Minute>{at.minute}</tt:Minute><tt:Second>{at.second}"
            f"</tt:Second></tt:Time><tt:Date><tt:Year>{at.year}</tt:Year><tt:Month>{at.month}</tt:Month><tt:Day>{at.day}"
            "</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _do_SetSystemDateAndTime(self, _request: Any, _envelope: Any, operation: ElementTree.Element) -> str:
        said = {_local(each): int(each.text or 0) for each in operation.iter() if _local(each) in _DATE}
        at = datetime(
            said["Year"], said["Month"], said["Day"], said["Hour"], said["Minute"], said["Second"], tzinfo=UTC
        )
        self.clock_s = at.timestamp() - time.time()
        return "<tds:SetSystemDateAndTimeResponse/>"

    def _do_GetDeviceInformation(self, *_: Any) -> str:
        return (
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>Plantroom</tds:Manufacturer>"
            f"<tds:Model>{escape(self.name)}</tds:Model><tds:FirmwareVersion>1.2.3</tds:FirmwareVersion>"
            f"<tds:SerialNumber>{self.serial}</tds:SerialNumber><tds:HardwareId>sim</tds:HardwareId>"
            "</tds:GetDeviceInformationResponse>"
        )

    def _do_GetServices(self, *_: Any) -> str | web.Response:
        if not self.services_known:
            return _fault("ter:ActionNotSupported", "Optional Action Not Implemented")
        rows = "".join(
            f"<tds:Service><tds:Namespace>http://www.onvif.org/{space}/wsdl</tds:Namespace>"
            f"<tds:XAddr>{self._at(path)}</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
            for name, (space, path) in _PATHS.items()
            if name in self.media or not name.startswith("media")
        )
        return f"<tds:GetServicesResponse>{rows}</tds:GetServicesResponse>"

    def _do_GetCapabilities(self, *_: Any) -> str:
        events = (
            "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport><tt:WSPullPointSupport>true"
            "</tt:WSPullPointSupport><tt:WSPausableSubscriptionManagerInterfaceSupport>false"
            "</tt:WSPausableSubscriptionManagerInterfaceSupport>"
        )
        return (
            "<tds:GetCapabilitiesResponse><tds:Capabilities>"
            f"<tt:Device><tt:XAddr>{self._at('/onvif/device_service')}</tt:XAddr></tt:Device>"
            f"<tt:Events><tt:XAddr>{self._at('/onvif/events')}</tt:XAddr>{events}</tt:Events>"
            f"<tt:Media><tt:XAddr>{self._at('/onvif/media')}</tt:XAddr><tt:StreamingCapabilities/></tt:Media>"
            "</tds:Capabilities></tds:GetCapabilitiesResponse>"
        )

    # media
    def _do_GetProfiles(self, _request: Any, _: Any, operation: ElementTree.Element) -> str | web.Response:
        service, whole = _service(operation), _text(operation, "Type") == "All"
        if {"trt": "media", "tr2": "media2"}[service] not in self.media:
            return _fault("ter:ActionNotSupported", "Optional Action Not Implemented")
        return onvif_media.profiles(service, self.sources, self.token, whole=whole or service == "trt")

    def _do_GetVideoSources(self, *_: Any) -> str:
        rows = "".join(
            f'<trt:VideoSources token="{self.token.format(n=n)}"><tt:Framerate>25</tt:Framerate>'
            "<tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></trt:VideoSources>"
            for n in range(1, self.sources + 1)
        )
        return f"<trt:GetVideoSourcesResponse>{rows}</trt:GetVideoSourcesResponse>"

    def _do_GetStreamUri(self, request: web.Request, _: Any, operation: ElementTree.Element) -> str:
        token = _text(operation, "ProfileToken")
        uri = (
            self.stream_uri
            or f"rtsp://{self.user}:leaked@127.0.0.1:554/{token}?user=admin&amp;password=leaked&amp;channel=1"
        )
        return onvif_media.uri(_service(operation), "GetStreamUri", uri)

    def _do_GetSnapshotUri(self, _request: Any, _: Any, operation: ElementTree.Element) -> str | web.Response:
        if _text(operation, "ProfileToken") in self.pictureless:
            return _fault("ter:ActionNotSupported", "no snapshot in this profile")
        return onvif_media.uri(_service(operation), "GetSnapshotUri", self._at("/snapshot"))

    # recording
    def _do_GetRecordings(self, *_: Any) -> str:
        row = "<trc:RecordingItem><tt:RecordingToken>rec1</tt:RecordingToken></trc:RecordingItem>"
        return f"<trc:GetRecordingsResponse>{row * self.sources}</trc:GetRecordingsResponse>"

    def _do_GetRecordingJobs(self, *_: Any) -> str:
        mode = "Active" if self.recording else "Idle"
        return (
            "<trc:GetRecordingJobsResponse><trc:JobItem><tt:JobToken>job1</tt:JobToken><tt:JobConfiguration>"
            f"<tt:RecordingToken>rec1</tt:RecordingToken><tt:Mode>{mode}</tt:Mode><tt:Priority>1</tt:Priority>"
            "</tt:JobConfiguration></trc:JobItem></trc:GetRecordingJobsResponse>"
        )

    # events
    def _do_CreatePullPointSubscription(self, _request: Any, _envelope: Any, operation: ElementTree.Element) -> str:
        lives = min(self.grants_s, _seconds(_text(operation, "InitialTerminationTime") or "PT60S"))
        name = secrets.token_hex(4)
        own = self.subscriptions[name] = _Subscription(time.monotonic() + lives)
        for key, (topic, source, item) in _PROPERTIES.items():
            own.queue.append(self._message(topic, source, {item: str(self.active[key]).lower()}, "Initialized"))
        own.arrived.set()
        place = f"<wsa:Address>{self._at('/onvif/pull' if self.references else f'/onvif/pull?id={name}')}</wsa:Address>"
        if self.references:
            place += (
                f"<wsa:ReferenceParameters><sim:SubscriptionId>{name}</sim:SubscriptionId></wsa:ReferenceParameters>"
            )
        return (
            f"<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference>{place}</tev:SubscriptionReference>"
            f"{self._times(lives)}</tev:CreatePullPointSubscriptionResponse>"
        )

    async def _do_PullMessages(
        self, request: web.Request, envelope: ElementTree.Element, operation: ElementTree.Element
    ) -> str | web.Response:
        own = self._subscription(request, envelope)
        if own is None:
            return _fault("ter:InvalidArgVal", "no such subscription")
        waits = _seconds(_text(operation, "Timeout") or "PT1S")
        if 0 < self.waits_s < waits:
            return _fault("ter:InvalidArgVal", "Timeout")
        try:
            async with asyncio.timeout(min(waits, self.waits_s)):
                await own.arrived.wait()
        except TimeoutError:
            pass
        own.arrived.clear()
        if self._stopping.is_set() or own not in self.subscriptions.values():
            return _fault("ter:InvalidArgVal", "no such subscription")
        most = int(_text(operation, "MessageLimit") or 10)
        told = [own.queue.popleft() for _ in range(min(most, len(own.queue)))]
        if own.queue:
            own.arrived.set()
        at = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f"<tev:PullMessagesResponse><tev:CurrentTime>{at}</tev:CurrentTime><tev:TerminationTime>{at}</tev:TerminationTime>"
            f"{''.join(told)}</tev:PullMessagesResponse>"
        )

    def _do_Renew(self, request: web.Request, envelope: Any, operation: ElementTree.Element) -> str | web.Response:
        own = self._subscription(request, envelope)
        if own is None:
            return _fault("ter:InvalidArgVal", "no such subscription")
        lives = min(self.grants_s, _seconds(_text(operation, "TerminationTime") or "PT60S"))
        own.until = time.monotonic() + lives
        return f"<wsnt:RenewResponse>{self._times(lives)}</wsnt:RenewResponse>"

    def _do_Unsubscribe(self, request: web.Request, envelope: ElementTree.Element, _: Any) -> str:
        self.subscriptions.pop(self._name(request, envelope), None)
        return "<wsnt:UnsubscribeResponse/>"

    def _do_GetEventProperties(self, *_: Any) -> str:
        return "<tev:GetEventPropertiesResponse/>"

    def _subscription(self, request: web.Request, envelope: ElementTree.Element) -> _Subscription | None:
        for name in [name for name, each in self.subscriptions.items() if each.until < time.monotonic()]:
            del self.subscriptions[name]
        return self.subscriptions.get(self._name(request, envelope))

    def _name(self, request: web.Request, envelope: ElementTree.Element) -> str:
        return _text(envelope, "SubscriptionId") if self.references else request.query.get("id", "")

    def _times(self, lives: float) -> str:
        at, until = (
            datetime.fromtimestamp(self.now() + later, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            for later in (0.0, lives)
        )
        return f"<wsnt:CurrentTime>{at}</wsnt:CurrentTime><wsnt:TerminationTime>{until}</wsnt:TerminationTime>"

    def _at(self, path: str) -> str:
        return f"{self.elsewhere or f'http://127.0.0.1:{self.port}'}{path}"


_TOKEN = frozenset({"Username", "Password", "Nonce", "Created"})
_DATE = frozenset({"Year", "Month", "Day", "Hour", "Minute", "Second"})
_PATHS = {
    "device": ("ver10/device", "/onvif/device_service"), "media": ("ver10/media", "/onvif/media"),
    "media2": ("ver20/media", "/onvif/media2"), "events": ("ver10/events", "/onvif/events"),
    "recording": ("ver10/recording", "/onvif/recording"),
}  # fmt: skip


def _service(operation: ElementTree.Element) -> str:
    space = operation.tag[1:].partition("}")[0]
    return next(prefix for prefix, each in onvif_media.SPACES.items() if each == space)


def _reply(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {_NS}><s:Body>{body}</s:Body></s:Envelope>'
    return web.Response(status=status, text=text, content_type="application/soap+xml", headers=headers)


def _fault(subcode: str, reason: str, status: int = 400) -> web.Response:
    return _reply(
        f"<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{reason}</s:Text></s:Reason></s:Fault>',
        status,
        {"WWW-Authenticate": 'Basic realm="gSOAP Web Service"'} if status == 401 else {},
    )


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element, name: str) -> str:
    return next(((each.text or "").strip() for each in element.iter() if _local(each) == name), "")


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?", duration)
    days, hours, minutes, seconds = (float(each or 0) for each in match.groups()) if match else (0.0, 0.0, 1.0, 0.0)
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
