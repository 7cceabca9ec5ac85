"""An open line of CJ/T 188 meters: reads, learns units, sets valves, and finds the addresses of meters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from device_profiles.control import Operation
from device_profiles.errors import ConfigError, DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Cjt188, Point
from drivers.base import Address, Batch, Layout, LinkConfig, Trace, WireCount
from drivers.frames import Value
from drivers.serial_line import Line, LineAccess, LineOwner

from . import frame, items, planner
from .master import ADDRESS_ITEM, GAP_CHARS, READ, READ_ADDRESS, WRITE, Master, Question

T = TypeVar("T")
VALVE = 0xA017
VALVES = {"open": 0x55, "close": 0x99}


class Cjt188Session:
    """A Session that also locates (units), identifies and operates (see drivers.base)."""

    def __init__(self, owner: LineAccess) -> None:
        self.link = owner.link
        self._owner = owner
        self._master = Master(owner.link)
        self._orders: dict[str, str] = {}
        """Order of the identifier that each meter was seen to answer."""
        self._next: dict[str, str] = {}
        """The one to try next on a meter that has answered none yet."""

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._owner.counts

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """See drivers.base.Session."""
        ask: planner.Ask = batch.plan
        try:
            return ask.take(await self._values(device, ask.di))
        except DeviceRefused as error:
            return [PointFault(error.status, error.what) for _ in batch.points]

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """The meter says its units itself."""
        return any(isinstance(point.address, Cjt188) for point in points)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """`{"units": {point: UCUM code}}` as the meter's answers say. Raises DeviceError, LinkError."""
        asks = []
        for batch in planner.plan(points, None, self.link):
            try:
                asks.append((batch, await self._values(device, batch.plan.di)))
            except DeviceRefused:
                continue  # said with each read
        return {"units": planner.known_units(asks)}

    async def identify(self, device: Address) -> Mapping[str, str]:
        """The address of the meter that answers, and what it counts."""
        found, _ = await self._whose(device)
        return {"serial": found.address, "model": frame.type_name(found.kind)}

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """Sets the valve (`call: {valve: open}` or `close`); what the meter says of it in its answer. See
        drivers.base.CanOperate.
        """
        wanted = operation.call.get("valve")
        if wanted not in VALVES or len(operation.call) != 1:
            step = "write call: {valve: open} or {valve: close} in the profile"
            raise ConfigError(f"{operation.call} is no call of a CJ/T 188 meter", where=device.device, next_step=step)
        reply = await self._ask(device, WRITE, VALVE, bytes((VALVES[wanted],)))
        said = {value.id: value.value for value in items.states(reply.data[3:])}
        return {name: value for name, value in said.items() if value is not None}

    async def search(self, tell: Callable[[str, int], None] = lambda _pattern, _found: None) -> AsyncIterator[str]:
        """Addresses of the meters on the line, by their lowest two digits upwards; where several answer, two more digits are
        asked for. `tell` hears each pattern and how many are found. Raises LinkError.
        """
        found: set[str] = set()
        tails = [""]
        while tails:
            tail = tails.pop()
            pattern = tail.rjust(14, "A")
            tell(pattern, len(found))
            try:
                reply, is_alone = await self._whose(Address(pattern))
                address = reply.address
            except DeviceTimeout:
                continue
            except (DeviceMismatch, DeviceRefused):
                address, is_alone = "", False
            if address and "A" not in address and address not in found:
                found.add(address)
                yield address
            if not is_alone and len(tail) < 14:
                tails += [f"{pair:02d}{tail}" for pair in range(99, -1, -1)]

    async def _values(self, device: Address, di: int) -> dict[str, Value]:
        reply = await self._ask(device, READ, di)
        shape = planner.shape_of(device.options)
        return {value.id: value for value in items.decode(frame.type_name(reply.kind), di, reply.data[3:], shape)}

    async def _whose(self, device: Address) -> tuple[frame.Frame, bool]:
        question = self._question(device, READ_ADDRESS, ADDRESS_ITEM)
        return await self._call(device, lambda line: self._master.address(line, question))

    async def _ask(self, device: Address, control: int, di: int, data: bytes = b"") -> frame.Frame:
        unit, option = str(device.unit).upper(), device.options.get("identifier", "auto")
        if option != "auto":
            return await self._once(device, control, di, data)
        if unit not in self._orders and control != READ:
            await self._found_out(device, unit, READ, items.CURRENT, b"")
        return await self._found_out(device, unit, control, di, data)

    async def _found_out(self, device: Address, unit: str, control: int, di: int, data: bytes) -> frame.Frame:
        """Asks in the order that the meter knows. While none is proven, a refusal is answered by the other order at once, and a
        silence by the other order the next time, so that a dead meter costs no more than any.
        """
        known = self._orders.get(unit)
        first = known or self._next.get(unit, planner.IDENTIFIER_ORDERS[0])
        other = next(order for order in planner.IDENTIFIER_ORDERS if order != first)
        try:
            reply = await self._once(_in_order(device, first), control, di, data)
        except DeviceTimeout:
            self._next[unit] = other
            raise
        except DeviceRefused as refused:
            if known is not None:
                raise
            try:
                reply = await self._once(_in_order(device, other), control, di, data)
            except DeviceError:
                raise refused from None
            first = other
        self._orders[unit] = first
        return reply

    async def _once(self, device: Address, control: int, di: int, data: bytes) -> frame.Frame:
        question = self._question(device, control, di, data)
        return await self._call(device, lambda line: self._master.ask(line, question))

    @staticmethod
    def _question(device: Address, control: int, di: int, data: bytes = b"") -> Question:
        options = device.options
        shape = planner.shape_of(options)
        return Question(planner.kind_of(options), str(device.unit).upper(), control, di, shape, data)

    async def _call(self, device: Address, work: Callable[[Line], T]) -> T:
        try:
            return await self._owner.call(work)
        except DeviceError as error:
            if not error.where:
                place = f"{self.link.id}, meter {device.unit}"
                error.where = f"{device.device} ({place})" if device.device else place
            raise


def _in_order(device: Address, order: str) -> Address:
    return replace(device, options={**device.options, "identifier": order})


@asynccontextmanager
async def open_line(link: LinkConfig, trace: Trace | None) -> AsyncIterator[Cjt188Session]:
    """Opens the line, and closes it at the end. Raises LinkError."""
    owner = LineOwner(link, trace, gap_chars=GAP_CHARS)
    try:
        await owner.open()
        yield Cjt188Session(owner)
    finally:
        await owner.close()
