"""What faulty devices send, byte by byte, and what happens to their values."""

from __future__ import annotations

import struct

import pytest

from firmware_sim.devices import build
from firmware_sim.faults import KINDS, SHAPES, BadFault, Emission, Faults, add_fault, make_fault, parse_fault
from firmware_sim.framing import Request, rtu_frame, rtu_parts, tcp_frame

ASKED = bytes.fromhex("0300640002")
REPLY = bytes.fromhex("030411223344")
ON_LINE = Request(17, ASKED)
ON_TCP = Request(17, ASKED, 0x0102)
GOOD = rtu_frame(17, REPLY)


def _emit(text: str, request: Request = ON_LINE) -> Emission:
    faults = Faults(3)
    add_fault(faults, *parse_fault(text), now=0.0)
    return faults.emit(request, REPLY)


def _bytes(emission: Emission) -> bytes:
    return b"".join(data for _, data in emission.parts)


def test_without_a_fault_the_reply_goes_out_in_the_requests_framing():
    assert Faults().emit(ON_LINE, REPLY) == Emission(((0.0, GOOD),))
    assert Faults().emit(ON_TCP, REPLY) == Emission(((0.0, tcp_frame(0x0102, 17, REPLY)),))


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ("silent", b""),
        ("dead", b""),
        ("partial:size=4", GOOD[:4]),
        ("crc", GOOD[:-1] + bytes((GOOD[-1] ^ 0x5A,))),
        ("twice", GOOD + GOOD),
        ("echo", rtu_frame(17, ASKED) + GOOD),
        ("echo_only", rtu_frame(17, ASKED)),
        ("wrong_unit", rtu_frame(18, REPLY)),
        ("wrong_fc", rtu_frame(17, b"\x04" + REPLY[1:])),
        ("wrong_byte_count", rtu_frame(17, b"\x03\x06" + REPLY[2:])),
        ("short_reply", rtu_frame(17, bytes.fromhex("03021122"))),
        ("exception:code=0x0B", rtu_frame(17, bytes.fromhex("830B"))),
        ("acknowledge", rtu_frame(17, bytes.fromhex("8305"))),
        ("busy", rtu_frame(17, bytes.fromhex("8306"))),
    ],
)
def test_bytes_on_the_line(fault: str, sent: bytes):
    assert _bytes(_emit(fault)) == sent


def test_noise_lies_around_the_whole_frame():
    before, after = _bytes(_emit("noise_before:size=5")), _bytes(_emit("noise_after:size=5"))
    assert before.endswith(GOOD)
    assert after.startswith(GOOD)
    assert len(before) == len(after) == len(GOOD) + 5


def test_garbage_has_the_length_of_a_reply_and_is_none():
    garbage = _bytes(_emit("garbage"))
    assert len(garbage) == len(GOOD)
    assert rtu_parts(garbage) is None


def test_times_of_what_is_late_split_dribbled_and_flooding():
    assert _emit("late:delay_s=1.4").parts == ((1.4, GOOD),)
    assert [at for at, _ in _emit("split:delay_s=0.3").parts] == [0.0, 0.3]
    dribble = _emit("dribble:delay_s=0.004")
    assert _bytes(dribble) == GOOD
    assert [at for at, _ in dribble.parts] == pytest.approx([0.004 * index for index in range(len(GOOD))])
    assert len(_bytes(_emit("flood"))) == 5120


def test_tcp_faults():
    assert _bytes(_emit("wrong_tid", ON_TCP)) == tcp_frame(0x0101, 17, REPLY)
    assert _emit("drop", ON_TCP) == Emission(close=True)
    assert _bytes(_emit("crc", ON_TCP))[2:4] == bytes.fromhex("005A")
    partway = _emit("drop_partway:size=5", ON_TCP)
    assert partway.close
    assert len(_bytes(partway)) == 5
    assert _emit("half_open", ON_TCP) == Emission(deaf=True)


def test_a_fault_hits_its_registers_its_function_and_its_count_only():
    faults = Faults()
    faults.add(make_fault("exception", {"first": 101, "last": 110, "code": 2}))
    assert faults.emit(ON_LINE, REPLY) != Faults().emit(ON_LINE, REPLY)  # 100..101 touches 101
    other = Request(17, bytes.fromhex("0300640001"))
    assert faults.emit(other, REPLY) == Faults().emit(other, REPLY)
    faults.heal()
    faults.add(make_fault("silent", {"function": 4}))
    assert faults.emit(ON_LINE, REPLY).parts
    faults.heal()
    faults.add(make_fault("silent", {"count": 2}))
    assert [bool(faults.emit(ON_LINE, REPLY).parts) for _ in range(4)] == [False, False, True, True]
    assert faults.hits["silent"] == 2
    assert not faults.active


def test_chance_is_seeded():
    def hits(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add(make_fault("intermittent", {}))
        return [bool(faults.emit(ON_LINE, REPLY).parts) for _ in range(64)]

    assert hits(1) == hits(1) != hits(2)
    assert 16 < sum(hits(1)) < 48


def test_every_kind_can_be_set_from_text():
    for kind in KINDS:
        add_fault(Faults(), *parse_fault(kind), now=0.0)
    assert set(SHAPES) < set(KINDS)


@pytest.mark.parametrize("text", ["lte", "late:delay=1", "late:delay_s=soon", "late:delay_s", "stuck:code=1"])
def test_a_fault_that_cannot_be_understood_says_what_is_known(text: str):
    with pytest.raises(BadFault, match=r"known|number|NAME=VALUE"):
        add_fault(Faults(), *parse_fault(text), now=0.0)


class _Clock:
    def __init__(self) -> None:
        self.now = 1.78e9

    def __call__(self) -> float:
        return self.now


def test_counters_roll_over_are_exchanged_and_reset():
    clock = _Clock()
    device = build("chint-dtsu666", id="d", unit=1, seed=1, now=clock)

    def kwh() -> float:
        reply = device.answer(bytes.fromhex("03101E0002"))
        return float(struct.unpack(">f", reply[2:])[0])

    before = kwh()
    for kind, expected in (("reset", 0.0), ("exchange", 3.2), ("rollover", 999_999.9)):
        add_fault(device.faults, kind, {}, clock.now)
        assert kwh() == pytest.approx(expected, abs=0.05)
    clock.now += 3600
    assert kwh() < 100 < before  # it went on from zero


def test_a_device_may_confirm_writes_and_ignore_them():
    clock = _Clock()
    device = build("waveshare-relay-8ch-d", id="d", unit=1, seed=1, now=clock)
    add_fault(device.faults, "ignore_writes", {}, clock.now)
    on = bytes.fromhex("050002FF00")
    assert device.answer(on) == on
    assert device.snapshot["relay3"] is False
    device.faults.heal()
    assert device.answer(on) == on
    assert device.snapshot["relay3"] is True


def test_a_stuck_device_repeats_itself_until_it_is_healed():
    clock = _Clock()
    device = build("chint-dtsu666", id="d", unit=1, seed=1, now=clock)
    add_fault(device.faults, "stuck", {}, clock.now)
    first = dict(device.snapshot)
    clock.now += 600
    assert dict(device.snapshot) == first
    device.faults.heal()
    assert dict(device.snapshot) != first
