"""One poller a link: connects, reads what is due, finds out who does not answer, and hands readings to the sink.

It owns time on the link; the driver owns bytes and time limits, the normaliser owns meaning. One task reads, batch after batch;
nothing is created per point, and no task per read. Order of service: commands, people's diagnostics, aligned marks, periodic
reads, probes of dead devices.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from device_profiles.errors import ConfigError, DeviceError, LinkError, LinkLost, PlantroomError
from drivers.base import Address, Driver, Layout, LinkConfig, Session
from edge_agent.clock import Clock
from edge_agent.model import Device
from edge_agent.polled import DOWN_AFTER, Group, Polled, Sink
from edge_agent.reader import Outcome, Reader
from edge_agent.schedule import Entry, Probes, Schedule
from edge_agent.supervisor import Backoff, Supervisor
from gateway.contract.messages import State

SILENT_S = 30.0
"""A socket on which nobody has answered for so long is opened anew: it may be half-open."""
_RECONNECT_FIRST_S, _RECONNECT_LAST_S = 0.5, 30.0
_REPLUG_LAST_S = 4.0
"""A port of this machine costs nothing to try; it is used again within five seconds of being plugged in."""
_IDLE_LOOK_S = 0.1
_HUNG_S = 30.0
_NO_LINK = "BadNoCommunication"
_log = structlog.get_logger("poller")

_Result = TypeVar("_Result")
Job = Callable[[Session, Address], Awaitable[_Result]]
"""Something to do on the open link between two reads: a command, or a person's one-off read."""


