"""F22 to F26 for OSDP: garbage, foreign and late replies, a dead reader among others, a port that is pulled out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.osdp import frame as wire
from drivers.osdp.cycle import PROBE_S, REPLY_S
from drivers.registry import load_driver
from firmware_sim.osdp import OsdpLine, OsdpReader
from firmware_sim.wire import Wire
from tests.drivers.osdp_world import CHAR_S, Bench, answering
from tests.drivers.virtual_wire import Piece
from tests.faults.serial_faults import LateBus, a_port_that_is_pulled_out

KEY = bytes.fromhex("00112233445566778899aabbccddeeff")
KEYED = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])

# F22, F23: garbage and foreign replies.

_RNG = random.Random(1)
SPOILED: dict[str, Callable[[bytes], list[Piece]]] = {
    "checksum": lambda frame: [(0.0, frame[:-1] + bytes((frame[-1] ^ 1,)))],
    "cut": lambda frame: [(0.0, frame[: len(frame) // 2])],
    "garbage": lambda frame: [(0.0, _RNG.randbytes(len(frame)))],
    "flood": lambda frame: [(0.0, b"\xffS\x81" * 100)],
    "beginnings": lambda frame: [(0.0, b"\xffS\x81\xa0\x05\x05" * 40)],
    "other reader": lambda frame: [(0.0, _again(frame, address=2))],
    "other sequence": lambda frame: [(0.0, _again(frame, sequence=(frame[5] + 1) & 3))],
    "a command": lambda frame: [(0.0, wire.encode(wire.Frame(1, 0x60, sequence=frame[5] & 3)))],
    "other reply": lambda frame: [(0.0, wire.encode(wire.Frame(1, 0x54, bytes(5), frame[5] & 3, is_reply=True)))],
}


def _again(frame: bytes, **changed: int) -> bytes:
    old = wire.decode(frame)
    return wire.encode(
        wire.Frame(changed.get("address", old.address), old.code, old.data, changed.get("sequence", old.sequence), True)
    )


@pytest.mark.parametrize("kind", SPOILED)
def test_f22_f23_what_is_no_answer_is_none_ends_in_time_and_leaves_the_next(kind: str) -> None:
    bad, good = OsdpReader(1), OsdpReader(2)
    bench = Bench(answering(bad, good), 1, 2)
    bench.run(1.0)
    assert bench.online == {1, 2}
    healthy, bad.spoil = bad.spoil, SPOILED[kind]
    bad.present(f"{1:026b}")
    good.present(f"{2:026b}")
    longest = 0.0
    for _ in range(200):
        began = bench.wire.time
        bench.step()
        longest = max(longest, bench.wire.time - began)
    assert longest <= REPLY_S + 0.05 + 300 * CHAR_S
    assert bench.online == {2}
    assert bench.cards == {1: [], 2: [2]}
    bad.spoil = healthy
    bench.run(60.0)
    assert bench.online == {1, 2}


def test_f22_noise_around_an_answer_does_no_harm() -> None:
    reader = OsdpReader(1)
    reader.spoil = lambda frame: [(0.0, b"\x00S\xff\x53\xffS\x82\xa0\x05\x05" + frame + b"\xaa\x55")]
    bench = Bench(answering(reader), 1)
    bench.run(1.0)
    reader.present(f"{7:026b}")
    bench.run(1.0)
    assert bench.cards[1] == [7]


FOREIGN = st.builds(
    lambda address, code, data, sequence, crc: wire.encode(wire.Frame(address, code, data, sequence, True, crc)),
    st.sampled_from([0, 2, 126, 127]), st.sampled_from(sorted(wire.REPLIES)), st.binary(max_size=20),
    st.integers(0, 3), st.booleans(),
)  # fmt: skip


@given(st.lists(st.one_of(st.binary(max_size=40), FOREIGN), max_size=5))
def test_f23_only_the_readers_own_answer_to_this_very_command_is_taken(pieces: list[bytes]) -> None:
    bench = Bench(lambda frame, end: [(0.005 * n, piece) for n, piece in enumerate(pieces)], 1)
    for _ in range(8):
        bench.step()
    assert not bench.online
    assert bench.cards == {1: []}


def test_f23_our_own_echo_is_no_answer() -> None:
    bench = Bench(lambda frame, end: [(0.0, frame)], 1)
    bench.run(5.0)
    assert not bench.online


# F24: late replies.


@KEYED
@pytest.mark.parametrize("seed", [1, 2])
def test_f24_ten_thousand_commands_with_late_replies_tell_no_card_twice_nor_another_readers(
    key: bytes | None, seed: int
) -> None:
    """2,500 commands a seed. Every card is one that this reader was shown, told once, in order."""
    simulated = {one: OsdpReader(one, key, install=False) for one in (1, 2, 3)}
    shown = dict.fromkeys(simulated, 0)

    def reply(frame: bytes, _number: int) -> tuple[int, bytes] | None:
        number = frame[2]
        reader = simulated[number]
        if not reader._news:
            shown[number] += 1
            reader.present(f"{number << 20 | shown[number]:026b}")
        answer = reader.hear(frame[1:])
        return None if answer is None else (number, b"\xff" + answer)

    def refusal(frame: bytes) -> bytes:
        return wire.encode(wire.Frame(frame[2], 0x41, b"\x03", frame[5] & 3, True))

    bus = LateBus(seed, reply, char_s=CHAR_S, timeout_s=REPLY_S, refusal=refusal)
    bench = Bench(bus, *simulated, key=key)
    while bus.number < 2500:
        bench.step()
    for number, cards in bench.cards.items():
        assert cards == sorted(set(cards)), "told twice, or out of order"
        assert {card >> 20 for card in cards} <= {number}, "another reader's card"
        assert len(cards) > 20
    assert not bench.faults


# F25: a dead reader.


def polls(seconds: float, readers: Sequence[OsdpReader], dead: Sequence[int]) -> tuple[int, float]:
    """(polls of the first reader within `seconds`, share of the line's time that the dead ones cost), after 5 s."""
    bench = Bench(answering(*readers), *(reader.address for reader in readers))
    bench.run(1.0)
    for number in dead:
        readers[number].mute = True
    bench.run(5.0)
    before, sent = readers[0].polls, len(bench.wire.sent)
    bench.run(seconds)
    gone = sum(frame[2] in dead for _, frame in bench.wire.sent[sent:])
    return readers[0].polls - before, gone * (REPLY_S + 2 * PROBE_S) / 3 / seconds


def test_f25_a_dead_reader_costs_the_others_next_to_nothing_and_comes_back() -> None:
    healthy, _ = polls(30.0, [OsdpReader(one) for one in range(8)], [])
    with_dead, cost = polls(30.0, [OsdpReader(one) for one in range(8)], [4])
    assert with_dead >= 0.95 * healthy
    assert cost < 0.02


@pytest.mark.parametrize("turnaround_s", [0.003, 0.15])
@pytest.mark.parametrize("has_crc", [True, False])
def test_f25_a_dead_reader_is_back_within_a_minute_also_a_slow_one(turnaround_s: float, has_crc: bool) -> None:
    """Also one that was never there before, and knows the checksum only."""
    dead, live = OsdpReader(1, turnaround_s=turnaround_s, mute=True, has_crc=has_crc), OsdpReader(2)
    bench = Bench(answering(dead, live), 1, 2)
    bench.run(120.0)
    dead.mute = False
    bench.run(60.0 if has_crc or turnaround_s < 0.1 else 120.0)
    assert bench.online == {1, 2}


# F26: the adapter is pulled out and put in again.


class Restless(OsdpReader):
    """Its tamper contact changes at every poll, so that there is always something new to publish."""

    def _obey(self, code: int, data: bytes) -> tuple[int, bytes]:
        if code == 0x60:
            self.set_tamper(not self.tamper)
        return super()._obey(code, data)


async def test_f26_a_port_that_was_pulled_is_back_within_five_seconds(tmp_path: Path) -> None:
    port = tmp_path / "port"
    device = "{id: meter-1, link: line-1, unit: 1, profile: generic-osdp-reader, poll: 0.2}"
    with OsdpLine([Restless(1)], Wire(115200), link=port) as line:
        await a_port_that_is_pulled_out(tmp_path, port, line, load_driver("osdp"), device)
