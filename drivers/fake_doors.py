"""Door controllers without hardware, for tests of everything above the drivers: they tell what happens, and keep it by index."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from device_profiles.errors import DeviceTimeout, LinkLost

from .base import Address, LinkConfig, Trace
from .fake import FakeDevice, FakeDriver, FakeSession
from .listening import Listened, Occurrence


class FakeDoors(FakeDriver):
    """Doors by unit. `records` are what each keeps, oldest first; they outlive sessions. A unit in `deaf` does not answer."""

    def __init__(
        self,
        devices: Mapping[int | str, FakeDevice] | None = None,
        *,
        room: int = 1000,
        portion: int = 100,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(devices, sleep=sleep)
        self.room = room
        """Occurrences that wait for their reader; what does not fit is only in the memory."""
        self.portion = portion
        self.records: dict[int | str, list[Occurrence]] = {}
        self.deaf: set[int | str] = set()
        self.listened: list[Listened] = []
        self.stored: list[Occurrence] = []
        self.recalls: list[tuple[int | str, int]] = []
        """(unit, after) of each recall."""
        self.session: DoorSession | None = None

    def happens(self, unit: int | str, told: Occurrence, *, is_heard: bool = True) -> Occurrence:
        """Something happens: it is kept under the next index, and told live unless it gets lost on the way."""
        kept = self.records.setdefault(unit, [])
        told = replace(told, index=(kept[-1].index or 0) + 1 if kept else 1)
        kept.append(told)
        if is_heard and self.session is not None:
            self.session.arrive(unit, told)
        return told

    def open(self, link: LinkConfig, trace: Trace | None = None) -> AbstractAsyncContextManager[DoorSession]:
        """Raises `refuse` when it is set."""
        return self._open_doors(link)

    @asynccontextmanager
    async def _open_doors(self, link: LinkConfig) -> AsyncIterator[DoorSession]:
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self.is_open = True
        self.session = DoorSession(self, link)
        try:
            yield self.session
        finally:
            self.is_open = False
            self.session.close()
            self.session = None


class DoorSession(FakeSession):
    """See drivers.listening."""

    def __init__(self, doors: FakeDoors, link: LinkConfig) -> None:
        super().__init__(doors, link)
        self._doors = doors
        self._place = link.id
        self._ids: dict[int | str, str] = {}
        self._waiting: deque[Occurrence] = deque()
        self._has_some = asyncio.Event()
        self._is_closed = False
        self.dropped = 0

    async def listen(self, device: Listened) -> None:
        """Notes who is listened to. Raises DeviceTimeout for a deaf unit."""
        self._reach(device.address)
        self._doors.listened.append(device)
        self._ids[device.address.unit] = device.address.device

    async def forget(self, device: Address) -> None:
        self._ids.pop(device.unit, None)

    async def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """What arrived, until the session ends."""
        while not self._is_closed:
            await self._has_some.wait()
            self._has_some.clear()
            turn = tuple(self._waiting)
            self._waiting.clear()
            if turn:
                yield turn

    def stored(self, turn: Sequence[Occurrence]) -> None:
        self._doors.stored += turn

    async def kept(self, device: Address) -> tuple[int, int] | None:
        """See drivers.listening.CanRecallEvents."""
        self._reach(device)
        records = self._doors.records.get(device.unit)
        return (records[0].index or 0, records[-1].index or 0) if records else None

    async def recall_events(self, device: Address, after: int) -> AsyncIterator[Sequence[Occurrence]]:
        """See drivers.listening.CanRecallEvents."""
        self._doors.recalls.append((device.unit, after))
        while True:
            self._reach(device)
            kept = self._doors.records.get(device.unit, ())
            found = [told for told in kept if (told.index or 0) > after][: self._doors.portion]
            if not found:
                return
            after = found[-1].index or 0
            yield [replace(told, device=device.device, from_memory=True) for told in found]

    def arrive(self, unit: int | str, told: Occurrence) -> None:
        """A live record comes in."""
        if unit not in self._ids:
            return
        if len(self._waiting) >= self._doors.room:
            self.dropped += 1
            return
        self._waiting.append(replace(told, device=self._ids[unit]))
        self._has_some.set()

    def close(self) -> None:
        """Ends `occurrences`."""
        self._is_closed = True
        self._has_some.set()

    def _reach(self, device: Address) -> None:
        if not self._doors.is_open:
            raise LinkLost("the link was closed", where=self._place)
        if device.unit in self._doors.deaf:
            raise DeviceTimeout("no answer", where=f"{self._place}, door {device.unit}")
