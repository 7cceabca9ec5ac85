"""The two ways of an order to its device: the running agent, or a link that the command opens by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from device_profiles.errors import CommandRefused, ConfigError
from edge_agent.cli.local import commanded

if TYPE_CHECKING:
    from device_profiles.schema import Point
    from drivers.base import LinkConfig
    from edge_agent.commands.act import Target
    from edge_agent.model import Device

T = TypeVar("T")
_COUNTED = frozenset({"per_hour", "min_interval"})
"""Limits that only somebody who remembers earlier writes can keep: the agent."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants. `value` and `expected` in the vocabulary's unit, or a label."""

    device: str
    point: str
    value: Any
    priority: int | None
    hold_s: float | None
    expected: Any
    why: str
    is_release: bool = False

    @property
    def target(self) -> str:
        return f"{self.device}/{self.point}"

    def as_command(self, *, dry: bool) -> dict[str, Any]:
        """The command of CONTRACT.md section 6, without what the agent itself fills in."""
        given = {"p": self.point, "val": self.value, "prio": self.priority, "hold_s": self.hold_s}
        return {
            "op": "point.release" if self.is_release else "point.write",
            "dev": self.device,
            "args": {name: value for name, value in given.items() if value is not None},
            **({"if": {"val": self.expected}} if self.expected is not None else {}),
            **({"why": self.why} if self.why else {}),
            "dry": dry,
        }


class Way(Protocol):
    """How the order reaches the device."""

    @property
    def device_id(self) -> str: ...

    def point(self, point_id: str) -> Point | None:
        """The point, where this side knows it. Raises ConfigError for one that the device does not have."""
        ...

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        """`{"st": ..., "res": {...}, "err": {"code", "msg"} or None}`. Raises PlantroomError."""
        ...


def somebody_answers(path: Path) -> bool:
    """True when an agent listens on this socket."""
    import socket

    if not hasattr(socket, "AF_UNIX"):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except PermissionError:
            return True  # an agent may well be there: going past it would be wrong, and the question then says why
        except OSError:
            return False
    return True


class ThroughAgent:
    """The running agent does it: journal, holds, rates and audit are its own."""

    def __init__(self, socket: Path, device_id: str, device: Device | None) -> None:
        self._socket = socket
        self._device_id = device_id
        self._device = device

    @property
    def device_id(self) -> str:
        return self._device_id

    def point(self, point_id: str) -> Point | None:
        return None if self._device is None else _point_of(self._device, point_id)

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        return commanded(self._socket, order.as_command(dry=dry))


class OwnLink:
    """A link that this command opens by itself. It ends with the command, so it holds nothing."""

    def __init__(self, link: LinkConfig, device: Device, *, trace: bool) -> None:
        self._link = link
        self._device = device
        self._trace = trace

    @property
    def device_id(self) -> str:
        return self._device.id

    def point(self, point_id: str) -> Point | None:
        return _point_of(self._device, point_id)

    def send(self, order: Order, *, dry: bool) -> dict[str, Any]:
        if order.hold_s is not None:
            raise ConfigError(
                "nobody would end the hold after this command",
                where="--hold",
                next_step="run the agent, which holds and releases; or leave out --hold",
            )
        work = self._release if order.is_release else self._write
        return asyncio.run(self._opened(order, lambda target: work(target, order, dry=dry)))

    async def _opened(self, order: Order, work: Callable[[Target], Awaitable[T]]) -> T:
        from drivers.registry import load_driver
        from edge_agent.cli.target import tracer
        from edge_agent.clock import SystemClock
        from edge_agent.commands import act, limits

        driver = load_driver(self._device.protocol)
        seen = tracer(self._link) if self._trace else None
        async with driver.open(self._link, seen) as session:
            layout = await act.locate(session, self._device)
            point = limits.on_device(_point_of(self._device, order.point), layout)
            way = act.direct(session)
            return await work(act.Target(self._device, point, driver, self._link, way, SystemClock(), layout))

    async def _write(self, target: Target, order: Order, *, dry: bool) -> dict[str, Any]:
        from edge_agent.commands.act import Plan, write_point

        if target.rules.hold_max is not None:
            raise CommandRefused(
                f"this point is only held for a time, at most {target.rules.hold_max:g} s, and nobody would end the hold",
                code="unsupported",
                where=target.where,
                next_step="run the agent, which holds and releases",
            )
        done = await write_point(target, order.value, priority=order.priority, expected=order.expected, dry=dry)
        plan = done if isinstance(done, Plan) else done.plan
        facts = {name: value for name, value in plan.facts(target).items() if name not in _COUNTED}
        if isinstance(done, Plan):
            return {"st": "succeeded", "res": facts, "err": None}
        facts["readback"] = done.readback
        return {"st": done.st, "res": facts, "err": {"code": done.code, "msg": done.text} if done.code else None}

    async def _release(self, target: Target, order: Order, *, dry: bool) -> dict[str, Any]:
        from edge_agent.commands import act, limits

        if not target.point.is_writable:
            raise CommandRefused("this point is not written", code="not_writable", where=target.where)
        if not act.has_priorities(target.point):
            if target.rules.release is None:
                raise CommandRefused(
                    "this device has no priorities, and its profile does not say what ends a hold",
                    code="unsupported",
                    where=target.where,
                    next_step="write the value that it is to have",
                )
            return await self._write(target, replace(order, value=target.rules.release, expected=None), dry=dry)
        slot = limits.check_priority(target.point, order.priority, where=target.where)
        facts = {"p": order.point, "prio": slot, "does": f"NULL into our slot {slot}"}
        if not dry:
            await act.release(target, slot, None)
        return {"st": "succeeded", "res": facts, "err": None}


def _point_of(device: Device, point_id: str) -> Point:
    import difflib

    for point in device.points:
        if point.id == point_id and not point.internal:
            return point
    known = [point.id for point in device.points if point.is_writable]
    close = difflib.get_close_matches(point_id, known or [point.id for point in device.points], n=1)
    listed = f"what can be written: {', '.join(known)}" if known else "it has nothing that can be written"
    raise ConfigError(
        f"{device.id} has no point {point_id!r}", next_step=f"did you mean {close[0]!r}?" if close else listed
    )
