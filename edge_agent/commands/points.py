"""`point.write`, `point.release`, `point.read`: who may hold a point, how often it is written, each step kept before it is done.

Checks in this order: device and point, hold and priority, holder, rate, then what the device says (`act.prepare`). The plan, the
hold and the count are in the journal before the write goes out; the write goes out once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from device_profiles.errors import CommandRefused, DeviceError, LinkError, StoreUnavailable
from device_profiles.reading import PointFault, Raw
from edge_agent.commands import act, limits
from edge_agent.commands.act import Outcome, Plan, Target
from edge_agent.commands.book import HOUR_MS, Hold, Record, Step
from edge_agent.commands.desk import Desk
from edge_agent.commands.holds import Holds
from edge_agent.commands.look import converter_of, meaning, read_now
from edge_agent.commands.operations import PointRead, PointRelease, PointWrite, arguments
from edge_agent.polling.learned import published_unit
from gateway.contract.messages import Command

_HOUR_S = HOUR_MS / 1000


@dataclass(frozen=True, slots=True)
class Job:
    """A command under way. `until`: monotonic; what has not gone out by then does not go out."""

    record: Record
    command: Command
    until: float


class Rates:
    """When each target was written within the last hour, over restarts."""

    def __init__(self, desk: Desk) -> None:
        self._clock = desk.clock
        self._times: dict[str, deque[float]] = {}

    def remember(self, deeds: Sequence[tuple[str, int]]) -> None:
        """What the journal has of the last hour."""
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        for target, t_ms in deeds:
            age_s = max(0, now_ms - t_ms) / 1000  # a clock that was set back makes it young, never unborn
            self._times.setdefault(target, deque()).append(now - age_s)

    def check(self, target: str, per_hour: int, min_interval_s: float) -> None:
        """Raises CommandRefused `busy`."""
        now = self._clock.monotonic()
        times = self._times.get(target, deque())
        while times and now - times[0] >= _HOUR_S:
            times.popleft()
        wait_s = 0.0
        if len(times) >= per_hour:
            wait_s = _HOUR_S - (now - times[len(times) - per_hour])
        if times and now - times[-1] < min_interval_s:
            wait_s = max(wait_s, min_interval_s - (now - times[-1]))
        if wait_s > 0:
            raise CommandRefused(
                f"it was written {len(times)} times in the last hour, at most {per_hour} are allowed, "
                f"{min_interval_s:g} s apart",
                code="busy",
                where=target,
                next_step=f"try again in {wait_s:.0f} s",
            )

    def count(self, target: str) -> tuple[str, int]:
        """Counts a write; the deed for the journal."""
        self._times.setdefault(target, deque()).append(self._clock.monotonic())
        return target, self._clock.wall_ms()


class Points:
    """The operations on points."""

    def __init__(self, desk: Desk, holds: Holds, rates: Rates) -> None:
        self._desk = desk
        self._holds = holds
        self._rates = rates

    async def read(self, job: Job) -> Record:
        wanted = arguments(PointRead, job.command.args)
        target = self._desk.find(job.command.dev, wanted.p)
        if "r" not in target.point.access:
            raise CommandRefused("this point is only written", code="unsupported", where=target.where)
        heard = (await self._desk.before(job.until, read_now(target, [target.point])))[target.point.id]
        converter = await self._desk.before(job.until, converter_of(target, target.point))
        value, status = meaning(converter, heard)
        res = {"val": value, "sc": status or None, "unit": published_unit(target.point)}
        detail = heard.detail if isinstance(heard, PointFault) else ""
        if value is None and not status:
            raise CommandRefused(detail or "no value", code="device_down", where=target.where)
        return await self._desk.finish(job.record, "succeeded", res={k: v for k, v in res.items() if v is not None})

    async def write(self, job: Job) -> Record:
        wanted = arguments(PointWrite, job.command.args)
        desk = self._desk
        target = desk.find(job.command.dev, wanted.p)
        if not target.point.is_writable:
            raise CommandRefused("this point is not written", code="not_writable", where=target.where)
        hold_s = limits.check_hold(target.point, wanted.hold_s, where=target.where)
        rank = limits.check_priority(target.point, wanted.prio, where=target.where) or limits.LOWEST_PRIORITY
        with desk.turn(target.where):
            before = self._may_write(target, job.record.by, rank)
            rules = target.rules
            self._rates.check(target.where, rules.per_hour, rules.min_interval)
            expected = _expected(job.command)
            plan = await desk.before(
                job.until, act.prepare(target, wanted.val, priority=wanted.prio, expected=expected)
            )
            if job.command.dry:
                return await desk.finish(job.record, "succeeded", res=self._dry(target, plan, hold_s))
            hold = await self._hold(target, plan, job.record, rank, hold_s, before)
            return await self._carry_out(job, target, plan, hold, before)

    async def _carry_out(self, job: Job, target: Target, plan: Plan, hold: Hold | None, before: Hold | None) -> Record:
        desk = self._desk
        facts = plan.facts(target)
        record = desk.said(job.record, "running", res={"val": plan.wanted.value, "raw": plan.wanted.raw}, plan=facts)
        if desk.clock.monotonic() >= job.until:
            raise CommandRefused("its time was over before it went out", code="expired", where=target.where)
        entry = {"what": "write", "id": record.id, "dev": target.device.id, "by": record.by, **facts}
        await desk.step(record, hold=hold, deed=self._rates.count(target.where), entry=entry)
        if hold is not None:
            self._holds.keep(hold)
        try:
            outcome = await act.carry_out(target, plan, until=job.until, written=lambda: self._written(record))
        except CommandRefused as error:
            outcome = Outcome("failed", plan, None, error.code, error.what, is_out=False)
        drop = await self._settle_hold(target, outcome, record, hold, before)
        return await self._finish(record, target, outcome, None if drop else hold, before, drop)

    async def _written(self, record: Record) -> None:
        with suppress(StoreUnavailable):  # it is known without: only less is known after a crash
            await self._desk.step(
                msgspec.structs.replace(record, plan={**(record.plan or {}), "is_written": True}), is_silent=True
            )

    async def _settle_hold(
        self, target: Target, outcome: Outcome, record: Record, hold: Hold | None, before: Hold | None
    ) -> str | None:
        """What becomes of the hold; the target whose hold ends with the command, if it does."""
        holds = self._holds
        if not outcome.is_out:
            if hold is None:
                return None
            if before is None:
                holds.drop(target.where)
                return target.where
            await self._desk.journal.take(Step(hold=before))  # held as before, as if nobody had asked
            holds.keep(before)
            return None
        if outcome.code == "overridden":
            return await self._give_back(target, outcome.plan, record, before)
        if before is not None and outcome.st == "succeeded":
            return await self._replace(target, outcome.plan, hold, before)
        return None

    async def _replace(self, target: Target, plan: Plan, hold: Hold | None, before: Hold) -> str | None:
        """The slots of the hold before are given back; without a new hold there is then nothing left to give back."""
        others = before.other_slots(plan.slot)
        limit = self._desk.clock.monotonic() + target.rules.within
        try:
            for slot in others:
                await self._desk.before(limit, act.release(target, slot, None))
        except (CommandRefused, DeviceError, LinkError, TimeoutError):
            if hold is None:
                left = msgspec.structs.replace(before, slot=others[0], also=others[1:], until_uptime_s=0.0)
                await self._desk.journal.take(Step(hold=left))
                self._holds.keep(left)  # again and again
            return None  # a new hold gives them back with its own
        if hold is None:
            self._holds.drop(target.where)
            return target.where
        if others:
            only = msgspec.structs.replace(hold, also=())
            await self._desk.journal.take(Step(hold=only))
            self._holds.keep(only)
        return None

    async def _give_back(self, target: Target, plan: Plan, record: Record, before: Hold | None) -> str:
        """A value that is overridden must not come into force when nobody expects it any more: our slots are given back."""
        also = before.other_slots(plan.slot) if before is not None else ()
        limit = self._desk.clock.monotonic() + target.rules.within
        try:
            for slot in (plan.slot, *also):
                await self._desk.before(limit, act.release(target, slot, None))
        except (CommandRefused, DeviceError, LinkError, TimeoutError):
            now = self._make_hold(target, plan, record, limits.LOWEST_PRIORITY, 0.0, None, also)
            await self._desk.journal.take(Step(hold=now))
            self._holds.keep(now)  # again and again, until it is given back
            return ""
        self._holds.drop(target.where)
        return target.where

    async def _finish(
        self,
        record: Record,
        target: Target,
        outcome: Outcome,
        hold: Hold | None,
        before: Hold | None,
        drop: str | None,
    ) -> Record:
        res = {
            "readback": outcome.readback,
            "old": outcome.plan.before,
            "val": outcome.plan.wanted.value,
            "hold_until": hold.until_ms if hold is not None and outcome.is_out else None,
        }
        error = None
        if outcome.code is not None:
            error = CommandRefused(outcome.text, code=outcome.code, where=target.where)
        st = "expired" if outcome.code == "expired" else outcome.st
        res = {name: value for name, value in res.items() if value is not None}
        done = await self._desk.finish(record, st, res=res, error=error, drop_hold=drop or None)
        if before is not None and before.by != record.by and outcome.is_out:
            await self._tell_overridden(before, record)
        return done

    async def _tell_overridden(self, before: Hold, record: Record) -> None:
        """The command that held the point hears that it does so no more."""
        former = await self._desk.journal.find(before.command)
        if former is None:
            return
        error = CommandRefused(f"{record.by} took over with a higher priority", code="overridden", where=before.target)
        await self._desk.finish(former, "cancelled", error=error)

    def _may_write(self, target: Target, by: str | None, rank: int) -> Hold | None:
        """The hold that this write replaces, None when there is none. Raises CommandRefused `busy` or `overridden`."""
        hold = self._holds.of(target.where)
        if hold is None or hold.by == by or rank < hold.rank:
            return hold
        code = "busy" if rank == hold.rank else "overridden"
        raise CommandRefused(
            f"{hold.by} holds it with priority {hold.rank} for {self._holds.left_s(hold):.0f} s more",
            code=code,
            where=target.where,
            next_step="wait, ask them to release it, or name a higher priority that you may use",
        )

    async def _hold(
        self, target: Target, plan: Plan, record: Record, rank: int, hold_s: float | None, before: Hold | None
    ) -> Hold | None:
        """The hold that the write begins. Raises CommandRefused `precondition` when nothing could be given back."""
        if hold_s is None:
            return None
        raw = None
        if not plan.is_slotted:
            # What stood there before the first of several holds is what is given back.
            kept = before.raw if before is not None else plan.before_raw
            raw = act.release_raw(target, kept, await converter_of(target, target.point))
            if raw is None:
                raise CommandRefused(
                    "what stands there now cannot be read, so nothing could be given back",
                    code="precondition",
                    where=target.where,
                    next_step="give write.release in its profile",
                )
        also = before.other_slots(plan.slot) if before is not None else ()
        return self._make_hold(target, plan, record, rank, hold_s, raw, also)

    def _make_hold(
        self,
        target: Target,
        plan: Plan,
        record: Record,
        rank: int,
        hold_s: float,
        raw: Raw | None,
        also: tuple[int, ...] = (),
    ) -> Hold:
        clock = self._desk.clock
        return Hold(
            device=target.device.id,
            point=target.point.id,
            command=record.id,
            by=record.by,
            rank=rank,
            slot=plan.slot,
            also=also,
            raw=raw,
            until_ms=clock.wall_ms() + round(hold_s * 1000),
            boot_id=clock.boot_id,
            until_uptime_s=clock.uptime_s() + hold_s,
        )

    def _dry(self, target: Target, plan: Plan, hold_s: float | None) -> dict[str, Any]:
        facts = {"dry": True, **plan.facts(target)}
        if hold_s is not None:
            facts["hold_s"] = hold_s
            given = target.rules.release
            facts["then"] = "our slot is given back" if plan.is_slotted else (plan.before if given is None else given)
        return facts

    async def release(self, job: Job) -> Record:
        wanted = arguments(PointRelease, job.command.args)
        desk = self._desk
        target = desk.find(job.command.dev, wanted.p)
        with desk.turn(target.where):
            hold = self._holds.of(target.where)
            rank = limits.check_priority(target.point, wanted.prio, where=target.where) or limits.LOWEST_PRIORITY
            if hold is not None and hold.by != job.record.by and rank >= hold.rank:
                raise CommandRefused(
                    f"{hold.by} holds it with priority {hold.rank}",
                    code="overridden",
                    where=target.where,
                    next_step="ask them, or name a higher priority that you may use",
                )
            if hold is None and not act.has_priorities(target.point):
                raise CommandRefused("nobody holds it", code="precondition", where=target.where)
            if job.command.dry:
                return await desk.finish(job.record, "succeeded", res={"dry": True, "held": hold is not None})
            if hold is None:
                await desk.before(job.until, act.release(target, rank, None))
            else:
                await self._holds.release(hold, f"released by {job.record.by}")
                self._holds.drop(target.where)
        return await desk.finish(job.record, "succeeded")


def _expected(command: Command) -> Any:
    if command.if_ is None:
        return None
    if command.if_.keys() != {"val"} or command.if_["val"] is None:
        raise CommandRefused(
            f"the precondition {sorted(command.if_)} is not known here",
            code="precondition",
            where="command",
            next_step="write it as if: {val: ...}",
        )
    return command.if_["val"]


async def settle(desk: Desk, record: Record) -> Record:
    """Finds out by reading what became of a write that an end of the agent cut off. Never writes.

    Raises CommandRefused while the device does not answer.
    """
    kept = record.plan or {}
    target = desk.find(record.dev, str(kept["p"]))
    plan = act.restored(kept, target)
    if "r" not in target.point.access and target.rules.readback is None:
        return await desk.finish(record, "unknown", error=_cut_off(target, "and the point cannot be read"))
    outcome = await act.settle(target, plan, uncertain="the agent ended before it knew")
    if outcome.readback is None:
        raise CommandRefused(outcome.text, code="device_down", where=target.where)
    error = None if outcome.code is None else _cut_off(target, outcome.text, outcome.code)
    return await desk.finish(record, outcome.st, res={"readback": outcome.readback}, error=error)


def _cut_off(target: Target, text: str, code: str = "timeout") -> CommandRefused:
    return CommandRefused(text, code=code, where=target.where, next_step="look before you send it again")
