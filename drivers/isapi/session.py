"""An open ISAPI host: reads, carries out operations, tells what happens and recalls what an access terminal kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from drivers import http_calls, http_points, pictures
from drivers.base import Address, Batch, Layout, WireCount
from drivers.device_time import epoch_ms, posix_zone
from drivers.document import Document, pick
from drivers.handover import Handover
from drivers.http_client import HttpClient
from drivers.listening import Listened, Occurrence

from . import records
from .happening import Happening, unnumbered
from .messages import Message
from .stream import AlertStream

_INFO = "/ISAPI/System/deviceInfo"
_TIME = "/ISAPI/System/time"
_FACTS = {"model": "model", "serial": "serialNumber", "firmware": "firmwareVersion"}
_MOST_PICTURE = 8 << 20
_NO_SEARCH = (400, 403, 404, 405, 501)
"""HTTP statuses of a terminal without a search for records, or whose user may not search."""
_STORED_S = 300.0
"""How long the disk may take with a live event before its device is not waited for any more."""


class IsapiSession:
    """A Session that identifies, operates, listens and recalls events (see drivers.base, drivers.listening)."""

    def __init__(self, client: HttpClient, stream: AlertStream | None = None) -> None:
        self.link = client.link
        self._client = client
        self._handover = Handover()
        self._happening = Happening(client.counts)
        self._listened: dict[str, Listened] = {}
        self.stream = stream or AlertStream(client, self._take)
        self._forgetful: set[str] = set()
        """Devices that number their records and do not let them be searched: those have no index, and are told live only."""
        self._is_timed = False
        """The host wants a search for records to say its times."""
        self._newest: dict[str, int] = {}
        """What `kept` said last, until it was recalled."""

    @property
    def counts(self) -> WireCount:
        """What went over the link since it was opened."""
        return self._client.counts

    @property
    def dropped(self) -> int:
        """Occurrences that found no room."""
        return self._handover.dropped

    async def close(self) -> None:
        """Ends the stream and `occurrences`."""
        await self.stream.close()
        await self._handover.close()

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """One request. Raises DeviceError, LinkError."""
        return await http_points.read(self._client, device, batch, self._where(device))

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Model, serial number and firmware of the host."""
        where = self._where(device)
        document = await http_points.fetch(self._client, "GET", _INFO, None, device, where)
        facts: dict[str, str] = {}
        for name, element in _FACTS.items():
            try:
                facts[name] = str(pick(document, f"DeviceInfo/{element}"))
            except KeyError:
                continue
        if not facts:
            raise DeviceMismatch(f"the answer to {_INFO} says neither model nor serial number", where=where)
        return facts

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """`{snapshot: path}`, `{time: sync}`, or a call of http_calls. Raises as CanOperate.operate."""
        where, call = self._where(device), operation.call
        if call.keys() == {"snapshot"}:
            return await self._snapshot(device, str(call["snapshot"]), where)
        if call == {"time": "sync"}:
            return await self._set_time(device, where)
        return await http_calls.carry_out(self._client, device, operation, inputs, where)

    async def _snapshot(self, device: Address, path: str, where: str) -> dict[str, Raw]:
        folder = self.link.http.pictures if self.link.http is not None else ""
        if not folder:
            raise ConfigError("there is no folder for pictures", where=where, next_step="take it through the agent")
        path = http_points.filled(path, device, http_points.quoted)
        reply = await self._client.request("GET", path, limit=_MOST_PICTURE, where=where)
        if not reply.content_type.startswith("image/") or not reply.body:
            raise DeviceMismatch(f"{path} is {reply.content_type[:60]!r} and no picture", where=where)
        kept = await asyncio.to_thread(pictures.keep, folder, device.device, reply.body)
        return {"url": kept.path.as_uri(), "sha256": kept.sha256, "expires": kept.expires, "bytes": len(reply.body)}

    async def _set_time(self, device: Address, where: str) -> dict[str, Raw]:
        """Sets the clock to ours, in the device's own zone; one that keeps its time from NTP is left alone."""
        said = _times(await http_points.fetch(self._client, "GET", _TIME, None, device, where))
        if said["timeMode"].upper() == "NTP":
            raise DeviceRefused(
                "it takes its time from NTP", code=0, status="BadInvalidState", where=where,
                next_step="correct its NTP server, or set its time mode to manual",
            )  # fmt: skip
        zone = _zone(said)
        before = epoch_ms(said["localTime"], zone)
        if zone is None or before is None:
            raise DeviceMismatch(f"its time {said['localTime'][:40]!r} has no offset from UTC", where=where)
        now_ms = time.time_ns() // 1_000_000
        local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone).isoformat(timespec="seconds")
        own = f"<timeZone>{_escaped(said['timeZone'])}</timeZone>" if said["timeZone"] else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><Time version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
            f"<timeMode>manual</timeMode><localTime>{local}</localTime>{own}</Time>"
        )
        await self._client.request(
            "PUT", _TIME, body=body.encode(), content_type="application/xml", once=True, where=where
        )
        now = _times(await http_points.fetch(self._client, "GET", _TIME, None, device, where))
        after = epoch_ms(now["localTime"], zone)
        left_ms = None if after is None else after - time.time_ns() // 1_000_000
        if left_ms is None or abs(left_ms) > 5000:
            raise DeviceMismatch(f"its clock is {now['localTime'][:40]!r} after it was set", where=where)
        return {"before_s": (before - now_ms) / 1000, "readback": left_ms / 1000}

    async def listen(self, device: Listened) -> None:
        """Raises DeviceError when the alert stream does not begin, LinkError."""
        self._listened[device.address.device] = device
        if not device.events:
            return
        await self.kept(device.address)
        await self.stream.open()

    async def forget(self, device: Address) -> None:
        """The stream ends with the last one who listens."""
        self._listened.pop(device.device, None)
        self._newest.pop(device.device, None)
        if not any(each.events for each in self._listened.values()):
            await self.stream.close()

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen."""
        return self._handover.turns()

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """The stream goes on once what it brought is stored: the device's own buffer waits meanwhile."""
        self._handover.stored()

    async def _take(self, message: Message) -> None:
        device = whose(message, self._listened)
        if device is None:
            return
        is_forgetful = device.address.device in self._forgetful
        told = self._happening.occurrence(device, message, from_memory=is_forgetful and message.is_stored)
        if told is not None and is_forgetful:
            told = unnumbered(told)
        if told is not None and not await self._handover.deliver([told], _STORED_S):
            self._handover.dropped += 1

    async def kept(self, device: Address) -> tuple[int, int] | None:
        """(oldest, newest) number of the host's records; None for a device that keeps none."""
        if not self._keeps_records(device):
            return None
        try:
            ends = await self._ends(device)
        except DeviceRefused as error:
            if error.code not in _NO_SEARCH:
                raise
            self._forgetful.add(device.device)
            return None
        self._forgetful.discard(device.device)
        if ends is None:
            return None
        self._newest[device.device] = ends[1]
        return ends

    async def _ends(self, device: Address) -> tuple[int, int] | None:
        """As records.kept; a host that finds the search incomplete without times is asked with times from then on."""
        try:
            return await records.kept(self._client, self._where(device), is_timed=self._is_timed)
        except DeviceRefused as error:
            if error.code != 400 or self._is_timed:
                raise
        ends = await records.kept(self._client, self._where(device), is_timed=True)
        self._is_timed = True
        return ends

    async def recall_events(self, device: Address, after: int) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanRecallEvents."""
        listened = self._listened.get(device.device)
        if listened is None or device.device in self._forgetful or not self._keeps_records(device):
            return
        newest = self._newest.pop(device.device, records.HIGHEST)
        async for page in records.after(self._client, after, newest, self._where(device), is_timed=self._is_timed):
            portion = [
                found
                for message in page
                if whose(message, self._listened) is listened
                and (found := self._happening.occurrence(listened, message, from_memory=True)) is not None
            ]
            if portion:
                yield portion

    def _keeps_records(self, device: Address) -> bool:
        listened = self._listened.get(device.device)
        return listened is not None and any("major" in source.when for source in listened.events)

    def _where(self, device: Address) -> str:
        return f"{device.device} ({self.link.where})" if device.device else self.link.where


def whose(message: Message, listened: Mapping[str, Listened]) -> Listened | None:
    """The device that a message of its host is about: by door or channel, else the one that is the whole host (unit 0 or none),
    else the only one.
    """
    words: Mapping[str, Any] = message.words
    for name in ("door", "channel"):
        number = words.get(name)
        for device in listened.values():
            if number is not None and str(device.address.unit) == str(number):
                return device
    whole = next((device for device in listened.values() if device.address.unit in (0, "0", "")), None)
    return whole or (next(iter(listened.values())) if len(listened) == 1 else None)


def _times(document: Document) -> dict[str, str]:
    """What the host says of its clock; "" for what it leaves out."""
    said = {}
    for name in ("timeMode", "localTime", "timeZone"):
        try:
            said[name] = str(pick(document, f"Time/{name}"))
        except KeyError:
            said[name] = ""
    return said


def _zone(said: Mapping[str, str]) -> Any:
    """The offset that its local time says, else its zone."""
    try:
        own = datetime.fromisoformat(said["localTime"]).tzinfo
    except ValueError:
        own = None
    return own or posix_zone(said["timeZone"])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
