"""An open link of devices that speak as their profile says: asks, hears, writes, operates, and takes no late answer for another.

Two equal questions have equal answers on the wire. So after a question that was not answered in time the device is in doubt: the
line stays quiet for a time limit, then the question is put twice, and only two equal answers are believed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

import structlog

from device_profiles.control import Operation
from device_profiles.credential import CredentialError
from device_profiles.errors import (
    ConfigError,
    DeviceError,
    DeviceMismatch,
    DeviceRefused,
    DeviceTimeout,
    LinkError,
    LinkLost,
)
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Point, StringsField
from device_profiles.strings_codec import Heard, Language, Scalar, StringsError
from drivers.admission import host_of, plain
from drivers.base import Address, Batch, Layout, LinkConfig, Standing, Trace, WireCount
from drivers.listening import Listened, Occurrence

from .channel import Channel
from .planner import Ask, value_of
from .station import Station
from .stream import Decoder, Refused

FORGET_TIMES = 20
"""An answer that is later than so many time limits (and 5 s) does not come any more."""
PAUSE_S = 1.0
"""A beginning of a frame that waited so long for its rest is none."""
_MOST_EVENTS = 10_000
_LOG_S = 60.0
"""Between two log lines about messages that are not understood: each is counted."""
_SINGLE = ("serial", "rtu+tcp", "tcp")
_log = structlog.get_logger("strings")


class StringsSession:
    """A Session that also can write, rehearse, operate and listen (see drivers.base, drivers.listening)."""

    def __init__(self, link: LinkConfig, trace: Trace | None) -> None:
        self.link = link
        self.counts = WireCount()
        self.dropped = 0
        """Events that came faster than they were taken."""
        self._trace = trace
        self._now = asyncio.get_running_loop().time
        self._channel: Channel | None = None
        self._is_single = link.kind in _SINGLE
        self._stations: dict[str, Station] = {}
        self._languages: dict[int, Language] = {}
        self._decoders: dict[tuple[str, int], tuple[Decoder, float]] = {}
        self._pauses: dict[tuple[str, int], asyncio.TimerHandle] = {}
        self._turn = asyncio.Lock()
        """One question at a time is on the wire."""
        self._echo = b""
        self._events: deque[Occurrence] = deque()
        self._happened = asyncio.Event()
        self._lost: LinkError | None = None
        self._logged_at = -_LOG_S

    def attach(self, channel: Channel) -> None:
        """The open wire."""
        self._channel = channel

    def close(self) -> None:
        """Nothing is waited for any more, and `occurrences` ends."""
        for timer in self._pauses.values():
            timer.cancel()
        self.lost(self._lost or LinkLost("the link was closed", where=self.link.id))

    # -- what comes ---------------------------------------------------------------------------------------------------

    def take(self, peer: str, data: bytes) -> None:
        """What a wire brought; b"" ends what waits there (see channel.Take)."""
        self.counts.bytes_in += len(data)
        if self._echo and data:
            data = self._without_echo(data)
        now = self._now()
        for language in self._spoken_at(peer):
            key = (peer, id(language))
            decoder, before = self._decoders.get(key) or (Decoder(language), now)
            self._decoders[key] = (decoder, now)
            if not data:
                self._hear(peer, language, decoder.end(), now)
                continue
            if language.spec.pause_ms is None and now - before > PAUSE_S:
                self._hear(peer, language, decoder.end(), now)
            self._hear(peer, language, decoder.feed(data), now)
            if language.spec.pause_ms is not None:
                self._end_after(key, language.spec.pause_ms / 1000)

    def lost(self, error: LinkError) -> None:
        """The wire is gone."""
        self._lost = error
        self._happened.set()

    def _without_echo(self, data: bytes) -> bytes:
        size = 0
        while size < min(len(data), len(self._echo)) and data[size] == self._echo[size]:
            size += 1
        self._echo = self._echo[size:] if size == len(data) else b""
        return data[size:]

    def _end_after(self, key: tuple[str, int], pause_s: float) -> None:
        if (timer := self._pauses.pop(key, None)) is not None:
            timer.cancel()
        self._pauses[key] = asyncio.get_running_loop().call_later(pause_s, self._pause_over, key)

    def _pause_over(self, key: tuple[str, int]) -> None:
        self._pauses.pop(key, None)
        decoder, _ = self._decoders[key]
        self._hear(key[0], decoder.language, decoder.end(), self._now())

    def _spoken_at(self, peer: str) -> list[Language]:
        return list({id(each.language): each.language for each in self._at(peer)}.values())

    def _at(self, peer: str) -> list[Station]:
        return [
            station for station in self._stations.values() if not peer or plain(host_of(station.address.at)) == peer
        ]

    def _hear(self, peer: str, language: Language, found: Iterable[Heard | Refused], now: float) -> None:
        stations = [station for station in self._at(peer) if station.language is language]
        for item in found:
            if isinstance(item, Refused):
                self.counts.discarded_bytes += item.size
                self._refuse(stations, item.reason, item.shown)
                continue
            if self._trace:
                self._trace("<", item.shown, item.frame)
            for station in stations:
                if station.is_meant(item):
                    self._note(station, item, now)

    def _note(self, station: Station, heard: Heard, now: float) -> None:
        try:
            events = station.take(heard, time.time_ns() // 1_000_000, now)
        except CredentialError as error:
            self._refuse([station], str(error), b"")
            return
        for event in events:
            if len(self._events) >= _MOST_EVENTS:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
            self._happened.set()

    def _refuse(self, stations: Sequence[Station], reason: str, shown: bytes) -> None:
        self.counts.errors[reason] = self.counts.errors.get(reason, 0) + 1
        if self._trace:
            self._trace("!", shown, reason)
        for station in stations:
            station.refused += 1
        now = self._now()
        if now - self._logged_at >= _LOG_S:
            self._logged_at = now
            devices = [station.address.device for station in stations]
            _log.info("a message was not understood", link=self.link.id, devices=devices, reason=reason)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The batch's points: asked for, or as they were heard last."""
        station = self._station(device)
        ask: Ask = batch.plan
        try:
            if ask.request is None:
                return [self._heard_last(station, point) for point in ask.points]
            heard = await self._ask(station, ask.request, {})
        except DeviceRefused as error:
            return [PointFault(error.status, error.what) for _ in batch.points]
        except DeviceError as error:
            raise self._located(error, device) from error
        return [value_of(point, heard) for point in ask.points]

    def _heard_last(self, station: Station, point: Point) -> Raw | Sample | PointFault:
        address = point.address
        assert isinstance(address, StringsField)
        if self._channel is None or not self._channel.is_there(station.address):
            raise DeviceTimeout("it has not dialled in", next_step="check the server address in the device's settings")
        limit, now = station.language.spec.silent_s, self._now()
        if limit is not None and now - (station.heard_at or station.since) > limit:
            raise DeviceTimeout(
                f"nothing was heard of it for {limit:g} s",
                next_step="check its wiring, baud rate and that it has power",
            )
        if address.tally is not None:
            return station.heard if address.tally == "heard" else station.refused
        if address.frame not in station.latest:
            return PointFault("BadWaitingForInitialData", "it was not told since the link was opened")
        heard, t_ms, _ = station.latest[address.frame]
        value = value_of(point, heard)
        return value if isinstance(value, PointFault) else Sample(value, source_time_ms=t_ms)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, station: Station, request: str, values: Mapping[str, Scalar]) -> Heard:
        """Puts a question, and again where an older answer may still come. Raises DeviceError, LinkError."""
        async with self._turn:
            in_doubt = await self._settle(station)
            first = await self._once(station, request, values)
            if not in_doubt:
                return first
            await self._quiet(station)
            second = await self._once(station, request, values)
            if first.raw != second.raw:
                raise DeviceMismatch(
                    "two answers differ, and one of them may be a late one", next_step="nothing: it is asked again"
                )
            station.doubt = None
            return second

    async def _settle(self, station: Station) -> bool:
        """Lets late answers come. True while an answer to an older question may still be taken for one to the next."""
        if station.doubt is None:
            return False
        since, quiet_until = station.doubt
        if (wait := quiet_until - self._now()) > 0:
            await asyncio.sleep(wait)
        if self._now() - since > max(5.0, FORGET_TIMES * self.link.timeout_s):
            station.doubt = None
        return station.doubt is not None

    async def _quiet(self, station: Station) -> None:
        """Waits until no more answers came for a time limit."""
        end = self._now() + FORGET_TIMES * self.link.timeout_s
        while self._now() < end:
            try:
                async with asyncio.timeout(self.link.timeout_s):
                    await station.answers.get()
            except TimeoutError:
                return

    async def _once(self, station: Station, request: str, values: Mapping[str, Scalar]) -> Heard:
        spec = station.language.spec.requests[request]
        limit = spec.timeout_s or self.link.timeout_s
        station.answers = asyncio.Queue(station.answers.maxsize)
        station.waits = frozenset((*spec.answer, *spec.refused))
        given = {"unit": station.address.unit, **values}
        try:
            await self._send(station, request, given)
            async with asyncio.timeout(limit):
                while True:
                    heard = await station.answers.get()
                    if self._belongs(station, request, given, heard):
                        break
        except TimeoutError as error:
            self.counts.timeouts += 1
            self._doubt(station, limit)
            if self._lost is not None:
                raise self._lost from error
            step = "check address, wiring, baud rate and line end; look at the frames with --trace"
            raise DeviceTimeout(f"no answer to {request} within {limit:g} s", next_step=step) from error
        except asyncio.CancelledError:
            self._doubt(station, limit)
            raise
        self.counts.replies += 1
        if heard.frame in spec.refused:
            raise DeviceRefused(
                f"the device says {heard.frame} to {request}", code=0, status="BadDeviceFailure",
                next_step="see what the manual says of it",
            )  # fmt: skip
        return heard

    def _doubt(self, station: Station, limit_s: float) -> None:
        now = self._now()
        station.doubt = (now, now + limit_s)

    def _belongs(self, station: Station, request: str, given: Mapping[str, Scalar], heard: Heard) -> bool:
        """Fields that stand in question and answer must be the same."""
        if heard.frame in station.language.spec.requests[request].refused:
            return True
        asked = {text for kind, text in station.language.spec.requests[request].parts if kind == "field"}
        return all(
            name not in heard.values
            or name == "value"
            or name not in given
            or str(heard.values[name]) == str(given[name])
            for name in asked
            if station.language.spec.requests[request].field(name).check is None
        )

    async def _send(self, station: Station, request: str, values: Mapping[str, Scalar]) -> None:
        if self._lost is not None:
            raise self._lost
        if self._channel is None:
            raise ConfigError("the link is not open", where=self.link.id)
        try:
            data, shown = station.language.build(request, values)
        except StringsError as error:
            raise ConfigError(
                str(error), where=station.address.device, next_step="see the profile's requests"
            ) from error
        if self._trace:
            self._trace(">", shown, request)
        self.counts.requests += 1
        self.counts.bytes_out += len(data)
        self._echo = data if self.link.echo else b""
        await self._channel.send(data, station.address)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Sends the request that sets the point, once. See CanWrite."""
        request, values = self._setting(point, value, priority)
        await self._tell(device, request, values)

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """The request and its bytes; what is secret as `*`."""
        request, values = self._setting(point, value, priority)
        try:
            _, shown = self._station(device).language.build(request, {"unit": device.unit, **values})
        except StringsError as error:
            raise ConfigError(str(error), where=device.device) from error
        return f"{request}: {shown!r}"[:200]

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """What the device says of the point now, or said last."""
        address = point.address
        assert isinstance(address, StringsField)
        [value] = await self.read(device, Batch((point.id,), plan=Ask(address.ask, (point,))))
        return Standing(value)

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """Sends the request that the operation names, with its fields and inputs; gives what the answer says."""
        fields = operation.call.get("fields", {})
        values = {**(fields if isinstance(fields, dict) else {}), **inputs}
        heard = await self._tell(device, str(operation.call.get("request")), values)
        return {} if heard is None else {name: value for name, value in heard.values.items() if name in heard.texts}

    def _setting(self, point: Point, value: Raw | None, priority: int | None) -> tuple[str, dict[str, Scalar]]:
        address = point.address
        chosen = address.setting(value) if isinstance(address, StringsField) and value is not None else None
        if chosen is None or priority is not None:
            what = f"{point.id} has no request for {value!r}" if priority is None else "there are no priorities here"
            raise ConfigError(what, next_step="see set in the profile")
        request, takes_value = chosen
        assert value is not None
        return request, {"value": value} if takes_value else {}

    async def _tell(self, device: Address, request: str, values: Mapping[str, Scalar]) -> Heard | None:
        """A request with an effect: never repeated, and not sent while an older answer may come for its own."""
        station = self._station(device)
        if request not in station.language.spec.requests:
            raise ConfigError(f"its profile has no request {request}", where=device.device, next_step="see its profile")
        try:
            async with self._turn:
                await self._settle(station)
                if station.language.spec.requests[request].answer:
                    return await self._once(station, request, values)
                await self._send(station, request, {"unit": device.unit, **values})
                return None
        except DeviceError as error:
            raise self._located(error, device) from error

    # -- listening ----------------------------------------------------------------------------------------------------

    async def listen(self, device: Listened) -> None:
        """See drivers.listening.CanListen: nothing is asked, so that it always succeeds."""
        self._station(device.address).listened = device

    async def forget(self, device: Address) -> None:
        """See drivers.listening.CanListen."""
        if (station := self._stations.get(device.device)) is not None:
            station.listened = None

    async def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen. Raises LinkError when the wire is gone."""
        while True:
            await self._happened.wait()
            self._happened.clear()
            turn = tuple(self._events)
            self._events.clear()
            if turn:
                yield turn
            if self._lost is not None:
                raise self._lost

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """Such devices keep nothing."""

    # -- devices ------------------------------------------------------------------------------------------------------

    def _station(self, device: Address) -> Station:
        if self._lost is not None:
            raise self._lost
        station = self._stations.get(device.device)
        if station is None or station.address.unit != device.unit or station.language.spec is not device.strings:
            if device.strings is None:
                raise ConfigError("its profile has no strings", where=device.device, next_step="see its profile")
            language = self._languages.setdefault(id(device.strings), Language(device.strings))
            station = self._stations[device.device] = Station(device, language, self._now())
            if self._channel is not None:
                self._channel.expect(device)
        return station

    def _located(self, error: DeviceError, device: Address) -> DeviceError:
        error.where = error.where or (f"{device.device} ({self.link.id})" if device.device else self.link.id)
        return error
