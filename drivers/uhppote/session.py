"""An open link of UHPPOTE boards: reads points, hears and recalls their records, opens doors, sets clocks.

The boards' own mark of what was downloaded (the event index) is never touched, and another program's listener is left in place
unless the device's option `listener` says `take`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog

from device_profiles.address import Uhppote
from device_profiles.control import Operation
from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused
from device_profiles.reading import PointFault, Raw, Sample
from drivers.base import Address, Batch, Layout, LinkConfig, Trace, WireCount
from drivers.handover import Handover
from drivers.listening import Listened, Occurrence
from drivers.udp_port import place_of

from . import frame, operations
from .boards import Boards, serial_of
from .frame import Frame, Function, Record, Status
from .planner import Ask
from .records import occurrence_of

_log = structlog.get_logger("uhppote")
_JUST_NOW_S = 10
_PORTION = 50
"""Records of one portion of a recall."""


class UhppoteSession:
    """See drivers.base and drivers.listening: reads, is parallel, identifies, operates, listens and recalls."""

    def __init__(self, link: LinkConfig, trace: Trace | None, wall: Callable[[], float] = time.time) -> None:
        self.link = link
        self.boards = Boards(link, self._heard, trace)
        self._wall = wall
        self._way = Handover()
        self._listened: dict[int, Listened] = {}
        self._told: dict[int, str] = {}
        """The key of the newest record that was told, by board."""
        self._taken: set[int] = set()
        """Boards whose listener we have set."""
        self._sending: set[asyncio.Task[bool]] = set()

    @property
    def counts(self) -> WireCount:
        """What went over the port since it was opened."""
        return self.boards.port.counts

    @property
    def dropped(self) -> int:
        """Records that were heard and did not fit; they are recalled."""
        return self._way.dropped

    @property
    def parallel(self) -> int:
        return 16

    def lane(self, device: Address) -> str:
        return str(device.unit)

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The values of the batch. Raises DeviceTimeout, DeviceMismatch, LinkLost."""
        self.boards.port.admission.expect(device)
        ask: Ask = batch.plan
        if ask.kind == "status":
            status = await self._status(device)
            return [self._of_status(one, status, device) for one in ask.wanted]
        if ask.kind == "door":
            found = await self.boards.ask(device, Function.GET_DOOR, bytes((ask.door,)))
            _is_of_door(found, ask.door, device)
            return [found.byte(9 if one.board == "mode" else 10) for one in ask.wanted]
        if ask.kind == "cards":
            return [(await self.boards.ask(device, Function.GET_CARDS)).number(8) for _ in ask.wanted]
        kept = await self.kept(device)
        count = 0 if kept is None else kept[1] - kept[0] + 1
        return [count if one.board == "records" else 0 if kept is None else kept[1] for one in ask.wanted]

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Serial number, version and MAC address. Raises DeviceTimeout, LinkLost."""
        self.boards.port.admission.expect(device)
        return frame.facts_of(await self.boards.ask(device, Function.GET_DEVICE))

    async def find(self, within_s: float) -> AsyncIterator[Mapping[str, str]]:
        """Every board that answers to a broadcast, once, with the address that it answered from."""
        seen: set[int] = set()
        async for found, (host, port) in self.boards.find(within_s):
            if found.serial not in seen:
                seen.add(found.serial)
                yield {**frame.facts_of(found), "at": host if port == frame.PORT else f"{host}:{port}"}

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """See drivers.uhppote.operations."""
        self.boards.port.admission.expect(device)
        now = datetime.fromtimestamp(self._wall(), UTC).astimezone(self._zone(device))
        return await operations.operate(self.boards, device, operation, inputs, now)

    async def listen(self, device: Listened) -> None:
        """Asks the board to tell its records to us, where nobody else is told. Raises DeviceTimeout, DeviceRefused, LinkLost."""
        address, serial = device.address, serial_of(device.address)
        self.boards.port.admission.expect(address)
        self._listened[serial] = device
        host, port, every_s = frame.listener_of(await self.boards.ask(address, Function.GET_LISTENER))
        ours = self._own_place(address)
        policy = address.options.get("listener", "free")
        if (host, port) == ours or policy == "leave":
            return
        if host != "0.0.0.0" and port and policy != "take":
            _log.warning(
                "another program hears this board", device=address.device, listener=f"{host}:{port}",
                next_step="its records are read from its memory instead; set option listener: take to be told at once",
            )  # fmt: skip
            return
        body = frame.listener_body(*ours, every_s)
        if (await self.boards.ask(address, Function.SET_LISTENER, body)).byte(8) != 1:
            raise DeviceRefused(
                f"the board did not take {ours[0]}:{ours[1]} as its listener",
                code=0,
                status="BadNotSupported",
                where=address.device,
                next_step="set option listener: leave, so that its memory is read instead",
            )
        self._taken.add(serial)

    async def forget(self, device: Address) -> None:
        """The board tells nobody any more, where we had asked it to."""
        serial = serial_of(device)
        self._listened.pop(serial, None)
        self._told.pop(serial, None)
        if serial in self._taken:
            self._taken.discard(serial)
            with contextlib.suppress(DeviceError):  # it is gone: what it tells is refused as a stranger's
                await self.boards.ask(device, Function.SET_LISTENER, frame.listener_body("0.0.0.0", 0))
        self.boards.port.admission.forget(device)

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanListen."""
        return self._way.turns()

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """Nothing is told to the boards: they overwrite their oldest records themselves."""
        self._way.stored()

    async def kept(self, device: Address) -> tuple[int, int] | None:
        """(oldest, newest) index. Numbers that began anew while older ones are still there count from 1. Raises DeviceTimeout,
        LinkLost.
        """
        oldest = frame.record_of(await self.boards.ask(device, Function.GET_EVENT, (0).to_bytes(4, "little")))
        newest = frame.record_of(await self.boards.ask(device, Function.GET_EVENT, frame.NEWEST.to_bytes(4, "little")))
        if not newest.index or not newest.kind:
            return None
        return (oldest.index if 0 < oldest.index <= newest.index else 1), newest.index

    async def recall_events(self, device: Address, after: int) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanRecallEvents. One question a record; those overwritten meanwhile are passed over."""
        listened = self._listened.get(serial_of(device))
        kept = await self.kept(device)
        if listened is None or kept is None:
            return
        portion: list[Occurrence] = []
        for index in range(max(after + 1, kept[0]), kept[1] + 1):
            record = frame.record_of(await self.boards.ask(device, Function.GET_EVENT, index.to_bytes(4, "little")))
            told = occurrence_of(record, listened, from_memory=True) if record.index == index else None
            if told is not None:
                portion.append(told)
            if len(portion) >= _PORTION:
                yield portion
                portion = []
        if portion:
            yield portion

    async def _status(self, device: Address) -> Status:
        return frame.status_of(await self.boards.ask(device, Function.GET_STATUS))

    def _of_status(self, one: Uhppote, status: Status, device: Address) -> Raw | PointFault:
        door = (one.door or 1) - 1
        drawn = bool(status.relays >> door & 1)
        if one.board == "clock":
            if status.clock is None:
                return PointFault("BadDecodingError", "the board's clock has no time")
            return round(status.clock.replace(tzinfo=self._zone(device)).timestamp() - self._wall(), 1) + 0.0
        values: dict[str, Raw] = {
            "online": True, "door_open": status.doors_open[door], "button": status.buttons[door], "unlocked": drawn,
            "locked": not drawn, "error": status.error, "special": status.special, "inputs": status.inputs,
        }  # fmt: skip
        return values[one.board]

    def _heard(self, found: Frame, host: str) -> None:
        """A status, asked for or not: its newest record is told when it was not told yet."""
        listened = self._listened.get(found.serial)
        if listened is None:
            if not self.boards.is_known(found.serial):
                self.boards.port.admission.stranger(str(found.serial), host)
            return
        found_at = self.boards.place_of(found.serial)
        is_at_home = found_at is None or found_at[0] == host
        if not self.boards.port.admission.is_at(listened.address, host) or not (listened.address.at or is_at_home):
            self.boards.port.admission.refuse("foreign_address", host)
            return
        status = frame.status_of(found)
        record = status.record
        told = None if record is None else occurrence_of(record, listened, from_memory=_is_old(record, status))
        if told is None or self._told.get(found.serial) == told.key:
            return
        self._told[found.serial] = told.key
        task = asyncio.get_running_loop().create_task(self._way.offer([told]), name=f"record {told.device}")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _own_place(self, device: Address) -> tuple[str, int]:
        """Where a board reaches us."""
        host, port = self.boards.port.own
        if host != "0.0.0.0":
            return host, port
        peer = place_of(device.at, frame.PORT, device.device) if device.at else self.boards.place_of(serial_of(device))
        if peer is None:
            raise DeviceError("it is not known where the board is", where=device.device, next_step="give at:")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)  # sends nothing: asks the routing table which of our addresses leads there
            return str(probe.getsockname()[0]), port

    def _zone(self, device: Address) -> ZoneInfo:
        return ZoneInfo(device.tz or "UTC")

    async def close(self) -> None:
        await self._way.close()
        await asyncio.gather(*self._sending, return_exceptions=True)


def _is_old(record: Record, status: Status) -> bool:
    """By the board's own clock: a status that was asked for has the newest record in it, however long ago that was."""
    return record.at is None or status.clock is None or abs((status.clock - record.at).total_seconds()) > _JUST_NOW_S


def _is_of_door(found: Frame, door: int, device: Address) -> None:
    if found.byte(8) != door:
        raise DeviceMismatch(f"the answer is for door {found.byte(8)}, not {door}", where=device.device)


@asynccontextmanager
async def open_session(link: LinkConfig, trace: Trace | None) -> AsyncIterator[UhppoteSession]:
    """Binds the port, and closes it at the end. Raises LinkRefused, ConfigError."""
    session = UhppoteSession(link, trace)
    await session.boards.port.open()
    try:
        yield session
    finally:
        await session.close()
        await session.boards.port.close()
