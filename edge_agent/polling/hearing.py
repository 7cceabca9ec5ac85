"""Hears what happens at the devices of one link and hands it to the register: live, and from the devices' memory what was missed.

A device that numbers its records is asked for those after the last one that was told: when the link opens, and whenever a record
comes whose number does not follow. Until it has answered, its live records wait in its own memory. It knows no pseudonym, no time
and no spool: the register does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from typing import Any, Protocol

import structlog

from device_profiles.errors import ConfigError, DeviceError, DeviceRefused
from drivers.listening import CanListen, CanRecallEvents, Occurrence
from edge_agent.clock import Clock
from edge_agent.events.register import Mark
from edge_agent.polling.polled import Polled
from edge_agent.polling.portions import Ask, in_turns
from edge_agent.polling.supervisor import Backoff

_FIRST_S, _LAST_S = 5.0, 300.0
_LOOK_S = 60.0
"""A device that keeps records is asked for the newest so often, if nothing is heard of it: a live record may be lost on the
way.
"""
_MOST_HELD = 100
_WINDOW = 50
"""So many records up to the one told last are read to know it again: others among them are no events."""
_SAME_MS, _ZONE_MS = 2_000, 900_000
_log = structlog.get_logger("events")


class Events(Protocol):
    """The part of the register that is needed here."""

    settle: Callable[[], Awaitable[None]]

    def index_of(self, device_id: str) -> int | None: ...

    def mark_of(self, device_id: str) -> Mark | None: ...

    def begin(self, device_id: str, index: int) -> None: ...

    def replaced(self, device_id: str, before: int, newest: int) -> None: ...

    def overwritten(self, device_id: str, first: int, last: int) -> None: ...

    def take(self, told: Occurrence) -> bool: ...

    def figures(self, device_id: str) -> dict[str, Any] | None: ...


class Hearing:
    """One a session that can listen; `run` until cancelled."""

    def __init__(
        self, session: CanListen, devices: Mapping[str, Polled], events: Events, clock: Clock, ask: Ask, tz: str
    ) -> None:
        self._session = session
        self._recaller = session if isinstance(session, CanRecallEvents) else None
        self._devices = devices
        self._events = events
        self._clock = clock
        self._ask = ask
        self._tz = tz
        self._followers: dict[str, tuple[Polled, asyncio.Task[None]]] = {}
        self._behind: dict[str, asyncio.Event] = {}
        """Set for a device whose memory has to be read."""
        self._held: dict[str, deque[Occurrence]] = {}
        """Live records that came meanwhile; told only if the device turns out to keep none."""
        self._known: set[str] = set()
        """Devices whose memory was found to be the one that was told from."""
        self._changed = asyncio.Event()
        self._changed.set()

    def changed(self) -> None:
        """The link has other devices than before."""
        self._changed.set()

    async def run(self) -> None:
        """Until the session ends. Raises LinkError."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(), name="hear events")
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._follow(group)

    def _follow(self, group: asyncio.TaskGroup) -> None:
        """A task for each device that is listened to; none for those that are gone."""
        for device_id, (polled, task) in list(self._followers.items()):
            if self._devices.get(device_id) is not polled:
                task.cancel()
                del self._followers[device_id]
                self._held.pop(device_id, None)
                self._known.discard(device_id)
                if device_id not in self._devices:
                    group.create_task(self._forget(polled), name=f"forget {device_id}")
        for device_id, polled in self._devices.items():
            if device_id not in self._followers and polled.device.disabled is None:
                self._behind[device_id] = asyncio.Event()
                task = group.create_task(self._attend(polled), name=f"events of {device_id}")
                self._followers[device_id] = polled, task

    async def _forget(self, polled: Polled) -> None:
        with suppress(DeviceError):  # it is gone for us anyway
            await self._session.forget(polled.address)

    async def _attend(self, polled: Polled) -> None:
        """Listens to one device, and reads its memory whenever it is behind. A device that does not answer is tried again."""
        backoff = Backoff(_FIRST_S, _LAST_S)
        is_listening = is_said = False
        device_id, behind = polled.device.id, self._behind[polled.device.id]
        while True:
            try:
                if not is_listening:
                    await self._ask(polled, lambda: self._session.listen(polled.device.listened(self._tz)))
                    is_listening = True
                if self._recaller is None:
                    return
                behind.clear()
                await self._catch_up(self._recaller, polled)
                backoff.reset()
                is_said = False
            except ConfigError as error:
                _log.error("a device cannot be listened to", device=device_id, reason=str(error))
                return
            except DeviceError as error:
                say, is_said = _log.debug if is_said else _log.warning, True
                say("a device's events are not there yet", device=device_id, reason=str(error))
                is_listening = False  # it may have been started anew, and tell nobody
                self._known.discard(device_id)  # or exchanged
                await self._clock.sleep(backoff.next_s())
                continue
            await self._until_behind(behind)

    async def _until_behind(self, behind: asyncio.Event) -> None:
        """Until something is missing, or it is time to look."""
        alarm = self._clock.alarm(_LOOK_S)
        waiting = asyncio.ensure_future(behind.wait())
        try:
            await asyncio.wait((alarm, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            alarm.cancel()

    async def _catch_up(self, session: CanRecallEvents, polled: Polled) -> None:
        """Tells what the device keeps beyond what was told. Raises DeviceError, LinkError."""
        device_id, events = polled.device.id, self._events
        before = events.index_of(device_id)  # more may be told while it answers
        try:
            kept = await self._ask(polled, lambda: session.kept(polled.address))
        except DeviceRefused as error:
            _log.debug("a device does not let its records be read", device=device_id, reason=str(error))
            kept = None
        held = self._held.pop(device_id, ())
        told = events.index_of(device_id)
        if told is None:
            events.begin(device_id, kept[1] if kept is not None else 0)
            await events.settle()
            return
        if kept is None:
            if sum(map(events.take, held)):
                await events.settle()
            return
        oldest, newest = kept
        is_new = before is not None and newest < before
        if not is_new and oldest <= told < newest and device_id not in self._known:
            is_new = await self._is_another(session, polled, oldest)
        self._known.add(device_id)
        if is_new:
            _log.warning("a device's records begin anew", device=device_id, told=told, newest=newest)
            events.replaced(device_id, told, newest)
            events.begin(device_id, oldest - 1)
            told = oldest - 1
        elif newest <= told:
            return
        elif oldest > told + 1 and told:
            events.overwritten(device_id, told + 1, oldest - 1)
        count = 0
        async with aclosing(in_turns(self._ask, polled, session.recall_events(polled.address, told))) as portions:
            async for portion in portions:
                count += sum(map(events.take, portion))
                await events.settle()
        if newest > (events.index_of(device_id) or 0):
            events.begin(device_id, newest)  # the last ones were no events: logins, restarts
        if count:
            _log.info("events were read from a device's memory", device=device_id, count=count)

    async def _is_another(self, session: CanRecallEvents, polled: Polled, oldest: int) -> bool:
        """The memory is not the one that was told from: it was wiped, and has filled beyond the record told last while nobody
        looked. False where that cannot be said. Raises DeviceError, LinkError.
        """
        mark = self._events.mark_of(polled.device.id)
        if mark is None or mark.number < oldest:
            return False
        recalled = session.recall_events(polled.address, max(oldest - 1, mark.number - _WINDOW))
        last: Occurrence | None = None
        async with aclosing(in_turns(self._ask, polled, recalled)) as portions:
            async for portion in portions:
                last = next((one for one in reversed(portion) if (one.index or 0) <= mark.number), last)
                if (portion[-1].index or 0) >= mark.number:
                    break
        return last is not None and _replaces(last, mark)

    async def _hear(self) -> None:
        async for turn in self._session.occurrences():
            self._take(turn)
            await self._events.settle()
            self._session.stored(turn)

    def _take(self, turn: Iterable[Occurrence]) -> None:
        for told in turn:
            if told.device not in self._devices:
                continue
            behind = self._behind.get(told.device)
            if self._recaller is not None and told.index is not None and behind is not None:
                last = self._events.index_of(told.device)
                if last is None:  # first contact: from here on everything is told
                    last = told.index - 1
                    self._events.begin(told.device, last)
                if behind.is_set() or told.index > last + 1:
                    behind.set()  # the device keeps it: it is read in its turn, after those before it
                    self._held.setdefault(told.device, deque(maxlen=_MOST_HELD)).append(told)
                    continue
            self._events.take(told)


def _replaces(last: Occurrence, mark: Mark) -> bool:
    """`last`, the last event up to the number of `mark`, is another one than was told. Where a driver's keys say no time, it is a
    later one, and not by whole zones of a clock: within one memory no record is later than one above it.
    """
    if last.index == mark.number and last.key != mark.key:
        return True
    if last.t_ms is None or mark.t_ms is None:
        return False
    later_ms = last.t_ms - mark.t_ms
    return later_ms > _SAME_MS and _SAME_MS < later_ms % _ZONE_MS < _ZONE_MS - _SAME_MS
