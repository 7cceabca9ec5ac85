"""One card, one canonical form at every reader: what a profile says about its reader, and the arithmetic. Pure.

The canonical form is the decimal number of the card's own bits (facility code and number together, the highest first, parity
left out). It is a person's secret: `Clear` keeps it out of logs and dumps until the agent has made a pseudonym of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Self

from pydantic import Field, model_validator

from .strict import Strict

PARITY_BITS = frozenset({26, 34, 37, 50, 58, 66})
"""Wiegand lengths that have an even parity bit in front and an odd one behind, each over its half (37: the middle bit in both).
Source: HID, Understanding Card Data Formats (26-bit H10301, 37-bit H10302); the longer ones: source: unverified.
"""
_CORPORATE = (0x3_FFFF_FFFF, 0x1_B6DB_6DB6, 0x3_6DB6_DB6C)
"""35 bits (HID Corporate 1000): what the first (odd), the second (even) and the last parity bit (odd) are over, of the bits as
a number. source: unverified.
"""
_PAIR_DIGITS = 100_000
_DIGITS = {"hex": re.compile(r"[0-9A-Fa-f]{1,32}"), "decimal": re.compile(r"[0-9]{1,38}")}


@dataclass(frozen=True, slots=True)
class Clear:
    """What must not be written down as it is: a card's or a plate's canonical form."""

    text: str = field(repr=False)

    def __str__(self) -> str:
        return "(hidden)"


class CredentialError(ValueError):
    """What a reader sent is no card. The text says why, and never what was read."""


class Credential(Strict):
    """How this device says which card it was.

    `form`: `bits` (Wiegand, OSDP raw card data), `hex`, `decimal` (text of one number), `facility_number` (`118,01254`: facility
    code and number in decimal, of 8 and 16 bits where `number_bits` says nothing else), `facility_digits` (`11801254`: the same
    of a 26-bit card written as one, the number in five digits; what can be no such pair is a decimal number).
    """

    form: Literal["bits", "hex", "decimal", "facility_number", "facility_digits"] = "bits"
    reversed: bool = False
    """The reader sends the lowest byte first."""
    number_bits: int = Field(default=16, ge=1, le=64)
    """Bits of the number, below the facility code."""
    parity: bool = True
    """False: the bits are the card's own, no parity among them."""
    data: tuple[int, int] | None = None
    """First and last bit of the card's own bits, counted from 1, where the reader has a format of its own."""
    keep: int | None = Field(default=None, ge=8, le=128)
    """Only the lowest bits: where some readers of a site send 26 bits of a card and others 34, `keep: 24` makes them one."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.data is not None and not 1 <= self.data[0] <= self.data[1] <= 256:
            raise ValueError(f"data {self.data[0]}..{self.data[1]} are no bits; write the first and the last, from 1")
        if self.data is not None and self.form != "bits":
            raise ValueError("data is for form: bits")
        return self

    def of_bits(self, bits: str) -> Clear:
        """From "0" and "1", as they came. Raises CredentialError for a wrong parity, or fewer bits than the format has."""
        if not bits or bits.strip("01"):
            raise CredentialError(f"{len(bits)} characters, and not all of them bits")
        if self.data is not None:
            if len(bits) < self.data[1]:
                raise CredentialError(f"{len(bits)} bits, where the format has {self.data[1]}")
            own = bits[self.data[0] - 1 : self.data[1]]
        elif self.parity and len(bits) in PARITY_BITS:
            half = (len(bits) - 1) // 2
            if bits[: half + 1].count("1") % 2 or not bits[-half - 1 :].count("1") % 2:
                raise CredentialError(f"wrong parity in {len(bits)} bits")
            own = bits[1:-1]
        elif self.parity and len(bits) == 35:
            value = int(bits, 2)
            odd = [(value & mask).bit_count() % 2 for mask in _CORPORATE]
            if [odd[0], odd[1], odd[2]] != [1 - int(bits[0]), int(bits[1]), 1 - int(bits[-1])]:
                raise CredentialError("wrong parity in 35 bits")
            own = bits[2:-1]
        else:
            own = bits
        return self._canonical(int(own, 2), len(own))

    def of_text(self, text: str) -> Clear:
        """From what the device wrote. Raises CredentialError for text of another form."""
        text = text.strip()
        if self.form == "facility_number":
            facility, separator, number = text.replace("-", ",").partition(",")
            if not separator or not (facility.isdecimal() and number.isdecimal() and text.isascii()):
                raise CredentialError(f"{len(text)} characters, where facility code and number are due")
            if int(number) >> self.number_bits:
                raise CredentialError(f"the number has more than {self.number_bits} bits")
            return self._canonical(int(facility) << self.number_bits | int(number), 8 + self.number_bits)
        form = "hex" if self.form == "hex" else "decimal"
        if _DIGITS[form].fullmatch(text) is None:
            raise CredentialError(f"{len(text)} characters, where a {form} number is due")
        value = int(text, 16 if form == "hex" else 10)
        high, low = divmod(value, _PAIR_DIGITS)
        if self.form == "facility_digits" and high < 256 and low < 65536:
            return self._canonical(high << 16 | low, 24)
        width = 4 * len(text) if form == "hex" else 8 * max(4, -(-value.bit_length() // 8))
        return self._canonical(value, width)

    def _canonical(self, value: int, width: int) -> Clear:
        if self.reversed:
            value = int.from_bytes(value.to_bytes(-(-width // 8), "big"), "little")
        if self.keep is not None:
            value &= (1 << self.keep) - 1
        if value == 0:
            raise CredentialError("all bits are 0, which no card has")
        return Clear(str(value))
