"""Writes one point: from a raw value to the request that puts it there, and what a refusal of a write means.

The exact inverse of `decode`: a value that would be read back as another one is refused before anything is sent. Knows no
limits, no unit and no hold, and never sends a write twice. Bits of a register are set by the device itself (FC 22) where it
can, otherwise the register is read and written back at once, which another master could come between.
Source: MODBUS Application Protocol V1.1b3, 6.5, 6.6, 6.11, 6.12 (writes), 6.16 (mask write), 7 (exceptions).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from device_profiles.errors import ConfigError, DeviceRefused, DeviceTimeout
from device_profiles.reading import Raw
from device_profiles.schema import Point

from . import codec
from .block import Place, locate_point
from .decode import byte_order

Ask = Callable[[codec.Request], Awaitable[bytes]]
"""Sends one request and gives the data of the good reply. Raises DeviceError, LinkError."""

_REFUSED = {
    0x01: ("BadNotSupported", "set write.function to single or multiple, as the device's manual has it"),
    0x02: ("BadNodeIdUnknown", "check that the register can be written, and its number (they count from 0 here)"),
    0x03: ("BadOutOfRange", "see the device's manual for the values that it takes"),
    0x04: ("BadDeviceFailure", "look at the device itself"),
    0x06: ("BadServerTooBusy", "write again later"),
}
"""Exception code of a write: the OPC UA status, and what to do."""
_UNDECIDED = {
    0x05: "the device is still working on it (exception 5)",
    0x0B: "the gateway heard no answer of the device (exception 11)",
}
"""Exceptions after which nobody knows whether the value was taken."""


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits to be set among `count` registers from `first`: `value` where `mask` is 1, everything else as it stands."""

    first: int
    mask: tuple[int, ...]
    value: tuple[int, ...]
    function: Literal["single", "multiple"] | None

    @property
    def count(self) -> int:
        return len(self.mask)

    def by_device(self) -> codec.Request | None:
        """The mask write that sets them; None where more than one register is concerned, or the profile names a function."""
        touched = [index for index, mask in enumerate(self.mask) if mask]
        if len(touched) != 1 or self.function is not None:
            return None
        [index] = touched
        return codec.mask_register(self.first + index, ~self.mask[index] & 0xFFFF, self.value[index])

    def read_first(self) -> codec.Request:
        return codec.read_request("holding", self.first, self.count)

    def into(self, data: bytes) -> codec.Request:
        """The write of the registers as they stand (`data`, as read) with the bits set."""
        words = struct.unpack(f">{self.count}H", data)
        return _words(
            self.first,
            [word & ~mask | value for word, mask, value in zip(words, self.mask, self.value, strict=True)],
            self.function,
        )


def plan_write(
    point: Point, value: Raw | None, layout: Mapping[str, Any] | None, priority: int | None
) -> codec.Request | Bits:
    """What has to be sent. Pure. Raises ConfigError for what cannot be written, NotLocated before a SunSpec chain was walked."""
    if value is None or priority is not None:
        raise ConfigError("Modbus knows no priorities", where=point.id, next_step="write a value, without a priority")
    place = locate_point(point, layout)
    if place is None:
        raise ConfigError("the device has no such SunSpec model", where=point.id, next_step="remove the point")
    function = point.write.function if point.write else None
    if place.table == "coil":
        on = _whole(point, value, 0, 1) == 1
        return codec.write_coils(place.first, [on]) if function == "multiple" else codec.write_coil(place.first, on)
    if place.table != "holding":
        raise ConfigError(
            f"{place.table} registers cannot be written", where=point.id, next_step="address a holding register or coil"
        )
    if point.parts:
        raise ConfigError("a value of several parts cannot be written", where=point.id, next_step="write its registers")
    if point.bit_range:
        return _bits(point, place, value, function)
    return _words(place.first, _wire(point, encode(point, value)), function, point.id)


def _bits(point: Point, place: Place, value: Raw, function: Literal["single", "multiple"] | None) -> Bits:
    assert point.bit_range is not None
    low, high = point.bit_range
    most = (1 << (high - low + 1)) - 1
    if point.type == "bool" and high > low:
        raise ConfigError(f"bits {point.bits} are one bool", where=point.id, next_step="make it a u16 to write it")
    size = 2 * point.registers
    mask, wanted = most << low, _whole(point, value, 0, most) << low
    return Bits(
        place.first, _wire(point, mask.to_bytes(size, "big")), _wire(point, wanted.to_bytes(size, "big")), function
    )


def _words(
    first: int, words: tuple[int, ...] | list[int], function: Literal["single", "multiple"] | None, where: str = ""
) -> codec.Request:
    if function == "multiple" or (function is None and len(words) > 1):
        return codec.write_registers(first, words)
    if len(words) > 1:
        raise ConfigError(
            f"a value of {len(words)} registers cannot be written by FC 6",
            where=where,
            next_step="leave out write.function: single, or a device may take one half",
        )
    return codec.write_register(first, words[0])


def _wire(point: Point, data: bytes) -> tuple[int, ...]:
    """Bytes of a value, most significant first, as the words that go over the wire."""
    placed = bytearray(len(data))
    for byte, at in zip(data, byte_order(point.registers, point.word_order), strict=True):
        placed[at] = byte
    return struct.unpack(f">{point.registers}H", placed)


