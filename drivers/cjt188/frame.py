"""CJ/T 188 frames: built, checked, and found in a stream. Knows controls and types, not what data means.

    [FE x2..4] 68 T A0..A6 C L DATA CS 16    A low byte first, A5 A6 the maker's code; CS = sum from 68 to DATA, mod 256

Source: CJ/T 188-2004 and -2018, section 7 (data link layer); byte order and sums checked against public captures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers import bcd
from drivers.frames import MORE, NOTHING, Reject, Verdict

START = 0x68
END = 0x16
WAKE = 0xFE
HEAD = 11
"""Bytes from 68 to L."""
MAX_DATA = 100
"""No frame of the standard is longer; a longer length is noise."""
LONGEST = HEAD + MAX_DATA + 2 + 32
WILDCARD = "AA" * 7
ANY_TYPE = 0xAA
REPLY, ERROR = 0x80, 0x40

PATTERN: Final = re.compile(rb"(?<!\xfe)\xfe{0,32}h[\x10-\x4f\xaa]|\xfe{32}h[\x10-\x4f\xaa]")
"""A beginning with all of its wake-up bytes, or with the last 32 of more: each is looked at once."""
WIDTH = 34

CONTROLS: dict[int, str] = {
    0x01: "read", 0x03: "read address", 0x04: "write", 0x09: "read key version", 0x15: "write address", 0x16: "set base",
    0x2A: "forced valve",
}  # fmt: skip

_ADDRESS = re.compile(r"[0-9A-F]{14}")


def type_name(kind: int) -> str:
    """What a type of meter counts: `water`, `heat`, `gas`, `other`, or `any` for the wildcard."""
    if kind == ANY_TYPE:
        return "any"
    return {1: "water", 2: "heat", 3: "gas"}.get(kind >> 4, "other")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `address` is 14 hexadecimal digits as printed, the maker's code first."""

    kind: int
    address: str
    control: int
    data: bytes = b""

    @property
    def is_reply(self) -> bool:
        return bool(self.control & REPLY)

    @property
    def is_error(self) -> bool:
        return self.control & (REPLY | ERROR) == REPLY | ERROR


def encode(frame: Frame, *, wake: int = 3) -> bytes:
    """The bytes on the wire, with `wake` FE before. Raises ConfigError for an address, type or data that do not fit."""
    if _ADDRESS.fullmatch(frame.address) is None:
        step = "give the 14 digits of the meter, the maker's code first; AAAAAAAAAAAAAA asks any meter"
        raise ConfigError(f"{frame.address[:20]!r} is no CJ/T 188 address", next_step=step)
    if not 0 <= frame.kind <= 255 or len(frame.data) > MAX_DATA:
        what = f"type {frame.kind} with {len(frame.data)} data bytes does not fit into a CJ/T 188 frame"
        raise ConfigError(what, next_step=f"use a type of 0 to 255 and {MAX_DATA} bytes at most")
    body = (
        bytes((START, frame.kind)) + bcd.to_bytes(frame.address) + bytes((frame.control, len(frame.data))) + frame.data
    )
    return bytes((WAKE,)) * wake + body + bytes((sum(body) & 0xFF, END))


def decode(raw: bytes) -> Frame:
    """The frame that these bytes are, with FE before it or not. Raises DeviceMismatch for anything else."""
    found = match(raw, 0)
    if isinstance(found, Reject):
        raise DeviceMismatch(f"{found.detail} (expected {found.expected}, got {found.got})")
    if isinstance(found, Verdict) or len(found[1]) != len(raw):
        raise DeviceMismatch(f"these {len(raw)} bytes are no CJ/T 188 frame: {raw[:24].hex(' ')}")
    return found[0]


def size(data: bytes, at: int) -> int | None:
    """How many bytes the frame that begins at `at` says it has, FE before it counted; None where its head is not whole."""
    first = at
    while data[first : first + 1] == b"\xfe":
        first += 1
    return None if len(data) - first < HEAD else first - at + HEAD + data[first + 10] + 2


def match(data: bytes, at: int) -> tuple[Frame, bytes] | Reject | Verdict:
    """The frame that begins at `at` with its bytes, a Reject, or NOTHING or MORE.

    One sum of 8 bits lets too much noise pass: type, control, length and the digits of the address must be ones that exist.
    """
    first = at
    while data[first : first + 1] == b"\xfe":
        first += 1
    if len(data) - first < HEAD:
        return MORE
    kind, control, length = data[first + 1], data[first + 9], data[first + 10]
    address = data[first + 2 : first + 9][::-1].hex().upper()
    if not _can_be(data[first], kind, address, control, length):
        return NOTHING
    size = HEAD + length + 2
    if len(data) - first < size:
        return MORE
    raw = data[at : first + size]
    right, got, last = sum(data[first : first + size - 2]) & 0xFF, data[first + size - 2], data[first + size - 1]
    if last != END:
        return (
            Reject(at, raw, "end", f"{END:02X}", f"{last:02X}", "the end byte is wrong or missing")
            if right == got
            else NOTHING
        )
    if right != got:
        return Reject(at, raw, "checksum", f"{right:02X}", f"{got:02X}", "the checksum is wrong")
    return Frame(kind, address, control, data[first + HEAD : first + HEAD + length]), raw


def _can_be(start: int, kind: int, address: str, control: int, length: int) -> bool:
    is_known = control & 0x3F in CONTROLS
    is_number = not set(address[4:]) - set("0123456789A")
    return (
        start == START and (0x10 <= kind <= 0x4F or kind == ANY_TYPE) and is_known and length <= MAX_DATA and is_number
    )
