"""Frames in a stream: found wherever they are, however the stream is cut, and nothing else is taken for one."""

from __future__ import annotations

import itertools
import random
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modbus_slave import checksum

from device_profiles.errors import ConfigError
from drivers.frames import MORE, NOTHING, Frame, Matched, Reject, Scanner
from drivers.modbus import codec
from drivers.modbus.window_crc import WindowCrc
from drivers.registry import FRAME_DECODERS, load_frame_decoder


def decoded(protocol: str, data: bytes, cuts: tuple[int, ...] = ()) -> list[Frame | Reject]:
    decoder = load_frame_decoder(protocol)
    found: list[Frame | Reject] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for first, last in itertools.pairwise(edges):
        found += decoder.feed(data[first:last])
    return found + list(decoder.end())


def rtu(hexadecimal: str) -> bytes:
    body = bytes.fromhex(hexadecimal)
    return body + checksum(body)


def tcp(tid: int, body: bytes) -> bytes:
    return struct.pack(">HHH", tid, 0, len(body)) + body


RTU = {
    "a read": (rtu("01 03 0000 000a"), "03", {"is": "request", "first": 0, "count": 10}, ()),
    "registers": (rtu("01 03 04 0001 fffe"), "03", {"is": "reply"}, (1, 65534)),
    "coils": (rtu("05 01 01 05"), "01", {"is": "reply"}, (True, False, True, False, False, False, False, False)),
    "a coil": (rtu("05 05 0010 ff00"), "05", {}, (True,)),
    "a register": (rtu("05 06 0010 1234"), "06", {}, (0x1234,)),
    "a mask": (rtu("05 16 0010 fff0 0003"), "16", {"register": 16, "and": 0xFFF0, "or": 3}, ()),
    "registers written": (rtu("05 10 0010 0002 04 0001 0002"), "10", {"is": "request", "first": 16, "count": 2}, (1, 2)),
    "that they were": (rtu("05 10 0010 0002"), "10", {"is": "reply", "first": 16, "count": 2}, ()),
    "coils written": (rtu("05 0f 0010 0003 01 05"), "0F", {"is": "request", "first": 16, "count": 3}, (True, False, True)),
    "a refusal": (rtu("05 83 02"), "83", {"exception": 2, "name": "illegal data address", "status": "BadNodeIdUnknown"}, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", RTU)
def test_what_an_rtu_frame_says(name: str) -> None:
    raw, control, facts, values = RTU[name]
    (found,) = decoded("modbus-rtu", raw)
    assert isinstance(found, Frame)
    assert (found.raw, found.address, found.control) == (raw, str(raw[0]), control)
    assert (found.facts, tuple(value.value for value in found.values)) == (facts, values)
    assert [part.end for part in found.parts[:-1]] == [part.start for part in found.parts[1:]]
    assert (found.parts[0].start, found.parts[-1].end) == (0, len(raw))


@given(
    st.lists(st.sampled_from(sorted(RTU)), max_size=6),
    st.lists(st.binary(max_size=5).map(lambda noise: bytes(byte | 0xF8 for byte in noise)), min_size=7, max_size=7),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_frames_are_found_in_noise_however_it_is_cut(names: list[str], noise: list[bytes], cuts: list[int]) -> None:
    data = noise[0] + b"".join(RTU[name][0] + after for name, after in zip(names, noise[1:], strict=False))
    found = decoded("modbus-rtu", data, tuple(cuts))
    assert found == decoded("modbus-rtu", data)
    assert [one.raw for one in found if isinstance(one, Frame)] == [RTU[name][0] for name in names]
    for one in found:
        assert data[one.at :].startswith(one.raw)


@pytest.mark.parametrize("at", range(8))
def test_a_flipped_bit_is_a_wrong_checksum_or_no_frame(at: int) -> None:
    raw = bytearray(rtu("01 03 0000 000a"))
    raw[at] ^= 0x40
    found = decoded("modbus-rtu", bytes(raw))
    assert found
    assert not any(isinstance(one, Frame) for one in found)
    if at in (2, 3, 5, 6, 7):
        (wrong,) = found
        assert isinstance(wrong, Reject)
        assert (wrong.error, wrong.got) == ("checksum", bytes(raw[-2:]).hex())


def test_noise_gives_no_more_frames_than_a_checksum_lets_through() -> None:
    found = decoded("modbus-rtu", random.Random(7).randbytes(200_000))
    assert sum(isinstance(one, Frame) for one in found) <= 2
    assert not any(isinstance(one, Frame) for one in decoded("modbus-rtu", bytes(50_000) + b"\xff" * 50_000))


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3), st.data())
def test_the_crc_of_a_part_is_that_of_its_bytes(buffers: list[bytes], draw: st.DataObject) -> None:
    crc = WindowCrc()
    for buffer in buffers:
        first = draw.draw(st.integers(0, len(buffer) - 1))
        part = buffer[first : first + 254]
        right = codec.crc16(part).to_bytes(2, "little")
        data = buffer[: first + len(part)] + right
        assert crc.holds(data, first, len(data))
        assert not crc.holds(data[:-1] + bytes((data[-1] ^ 1,)), first, len(data))


def test_modbus_tcp_messages() -> None:
    data = tcp(7, b"\x01\x03\x00\x00\x00\x02") + tcp(7, b"\x01\x03\x04\x00\x01\x00\x02") + tcp(8, b"\x01\x83\x0b")
    first, second, third = decoded("modbus-tcp", data, (3, 9, 15))
    assert isinstance(first, Frame)
    assert isinstance(second, Frame)
    assert isinstance(third, Frame)
    assert [frame.facts["tid"] for frame in (first, second, third)] == [7, 7, 8]
    assert [value.value for value in second.values] == [1, 2]
    assert third.facts["status"] == "BadNoCommunication"


def test_a_modbus_tcp_message_of_a_wrong_length() -> None:
    (found,) = decoded("modbus-tcp", tcp(7, b"\x01\x03\x03\x00\x01\x00"))
    assert isinstance(found, Reject)
    assert found.error == "length"


@given(st.binary(max_size=300), st.sampled_from(sorted(FRAME_DECODERS)))
def test_no_bytes_are_too_odd(data: bytes, protocol: str) -> None:
    for one in decoded(protocol, data, (17, 40)):
        assert data[one.at : one.at + len(one.raw)] == one.raw


def test_a_modbus_tcp_function_of_a_vendor_is_a_frame() -> None:
    (found,) = decoded("modbus-tcp", tcp(7, b"\x01\x5a\x00\x01"))
    assert isinstance(found, Frame)
    (none,) = decoded("modbus-tcp", tcp(7, b"\x01\x80\x01"))
    assert isinstance(none, Reject)
    assert none.error == "function"


def test_a_long_wait_for_a_frame_that_never_ends_is_bounded() -> None:
    asked: list[int] = []

    def match(data: bytes, at: int) -> Matched:
        asked.append(len(data) - at)
        return MORE if data[at] == 0x68 else NOTHING

    scanner = Scanner(match, re.compile(b"h"), longest=16)
    for _ in range(100):
        assert list(scanner.feed(b"h" * 10)) == []
    (noise,) = scanner.end()
    assert isinstance(noise, Reject)
    assert (noise.error, noise.got) == ("noise", "1000")
    assert max(asked) <= 26


DLT645 = bytes.fromhex("68600792040091689108333333339735A8336A16")
WHOLE = {
    "dlt645-2007": DLT645,
    "cjt188": bytes.fromhex("68104433221100337801031F90008016"),
    "mbus": bytes.fromhex("6803036808010a13") + b"\x16",
    "osdp": bytes.fromhex("ff530108000660d866"),
    "modbus-tcp": tcp(7, b"\x01\x03\x04\x00\x01\x00\x02"),
    "modbus-rtu": rtu("01 03 06 0001 0002 0003"),
}


@pytest.mark.parametrize("protocol", WHOLE)
def test_a_frame_that_its_end_is_missing_of_is_truncated(protocol: str) -> None:
    whole = WHOLE[protocol]
    (right,) = decoded(protocol, whole)
    assert isinstance(right, Frame)
    for size in range(len(whole) // 2 + 4, len(whole)):
        (found,) = decoded(protocol, whole[:size])
        assert isinstance(found, Reject)
        assert (found.error, found.expected, found.got) == ("truncated", str(len(whole)), str(size))


@pytest.mark.parametrize(
    "protocol", sorted(WHOLE.keys() - {"modbus-tcp", "modbus-rtu"})
)  # the one has no checksum, the other no start
def test_a_cut_frame_does_not_swallow_the_next(protocol: str) -> None:
    whole = WHOLE[protocol]
    for size in range(1, len(whole)):
        for data in (whole[:size] + whole, whole + whole[:size] + whole):
            found = decoded(protocol, data, (size, size + 3))
            assert [one.raw for one in found if isinstance(one, Frame)][-1] == whole
            assert b"".join(one.raw for one in found) == data


@pytest.mark.parametrize("protocol", ["dlt645-2007", "cjt188"])
@pytest.mark.parametrize("count", [0, 1, 4, 17, 32])
def test_wake_up_bytes_belong_to_their_frame(protocol: str, count: int) -> None:
    raw = b"\xfe" * count + WHOLE[protocol]
    (found,) = decoded(protocol, raw, (3, 9, 20))
    assert isinstance(found, Frame)
    assert found.raw == raw


def test_a_frame_inside_of_a_wrong_one_is_found() -> None:
    outer = bytes.fromhex("68112233445566689118") + DLT645 + bytes(5) + b"\x16"
    wrong, right, rest = decoded("dlt645-2007", outer, (25, 31))
    assert isinstance(wrong, Reject)
    assert (wrong.error, wrong.raw) == ("checksum", outer[:10])
    assert isinstance(right, Frame)
    assert (right.at, right.raw, rest.raw) == (10, DLT645, outer[30:])


@pytest.mark.parametrize("protocol", ["dlt645-2007", "cjt188", "mbus"])
def test_a_wrong_end_byte_is_told(protocol: str) -> None:
    (found,) = decoded(protocol, WHOLE[protocol][:-1] + b"\x17")
    assert isinstance(found, Reject)
    assert (found.error, found.expected, found.got) == ("end", "16", "17")


def test_an_unknown_protocol_is_corrected() -> None:
    with pytest.raises(ConfigError, match="modbus-rtu"):
        load_frame_decoder("modbus-rut")


BEGINS = {
    "osdp": b"S\x01\xa0\x05\x04\x60", "bacnet": b"\x81\x0a\x04\x00", "dlt645-2007": b"h", "cjt188": b"h\x10",
    "mbus": b"h\x0b\x0bh", "modbus-tcp": b"\0\1\0\0\0\x10\1\3",
}  # fmt: skip
"""What frames begin with, and a length: said again and again, each frame holds many that are wrong as well."""


@pytest.mark.parametrize("protocol", BEGINS)
@pytest.mark.parametrize("step", [16, 512, 1 << 20])
def test_begins_in_begins_cost_linear_work(protocol: str, step: int) -> None:
    """Twice the bytes are twice the looks at what may be a frame, however the stream is cut."""
    looks = []
    for size in (1 << 13, 1 << 14):
        decoder = load_frame_decoder(protocol)
        scanner = decoder if isinstance(decoder, Scanner) else decoder._scanner  # type: ignore[attr-defined]
        match, count = scanner._match, itertools.count()
        scanner._match = lambda data, at, match=match, count=count: (next(count), match(data, at))[1]
        data = BEGINS[protocol] * (size // len(BEGINS[protocol]))
        for at in range(0, len(data), step):
            list(decoder.feed(data[at : at + step]))
        list(decoder.end())
        looks.append(next(count))
    assert looks[1] <= 2.2 * looks[0] + 600
    assert looks[1] <= 2 * (1 << 14)
