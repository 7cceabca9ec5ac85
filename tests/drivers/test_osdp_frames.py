"""OSDP frames: published captures decode, changed bytes are refused, built frames are read back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers.frames import Frame, Reject
from drivers.osdp import frame as wire
from drivers.osdp.frames import Decoder

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "osdp"
FILES = sorted(VECTORS.glob("*.osdpcap"))
KNOWN = {
    "poll": ("ff530108000660d866", "POLL", {}),
    "ack": ("5381080006406a60", "ACK", {}),
    "card": (
        "53811000075000011a00123456807323",
        "RAW",
        {"card_bits": 26, "card_bits_text": "00010010001101000101011010"},
    ),
    "keys": ("53810f0005530005010203040d39db", "KEYPAD", {"keys_text": "<01><02><03><04>#"}),
    "comset": ("537f0d00046e00802500006e38", "COMSET", {}),
    "id": ("53000900046100c066", "ID", {}),
}


def decoded(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.end()]


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_frame(name: str) -> None:
    text, code, values = KNOWN[name]
    (found,) = decoded(bytes.fromhex(text))
    assert isinstance(found, Frame)
    assert found.facts["name"] == code
    assert {key: value for key, value in ((one.id, one.value) for one in found.values) if key in values} == values
    assert wire.encode(wire.decode(bytes.fromhex(text)), mark=text.startswith("ff")) == bytes.fromhex(text)


@pytest.mark.skipif(not FILES, reason="../shared/vectors/osdp is not there")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_published_capture(file: Path) -> None:
    frames = [bytes.fromhex(json.loads(line)["data"]) for line in file.read_text().splitlines() if line.strip()]
    found = decoded(b"".join(frames))
    assert [one.raw for one in found if isinstance(one, Frame)] == frames
    assert len(found) == len(frames)
    rng = random.Random(11)
    for raw in frames:
        changed = bytearray(raw)
        changed[rng.randrange(1, len(raw))] ^= rng.randrange(1, 256)
        assert not any(isinstance(one, Frame) for one in decoded(bytes(changed)))


CODES = st.one_of(
    st.tuples(st.just(False), st.sampled_from(sorted(wire.COMMANDS))),
    st.tuples(st.just(True), st.sampled_from(sorted(wire.REPLIES))),
)


@given(
    st.integers(0, 127),
    CODES,
    st.binary(max_size=200),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from([b"", b"\x11\x01", b"\x15", b"\x18"]),
    st.booleans(),
)
def test_a_built_frame_is_read_back(
    address: int, code: tuple[bool, int], data: bytes, sequence: int, has_crc: bool, security: bytes, mark: bool
) -> None:
    mac = b"\x01\x02\x03\x04" if security and security[0] > 0x14 else b""
    frame = wire.Frame(address, code[1], data, sequence, code[0], has_crc, security, mac)
    raw = wire.encode(frame, mark=mark)
    assert wire.decode(raw) == frame
    (found,) = decoded(raw)
    assert isinstance(found, Frame)
    assert [part.end for part in found.parts[:-1]] == [part.start for part in found.parts[1:]]
    assert (found.parts[0].start, found.parts[-1].end) == (0, len(raw))


def said(code: int, data: str, *, is_reply: bool = False) -> dict[str, object]:
    (found,) = decoded(wire.encode(wire.Frame(1, code, bytes.fromhex(data), is_reply=is_reply)))
    assert isinstance(found, Frame)
    return {one.id: one.value for one in found.values}


def test_the_fields_of_commands() -> None:
    assert said(0x61, "00") == {"reply_type": "standard"}
    led = said(0x69, "00 01 02 05 05 02 00 1e00 01 0a 00 01 00")
    assert [led[name] for name in ("reader", "led", "temporary", "temporary_on", "temporary_color", "timer")] == [
        0, 1, "set", 0.5, "green", 3.0,
    ]  # fmt: skip
    assert [led[name] for name in ("permanent", "permanent_on", "permanent_off", "permanent_color")] == [
        "set",
        1.0,
        0.0,
        "red",
    ]
    assert said(0x68, "00 05 3200 01 01 0000") == {
        "output": 0, "control": "on for a time", "timer": 5.0, "output_2": 1, "control_2": "off, ends a timer", "timer_2": 0.0,
    }  # fmt: skip
    assert said(0x6A, "00 02 05 05 03") == {"reader": 0, "tone": "default", "on": 0.5, "off": 0.5, "count": 3}
    assert said(0x6B, "00 03 05 01 02 02 4869")["display_text"] == "Hi"
    assert said(0x6E, "05 00960000") == {"address": 5, "baud_rate": 38400}
    assert said(0x75, "01 10" + "11" * 16) == {"key_type": "SCBK", "key_bytes": 16}
    assert said(0x76, "b0b1b2b3b4b5b6b7") == {"panel_random": "b0b1b2b3b4b5b6b7"}
    assert said(0x7B, "0005") == {"receive_bytes": 1280}
    assert said(0x7C, "01 00100000 80000000 0200 abcd") == {
        "file_type": 1, "total_bytes": 4096, "offset": 128, "fragment_bytes": 2, "fragment": "abcd",
    }  # fmt: skip
    assert said(0x80, "00068e 01 02") == {"vendor": "00068e", "vendor_data": "0102"}
    assert said(0xA3, "5fc102 01 0000") == {"object_id": "5fc102", "element_id": 1, "offset": 0}
    assert said(0xA7, "e803") == {"keep_active": 1000}


def test_the_fields_of_replies() -> None:
    assert said(0x41, "09", is_reply=True) == {"nak": "it cannot do this command as it was given"}
    assert said(0x46, "080100 0a0004 0d0101", is_reply=True) == {
        "check_character_level": 1, "check_character_number": 0, "receive_buffer_bytes": 1024, "readers_level": 1,
        "readers_number": 1,
    }  # fmt: skip
    assert said(0x4B, "0002", is_reply=True) == {"reader_status_0": "normal", "reader_status_1": "tamper"}
    assert said(0x51, "00 00 03 313233", is_reply=True)["card_text"] == "123"
    assert said(0x53, "00 02 317f", is_reply=True) == {"reader": 0, "key_count": 2, "keys_text": "1*"}
    assert said(0x7A, "01 6400 ffff 0001", is_reply=True) == {
        "action": 1, "delay": 100, "transfer_status": -1, "most_bytes": 256,
    }  # fmt: skip
    crypt = said(0x76, "0102030405060708" + "1112131415161718" + "21" * 16, is_reply=True)
    assert crypt == {
        "reader_id": "0102030405060708",
        "reader_random": "1112131415161718",
        "reader_cryptogram": "21" * 16,
    }


@given(CODES, st.binary(max_size=40))
def test_whatever_the_data_are_their_fields_are_told(code: tuple[bool, int], data: bytes) -> None:
    is_reply, number = code
    (found,) = decoded(wire.encode(wire.Frame(1, number, data, is_reply=is_reply)))
    assert isinstance(found, Frame)
    assert found.values or not data
    assert found.facts["name"] == (wire.REPLIES if is_reply else wire.COMMANDS)[number]


def test_noise_holds_no_frame() -> None:
    for seed in (1, 2, 3):
        assert not any(isinstance(one, Frame) for one in decoded(random.Random(seed).randbytes(300_000)))
    assert not any(isinstance(one, Frame) for one in decoded(b"\x53" * 50_000 + b"\xff" * 1000))


@given(st.binary(max_size=80))
def test_other_bytes_are_no_frame(data: bytes) -> None:
    with pytest.raises(DeviceMismatch):
        wire.decode(data)


def test_a_card_that_is_cut_short_is_no_card() -> None:
    raw = wire.encode(wire.Frame(1, 0x50, bytes((0, 1, 26, 0, 0x12)), is_reply=True))
    (found,) = decoded(raw)
    assert isinstance(found, Frame)
    assert [(one.id, one.value, one.status) for one in found.values][-1] == ("card_bits_text", None, "BadDecodingError")


@pytest.mark.parametrize(
    "frame",
    [
        wire.Frame(128, 0x60),
        wire.Frame(0, 0x60, sequence=4),
        wire.Frame(0, 0x60, bytes(1440)),
        wire.Frame(0, 0x60, security=b"\x15"),
    ],
)
def test_what_does_not_fit_is_refused(frame: wire.Frame) -> None:
    with pytest.raises(ConfigError):
        wire.encode(frame)
