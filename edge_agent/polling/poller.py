"""One poller a link: connects, gives what is due to its workers, and hands readings to the sink.

It owns time on the link; the driver owns bytes and time limits, the normaliser owns meaning. Workers live as long as the link
is open: one, or as many as the session asks devices at the same time; nothing is created per point, and no task per read. Order
of service: commands, people's diagnostics, aligned marks, periodic reads, probes of dead devices, what devices remember.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog

from device_profiles.errors import LinkError, LinkLost
from drivers.base import Address, CanRecall, CanSubscribe, Driver, Layout, LinkConfig, Session
from drivers.listening import CanListen
from edge_agent.clock import Clock
from edge_agent.model import Device
from edge_agent.polling.asked import Asked, AskQueue, Job
from edge_agent.polling.hearing import Events, Hearing
from edge_agent.polling.lanes import Lanes
from edge_agent.polling.listener import Listener
from edge_agent.polling.polled import DOWN_AFTER, Group, Mode, Polled, Sink
from edge_agent.polling.reader import Reader
from edge_agent.polling.recalling import Recaller
from edge_agent.polling.schedule import PROBE_SHARE, Entry
from edge_agent.polling.supervisor import Backoff, Supervisor
from edge_agent.polling.turns import Turns
from gateway.contract.messages import State

SILENT_S = 30.0
"""A socket on which nobody has answered for so long is opened anew: it may be half-open."""
_RECONNECT_FIRST_S, _RECONNECT_LAST_S = 0.5, 30.0
_REPLUG_LAST_S = 4.0
"""A port of this machine costs nothing to try; it is used again within five seconds of being plugged in."""
_IDLE_LOOK_S = 0.1
_LONGEST_REST_S = 60.0
_HUNG_S, _HUNG_IN_PARALLEL_S = 30.0, 600.0
"""Where devices share a slow line behind a router, one may wait for the first requests of many others: that is no hang."""
_NO_LINK = "BadNoCommunication"
_log = structlog.get_logger("poller")

_Result = TypeVar("_Result")


class _Work(NamedTuple):
    """What a worker does next, and the lane that it has for it."""

    lane: str
    doing: Coroutine[Any, Any, None]


class LinkPoller:
    """Polls the devices of one link. `memory` is the kept state by namespace (`polled.NAMESPACES`) and device id."""

    def __init__(
        self,
        link: LinkConfig,
        driver: Driver,
        devices: Sequence[Device],
        *,
        sink: Sink,
        clock: Clock,
        memory: Mapping[str, Mapping[str, Any]],
        events: Events | None = None,
        tz: str = "UTC",
    ) -> None:
        self.link = link
        self._driver = driver
        self._sink = sink
        self._clock = clock
        self._memory = memory
        self._events = events
        self._tz = tz
        self._hearing: Hearing | None = None
        self._turns = Turns(clock)
        self._devices: dict[str, Polled] = {}
        self._asks = AskQueue()
        self._reader: Reader | None = None
        self._lanes: Lanes[Entry[Group]] | None = None
        self._turnstile = asyncio.Lock()
        """Who has it looks for what is next; the other workers wait for it or work."""
        self._resting: asyncio.Future[None] | None = None
        self._probing = 0
        self._lost_ms = 0
        self._trouble = "not connected yet"
        self._busy_s = 0.0
        self._began = clock.monotonic()
        self._connects = 0
        self._workers = 1
        self._hung_after_s = max(_HUNG_IN_PARALLEL_S if link.kind == "bacnet" else _HUNG_S, 20 * link.timeout_s)
        self._reconnect = Backoff(_RECONNECT_FIRST_S, _REPLUG_LAST_S if link.kind == "serial" else _RECONNECT_LAST_S)
        self._supervisor = Supervisor(link.id, self._serve, clock=clock, hung=self._is_hung, broken=self._broke)
        self.replace(devices)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            await self._supervisor.run()
        finally:
            now = self._clock.monotonic()
            for polled in self._devices.values():
                polled.keep(now)
                polled.gaps.keep(now)

    def replace(self, devices: Sequence[Device]) -> None:
        """Takes up another set of devices; those that did not change go on as if nothing had happened."""
        wanted = {device.id: device for device in devices}
        memory = dict(self._memory)
        for device_id, polled in list(self._devices.items()):
            if wanted.get(device_id) == polled.device:
                continue
            memory = _with_memory_of(memory, polled)
            polled.is_gone = True
            self._turns.park(polled)
            self._unsubscribe(polled)
            del self._devices[device_id]
        for device_id, device in wanted.items():
            if device_id in self._devices:
                continue
            tell = self._events.take if self._events is not None else None
            polled = self._devices[device_id] = Polled(device, self._clock, self._sink, memory, tell)
            if device.disabled is not None:
                polled.publish(self._clock.monotonic())
            else:
                self._turns.enter(polled)
        if self._hearing is not None:
            self._hearing.changed()
        self._wake()

    def _unsubscribe(self, polled: Polled) -> None:
        """A device that is not polled any more is told so, when its lane is free; nobody waits for it."""
        if self._reader is not None and polled.subscription is not None and polled.subscription.taken:
            answer = self._asks.add(_unsubscribe, polled.address, is_command=False)
            answer.add_done_callback(lambda done: None if done.cancelled() else done.exception())

    async def ask(self, device_id: str, job: Job[_Result], *, is_command: bool = False) -> _Result:
        """Runs `job` between reads and gives its result; commands go before people's reads, both before everything else.

        Raises LinkLost at once when the link is not open, KeyError for a device that is not here, and whatever the job raises.
        """
        polled = self._devices[device_id]
        if self._reader is None:
            raise LinkLost(
                f"the link is not open: {self._trouble}", where=self.link.id, next_step="look at its cable and peer"
            )
        answer = self._asks.add(job, polled.address, is_command=is_command)
        self._wake()
        return await answer

    def has(self, device_id: str) -> bool:
        """The device is on this link."""
        return device_id in self._devices

    def layout_of(self, device_id: str) -> Layout | None:
        """What was learned of the device so far. Raises KeyError for a device that is not here."""
        return self._devices[device_id].layout

    def heard_ago_s(self, device_id: str, point: str) -> float | None:
        """Seconds since the device last said this point; None when it never did or is not here."""
        polled = self._devices.get(device_id)
        heard_at = polled.heard_at(point) if polled is not None else None
        return None if heard_at is None else max(0.0, self._clock.monotonic() - heard_at)

    def modes_of(self, device_id: str) -> dict[str, Mode]:
        """How each point of a device is kept up to date: `cov`, `polled` or `stale`. Empty for a device that is not here."""
        polled = self._devices.get(device_id)
        return {} if polled is None else polled.modes(self._clock.monotonic())

    def figures(self) -> dict[str, Any]:
        """What the link does: counts since the start, and the share of time it was busy."""
        states = [polled.state for polled in self._devices.values()]
        subscriptions = [polled.subscription for polled in self._devices.values() if polled.subscription is not None]
        told = [self._events.figures(device_id) for device_id in self._devices] if self._events is not None else []
        elapsed = max(1e-9, self._clock.monotonic() - self._began)
        return {
            "state": "open" if self._reader is not None else "closed",
            "trouble": None if self._reader is not None else self._trouble,
            "devices": len(states),
            "down": states.count("down"),
            "reads": self._turns.reads,
            "failed": self._turns.failed,
            "late": self._turns.schedule.late,
            "skipped": self._turns.schedule.skipped,
            "subscribed": sum(len(subscription.taken) for subscription in subscriptions),
            "changes": sum(subscription.changes for subscription in subscriptions),
            "missed": sum(subscription.missed for subscription in subscriptions),
            "events": sum(figures["count"] for figures in told if figures is not None),
            "connects": self._connects,
            "attempts": self._turns.since_answer,
            "crashes": self._supervisor.crashes,
            "busy": round(self._busy_s / elapsed / self._workers, 4),
            "wire": {} if self._reader is None else self._reader.wire(),
        }

    def states(self) -> Iterator[tuple[Device, State]]:
        """How each device is at this moment; the sink hears of it only on a change and once a minute."""
        return ((polled.device, polled.as_state()) for polled in self._devices.values() if polled.is_known)

    # The link.

    async def _serve(self) -> None:
        """Connects and polls, again and again. Ends only by an exception that is a bug."""
        while True:
            try:
                async with self._driver.open(self.link) as session:
                    reader = self._opened(session)
                    await self._poll(reader)
            except LinkError as error:
                _check_cancelled()
                self._lost(error)
            finally:
                self._closed()
            await self._clock.sleep(self._reconnect.next_s())

    def _opened(self, session: Session) -> Reader:
        self._connects += 1
        turns = self._turns
        turns.answered_at = now = self._clock.monotonic()
        turns.schedule.restart(now)
        for polled in self._devices.values():
            turns.afresh(polled)
        lanes: Lanes[Entry[Group]] = Lanes(session)
        self._lanes = lanes
        self._workers, self._probing = lanes.workers, 0
        turns.probes.share = lanes.most_probes if lanes.has_spare_probes else PROBE_SHARE
        self._reader = Reader(session, self._driver, self.link, self._clock, self._interrupt)
        self._log_state("link open")
        return self._reader

    def _closed(self) -> None:
        self._reader = self._hearing = None
        if self._lanes is not None:
            self._turns.put_back(self._lanes.parked())
            self._lanes = None
        self._asks.fail(lambda: LinkLost(f"the link was lost: {self._trouble}", where=self.link.id))

    def _lost(self, error: LinkError) -> None:
        """The link cannot be opened or broke: the third time in a row without a reading between, its devices are down."""
        self._trouble = str(error)
        self._turns.since_answer += 1
        if self._turns.since_answer == 1:
            self._lost_ms = self._clock.wall_ms()
            self._reconnect.reset()
        self._log_state("link lost", reason=str(error), attempts=self._turns.since_answer)
        if self._turns.since_answer >= DOWN_AFTER:
            for polled in self._devices.values():
                polled.down(_NO_LINK, error.what, since_ms=self._lost_ms)

    def _broke(self, is_too_often: bool) -> None:
        self._trouble = "internal error"
        if is_too_often:
            _log.error("the link keeps crashing", link=self.link.id, crashes=self._supervisor.crashes)
            for polled in self._devices.values():
                polled.down("BadInternalError", "internal_error")

    def _is_hung(self) -> bool:
        return self._lanes is not None and self._lanes.longest_s(self._clock.monotonic()) > self._hung_after_s

    def _log_state(self, event: str, **facts: Any) -> None:
        _log.info(event, link=self.link.id, place=self.link.place, **facts)

    # What is next.

    async def _poll(self, reader: Reader) -> None:
        """Runs the workers until the link is lost. Raises LinkError, or what is a bug."""
        lanes = self._lanes
        assert lanes is not None, "the link was opened"
        session = reader.session
        hears = self._events is not None and isinstance(session, CanListen)
        if lanes.workers == 1 and reader.subscriber is None and not hears and not isinstance(session, CanRecall):
            await self._work(reader, lanes)
            return
        try:
            async with asyncio.TaskGroup() as group:
                if reader.subscriber is not None:
                    listener = Listener(reader.subscriber, self._devices, self._clock, self._reports_less)
                    group.create_task(listener.run(), name=f"link {self.link.id} listener")
                if self._events is not None and isinstance(session, CanListen):
                    self._hearing = Hearing(
                        session, self._devices, self._events, self._clock, self._ask_between, self._tz
                    )
                    group.create_task(self._hearing.run(), name=f"link {self.link.id} events")
                if isinstance(session, CanRecall):
                    reader.recaller = Recaller(session, self._clock, self._ask_idle)
                    group.create_task(reader.recaller.run(), name=f"link {self.link.id} recaller")
                for number in range(lanes.workers):
                    group.create_task(self._work(reader, lanes), name=f"link {self.link.id} worker {number}")
        except BaseExceptionGroup as errors:
            raise _first_of(errors) from errors

    async def _ask_idle(self, polled: Polled, step: Callable[[], Awaitable[Any]]) -> Any:
        """Runs a step on the lane of a device when nothing else is due."""
        answer = self._asks.add(lambda session, address: step(), polled.address, is_idle=True)
        self._wake()
        return await answer

    async def _ask_between(self, polled: Polled, step: Callable[[], Awaitable[Any]]) -> Any:
        """Runs a step on the lane of a device, between two reads."""
        answer = self._asks.add(lambda session, address: step(), polled.address)
        self._wake()
        return await answer

    def _reports_less(self, polled: Polled, points: Sequence[str], reason: str) -> None:
        self._turns.lost(polled, points, reason)
        self._wake()

    async def _work(self, reader: Reader, lanes: Lanes[Entry[Group]]) -> None:
        """One worker: waits for the turnstile, takes what is next, does it."""
        clock = self._clock
        while True:
            _check_cancelled()
            async with self._turnstile:
                while isinstance(work := self._next(reader, lanes), float):
                    await self._rest(work)
                lane, doing = work
                before = clock.monotonic()
                lanes.since[lane] = before
            try:
                await doing
            finally:
                self._busy_s += clock.monotonic() - before
                if parked := lanes.free(lane):
                    self._turns.put_back(parked)
                if self._resting is not None:
                    self._wake()

    def _next(self, reader: Reader, lanes: Lanes[Entry[Group]]) -> _Work | float:
        """What can be done now, in the order of service, or for how many seconds there is nothing."""
        clock, schedule, probes = self._clock, self._turns.schedule, self._turns.probes
        asks = self._asks
        asked = asks.pop(lanes.is_free) if asks.commands or asks.diagnostics else None
        if asked is not None:
            return _Work(lanes.of(asked.address), self._serve_one(reader, asked))
        if len(lanes.since) >= lanes.most:
            return _LONGEST_REST_S
        now, utc_ms, marks = clock.monotonic(), 0, schedule.has_marks and clock.quality() != "unsync"
        if marks:
            utc_ms = clock.wall_ms()
        while (entry := schedule.pop(now, utc_ms, marks=marks)) is not None:
            polled = entry.owner.polled
            polled.lane = lane = lanes.of(polled.address)
            if lane not in lanes.since:
                return _Work(lane, self._turns.turn(reader, entry))
            lanes.park(lane, entry)
        idle_s = schedule.wait_s(now, utc_ms, marks=marks)
        if self._probing < lanes.most_probes and len(probes):
            spare_s = _LONGEST_REST_S if lanes.has_spare_probes else idle_s
            dead = probes.pop(now, spare_s, lambda polled: lanes.is_free(polled.address))
            if dead is not None:
                return _Work(lanes.of(dead.address), self._probe(reader, dead))
        asked = asks.pop_idle(lanes.is_free) if asks.idle else None
        if asked is not None:
            return _Work(lanes.of(asked.address), self._serve_one(reader, asked))
        return float(min(idle_s, max(_IDLE_LOOK_S, probes.wait_s(now))))

    def _interrupt(self, polled: Polled) -> Awaitable[None] | None:
        """What goes before the next batch of a device: a command on its lane."""
        lanes, reader = self._lanes, self._reader
        if lanes is None or reader is None:
            return None
        if polled.lane in lanes.since:
            lanes.since[polled.lane] = self._clock.monotonic()
        if not self._asks.commands:
            return None
        asked = self._asks.pop(lambda address: lanes.of(address) == polled.lane, only_commands=True)
        return self._serve_one(reader, asked) if asked is not None else None

    async def _serve_one(self, reader: Reader, asked: Asked) -> None:
        """Runs a job; its error is its asker's, and the poller's too where the link is gone."""
        try:
            error = await asked.serve(reader.session)
            if isinstance(error, LinkError):
                raise error
        finally:
            if not asked.answer.done():
                asked.answer.set_exception(LinkLost("the link ended before the answer", where=self.link.id))

    async def _probe(self, reader: Reader, polled: Polled) -> None:
        """Asks a device that did not answer. Raises LinkLost when nobody at all has answered for long."""
        self._probing += 1
        try:
            has_answered = await self._turns.probe(reader, polled)
        finally:
            self._probing -= 1
        silent_s = self._clock.monotonic() - self._turns.answered_at
        if not has_answered and self.link.kind != "serial" and silent_s > SILENT_S and self._is_silent():
            raise LinkLost(f"nobody answered for {SILENT_S:g} s", where=self.link.id)

    async def _rest(self, seconds: float) -> None:
        """Waits, or until somebody asks for something or a lane is free."""
        if seconds <= 0.0:
            await asyncio.sleep(0)
            return
        self._resting = self._clock.alarm(min(seconds, _LONGEST_REST_S))
        try:
            await self._resting
        finally:
            self._resting = None

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    def _is_silent(self) -> bool:
        """No device of the link answers."""
        return all(polled.state in ("down", "disabled") for polled in self._devices.values())


async def _unsubscribe(session: Session, address: Address) -> None:
    if isinstance(session, CanSubscribe):
        await session.unsubscribe(address)


def _check_cancelled() -> None:
    """Raises CancelledError where this task was cancelled and something on the way took it: a library by wait_for of Python 3.11
    (the result came in the same turn), a TaskGroup of which a member failed at the same time.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the workers: a bug before the loss of the link."""
    leaves = list(_leaves(errors))
    return next((error for error in leaves if not isinstance(error, LinkError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _with_memory_of(memory: Mapping[str, Mapping[str, Any]], polled: Polled) -> dict[str, Mapping[str, Any]]:
    """The kept state with what a replaced device knew last, so that its successor goes on from there."""
    device_id = polled.device.id
    known = {**polled.normalizer.memory(), "layouts": polled.layout, "identity": polled.identity}
    known |= {"heard": polled.gaps.heard_ms, "recalls": list(polled.gaps.open)}
    return {**memory, **{name: {**memory.get(name, {}), device_id: value} for name, value in known.items()}}
