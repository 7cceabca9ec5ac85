"""F22 to F26 for DL/T 645: garbage, foreign and late replies, a dead meter among a hundred, a port that is pulled out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import DeviceError
from device_profiles.schema import Point
from drivers.base import Address, Limits, LinkConfig
from drivers.dlt645.driver import Dlt645Driver2007
from drivers.dlt645.master import EDITION_1997, EDITION_2007, GAP_CHARS, QUIET_SHARE, Edition, Master
from firmware_sim.meter_cli import KINDS, spoiler
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meters import MeterLine, bcd, build, energy_meter, take_apart
from firmware_sim.wire import Wire
from tests.drivers.virtual_slaves import VirtualLine
from tests.drivers.virtual_wire import Piece
from tests.faults.serial_faults import LateBus, a_hundred_with_one_dead, a_port_that_is_pulled_out

NUMBER = "000000880047"
OTHER = "000000880048"
LINK = LinkConfig("rs485-1", "serial", path="x", baud=2400, parity="E", timeout_s=0.5)
CHAR_S = 11 / 2400
READ = {4: 0x11, 2: 0x01}


class Bench(VirtualLine):
    """A master on a virtual 2400 baud line whose other end does what it is told."""

    def __init__(self, other: Callable[[bytes, float], list[Piece]], edition: Edition = EDITION_2007) -> None:
        super().__init__(other, LINK, gap_chars=GAP_CHARS)
        self.master = Master(LINK, edition)

    def read(self, number: str, di: int) -> bytes:
        return self.master.read(self.line, number, di)


# F22, F23: garbage and foreign replies.


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"late", "twice"}))
async def test_f22_what_is_wrong_with_one_meter_ends_in_time_and_leaves_the_next(kind: str) -> None:
    limit_s = 0.1
    bad, good = energy_meter("2007", NUMBER), energy_meter("2007", OTHER)
    bad.turnaround_s = good.turnaround_s = 0.002
    bad.spoil = spoiler(kind, {})
    driver = Dlt645Driver2007()
    energy = Point.model_validate({"id": "e", "type": "s64", "address": {"di": 0x00020000}})
    with MeterLine([bad, good], Wire(115200)) as line:
        link = LinkConfig("rs485-1", "serial", path=line.path, baud=115200, timeout_s=limit_s)
        [batch] = driver.plan([energy], Limits(), None, link)
        async with driver.open(link) as session:
            assert await session.read(Address(OTHER), batch) == [4217]
            processor, began = time.process_time(), time.perf_counter()
            try:
                assert await session.read(Address(NUMBER), batch) == [4217]
                assert kind == "noise"
            except DeviceError:
                assert kind != "noise"
            took = time.perf_counter() - began
            assert took < limit_s + 0.05 + 220 * 11 / 115200 + 0.05  # the reply's own time, and a busy machine
            assert time.process_time() - processor < 0.1
            assert await session.read(Address(OTHER), batch) == [4217]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                build,
                st.sampled_from([bytes.fromhex(NUMBER)[::-1], bytes.fromhex(OTHER)[::-1]]),
                st.sampled_from([0x11, 0x91, 0xD1, 0x92, 0xB1, 0x93, 0x94]),
                st.sampled_from([b"", b"\x02", b"\x00\x00\x02\x00", bytes(4) + b"\x11\x22\x33\x44"]),
            ),
        ),
        max_size=5,
    )
)
def test_f23_only_the_meters_own_answer_to_this_very_question_is_taken(pieces: list[bytes]) -> None:
    """The identifier asked for is in none of the pieces with data, so that no number may come of them."""
    bench = Bench(lambda frame, end: [(0.02 + 0.01 * n, piece) for n, piece in enumerate(pieces)])
    began = bench.wire.time
    try:
        data = bench.read(NUMBER, 0x00020000)
        assert data == b""  # an answer without a value: the planner makes BadNodeIdUnknown of it
    except DeviceError:
        pass
    assert bench.wire.time - began < 80 * (LINK.timeout_s + 250 * CHAR_S)


def test_f23_our_own_echo_is_no_answer() -> None:
    bench = Bench(lambda frame, end: [(0.0, frame)])
    with pytest.raises(DeviceError):
        bench.read(NUMBER, 0x00020000)


# F24: late replies.


def late_bus(seed: int, size: int) -> LateBus:
    """Meters that answer in order, each value the number of its request: late, lost, refused, garbled."""
    wake = random.Random(seed)

    def reply(frame: bytes, number: int) -> tuple[bytes, bytes]:
        request = take_apart(frame)
        assert request is not None
        address, control, data = request
        right = build(address, control | 0x80, data[:size] + bcd(number, 4))
        return address, b"\xfe" * wake.randrange(5) + right

    def refusal(frame: bytes) -> bytes:
        request = take_apart(frame)
        assert request is not None
        return build(request[0], request[1] | 0xC0, b"\x02")

    return LateBus(seed, reply, char_s=CHAR_S, timeout_s=LINK.timeout_s, refusal=refusal)


@pytest.mark.parametrize(
    ("edition", "seed"), [(EDITION_2007, 1), (EDITION_2007, 2), (EDITION_1997, 3), (EDITION_1997, 4)]
)
def test_f24_ten_thousand_polls_with_late_replies_give_no_wrong_value(edition: Edition, seed: int) -> None:
    """2,500 polls a seed: a value must answer a request of its own poll."""
    bus = late_bus(seed, edition.di_size)
    bench = Bench(bus, edition)
    choice = random.Random(seed)
    dis = (0x00010000, 0x00020000, 0x02010100) if edition.di_size == 4 else (0x9010, 0x9020, 0xB611)
    good = failed = 0
    for _ in range(2500):
        first = bus.number + 1
        try:
            data = bench.read(f"{choice.randint(1, 5):012d}", choice.choice(dis))
        except DeviceError:
            failed += 1
            continue
        good += 1
        assert int(data[::-1].hex()) in range(first, bus.number + 1), "an answer to an older question"
    assert good > 1000
    assert failed > 200


# F25: a dead meter.


def test_f25_a_dead_meter_costs_its_time_limit_and_no_more() -> None:
    def others(frame: bytes, end: float) -> list[Piece]:
        request = take_apart(frame)
        assert request is not None
        address, control, data = request
        if address == bcd(50, 6):
            return []
        return [(0.04, build(address, control | 0x80, data + bcd(1, 4)))]

    bench = Bench(others)

    def read(number: int) -> None:
        assert bench.read(f"{number:012d}", 0x00010000) == bcd(1, 4)

    one_s = (16 + 24 + GAP_CHARS) * CHAR_S + 0.04
    dead_s = LINK.timeout_s * (1 + QUIET_SHARE) + 240 * CHAR_S
    a_hundred_with_one_dead(bench.wire, read, one_s=one_s, dead_s=dead_s)


# F26: the adapter is pulled out and put in again.


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    meter = CountingMeter(NUMBER).meter()
    meter.turnaround_s = 0.002
    device = f'{{id: meter-1, link: line-1, unit: "{NUMBER}", profile: generic-dlt645-2007-three-phase, poll: 0.2}}'
    with MeterLine([meter], Wire(115200), link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, Dlt645Driver2007(), device)
