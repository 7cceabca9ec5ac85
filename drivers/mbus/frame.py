"""M-Bus frames of the link layer: built, checked, and found in a stream. Knows controls, not what data means.

    E5                                            acknowledgement
    10 C A CS 16                                  short frame
    68 L L 68 C A CI DATA CS 16                   long frame; L counts from C to the last data byte; CS = their sum mod 256

Source: EN 13757-2:2018, section 5 (link layer, frame formats FT1.2 of IEC 60870-5-1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers.frames import MORE, NOTHING, Reject, Verdict

ACK = 0xE5
SHORT, LONG, END = 0x10, 0x68, 0x16
LONGEST = 261
NETWORK_LAYER, ANY_SLAVE_ANSWERS, BROADCAST = 253, 254, 255
"""Addresses: a device selected by secondary address, every device (test point), every device without an answer."""

CONTROLS: dict[int, str] = {
    0x40: "initialise", 0x53: "send data", 0x73: "send data", 0x5A: "request class 1", 0x7A: "request class 1",
    0x5B: "request class 2", 0x7B: "request class 2", 0x08: "answer", 0x18: "answer", 0x28: "answer", 0x38: "answer",
}  # fmt: skip
_SHORT_CONTROLS = frozenset({0x40, 0x5A, 0x7A, 0x5B, 0x7B})

PATTERN: Final = re.compile(rb"\x10[\x40\x5a\x7a\x5b\x7b]|h([\x03-\xff])\1h|\xe5")
WIDTH = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `ci` None and no data for a short one; an acknowledgement has no control either."""

    control: int | None
    address: int | None = None
    ci: int | None = None
    data: bytes = b""

    @property
    def name(self) -> str:
        return "acknowledgement" if self.control is None else CONTROLS.get(self.control, f"control {self.control:02X}")


def encode(frame: Frame) -> bytes:
    """The bytes on the wire. Raises ConfigError for what does not fit."""
    if frame.control is None:
        return bytes((ACK,))
    if frame.address is None or not 0 <= frame.address <= 255:
        raise ConfigError(
            f"{frame.address} is no M-Bus address", next_step="use 0 to 250, or 253 for a selected device"
        )
    if frame.ci is None:
        body = bytes((frame.control, frame.address))
        return bytes((SHORT,)) + body + bytes((sum(body) & 0xFF, END))
    body = bytes((frame.control, frame.address, frame.ci)) + frame.data
    if len(body) > 255:
        raise ConfigError(f"{len(frame.data)} data bytes do not fit into an M-Bus frame", next_step="send 252 at most")
    return bytes((LONG, len(body), len(body), LONG)) + body + bytes((sum(body) & 0xFF, END))


def decode(raw: bytes) -> Frame:
    """The frame that these bytes are. Raises DeviceMismatch for anything else."""
    found = match(raw, 0) if raw != bytes((ACK,)) else (Frame(None), raw)
    if isinstance(found, Reject):
        raise DeviceMismatch(f"{found.detail} (expected {found.expected}, got {found.got})")
    if isinstance(found, Verdict) or len(found[1]) != len(raw):
        raise DeviceMismatch(f"these {len(raw)} bytes are no M-Bus frame: {raw[:24].hex(' ')}")
    return found[0]


def size(data: bytes, at: int) -> int | None:
    """How many bytes the frame that begins at `at` says it has; None where its head is not whole."""
    if data[at] != LONG:
        return 5
    return data[at + 1] + 6 if len(data) - at > 1 else None


def match(data: bytes, at: int) -> tuple[Frame, bytes] | Reject | Verdict:
    """The short or long frame that begins at `at` with its bytes, a Reject, or NOTHING or MORE.

    An acknowledgement is one byte that any data may hold: whoever asked knows where to expect it.
    """
    rest = len(data) - at
    if not rest or data[at] not in (SHORT, LONG):
        return NOTHING
    if rest < 5:
        return MORE
    if data[at] == SHORT:
        head, size = 1, 5
        if data[at + 1] not in _SHORT_CONTROLS:
            return NOTHING
    else:
        head, size = 4, data[at + 1] + 6
        if data[at + 1] != data[at + 2] or data[at + 3] != LONG or data[at + 1] < 3:
            return NOTHING
        if data[at + 4] not in CONTROLS:
            return NOTHING
    if rest < size:
        return MORE
    raw = data[at : at + size]
    right, got, last = sum(raw[head:-2]) & 0xFF, raw[-2], raw[-1]
    if last != END:
        return (
            Reject(at, raw, "end", f"{END:02X}", f"{last:02X}", "the end byte is wrong or missing")
            if right == got
            else NOTHING
        )
    if right != got:
        return Reject(at, raw, "checksum", f"{right:02X}", f"{got:02X}", "the checksum is wrong")
    if raw[0] == SHORT:
        return Frame(raw[1], raw[2]), raw
    return Frame(raw[4], raw[5], raw[6], raw[7:-2]), raw
