"""Frames byte by byte against the ones printed in the standards and manuals."""

from __future__ import annotations

import pytest

from firmware_sim.framing import BadStream, Request, crc16, rtu_frame, rtu_parts, take_tcp, tcp_frame
from firmware_sim.tcp import take_rtu


def test_crc_is_the_one_of_the_serial_line_guide():
    # MODBUS over Serial Line V1.02, appendix B: the CRC of 02 07 is 0x1241, sent 41 12
    assert crc16(bytes.fromhex("0207")) == 0x1241
    assert rtu_frame(2, b"\x07") == bytes.fromhex("02074112")


def test_rtu_frame_of_a_meter_manual():
    # Eastron SDM630 protocol: read 30001 as unit 1 -> 01 04 00 00 00 02 71 CB, answer 230.2 V
    assert rtu_frame(1, bytes.fromhex("0400000002")) == bytes.fromhex("01040000000271CB")
    assert rtu_frame(1, bytes.fromhex("040443663334")) == bytes.fromhex("010404436633341B38")


@pytest.mark.parametrize("frame", ["", "01", "010400", "01040000000271CC", "01040000000271"])
def test_a_frame_with_a_wrong_crc_or_length_is_none(frame: str):
    assert rtu_parts(bytes.fromhex(frame)) is None


def test_tcp_frame_of_the_messaging_guide():
    # MODBUS Messaging on TCP/IP V1.0b, 4.4.1.2: transaction 15 01, unit FF, read register 4 once
    assert tcp_frame(0x1501, 0xFF, bytes.fromhex("0300040001")) == bytes.fromhex("150100000006FF0300040001")


def test_take_tcp_cuts_whole_requests_only():
    frame = tcp_frame(7, 1, bytes.fromhex("0300000001"))
    buffer = bytearray(frame[:9])
    assert take_tcp(buffer) is None
    buffer += frame[9:] + frame
    assert take_tcp(buffer) == Request(1, bytes.fromhex("0300000001"), 7)
    assert take_tcp(buffer) is not None
    assert not buffer


@pytest.mark.parametrize(
    "header", ["000100010006010300", "000100000000010300", "000100000001010300", "0001000000FF010300"]
)
def test_a_wrong_mbap_header_is_refused(header: str):
    with pytest.raises(BadStream):
        take_tcp(bytearray.fromhex(header))


def test_rtu_over_tcp_finds_a_frame_behind_noise_and_across_segments():
    frame = rtu_frame(5, bytes.fromhex("0300000002"))
    buffer = bytearray(b"\x00\xff" + frame[:5])
    assert take_rtu(buffer) is None
    buffer += frame[5:]
    assert take_rtu(buffer) == Request(5, bytes.fromhex("0300000002"))
    assert not buffer


def test_rtu_over_tcp_knows_the_length_of_writes():
    frame = rtu_frame(5, bytes.fromhex("1000010002040001FFFF"))
    buffer = bytearray(frame)
    assert take_rtu(buffer) == Request(5, bytes.fromhex("1000010002040001FFFF"))
    for cut in range(len(frame)):
        assert take_rtu(bytearray(frame[:cut])) is None
