"""What the control panel makes of each refusal, of BUSY and of keys that do not fit: on a virtual line, words and timing."""

from __future__ import annotations

import pytest

from device_profiles.reading import PointFault
from drivers.osdp import frame as wire
from drivers.osdp.facts import Order
from drivers.osdp.reader import MOST_BUSY, REFRESH_S
from drivers.osdp.session import value_of
from firmware_sim.osdp import OsdpReader
from tests.drivers.osdp_world import Bench, answering

KEY = bytes.fromhex("00112233445566778899aabbccddeeff")
POLL, ID, CAP, LSTAT, ISTAT, OSTAT, RSTAT, OUT, BUZ, CHLNG = 0x60, 0x61, 0x62, 0x64, 0x65, 0x66, 0x67, 0x68, 0x6A, 0x76


class Refusing(OsdpReader):
    """Refuses the commands of `codes` with `reason`."""

    codes: tuple[int, ...] = ()
    reason = 3

    def _obey(self, code: int, data: bytes) -> tuple[int, bytes]:
        return (0x41, bytes((self.reason,))) if code in self.codes else super()._obey(code, data)


def refusing(*codes: int, reason: int = 3, key: bytes | None = None) -> Refusing:
    reader = Refusing(1, key, install=False)
    reader.codes, reader.reason = codes, reason
    return reader


def ordered(bench: Bench, code: int, data: bytes) -> str:
    """What became of an order."""
    outcome: list[object] = []
    bench.readers[1].add(Order(code, data, outcome.append))
    bench.run(2.0)
    return str(outcome)


def test_a_conversation_begins_with_who_what_and_how() -> None:
    bench = Bench(answering(OsdpReader(1)), 1)
    bench.run(0.5)
    assert bench.sent()[:7] == [ID, CAP, LSTAT, ISTAT, OSTAT, RSTAT, POLL]
    assert [raw[5] & 3 for _, raw in bench.wire.sent[:8]] == [0, 1, 2, 3, 1, 2, 3, 1]


def test_a_command_without_an_answer_is_repeated_byte_for_byte_and_done_once() -> None:
    reader = OsdpReader(1, KEY, install=False)
    bench = Bench(answering(reader), 1, key=KEY)
    bench.run(0.5)
    healthy, lost = reader.spoil, [True, True]
    reader.spoil = lambda frame: [] if lost and lost.pop() else healthy(frame)
    reader.done.clear()
    assert "64" in ordered(bench, BUZ, bytes((0, 2, 1, 1, 1)))
    assert [code for code, _ in reader.done].count(BUZ) == 1
    assert reader.repeats == 2
    assert bench.readers[1].facts.secure


@pytest.mark.parametrize(
    ("reason", "words"),
    [(2, "wrong length"), (3, "does not know the command"), (7, "biometric type"), (8, "biometric format"),
     (9, "cannot do this command"), (0x21, "reason 21")],
)  # fmt: skip
@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
def test_a_refused_order_says_why_and_the_conversation_goes_on(reason: int, words: str, key: bytes | None) -> None:
    bench = Bench(answering(refusing(BUZ, reason=reason, key=key)), 1, key=key)
    bench.run(0.5)
    assert words in ordered(bench, BUZ, bytes((0, 2, 1, 1, 1)))
    assert bench.online == {1}
    assert bench.sent().count(ID) == 1


@pytest.mark.parametrize("code", [ID, CAP, LSTAT, ISTAT, OSTAT, RSTAT])
def test_a_reader_that_lacks_a_status_command_is_polled_all_the_same_and_not_asked_again(code: int) -> None:
    bench = Bench(answering(refusing(code)), 1)
    bench.run(3 * REFRESH_S)
    assert bench.online == {1}
    assert bench.sent().count(code) == 1
    assert all(bench.sent().count(other) >= 3 for other in (LSTAT, ISTAT, OSTAT) if other != code)


@pytest.mark.parametrize("reason", [4, 5, 6])
@pytest.mark.parametrize("code", [ID, POLL])
def test_a_reader_that_refuses_for_ever_does_not_take_the_line(reason: int, code: int) -> None:
    """A wrong sequence number, no such security block, a channel wanted: begun anew, and ever more seldom."""
    bench = Bench(answering(refusing(code, reason=reason, key=KEY)), 1, key=KEY)
    bench.run(30.0)
    before = len(bench.wire.sent)
    bench.run(30.0)
    assert len(bench.wire.sent) - before < 400


def test_a_checksum_that_the_reader_heard_wrong_is_sent_again() -> None:
    reader = OsdpReader(1)
    bench = Bench(answering(reader), 1)
    bench.run(0.5)
    healthy, nak = reader.spoil, [True]

    def once(frame: bytes) -> list[tuple[float, bytes]]:
        return (
            [(0.0, wire.encode(wire.Frame(1, 0x41, b"\1", frame[5] & 3, True)))]
            if nak and nak.pop()
            else healthy(frame)
        )

    reader.spoil = once
    bench.run(0.5)
    assert (reader.repeats, bench.sent().count(ID)) == (1, 1)


