"""drivers.modbus.rtu: writes on a line whose answers are late, lost or echoed. None is sent twice, none confirmed wrongly."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from modbus_slave import Slave, checksum
from virtual_wire import Piece, VirtualWire

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers.base import LinkConfig
from drivers.modbus import codec
from drivers.modbus.rtu import RtuMaster
from drivers.serial_line import Line, LineInterrupted

LINK = LinkConfig("l", "serial", path="x", baud=19200, timeout_s=0.2)
CHAR_S = 10 / 19200
ON, OFF = codec.write_coil(5, True), codec.write_coil(5, False)


def framed(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + checksum(body)


class Bench:
    """A master on a virtual line whose other end does what it is told."""

    def __init__(self, other: Callable[[bytes, float], list[Piece]], *, echo: bool = False) -> None:
        self.wire = VirtualWire(other, char_s=CHAR_S, echo=echo)
        self.line = Line(self.wire, LINK, self.wire)
        self.master = RtuMaster(LINK)

    def ask(self, request: codec.Request, unit: int = 7) -> bytes:
        return self.master.ask(self.line, unit, request)

    @property
    def pdus(self) -> list[bytes]:
        return [frame[1:-2] for _, frame in self.wire.sent]


@pytest.mark.parametrize("last", [ON, OFF])
def test_after_a_write_without_an_answer_a_question_comes_before_the_next_write(last: codec.Request) -> None:
    slave = Slave(frozenset({7}))
    count = 0

    def other(frame: bytes, end: float) -> list[Piece]:
        nonlocal count
        count += 1
        reply = framed(7, slave.answer(7, frame[1:-2]) or b"")
        return [] if count == 1 else [(0.01, reply)]

    bench = Bench(other)
    with pytest.raises(DeviceTimeout):
        bench.ask(ON)
    bench.ask(last)
    assert [pdu[0] for pdu in bench.pdus] == [5, 1, 5], "what it owes cannot be taken for the confirmation"


def test_a_late_confirmation_of_another_value_is_not_this_ones() -> None:
    count = 0

    def other(frame: bytes, end: float) -> list[Piece]:
        nonlocal count
        count += 1
        return [(0.01, framed(7, ON.pdu))]

    bench = Bench(other)
    with pytest.raises(DeviceMismatch, match="another address or value is confirmed"):
        bench.ask(OFF)
    assert bench.pdus == [OFF.pdu]


def test_a_unit_that_stays_silent_is_never_written_again_by_itself() -> None:
    bench = Bench(lambda frame, end: [])
    for _ in range(8):
        with pytest.raises(DeviceTimeout):
            bench.ask(ON)
        bench.wire.time += 0.5
    assert bench.pdus.count(ON.pdu) == 1, "while it owes an answer, only questions are sent"


def test_a_write_is_not_repeated_to_find_out_whether_its_answers_agree() -> None:
    """The unit answers nothing but refusals that could be the owed ones."""

    def other(frame: bytes, end: float) -> list[Piece]:
        pdu = frame[1:-2]
        return [] if pdu == ON.pdu else [(0.01, framed(7, bytes((pdu[0] | 0x80, 4))))]

    bench = Bench(other)
    outcomes = set()
    for request in (ON, codec.read_request("coil", 5, 1), ON, ON):
        try:
            bench.ask(request)
        except DeviceError as error:
            outcomes.add(type(error))
    assert outcomes <= {DeviceTimeout, DeviceMismatch, DeviceRefused}
    assert bench.pdus.count(ON.pdu) <= 3


def test_a_line_that_was_heard_to_echo_confirms_no_write_by_its_echo() -> None:
    slave = Slave(frozenset({7}))
    alive = True

    def other(frame: bytes, end: float) -> list[Piece]:
        return [(0.02, framed(7, slave.answer(7, frame[1:-2]) or b""))] if alive else []

    bench = Bench(other, echo=True)
    assert bench.ask(codec.read_request("holding", 5, 1)) == b"\0\5"
    assert bench.ask(ON) == b""
    assert slave.written == [ON.pdu]
    alive = False
    with pytest.raises((DeviceMismatch, DeviceTimeout)):
        bench.ask(OFF)


class SlowRelays:
    """A board that does what it is told at once and answers late, or never; sometimes it has not heard at all."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._free_at = 0.0
        self.done: list[bytes] = []
        self.asked: list[bytes] = []

    def __call__(self, frame: bytes, end: float) -> list[Piece]:
        pdu = frame[1:-2]
        self.asked.append(pdu)
        dice = self._random.random()
        if dice < 0.1:
            return []
        if pdu[0] in codec.WRITES:
            self.done.append(pdu)
        if dice < 0.2:
            return []
        delay = 0.2 * self._random.choice([1.05, 1.4, 1.8, 2.5, 4.0]) if dice < 0.5 else 0.02
        begin = max(end + delay, self._free_at)
        size = int.from_bytes(pdu[3:5])
        data = bytes((size + 7) // 8) if pdu[0] <= 2 else bytes(2 * size)
        reply = pdu[:5] if pdu[0] in codec.WRITES else bytes((pdu[0], len(data))) + data
        self._free_at = begin + (len(reply) + 3) * CHAR_S
        return [(begin - end, framed(frame[0], reply))]


@pytest.mark.parametrize("seed", range(4))
def test_a_confirmed_write_was_done_and_none_is_sent_twice(seed: int) -> None:
    board = SlowRelays(seed)
    bench = Bench(board)
    choice = random.Random(seed)
    requests = [ON, OFF, codec.write_register(3, 1), codec.write_register(3, 2), codec.write_registers(3, [1])]
    confirmed = 0
    for _ in range(800):
        request = choice.choice([*requests, codec.read_request("coil", 5, 1)])
        done, asked = len(board.done), len(board.asked)
        try:
            bench.ask(request)
        except DeviceError:
            assert board.asked[asked:].count(request.pdu) <= 1 or request.function == 1
            continue
        if request.function in codec.WRITES:
            assert board.done[done:] == [request.pdu]
            confirmed += 1
    assert confirmed > 150


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    bench = Bench(lambda frame, end: [(0.01, framed(7, frame[1:-2]))])
    bench.line.job = "a write"
    bench.line.interrupt("a write")
    with pytest.raises(LineInterrupted):
        bench.ask(ON)
    assert not bench.pdus
    bench.line.job = "the next"
    assert bench.ask(ON) == b""
