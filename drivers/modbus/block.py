"""One Modbus read: which registers, which points are in it, how its reply is decoded. Immutable, built by the planner.

A block is also what can be taken apart: `elements` are its registers as things that a device may refuse one by one, the points
(those that overlap are one element) and the holes between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from device_profiles.errors import ConfigError
from device_profiles.schema import Modbus, Point
from drivers.base import NotLocated

from . import codec
from .decode import Decoder, compile_bits, compile_registers, place_of


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point is on its device: the table, and the registers at which its value (or each part of it) begins."""

    point: Point
    table: str
    regs: tuple[int, ...]

    @property
    def first(self) -> int:
        return min(self.regs)

    @property
    def last(self) -> int:
        return max(self.regs) + (self.point.registers if self.table not in codec.BIT_TABLES else 1) - 1


@dataclass(frozen=True, slots=True)
class Element:
    """Registers that are asked for together or not at all: points, or a hole when `places` is empty."""

    first: int
    last: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Block:
    """One request. `places` are in the order of their registers; results come in this order."""

    table: str
    first: int
    count: int
    places: tuple[Place, ...]
    layout: Mapping[str, Any]
    """What was known of the device when this was planned."""
    request: codec.Request
    decode: Decoder
    suspect: bool = False
    """The device has refused these registers before."""

    @property
    def last(self) -> int:
        return self.first + self.count - 1

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """The block from end to end, in order and without overlap."""
        found: list[Element] = []
        at = self.first
        for place in self.places:
            if found and found[-1].places and place.first <= found[-1].last:
                before = found.pop()
                found.append(Element(before.first, max(before.last, place.last), (*before.places, place)))
            else:
                if place.first > at:
                    found.append(Element(at, place.first - 1, ()))
                found.append(Element(place.first, place.last, (place,)))
            at = found[-1].last + 1
        if at <= self.last:
            found.append(Element(at, self.last, ()))
        return tuple(found)


def build_block(
    table: str, first: int, last: int, places: Sequence[Place], layout: Mapping[str, Any], *, suspect: bool = False
) -> Block:
    """The block from register `first` to `last`. Raises ConfigError where that is no readable range."""
    ordered = tuple(sorted(places, key=lambda place: (place.first, place.last, place.point.id)))
    if table in codec.BIT_TABLES:
        decode = compile_bits([place.first for place in ordered], first)
    else:
        decode = compile_registers([place.point for place in ordered], [place.regs for place in ordered], first)
    request = codec.read_request(table, first, last - first + 1)
    return Block(table, first, last - first + 1, ordered, layout, request, decode, suspect)


def locate_point(point: Point, layout: Mapping[str, Any] | None) -> Place | None:
    """Where a point is; None when it belongs to a SunSpec model that this device does not have.

    Raises ConfigError for a point that is no Modbus point, and for a SunSpec point while the chain has not been walked.
    """
    address = point.address
    if not isinstance(address, Modbus):
        raise ConfigError(
            f"the address {address!r} is no Modbus address",
            where=point.id,
            next_step="give table and reg, or model and at",
        )
    if address.model is None:
        return Place(point, address.table, place_of(point))
    if layout is None or "models" not in layout:
        raise NotLocated(
            "the SunSpec models of this device are not known yet", where=point.id, next_step="locate the device first"
        )
    wanted = (address.model,) if isinstance(address.model, int) else address.model
    for model in wanted:
        base = layout["models"].get(str(model))
        if base is not None:
            return Place(point, address.table, (base + (address.offset or 0),))
    return None
