"""drivers.base, registry, trace: links as people write them, the table of protocols, frames in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from device_profiles.errors import ConfigError
from drivers.base import LinkConfig, parse_link
from drivers.modbus import codec
from drivers.registry import DRIVERS, load_driver
from drivers.trace import explain, explain_pdu, printer

TCP = LinkConfig("t", "tcp", host="h")
LINE = LinkConfig("l", "serial", path="p")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tcp://10.0.0.7:1502", "10.0.0.7:1502"),
        ("tcp://meter.example", "meter.example:502"),
        ("rtu+tcp://10.0.0.8:4001?baud=19200", "10.0.0.8:4001"),
        ("serial:/dev/ttyUSB0?baud=2400&parity=e&stop_bits=2", "/dev/ttyUSB0 2400 8E2"),
        ("serial:///dev/ttyUSB0", "/dev/ttyUSB0 9600 8N1"),
        ("serial:COM3?baud=9600", "COM3 9600 8N1"),
        ("http://192.168.1.64", "http://192.168.1.64:80"),
        ("https://192.168.1.64:8443/api/", "https://192.168.1.64:8443/api"),
        ("http-listen://0.0.0.0?allow=10.0.0.0/8", "http-listen://0.0.0.0:8090"),
    ],
)
def test_a_link_is_read_from_its_short_form(text: str, place: str) -> None:
    assert parse_link(text).place == place


@pytest.mark.parametrize(
    "text",
    [
        "", "gopher://x", "http://", "http://h:0", "https://h?x=1",
        "tcp://", "tcp://h:0", "tcp://h:70000", "rtu+tcp://h", "serial:", "tcp://h?baud=fast", "tcp://h?speed=1",
        "10.0.0.1",
    ],
)  # fmt: skip
def test_a_link_that_is_wrong_says_what_and_how(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_link(text)
    assert caught.value.next_step
    assert repr(text) in str(caught.value)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="no place in an address") as caught:
        parse_link("http://admin:s3cret@192.168.1.64")
    assert "s3cret" not in str(caught.value)


def test_characters_have_their_bits() -> None:
    assert parse_link("serial:x?parity=N").bits_per_char == 10
    assert parse_link("serial:x?parity=E").bits_per_char == 11
    assert parse_link("serial:x?stop_bits=2&data_bits=7").bits_per_char == 10


def test_every_protocol_loads_and_an_unknown_one_is_corrected() -> None:
    assert {load_driver(name).protocol for name in DRIVERS} == set(DRIVERS)
    with pytest.raises(ConfigError, match="did you mean 'modbus'"):
        load_driver("modbuss")


def test_a_serial_box_does_not_import_pymodbus() -> None:
    code = "import sys, drivers.registry as r; r.load_driver('modbus'); print('pymodbus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "False"


def test_frames_are_told_in_words() -> None:
    read = codec.read_request("holding", 100, 10).pdu
    assert explain(LINE, ">", codec.rtu_frame(7, read)) == "unit 7: read 10 holding registers from 100 (0x0064)"
    assert explain(TCP, ">", codec.tcp_frame(5, 7, read)) == "#5 unit 7: read 10 holding registers from 100 (0x0064)"
    assert explain(LINE, "<", codec.rtu_frame(7, b"\x83\x02")) == (
        "unit 7: exception 2 (illegal data address) to function 3"
    )
    assert explain(LINE, "<", b"\x07\x83\x02\x00\x00").endswith("(wrong checksum)")
    assert explain_pdu(">", codec.write_register(3, 9).pdu) == "write register 3 = 0x0009"
    assert explain_pdu(">", codec.write_coils(3, [True] * 9).pdu) == "write 9 coils from 3"
    assert explain_pdu("<", codec.mask_register(3, 0xFFF0, 5).pdu) == "bits 0x000f of register 3 = 0x0005"


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x01\x83", b"\x00" * 7, b"\x00" * 8, b"\xff" * 300])
def test_no_bytes_are_too_odd_to_be_shown(frame: bytes) -> None:
    for link in (TCP, LINE):
        for way in "><!":
            assert isinstance(explain(link, way, frame), str)


def test_a_trace_has_times_directions_and_bytes() -> None:
    lines: list[str] = []
    now = iter([10.0, 10.0251])
    trace = printer(LINE, lines.append, clock=lambda: next(now))
    trace(">", codec.rtu_frame(1, codec.read_request("input", 0, 1).pdu), "")
    trace("!", b"\xff", "no answer")
    assert (
        lines[0] == "      0.0 ms     +0.0  > 01 04 00 00 00 01 31 ca  unit 1: read 1 input registers from 0 (0x0000)"
    )
    assert lines[1] == "     25.1 ms    +25.1  ! ff  no answer"
