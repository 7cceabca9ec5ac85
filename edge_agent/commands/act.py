"""Writes one point: what is there before, what would be written, the write itself once, and what the point shows afterwards.

Works on any session that is a `CanWrite`, for the agent (through its pollers) and for people without an agent (on a link of their
own). Keeps no record, no count and no hold: the engine does. `ask` runs a job on the open link; each look at the device is a job
of its own, so that a slow read-back does not keep a line from its other devices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from device_profiles.address import Bacnet
from device_profiles.errors import CommandRefused, ConfigError, DeviceError, DeviceRefused, LinkError
from device_profiles.reading import PointFault, Raw, Sample, Value
from device_profiles.schema import Point
from drivers.base import CanRehearse, CanWrite, Session, Standing
from edge_agent.commands import limits
from edge_agent.commands.interlocks import Held, check_interlocks
from edge_agent.commands.limits import Wanted
from edge_agent.commands.look import Ask as Ask
from edge_agent.commands.look import Fresh as Fresh
from edge_agent.commands.look import Target as Target
from edge_agent.commands.look import asked, converter_of, down, meaning, read_now
from edge_agent.commands.look import direct as direct
from edge_agent.commands.look import locate as locate
from edge_agent.conversion import Converter

_T = TypeVar("_T")
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 1.0
"""Pauses between two read-backs, growing."""
_CODES = {"BadOutOfRange": "out_of_range", "BadUserAccessDenied": "unauthorised", "BadTooManyOperations": "busy"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written, and what stands there now."""

    wanted: Wanted
    slot: int | None
    """Priority on the device; None where there are no priorities."""
    before: Value | None
    before_status: str
    before_raw: Raw | None
    held_by: int | None
    ours: Raw | None
    """What stands in our slot already."""
    interlocks: tuple[Held, ...]
    low: float | None
    high: float | None
    does: str | None = None
    """What will be sent, in the protocol's words."""
    has_slots: bool = True
    """False where the device takes a priority and keeps none: a hold then ends by writing a value."""

    @property
    def is_slotted(self) -> bool:
        """A hold ends by giving our slot back."""
        return self.slot is not None and self.has_slots

    def facts(self, target: Target) -> dict[str, Any]:
        """For an answer, the journal and people; JSON-ready."""
        point = target.point
        facts: dict[str, Any] = {
            "p": point.id,
            "val": self.wanted.value,
            "raw": self.wanted.raw,
            "tol": self.wanted.tolerance or None,
            "unit": self.wanted.unit,
            "label": self.wanted.label,
            "ref": None if isinstance(point.address, dict) else point.address.reference,
            "prio": self.slot,
            "slots": None if self.slot is None or self.has_slots else False,
            "old": self.before,
            "old_sc": self.before_status or None,
            "old_raw": self.before_raw,
            "held_by": self.held_by,
            "min": self.low,
            "max": self.high,
            "step": target.rules.step,
            "per_hour": target.rules.per_hour,
            "min_interval": target.rules.min_interval or None,
            "release": target.rules.release,
            "readback": target.rules.readback,
            "does": self.does,
        }
        if self.interlocks:
            facts["interlocks"] = [
                {"p": held.interlock.point, "val": held.value, "age_s": round(held.age_s, 1), "ok": held.holds}
                for held in self.interlocks
            ]
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went. `st` is a state of CONTRACT.md section 6; `code` and `text` say why it is not `succeeded`."""

    st: Literal["succeeded", "failed", "unknown"]
    plan: Plan
    readback: Value | None = None
    code: str | None = None
    text: str = ""
    is_out: bool = True
    """False when it is certain that nothing was written."""


async def write_point(
    target: Target,
    value: Any,
    *,
    priority: int | None = None,
    hold_s: float | None = None,
    expected: Any = None,
    dry: bool = False,
    about_to_write: Callable[[Plan], Awaitable[None]] | None = None,
) -> Outcome | Plan:
    """Does all of it; with `dry` everything up to the write, and gives the plan. `about_to_write` is awaited just before it.

    Raises CommandRefused when nothing was written: a limit, a precondition, an interlock, a device that does not answer.
    """
    limits.check_hold(target.point, hold_s, where=target.where)
    plan = await prepare(target, value, priority=priority, expected=expected)
    if dry:
        return plan
    if about_to_write is not None:
        await about_to_write(plan)
    return await carry_out(target, plan)


async def prepare(target: Target, value: Any, *, priority: int | None = None, expected: Any = None) -> Plan:
    """Every check that needs the device, and none that needs a record. Writes nothing. Raises CommandRefused."""
    point, where = target.point, target.where
    if not point.is_writable:
        raise CommandRefused(
            "this point is not written", code="not_writable", where=where, next_step="see its profile: access"
        )
    rank = limits.check_priority(point, priority, where=where)
    slot = rank if has_priorities(point) else None
    converter = await converter_of(target, point)
    wanted = limits.encode(point, value, converter, where=where)
    before, status, standing = None, "", Standing(PointFault("BadNotReadable"))
    if "r" in point.access:
        standing = await _standing(target, slot)
        before, status = meaning(converter, standing.value)
        if before is None and isinstance(standing.value, PointFault):
            raise CommandRefused(
                f"the device does not give this point ({standing.value.status})",
                code="not_writable",
                where=where,
                next_step="see with plantroom read what it says",
            )
    if slot is not None and standing.held_by is not None and standing.held_by < slot:
        raise CommandRefused(
            f"priority {standing.held_by} holds it, which goes before our {slot}",
            code="overridden",
            where=where,
            next_step="release it there first, or ask who holds it",
        )
    if expected is not None and not limits.is_same(expected, before, point):
        raise CommandRefused(
            f"it is {before!r}, not {expected!r}", code="precondition", where=where, next_step="look, and decide anew"
        )
    limits.check_step(point, wanted, before, where=where)
    held = await check_interlocks(target, target.rules.interlocks)
    low, high = limits.limits(point)
    raw = standing.value.value if isinstance(standing.value, Sample) else standing.value
    return Plan(
        wanted,
        slot,
        before,
        status,
        None if isinstance(raw, PointFault) else raw,
        standing.held_by,
        standing.ours,
        held,
        low,
        high,
        await _rehearsed(target, wanted.raw, slot),
        standing.has_slots is not False,
    )


async def carry_out(
    target: Target,
    plan: Plan,
    *,
    until: float | None = None,
    written: Callable[[], Awaitable[None]] | None = None,
) -> Outcome:
    """Writes once and reads back. What has not gone out `until` (monotonic) does not go out; `written` is told when it has.

    Raises CommandRefused only when the write did not leave the house.
    """
    uncertain: str | None = None
    try:
        await _write(target, plan.wanted.raw, plan.slot, until)
    except DeviceRefused as error:
        code = _CODES.get(error.status, "not_writable")
        return Outcome("failed", plan, None, code, f"the device refused: {error.what}", is_out=False)
    except (DeviceError, LinkError) as error:
        uncertain = error.what
    if uncertain is None and written is not None:
        await written()
    return await settle(target, plan, uncertain=uncertain)


async def settle(target: Target, plan: Plan, *, uncertain: str | None = None) -> Outcome:
    """Finds out by reading whether a write that went out, or may have, stands; `uncertain`: why that is not known."""
    rules = target.rules
    if uncertain is None and rules.readback is None and (not rules.idempotent or "r" not in target.point.access):
        return Outcome("succeeded", plan)  # a pulse is over before it can be read: the device's word is all there is
    seen, standing, trouble = await _look_until(target, plan, rules.within)
    if standing is not None and plan.slot is not None and (standing.held_by or 99) < plan.slot:
        text = f"priority {standing.held_by} holds it, which goes before our {plan.slot}"
        return Outcome("failed", plan, seen, "overridden", text)
    if limits.matches(plan.wanted, seen) and (uncertain is None or rules.idempotent or plan.before != seen):
        return Outcome("succeeded", plan, seen)
    if uncertain is None:
        text = trouble or f"it shows {seen!r} {rules.within:g} s after {plan.wanted.value!r} was written"
        return Outcome("failed", plan, seen, "timeout", text)
    is_known = rules.idempotent and seen is not None
    return Outcome("failed" if is_known else "unknown", plan, seen, "timeout", f"{uncertain}; it shows {seen!r}")


async def release(target: Target, slot: int | None, raw: Raw | None) -> None:
    """Ends what we hold: gives our slot back, or writes `raw` where there are no slots. Raises DeviceError, LinkError,
    CommandRefused when the point still shows our value in our slot, or has none to give back."""
    try:
        await _write(target, raw, slot)
    except DeviceRefused:
        if raw is not None or slot is None or (await _standing(target, slot)).has_slots is not False:
            raise
        raise CommandRefused(
            "the device keeps no priorities for this point, so nobody holds it",
            code="precondition",
            where=target.where,
            next_step="write the value that it is to have",
        ) from None
    if raw is None and slot is not None and "r" in target.point.access:
        standing = await _standing(target, slot)
        if standing.ours is not None:
            raise CommandRefused(
                f"our slot {slot} still holds {standing.ours!r}", code="busy", where=target.where, next_step="try again"
            )


def release_raw(target: Target, before_raw: Raw | None, converter: Converter) -> Raw | None:
    """What ends a hold where there are no priorities: what the profile says, else what stood there before."""
    given = target.rules.release
    if given is None:
        return before_raw
    return limits.encode(target.point, given, converter, where=target.where).raw


def has_priorities(point: Point) -> bool:
    """True where the device arbitrates between writers itself."""
    return isinstance(point.address, Bacnet) or (point.write is not None and point.write.priority is not None)


async def _look_until(target: Target, plan: Plan, within_s: float) -> tuple[Value | None, Standing | None, str]:
    """(value, standing, trouble) of the first look that shows what was wanted, or of the last one in time."""
    clock = target.clock
    until = clock.monotonic() + within_s
    pause_s = FIRST_LOOK_S
    seen: Value | None = None
    standing: Standing | None = None
    trouble = ""
    while True:
        try:
            seen, standing = await _look(target, plan.slot)
            trouble = ""
        except CommandRefused as error:
            trouble = error.what
        left_s = until - clock.monotonic()
        if limits.matches(plan.wanted, seen) or left_s <= 0:
            return seen, standing, trouble
        await clock.sleep(min(pause_s, left_s))
        pause_s = min(LAST_LOOK_S, pause_s * 2)


async def _look(target: Target, slot: int | None) -> tuple[Value | None, Standing | None]:
    shown = target.other(target.rules.readback) if target.rules.readback is not None else None
    if shown is None and "r" not in target.point.access:
        return None, None
    if shown is None:
        standing = await _standing(target, slot)
        return meaning(await converter_of(target, target.point), standing.value)[0], standing
    heard = await read_now(target, [shown])
    value, _ = meaning(await converter_of(target, shown), heard.get(shown.id, PointFault("BadNoData")))
    return value, None


async def _standing(target: Target, slot: int | None) -> Standing:
    async def job(session: Session) -> Standing:
        return await _writer(session, target).standing(target.address, target.point, target.layout, priority=slot)

    return await asked(target, job)


async def _rehearsed(target: Target, raw: Raw, slot: int | None) -> str | None:
    """What the driver would send. Raises CommandRefused for what it cannot."""

    async def job(session: Session) -> str | None:
        if not isinstance(session, CanRehearse):
            return None
        return session.rehearse(target.address, target.point, raw, target.layout, priority=slot)

    try:
        return await target.ask(job)
    except ConfigError as error:
        raise CommandRefused(error.what, code="out_of_range", where=target.where, next_step=error.next_step) from error
    except LinkError as error:
        raise down(target, error) from error


async def _write(target: Target, raw: Raw | None, slot: int | None, until: float | None = None) -> None:
    """Raises CommandRefused when it did not go out, DeviceError and LinkError when it did, or may have."""
    is_out = False

    async def job(session: Session) -> None:
        nonlocal is_out
        writer = _writer(session, target)
        if until is not None and target.clock.monotonic() >= until:
            raise CommandRefused("its time was over before it went out", code="expired", where=target.where)
        is_out = True
        await writer.write(target.address, target.point, raw, target.layout, priority=slot)

    try:
        await target.ask(job)
    except ConfigError as error:
        raise CommandRefused(error.what, code="out_of_range", where=target.where, next_step=error.next_step) from error
    except LinkError as error:
        if is_out:
            raise
        raise down(target, error) from error


def _writer(session: Session, target: Target) -> CanWrite:
    if isinstance(session, CanWrite):
        return session
    raise CommandRefused(
        f"the driver of {target.device.protocol} does not write",
        code="unsupported",
        where=target.where,
        next_step="use the device's own tools",
    )


def restored(kept: Mapping[str, Any], target: Target) -> Plan:
    """The plan that `Plan.facts` told the journal, for settling after a restart."""
    point = target.point
    value = kept["val"]
    tolerance = target.rules.tolerance
    if tolerance is None and isinstance(value, int | float) and not isinstance(value, bool):
        tolerance = kept.get("tol", 0.0)
    wanted = Wanted(value, kept["raw"], kept.get("unit"), kept.get("label"), tolerance or 0.0)
    low, high = limits.limits(point)
    slot = kept.get("prio")
    return Plan(wanted, slot, kept.get("old"), "", kept.get("old_raw"), None, None, (), low, high)
