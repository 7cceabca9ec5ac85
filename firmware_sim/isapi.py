"""Simulated devices of the ISAPI family on loopback: a recorder with its cameras, a plate camera. Own code, no driver's.

Alert streams are endless multipart answers with a heartbeat; `torn` sends them in pieces of so many bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import time
import zlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from aiohttp import web

from .http_host import HttpHost

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_SPACE = 'version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema"'
BOUNDARY = "boundary"


class IsapiHost(HttpHost):
    """What all of them have: device information, a clock with an offset, an alert stream."""

    realm = "IP Camera(C2143)"
    model = "DS-2CD2146G2-ISU"
    kind = "IPCamera"
    firmware = "V5.7.17"

    def __init__(
        self, *, port: int = 0, user: str = "admin", password: str = "", serial: str = "SIM0000000001"
    ) -> None:
        super().__init__(port=port, user=user, password=password)
        self.serial = serial
        self.zone = timezone(timedelta(hours=8))
        self.skew_s = 0.0
        """How much its clock is ahead."""
        self.time_mode = "manual"
        self.heartbeat_s = 10.0
        self.torn = 0
        self.with_length = True
        """Parts say their length; some firmware does not."""
        self.listeners: set[asyncio.Queue[bytes | None]] = set()
        self.pictures = 0

    # the clock

    def now(self) -> datetime:
        """Its own time, with its offset."""
        return datetime.fromtimestamp(time.time() + self.skew_s, UTC).astimezone(self.zone)

    def stamp(self) -> str:
        """As it writes it."""
        return self.now().isoformat(timespec="seconds")

    def time_xml(self) -> str:
        """GET /ISAPI/System/time."""
        hours = -int((self.zone.utcoffset(None) or timedelta()).total_seconds() // 3600)
        return (
            f"{_XML}<Time {_SPACE}><timeMode>{self.time_mode}</timeMode><localTime>{self.stamp()}</localTime>"
            f"<timeZone>CST{hours:+d}:00:00</timeZone></Time>".replace("CST+", "CST")
        )

    def set_time(self, body: str) -> bool:
        """PUT /ISAPI/System/time."""
        text = between(body, "localTime")
        try:
            told = datetime.fromisoformat(text)
        except ValueError:
            return False
        self.skew_s = told.timestamp() - time.time()
        return True

    # the stream

    def say(self, body: str, content_type: str = 'application/xml; charset="UTF-8"') -> None:
        """A part for all who listen."""
        self._send(self._part(body.encode(), content_type))

    def say_picture(self, data: bytes) -> None:
        """A picture for all who listen."""
        self._send(self._part(data, "image/jpeg"))

    def _part(self, body: bytes, content_type: str) -> bytes:
        length = f"Content-Length: {len(body)}\r\n" if self.with_length else ""
        return f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n{length}\r\n".encode() + body + b"\r\n"

    def _send(self, part: bytes) -> None:
        for queue in self.listeners:
            if queue.qsize() < 5000:
                queue.put_nowait(part)

    def hang_up(self) -> None:
        """Ends every stream, as a restart does."""
        for queue in list(self.listeners):
            queue.put_nowait(None)

    def heartbeat(self) -> str:
        """What it says while nothing happens."""
        return self.alert("videoloss", 0, state="inactive", count=0)

    def alert(self, kind: str, channel: int, *, state: str = "active", count: int = 1, more: str = "") -> str:
        """An EventNotificationAlert."""
        return (
            f"<EventNotificationAlert {_SPACE}>\n<ipAddress>127.0.0.1</ipAddress>\n<portNo>80</portNo>\n"
            f"<protocol>HTTP</protocol>\n<macAddress>00:00:5e:00:53:01</macAddress>\n<channelID>{channel}</channelID>\n"
            f"<dateTime>{self.stamp()}</dateTime>\n<activePostCount>{count}</activePostCount>\n"
            f"<eventType>{kind}</eventType>\n<eventState>{state}</eventState>\n"
            f"<eventDescription>{kind} alarm</eventDescription>\n{more}</EventNotificationAlert>\n"
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.listeners.add(queue)
        self.begin(queue)
        beat = asyncio.create_task(self._beat(queue), name="isapi-heartbeat")
        try:
            while (part := await queue.get()) is not None and not self._closing.is_set():
                for at in range(0, len(part), self.torn or len(part)):
                    await response.write(part[at : at + (self.torn or len(part))])
                    if self.torn:
                        await asyncio.sleep(0)
            assert request.transport is not None
            request.transport.close()
        except ConnectionError:
            pass  # whoever listened is gone
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            self.listeners.discard(queue)
        return response

    def begin(self, queue: asyncio.Queue[bytes | None]) -> None:
        """What a new listener is told first."""

    async def _beat(self, queue: asyncio.Queue[bytes | None]) -> None:
        while True:
            queue.put_nowait(self._part(self.heartbeat().encode(), 'application/xml; charset="UTF-8"'))
            await asyncio.sleep(self.heartbeat_s)

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.hang_up()
        await super().__aexit__(kind, error, trace)

    # resources

    async def respond(self, request: web.Request) -> web.StreamResponse:
        path, method = request.path, request.method
        if path == "/ISAPI/Event/notification/alertStream":
            return await self._stream(request)
        if path == "/ISAPI/System/deviceInfo":
            return _xml(
                f"<DeviceInfo {_SPACE}><deviceName>sim</deviceName><model>{self.model}</model>"
                f"<serialNumber>{self.serial}</serialNumber><firmwareVersion>{self.firmware}</firmwareVersion>"
                f"<deviceType>{self.kind}</deviceType></DeviceInfo>"
            )
        if path == "/ISAPI/System/time" and method == "GET":
            return _xml(self.time_xml())
        if path == "/ISAPI/System/time" and method == "PUT":
            return status(1, "OK") if self.set_time(await request.text()) else status(6, "Invalid XML Content")
        if path.endswith("/picture"):
            self.pictures += 1
            return web.Response(body=_png(self.pictures), content_type="image/png")
        return await self.more(request)

    async def more(self, request: web.Request) -> web.StreamResponse:
        """What only one kind has."""
        return status(4, "Invalid Operation")


class Recorder(IsapiHost):
    """A recorder: `cameras` are online or not, `disks` are ok, error, ..."""

    realm = "DVRNVRDVS"
    model = "DS-7608NXI-I2/8P/S"
    kind = "NVR"
    firmware = "V4.62.210"

    def __init__(self, *, port: int = 0, user: str = "admin", password: str = "", channels: int = 4) -> None:
        super().__init__(port=port, user=user, password=password, serial="DS-7608NXI0000000000SIM")
        self.cameras = dict.fromkeys(range(1, channels + 1), True)
        self.disks = {1: "ok", 2: "ok"}

    async def more(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ISAPI/ContentMgmt/InputProxy/channels/status":
            each = "".join(
                f"<InputProxyChannelStatus><id>{number}</id><online>{str(online).lower()}</online>"
                f"<chanDetectResult>{'connect' if online else 'netUnreachable'}</chanDetectResult></InputProxyChannelStatus>"
                for number, online in self.cameras.items()
            )
            return _xml(f"<InputProxyChannelStatusList {_SPACE}>{each}</InputProxyChannelStatusList>")
        if request.path == "/ISAPI/ContentMgmt/Storage":
            each = "".join(
                f"<hdd><id>{number}</id><hddName>hdd{number}</hddName><status>{state}</status><capacity>3815447</capacity>"
                "<freeSpace>1024</freeSpace><property>RW</property></hdd>"
                for number, state in self.disks.items()
            )
            return _xml(f'<storage {_SPACE}><hddList size="{len(self.disks)}">{each}</hddList></storage>')
        return await super().more(request)

    async def motion(self, channel: int, seconds: int = 3, pause_s: float = 1.0) -> None:
        """Motion before a camera: said once a second while it lasts, then said to be over."""
        for count in range(1, seconds + 1):
            self.say(self.alert("VMD", channel, count=count))
            await asyncio.sleep(pause_s)
        self.say(self.alert("VMD", channel, state="inactive", count=0))


class PlateCamera(IsapiHost):
    """A camera that reads plates."""

    model = "DS-2CD4A26FWD-IZS/P"

    def passes(self, plate: str, *, lane: int = 1, direction: str = "forward", confidence: int = 98) -> str:
        """A vehicle: an alert and its pictures. Gives the alert's UUID."""
        self.pictures += 1
        uuid = f"sim-{self.serial}-{self.pictures}"
        self.say(
            self.alert(
                "ANPR", 1,
                more=f"<channelName>Camera 01</channelName><ANPR><country>5</country><licensePlate>{plate}</licensePlate>"
                f"<line>{lane}</line><direction>{direction}</direction><confidenceLevel>{confidence}</confidenceLevel>"
                f"<plateType>unknown</plateType></ANPR><UUID>{uuid}</UUID><picNum>1</picNum>",
            )
        )  # fmt: skip
        self.say_picture(b"\xff\xd8\xff" + bytes(range(256)) * 200 + b"--" + BOUNDARY.encode()[:4] + b"\xff\xd9")
        return uuid

    async def traffic(self, every_s: float) -> None:
        """One vehicle after the other, in and out."""
        for number in itertools.count():
            await asyncio.sleep(every_s)
            self.passes(f"SIM{number % 40:04d}", direction="reverse" if number % 2 else "forward")


