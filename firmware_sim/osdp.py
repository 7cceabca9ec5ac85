"""OSDP readers on a simulated RS-485 line: polls, cards, keys, tamper, LEDs, the secure channel, and what goes wrong.

Written from the standard without a look at the drivers. Source: SIA OSDP 2.2 (IEC 60839-11-5:2020), sections 5.7 to 5.10,
annexes A, B and D.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from firmware_sim.line import SerialLine
from firmware_sim.wire import Wire

EVERYBODYS_KEY = bytes.fromhex("303132333435363738393a3b3c3d3e3f")
RATES = (9600, 19200, 38400, 57600, 115200, 230400)
_BAD_CHECK, _BAD_LENGTH, _NO_SUCH, _BAD_SEQUENCE, _BAD_BLOCK, _ENCRYPT, _BAD_RECORD = 1, 2, 3, 4, 5, 6, 9


def crc(data: bytes) -> bytes:
    """CRC-16 with polynomial 1021, initial 1D0F, low byte first."""
    value = 0x1D0F
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x1021 if value & 0x8000 else value << 1
        value &= 0xFFFF
    return value.to_bytes(2, "little")


def _block(key: bytes, text: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return cipher.update(text) + cipher.finalize()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _flipped(text: bytes) -> bytes:
    return bytes(byte ^ 255 for byte in text)


@dataclass
class Channel:
    """The reader's end of a secure channel. `mine` and `theirs` are the last whole MACs of each side."""

    enc: bytes
    mac1: bytes
    mac2: bytes
    mine: bytes = bytes(16)
    theirs: bytes = bytes(16)

    def mac(self, message: bytes, start: bytes) -> bytes:
        """Block by block: the first key, for the last block the second."""
        if len(message) % 16:
            message += b"\x80"
            message += bytes(-len(message) % 16)
        chain = start
        for at in range(0, len(message), 16):
            key = self.mac2 if at + 16 == len(message) else self.mac1
            chain = _block(key, _xor(chain, message[at : at + 16]))
        return chain

    def encrypt(self, text: bytes) -> bytes:
        text += b"\x80"
        text += bytes(-len(text) % 16)
        chain, out = _flipped(self.theirs), b""
        for at in range(0, len(text), 16):
            chain = _block(self.enc, _xor(chain, text[at : at + 16]))
            out += chain
        return out

    def decrypt(self, text: bytes) -> bytes | None:
        cipher = Cipher(algorithms.AES(self.enc), modes.CBC(_flipped(self.mine))).decryptor()
        plain = (cipher.update(text) + cipher.finalize()).rstrip(b"\0")
        return plain[:-1] if plain.endswith(b"\x80") else None


