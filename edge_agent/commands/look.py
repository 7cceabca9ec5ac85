"""A point that is to be written or read at the device's own word: the way to it, and what it says at this moment. Writes nothing.

Errors of device and link become CommandRefused `device_down` here: nothing has left the house yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Protocol, TypeVar

from device_profiles.control import Write
from device_profiles.errors import CommandRefused, ConfigError, DeviceError, LinkError
from device_profiles.reading import PointFault, Raw, Sample, Severity, Value, severity_of
from device_profiles.schema import Point
from drivers.base import Address, CanLocate, Driver, Layout, LinkConfig, Session
from edge_agent.clock import Clock
from edge_agent.commands import limits
from edge_agent.conversion import Converter, scale_factor
from edge_agent.model import Device

_T = TypeVar("_T")


class Ask(Protocol):
    """Runs a job on the open link, between two reads of the poller. Raises LinkLost when the link is not open."""

    async def __call__(self, job: Callable[[Session], Awaitable[_T]], /) -> _T: ...


Fresh = Callable[[str, str], tuple[Value | None, float, str] | None]
"""(device id, point id) -> (value, age in s, OPC UA status) of what was read last, None when nothing was."""


Elsewhere = Callable[[str, str], "Target | None"]
"""(device id, point id) -> another point that can be read now; None where nobody can be asked."""


@dataclass(frozen=True, slots=True)
class Target:
    """A point that is to be written, and the way to it."""

    device: Device
    point: Point
    """As the device has it: `limits.on_device`."""
    driver: Driver
    link: LinkConfig
    ask: Ask
    clock: Clock
    layout: Layout | None = None
    fresh: Fresh = field(default=lambda _device, _point: None)
    elsewhere: Elsewhere = field(default=lambda _device, _point: None)

    @property
    def where(self) -> str:
        return f"{self.device.id}/{self.point.id}"

    @property
    def address(self) -> Address:
        return self.device.address

    @property
    def rules(self) -> Write:
        return self.point.write or Write()

    def other(self, point_id: str) -> Point | None:
        """Another point of the device, as the device has it."""
        for point in self.device.points:
            if point.id == point_id:
                return limits.on_device(point, self.layout)
        return None


def direct(session: Session) -> Ask:
    """The `ask` of somebody who has the link to himself."""

    async def ask(job: Callable[[Session], Awaitable[_T]], /) -> _T:
        return await job(session)

    return ask


async def locate(session: Session, device: Device) -> Layout | None:
    """Where the device keeps its points, for those without an agent that remembers it. Raises DeviceError, LinkError."""
    if isinstance(session, CanLocate) and session.needs_locating(device.points):
        return await session.locate(device.address, device.points)
    return None


def meaning(converter: Converter, answer: Raw | Sample | PointFault) -> tuple[Value | None, str]:
    """(value, status) of what a device said; status "" is good."""
    if isinstance(answer, PointFault):
        return None, answer.status
    if not isinstance(answer, Sample):
        return converter.value(answer)
    if answer.value is None or severity_of(answer.status) is Severity.BAD:
        return None, answer.status
    value, status = converter.value(answer.value)
    return value, status or ("" if answer.status == "Good" else answer.status)


async def read_now(target: Target, points: Sequence[Point]) -> dict[str, Raw | Sample | PointFault]:
    """What the device says of these points at this moment. Raises CommandRefused `device_down`."""
    heard: dict[str, Raw | Sample | PointFault] = {}

    async def job(session: Session) -> None:
        for batch in target.driver.plan(points, target.device.limits, target.layout, target.link):
            answers = await session.read(target.address, batch)
            heard.update(zip(batch.points, answers, strict=True))

    await asked(target, job)
    return heard


async def converter_of(target: Target, point: Point) -> Converter:
    """The point's converter, with ratios and scale factors read now where the device holds them."""
    device = target.device
    params = limits.ratios(device.params)
    wanted: dict[str, Point] = {}
    for name in point.ratio:
        param = device.profile.params.get(name)
        if name in params or param is None:
            continue
        if param.register_ is not None:
            wanted[name] = Point(
                id=f"param_{name}", address=param.register_, type=param.type, scale=param.scale, internal=True
            )
        elif param.default is not None:
            params[name] = Decimal(repr(param.default))
    scale = target.other(point.scale_from.point) if point.scale_from is not None else None
    heard = await read_now(target, [*wanted.values(), *([scale] if scale else [])]) if wanted or scale else {}
    for name, source in wanted.items():
        number, _ = meaning(Converter(source, {}), heard.get(source.id, PointFault("BadNoData")))
        if isinstance(number, int | float):
            params[name] = Decimal(repr(number))
    try:
        converter = Converter(point, params)
    except (KeyError, ValueError, ConfigError) as error:
        raise CommandRefused(
            f"its unit {point.unit!r} does not convert", code="precondition", where=target.where, next_step="see meta"
        ) from error
    if point.scale_from is not None:
        factor = scale_factor(point, heard.get(scale.id)) if scale is not None else None
        converter.rescale(params, factor)
    elif not point.ratio:
        converter.rescale(params, Fraction(1))
    return converter


async def asked(target: Target, job: Callable[[Session], Awaitable[_T]]) -> _T:
    try:
        return await target.ask(job)
    except (DeviceError, LinkError) as error:
        raise down(target, error) from error
    except ConfigError as error:
        raise CommandRefused(error.what, code="unsupported", where=target.where, next_step=error.next_step) from error


def down(target: Target, error: DeviceError | LinkError) -> CommandRefused:
    return CommandRefused(
        error.what, code="device_down", where=target.where, next_step=error.next_step or "see plantroom status"
    )
