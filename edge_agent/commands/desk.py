"""What every operation needs of the command path: steps journalled, answered and audited, a point found, its turn kept.

Knows no operation. `Plant` is the site as far as commands reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
import structlog

from device_profiles.errors import CommandRefused, StoreUnavailable
from device_profiles.schema import Point
from edge_agent.clock import Clock
from edge_agent.commands.act import Target
from edge_agent.commands.book import Answer, Hold, Record, Step
from edge_agent.commands.journal import Journal
from edge_agent.commands.outbox import Outbox
from edge_agent.model import Device
from gateway.contract import messages
from gateway.contract.messages import CommandResult

_T = TypeVar("_T")
ANSWER_KEPT_MS = 24 * 3_600_000
_log = structlog.get_logger("commands")


class Plant(Protocol):
    """The devices of this agent."""

    def device(self, device_id: str) -> Device | None: ...

    def target(self, device: Device, point: Point) -> Target:
        """The way to a point of a device. Raises CommandRefused where there is none."""
        ...

    def is_down(self, device_id: str) -> str | None:
        """Why the device is known not to answer, or None."""
        ...

    def republish(self) -> None: ...

    def restart(self) -> None: ...


class Desk:
    """One an agent."""

    def __init__(self, journal: Journal, outbox: Outbox, plant: Plant, clock: Clock) -> None:
        self.journal = journal
        self.outbox = outbox
        self.plant = plant
        self.clock = clock
        self.count: dict[str, int] = {}
        self._taken: set[str] = set()

    def answer(self, record: Record) -> Answer | None:
        """The message that tells the last answer of a record; None where nobody waits for one."""
        if record.topic is None:
            return None
        until_ms = self.clock.wall_ms() + ANSWER_KEPT_MS
        payload = messages.encode_any(record.answer)
        return Answer(topic=record.topic, payload=payload, correlation=record.correlation, until_ms=until_ms)

    def said(
        self,
        record: Record,
        st: str,
        *,
        n: int | None = None,
        res: Mapping[str, Any] | None = None,
        error: CommandRefused | None = None,
        **changes: Any,
    ) -> Record:
        """The record with its next answer."""
        n = record.n + 1 if n is None else n
        told = None if error is None else {"code": error.code, "msg": str(error)[:1000]}
        result = CommandResult(
            id=record.id, n=n, st=st, t=self.clock.wall_ms(), res=dict(res) if res is not None else None, err=told
        )
        return msgspec.structs.replace(record, st=st, n=n, answer=messages.to_plain(result), **changes)

    async def step(
        self,
        record: Record,
        *,
        is_silent: bool = False,
        hold: Hold | None = None,
        drop_hold: str | None = None,
        deed: tuple[str, int] | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> Record:
        """Keeps a step of a command, and tells it unless `is_silent`. Raises StoreUnavailable when that is not possible."""
        answer = None if is_silent else self.answer(record)
        await self.journal.take(Step(record, answer, hold, drop_hold, deed), entry)
        if answer is not None:
            self.outbox.wake()
        return record

    async def finish(
        self,
        record: Record,
        st: str,
        *,
        res: Mapping[str, Any] | None = None,
        error: CommandRefused | None = None,
        drop_hold: str | None = None,
    ) -> Record:
        """The last answer of a command, with its audit entry."""
        self.count[st] = self.count.get(st, 0) + 1
        done = self.said(record, st, res=res, error=error, is_open=False)
        entry: dict[str, Any] = {"what": "result", "id": record.id, "st": st}
        if error is not None:
            entry |= {"code": error.code, "msg": error.what[:300]}
        if res is not None:
            entry["res"] = dict(res)
        _log.info("command", id=record.id, op=record.op, dev=record.dev, by=record.by, st=st, code=error and error.code)
        return await self.step(done, drop_hold=drop_hold, entry=entry)

    async def note(self, entry: Mapping[str, Any]) -> None:
        """An audit entry of its own; a log that cannot be written stops nothing that is under way."""
        try:
            await self.journal.audit(entry)
        except StoreUnavailable as error:
            _log.error("the audit log cannot be written", reason=str(error), **entry)

    def device(self, device_id: str | None) -> Device:
        """A device that can be asked now. Raises CommandRefused."""
        device = self.plant.device(device_id or "")
        if device is None:
            raise CommandRefused(
                f"this agent has no device {(device_id or '')[:64]!r}",
                code="unsupported",
                where="command",
                next_step="see plantroom status",
            )
        why = device.disabled or self.plant.is_down(device.id)
        if why is not None:
            raise CommandRefused(why, code="device_down", where=device.id, next_step="see plantroom status")
        return device

    def find(self, device_id: str | None, point_id: str) -> Target:
        """The way to a point. Raises CommandRefused for what this agent does not have, or cannot ask now."""
        device = self.device(device_id)
        for point in device.points:
            if point.id == point_id and not point.internal:
                return self.plant.target(device, point)
        raise CommandRefused(
            f"it has no point {point_id[:64]!r}",
            code="not_writable",
            where=device.id,
            next_step="see its meta, or plantroom read",
        )

    def target(self, device: Device, operation: str) -> Target:
        """The way to a device for an operation that is no point of it."""
        return self.plant.target(device, Point(id=operation, internal=True))

    @contextmanager
    def turn(self, target: str) -> Iterator[None]:
        """One at a time at a point. Raises CommandRefused `busy` for a second."""
        if target in self._taken:
            raise CommandRefused("another command is at it", code="busy", where=target, next_step="try again")
        self._taken.add(target)
        try:
            yield
        finally:
            self._taken.discard(target)

    async def before(self, until: float, work: Coroutine[Any, Any, _T]) -> _T:
        """What the coroutine gives. Raises TimeoutError when it does not end before `until` (monotonic); it is then cancelled."""
        task = asyncio.ensure_future(work)
        alarm = self.clock.alarm(max(0.0, until - self.clock.monotonic()))
        try:
            both: set[asyncio.Future[Any]] = {task, alarm}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise TimeoutError
            return task.result()
        finally:
            if not alarm.done():
                alarm.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
