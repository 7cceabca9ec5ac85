"""F22 to F26 for CJ/T 188: garbage, foreign and late replies, a dead meter among a hundred, a port that is pulled out."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import DeviceError
from drivers.base import LinkConfig
from drivers.cjt188.driver import Cjt188Driver
from drivers.cjt188.items import CURRENT, Shape
from drivers.cjt188.master import GAP_CHARS, QUIET_SHARE, READ, Master, Question
from firmware_sim.cjt188 import CjtMeter, digits
from firmware_sim.meter_cli import KINDS, spoiler
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire
from tests.drivers.virtual_slaves import VirtualLine, answering
from tests.drivers.virtual_wire import Piece
from tests.faults.serial_faults import LateBus, a_hundred_with_one_dead, a_port_that_is_pulled_out

NUMBER = "00111100012345"
OTHER = "00111100012346"
LINK = LinkConfig("rs485-1", "serial", path="x", baud=2400, parity="E", timeout_s=0.5)
CHAR_S = 11 / 2400
HISTORY = 0xD120


class Bench(VirtualLine):
    """A master on a virtual 2400 baud line whose other end does what it is told."""

    def __init__(self, other: Callable[[bytes, float], list[Piece]]) -> None:
        super().__init__(other, LINK, gap_chars=GAP_CHARS)
        self.master = Master(LINK)

    def read(self, number: str, di: int = CURRENT) -> bytes:
        """What stands behind identifier and serial number."""
        return self.master.ask(self.line, Question(0x10, number, READ, di, Shape())).data[3:]


def build(address: bytes, control: int, data: bytes, kind: int = 0x10) -> bytes:
    body = bytes((0x68, kind)) + address + bytes((control, len(data))) + data
    return body + bytes((sum(body) % 256, 0x16))


def parts(request: bytes) -> tuple[bytes, int, bytes]:
    """(address, control, data)."""
    frame = request.lstrip(b"\xfe")
    return frame[2:9], frame[9], frame[11:-2]


# F22, F23: garbage and foreign replies.


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"late", "twice"}))
def test_f22_what_is_wrong_with_one_meter_ends_in_time_and_leaves_the_next(kind: str) -> None:
    bad, good = CjtMeter(NUMBER), CjtMeter(OTHER)
    bad.spoil = spoiler(kind, {})
    bench = Bench(answering([bad, good], CHAR_S))  # type: ignore[arg-type]
    right = bench.read(OTHER)
    began, looks = bench.wire.time, bench.wire.reads
    try:
        assert bench.read(NUMBER) == right
        assert kind == "noise"
    except DeviceError:
        assert kind != "noise"
    assert bench.wire.time - began < (20 + 62) * CHAR_S + LINK.timeout_s + 0.05
    assert bench.wire.reads - looks < 200, "no busy loop"
    bench.wire.time += 3.0  # until a flood is over
    assert bench.read(OTHER) == right


OWN, FOREIGN = bytes.fromhex(NUMBER)[::-1], bytes.fromhex(OTHER)[::-1]
VOLUME = digits(123_456, 4) + b"\x2c"


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                build,
                st.sampled_from([OWN, FOREIGN]),
                st.sampled_from([0x01, 0x81, 0xC1, 0x83, 0x84, 0xC4]),
                st.sampled_from([b"", b"\x02", b"\x90\x1f", b"\x90\x1f\x77" + VOLUME, b"\xd1\x20\x01" + VOLUME]),
                st.sampled_from([0x10, 0x20]),
            ),
        ),
        max_size=5,
    )
)
def test_f23_only_the_meters_own_answer_to_this_very_question_is_taken(pieces: list[bytes]) -> None:
    """The right identifier comes with another serial number only, so that no number may come of them."""
    bench = Bench(lambda frame, end: [(0.02 + 0.01 * n, piece) for n, piece in enumerate(pieces)])
    began = bench.wire.time
    with pytest.raises(DeviceError):
        bench.read(NUMBER)
    assert bench.wire.time - began < LINK.timeout_s + 400 * CHAR_S


def test_f23_our_own_echo_is_no_answer() -> None:
    with pytest.raises(DeviceError):
        Bench(lambda frame, end: [(0.0, frame)]).read(NUMBER)


# F24: late replies.


def late_bus(seed: int, *, tells_serial: bool) -> LateBus:
    wake = random.Random(seed)

    def reply(request: bytes, number: int) -> tuple[bytes, bytes]:
        address, control, data = parts(request)
        right = build(address, control | 0x80, data[:3] + digits(number, 4) + b"\x2c")
        return address, b"\xfe" * wake.randrange(5) + right

    def refusal(request: bytes) -> bytes:
        address, control, data = parts(request)
        return build(address, control | 0xC0, data[2:3] + b"\x04\x00" if tells_serial else b"\x04")

    return LateBus(seed, reply, char_s=CHAR_S, timeout_s=LINK.timeout_s, refusal=refusal)


@pytest.mark.parametrize(("seed", "tells_serial"), [(1, True), (2, True), (3, False), (4, False)])
def test_f24_ten_thousand_polls_with_late_replies_give_no_wrong_value(seed: int, tells_serial: bool) -> None:
    """2,500 polls a seed: a value must answer the very request of its poll."""
    bus = late_bus(seed, tells_serial=tells_serial)
    bench, choice = Bench(bus), random.Random(seed)  # type: ignore[arg-type]
    good = failed = 0
    for _ in range(2500):
        first = bus.number + 1
        try:
            data = bench.read(f"{choice.randint(1, 5):014d}", choice.choice([CURRENT, HISTORY]))
        except DeviceError:
            failed += 1
            continue
        good += 1
        assert int(data[3::-1].hex()) in range(first, bus.number + 1), "an answer to an older question"
    assert good > 1000
    assert failed > 200


# F25: a dead meter.


def test_f25_a_dead_meter_costs_its_time_limit_and_no_more() -> None:
    def others(request: bytes, _end: float) -> list[Piece]:
        address, control, data = parts(request)
        is_dead = address == digits(50, 7)
        return [] if is_dead else [(0.04, build(address, control | 0x80, data + digits(1, 4) + b"\x2c"))]

    bench = Bench(others)

    def read(number: int) -> None:
        assert bench.read(f"{number:014d}") == digits(1, 4) + b"\x2c"

    one_s = (19 + 21 + GAP_CHARS) * CHAR_S + 0.04
    dead_s = LINK.timeout_s * (1 + QUIET_SHARE) + (19 + 66) * CHAR_S
    a_hundred_with_one_dead(bench.wire, read, one_s=one_s, dead_s=dead_s)


# F26: the adapter is pulled out and put in again.


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    device = f'{{id: meter-1, link: line-1, unit: "{NUMBER}", profile: generic-cjt188-water, poll: 0.2}}'
    meter = CjtMeter(NUMBER, turnaround_s=0.002)

    def volume() -> float:
        """Each reading shows another state of the valve, so that each is told."""
        meter.valve ^= 1
        return 1.0

    meter.volume = volume
    with SlaveLine([meter], Wire(115200), link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, Cjt188Driver(), device)
