"""OSDP frames: built, checked, and found in a stream. Knows codes by name, not what their data mean; encrypts nothing.

    [FF] 53 ADDR LEN LEN CTRL [SCB: its length, type, data] CODE DATA [MAC x4] CRC CRC | CHECKSUM

LEN counts from 53 to the last byte, low byte first. CTRL: bits 0 and 1 the sequence, bit 2 CRC instead of checksum, bit 3 a
security block follows. Replies have ADDR with its top bit set. Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), section 5.9 (packet
format), annex A (command codes), annex B (reply codes), annex D (secure channel); CRC checked against public captures.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass
from typing import Final

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers.frames import MORE, NOTHING, Reject, Verdict

MARK, START = 0xFF, 0x53
REPLY = 0x80
BROADCAST = 0x7F
SEQUENCE, HAS_CRC, HAS_SECURITY = 0x03, 0x04, 0x08
HEAD = 5
"""Bytes from 53 to CTRL."""
MAC_SIZE = 4
LONGEST = 1440
_CRC_START = 0x1D0F
_WITH_MAC = frozenset({0x15, 0x16, 0x17, 0x18})
ENCRYPTED = frozenset({0x17, 0x18})

PATTERN: Final = re.compile(rb"(?s)\xff?S..[\x00-\x05][\x00-\x0f]")
WIDTH = 6

COMMANDS: dict[int, str] = {
    0x60: "POLL", 0x61: "ID", 0x62: "CAP", 0x63: "DIAG", 0x64: "LSTAT", 0x65: "ISTAT", 0x66: "OSTAT", 0x67: "RSTAT",
    0x68: "OUT", 0x69: "LED", 0x6A: "BUZ", 0x6B: "TEXT", 0x6C: "RMODE", 0x6D: "TDSET", 0x6E: "COMSET", 0x6F: "DATA",
    0x70: "XMIT", 0x71: "PROMPT", 0x72: "SPE", 0x73: "BIOREAD", 0x74: "BIOMATCH", 0x75: "KEYSET", 0x76: "CHLNG",
    0x77: "SCRYPT", 0x79: "CONT", 0x7A: "ABORT", 0x7B: "ACURXSIZE", 0x7C: "FILETRANSFER", 0x80: "MFG", 0xA0: "SCDONE",
    0xA1: "XWR", 0xA2: "ABORT", 0xA3: "PIVDATA", 0xA4: "GENAUTH", 0xA5: "CRAUTH", 0xA7: "KEEPACTIVE",
}  # fmt: skip
"""63, 6C, 6D, 6F to 72, 79, 7A and A0, and the replies 52, 55 and 56, are of older editions only (source: unverified)."""
REPLIES: dict[int, str] = {
    0x40: "ACK", 0x41: "NAK", 0x45: "PDID", 0x46: "PDCAP", 0x48: "LSTATR", 0x49: "ISTATR", 0x4A: "OSTATR",
    0x4B: "RSTATR", 0x50: "RAW", 0x51: "FMT", 0x52: "PRES", 0x53: "KEYPAD", 0x54: "COM", 0x55: "SCREP", 0x56: "SPER",
    0x57: "BIOREADR", 0x58: "BIOMATCHR", 0x76: "CCRYPT", 0x78: "RMAC_I", 0x79: "BUSY", 0x7A: "FTSTAT",
    0x80: "PIVDATAR", 0x81: "GENAUTHR", 0x82: "CRAUTHR", 0x83: "MFGSTATR", 0x84: "MFGERRR", 0x90: "MFGREP",
    0xB1: "XRD",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `security` is the security block's type and data, `mac` what signs it; `data` may be encrypted."""

    address: int
    code: int
    data: bytes = b""
    sequence: int = 0
    is_reply: bool = False
    has_crc: bool = True
    security: bytes = b""
    mac: bytes = b""

    @property
    def name(self) -> str:
        """The code in the standard's words."""
        return (REPLIES if self.is_reply else COMMANDS).get(self.code, f"code {self.code:02X}")

    @property
    def is_encrypted(self) -> bool:
        return bool(self.security) and self.security[0] in ENCRYPTED


def crc16(data: bytes) -> int:
    """CRC-16/AUG-CCITT: polynomial 1021, initial 1D0F, not reflected; sent low byte first."""
    return binascii.crc_hqx(data, _CRC_START)


def checksum(data: bytes) -> int:
    """Two's complement of the sum of all bytes."""
    return -sum(data) & 0xFF


