"""Which identifiers to ask a DL/T 645 meter for: one block instead of several values where the profile names it. Pure.

A block that the meter refused stands in the layout as `refused_blocks`, and its values are then asked for one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from device_profiles.errors import ConfigError
from device_profiles.reading import PointFault, Raw
from device_profiles.schema import Dlt645, Point
from drivers import bcd
from drivers.base import Batch, Layout, LinkConfig

from . import frame

REFUSED = "refused_blocks"
_WAKE = 4
Bits = tuple[int, int] | None
"""First and last bit, bit 0 the least."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One read of an identifier, and what is taken from its answer: (point's address, offset in bytes, bits of a word)."""

    di: int
    places: tuple[tuple[Dlt645, int, Bits], ...]
    layout: Layout
    is_block: bool = False

    def decode(self, data: bytes) -> list[Raw | PointFault]:
        """The values in their order. A block shorter than the standard's lacks what a smaller meter does not have."""
        return [decode(address, data[at : at + address.size], bits) for address, at, bits in self.places]

    def singly(self) -> list[Ask]:
        """The same values without their block."""
        return [Ask(address.di, ((address, 0, bits),), self.layout) for address, _, bits in self.places]


@dataclass(frozen=True, slots=True)
class AskClock:
    """A read of the meter's date and time, for how far they are from ours."""

    di: int
    """Of the date; the time stands under the next identifier."""


def decode(address: Dlt645, data: bytes, bits: Bits = None) -> Raw | PointFault:
    """Digits as a whole number (the point's scale sets the point), or as text with the highest first; a word as it is."""
    if len(data) < address.size:
        return PointFault("BadNodeIdUnknown", f"the meter's answer ends before {address.reference}")
    if bcd.is_absent(data) and address.format != "word":
        return PointFault("BadSensorFailure", f"the meter has no value for {address.reference} (it sent {data.hex()})")
    if address.format == "word":
        word = int.from_bytes(data[: address.size], "little")
        return word if bits is None else word >> bits[0] & (1 << bits[1] - bits[0] + 1) - 1
    if address.is_text:
        text = bcd.digits(data)
        return text if text is not None else _no_digits(data)
    number = bcd.number(data, 0, signed=address.signed)
    return int(number) if number is not None else _no_digits(data)


def _no_digits(data: bytes) -> PointFault:
    return PointFault("BadDecodingError", f"{data[::-1].hex()} is no decimal number")


def plan(points: Sequence[Point], layout: Layout | None, link: LinkConfig, *, di_size: int) -> tuple[Batch, ...]:
    """A batch an identifier, in the order of the points. Raises ConfigError for a point without an address."""
    known = layout or {}
    refused = frozenset(known.get(REFUSED, ()))
    groups: dict[tuple[int, int], list[tuple[Point, Dlt645]]] = {}
    clocks: list[Batch] = []
    alone = count(1)
    for point in points:
        address = point.address
        if not isinstance(address, Dlt645):
            raise ConfigError(f"{point.id} has no DL/T 645 address", where=link.id, next_step="add di: and format:")
        if address.format == "clock":
            clocks.append(_clock_batch(point, address, di_size))
            continue
        block = address.block
        key = (block, 0) if block is not None and block not in refused else (address.di, next(alone))
        groups.setdefault(key, []).append((point, address))
    batches = [_batch(di, group, known, di_size, is_block=not single) for (di, single), group in groups.items()]
    return (*batches, *clocks)


def _clock_batch(point: Point, address: Dlt645, di_size: int) -> Batch:
    head = 2 * (_WAKE + frame.HEAD + di_size + 2)
    return Batch((point.id,), head, head + address.size, AskClock(address.di))


def _batch(di: int, group: list[tuple[Point, Dlt645]], layout: Layout, di_size: int, *, is_block: bool) -> Batch:
    places = tuple(
        (address, address.item * address.size if is_block else 0, point.bit_range) for point, address in group
    )
    head = _WAKE + frame.HEAD + di_size + 2
    return Batch(
        points=tuple(point.id for point, _ in group),
        request_bytes=head,
        reply_bytes=head + max(at + address.size for address, at, _ in places),
        plan=Ask(di, places, layout, is_block),
    )
