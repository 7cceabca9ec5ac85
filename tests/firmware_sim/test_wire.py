"""The arithmetic of a line on a virtual clock: nothing here waits."""

from __future__ import annotations

import pytest

from firmware_sim.line import pace
from firmware_sim.wire import Receiver, Wire


class Clock:
    """Time that passes by a microsecond at each look and as much as is slept, a little more like a real one."""

    def __init__(self, oversleep_s: float = 0.0) -> None:
        self.now = 100.0
        self.oversleep_s = oversleep_s
        self.slept = 0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        self.now += seconds + self.oversleep_s


@pytest.mark.parametrize(
    ("baud", "parity", "char_us", "gap_us"),
    [
        (9600, "N", 1041.67, 3645.83),
        (9600, "E", 1145.83, 4010.42),
        (19200, "E", 572.92, 2005.21),
        (115200, "E", 95.49, 1750),
    ],
)
def test_character_and_gap_times(baud: int, parity: str, char_us: float, gap_us: float):
    wire = Wire(baud, parity)
    assert wire.char_s * 1e6 == pytest.approx(char_us, abs=0.01)
    assert wire.gap_s * 1e6 == pytest.approx(gap_us, abs=0.01)


def test_the_shortest_cycle_is_the_published_formula():
    # 10 registers at 9600 8E1: 1 / ((8 + 5 + 20) * 11 / baud + 2 gaps) = 21.8 requests a second
    assert 1 / Wire(9600, "E").cycle_s(8, 25) == pytest.approx(21.8, abs=0.05)


@pytest.mark.parametrize("oversleep_s", [0.0, 0.00005, 0.0003])
@pytest.mark.parametrize("baud", [9600, 115200])
def test_no_byte_is_early_and_the_last_is_on_time(baud: int, oversleep_s: float):
    clock, char_s = Clock(oversleep_s), Wire(baud).char_s
    written: list[tuple[float, int]] = []
    start = 100.0
    data = bytes(range(45))
    ended = pace(
        data, start, char_s, lambda part: written.append((clock.now, len(part))), clock=clock, sleep=clock.sleep
    )
    sent = 0
    for at, size in written:
        sent += size
        assert at >= start + sent * char_s
    assert sent == len(data)
    late_s = ended - (start + len(data) * char_s)
    assert 0 <= late_s < 10e-6 if oversleep_s < 0.0001 else 0 <= late_s < oversleep_s


def test_pacing_catches_up_in_few_wakeups_when_sleep_is_coarse():
    clock = Clock(oversleep_s=0.001)
    pace(bytes(200), clock.now, Wire(115200).char_s, lambda part: None, clock=clock, sleep=clock.sleep)
    assert clock.slept < 25


def test_a_request_is_complete_one_gap_after_its_last_bit():
    wire = Wire(9600)
    line = Receiver(wire)
    line.push(10.0, bytes(8))
    ends = 10.0 + 8 * wire.char_s
    assert line.due == pytest.approx(ends + wire.gap_s)
    assert line.take(line.due - 1e-6) is None
    assert line.take(line.due) == bytes(8)
    assert line.due is None


def test_bytes_within_the_gap_belong_to_the_same_frame():
    wire = Wire(9600)
    line = Receiver(wire)
    line.push(10.0, b"\x01\x03")
    line.push(10.0 + 4 * wire.char_s, b"\x00\x00")
    assert line.take(10.0 + 5.9 * wire.char_s) is None
    assert line.take(10.0 + 9.6 * wire.char_s) == b"\x01\x03\x00\x00"


def test_the_silence_before_a_request_is_measured():
    wire = Wire(9600)
    line = Receiver(wire)
    line.sent(20.0)
    line.push(20.0 + 4.2 * wire.char_s, bytes(8))
    assert line.stats.shortest_gap_s == pytest.approx(4.2 * wire.char_s)
    assert line.stats.broken_gaps == 0
    line.take(30.0)
    line.sent(31.0)
    line.push(31.0 + 2.0 * wire.char_s, bytes(8))
    assert line.stats.broken_gaps == 1
    assert line.stats.shortest_gap_s == pytest.approx(2.0 * wire.char_s)


def test_above_19200_the_gap_owed_is_fixed():
    line = Receiver(Wire(115200))
    line.sent(20.0)
    line.push(20.0 + 0.0017, bytes(8))
    assert line.stats.broken_gaps == 1
