"""DL/T 645 meters on a simulated RS-485 line: frames, registers by identifier, wake-up bytes, turnaround, and faults.

Written from the standard without a look at the drivers. Several meters that answer at once spoil each other, as on a bus.
Source: DL/T 645-2007, sections 5.4, 7 and annex A; DL/T 645-1997, sections 5 and 6.
"""

from __future__ import annotations

import heapq
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from firmware_sim.line import SerialLine
from firmware_sim.wire import Wire

READ_2007, MORE_2007, READ_1997, MORE_1997 = 0x11, 0x12, 0x01, 0x02
NO_SUCH_DATA = 2
_OUTPUT_SPEED = 5
"""Place in what termios.tcgetattr gives."""


def build(address: bytes, control: int, data: bytes) -> bytes:
    """A frame without wake-up bytes; `address` as on the wire, lowest digits first."""
    shifted = bytes((one + 0x33) % 256 for one in data)
    body = b"\x68" + address + b"\x68" + bytes((control, len(data))) + shifted
    return body + bytes((sum(body) % 256,)) + b"\x16"


def take_apart(raw: bytes) -> tuple[bytes, int, bytes] | None:
    """(address, control, data) of a request; None where anything about it is wrong."""
    frame = raw.lstrip(b"\xfe")
    if len(frame) < 12 or frame[0] != 0x68 or frame[7] != 0x68 or frame[-1] != 0x16 or len(frame) != 12 + frame[9]:
        return None
    if sum(frame[:-2]) % 256 != frame[-2]:
        return None
    return frame[1:7], frame[8], bytes((one - 0x33) % 256 for one in frame[10:-2])


def bcd(number: int, size: int) -> bytes:
    """`size` bytes of digits, the lowest first; a negative number has its top bit set."""
    raw = bytearray(bytes.fromhex(f"{abs(number):0{2 * size}d}")[::-1])
    if number < 0:
        raw[-1] |= 0x80
    return bytes(raw)


@dataclass
class Meter:
    """One meter. `holds` is what stands under an identifier (lowest byte first on the wire), or None for what it lacks."""

    number: str
    holds: Callable[[int], bytes | None]
    edition: str = "2007"
    wake: int = 4
    turnaround_s: float = 0.04
    most: int = 200
    """Data bytes that go into one frame; longer answers take follow-on frames."""
    mute: bool = False
    spoil: Callable[[bytes], list[tuple[float, bytes]]] = field(default=lambda frame: [(0.0, frame)])
    """(seconds late, bytes) that go out for a right reply: what is wrong with the meter."""
    obeys: Callable[[int, bytes, bool], tuple[int, bytes] | None] | None = None
    """(control, data, whether it was for all) of anything but a read -> (control, data) of the reply, None for silence."""
    loads: Callable[[int, bytes], bytes | None] | None = None
    """What it recorded: (identifier 06xxxxxx, what followed it) -> records, empty where it has none, None where it keeps none."""
    echoes_wildcards: bool = False
    """Answers a wildcard address with that address instead of its own, as some meters of 1997 do."""
    asked: list[tuple[int, bytes]] = field(default_factory=list)
    """(control, data) of every request that was for it."""

    @property
    def address(self) -> bytes:
        return bytes.fromhex(self.number)[::-1]

    def is_meant(self, address: bytes) -> bool:
        return all(one in (0xAA, own) for one, own in zip(address, self.address, strict=True))

    def answer(self, control: int, data: bytes, asked: bytes = b"") -> bytes | None:
        """The reply to a request that was sent to the address `asked`, without wake-up bytes."""
        reply = self._answer(control, data)
        if reply is None or not (self.echoes_wildcards and 0xAA in asked):
            return reply
        _, given, content = take_apart(reply) or (b"", 0, b"")
        return build(asked, given, content)

    def hear_broadcast(self, control: int, data: bytes) -> None:
        """What is meant for all is obeyed in silence."""
        self.asked.append((control, data))
        if self.obeys is not None:
            self.obeys(control, data, True)

    def _answer(self, control: int, data: bytes) -> bytes | None:
        self.asked.append((control, data))
        size = 4 if self.edition == "2007" else 2
        read, more = (READ_2007, MORE_2007) if size == 4 else (READ_1997, MORE_1997)
        if control == 0x13 and size == 4:
            return build(self.address, 0x93, self.address)
        if control not in (read, more) and self.obeys is not None:
            done = self.obeys(control, data, False)
            return None if done is None else build(self.address, *done)
        if control not in (read, more) or len(data) < size:
            return build(self.address, control | 0xC0, b"\x01")
        key = data[:size]
        if control == read:
            self._asked_for = data[size:]
        di = int.from_bytes(key, "little")
        is_load = size == 4 and key[3] == 0x06 and self.loads is not None
        held = self.loads(di, self._asked_for) if is_load and self.loads is not None else self.holds(di)
        if held is None:
            return build(self.address, control | 0xC0, bytes((NO_SUCH_DATA,)))
        room = self.most - size - 1
        number = 0 if control == read else data[size] if size == 4 else self._next(key)
        part, rest = held[number * room : (number + 1) * room], held[(number + 1) * room :]
        self._turn = number
        tail = bytes((number,)) if control == more and size == 4 else b""
        return build(self.address, control | (0xA0 if rest else 0x80), key + part + tail)

    _turn: int = 0
    _asked_for: bytes = b""

    def _next(self, _key: bytes) -> int:
        """The 1997 edition numbers no frames: the next one is meant."""
        return self._turn + 1


