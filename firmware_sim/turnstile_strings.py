"""A turnstile on a serial line: STX, size (low, high), commands, exclusive or. People walk through when it lets them.

Source: Digicon Tx1500 manual, section 7.5 (page 31). Power, fire release and its own buttons work without us.
"""

from __future__ import annotations

from firmware_sim.strings_wire import StringsWire

ACK, NACK, RET1, RET2 = 0x06, 0x15, 0x1A, 0x1B
"""RET1: somebody passed from right to left; RET2: from left to right."""


def build(content: bytes) -> bytes:
    """A frame; `content` are one or two command bytes."""
    body = b"\x02" + (len(content) + 1).to_bytes(2, "little") + content
    check = 0
    for one in body:
        check ^= one
    return body + bytes((check,))


class Turnstile:
    """One turnstile. `walk("in")`: somebody tries to pass; true when it let him."""

    def __init__(self) -> None:
        self.granted = {"in": 0, "out": 0}
        self.free: set[str] = set()
        self.is_released = False
        """By the fire contact: both ways are free, whatever anybody says."""
        self.passed = {"in": 0, "out": 0}
        self.mute = False
        self.orders: list[bytes] = []
        self.wire: StringsWire | None = None
        self._buffer = b""

    def plug(self, wire: StringsWire) -> None:
        self.wire = wire

    def heard(self, data: bytes) -> None:
        self._buffer = (self._buffer + data)[-64:]
        while (begin := self._buffer.find(b"\x02")) >= 0:
            frame = self._buffer[begin:]
            if len(frame) < 3:
                return
            size = 3 + int.from_bytes(frame[1:3], "little")
            if size not in (5, 6):
                self._buffer = frame[1:]
                continue
            if len(frame) < size:
                return
            whole, self._buffer = frame[:size], frame[size:]
            self._obey(whole)

    def _obey(self, whole: bytes) -> None:
        content = whole[3:-1]
        if self.mute:
            return
        self.orders.append(content)
        if whole != build(content) or not self._carry_out(content):
            self._say(build(bytes((NACK,))))
            return
        self._say(build(bytes((ACK,))))

    def _carry_out(self, content: bytes) -> bool:
        if content in (b"A", b"H"):
            self.granted["in" if content == b"A" else "out"] += 1
        elif content == b"C":
            self.free.clear()
        elif content in (b"LA", b"LH"):
            self.free.add("in" if content == b"LA" else "out")
        else:
            return False
        return True

    def walk(self, way: str) -> bool:
        if not (self.is_released or way in self.free or self.granted[way]):
            return False
        if not self.is_released and way not in self.free:
            self.granted[way] -= 1
        self.passed[way] += 1
        self._say(build(bytes((RET2 if way == "in" else RET1,))))
        return True

    def _say(self, data: bytes) -> None:
        assert self.wire is not None, "not on a wire"
        self.wire.say(data)
