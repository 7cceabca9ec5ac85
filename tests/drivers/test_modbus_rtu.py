"""drivers.modbus.rtu on a virtual clock: no wrong value from garbage, foreign or late replies (FAULTS.md F22 to F24)."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modbus_slave import Slave, checksum
from virtual_wire import Piece, VirtualWire

from device_profiles.errors import DeviceError, DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers.base import LinkConfig
from drivers.modbus import codec
from drivers.modbus.rtu import Doubts, ReplyFinder, RtuMaster, Signature, probes, signature
from drivers.serial_line import Line

LINK = LinkConfig("rs485-1", "serial", path="/dev/ttyUSB0", baud=19200, timeout_s=0.5)
CHAR_S = 10 / 19200
TEN = codec.read_request("holding", 100, 10)
TEN_DATA = b"".join(reg.to_bytes(2, "big") for reg in range(100, 110))


def framed(unit: int, pdu: bytes) -> bytes:
    body = bytes((unit,)) + pdu
    return body + checksum(body)


GOOD = framed(7, b"\x03\x14" + TEN_DATA)


class Bench:
    """A master on a virtual line whose other end does what it is told."""

    def __init__(self, other: Callable[[bytes, float], list[Piece]], link: LinkConfig = LINK) -> None:
        self.wire = VirtualWire(other, char_s=link.bits_per_char / link.baud, echo=link.echo)
        self.line = Line(self.wire, link, self.wire)
        self.master = RtuMaster(link)

    def ask(self, unit: int = 7, request: codec.Request = TEN) -> bytes:
        return self.master.ask(self.line, unit, request)


def sends(*pieces: bytes, delay_s: float = 0.01) -> Bench:
    return Bench(lambda frame, end: [(delay_s + 0.02 * n, piece) for n, piece in enumerate(pieces)])


def test_a_reply_is_taken_and_the_next_request_waits_3_5_characters() -> None:
    bench = sends(GOOD)
    for _ in range(5):
        assert bench.ask() == TEN_DATA
    assert all(gap >= 3.5 * CHAR_S * 0.9999 for gap in bench.wire.gaps)
    assert max(bench.wire.gaps[1:]) <= 3.6 * CHAR_S


@pytest.mark.parametrize(
    ("baud", "gap_s"), [(1200, 3.5 * 11 / 1200), (9600, 3.5 * 11 / 9600), (38400, 0.00175), (115200, 0.00175)]
)
def test_the_silence_of_each_speed(baud: int, gap_s: float) -> None:
    link = LinkConfig("l", "serial", path="x", baud=baud, parity="E")
    bench = Bench(lambda frame, end: [(0.01, GOOD)], link)
    bench.ask()
    bench.ask()
    assert gap_s * 0.9999 <= bench.wire.gaps[1] <= gap_s * 1.05


def test_waiting_wakes_up_when_bytes_are_due_and_not_for_each() -> None:
    request = codec.read_request("holding", 0, 125)
    reply = framed(7, b"\x03\xfa" + bytes(250))
    bench = Bench(lambda frame, end: [(0.01, reply)])
    bench.ask(request=request)
    assert bench.wire.reads <= 10  # 255 bytes


@pytest.mark.parametrize(
    "noise", [b"\x00", b"\xff\x00", b"\x07", b"\x07\x03", b"\x07\x03\x14", b"\x05\x03\xff", bytes(40), b"\xff" * 100]
)
def test_noise_before_and_after_the_reply_costs_nothing(noise: bytes) -> None:
    bench = Bench(lambda frame, end: [(0.01, noise + GOOD + noise)])
    assert bench.ask() == TEN_DATA
    assert bench.ask() == TEN_DATA
    assert all(gap >= 3.5 * CHAR_S * 0.9999 for gap in bench.wire.gaps)


def test_the_echo_of_a_two_wire_adapter_is_passed_over_declared_or_not() -> None:
    for link in (LINK, LinkConfig("l", "serial", path="x", baud=19200, timeout_s=0.5, echo=True)):
        wire = VirtualWire(lambda frame, end: [(0.01, GOOD)], char_s=CHAR_S, echo=True)
        line = Line(wire, link, wire)
        assert RtuMaster(link).ask(line, 7, TEN) == TEN_DATA


def test_an_echo_alone_is_no_confirmed_write_where_the_echo_is_declared() -> None:
    link = LinkConfig("l", "serial", path="x", baud=19200, timeout_s=0.5, echo=True)
    with pytest.raises(DeviceTimeout):
        Bench(lambda frame, end: [], link).ask(request=codec.write_register(1, 2))


def test_replies_of_other_units_are_skipped_while_the_time_runs_on() -> None:
    foreign = framed(8, b"\x03\x14" + TEN_DATA)
    bench = Bench(lambda frame, end: [(0.01, foreign), (0.3, GOOD)])
    assert bench.ask() == TEN_DATA
    bench = Bench(lambda frame, end: [(0.4, foreign), (0.55, GOOD)])  # 0.5 s are over before the answer
    with pytest.raises(DeviceMismatch, match="unit 8 answered"):
        bench.ask()


REJECTED = {
    "another unit": framed(8, b"\x03\x14" + TEN_DATA),
    "another function code": framed(7, b"\x04\x14" + TEN_DATA),
    "fewer registers": framed(7, b"\x03\x12" + TEN_DATA[:18]),
    "more registers": framed(7, b"\x03\x16" + TEN_DATA + b"ab"),
    "odd byte count": framed(7, b"\x03\x13" + TEN_DATA[:19]),
    "byte count without bytes": framed(7, b"\x03\x14"),
    "byte count 0": framed(7, b"\x03\x00"),
    "byte count 255": framed(7, b"\x03\xff" + TEN_DATA),
    "exception without a code": framed(7, b"\x83"),
    "an exception to another function": framed(7, b"\x84\x02"),
    "checksum bytes exchanged": GOOD[:-2] + GOOD[:-3:-1],
    "one bit flipped": GOOD[:5] + bytes((GOOD[5] ^ 1,)) + GOOD[6:],
    "cut off": GOOD[:-1],
    "one byte": GOOD[:1],
    "unit 0": framed(0, b"\x03\x14" + TEN_DATA),
    "the request": framed(7, TEN.pdu),
    "zeros": bytes(300),
    "ones": b"\xff" * 300,
    "nothing": b"",
}


@pytest.mark.parametrize("what", REJECTED)
def test_what_is_not_the_answer_is_rejected_in_time(what: str) -> None:
    bench = sends(REJECTED[what])
    began = bench.wire.time
    with pytest.raises(DeviceError) as caught:
        bench.ask()
    assert caught.value.status in ("BadTimeout", "BadCommunicationError")
    wire_s = (8 + 25 + 4) * CHAR_S
    assert LINK.timeout_s <= bench.wire.time - began <= LINK.timeout_s + 0.05 + wire_s


@pytest.mark.parametrize("what", REJECTED)
def test_the_right_answer_after_what_is_not_is_still_taken(what: str) -> None:
    assert Bench(lambda frame, end: [(0.01, REJECTED[what]), (0.25, GOOD)]).ask() == TEN_DATA


def test_two_frames_glued_together_are_told_apart() -> None:
    assert sends(framed(8, b"\x03\x02\x00\x01") + GOOD).ask() == TEN_DATA


def test_a_frame_in_pieces_is_put_together() -> None:
    assert (
        Bench(lambda frame, end: [(0.01 + 0.01 * at, GOOD[at : at + 1]) for at in range(len(GOOD))]).ask() == TEN_DATA
    )


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 0x0A, 0x0B, 0x63])
def test_an_exception_is_an_answer_at_once(code: int) -> None:
    bench = sends(framed(7, bytes((0x83, code))))
    began = bench.wire.time
    with pytest.raises(DeviceRefused) as caught:
        bench.ask()
    assert caught.value.code == code
    assert bench.wire.time - began < 0.05


def test_a_flood_ends_in_time_and_is_not_looked_at_byte_by_byte() -> None:
    babble = random.Random(1).randbytes(60_000)
    bench = Bench(lambda frame, end: [])
    bench.wire.put(bench.wire.time, babble)  # 31 s of bytes without a pause
    with pytest.raises(DeviceTimeout, match="never falls silent"):
        bench.ask()
    assert bench.wire.time - 100 <= LINK.timeout_s + 0.1
    assert bench.wire.sent == []
    late = Bench(lambda frame, end: [(0.0, babble)])
    with pytest.raises(DeviceError):
        late.ask()
    assert late.wire.time - 100 <= LINK.timeout_s + 0.05 + 33 * CHAR_S
    assert late.wire.reads < 200  # half a second holds 960 bytes


def test_the_line_is_quiet_after_a_timeout_and_a_late_reply_is_recognised() -> None:
    delays = iter([1.4 * 0.5, 0.01])
    bench = Bench(lambda frame, end: [(next(delays), GOOD)])
    with pytest.raises(DeviceTimeout):
        bench.ask()
    assert bench.ask() == TEN_DATA
    (first, _), (second, frame) = bench.wire.sent
    assert second - first >= 1.5 * 0.5, "quiet until a late reply cannot come"
    assert frame[1:-2] == TEN.pdu, "the late reply was seen, so nothing has to be cleared"


def test_after_a_timeout_without_a_late_reply_a_read_of_another_length_comes_first() -> None:
    slave = Slave(frozenset({7}))
    asked: list[bytes] = []

    def other(frame: bytes, end: float) -> list[Piece]:
        asked.append(frame[1:-2])
        return [(0.01, framed(7, slave.answer(7, frame[1:-2]) or b""))] if len(asked) > 1 else []

    bench = Bench(other)
    with pytest.raises(DeviceTimeout):
        bench.ask()
    assert bench.ask() == TEN_DATA
    assert [int.from_bytes(pdu[3:5]) for pdu in asked] == [10, 8, 10]
    assert bench.ask() == TEN_DATA
    assert len(asked) == 4, "once cleared, the unit is believed"


def test_a_late_reply_that_comes_instead_of_the_clearing_one_is_never_a_value() -> None:
    """The reply to the first request comes 3 s late, into the middle of whatever is asked then."""
    stale = framed(7, b"\x03\x14" + bytes(20))
    slave = Slave(frozenset({7}))
    count = 0

    def other(frame: bytes, end: float) -> list[Piece]:
        nonlocal count
        count += 1
        if count == 1:
            return [(1.0, stale)]
        return [(0.3, framed(7, slave.answer(7, frame[1:-2]) or b""))]

    bench = Bench(other)
    values = []
    for _ in range(8):
        try:
            values.append(bench.ask())
        except DeviceError:
            bench.wire.time += 0.2
    assert set(values) == {TEN_DATA}


def test_a_unit_that_refuses_other_lengths_is_cleared_by_the_sibling_function() -> None:
    count = 0

    def other(frame: bytes, end: float) -> list[Piece]:
        nonlocal count
        count += 1
        if count == 1:
            return []
        if frame[1:-2] == TEN.pdu:
            return [(0.01, GOOD)]
        return [(0.01, framed(7, bytes((frame[1] | 0x80, 2))))]

    bench = Bench(other)
    with pytest.raises(DeviceTimeout):
        bench.ask()
    assert bench.ask() == TEN_DATA


def test_a_unit_that_answers_one_question_only_is_believed_when_its_replies_agree() -> None:
    count = 0

    def other(frame: bytes, end: float) -> list[Piece]:
        nonlocal count
        count += 1
        return [(0.01, GOOD)] if frame[1:-2] == TEN.pdu and count > 1 else []

    bench = Bench(other)
    outcomes = []
    for _ in range(12):
        try:
            outcomes.append(bench.ask())
        except DeviceError:
            outcomes.append(b"")
        bench.wire.time += 0.3
    assert outcomes[-1] == TEN_DATA
    assert set(outcomes) == {b"", TEN_DATA}


class SlowBus:
    """Units that answer in order, each reply holding the number of its request: late, lost, garbled, never twice the same."""

    def __init__(self, seed: int, timeout_s: float) -> None:
        self._random = random.Random(seed)
        self._timeout_s = timeout_s
        self._busy: dict[int, float] = {}
        self.number = 0

    def __call__(self, frame: bytes, end: float) -> list[Piece]:
        unit, function = frame[0], frame[1]
        reg, count = struct.unpack(">HH", frame[2:6])
        self.number += 1
        dice = self._random.random()
        if dice < 0.05:
            return []  # it did not hear us
        delay = 0.02
        if dice < 0.45:
            delay = self._timeout_s * self._random.choice([1.05, 1.4, 1.4, 1.8, 2.5, 4.0])
        begin = max(end + delay, self._busy.get(unit, 0.0))
        words = [self.number >> 16, self.number & 0xFFFF, *(reg + at for at in range(2, count))][:count]
        if count == 1:
            words = [self.number & 0xFFFF]
        reply = framed(unit, bytes((function, 2 * count)) + b"".join(word.to_bytes(2, "big") for word in words))
        if dice > 0.97:
            reply = reply[:-1] + bytes((reply[-1] ^ 0x10,))
        self._busy[unit] = begin + len(reply) * CHAR_S
        return [(begin - end, reply)]


@pytest.mark.parametrize("seed", range(4))
def test_ten_thousand_polls_with_late_replies_give_no_wrong_value(seed: int) -> None:
    """2,500 polls a seed over five units, several maps of equal length: a value must answer a request of its own poll."""
    link = LinkConfig("l", "serial", path="x", baud=19200, timeout_s=0.2)
    bus = SlowBus(seed, link.timeout_s)
    bench = Bench(bus, link)
    choice = random.Random(seed)
    requests = [
        codec.read_request("holding", reg, count) for reg, count in ((0, 2), (100, 2), (200, 10), (300, 10), (5, 1))
    ]
    good = failed = 0
    for _ in range(2500):
        unit, request = choice.randint(1, 5), choice.choice(requests)
        first = bus.number + 1
        try:
            data = bench.ask(unit, request)
        except DeviceError:
            failed += 1
            continue
        good += 1
        number = int.from_bytes(data[:4]) if len(data) > 2 else int.from_bytes(data)
        wanted = range(first, bus.number + 1)
        assert number in (wanted if len(data) > 2 else [one & 0xFFFF for one in wanted]), (
            "a reply to an earlier request"
        )
        if len(data) > 4:
            assert int.from_bytes(data[4:6]) == int.from_bytes(request.pdu[1:3]) + 2, "registers of another place"
    assert good > 1000
    assert failed > 200


def test_replies_that_are_always_late_never_become_values() -> None:
    """F24: every reply 1.4 times too late."""
    link = LinkConfig("l", "serial", path="x", baud=19200, timeout_s=0.2)
    bench = Bench(lambda frame, end: [(1.4 * 0.2, framed(frame[0], b"\x03\x14" + bytes(20)))], link)
    for poll in range(300):
        with pytest.raises(DeviceTimeout):
            bench.ask(1 + poll % 10)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 0.6), st.binary(max_size=40)), max_size=6), st.booleans())
def test_no_bytes_whatsoever_become_a_number_unless_they_are_the_answer(pieces: list[Piece], with_answer: bool) -> None:
    bench = Bench(lambda frame, end: [*pieces, *([(0.1, GOOD)] if with_answer else [])])
    try:
        assert bench.ask() == TEN_DATA
        assert with_answer
    except DeviceError:
        pass
    assert bench.wire.time - 100 <= 0.5 + 0.05 + 33 * CHAR_S + 0.5  # the line may have to fall silent first


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.binary(max_size=6))
def test_a_mutated_reply_is_never_taken(at: int, flip: int, tail: bytes) -> None:
    mutated = GOOD[:at] + bytes((GOOD[at] ^ flip,)) + GOOD[at + 1 :]
    assert isinstance(ReplyFinder(7, TEN)(mutated + tail), int)


def test_identification_is_measured_by_its_own_objects() -> None:
    objects = b"\x00\x04ACME\x01\x02X1\x02\x011"
    reply = framed(7, b"\x2b\x0e\x01\x01\x00\x00\x03" + objects)
    bench = sends(b"\x00" + reply)
    assert bench.ask(request=codec.identity_request()) == reply[1:-2]
    assert bench.wire.time - 100 < 0.1


def test_doubts_are_settled_by_what_comes_late_and_forgotten_in_the_end() -> None:
    doubts = Doubts(forget_s=10)
    ten, two = signature(TEN), signature(codec.read_request("holding", 0, 2))
    doubts.owe(7, ten, now=0)
    doubts.owe(7, two, now=1)
    doubts.owe(7, ten, now=2)
    doubts.came(8, ten)
    doubts.came(7, Signature(4, two.size))
    assert doubts.owed(7, now=3) == [ten, two, ten]
    doubts.came(7, two)
    assert doubts.owed(7, now=3) == [ten]
    doubts.came(7, Signature(0x83, 2))
    assert doubts.owed(7, now=3) == []
    doubts.owe(7, ten, now=4)
    assert doubts.owed(7, now=14.1) == []


@pytest.mark.parametrize(
    ("table", "first", "count"), [("holding", 0, 1), ("input", 65534, 2), ("holding", 0, 125), ("coil", 3, 9)]
)
def test_there_is_always_something_else_to_ask(table: str, first: int, count: int) -> None:
    request = codec.read_request(table, first, count)
    others = {signature(probe) for probe in probes(request)}
    assert signature(request) not in others
    assert len(others) >= 3