@dataclass(frozen=True, slots=True)
class _Asked:
    job: Job[Any]
    address: Address
    answer: asyncio.Future[Any]


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
    ) -> None:
        self.link = link
        self._driver = driver
        self._sink = sink
        self._clock = clock
        self._memory = memory
        self._schedule: Schedule[Group] = Schedule()
        self._probes: Probes[Polled] = Probes(clock.monotonic())
        self._devices: dict[str, Polled] = {}
        self._commands: deque[_Asked] = deque()
        self._diagnostics: deque[_Asked] = deque()
        self._reader: Reader | None = None
        self._resting: asyncio.Future[None] | None = None
        self._busy_since: float | None = None
        self._answered_at = clock.monotonic()
        self._attempts = 0
        self._lost_ms = 0
        self._trouble = "not connected yet"
        self._busy_s = 0.0
        self._began = clock.monotonic()
        self._reads = 0
        self._failed = 0
        self._connects = 0
        self._hung_after_s = max(_HUNG_S, 20 * link.timeout_s)
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

    def replace(self, devices: Sequence[Device]) -> None:
        """Takes up another set of devices; those that did not change go on as if nothing had happened."""
        wanted = {device.id: device for device in devices}
        memory = dict(self._memory)
        for device_id, polled in list(self._devices.items()):
            if wanted.get(device_id) == polled.device:
                continue
            memory = _with_memory_of(memory, polled)
            polled.is_gone = True
            self._park(polled)
            del self._devices[device_id]
        for device_id, device in wanted.items():
            if device_id in self._devices:
                continue
            polled = self._devices[device_id] = Polled(device, self._clock, self._sink, memory)
            if device.disabled is not None:
                polled.publish(self._clock.monotonic())
            else:
                self._enter(polled)
        self._wake()

    async def ask(self, device_id: str, job: Job[_Result], *, is_command: bool = False) -> _Result:
        """Runs `job` between reads and gives its result; commands go before people's reads, both before everything else.

        Raises LinkLost at once when the link is not open, KeyError for a device that is not here, and whatever the job raises.
        """
        polled = self._devices[device_id]
        if self._reader is None:
            raise LinkLost(
                f"the link is not open: {self._trouble}", where=self.link.id, next_step="look at its cable and peer"
            )
        answer: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        queue = self._commands if is_command else self._diagnostics
        queue.append(_Asked(job, polled.address, answer))
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

    def figures(self) -> dict[str, Any]:
        """What the link does: counts since the start, and the share of time it was busy."""
        states = [polled.state for polled in self._devices.values()]
        elapsed = max(1e-9, self._clock.monotonic() - self._began)
        return {
            "state": "open" if self._reader is not None else "closed",
            "trouble": None if self._reader is not None else self._trouble,
            "devices": len(states),
            "down": states.count("down"),
            "reads": self._reads,
            "failed": self._failed,
            "late": self._schedule.late,
            "skipped": self._schedule.skipped,
            "connects": self._connects,
            "attempts": self._attempts,
            "crashes": self._supervisor.crashes,
            "busy": round(self._busy_s / elapsed, 4),
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
                    await self._poll(self._opened(session))
            except LinkError as error:
                self._lost(error)
            finally:
                self._closed()
            await self._clock.sleep(self._reconnect.next_s())

    def _opened(self, session: Session) -> Reader:
        self._connects += 1
        self._answered_at = now = self._clock.monotonic()
        self._schedule.restart(now)
        self._reader = Reader(session, self._driver, self.link, self._clock, self._interrupt)
        self._log_state("link open")
        return self._reader

    def _closed(self) -> None:
        self._reader = None
        self._busy_since = None
        for asked in (*self._commands, *self._diagnostics):
            if not asked.answer.done():
                asked.answer.set_exception(LinkLost(f"the link was lost: {self._trouble}", where=self.link.id))
        self._commands.clear()
        self._diagnostics.clear()

    def _lost(self, error: LinkError) -> None:
        """The link cannot be opened or broke: the third time in a row without a reading between, its devices are down."""
        self._trouble = str(error)
        self._attempts += 1
        if self._attempts == 1:
            self._lost_ms = self._clock.wall_ms()
        self._log_state("link lost", reason=str(error), attempts=self._attempts)
        if self._attempts >= DOWN_AFTER:
            for polled in self._devices.values():
                polled.down(_NO_LINK, error.what, since_ms=self._lost_ms)

    def _broke(self, is_too_often: bool) -> None:
        self._trouble = "internal error"
        if is_too_often:
            _log.error("the link keeps crashing", link=self.link.id, crashes=self._supervisor.crashes)
            for polled in self._devices.values():
                polled.down("BadInternalError", "internal_error")

    def _is_hung(self) -> bool:
        return self._busy_since is not None and self._clock.monotonic() - self._busy_since > self._hung_after_s

    def _log_state(self, event: str, **facts: Any) -> None:
        _log.info(event, link=self.link.id, place=self.link.place, **facts)

    # What is next.

    async def _poll(self, reader: Reader) -> None:
        clock, schedule = self._clock, self._schedule
        while True:
            if self._commands or self._diagnostics:
                await self._serve_one(self._commands or self._diagnostics)
                continue
            now, utc_ms, marks = clock.monotonic(), 0, schedule.has_marks and clock.quality() != "unsync"
            if marks:
                utc_ms = clock.wall_ms()
            entry = schedule.pop(now, utc_ms, marks=marks)
            if entry is not None:
                await self._turn(reader, entry)
                continue
            idle_s = schedule.wait_s(now, utc_ms, marks=marks)
            polled = self._probes.pop(now, idle_s)
            if polled is not None:
                await self._probe(reader, polled)
            else:
                await self._rest(min(idle_s, max(_IDLE_LOOK_S, self._probes.wait_s(now))))

    def _interrupt(self) -> Awaitable[None] | None:
        """What goes before the next batch: a command."""
        self._busy_since = self._clock.monotonic()
        return self._serve_one(self._commands) if self._commands else None

    async def _serve_one(self, queue: deque[_Asked]) -> None:
        """Runs the oldest job; its error is its asker's, and the poller's too where the link is gone."""
        asked = queue.popleft()
        if asked.answer.done() or self._reader is None:
            return
        self._busy_since = self._clock.monotonic()
        try:
            result = await asked.job(self._reader.session, asked.address)
        except PlantroomError as error:
            if not asked.answer.done():
                asked.answer.set_exception(error)
            if isinstance(error, LinkError):
                raise
        else:
            if not asked.answer.done():
                asked.answer.set_result(result)
        finally:
            self._busy_since = None
            if not asked.answer.done():
                asked.answer.set_exception(LinkLost("the link ended before the answer", where=self.link.id))

    async def _rest(self, seconds: float) -> None:
        """Waits, or until somebody asks for something."""
        if seconds <= 0.0:
            await asyncio.sleep(0)
            return
        self._resting = self._clock.alarm(min(seconds, 60.0))
        try:
            await self._resting
        finally:
            self._resting = None

    def _wake(self) -> None:
        if self._resting is not None and not self._resting.done():
            self._resting.set_result(None)

    def _enter(self, polled: Polled) -> None:
        """Puts a device's reads into the schedule, all due now."""
        for group in polled.groups:
            self._enter_group(group)
        if polled.params is not None and polled.params.batches:
            self._enter_group(polled.params)

    def _enter_group(self, group: Group) -> None:
        if group.is_aligned:
            group.entry = self._schedule.add_aligned(group, int(group.period_s), self._clock.monotonic())
        else:
            group.entry = self._schedule.add(group, group.polled.device.id, group.period_s, self._clock.monotonic())

    def _park(self, polled: Polled) -> None:
        """Takes a device's reads out of the schedule and the probes."""
        for group in (*polled.groups, *((polled.params,) if polled.params else ())):
            if group.entry is not None:
                self._schedule.remove(group.entry)
                group.entry = None
        self._probes.remove(polled)

    # Reading.

    async def _turn(self, reader: Reader, entry: Entry[Group]) -> None:
        """One read of one group, and what follows from how it went."""
        group = entry.owner
        polled = group.polled
        before = self._busy_since = self._clock.monotonic()
        is_over = entry.mark_ms is None
        try:
            if not polled.is_planned and not await self._prepare(reader, polled):
                return
            if group.is_params:
                await reader.read_params(group)
            elif entry.is_alive:
                outcome = await reader.read(group, entry)
                self._answered(polled, outcome)
                group.heard_at = outcome.at
                group.missing = outcome.missing
                is_over = not outcome.missing
        except DeviceError as error:
            self._missed(polled, error)
        finally:
            self._busy_since = None
            now = self._clock.monotonic()
            self._busy_s += now - before
            if is_over or not self._schedule.retry(entry, now):
                group.missing = ()
                self._schedule.done(entry, now, self._clock.wall_ms() if entry.align_ms else 0)

    async def _prepare(self, reader: Reader, polled: Polled) -> bool:
        """Gets a device ready to be read. False when it cannot be read as it is described."""
        for group in polled.groups:
            if group.is_suspect and group.entry is not None:
                self._schedule.remove(group.entry)
        try:
            await reader.prepare(polled)
        except ConfigError as error:
            _log.error("a device cannot be read", device=polled.device.id, reason=str(error))
            polled.down("BadConfigurationError", error.what)
            self._park(polled)
            return False
        for group in (*polled.groups, *((polled.params,) if polled.params else ())):
            if group.entry is None:
                self._enter_group(group)
        return True

    def _answered(self, polled: Polled, outcome: Outcome) -> None:
        self._reads += 1
        self._attempts = 0
        self._answered_at = outcome.at
        self._reconnect.reset()
        if polled.answered(outcome.at, outcome.t_ms, outcome.rtt_s, outcome.status):
            _log.info("a device is back", device=polled.device.id)
        if polled in self._probes:
            self._probes.remove(polled)

    def _missed(self, polled: Polled, error: DeviceError) -> None:
        self._failed += 1
        if polled.missed(error.status, error.what):
            _log.info("a device is down", device=polled.device.id, reason=str(error))
        if polled.state == "down":
            self._park(polled)
        if not polled.is_gone:
            self._probes.add(polled, self._clock.monotonic())

    async def _probe(self, reader: Reader, polled: Polled) -> None:
        """Asks a device that did not answer; an answer brings all of its reads back."""
        before = self._busy_since = self._clock.monotonic()
        try:
            if polled.is_planned or await self._prepare(reader, polled):
                await reader.probe(polled)
        except DeviceError as error:
            self._missed(polled, error)
            now = self._clock.monotonic()
            self._probes.done(polled, now, now - before)
            if self.link.kind != "serial" and now - self._answered_at > SILENT_S and self._is_silent():
                raise LinkLost(f"nobody answered for {SILENT_S:g} s", where=self.link.id) from error
            return
        finally:
            self._busy_since = None
            self._busy_s += self._clock.monotonic() - before
        self._probes.remove(polled)
        if polled.is_gone:
            return
        if polled.state == "down":
            self._park(polled)
            self._enter(polled)
        else:
            self._hasten(polled)

    def _hasten(self, polled: Polled) -> None:
        """What a device just did not say is asked for at once: its heartbeat slot may not be left empty."""
        now = self._clock.monotonic()
        for group in polled.groups:
            if group.entry is not None and not group.is_aligned:
                group.entry = self._schedule.hasten(group.entry, now)

    def _is_silent(self) -> bool:
        """No device of the link answers."""
        return all(polled.state in ("down", "disabled") for polled in self._devices.values())


def _with_memory_of(memory: Mapping[str, Mapping[str, Any]], polled: Polled) -> dict[str, Mapping[str, Any]]:
    """The kept state with what a replaced device knew last, so that its successor goes on from there."""
    device_id = polled.device.id
    known = {**polled.normalizer.memory(), "layouts": polled.layout, "identity": polled.identity}
    return {**memory, **{name: {**memory.get(name, {}), device_id: value} for name, value in known.items()}}
