"""The two ways of an operation to its device: the running agent, or a link that the command opens by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from device_profiles.control import Operation
from edge_agent.cli.local import commanded

if TYPE_CHECKING:
    from drivers.base import LinkConfig
    from edge_agent.model import Device

_OWN_TIME_S = 60.0
"""How long a call over a link of one's own may take to go out: locating a device of many registers takes its time."""


@dataclass(frozen=True, slots=True)
class Call:
    """What somebody wants done."""

    device: str
    operation: Operation
    inputs: Mapping[str, Any]
    why: str

    @property
    def target(self) -> str:
        return f"{self.device}/{self.operation.id}"

    def as_command(self, *, dry: bool) -> dict[str, Any]:
        """The command of CONTRACT.md section 6, without what the agent itself fills in."""
        return {
            "op": self.operation.op,
            "dev": self.device,
            "args": {"call": self.operation.id, "inputs": dict(self.inputs)},
            **({"why": self.why} if self.why else {}),
            "dry": dry,
        }


class CallWay(Protocol):
    """How the operation reaches the device."""

    @property
    def device_id(self) -> str: ...

    def operations(self) -> Sequence[Operation]:
        """What the device can be told to do. Raises PlantroomError."""
        ...

    def send(self, call: Call, *, dry: bool) -> dict[str, Any]:
        """`{"st": ..., "res": {...}, "err": {"code", "msg"} or None}`. Raises PlantroomError."""
        ...


class CallThroughAgent:
    """The running agent does it: journal, rates and audit are its own, and so is the profile that counts."""

    def __init__(self, socket: Path, device_id: str) -> None:
        self._socket = socket
        self._device_id = device_id

    @property
    def device_id(self) -> str:
        return self._device_id

    def operations(self) -> Sequence[Operation]:
        from edge_agent.local_api import ask

        return [Operation.model_validate(each) for each in ask(self._socket, "operations", device=self._device_id)]

    def send(self, call: Call, *, dry: bool) -> dict[str, Any]:
        return commanded(self._socket, call.as_command(dry=dry))


class CallOwnLink:
    """A link that this command opens by itself. Nobody counts how often: `per_hour` is the agent's to keep."""

    def __init__(self, link: LinkConfig, device: Device, *, trace: bool) -> None:
        self._link = link
        self._device = device
        self._trace = trace

    @property
    def device_id(self) -> str:
        return self._device.id

    def operations(self) -> Sequence[Operation]:
        return self._device.profile.operations

    def send(self, call: Call, *, dry: bool) -> dict[str, Any]:
        return asyncio.run(self._send(call, dry=dry))

    async def _send(self, call: Call, *, dry: bool) -> dict[str, Any]:
        from device_profiles.schema import Point
        from drivers.registry import load_driver
        from edge_agent.cli.target import tracer
        from edge_agent.clock import SystemClock
        from edge_agent.commands import act, limits
        from edge_agent.commands.calls import carry_out, locks, shown_inputs
        from edge_agent.commands.interlocks import check_interlocks

        operation, clock = call.operation, SystemClock()
        inputs = limits.arguments(operation.inputs, call.inputs, where=call.target)
        driver = load_driver(self._device.protocol)
        seen = tracer(self._link, self._device.protocol) if self._trace else None
        async with driver.open(self._link, seen) as session:
            layout = await act.locate(session, self._device)
            point = Point(id=operation.id, internal=True)
            target = act.Target(self._device, point, driver, self._link, act.direct(session), clock, layout)
            held = await check_interlocks(target, operation.interlocks)
            if dry:
                facts = {"call": operation.id, "inputs": shown_inputs(inputs), **locks(held)}
                return {"st": "succeeded", "res": facts, "err": None}
            ended = await carry_out(target, operation, inputs, until=clock.monotonic() + _OWN_TIME_S)
        error = {"code": ended.error.code, "msg": str(ended.error)} if ended.error is not None else None
        return {"st": ended.st, "res": ended.res, "err": error}
