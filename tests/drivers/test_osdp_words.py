"""Data of OSDP commands and replies, the finder of answers, and what a trace shows: no card, whatever the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers.osdp import frame as wire
from drivers.osdp import words
from drivers.osdp.cycle import Finder
from drivers.osdp.facts import Phase
from drivers.osdp.masking import masked
from drivers.osdp.reader import Reader

BITS = st.text("01", min_size=1, max_size=128)


@given(st.integers(0, 255), st.integers(0, 255), BITS)
def test_a_card_comes_back_bit_by_bit(reader: int, form: int, bits: str) -> None:
    size = -(-len(bits) // 8)
    data = (
        bytes((reader, form))
        + len(bits).to_bytes(2, "little")
        + int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")
    )
    found = words.card(data)
    assert (found.reader, found.form, found.bits) == (reader, form, bits)
    assert f"bits={bits}" not in repr(found)
    for wrong in (data[:-1], data + b"\0", data[:3]):
        with pytest.raises(DeviceMismatch):
            words.card(wrong)


@given(st.binary(max_size=40))
def test_any_data_give_a_value_or_the_one_error(data: bytes) -> None:
    for parse in (words.identity, words.capabilities, words.card, words.characters, words.keys):
        try:
            parse(data)
        except DeviceMismatch:
            continue


def test_formatted_cards_in_either_direction() -> None:
    assert words.characters(b"\x00\x00\x041234") == (0, "1234")
    assert words.characters(b"\x01\x01\x044321") == (1, "1234")


@pytest.mark.parametrize(
    ("call", "code", "data"),
    [
        ({"command": "led", "color": "green"}, 0x69, "00 00 01 00 00 00 00 00 00 01 0a 00 02 00"),
        (
            {"command": "led", "color": 1, "off_color": "amber", "on_ms": 500, "off_ms": 300, "seconds": 1.5},
            0x69, "00 00 02 05 03 01 03 0f 00 00 00 00 00 00",
        ),
        ({"command": "buzzer"}, 0x6A, "00 02 02 01 01"),
        ({"command": "buzzer", "sound": False}, 0x6A, "00 01 02 01 01"),
        ({"command": "text", "text": "Hi"}, 0x6B, "00 01 00 01 01 02 48 69"),
        ({"command": "output", "output": 1, "state": "off"}, 0x68, "01 01 00 00"),
        ({"command": "output", "output": 0, "state": True, "seconds": 3}, 0x68, "00 05 1e 00"),
        ({"command": "comset", "address": 5, "baud": 38400}, 0x6E, "05 00 96 00 00"),
        ({"command": "keyset"}, 0x75, ""),
    ],
)  # fmt: skip
def test_commands(call: dict[str, object], code: int, data: str) -> None:
    assert words.command(call) == (code, bytes.fromhex(data))


@pytest.mark.parametrize(
    "call",
    [
        {"command": "reboot"}, {}, {"command": "led", "color": "pink"}, {"command": "led", "led": 256},
        {"command": "buzzer", "count": "many"}, {"command": "text", "text": "Zürich"}, {"command": "text", "text": "x" * 256},
        {"command": "output", "state": "pulse"}, {"command": "output", "state": "ajar"},
        {"command": "comset", "address": 1, "baud": 1200}, {"command": "comset", "baud": 9600},
        {"command": "comset", "address": 127, "baud": 9600},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused(call: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        words.command(call)


def reply(code: int = 0x40, data: bytes = b"", sequence: int = 1, address: int = 5) -> bytes:
    return wire.encode(wire.Frame(address, code, data, sequence, is_reply=True))


def polled(sequence: int) -> Reader:
    """Reader 5, just polled with this sequence."""
    reader, now = Reader(5, None), 0
    while reader.next() and (reader.phase is not Phase.POLLING or now != sequence):
        reader.heard(wire.decode(reply(0x41, b"\3", now)), 0.0)
        now = now % 3 + 1
    return reader


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_an_answer_is_found_in_whatever_pieces_and_noise(before: bytes, after: bytes) -> None:
    right = reply(0x48, b"\0\1")
    whole = before + right + after
    finder = Finder(polled(1))
    found: bytes | int = 1
    for end in range(1, len(whole) + 1):
        found = finder(whole[:end])
        if isinstance(found, bytes):
            break
        assert found >= 1
    if b"S" not in before:  # a false beginning may swallow what follows it
        assert finder.reply is not None
        assert finder.reply.data == b"\0\1"


@pytest.mark.parametrize(
    "other",
    [
        reply(address=6), reply(sequence=2), reply()[:-1] + b"\0", wire.encode(wire.Frame(5, 0x60, sequence=1)),
        reply(0x45, bytes(12)), wire.encode(wire.Frame(5, 0x40, b"", 1, True, True, b"\x16", bytes(4))),
        b"\xffS\x86\xa0\x05\x05",
    ],
)  # fmt: skip
def test_what_is_no_answer_is_passed_over(other: bytes) -> None:
    finder = Finder(polled(1))
    assert isinstance(finder(other), int)
    assert finder.reply is None
    assert finder(other + reply()) == reply()


def test_busy_has_sequence_0() -> None:
    assert Finder(polled(2))(reply(0x79, sequence=0)) == reply(0x79, sequence=0)


@given(st.sampled_from([0x50, 0x51, 0x53]), st.binary(min_size=8, max_size=24), st.binary(max_size=4))
def test_a_trace_shows_no_card(code: int, data: bytes, before: bytes) -> None:
    shown, remark = masked(before + reply(code, data))
    assert len(shown) == len(before) + len(reply(code, data))
    assert data not in shown or not any(data)
    assert "hidden" in remark


def test_a_trace_shows_what_is_no_secret() -> None:
    assert masked(reply(0x48, b"\0\1")) == (reply(0x48, b"\0\1"), "")
