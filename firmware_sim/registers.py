"""Register maps and the images that devices answer from.

A map is a table of cells: address as on the wire (0-based), kind of number, quantity, size of the last digit, the datasheet's
words. An image holds one table's registers as bytes, high byte first, and which of them exist. Encoding is written here from
the datasheets alone; no decoder of this product is looked at.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

HOLDING, INPUT, COIL, DISCRETE = "holding", "input", "coil", "discrete"

Value = float | int | str | None
Snapshot = Mapping[str, Value]
"""Quantity -> value in the unit its name says; None where the device has no value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a number lies in registers. `absent` is what the device sends where it has no value."""

    words: int
    pack: Callable[[float | int | str], bytes]
    absent: bytes
    swapped: bool = False

    def encode(self, value: Value, lsb: float) -> bytes:
        """`value` in units of `lsb`, as registers; low word first where swapped."""
        if value is None:
            raw = self.absent
        elif isinstance(value, str):
            raw = self.pack(value)
        else:
            raw = self.pack(value / lsb if lsb != 1 else value)
        if self.swapped:
            return b"".join(raw[index : index + 2] for index in range(len(raw) - 2, -1, -2))
        return raw


def _integer(bits: int, *, signed: bool) -> Kind:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def pack(value: float | int | str) -> bytes:
        number = round(float(value)) if isinstance(value, float) else int(value)
        return min(max(number, low), high).to_bytes(bits // 8, "big", signed=signed)

    absent = (1 << bits - 1).to_bytes(bits // 8, "big") if signed else b"\xff" * (bits // 8)
    return Kind(bits // 16, pack, absent)


def _sign_magnitude(bits: int) -> Kind:
    def pack(value: float | int | str) -> bytes:
        number = round(float(value))
        sign = 1 << bits - 1 if number < 0 else 0
        return (sign | min(abs(number), (1 << bits - 1) - 1)).to_bytes(bits // 8, "big")

    return Kind(bits // 16, pack, b"\xff" * (bits // 8))


def _float(code: str, words: int) -> Kind:
    packer = struct.Struct(code)
    return Kind(words, lambda value: packer.pack(float(value)), packer.pack(math.nan))


U16, S16 = _integer(16, signed=False), _integer(16, signed=True)
U32, S32 = _integer(32, signed=False), _integer(32, signed=True)
U64, S64 = _integer(64, signed=False), _integer(64, signed=True)
F32, F64 = _float(">f", 2), _float(">d", 4)
SM16, SM32 = _sign_magnitude(16), _sign_magnitude(32)


def low_word_first(kind: Kind) -> Kind:
    return replace(kind, swapped=True)


def text(words: int) -> Kind:
    """A string, padded with NULs."""
    return Kind(
        words, lambda value: str(value).encode("latin-1")[: words * 2].ljust(words * 2, b"\0"), bytes(words * 2)
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """One value in a table. `quantity` names a snapshot's entry, or is a constant (`=12`, `=SunS`, `=` for no value); `label` is
    the datasheet's word for it.
    """

    address: int
    kind: Kind
    quantity: str
    lsb: float = 1.0
    label: str = ""
    writable: bool = False


def phases(
    address: int, kind: Kind, stem: str, lsb: float = 1.0, label: str = "", *, step: int | None = None
) -> tuple[Cell, Cell, Cell]:
    """Three cells for stem1, stem2, stem3, one after the other unless `step` registers apart; `{}` in the label counts."""
    apart = kind.words if step is None else step
    one, two, three = (
        Cell(address + index * apart, kind, f"{stem}{index + 1}", lsb, label.replace("{}", str(index + 1)))
        for index in range(3)
    )
    return one, two, three


class Holes(Enum):
    """What a device does with registers of a block that it does not have."""

    REFUSE = "exception 02 for the whole block"
    FILL = "filler inside a block that begins at a register it has; exception 02 otherwise"
    ALWAYS_FILL = "filler anywhere"


def _constant(text: str) -> Value:
    """`=` no value, `=12` and `=-2` a number, `=SunS` a string."""
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        return text


class Image:
    """The registers of one table of one device, as bytes."""

    def __init__(self, cells: Sequence[Cell], *, holes: Holes, filler: bytes, whole_values: bool) -> None:
        self._low = min(cell.address for cell in cells)
        high = max(cell.address + cell.kind.words for cell in cells)
        self._bytes = bytearray(filler * (high - self._low))
        self._defined = bytearray(high - self._low)
        self._holes = holes
        self._filler = filler
        self._inside: set[int] = set()
        self._varying = tuple(cell for cell in cells if not cell.quantity.startswith("="))
        self.cells = {cell.address: cell for cell in cells}
        for cell in cells:
            first = cell.address - self._low
            self._defined[first : first + cell.kind.words] = b"\1" * cell.kind.words
            if whole_values:
                self._inside.update(range(cell.address + 1, cell.address + cell.kind.words))
            if cell.quantity.startswith("="):
                self._put(cell, _constant(cell.quantity[1:]))

    def update(self, snapshot: Snapshot, absent: Iterable[str] = ()) -> None:
        """Encodes the snapshot; quantities in `absent` become what the device sends for "no value"."""
        missing = set(absent)
        for cell in self._varying:
            self._put(cell, None if cell.quantity in missing else snapshot[cell.quantity])

    def _put(self, cell: Cell, value: Value) -> None:
        offset = 2 * (cell.address - self._low)
        self._bytes[offset : offset + 2 * cell.kind.words] = cell.kind.encode(value, cell.lsb)

    def read(self, address: int, count: int) -> bytes | None:
        """`count` registers, high byte first; None = illegal data address."""
        first, end = address - self._low, address - self._low + count
        if address in self._inside or address + count in self._inside:
            return None
        whole = first >= 0 and end <= len(self._defined)
        if whole and self._defined.find(0, first, end) < 0:
            return bytes(self._bytes[2 * first : 2 * end])
        if self._holes is Holes.REFUSE:
            return None
        if self._holes is Holes.FILL and not (0 <= first < len(self._defined) and self._defined[first]):
            return None
        inside = bytes(self._bytes[2 * max(first, 0) : max(2 * end, 0)])
        before = self._filler * min(max(-first, 0), count)
        return (before + inside).ljust(2 * count, self._filler[:1])
