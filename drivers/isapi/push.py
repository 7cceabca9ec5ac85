"""Devices that push their alerts to us (`httpHosts`): the same messages as in the stream, one request each.

The address that is set in the device is `/isapi/SECRET`, where the secret is the device's own; or `/isapi/UNIT` with the secret
as the password of digest or basic authentication; without a secret, `/isapi/UNIT`, taken only from the device's `at`. It is
answered 200 once what it brought is stored: devices that retransmit (ANR) keep the rest.
Source: Hikvision, ISAPI Developer Guide, PUT /ISAPI/Event/notification/httpHosts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from device_profiles.errors import ConfigError, DeviceTimeout
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.secrets import secret_text
from drivers import http_points
from drivers.base import Address, Batch, LinkConfig, Session, Trace, WireCount
from drivers.document import DocumentError
from drivers.handover import Handover
from drivers.http_listener import Answer, HttpListener, Visit, open_listener
from drivers.http_secrets import Digest, by_basic, same
from drivers.listening import Listened, Occurrence

from .happening import Happening, unnumbered
from .messages import message_of
from .multipart import Multipart, boundary_of

_STORED_S = 20.0
_LIMIT = 4 << 20
"""Bytes of one push: an event with its pictures, which are thrown away."""
_MOST_PARTS = 200
"""An event and its pictures; what comes behind so many is not looked at."""
_WAY = r"/isapi/(?P<secret>[A-Za-z0-9_.~-]{1,128})/?"


@dataclass(slots=True)
class _Heard:
    """What is known of a device that pushes."""

    at: float
    """Monotonic, of the last push."""
    count: int = 0


class PushSession:
    """A Session that listens. What there is to read is whether a device was heard: `/heard`, value `heard` or `count`."""

    def __init__(self, listener: HttpListener) -> None:
        self.link = listener.link
        self._listener = listener
        self._silent_s = listener.link.listen.silent_s if listener.link.listen is not None else 120.0
        self._handover = Handover()
        self._digest = Digest()
        self._happening = Happening(listener.counts)
        self._listened: dict[str, Listened] = {}
        self._heard: dict[str, _Heard] = {}
        listener.add("*", _WAY, self._pushed, limit=_LIMIT, private=True)

    @property
    def counts(self) -> WireCount:
        return self._listener.counts

    @property
    def dropped(self) -> int:
        return self._handover.dropped

    async def close(self) -> None:
        """Ends `occurrences`."""
        await self._handover.close()

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """Whether it was heard. Raises DeviceTimeout when it was not for long, LinkLost."""
        self._listener.check()
        heard = self._heard.get(device.device)
        age_s = time.monotonic() - heard.at if heard is not None else None
        if heard is None or age_s is None or age_s > self._silent_s:
            said = "nothing was heard of it" if age_s is None else f"it was not heard for {age_s:.0f} s"
            step = f"see that it pushes to http://{self.link.host}:{self.link.port}/isapi/..."
            raise DeviceTimeout(said, where=f"{device.device} ({self.link.where})", next_step=step)
        ask: http_points.Ask = batch.plan
        document = {"heard": True, "count": heard.count}
        now_ms = time.time_ns() // 1_000_000
        return [
            http_points.value_of(address, kind, document, device, self.link.host, now_ms)
            for address, kind in ask.places
        ]

    async def listen(self, device: Listened) -> None:
        """Lets the device in."""
        self._listener.admission.expect(device.address)
        self._listened[device.address.device] = device

    async def forget(self, device: Address) -> None:
        """Does not let it in any more."""
        self._listener.admission.forget(device)
        self._listened.pop(device.device, None)

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen."""
        return self._handover.turns()

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """Its devices are answered now."""
        self._handover.stored()

    def _who(self, visit: Visit) -> tuple[Listened | None, bool]:
        """The device whose secret stands in the path, or whose unit does with its secret as password, or whose unit and address
        these are. Else whether a login is to be asked for.
        """
        said = visit.parts["secret"]
        found: Listened | None = None
        is_asked = False
        for device in self._listened.values():
            address = device.address
            if not self._is_at(address, visit.host):
                continue
            is_unit = same(said, str(address.unit))
            if address.secret is None:
                holds = is_unit and bool(address.at)
            elif secret := _secret(address):
                holds = same(said, secret)
                if is_unit and not holds:
                    holds = by_basic(visit, secret) or self._digest.holds(visit, secret)
                    is_asked = True
            else:
                continue
            found = found or (device if holds else None)
        return found, is_asked

    def _is_at(self, address: Address, host: str) -> bool:
        return not address.at or self._listener.admission.is_at(address, host)

    async def _pushed(self, visit: Visit) -> Answer:
        device, is_asked = self._who(visit)
        if device is None and is_asked and "Authorization" not in visit.headers:
            return self._digest.challenge(visit)
        if device is None:
            self._listener.admission.guessed(visit.host)
            self._listener.admission.stranger(_named(visit), visit.host)
            return self._digest.challenge(visit) if is_asked else Answer(status=404, body=b"not found")
        heard = self._heard.setdefault(device.address.device, _Heard(0.0))
        heard.at = time.monotonic()
        heard.count += 1
        found: list[Occurrence] = []
        for body in _bodies(visit):
            try:
                message = message_of(body)
            except DocumentError:
                self._listener.admission.refuse("bad_message", visit.host)
                continue
            if message is None:
                continue
            told = self._happening.occurrence(device, message, from_memory=message.is_stored)  # sent anew after a break
            if told is not None:
                found.append(unnumbered(told))
        if await self._handover.deliver(found, _STORED_S):
            return Answer()
        return Answer(status=503, body=b"not stored")


def _bodies(visit: Visit) -> list[bytes]:
    """The documents of a push; pictures are passed over."""
    content_type = visit.headers.get("Content-Type", "")
    if not content_type.lower().startswith("multipart/"):
        return [visit.body] if visit.body.strip() else []
    boundary = boundary_of(content_type)
    if boundary is None:
        return []
    parts = Multipart(boundary, most=_MOST_PARTS)
    return parts.feed(visit.body + b"\r\n--" + boundary + b"--\r\n\r\n")


def _named(visit: Visit) -> str:
    """What a device that is not known calls itself, so that whoever looks for it finds it."""
    for body in _bodies(visit)[:1]:
        try:
            message = message_of(body)
        except DocumentError:
            break
        for name in ("shortSerialNumber", "macAddress") if message is not None else ():
            if text := str(message.words.get(name, "")) if message is not None else "":
                return text[:32]
    return "(ISAPI)"


def _secret(address: Address) -> str:
    try:
        return secret_text(address.secret) if address.secret is not None else ""
    except ConfigError:
        return ""


@asynccontextmanager
async def open_push(link: LinkConfig, trace: Trace | None) -> AsyncIterator[Session]:
    """Listens. Raises LinkRefused, ConfigError."""
    async with open_listener(link, trace) as listener:
        session = PushSession(listener)
        try:
            yield session
        finally:
            await session.close()