@dataclass
class OsdpReader:
    """One reader. `key` is its SCBK; without one it takes the key that everybody knows while `install` is so."""

    address: int
    key: bytes | None = None
    install: bool = True
    demands_channel: bool = False
    """Nothing but what comes before a channel is answered in plain."""
    has_crc: bool = True
    turnaround_s: float = 0.003
    outputs: list[bool] = field(default_factory=lambda: [False, False])
    inputs: list[bool] = field(default_factory=lambda: [False])
    vendor: bytes = b"\x00\x06\x8e"
    serial: int = 0x00C0FFEE
    firmware: tuple[int, int, int] = (1, 4, 2)
    mute: bool = False
    busy: int = 0
    """So many next commands are answered BUSY."""
    spoil: Callable[[bytes], list[tuple[float, bytes]]] = field(default=lambda frame: [(0.0, frame)])
    spoil_mac: bool = False
    done: list[tuple[int, bytes]] = field(default_factory=list)
    """(code, data) of every command that was carried out, polls left out. Repeats are not."""
    polls: int = 0
    repeats: int = 0
    baud: int | None = None
    """What COMSET set, once it counts."""
    tamper: bool = False
    attached: int = 0
    """Of the reader behind it: 0 normal, 1 not connected, 2 tampered with."""
    power_fault: bool = False

    _news: deque[tuple[int, bytes]] = field(default_factory=deque)
    _sequence: int = -1
    _last: bytes = b""
    _channel: Channel | None = None
    _half: tuple[Channel, bytes, bytes] | None = None
    _after: Callable[[], None] | None = None

    # what happens at the reader

    def present(self, bits: str, form: int = 1) -> None:
        """A card: its bits, the first that comes first. `form` 1 is Wiegand."""
        size = -(-len(bits) // 8)
        data = int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big")
        self._news.append((0x50, bytes((0, form)) + len(bits).to_bytes(2, "little") + data))

    def present_text(self, text: str) -> None:
        """A card as characters (FMT)."""
        self._news.append((0x51, bytes((0, 0, len(text))) + text.encode()))

    def type_keys(self, keys: str) -> None:
        data = keys.replace("#", "\r").replace("*", "\x7f").encode()
        self._news.append((0x53, bytes((0, len(data))) + data))

    def set_tamper(self, is_open: bool) -> None:
        self.tamper = is_open
        self._news.append((0x48, self._local()))

    def set_power(self, is_faulty: bool) -> None:
        self.power_fault = is_faulty
        self._news.append((0x48, self._local()))

    def set_input(self, number: int, is_active: bool) -> None:
        self.inputs[number] = is_active
        self._news.append((0x49, bytes(self.inputs)))

    def restart(self) -> None:
        """Supply off and on: conversation and channel are forgotten."""
        self._sequence, self._last, self._channel, self._half = -1, b"", None, None

    # what comes over the line

    def hear(self, frame: bytes) -> bytes | None:
        """The answer to a frame from 53 on, mark taken away; None for silence."""
        if self.mute or len(frame) < 7 or frame[0] != 0x53 or frame[1] not in (self.address, 0x7F):
            return None
        control = frame[4]
        with_crc = bool(control & 4)
        if int.from_bytes(frame[2:4], "little") != len(frame) or (with_crc and not self.has_crc):
            return None
        tail = 2 if with_crc else 1
        right = crc(frame[:-2]) if with_crc else bytes((-sum(frame[:-1]) & 255,))
        sequence = control & 3
        if right != frame[-tail:]:
            return self._plain(0x41, bytes((_BAD_CHECK,)), sequence, with_crc)
        if self.busy:
            self.busy -= 1
            return self._plain(0x79, b"", 0, with_crc)
        if sequence == 0:
            self.restart()
        elif sequence == self._sequence and self._last:
            self.repeats += 1
            return self._last
        elif self._sequence < 0 or sequence != self._sequence % 3 + 1:
            return self._plain(0x41, bytes((_BAD_SEQUENCE,)), sequence, with_crc)
        self._sequence = sequence
        self._last = reply = self._answer(frame[:-tail], sequence, with_crc)
        after, self._after = self._after, None
        if after is not None:
            after()
        return reply

    def _answer(self, body: bytes, sequence: int, with_crc: bool) -> bytes:
        block = b""
        if body[4] & 8:
            block, rest = body[5 : 5 + body[5]], body[5 + body[5] :]
        else:
            rest = body[5:]
        kind = block[1] if len(block) > 1 else 0
        if kind in (0x15, 0x17):
            channel = self._channel
            if channel is None:
                return self._plain(0x41, bytes((_BAD_BLOCK,)), sequence, with_crc)
            mac = channel.mac(body[:-4], channel.mine)
            if mac[:4] != body[-4:]:
                self._channel = None
                return self._plain(0x41, bytes((_BAD_BLOCK,)), sequence, with_crc)
            channel.theirs = mac
            code, data = rest[0], rest[1:-4]
            if kind == 0x17:
                plain = channel.decrypt(data)
                if plain is None:
                    return self._plain(0x41, bytes((_BAD_BLOCK,)), sequence, with_crc)
                data = plain
            return self._sealed(*self._obey(code, data), sequence, with_crc)
        code, data = rest[0], rest[1:]
        if kind in (0x11, 0x13):
            return self._handshake(code, data, block[2:], sequence, with_crc)
        if self._channel is not None or (self.demands_channel and code not in (0x61, 0x62)):
            return self._plain(0x41, bytes((_ENCRYPT,)), sequence, with_crc)
        return self._plain(*self._obey(code, data), sequence, with_crc)

    def _handshake(self, code: int, data: bytes, which: bytes, sequence: int, with_crc: bool) -> bytes:
        is_everybodys = which[:1] == b"\0"
        key = EVERYBODYS_KEY if is_everybodys else self.key
        refused = key is None or (is_everybodys and not self.install)
        if code == 0x76 and not refused and len(data) == 8:
            assert key is not None
            parts = [_block(key, bytes((1, mark)) + data[:6] + bytes(8)) for mark in (0x82, 0x01, 0x02)]
            channel, mine = Channel(*parts), os.urandom(8)
            self._half = channel, data, mine
            proof = _block(channel.enc, data + mine)
            name = self.vendor + bytes((1,)) + self.serial.to_bytes(4, "little")
            return self._plain(0x76, name + mine + proof, sequence, with_crc, bytes((3, 0x12)) + which[:1])
        if code == 0x77 and self._half is not None:
            channel, theirs, mine = self._half
            self._half = None
            if data != _block(channel.enc, mine + theirs):
                return self._plain(0x78, bytes(16), sequence, with_crc, bytes((3, 0x14, 0xFF)))
            channel.mine = _block(channel.mac2, _block(channel.mac1, data))
            self._channel = channel
            return self._plain(0x78, channel.mine, sequence, with_crc, bytes((3, 0x14, 0x01)))
        return self._plain(0x41, bytes((_BAD_BLOCK,)), sequence, with_crc)

    def _obey(self, code: int, data: bytes) -> tuple[int, bytes]:
        """The reply to a command: (code, data)."""
        if code == 0x60:
            self.polls += 1
            return self._news.popleft() if self._news else (0x40, b"")
        self.done.append((code, data))
        if code == 0x61:
            return 0x45, self.vendor + bytes((7, 2)) + self.serial.to_bytes(4, "little") + bytes(self.firmware)
        if code == 0x62:
            can = (
                (1, 1, len(self.inputs)),
                (2, 1, len(self.outputs)),
                (3, 1, 0),
                (4, 4, 1),
                (5, 2, 1),
                (8, self.has_crc, 0),
            )
            return 0x46, b"".join(map(bytes, can)) + bytes((9, 1, 1))
        if code == 0x64:
            return 0x48, self._local()
        if code == 0x65:
            return 0x49, bytes(self.inputs)
        if code == 0x66:
            return 0x4A, bytes(self.outputs)
        if code == 0x67:
            return 0x4B, bytes((self.attached,))
        if code == 0x68 and len(data) % 4 == 0:
            for at in range(0, len(data), 4):
                if data[at] >= len(self.outputs):
                    return 0x41, bytes((_BAD_RECORD,))
                self.outputs[data[at]] = data[at + 1] in (2, 4, 5)
            return 0x4A, bytes(self.outputs)
        if (code == 0x69 and len(data) % 14 == 0) or (code == 0x6A and len(data) == 5):
            return 0x40, b""
        if code == 0x6B and len(data) >= 6 and len(data) == 6 + data[5]:
            return 0x40, b""
        if code == 0x6E and len(data) == 5:
            return self._move(data)
        if code == 0x75 and len(data) == 18 and self._channel is not None:
            self.key, self.install = data[2:], False
            return 0x40, b""
        return 0x41, bytes((_BAD_LENGTH if code in (0x69, 0x6A, 0x6B, 0x6E, 0x75) else _NO_SUCH,))

    def _move(self, data: bytes) -> tuple[int, bytes]:
        baud = int.from_bytes(data[1:], "little")
        if baud not in RATES:
            return 0x41, bytes((_BAD_RECORD,))

        def move() -> None:
            self.address, self.baud = data[0], baud
            self.restart()

        self._after = move
        return 0x54, data

    def _local(self) -> bytes:
        return bytes((self.tamper, self.power_fault))

    def _plain(self, code: int, data: bytes, sequence: int, with_crc: bool, block: bytes = b"") -> bytes:
        return self._frame(block + bytes((code,)) + data, sequence, with_crc, bool(block))

    def _sealed(self, code: int, data: bytes, sequence: int, with_crc: bool) -> bytes:
        channel = self._channel
        assert channel is not None
        text = channel.encrypt(data) if data else b""
        rest = bytes((2, 0x18 if data else 0x16, code)) + text
        head = self._head(len(rest) + 4, sequence, with_crc, True)
        channel.mine = channel.mac(head + rest, channel.theirs)
        mac = bytes(4) if self.spoil_mac else channel.mine[:4]
        return self._frame(rest + mac, sequence, with_crc, True)

    def _head(self, size: int, sequence: int, with_crc: bool, with_block: bool) -> bytes:
        whole = 5 + size + (2 if with_crc else 1)
        control = sequence | 4 * with_crc | 8 * with_block
        return bytes((0x53, self.address | 0x80)) + whole.to_bytes(2, "little") + bytes((control,))

    def _frame(self, rest: bytes, sequence: int, with_crc: bool, with_block: bool) -> bytes:
        body = self._head(len(rest), sequence, with_crc, with_block) + rest
        return body + (crc(body) if with_crc else bytes((-sum(body) & 255,)))


class OsdpLine(SerialLine):
    """Readers on one line. `with OsdpLine(readers, Wire(38400)) as line: line.path` is the port to open."""

    def __init__(self, readers: Iterable[OsdpReader], wire: Wire, *, link: Path | None = None) -> None:
        super().__init__((), wire, link=link)
        self.readers = list(readers)

    def _serve(self, frame: bytes) -> None:
        command = frame[1:] if frame[:1] == b"\xff" else frame
        self.stats.requests += 1
        if len(command) < 7 or command[0] != 0x53 or command[1] & 0x80:
            self.stats.bad_frames += 1
            return
        ended = self._receiver.quiet_since or 0.0
        for reader in self.readers:
            if reader.baud not in (None, self.wire.baud):
                continue  # it listens at another rate, and hears noise
            reply = reader.hear(command)
            if reply is None:
                continue
            self.stats.exchange_s += (len(frame) + 1 + len(reply)) * self.wire.char_s + reader.turnaround_s
            for after, piece in reader.spoil(b"\xff" + reply):
                self._order += 1
                heapq.heappush(self._pending, (ended + reader.turnaround_s + after, self._order, piece))