_BLOCKS = (
    (0x0001FF00, 4, 0),
    (0x0201FF00, 2, 1),
    (0x0202FF00, 3, 1),
    (0x0203FF00, 3, 0),
    (0x0204FF00, 3, 0),
    (0x0206FF00, 2, 0),
)
"""(block, bytes of an item, DI1 of the first item)."""


def energy_meter(edition: str, number: str, *, phases: int = 3, seed: int = 0) -> Meter:
    """A three-phase (or single-phase) meter with steady values that differ by seed."""
    volts = [2301 + seed, 2298 + seed, 2312 + seed][:phases]
    amps = [5210 + seed, -120 - seed, 4980 + seed][:phases]
    watts = [11_900 + seed, -270, 11_400][:phases]
    new: dict[int, bytes] = {
        0x0001FF00: b"".join(bcd(123_456 * (5 - at) + seed, 4) for at in range(5)),
        0x00020000: bcd(4_217 + seed, 4),
        0x00030000: bcd(51_244 + seed, 4),
        0x00040000: bcd(-112, 4),
        0x0201FF00: b"".join(bcd(one, 2) for one in volts),
        0x0202FF00: b"".join(bcd(one, 3) for one in amps),
        0x0203FF00: b"".join(bcd(one, 3) for one in (sum(watts), *watts)),
        0x0204FF00: b"".join(bcd(one, 3) for one in (4_410, 1_500, 1_410, 1_500)[: phases + 1]),
        0x0206FF00: b"".join(bcd(one, 2) for one in (998, 997, -999, 1000)[: phases + 1]),
        0x02800002: bcd(5001, 2),
        0x04000401: bytes.fromhex(number)[::-1],
        0x04000101: bytes.fromhex("26112200")[::-1],
        0x04000102: bytes.fromhex("204500")[::-1],
    }
    for block, size, first in _BLOCKS:
        values = new[block]
        for at in range(len(values) // size):
            new[(block & 0xFFFF0000) | (first + at) << 8] = values[at * size : (at + 1) * size]
    old: dict[int, bytes] = {
        0x9010: bcd(1_234_567 + seed, 4), 0x9020: bcd(4_217, 4), 0xB630: bcd(sum(watts[:1]), 3), 0xB650: bcd(998, 2),
        **{0xB611 + at: bcd(230 + at, 2) for at in range(phases)}, **{0xB621 + at: bcd(521 + at, 2) for at in range(phases)},
        0xC010: bytes.fromhex("26112200")[::-1], 0xC011: bytes.fromhex("204500")[::-1], 0xC032: bytes.fromhex(number)[::-1],
    }  # fmt: skip
    return Meter(number, (new if edition == "2007" else old).get, edition)


class MeterLine(SerialLine):
    """Meters on one line. `with MeterLine(meters, Wire(2400, "E")) as line: line.path` is the port to open."""

    def __init__(self, meters: Iterable[Meter], wire: Wire, *, link: Path | None = None) -> None:
        super().__init__((), wire, link=link)
        self.meters = list(meters)
        self._is_understood = True

    def _receive(self) -> bytes:
        data = super()._receive()
        if data:
            self._listen_at(termios.tcgetattr(self._master)[_OUTPUT_SPEED])
        return data

    def _listen_at(self, speed: int) -> None:
        """The other end speaks at this speed; a pseudo terminal knows no parity."""
        self._is_understood = speed == getattr(termios, f"B{self.wire.baud}", speed)

    def _serve(self, frame: bytes) -> None:
        if not self._is_understood:
            self.stats.bad_frames += 1
            return
        request = take_apart(frame)
        if request is None:
            self.stats.bad_frames += 1
            return
        address, control, data = request
        self.stats.requests += 1
        if address == b"\x99" * 6:
            for meter in self.meters:
                meter.hear_broadcast(control, data)
            return
        answers: list[tuple[Meter, bytes]] = []
        for meter in self.meters:
            reply = meter.answer(control, data, address) if meter.is_meant(address) and not meter.mute else None
            if reply is not None:
                answers.append((meter, b"\xfe" * meter.wake + reply))
        if not answers:
            return
        ended = self._receiver.quiet_since or 0.0
        meter, whole = answers[0]
        self.stats.exchange_s += (len(frame) + len(whole)) * self.wire.char_s + meter.turnaround_s
        if len(answers) > 1:
            parts = [(0.0, overlaid([reply for _, reply in answers]))]
        else:
            parts = meter.spoil(whole)
        for after, piece in parts:
            self._order += 1
            heapq.heappush(self._pending, (ended + meter.turnaround_s + after, self._order, piece))


def overlaid(replies: list[bytes]) -> bytes:
    """What a bus makes of several who speak at once: a 0 wins over a 1."""
    mixed = bytearray(max(replies, key=len))
    for reply in replies:
        for at, one in enumerate(reply):
            mixed[at] &= one
    return bytes(mixed)
