"""F22 to F26 for M-Bus: garbage, foreign and late replies, a dead slave among a hundred, a port that is pulled out."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import DeviceError
from drivers.base import LinkConfig
from drivers.mbus.driver import MbusDriver
from drivers.mbus.master import GAP_CHARS, QUIET_SHARE, Master
from drivers.mbus.select import Secondary
from firmware_sim.mbus import MbusSlave, bcd, heat_meter
from firmware_sim.meter_cli import KINDS, spoiler
from firmware_sim.slaves import SlaveLine
from firmware_sim.wire import Wire
from tests.drivers.virtual_slaves import VirtualLine, answering
from tests.drivers.virtual_wire import Piece
from tests.faults.serial_faults import LateBus, a_hundred_with_one_dead, a_port_that_is_pulled_out

LINK = LinkConfig("mbus-1", "serial", path="x", baud=2400, parity="E", timeout_s=0.5)
CHAR_S = 11 / 2400
ACK = b"\xe5"


class Bench(VirtualLine):
    """A master on a virtual 2400 baud line whose other end does what it is told."""

    def __init__(self, other: Callable[[bytes, float], list[Piece]]) -> None:
        super().__init__(other, LINK, gap_chars=GAP_CHARS)
        self.master = Master(LINK)

    def read(self, unit: int | str) -> float:
        """The number in the first record."""
        answers = self.master.read(self.line, Secondary.parse(unit) if isinstance(unit, str) else unit)
        value = answers[0].records[0].value
        assert isinstance(value, int | float)
        return value


def telegram(address: int, number: int, identification: int, *, more: bool = False) -> bytes:
    """An answer with a header whose one record is `number` (no unit)."""
    header = bcd(identification, 4) + b"\x93\x44\x01\x04" + bytes((number % 256, 0, 0, 0))
    body = bytes((0x08, address, 0x72)) + header + b"\x04\xfd\x3a" + number.to_bytes(4, "little") + b"\x1f" * more
    return bytes((0x68, len(body), len(body), 0x68)) + body + bytes((sum(body) % 256, 0x16))


# F22, F23: garbage and foreign replies.


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"late", "twice", "foreign"}))
def test_f22_what_is_wrong_with_one_slave_ends_in_time_and_leaves_the_next(kind: str) -> None:
    bad, good = MbusSlave("11111111", heat_meter(), primary=1), MbusSlave("22222222", heat_meter(), primary=2)
    bench = Bench(answering([bad, good], CHAR_S))  # type: ignore[arg-type]
    right = bench.read(2)
    assert bench.read(1) == right
    spoil = spoiler(kind, {})
    bad.spoil = lambda reply: spoil(reply) if len(reply) > 1 else [(0.0, reply)]
    began, looks = bench.wire.time, bench.wire.reads
    try:
        assert bench.read(1) == right
        assert kind == "noise"
    except DeviceError:
        assert kind != "noise"
    requests = 2 if kind == "checksum" else 1  # it is asked to repeat itself
    assert bench.wire.time - began < requests * ((5 + GAP_CHARS + 261) * CHAR_S + LINK.timeout_s * (1 + QUIET_SHARE))
    assert bench.wire.reads - looks < 600, "no busy loop"
    bench.wire.time += 3.0  # until a flood is over
    assert bench.read(2) == right


FOREIGN = telegram(2, 77, 22222222)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([ACK, FOREIGN, FOREIGN[:-2] + b"\x00\x16", bytes.fromhex("107b017c16"), bytes(30)]),
        ),
        max_size=5,
    )
)
def test_f23_only_the_slaves_own_answer_is_taken(pieces: list[bytes]) -> None:
    def other(request: bytes, _end: float) -> list[Piece]:
        if request[1] == 0x40:
            return [(0.03, ACK)]
        return [(0.02 + 0.01 * n, piece) for n, piece in enumerate(pieces)]

    bench = Bench(other)
    began = bench.wire.time
    with pytest.raises(DeviceError):
        bench.read(1)
    assert bench.wire.time - began < 3 * LINK.timeout_s + 900 * CHAR_S


def test_f23_our_own_echo_is_no_answer() -> None:
    with pytest.raises(DeviceError):
        Bench(lambda frame, end: [(0.0, frame)]).read(1)


# F24: late replies.


_LIMIT_S = LINK.timeout_s + 261 * CHAR_S
"""How long a master waits for the longest telegram."""


def late_bus(seed: int, *, telegrams: int = 1) -> LateBus:
    """Slaves 1 to 5, by primary address and as identifications 1 to 5, each record the number of its request."""
    selected = 0
    sent = dict.fromkeys(range(1, 6), 0)
    last: dict[int, tuple[int, bytes]] = {}

    def reply(request: bytes, number: int) -> tuple[Hashable, bytes] | None:
        nonlocal selected
        if request[0] == 0x68:
            selected = int(request[7:11][::-1].hex())
            last.pop(selected, None)
            sent[selected] = 0
            return selected, ACK
        control, address = request[1], request[2]
        if address == 253 and not selected:
            return None
        slave = selected if address == 253 else address
        if control == 0x40:
            last.pop(slave, None)
            sent[slave] = 0
            if address == 253:
                selected = 0
            return slave, ACK
        fcb, before = control & 0x20, last.get(slave)
        if before is None or before[0] != fcb:
            sent[slave] += 1
            more = sent[slave] % telegrams != 0
            before = last[slave] = (fcb, telegram(slave, number, slave, more=more))
        return slave, before[1]

    return LateBus(
        seed, reply, char_s=CHAR_S, timeout_s=_LIMIT_S,
        refusal=lambda request: None if request[1] == 0x40 or request[0] == 0x68 else _refusal(request),
    )  # fmt: skip


def _refusal(request: bytes) -> bytes:
    body = bytes((0x08, request[2], 0x70, 0x08))
    return bytes((0x68, 4, 4, 0x68)) + body + bytes((sum(body) % 256, 0x16))


@pytest.mark.parametrize(("seed", "telegrams"), [(1, 1), (2, 1), (3, 3), (4, 3)])
@pytest.mark.parametrize("by", ["primary", "secondary", "both"])
def test_f24_ten_thousand_polls_with_late_replies_give_no_wrong_value(seed: int, telegrams: int, by: str) -> None:
    """2,500 polls a seed and way of addressing: a value must answer a request of its own poll."""
    bus = late_bus(seed, telegrams=telegrams)
    bench, choice = Bench(bus), random.Random(seed)  # type: ignore[arg-type]
    good = failed = 0
    for _ in range(2500):
        first, slave = bus.number + 1, choice.randint(1, 5)
        is_primary = by == "primary" or (by == "both" and slave < 3)
        try:
            answers = bench.master.read(bench.line, slave if is_primary else Secondary.parse(f"{slave:08d}"))
        except DeviceError:
            failed += 1
            continue
        good += 1
        numbers = [int(answer.records[0].value or 0) for answer in answers]
        assert all(number in range(first, bus.number + 1) for number in numbers), "an answer to an older question"
        assert numbers == sorted(set(numbers))
    assert good > (300 if telegrams == 1 else 50)
    assert failed > 200


# F25: a dead slave.


def test_f25_a_dead_slave_costs_its_time_limit_and_no_more() -> None:
    def others(request: bytes, _end: float) -> list[Piece]:
        address = request[2]
        if address == 50:
            return []
        return [(0.04, ACK if request[1] == 0x40 else telegram(address, 7, address))]

    bench = Bench(others)

    def read(number: int) -> None:
        assert bench.read(number) == 7

    for number in range(1, 101):
        if number != 50:
            read(number)
    one_s = (5 + len(telegram(1, 7, 1)) + GAP_CHARS) * CHAR_S + 0.04
    dead_s = LINK.timeout_s * (1 + QUIET_SHARE) + (6 + GAP_CHARS) * CHAR_S
    a_hundred_with_one_dead(bench.wire, read, one_s=one_s, dead_s=dead_s)


# F26: the adapter is pulled out and put in again.


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    tenths = itertools.cycle(range(300, 900, 20))
    meter = MbusSlave("12345678", lambda: [(b"\x0a\x5a", bcd(next(tenths), 2))], primary=1, turnaround_s=0.002)
    device = "{id: meter-1, link: line-1, unit: 1, profile: generic-mbus-heat, poll: 0.2}"
    with SlaveLine([meter], Wire(115200), link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, MbusDriver(), device)
