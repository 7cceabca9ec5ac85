"""BACnet/IP datagrams as `plantroom decode bacnet` tells them: known ones, streams, any octets, captures as tshark reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.bacnet import codec, tags
from drivers.bacnet.frames import Decoder
from drivers.frames import Frame, Reject

CAPTURES = Path(__file__).parents[2] / ".." / "shared" / "vectors" / "pcap"
READ_ACK = bytes.fromhex("810a0017010030300c0c0000000619553e4442429f5c3f")
I_AM = bytes.fromhex("810a001501001000c4020003e92205c491002203e7")


def decoded(data: bytes, size: int = 65536) -> list[Frame | Reject]:
    decoder = Decoder()
    found = [one for at in range(0, len(data), size) for one in decoder.feed(data[at : at + size])]
    return found + list(decoder.end())


def only(octets: str | bytes) -> Frame:
    [found] = decoded(bytes.fromhex(octets) if isinstance(octets, str) else octets)
    assert isinstance(found, Frame)
    return found


def datagram(apdu: bytes, npdu: bytes = b"\x01\x04") -> bytes:
    return b"\x81\x0a" + (4 + len(npdu) + len(apdu)).to_bytes(2) + npdu + apdu


def test_the_answer_to_a_read() -> None:
    found = only(READ_ACK)
    assert found.control == "ComplexACK ReadProperty"
    [value] = found.values
    assert value.id == "analog-input:6 present-value"
    assert value.value == pytest.approx(48.65562)
    spans = [(part.start, part.end, part.name) for part in found.parts]
    assert spans[-3:] == [(16, 17, "begin [3]"), (17, 22, "  real"), (22, 23, "end [3]")]
    assert [part.start for part in found.parts] == [0, *(part.end for part in found.parts[:-1])]


def test_each_property_of_a_multiple_read_with_its_error() -> None:
    body = bytes.fromhex("0c00000001 1e 2955 4e 4441880000 4f 296f 5e 9102 9120 5f 1f".replace(" ", ""))
    found = only(datagram(b"\x30\x07\x0e" + body))
    assert [(one.id, one.value) for one in found.values] == [
        ("analog-input:1 present-value", 17.0), ("analog-input:1 status-flags", None),
    ]  # fmt: skip
    assert found.values[0].status == ""
    assert "unknown-property" in found.values[1].status


def test_what_a_request_asks() -> None:
    refs = [codec.Ref(0, 1, 85), codec.Ref(0, 1, 111), codec.Ref(1, 2, 87, 8)]
    found = only(datagram(b"\x02\x05\x09\x0e" + codec.encode_read_multiple(refs)))
    assert found.facts["asks"] == [
        "analog-input:1 present-value", "analog-input:1 status-flags", "analog-output:2 priority-array[8]",
    ]  # fmt: skip
    assert only(datagram(b"\x02\x05\x09\x0c" + codec.encode_read(refs[2]))).facts["asks"] == [
        "analog-output:2 priority-array[8]"
    ]


def test_a_write_with_its_priority() -> None:
    body = bytes.fromhex("0c00400001 1955 3e") + codec.encode_value(tags.REAL, 21.5) + bytes.fromhex("3f 4908")
    found = only(datagram(b"\x02\x05\x0a\x0f" + body))
    assert (found.control, found.facts["priority"]) == ("Confirmed-Request WriteProperty", 8)
    assert [(one.id, one.value) for one in found.values] == [("analog-output:1 present-value", 21.5)]


def test_a_change_of_value_from_behind_a_router() -> None:
    body = bytes.fromhex("0901 1c020007d1 2c00000003 3900 4e 0955 2e") + codec.encode_value(tags.REAL, 1.5)
    found = only(datagram(b"\x10\x02" + body + b"\x2f\x4f", bytes.fromhex("01080002010c")))
    assert (found.address, found.facts["device"]) == ("2:0x0c", 2001)
    assert [(one.id, one.value) for one in found.values] == [("analog-input:3 present-value", 1.5)]


def test_who_is_there() -> None:
    assert only(I_AM).facts == {"device": 1001, "max_apdu": 1476, "segmentation": "both", "vendor": 999}
    asked = only("810b00120120ffff00ff10080a03e91a03e9")
    assert asked.facts == {"to": "all networks", "from_device": 1001, "to_device": 1001}


@pytest.mark.parametrize(
    ("octets", "control", "words"),
    [
        ("810a00090100713004", "Abort", "segmentation-not-supported"),
        ("810a000d010050300c9102911f", "Error ReadProperty", "unknown-object"),
        ("810a000901006030" + "09", "Reject", "unrecognized-service"),
    ],
)
def test_refusals(octets: str, control: str, words: str) -> None:
    found = only(octets)
    assert found.control == control
    assert words in str(found.facts)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_in_any_portions(size: int) -> None:
    found = decoded(READ_ACK + b"\x00\x00" + I_AM + READ_ACK, size)
    kinds = [("noise" if isinstance(one, Reject) else one.control, one.at) for one in found]
    assert kinds == [
        ("ComplexACK ReadProperty", 0), ("noise", 23), ("Unconfirmed-Request I-Am", 25), ("ComplexACK ReadProperty", 46),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("octets", "error", "words"),
    [
        (READ_ACK[:-3], "length", "says 23 octets where 20 came"),
        (READ_ACK[:-1] + b"\x4f", "format", "closing tag"),
        (bytes.fromhex("810a000601ff"), "format", "do not fit"),
        (bytes.fromhex("810a000902000000ff"), "format", "NPDU version"),
        (b"\x55" * 9, "noise", "part of no frame"),
    ],
)
def test_what_is_none_says_why(octets: bytes, error: str, words: str) -> None:
    [found] = decoded(octets)
    assert isinstance(found, Reject)
    assert found.error == error
    assert words in found.detail


SHOWN = [
    ("00 05 0f 1c 09 12 1c 00 00 00 0a 29 01 39 3c 4e 09 55 4f 5c 3f 80 00 00", "SubscribeCOVProperty",
     {"process": 18, "object": "analog-input:10", "confirmed": True, "seconds": 60, "increment": 1.0}),
    ("00 04 05 11 09 05 19 01 2d 08 00 23 65 67 62 64 66 21", "DeviceCommunicationControl",
     {"minutes": 5, "state": 1, "password": "(not shown)"}),
    ("00 04 02 14 09 01 1d 09 00 41 62 43 64 45 66 67 68", "ReinitializeDevice", {"state": 1, "password": "(not shown)"}),
    ("00 04 55 12 09 19 19 08 2e 44 42 90 cc cd 2f", "ConfirmedPrivateTransfer", {"vendor": 25, "service": 8}),
    ("00 02 01 1d 0c 00 00 00 01", "GetEventInformation", None),
    ("10 07 3d 07 00 4f 41 54 65 6d 70", "Who-Has", {"name": "OATemp"}),
    ("10 01 c4 02 00 00 08 c4 00 00 00 03 75 07 00 4f 41 54 65 6d 70", "I-Have",
     {"values": ["device:8", "analog-input:3", "OATemp"]}),
    ("10 06 a4 5c 0b 11 02 b4 16 2d 1e 46", "TimeSynchronization", None),
    ("10 0a 09 17 19 08 2e 09 0c 2c 44 86 00 00 2f", "WriteGroup", {"group": 23, "priority": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("apdu", "service", "facts"), SHOWN)
def test_parameters_of_rare_services(apdu: str, service: str, facts: dict[str, object] | None) -> None:
    found = only(datagram(bytes.fromhex(apdu)))
    assert found.control is not None
    assert found.control.endswith(f" {service}")
    assert found.facts
    for name, value in (facts or {}).items():
        assert found.facts[name] == value
    assert "egbdf" not in str(found.facts)


@pytest.mark.parametrize(("kind", "count"), [(0, 34), (1, 15)])
def test_every_service_of_the_standard_has_a_name(kind: int, count: int) -> None:
    for number in range(count):
        head = bytes((0x10, number)) if kind else bytes((0x00, 0x05, 0x01, number))
        [found] = decoded(datagram(head))
        if isinstance(found, Frame):  # some must have parameters
            assert found.control is not None
            assert "service" not in found.control


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_are_told_and_can_be_written_as_json(rest: bytes, is_apdu: bool) -> None:
    data = datagram(rest, b"\x01\x00") if is_apdu else rest
    found = decoded(data)
    for one in found:
        if isinstance(one, Frame):
            json.dumps([[value.value for value in one.values], dict(one.facts)], allow_nan=False)
            assert all(0 <= part.start < part.end <= len(one.raw) for part in one.parts)
    assert sum(len(one.raw) for one in found) >= min(len(data), 1)


@pytest.mark.real
@pytest.mark.parametrize(("name", "least"), [("iti-bacnet_test", 18), ("icsnpp-bacnet-bacnet_example", 50)])
def test_captures_are_told_as_tshark_tells_them(name: str, least: int) -> None:
    path = CAPTURES / f"{name}.pcap"
    if shutil.which("tshark") is None or not path.exists():
        pytest.skip("tshark or the capture is absent")
    fields = ("udp.payload", "bacapp.type", "bacapp.invoke_id", "bacapp.instance_number", "bacapp.present_value.real")
    command = ["tshark", "-r", str(path), "-T", "fields", *(part for one in fields for part in ("-e", one))]
    kinds = ("Confirmed", "Unconfirmed", "SimpleACK", "ComplexACK", "SegmentACK", "Error", "Reject", "Abort")
    seen = 0
    for line in subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout.splitlines():
        payload, kind, invoke_id, instances, real = [*line.split("\t"), *([""] * len(fields))][: len(fields)]
        if not payload.startswith("81") or not kind or int(payload[4:8], 16) != len(payload) // 2:
            continue
        [found] = decoded(bytes.fromhex(payload))
        if isinstance(found, Reject):  # what our codec does not take; test_bacnet_codec.py counts these
            continue
        seen += 1
        assert found.control is not None
        assert found.control.startswith(kinds[int(kind)]), line
        if invoke_id:
            assert found.facts["invoke_id"] == int(invoke_id), line
        for value in found.values:
            assert int(value.id.partition(" ")[0].partition(":")[2]) in map(int, instances.split(",")), line
        if real and found.values and found.control == "ComplexACK ReadProperty":
            assert found.values[0].value == pytest.approx(float(real.split(",")[0])), line
    assert seen >= least
