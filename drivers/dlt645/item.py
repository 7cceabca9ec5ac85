"""One value behind a DL/T 645 data identifier: its format, unit and sign, and what its bytes say. Pure.

A format is the standard's own: `XXXXXX.XX` are eight digits, four bytes, two of them behind the point; letters other than X
(`YYMMDDhhmm`, `NNNNNN`) are digits that make a text. Source: DL/T 645-2007, annex A (notes to its tables); -1997, annex A.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drivers import bcd
from drivers.frames import Value

_FLAGS = {"word": 2, "flags": 1}
_TEXT = "text "


@dataclass(frozen=True, slots=True)
class Item:
    """One value. `unit` is a UCUM code; `size` in bytes.

    Formats beside the standard's: `word` is two bytes of flags, `flags` one, `text 6` six characters of ASCII.
    """

    id: str
    format: str
    unit: str | None = None
    signed: bool = False

    @property
    def size(self) -> int:
        if self.format in _FLAGS:
            return _FLAGS[self.format]
        if self.format.startswith(_TEXT):
            return int(self.format.removeprefix(_TEXT))
        return (sum(letter not in "." for letter in self.format) + 1) // 2

    @property
    def places(self) -> int:
        return len(self.format.partition(".")[2])

    def decode(self, data: bytes) -> Value:
        """The value, or why there is none: what a meter fills in for an absent phase, or a nibble that is no digit."""
        if self.format in _FLAGS:
            return Value(self.id, int.from_bytes(data, "little"), None)
        if self.format.startswith(_TEXT):
            text = data[::-1].strip(b"\0 \xff")
            is_text = text.isascii() and text.decode("ascii", "replace").isprintable()
            return Value(self.id, text.decode() if is_text else None, None, "" if is_text else "BadDecodingError")
        if self.format[0] not in "X0":
            text_of = bcd.digits(data)
            status = "" if text_of is not None else "BadSensorFailure" if bcd.is_absent(data) else "BadDecodingError"
            return Value(self.id, text_of, None, status)
        number = bcd.number(data, self.places, signed=self.signed)
        if number is None:
            return Value(self.id, None, self.unit, "BadSensorFailure" if bcd.is_absent(data) else "BadDecodingError")
        return Value(self.id, float(number) if self.places else int(number), self.unit)


def decode(items: Sequence[Item], data: bytes) -> Iterator[tuple[Value, int]]:
    """The values in `data` and their bytes, as many items as it holds; what is left over is told as one undecoded value."""
    at = 0
    for item in items:
        if at + item.size > len(data):
            break
        yield item.decode(data[at : at + item.size]), item.size
        at += item.size
    if at < len(data):
        status = "UncertainDataSubNormal" if at else "BadDecodingError"
        yield Value("undecoded", data[at:].hex(), None, status), len(data) - at