def obey(host: IsapiHost, line: str) -> str:
    """An order of standard input: {"op": "motion", "channel": 1} {"op": "plate", "plate": "A12345"}
    {"op": "camera", "channel": 2, "is": false} {"op": "disk", "disk": 1, "state": "error"} {"op": "hang_up"}
    {"op": "mood", "mood": "silent"} {"op": "skew", "s": 90}.
    """
    try:
        order = json.loads(line)
        what = order["op"]
        if what == "motion":
            channel = int(order.get("channel", 1))
            host.say(host.alert("VMD", channel))
            host.say(host.alert("VMD", channel, state="inactive", count=0))
        elif what == "plate" and isinstance(host, PlateCamera):
            host.passes(
                str(order["plate"]), lane=int(order.get("lane", 1)), direction=str(order.get("direction", "forward"))
            )
        elif what == "camera" and isinstance(host, Recorder):
            host.cameras[int(order["channel"])] = bool(order["is"])
        elif what == "disk" and isinstance(host, Recorder):
            host.disks[int(order["disk"])] = str(order["state"])
        elif what == "hang_up":
            host.hang_up()
        elif what == "mood":
            host.mood = str(order.get("mood", ""))
        elif what == "skew":
            host.skew_s = float(order["s"])
        else:
            return json.dumps({"ok": False, "error": f"there is no order {what!r} here"})
    except (ValueError, KeyError, TypeError) as error:
        return json.dumps({"ok": False, "error": f"an order is one JSON object ({error})"})
    return json.dumps({"ok": True, "listeners": len(host.listeners)})


def _xml(text: str) -> web.Response:
    return web.Response(text=text if text.startswith("<?") else _XML + text, content_type="application/xml")


def status(code: int, text: str) -> web.Response:
    return web.Response(
        text=f"{_XML}<ResponseStatus {_SPACE}><statusCode>{code}</statusCode>"
        f"<statusString>{text}</statusString></ResponseStatus>",
        content_type="application/xml",
        status=200 if code == 1 else 403,
    )


def between(text: str, name: str) -> str:
    return text.partition(f"<{name}>")[2].partition("<")[0]


def _png(shade: int) -> bytes:
    """A small grey picture that changes."""
    rows = b"".join(b"\x00" + bytes((shade * 16 + x) % 256 for x in range(16)) for _ in range(16))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
