"""DL/T 645 frames, 2007 and 1997: built, checked, and found in a stream. Knows controls and errors, not what data means.

    [FE x0..4] 68 A0..A5 68 C L DATA CS 16    A0..A5 BCD, low byte first; CS = sum of all from the first 68 to DATA, mod 256

DATA bytes travel with 33H added; address, control and length do not. Source: DL/T 645-2007, section 7 (frame format), DL/T
645-1997, section 5; byte order and sums checked against public captures.
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
OFFSET = 0x33
HEAD = 10
"""Bytes from the first 68 to L."""
MAX_READ = 200
LONGEST = HEAD + 255 + 2 + 32
WILDCARD = "AAAAAAAAAAAA"
BROADCAST = "999999999999"
REPLY, ERROR, MORE_FOLLOWS = 0x80, 0x40, 0x20

PATTERN: Final = re.compile(rb"\xfe{0,32}h")
WIDTH = 33

CONTROLS_2007: dict[int, str] = {
    0x03: "security authentication", 0x08: "time broadcast", 0x11: "read", 0x12: "read follow-on", 0x13: "read address",
    0x14: "write", 0x15: "write address", 0x16: "freeze", 0x17: "change baud rate", 0x18: "change password",
    0x19: "clear demand", 0x1A: "clear meter", 0x1B: "clear events", 0x1C: "relay control", 0x1D: "multi-function terminal",
}  # fmt: skip
CONTROLS_1997: dict[int, str] = {
    0x01: "read", 0x02: "read follow-on", 0x03: "read again", 0x04: "write", 0x08: "time broadcast",
    0x0A: "write address", 0x0C: "change baud rate", 0x0F: "change password", 0x10: "clear demand",
}  # fmt: skip
ERRORS_2007: tuple[str, ...] = (
    "other error", "no such data", "wrong password or not authorised", "baud rate cannot be changed",
    "too many year zones", "too many day slots", "too many tariffs",
)  # fmt: skip
"""By bit of the error byte, from bit 0. Source: DL/T 645-2007, section 7.2, error information word ERR."""

ERRORS_1997: tuple[str, ...] = (
    "illegal data", "no such data", "wrong password", "", "too many year zones", "too many day slots", "too many tariffs",
)  # fmt: skip
"""Source: DL/T 645-1997, 6.2, error information word."""
BAUD_RATES = {0x02: 600, 0x04: 1200, 0x08: 2400, 0x10: 4800, 0x20: 9600, 0x40: 19200}

_ADDRESS = re.compile(r"[0-9A]{12}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `address` is 12 digits as printed on the meter; `data` as meant, 33H taken away."""

    address: str
    control: int
    data: bytes = b""

    @property
    def is_reply(self) -> bool:
        return bool(self.control & REPLY)

    @property
    def is_error(self) -> bool:
        return self.control & (REPLY | ERROR) == REPLY | ERROR

    @property
    def has_more(self) -> bool:
        """More of the answer is to be asked for by read follow-on."""
        return self.control & (REPLY | ERROR | MORE_FOLLOWS) == REPLY | MORE_FOLLOWS


def size(data: bytes, at: int) -> int | None:
    """How many bytes the frame that begins at `at` says it has, FE before it counted; None where its head is not whole."""
    first = at
    while data[first : first + 1] == b"\xfe":
        first += 1
    return None if len(data) - first < HEAD else first - at + HEAD + data[first + 9] + 2


def encode(frame: Frame, *, wake: int = 4) -> bytes:
    """The bytes on the wire, with `wake` FE before. Raises ConfigError for an address or data that do not fit."""
    if _ADDRESS.fullmatch(frame.address) is None:
        step = "give the 12 digits of the meter's plate; AAAAAAAAAAAA asks any meter"
        raise ConfigError(f"{frame.address[:20]!r} is no DL/T 645 address", next_step=step)
    if len(frame.data) > 255:
        raise ConfigError(
            f"{len(frame.data)} data bytes do not fit into a DL/T 645 frame", next_step="send 255 at most"
        )
    body = bytes((START,)) + bcd.to_bytes(frame.address) + bytes((START, frame.control, len(frame.data)))
    body += bytes((byte + OFFSET) & 0xFF for byte in frame.data)
    return bytes((WAKE,)) * wake + body + bytes((sum(body) & 0xFF, END))


def decode(raw: bytes) -> Frame:
    """The frame that these bytes are, with FE before it or not. Raises DeviceMismatch for anything else."""
    found = match(raw, 0)
    if isinstance(found, Reject):
        raise DeviceMismatch(f"{found.detail} (expected {found.expected}, got {found.got})")
    if not isinstance(found, tuple) or len(found[1]) != len(raw):
        raise DeviceMismatch(f"these {len(raw)} bytes are no DL/T 645 frame: {raw[:24].hex(' ')}")
    return found[0]


Found = tuple[Frame, bytes] | Reject


def match(data: bytes, at: int) -> Found | Verdict:
    """The frame that begins at `at` with its bytes, a Reject, or NOTHING or MORE (`drivers.frames`)."""
    first = at
    while data[first : first + 1] == b"\xfe":
        first += 1
    rest = len(data) - first
    if rest < HEAD:
        return MORE if data[first + 7 : first + 8] in (b"", b"h") else NOTHING
    if data[first] != START or data[first + 7] != START:
        return NOTHING
    size = HEAD + data[first + 9] + 2
    if rest < size:
        return MORE if bcd.digits_or_wildcard(data[first + 1 : first + 7]) else NOTHING
    right = sum(data[first : first + size - 2]) & 0xFF
    got, last = data[first + size - 2], data[first + size - 1]
    if last != END and right != got:
        return NOTHING
    address = bcd.digits_or_wildcard(data[first + 1 : first + 7])
    if address is None:
        return NOTHING
    raw = data[at : first + size]
    if last != END:
        return Reject(at, raw, "end", f"{END:02X}", f"{last:02X}", "the end byte is wrong or missing")
    if right != got:
        return Reject(at, raw, "checksum", f"{right:02X}", f"{got:02X}", "the checksum is wrong")
    control, length = data[first + 8], data[first + 9]
    meant = bytes((byte - OFFSET) & 0xFF for byte in data[first + HEAD : first + HEAD + length])
    return Frame(address, control, meant), raw
