"""Packed decimal digits (BCD) as meters send them: low byte first, with what is no digit said and never made a number."""

from __future__ import annotations

from decimal import Decimal

_ABSENT = (0xFF, 0xEE)


def digits(data: bytes) -> str | None:
    """The decimal digits of bytes whose first is the lowest; None when a nibble is above 9."""
    text = data[::-1].hex()
    return text if text.isdecimal() else None


def digits_or_wildcard(data: bytes) -> str | None:
    """As `digits`, but with nibbles of A, which stand for any digit in an address."""
    text = data[::-1].hex().upper()
    return text if not set(text) - set("0123456789A") else None


def to_bytes(text: str) -> bytes:
    """The bytes of an even number of decimal digits (or A of a wildcard), lowest byte first. Raises ValueError."""
    return bytes.fromhex(text)[::-1]


def number(data: bytes, places: int, *, signed: bool = False) -> Decimal | None:
    """The number with `places` digits behind the point; `signed`: the top bit of the last byte is the sign, the rest digits.

    None for bytes that are no digits, an absent value (all FF or EE) among them: `is_absent` tells them apart.
    """
    if not data:
        return None
    is_negative = signed and bool(data[-1] & 0x80)
    text = digits(data[:-1] + bytes((data[-1] & 0x7F,)) if is_negative else data)
    if text is None:
        return None
    value = Decimal(int(text)).scaleb(-places)
    return -value if is_negative else value


def is_absent(data: bytes) -> bool:
    """True for the filling that means "there is no such value": every byte FF, or every byte EE."""
    return bool(data) and any(data == bytes((filling,)) * len(data) for filling in _ABSENT)
