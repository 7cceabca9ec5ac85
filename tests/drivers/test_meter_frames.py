"""DL/T 645 and CJ/T 188 frames: published ones say what they say, changed ones are refused, and built ones are read back."""

from __future__ import annotations

import itertools
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
from drivers.dlt645.item import decode as dlt645_values
from drivers.dlt645.items import items_2007
from drivers.dlt645.items_1997 import items_1997
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
    found = [value for value, _ in dlt645_values(items_2007(di), bytes.fromhex(data))]
    assert [value.value for value in found] == values
    assert all((value.value is None) == bool(value.status) for value in found)


@pytest.mark.parametrize(
    ("di", "data", "values"),
    [
        (0x00150000, "26000000", {"energy_active_import_l1": 0.26}),
        (0x003DFF01, "26000000 01000000", {
            "energy_active_import_l3_settlement_1": 0.26, "energy_active_import_l3_t1_settlement_1": 0.01}),
        (0x00030000, "26000080", {"energy_reactive_combined_1": -0.26}),
        (0x00800000, "26000000", {"energy_active_linked": 0.26}),
        (0x01150000, "341200 3015091026", {
            "power_demand_import_max_l1": 0.1234, "power_demand_import_max_l1_time_text": "2610091530"}),
        (0x020A0103, "2501", {"voltage_harmonic_3_l1": 1.25}),
        (0x0207FF00, "0000 0012 0024", {"phase_angle_l1": 0.0, "phase_angle_l2": 120.0, "phase_angle_l3": 240.0}),
        (0x03110000, "120000", {"power_failure_count": 12}),
        (0x03300D00, "030000", {"cover_opened_count": 3}),
        (0x04000503, "5000", {"status_word_3": 0x50}),
        (0x040005FF, "0800 F0FF", {"status_word_1": 8, "status_word_2": 0xFFF0}),
        (0x0400040B, "00002045302d31534444", {"model_text": "DDS1-0E"}),
        (0x04000A02, "1500", {"load_record_1_interval": 15}),
        (0x05060101, "26000000 01000000", {"energy_active_import_frozen_1": 0.26, "energy_active_import_t1_frozen_1": 0.01}),
        (0x05060001, "0000091015", {"freeze_time_text_frozen_1": "1510090000"}),
        (0x0291FF00, "00", {"undecoded": "00"}),
    ],
)  # fmt: skip
def test_what_else_an_identifier_of_2007_holds(di: int, data: str, values: dict[str, Any]) -> None:
    assert {value.id: value.value for value, _ in dlt645_values(items_2007(di), bytes.fromhex(data))} == values


@pytest.mark.parametrize(
    ("di", "data", "values"),
    [
        (0x901F, "26000000 01000000", {"energy_active_import": 0.26, "energy_active_import_t1": 0.01}),
        (0x9410, "26000000", {"energy_active_import_last_month": 0.26}),
        (0x9822, "26000000", {"energy_active_export_t2_month_before": 0.26}),
        (0xA010, "341200", {"power_active_import_demand_max": 0.1234}),
        (0xB010, "30151026", {"power_active_import_demand_max_time_text": "26101530"}),
        (0xB61F, "2002 3002 FFFF", {"voltage_l1": 220, "voltage_l2": 230, "voltage_l3": None}),
        (0xB651, "9809", {"power_factor_l1": 0.998}),
        (0xC117, "0001", {"settlement_day_text": "0100"}),
        (0xC020, "F0", {"status_byte": 0xF0}),
    ],
)
def test_what_an_identifier_of_1997_holds(di: int, data: str, values: dict[str, Any]) -> None:
    assert {value.id: value.value for value, _ in dlt645_values(items_1997(di), bytes.fromhex(data))} == values


def said_by(control: int, data: str, protocol: str = "dlt645-2007") -> Frame:
    return only(protocol, dlt645.encode(dlt645.Frame("000000000161", control, bytes.fromhex(data))))


def test_orders_are_told_without_their_password() -> None:
    frame = said_by(0x14, "03010004 02563412 17000000 30")
    assert {"di": "04000103", "level": 2, "operator": "00000017"}.items() <= frame.facts.items()
    assert [(value.id, value.value, value.unit) for value in frame.values] == [("demand_period", 30, "min")]
    assert "123456" not in str((frame.facts, frame.values))
    relay = said_by(0x1C, "02563412 17000000 1A00 000000230526")
    assert {"command": "trip", "until": "2026-05-23T00:00:00"}.items() <= relay.facts.items()
    assert said_by(0x08, "005912230526").facts["time"] == "2026-05-23T12:59:00"
    assert said_by(0x16, "99999999").facts["freeze_at"] == "99999999"
    assert said_by(0x17, "08").facts["baud"] == 2400
    old = said_by(0x04, "10C0 00563412 05221126", "dlt645-1997")
    assert (old.facts["di"], old.values[0].value) == ("C010", "26112205")


def test_reasons_of_an_error_are_the_editions() -> None:
    assert said_by(0xD1, "03").facts["reasons"] == ["other error", "no such data"]
    assert said_by(0xC1, "0D", "dlt645-1997").facts["reasons"] == ["illegal data", "wrong password"]


def test_an_answer_over_several_frames_gives_what_is_whole() -> None:
    first = said_by(0xB1, "00FF0100 26000000 0100")
    assert [(value.id, value.value) for value in first.values] == [("energy_active_import", 0.26), ("part", "0100")]
    then = said_by(0x92, "00FF0100 0000 01")
    assert (then.facts["frame"], then.values[0].value) == (1, "0000")
    asked = said_by(0x12, "00FF0100 01")
    assert (asked.facts["frame"], asked.values) == (1, ())


def test_each_byte_of_an_answer_is_explained() -> None:
    frame = said_by(0x91, "00FF0102 0122 FFFF 0323")
    assert [(part.start, part.end, part.name) for part in frame.parts[-6:-2]] == [
        (14, 18, "identifier"), (18, 20, "voltage_l1"), (20, 22, "voltage_l2"), (22, 24, "voltage_l3"),
    ]  # fmt: skip
    assert all(one.end == two.start for one, two in itertools.pairwise(frame.parts))


def test_load_records_are_told() -> None:
    one = "A0A0 1B 0012090726 7717 7817 7917 123400 000100 000000 9949 AA AAAAAAAA"
    body = bytes.fromhex(one.replace(" ", ""))
    raw = body + bytes((sum(body) & 0xFF, 0xE5))
    frame = said_by(0x91, "01000006" + raw.hex())
    values = {value.id: value.value for value in frame.values}
    assert values["load_1_time_text"] == "2026-07-09T12:00"
    assert values["load_1_voltage_l2"] == 177.8
    assert values["load_1_frequency"] == 49.99
    assert said_by(0x11, "01000006 02 0012090726").facts["since"] == "2026-07-09T12:00:00"


def test_absent_is_not_undecodable() -> None:
    ((absent, _),) = dlt645_values(items_2007(0x02010100), b"\xff\xff")
    ((broken, _),) = dlt645_values(items_2007(0x02010100), b"\xff\x0a")
    assert (absent.status, broken.status) == ("BadSensorFailure", "BadDecodingError")


def test_every_identifier_of_four_bytes_is_bounded() -> None:
    rng = random.Random(7)
    for _ in range(2000):
        items = items_2007(rng.randrange(2**32))
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
