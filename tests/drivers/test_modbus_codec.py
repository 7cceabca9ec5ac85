"""drivers.modbus.codec: requests byte for byte, replies believed only when they are exactly the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modbus_slave import checksum

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceRefused
from drivers.modbus import codec

# Frames of the standard itself: MODBUS Application Protocol V1.1b3, the examples of section 6.
EXAMPLES = [
    (codec.read_request("coil", 0x13, 0x13), "0100130013", "0103cd6b05", "cd6b05"),
    (codec.read_request("discrete", 0xC4, 0x16), "0200c40016", "0203acdb35", "acdb35"),
    (codec.read_request("holding", 0x6B, 3), "03006b0003", "0306022b00000064", "022b00000064"),
    (codec.read_request("input", 8, 1), "0400080001", "0402000a", "000a"),
    (codec.write_coil(0xAC, True), "0500acff00", "0500acff00", ""),
    (codec.write_register(1, 3), "0600010003", "0600010003", ""),
    (
        codec.write_coils(0x13, [b == "1" for b in "1011001110"]),
        "0f0013000a02cd01",
        "0f0013000a",
        "",
    ),
    (codec.write_registers(1, [0x000A, 0x0102]), "100001000204000a0102", "1000010002", ""),
]


@pytest.mark.parametrize(("request_", "wire", "reply", "data"), EXAMPLES)
def test_examples_of_the_standard(request_: codec.Request, wire: str, reply: str, data: str) -> None:
    assert request_.pdu.hex() == wire
    assert codec.reply_data(request_, bytes.fromhex(reply)).hex() == data


def test_the_checksum_of_a_published_frame_and_of_any_bytes() -> None:
    assert codec.rtu_frame(0x11, bytes.fromhex("03006B0003")).hex() == "1103006b00037687"  # simplymodbus.ca, FC 3
    assert codec.rtu_holds(bytes.fromhex("1103006b00037687"))
    assert not codec.rtu_holds(bytes.fromhex("1103006b00038776"))


@given(st.binary(max_size=300))
def test_the_checksum_agrees_with_the_standards_bitwise_form(data: bytes) -> None:
    assert codec.crc16(data).to_bytes(2, "little") == checksum(data)


@pytest.mark.parametrize(
    ("table", "first", "count"),
    [
        ("holding", 0, 0),
        ("holding", 0, 126),
        ("holding", 65535, 2),
        ("holding", -1, 1),
        ("coil", 0, 2001),
        ("coil", 0, 0),
    ],
)
def test_a_range_that_cannot_be_read_is_refused(table: str, first: int, count: int) -> None:
    with pytest.raises(ConfigError):
        codec.read_request(table, first, count)


def test_the_longest_ranges_can_be_read() -> None:
    assert codec.read_request("holding", 65411, 125).reply_size == 252
    assert codec.read_request("discrete", 0, 2000).reply_size == 252


@pytest.mark.parametrize("unit", [0, -1, 256, "meter"])
def test_broadcast_and_what_is_no_unit_are_refused_for_reads(unit: int | str) -> None:
    with pytest.raises(ConfigError):
        codec.check_unit(unit)


def test_units_1_to_255_pass() -> None:
    assert [codec.check_unit(unit) for unit in (1, 247, 255)] == [1, 247, 255]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, "BadNotSupported"), (2, "BadNodeIdUnknown"), (3, "BadOutOfRange"), (4, "BadDeviceFailure"), (8, "BadDeviceFailure"),
        (5, "UncertainLastUsableValue"), (6, "UncertainLastUsableValue"), (0x0A, "BadNoCommunication"),
        (0x0B, "BadNoCommunication"), (0x77, "BadCommunicationError"),
    ],
)  # fmt: skip
def test_exceptions_take_the_status_of_the_contract(code: int, status: str) -> None:
    with pytest.raises(DeviceRefused) as caught:
        codec.reply_data(codec.read_request("holding", 0, 1), bytes((0x83, code)))
    assert (caught.value.code, caught.value.status) == (code, status)


GOOD = bytes.fromhex("0306022b00000064")


NOT_THE_ANSWER = [
    b"", b"\x03", b"\x83", b"\x83\x02\x00", b"\x03\x06", GOOD[:-1], GOOD + b"\x00",
    b"\x03\x05" + GOOD[2:], b"\x03\x07" + GOOD[2:], b"\x03\x00" + GOOD[2:], b"\x03\xff" + GOOD[2:],
    b"\x04" + GOOD[1:], b"\x06" + GOOD[1:], b"\x84\x02", b"\x03\x04\x00\x01\x00\x02", b"\x00" * 8, b"\xff" * 8,
]  # fmt: skip


@pytest.mark.parametrize("pdu", NOT_THE_ANSWER)
def test_what_is_not_the_answer_is_a_mismatch(pdu: bytes) -> None:
    with pytest.raises(DeviceMismatch):
        codec.reply_data(codec.read_request("holding", 0x6B, 3), pdu)


def test_a_confirmed_write_of_something_else_is_a_mismatch() -> None:
    for reply in ("0600010004", "0600020003"):
        with pytest.raises(DeviceMismatch):
            codec.reply_data(codec.write_register(1, 3), bytes.fromhex(reply))


@given(
    st.sampled_from(
        [codec.read_request("holding", 0, 3), codec.read_request("coil", 0, 20), codec.write_coil(1, True)]
    ),
    st.binary(max_size=260),
)
def test_any_bytes_give_data_of_the_right_length_or_one_of_our_errors(request_: codec.Request, pdu: bytes) -> None:
    try:
        data = codec.reply_data(request_, pdu)
    except (DeviceMismatch, DeviceRefused):
        return
    assert pdu[0] == request_.function
    assert len(pdu) == request_.reply_size
    assert data in (pdu[2:], b"")


IDENTITY = bytes.fromhex("2b0e010100000300044143 4d45010258310201 31".replace(" ", ""))


def test_device_identification() -> None:
    request = codec.identity_request(1)
    assert request.pdu.hex() == "2b0e0100"
    found = codec.parse_identity(request, IDENTITY)
    assert found.objects == {0: b"ACME", 1: b"X1", 2: b"1"}
    assert found.more_from is None
    more = codec.parse_identity(request, IDENTITY[:4] + b"\xff\x05" + IDENTITY[6:])
    assert more.more_from == 5


def test_a_device_identification_that_would_never_end_is_a_mismatch() -> None:
    with pytest.raises(DeviceMismatch):
        codec.parse_identity(codec.identity_request(1, 5), IDENTITY[:4] + b"\xff\x05" + IDENTITY[6:])


@given(st.binary(max_size=40), st.integers(0, len(IDENTITY) - 1), st.integers(0, 255))
def test_a_broken_device_identification_raises_only_our_errors(tail: bytes, at: int, byte: int) -> None:
    mutated = IDENTITY[:at] + bytes((byte,)) + IDENTITY[at + 1 :]
    for pdu in (mutated, mutated[:at], mutated + tail, tail):
        try:
            found = codec.parse_identity(codec.identity_request(1), pdu)
        except (DeviceMismatch, DeviceRefused):
            continue
        assert sum(map(len, found.objects.values())) <= len(pdu)


def test_tcp_frames_are_split_as_they_come() -> None:
    one, two = codec.tcp_frame(1, 9, b"\x03\x02\x00\x01"), codec.tcp_frame(2, 9, b"\x83\x02")
    frames, rest = codec.split_tcp(one + two + one[:5])
    assert [(frame.tid, frame.unit, frame.pdu) for frame in frames] == [
        (1, 9, b"\x03\x02\x00\x01"),
        (2, 9, b"\x83\x02"),
    ]
    assert rest == one[:5]


@pytest.mark.parametrize(
    "header", ["0001000100060903", "0001000000000903", "0001000000010903", "00010000ffff0903", "00010000010009"]
)
def test_impossible_tcp_headers_are_a_mismatch(header: str) -> None:
    with pytest.raises(DeviceMismatch):
        codec.split_tcp(bytes.fromhex(header))


@given(st.binary(max_size=600))
def test_any_tcp_stream_gives_frames_or_our_error(data: bytes) -> None:
    try:
        frames, rest = codec.split_tcp(data)
    except DeviceMismatch:
        return
    assert sum(7 + len(frame.pdu) for frame in frames) + len(rest) == len(data)


TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
PCAP = Path(__file__).parents[3] / "shared" / "vectors" / "pcap" / "icsnpp-modbus-modbus_example.pcap"


@pytest.mark.skipif(not PCAP.exists(), reason="../shared/vectors is not here")
def test_a_recorded_session_decodes_request_by_request() -> None:
    """Every recorded reply is data or an exception for the request of its transaction, and never for another length."""
    from modbus_pcap import conversations

    data = refused = identities = 0
    for pdu, reply in conversations(PCAP):
        if pdu[0] == 43:
            identities += bool(codec.parse_identity(codec.Request(pdu, codec.VARIABLE), reply).objects)
        if pdu[0] > 4:
            continue
        request = codec.read_request(TABLES[pdu[0]], int.from_bytes(pdu[1:3]), int.from_bytes(pdu[3:5]))
        assert request.pdu == pdu
        try:
            assert codec.reply_data(request, reply) == reply[2:]
            data += 1
        except DeviceRefused:
            refused += reply[0] == pdu[0] | 0x80
    assert (data, refused, identities) == (8, 1, 1)
