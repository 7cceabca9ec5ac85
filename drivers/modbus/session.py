"""An open Modbus link: reads batches, heals refused blocks, walks SunSpec chains, identifies and discovers devices, writes.

It speaks through a Wire, which carries one PDU to a unit and brings the PDU that answers it; TCP and serial lines differ there
only. One request at a time is on a wire. No retry and no schedule: a timeout is raised once, the poller decides.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from device_profiles.control import Operation
from device_profiles.errors import DeviceError, DeviceRefused, DeviceTimeout
from device_profiles.reading import PointFault, Raw, Sample
from device_profiles.schema import Modbus, Point
from drivers.base import Address, Batch, Layout, LinkConfig, Standing, WireCount

from . import codec, sunspec, write
from .block import Block, build_block, locate_point
from .heal import HEALED_CODES, Healed, fault_of, forgiven, heal, remembered
from .operate import carry_out

_DEVICE_CODES = frozenset({0x0A, 0x0B})
"""Exceptions of a gateway about a device as a whole."""
_HEAL_AGAIN_AFTER = 20
"""Reads of a block that was taken apart in vain before it is taken apart again."""
_IDENTITY_NAMES = {
    0: "vendor", 1: "product_code", 2: "revision", 3: "vendor_url", 4: "product_name", 5: "model_name", 6: "application_name",
}  # fmt: skip


class Wire(Protocol):
    """Carries requests over one link."""

    @property
    def counts(self) -> WireCount: ...

    async def ask(self, unit: int, request: codec.Request) -> bytes:
        """The data of the good reply (`codec.reply_data`), the whole PDU for FC 43. Raises DeviceError, LinkError."""
        ...


class ModbusSession:
    """A Session that also can locate, learn, identify, discover, write and operate (see drivers.base)."""

    def __init__(self, link: LinkConfig, wire: Wire) -> None:
        self.link = link
        self._wire = wire
        self._learned: dict[int | str, Layout] = {}
        self._news: dict[int | str, Layout] = {}
        self._in_vain: dict[tuple[int | str, str, int, int], int] = {}
        self._without_mask: set[int | str] = set()
        """Units that refused to set bits by themselves (FC 22)."""

    @property
    def counts(self) -> WireCount:
        """What went over the wire since the link was opened."""
        return self._wire.counts

    async def read(self, device: Address, batch: Batch) -> Sequence[Raw | Sample | PointFault]:
        """The values of the batch. A refused block is taken apart at once; what was found is told by `learned`."""
        block = batch.plan
        if block is None:
            return [PointFault("BadNodeIdUnknown", "the device has no such SunSpec model") for _ in batch.points]
        try:
            data = await self._wire.ask(codec.check_unit(device.unit), block.request)
        except DeviceRefused as error:
            self._locate_error(error, device)
            return await self._refused(device, block, error)
        except DeviceError as error:
            self._locate_error(error, device)
            raise
        if block.suspect:
            self._learn(device, forgiven(self._known(device, block), block.table, block.first, block.last))
        values: Sequence[Raw | PointFault] = block.decode(data)
        return values

    def learned(self, device: Address) -> Layout | None:
        """The layout with what reads found out since the last call; None when nothing is new."""
        return self._news.pop(device.unit, None)

    def needs_locating(self, points: Sequence[Point]) -> bool:
        """True when a point is addressed by a SunSpec model."""
        return any(isinstance(point.address, Modbus) and point.address.model is not None for point in points)

    async def locate(self, device: Address, points: Sequence[Point]) -> Layout:
        """`{"models": {"103": 40070}}`: where each SunSpec model begins. Raises DeviceMismatch when there is no chain."""
        table = next(p.address.table for p in points if isinstance(p.address, Modbus) and p.address.model is not None)
        return {"models": await sunspec.walk(lambda first, count: self.registers(device, table, first, count))}

    async def registers(self, device: Address, table: str, first: int, count: int) -> bytes:
        """The bytes of registers (or coils) as they are. Raises DeviceError, LinkError."""
        return await self._ask(device, codec.read_request(table, first, count))

    async def identify(self, device: Address) -> Mapping[str, str]:
        """Vendor, product code, revision and more by FC 43/14. Raises DeviceRefused where the device has no such thing."""
        objects: dict[int, bytes] = {}
        for level in (1, 2):
            try:
                objects |= await self._objects(device, level)
            except DeviceRefused:
                if level == 1:
                    raise
        return {
            name: objects[number].decode("utf-8", "replace").strip("\0 ")
            for number, name in _IDENTITY_NAMES.items()
            if objects.get(number)
        }

    async def _objects(self, device: Address, level: int) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        at: int | None = 0
        while at is not None:
            request = codec.identity_request(level, at)
            reply = codec.parse_identity(request, await self._ask(device, request))
            found |= reply.objects
            at = reply.more_from
        return found

    async def discover(self, units: Sequence[int]) -> AsyncIterator[tuple[Address, Mapping[str, str]]]:
        """Units that answer believably, with what they say of themselves; an exception reply is an answer too.

        Raises LinkError. A unit that is silent, or whose frames are wrong, is passed over.
        """
        for unit in units:
            device = Address(unit)
            facts = await self._facts(device)
            if facts is not None:
                yield device, facts

    async def _facts(self, device: Address) -> Mapping[str, str] | None:
        """What the unit says of itself; None for one that does not answer two questions."""
        if not await self._answers(device):
            return None
        try:
            return await self.identify(device)
        except DeviceTimeout:
            return {} if await self._answers(device) else None
        except DeviceError:
            return {}

    async def _answers(self, device: Address) -> bool:
        try:
            await self.registers(device, "holding", 0, 1)
        except DeviceRefused as error:
            return error.code not in _DEVICE_CODES
        except DeviceError:
            return False
        return True

    # -- writing ------------------------------------------------------------------------------------------------------

    async def write(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> None:
        """Writes a coil or holding registers, once. See CanWrite; there are no priorities, and `value` None is refused."""
        change = write.plan_write(point, value, layout, priority)
        can_mask = device.unit not in self._without_mask
        if not await write.carry_out(lambda request: self._ask(device, request), change, can_mask=can_mask):
            self._without_mask.add(device.unit)

    def rehearse(
        self, device: Address, point: Point, value: Raw | None, layout: Layout | None, *, priority: int | None = None
    ) -> str:
        """The function, the register and the words that `write` would send. Raises ConfigError as it would."""
        codec.check_unit(device.unit)
        change = write.plan_write(point, value, layout, priority)
        return write.wording(change, can_mask=device.unit not in self._without_mask)

    async def operate(
        self, device: Address, operation: Operation, inputs: Mapping[str, Raw], layout: Layout | None
    ) -> Mapping[str, Raw]:
        """One write or a pulse, as the profile's `call` says (see operate). Modbus answers nothing by name."""
        await carry_out(lambda request: self._ask(device, request), operation)
        return {}

    async def standing(
        self, device: Address, point: Point, layout: Layout | None, *, priority: int | None = None
    ) -> Standing:
        """What the point's registers hold now; a PointFault where the device does not let them be read."""
        place = locate_point(point, layout)
        if place is None:
            return Standing(PointFault("BadNodeIdUnknown", "the device has no such SunSpec model"))
        block = build_block(place.table, place.first, place.last, (place,), layout or {})
        try:
            [value] = block.decode(await self._ask(device, block.request))
        except DeviceRefused as error:
            if error.code in _DEVICE_CODES or error.code not in codec.EXCEPTIONS:
                raise
            return Standing(fault_of(error.code))
        return Standing(value)

    async def _ask(self, device: Address, request: codec.Request) -> bytes:
        try:
            return await self._wire.ask(codec.check_unit(device.unit), request)
        except DeviceError as error:
            self._locate_error(error, device)
            raise

    def _locate_error(self, error: DeviceError, device: Address) -> None:
        if not error.where:
            name = (
                f"{device.device} ({self.link.id}, unit {device.unit})"
                if device.device
                else f"{self.link.id}, unit {device.unit}"
            )
            error.where = name

    # -- healing ------------------------------------------------------------------------------------------------------

    async def _refused(self, device: Address, block: Block, error: DeviceRefused) -> Sequence[Raw | PointFault]:
        if error.code in _DEVICE_CODES or error.code not in codec.EXCEPTIONS:
            raise error
        if error.code not in HEALED_CODES:
            return [fault_of(error.code) for _ in block.places]
        key = (device.unit, block.table, block.first, block.count)
        if self._in_vain.get(key, 0) > 0:
            self._in_vain[key] -= 1
            return [fault_of(error.code) for _ in block.places]
        healed = await self._heal(device, block, error.code)
        if not healed.refused and not healed.cuts:
            self._in_vain[key] = _HEAL_AGAIN_AFTER
        if healed.refused or healed.cuts:
            self._learn(device, remembered(self._known(device, block), block.table, healed))
        return [healed.values[place.point.id] for place in block.places]

    async def _heal(self, device: Address, block: Block, code: int) -> Healed:
        healing = heal(block, code)
        try:
            part = next(healing)
            while True:
                try:
                    part = healing.send(await self._ask(device, part.request))
                except DeviceRefused as error:
                    part = healing.send(error.code)
        except StopIteration as end:
            healed: Healed = end.value
            return healed

    def _known(self, device: Address, block: Block) -> Layout:
        return self._learned.get(device.unit) or block.layout

    def _learn(self, device: Address, layout: dict[str, Any]) -> None:
        if layout != self._known_or_empty(device):
            self._learned[device.unit] = self._news[device.unit] = layout

    def _known_or_empty(self, device: Address) -> Layout:
        return self._learned.get(device.unit, {})