def test_a_reader_that_stays_busy_counts_as_gone() -> None:
    reader = OsdpReader(1)
    bench = Bench(answering(reader), 1)
    bench.run(0.5)
    reader.busy = MOST_BUSY + 50
    bench.run(5.0)
    assert {"status": "online", "active": False} in bench.said
    bench.run(30.0)
    assert bench.online == {1}


def test_a_pulse_that_ends_by_itself_is_seen_to_end() -> None:
    reader = OsdpReader(1)
    bench = Bench(answering(reader), 1)
    bench.run(0.5)
    ordered(bench, OUT, bytes((0, 5, 10, 0)))
    assert bench.readers[1].facts.outputs == (True, False)
    reader.outputs[0] = False  # and the reader does not tell it
    bench.run(REFRESH_S + 1)
    assert bench.readers[1].facts.outputs == (False, False)


def test_inputs_outputs_and_readers_are_facts_by_their_number() -> None:
    simulated = OsdpReader(1, inputs=[False, True], outputs=[True])
    simulated.attached = 1
    bench = Bench(answering(simulated), 1)
    bench.run(0.5)
    reader = bench.readers[1]
    facts = ("input:0", "input:1", "output:0", "reader:0")
    assert [value_of(reader, fact) for fact in facts] == [False, True, True, 1]
    assert isinstance(value_of(reader, "input:2"), PointFault)


def test_a_card_that_is_malformed_costs_neither_the_channel_nor_the_next_card() -> None:
    reader = OsdpReader(1, KEY, install=False)
    bench = Bench(answering(reader), 1, key=KEY)
    bench.run(0.5)
    reader._news.append((0x50, bytes((0, 1, 26, 0, 1))))
    reader.present(f"{5:026b}")
    bench.run(1.0)
    assert bench.cards == {1: [5]}
    assert bench.faults == ["card data of 1 bytes for 26 bits"]
    assert bench.sent().count(CHLNG) == 1


# Keys that do not fit.


class Reserved(OsdpReader):
    """Does not even say in plain who it is."""

    def _obey(self, code: int, data: bytes) -> tuple[int, bytes]:
        return (0x41, b"\6") if code in (ID, CAP) and self._channel is None else super()._obey(code, data)


def test_a_reader_that_wants_a_channel_for_everything_says_who_it_is_within() -> None:
    bench = Bench(answering(Reserved(1, KEY, install=False)), 1, key=KEY)
    bench.run(0.5)
    facts = bench.readers[1].facts
    assert facts.secure
    assert facts.identity is not None
    assert facts.capabilities


def test_another_key_is_told_once_and_the_reader_is_tried_ever_more_seldom() -> None:
    bench = Bench(answering(OsdpReader(1, bytes(16), install=False)), 1, key=KEY)
    bench.run(60.0)
    assert bench.readers[1].facts.trouble == "no secure channel: the reader has another key"
    assert bench.said == [{"status": "secure", "active": False}]
    assert bench.sent().count(CHLNG) < 10


class Keyless(OsdpReader):
    """Answers a challenge for its own key with the key that everybody knows, and says so."""

    def _handshake(self, code: int, data: bytes, which: bytes, sequence: int, with_crc: bool) -> bytes:
        return super()._handshake(code, data, b"\0", sequence, with_crc)


def test_a_reader_without_a_key_of_its_own_says_so() -> None:
    bench = Bench(answering(Keyless(1)), 1, key=KEY)
    bench.run(5.0)
    assert "no key of its own yet" in bench.readers[1].facts.trouble
    assert not bench.online


@pytest.mark.parametrize("may_install", [False, True])
def test_the_key_that_everybody_knows_is_for_install_mode_only(may_install: bool) -> None:
    bench = Bench(answering(OsdpReader(1)), 1, key=KEY, may_install=may_install)
    bench.run(20.0)
    assert bench.online == ({1} if may_install else set())
    challenges = {raw[8] for _, raw in bench.wire.sent if raw[5] & 8 and raw[7] == 0x11}
    assert challenges == ({0, 1} if may_install else {1})


def test_a_channel_that_the_reader_lost_is_had_again_at_once_and_in_plain_words() -> None:
    reader = OsdpReader(1, KEY, install=False)
    bench = Bench(answering(reader), 1, key=KEY)
    bench.run(2.0)
    reader._channel = None
    bench.run(0.5)
    assert bench.readers[1].facts.secure
    assert bench.said[-3:] == [
        {"status": "secure", "active": True, "install": False},
        {"status": "install", "active": False},
        {"status": "online", "active": True},
    ]
    assert {"status": "secure", "active": False} in bench.said