def encode(point: Point, value: Raw) -> bytes:
    """The value's bytes, most significant first, as `decode` would read it. Raises ConfigError where they cannot say it."""
    kind, size = point.type, 2 * point.registers
    if kind == "str":
        return _text(point, value).ljust(size, b"\0")
    if kind in ("f32", "f64"):
        return _float(point, value)
    bits = 8 * size
    if kind.startswith("bcd"):
        return bytes.fromhex(f"{_whole(point, value, 0, 10 ** (2 * size) - 1):0{2 * size}d}")
    if kind.startswith("sm"):
        most = (1 << (bits - 1)) - 1
        number = _whole(point, value, -most, most)
        return (abs(number) | (1 << (bits - 1) if number < 0 else 0)).to_bytes(size, "big")
    if kind == "bool":
        return _whole(point, value, 0, 1).to_bytes(size, "big")
    if kind.startswith("s"):
        return _whole(point, value, -(1 << (bits - 1)), (1 << (bits - 1)) - 1).to_bytes(size, "big", signed=True)
    return _whole(point, value, 0, (1 << bits) - 1).to_bytes(size, "big")


def _whole(point: Point, value: Raw, low: int, high: int) -> int:
    if isinstance(value, str) or (isinstance(value, float) and not value.is_integer()):
        raise ConfigError(
            f"{value!r:.40} is no whole number", where=point.id, next_step=f"a {point.type} is written whole"
        )
    if not low <= value <= high:
        raise ConfigError(
            f"{value!r:.40} does not fit", where=point.id, next_step=f"its register takes {low} to {high}, unscaled"
        )
    return int(value)


def _float(point: Point, value: Raw) -> bytes:
    try:
        number = math.nan if isinstance(value, str) else float(value)
        if math.isfinite(number):
            return struct.pack(">f" if point.type == "f32" else ">d", number)
    except OverflowError as error:
        raise ConfigError(
            f"{value!r:.40} is too large for a {point.type}", where=point.id, next_step="give a smaller number"
        ) from error
    raise ConfigError(f"{value!r:.40} is no number", where=point.id, next_step="give a finite number")


def _text(point: Point, value: Raw) -> bytes:
    size = 2 * point.registers
    try:
        data = value.encode(point.encoding) if isinstance(value, str) else None
    except (UnicodeEncodeError, LookupError) as error:
        raise ConfigError(
            f"{value!r} is not {point.encoding}: {error}", where=point.id, next_step="use its characters only"
        ) from error
    if data is None or not isinstance(value, str):
        raise ConfigError(f"{value!r} is no text", where=point.id, next_step="give text")
    if len(data) > size or b"\0" in data or data.endswith(b"\xff") or value != value.strip():
        raise ConfigError(
            f"{value!r} would not be read back as it is",
            where=point.id,
            next_step=f"give at most {size} bytes, without blanks around them",
        )
    return data


async def carry_out(ask: Ask, change: codec.Request | Bits, *, can_mask: bool) -> bool:
    """Sends it, once. False when the device said that it has no mask write; the bits were then written another way.

    Raises DeviceRefused for what was not taken, DeviceTimeout and other errors where that is not known.
    """
    if isinstance(change, codec.Request):
        await _sent(ask, change)
        return can_mask
    request = change.by_device() if can_mask else None
    if request is not None:
        try:
            await _sent(ask, request)
            return True
        except DeviceRefused as error:
            if error.code != 1:
                raise
            can_mask = False  # it does not know the function, so nothing was written
    await _sent(ask, change.into(await ask(change.read_first())))
    return can_mask


async def _sent(ask: Ask, request: codec.Request) -> None:
    try:
        await ask(request)
    except DeviceTimeout as error:
        if request.function == codec.MASK_WRITE:
            error.next_step = "if the device does not know mask write (FC 22), set write.function: single"
        raise
    except DeviceRefused as error:
        if error.code in _UNDECIDED:
            raise DeviceTimeout(
                f"it is not known whether it was written: {_UNDECIDED[error.code]}",
                where=error.where,
                next_step="read it back",
            ) from error
        status, step = _REFUSED.get(error.code, (error.status, error.next_step))
        raise DeviceRefused(error.what, code=error.code, status=status, where=error.where, next_step=step) from error


def wording(change: codec.Request | Bits, *, can_mask: bool) -> str:
    """What would be sent, in Modbus' own words: `FC 6: holding register 1 (0x0001) = 10000 (0x2710)`."""
    if isinstance(change, codec.Request):
        return _request_words(change)
    request = change.by_device() if can_mask else None
    if request is not None:
        return _request_words(request)
    function = 16 if change.function == "multiple" or change.count > 1 else 6
    masks = " ".join(f"{mask:04x}" for mask in change.mask)
    values = " ".join(f"{value:04x}" for value in change.value)
    return (
        f"FC 3 and {function}: {_place('holding register', change.first, change.count)}, "
        f"bits 0x{masks} become 0x{values}"
    )


def _request_words(request: codec.Request) -> str:
    pdu = request.pdu
    first, second = struct.unpack(">HH", pdu[1:5])
    if request.function == 5:
        return f"FC 5: {_place('coil', first)} = {'on' if second else 'off'}"
    if request.function == 15:
        return f"FC 15: {_place('coil', first, second)} = {'on' if pdu[6] & 1 else 'off'}"
    if request.function == 6:
        return f"FC 6: {_place('holding register', first)} = {second} (0x{second:04x})"
    if request.function == codec.MASK_WRITE:
        value = int.from_bytes(pdu[5:7], "big")
        return f"FC 22: {_place('holding register', first)}, bits 0x{~second & 0xFFFF:04x} become 0x{value:04x}"
    return f"FC 16: {_place('holding register', first, second)} = {pdu[6:].hex(' ', 2)}"


def _place(kind: str, first: int, count: int = 1) -> str:
    if count == 1:
        return f"{kind} {first} (0x{first:04x})"
    return f"{kind}s {first} to {first + count - 1} (0x{first:04x})"