def unsigned(frame: Frame) -> bytes:
    """The frame up to where its MAC and checksum follow: what a MAC is computed over. Raises ConfigError."""
    if not 0 <= frame.address <= BROADCAST or not 0 <= frame.sequence <= 3:
        step = "use an address of 0 to 126 and a sequence of 0 to 3"
        raise ConfigError(f"address {frame.address}, sequence {frame.sequence} are none of OSDP", next_step=step)
    block = bytes((len(frame.security) + 1,)) + frame.security if frame.security else b""
    has_mac = bool(frame.security) and frame.security[0] in _WITH_MAC
    size = HEAD + len(block) + 1 + len(frame.data) + (MAC_SIZE if has_mac else 0) + (2 if frame.has_crc else 1)
    if size > LONGEST:
        raise ConfigError(
            f"{len(frame.data)} data bytes do not fit into an OSDP frame", next_step=f"stay below {LONGEST}"
        )
    control = frame.sequence | (HAS_CRC if frame.has_crc else 0) | (HAS_SECURITY if block else 0)
    head = bytes((START, frame.address | (REPLY if frame.is_reply else 0))) + size.to_bytes(2, "little")
    return head + bytes((control,)) + block + bytes((frame.code,)) + frame.data


def encode(frame: Frame, *, mark: bool = True) -> bytes:
    """The bytes on the wire. Raises ConfigError for what does not fit, and where a security block and the MAC disagree."""
    body = unsigned(frame)
    if (bool(frame.security) and frame.security[0] in _WITH_MAC) != (len(frame.mac) == MAC_SIZE):
        raise ConfigError("the security block and the MAC do not agree", next_step="sign the frame before sending it")
    body += frame.mac
    body += crc16(body).to_bytes(2, "little") if frame.has_crc else bytes((checksum(body),))
    return (bytes((MARK,)) if mark else b"") + body


def decode(raw: bytes) -> Frame:
    """The frame that these bytes are, with its mark or without. Raises DeviceMismatch for anything else."""
    found = match(raw, 0)
    if isinstance(found, Reject):
        raise DeviceMismatch(f"{found.detail} (expected {found.expected}, got {found.got})")
    if isinstance(found, Verdict) or len(found[1]) != len(raw):
        raise DeviceMismatch(f"these {len(raw)} bytes are no OSDP frame: {raw[:24].hex(' ')}")
    return found[0]


def size(data: bytes, at: int) -> int | None:
    """How many bytes the frame that begins at `at` says it has, its mark counted; None where its head is not whole."""
    mark = int(data[at : at + 1] == bytes((MARK,)))
    return (
        None if len(data) - at < mark + HEAD else mark + int.from_bytes(data[at + mark + 2 : at + mark + 4], "little")
    )


def match(data: bytes, at: int) -> tuple[Frame, bytes] | Reject | Verdict:
    """The frame that begins at `at` with its bytes, a Reject, or NOTHING or MORE."""
    first = at + 1 if data[at : at + 1] == bytes((MARK,)) else at
    if len(data) - first < HEAD:
        return MORE
    size, control = int.from_bytes(data[first + 2 : first + 4], "little"), data[first + 4]
    tail = 2 if control & HAS_CRC else 1
    if data[first] != START or control & 0xF0 or not HEAD + 1 + tail <= size <= LONGEST:
        return NOTHING
    if len(data) - first < size:
        return MORE
    body = data[first : first + size]
    frame = _frame(body[:-tail], control)
    if frame is None:
        return NOTHING
    right = crc16(body[:-2]).to_bytes(2, "little") if tail == 2 else bytes((checksum(body[:-1]),))
    raw = data[at : first + size]
    if right != body[-tail:]:
        return Reject(
            at,
            raw,
            "checksum",
            right.hex(),
            body[-tail:].hex(),
            "the CRC is wrong" if tail == 2 else "the checksum is wrong",
        )
    return frame, raw


def _frame(body: bytes, control: int) -> Frame | None:
    """The frame without its checksum; None when its parts do not fit or its code is none of the standard."""
    at, security, mac = HEAD, b"", b""
    if control & HAS_SECURITY:
        size = body[at]
        if size < 2 or at + size >= len(body) or not 0x11 <= body[at + 1] <= 0x18:
            return None
        security = body[at + 1 : at + size]
        at += size
        if security[0] in _WITH_MAC:
            body, mac = body[:-MAC_SIZE], body[-MAC_SIZE:]
            if at >= len(body):
                return None
    is_reply = bool(body[1] & REPLY)
    code = body[at]
    if code not in (REPLIES if is_reply else COMMANDS):
        return None
    return Frame(
        body[1] & 0x7F, code, body[at + 1 :], control & SEQUENCE, is_reply, bool(control & HAS_CRC), security, mac
    )
