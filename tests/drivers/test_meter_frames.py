"""DL/T 645 and CJ/T 188 frames: published ones say what they say, changed ones are refused, and built ones are read back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers import bcd
from drivers.cjt188 import frame as cjt188
from drivers.cjt188 import items as cjt188_items
from drivers.dlt645 import frame as dlt645
from drivers.dlt645 import items as dlt645_items
from drivers.frames import Frame, Reject
from drivers.registry import load_frame_decoder

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "cn_meter_frames.jsonl"
UNITS = {"kWh": "kW.h", "kvarh": "kV.A.h{reactive}", "kW": "kW", "kvar": "kV.A{reactive}", "kVA": "kV.A", "": "1"}
PUBLISHED = [json.loads(line) for line in VECTORS.read_text().splitlines()] if VECTORS.is_file() else []
needs_vectors = pytest.mark.skipif(not PUBLISHED, reason="../shared/vectors/cn_meter_frames.jsonl is not there")


def decoded(protocol: str, data: bytes) -> list[Frame | Reject]:
    decoder = load_frame_decoder(protocol)
    return [*decoder.feed(data), *decoder.end()]


def only(protocol: str, data: bytes) -> Frame:
    (found,) = decoded(protocol, data)
    assert isinstance(found, Frame), found
    return found


@needs_vectors
@pytest.mark.parametrize("published", PUBLISHED, ids=lambda published: published["hex"][:40])
def test_a_published_frame(published: dict[str, Any]) -> None:
    raw, said = bytes.fromhex(published["hex"]), published["computed"]
    if not published["valid"]:
        (found,) = decoded(published["proto"], raw)
        assert isinstance(found, Reject)
        assert found.error == "checksum"
        return
    frame = only(published["proto"], raw)
    assert (frame.raw, frame.address, frame.control) == (raw, said["addr"], said["ctrl"])
    values = {value.id: value for value in frame.values}
    if "di" in said:
        assert frame.facts["di"] == said["di"]
    if "err" in said:
        assert frame.facts["error"] == said["err"]
    if "values" in said:
        assert [value.value for value in frame.values] == said["values"]
        assert frame.values[0].unit == UNITS.get(said["unit"], said["unit"])
    if "address_in_data" in said:
        assert frame.facts["meter"] == said["address_in_data"]
    for name, key in (("volume", "current"), ("volume_settlement", "settlement")):
        if key in said:
            assert [values[name].value, values[name].unit] == said[key]
    if "st" in said:
        assert f"{values['status_word'].value:04x}" == said["st"][2:] + said["st"][:2]
    if said.get("time", "").strip("0f"):
        assert (values["time_text"].value or "").translate({ord(sign): None for sign in "-T:"}) == said["time"]


@needs_vectors
def test_no_published_frame_survives_a_changed_byte() -> None:
    rng = random.Random(645)
    for published in PUBLISHED:
        if not published["valid"]:
            continue
        raw = bytearray.fromhex(published["hex"])
        first = raw.index(0x68)
        for at in range(first, len(raw)):
            changed = bytearray(raw)
            changed[at] ^= rng.randrange(1, 256)
            assert not any(isinstance(one, Frame) for one in decoded(published["proto"], bytes(changed))), (
                at,
                changed.hex(),
            )


DIGITS = st.text("0123456789", min_size=12, max_size=12)


@given(DIGITS, st.integers(0, 255), st.binary(max_size=200), st.integers(0, 8), st.binary(max_size=4))
def test_a_built_dlt645_frame_is_read_back(address: str, control: int, data: bytes, wake: int, noise: bytes) -> None:
    frame = dlt645.Frame(address, control, data)
    raw = dlt645.encode(frame, wake=wake)
    assert dlt645.decode(raw) == frame
    noise = bytes(byte & 0x0F for byte in noise)
    found = [one for one in decoded("dlt645-2007", noise + raw + noise) if isinstance(one, Frame)]
    assert [one.raw for one in found] == [raw]


@given(
    st.integers(0x10, 0x4F), st.text("0123456789", min_size=14, max_size=14), st.binary(max_size=100), st.integers(0, 8)
)
def test_a_built_cjt188_frame_is_read_back(kind: int, address: str, data: bytes, wake: int) -> None:
    frame = cjt188.Frame(kind, address, 0x81, data)
    raw = cjt188.encode(frame, wake=wake)
    assert cjt188.decode(raw) == frame
    assert only("cjt188", raw).raw == raw


@pytest.mark.parametrize("protocol", ["dlt645-2007", "dlt645-1997", "cjt188"])
def test_noise_holds_no_frame(protocol: str) -> None:
    for seed in (1, 2, 3):
        noise = random.Random(seed).randbytes(300_000)
        assert not any(isinstance(one, Frame) for one in decoded(protocol, noise))
    assert not any(isinstance(one, Frame) for one in decoded(protocol, b"\x68" * 20_000 + b"\xfe" * 20_000))


@pytest.mark.parametrize(
    ("di", "data", "values"),
    [
        (0x02010100, "0122", [220.1]),
        (0x0201FF00, "0122 FFFF 0323", [220.1, None, 230.3]),
        (0x02020100, "100080", [-0.01]),
        (0x02030000, "341280", [-0.1234]),
        (0x02030000, "3412A0", [-20.1234]),
        (0x00000000, "26000080", [-0.26]),
        (0x00010000, "26000080", [800000.26]),
        (0x0001FF00, "00010000 00020000 00030000", [1.0, 2.0, 3.0]),
        (0x02010100, "0A22", [None]),
        (0x01010000, "341200 3015091026", [0.1234, "2610091530"]),
        (0x02800002, "0050", [50.0]),
        (0x04000101, "05221126", ["26112205"]),
    ],
)
def test_what_an_identifier_holds(di: int, data: str, values: list[float | str | None]) -> None:
    found = list(dlt645_items.decode(dlt645_items.items_2007(di), bytes.fromhex(data)))
    assert [value.value for value in found] == values
    assert all((value.value is None) == bool(value.status) for value in found)


def test_absent_is_not_undecodable() -> None:
    (absent,) = dlt645_items.decode(dlt645_items.items_2007(0x02010100), b"\xff\xff")
    (broken,) = dlt645_items.decode(dlt645_items.items_2007(0x02010100), b"\xff\x0a")
    assert (absent.status, broken.status) == ("BadSensorFailure", "BadDecodingError")


def test_every_identifier_of_four_bytes_is_bounded() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        items = dlt645_items.items_2007(rng.randrange(2**32))
        assert len(items) <= 64 * 13 * 2
        assert len({item.id for item in items}) == len(items)


@pytest.mark.parametrize(
    ("kind", "shape", "data", "values"),
    [
        ("water", cjt188_items.Shape(), "00230100 2C", [("volume", 123.0, "m3")]),
        ("water", cjt188_items.Shape(unit_first=True), "2C 00230100", [("volume", 123.0, "m3")]),
        ("heat", cjt188_items.Shape(), "00230100 13", [("volume", 12300.0, "GJ")]),
        ("water", cjt188_items.Shape(), "00230100 77", [("volume", None, None)]),
        ("water", cjt188_items.Shape(), "0A230100 2C", [("volume", None, "m3")]),
    ],
)
def test_a_counter_has_its_unit(kind: str, shape: cjt188_items.Shape, data: str, values: list[Any]) -> None:
    value = cjt188_items.counter("volume", bytes.fromhex(data), shape)
    assert [(value.id, value.value, value.unit)] == values
    assert (value.value is None) == bool(value.status)


def test_a_heat_meters_answer() -> None:
    data = bytes.fromhex(
        "901F00" "00000000 05" "67452301 05" "00230100 17" "56341200 35" "78563412 2C" "505000" "304500" "341200"
        "304510 22112620" "0400"
    )  # fmt: skip
    frame = only("cjt188", cjt188.encode(cjt188.Frame(0x25, "00112233445566", 0x81, data)))
    assert {value.id: value.value for value in frame.values} == {
        "heat_energy_settlement": 0.0, "heat_energy": 12345.67, "heat_power": 123.0, "flow": 12.3456,
        "volume": 123456.78, "supply_water_temperature": 50.5, "return_water_temperature": 45.3, "operating_hours": 1234,
        "time_text": "2026-11-22T10:45:30", "valve_open": True, "battery_low": True, "status_word": 4,
    }  # fmt: skip


@pytest.mark.parametrize(("address", "data"), [("12", b""), ("12345678901X", b""), ("123456789012", bytes(256))])
def test_what_does_not_fit_is_refused(address: str, data: bytes) -> None:
    with pytest.raises(ConfigError):
        dlt645.encode(dlt645.Frame(address, 0x11, data))


@given(st.binary(max_size=60))
def test_other_bytes_are_no_frame(data: bytes) -> None:
    for decode in (dlt645.decode, cjt188.decode):
        with pytest.raises(DeviceMismatch):
            decode(data)


@given(st.binary(min_size=1, max_size=8), st.integers(0, 6), st.booleans())
def test_digits_or_nothing(data: bytes, places: int, signed: bool) -> None:
    number = bcd.number(data, places, signed=signed)
    body = data[:-1] + bytes((data[-1] & 0x7F,)) if signed else data
    assert (number is None) == (not body.hex().isdecimal())
    if number is not None:
        assert abs(number).scaleb(places) == int(body[::-1].hex())
