"""An open ONVIF host: reads, identifies, takes pictures, sets the clock and tells what happens."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from drivers import pictures
from drivers.base import Address, Batch, Layout, WireCount
from drivers.handover import Handover
from drivers.listening import Listened, Occurrence

from .device import OnvifHost, path_of, source_number
from .happening import Happening, Message, States, messages_of
from .media import MediaProfile, of_source
from .pull import PullPoint

if TYPE_CHECKING:
    from drivers.http_client import HttpClient

    from .soap import Soap

_MOST_PICTURE = 8 << 20
_STORED_S = 300.0
"""How long the disk may take with a turn before the device is not waited for any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The facts of one group (device.group_of), in the order of the points."""

    facts: tuple[str, ...]


class OnvifSession:
    """A Session that identifies, operates and listens (see drivers.base, drivers.listening)."""

    def __init__(
        self,
        client: HttpClient,
        soap: Soap,
        states: States | None = None,
        *,
        waits_s: float = 20.0,
        first_s: float = 2.0,
    ) -> None:
        self.link = client.link
        self._client = client
        self._host = OnvifHost(soap)
        self._handover = Handover()
        self._happening = Happening(client.counts, OrderedDict() if states is None else states)
        self._listened: dict[str, Listened] = {}
        self._sources: dict[str, int] = {}
        """Number of a video source by its token and by those of its configurations."""
        self._has_clock = False
        self.pull = PullPoint(soap, self._host, self._take, waits_s=waits_s, first_s=first_s)

    @property
    def counts(self) -> WireCount:
        """What went over the link since it was opened."""
        return self._client.counts

    @property
    def dropped(self) -> int:
        """Occurrences that found no room."""
        return self._handover.dropped

    async def close(self) -> None:
        """Ends the subscription and `occurrences`."""
        await self.pull.close()
        await self._handover.close()

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The values of one group. Raises DeviceError, LinkError."""
        await self._know_clock()
        ask: Ask = batch.plan
        try:
            found = await self._host.facts(device, ask.facts)
        except DeviceRefused as error:
            if error.code == 401:
                raise
            return [PointFault(error.status, error.what) for _ in batch.points]
        return [found[fact] for fact in ask.facts]

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Vendor, model, serial number and firmware of the host."""
        await self._know_clock()
        return await self._host.info()

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """`{snapshot: media}` or `{time: sync}`. Raises as CanOperate.operate."""
        await self._know_clock()
        if operation.call == {"snapshot": "media"}:
            return await self._snapshot(device)
        if operation.call == {"time": "sync"}:
            before = await self._host.set_clock()
            left = await self._host.clock()
            if abs(left) > 5:
                raise DeviceMismatch(f"its clock is {left:g} s ahead still after it was set", where=self._where(device))
            return {"before_s": before, "readback": left}
        step = "write call: {snapshot: media} or {time: sync}"
        raise ConfigError("an ONVIF device has no such operation", where=operation.id, next_step=step)

    async def _snapshot(self, device: Address) -> dict[str, Raw]:
        where = self._where(device)
        folder = self.link.http.pictures if self.link.http is not None else ""
        if not folder:
            raise ConfigError("there is no folder for pictures", where=where, next_step="take it through the agent")
        own = of_source(await self._host.media.profiles(), source_number(device))
        if not own:
            raise DeviceRefused("it has no such video source", code=0, status="BadNodeIdUnknown", where=where)
        path = path_of(await self._picture_address(own, where))
        if not path:
            raise DeviceMismatch("the address of its picture is none", where=where)
        reply = await self._client.request("GET", path, limit=_MOST_PICTURE, where=where)
        if not reply.content_type.startswith("image/") or not reply.body:
            raise DeviceMismatch(f"its snapshot is {reply.content_type[:60]!r} and no picture", where=where)
        kept = await asyncio.to_thread(pictures.keep, folder, device.device, reply.body)
        return {"url": kept.path.as_uri(), "sha256": kept.sha256, "expires": kept.expires, "bytes": len(reply.body)}

    async def _picture_address(self, profiles: Sequence[MediaProfile], where: str) -> str:
        """Of the first media profile that has pictures: not each of them has."""
        refused = DeviceRefused("it has no pictures", code=0, status="BadNotSupported", where=where)
        for profile in profiles[:4]:
            try:
                return str(await self._host.media.snapshot_address(profile.token) or "")
            except DeviceRefused as error:
                if error.code == 401:
                    raise
                refused = error
        raise refused

    async def listen(self, device: Listened) -> None:
        """Raises DeviceError when the device gives no pull point, LinkError."""
        await self._know_clock()
        self._listened[device.address.device] = device
        if not device.events:
            return
        if len(self._listened) > 1 and not self._sources:
            everything = await self._host.media.profiles()
            numbers = {token: n for n, token in enumerate(dict.fromkeys(each.source for each in everything), 1)}
            self._sources = numbers | {each.source_configuration: numbers[each.source] for each in everything}
        await self.pull.open()

    async def forget(self, device: Address) -> None:
        """The subscription ends with the last one who listens."""
        self._listened.pop(device.device, None)
        if not any(each.events for each in self._listened.values()):
            await self.pull.close()

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen."""
        return self._handover.turns()

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """The next messages are asked for once the last ones are stored: the device's own queue waits meanwhile."""
        self._handover.stored()

    async def _take(self, body: Mapping[str, Any]) -> None:
        told = [
            occurrence
            for message in messages_of(body)
            if self._happening.is_news(message)
            and (device := self._whose(message)) is not None
            and (occurrence := self._happening.occurrence(device, message)) is not None
        ]
        if told and not await self._handover.deliver(told, _STORED_S):
            self._handover.dropped += len(told)

    def _whose(self, message: Message) -> Listened | None:
        """The device whose video source it is about, else the one that is the whole host (unit 0), else the only one."""
        everyone = [each for each in self._listened.values() if each.events]
        if len(everyone) == 1:
            return everyone[0]
        number = self._sources.get(message.video_source)
        own = next((each for each in everyone if number is not None and source_number(each.address) == number), None)
        return own or next((each for each in everyone if each.address.unit in (0, "0", "")), None)

    async def _know_clock(self) -> None:
        """Before the first login: a device with a wrong clock refuses it otherwise."""
        if not self._has_clock:
            await self._host.learn_clock()
            self._has_clock = True

    def _where(self, device: Address) -> str:
        return f"{device.device} ({self.link.where})" if device.device else self.link.where
