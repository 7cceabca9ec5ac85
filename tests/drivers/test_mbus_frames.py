"""M-Bus: published telegrams decode to what libmbus says of them; changed and built ones behave."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.errors import ConfigError, DeviceMismatch
from drivers.frames import Frame, Reject
from drivers.mbus import frame as wire
from drivers.mbus import records
from drivers.mbus.frames import Decoder

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "mbus"
FILES = sorted(VECTORS.glob("*.hex"))
UNITS = {
    "Wh": "W.h",
    "m^3": "m3",
    "m^3/h": "m3/h",
    "°C": "Cel",
    "K": "K{difference}",
    "W": "W",
    "V": "V",
    "A": "A",
    "J": "J",
    "s": "s",
}
FUNCTIONS = {
    "Instantaneous value": "",
    "Maximum value": "max",
    "Minimum value": "min",
    "Value during error state": "error",
}


def decoded(data: bytes) -> list[Frame | Reject]:
    decoder = Decoder()
    return [*decoder.feed(data), *decoder.end()]


@pytest.mark.skipif(not FILES, reason="../shared/vectors/mbus is not there")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_published_telegram(file: Path) -> None:
    raw = bytes.fromhex(file.read_text())
    (found,) = decoded(raw)
    assert isinstance(found, Frame)
    assert found.raw == raw
    expected = ElementTree.fromstring(file.with_suffix(".norm.xml").read_text(encoding="latin-1"))
    about = expected.find("SlaveInformation")
    assert about is not None
    assert str(found.facts["id"]).lstrip("0") == str(about.findtext("Id")).upper()
    assert found.facts["maker"] == about.findtext("Manufacturer")
    frame = wire.decode(raw)
    answer = records.decode(frame.ci or 0, frame.data)
    shown = [one for one in expected.iter("DataRecord") if one.findtext("Function") in FUNCTIONS]
    assert len(answer.records) == len(shown)
    for ours, theirs in zip(answer.records, shown, strict=True):
        assert ours.function == FUNCTIONS[str(theirs.findtext("Function"))]
        assert ours.storage == int(theirs.findtext("StorageNumber") or 0)
        assert ours.tariff == int(theirs.findtext("Tariff") or 0)
        assert ours.subunit == int(theirs.findtext("Device") or 0)
        unit, value = str(theirs.findtext("Unit")), str(theirs.findtext("Value"))
        if unit in UNITS:
            assert ours.unit == UNITS[unit]
            if isinstance(ours.value, int | float):
                assert ours.value == pytest.approx(float(value), rel=1e-6)
            else:  # libmbus makes numbers of nibbles that are no digits
                assert ours.value is None
                assert ours.status in ("BadDecodingError", "BadSensorFailure")
        elif theirs.findtext("Quantity") == "Time point (date & time)":
            # Year 127 is "every year" (EN 13757-3, annex A, type F); libmbus counts it from 1900.
            assert str(ours.value)[:16] == value[:16] or (ours.value is None and value.startswith("2027"))


@pytest.mark.skipif(not FILES, reason="../shared/vectors/mbus is not there")
def test_no_published_telegram_survives_a_changed_byte() -> None:
    rng = random.Random(13757)
    for file in FILES:
        raw = bytearray.fromhex(file.read_text())
        for at in rng.sample(range(len(raw)), 20):
            changed = bytearray(raw)
            changed[at] ^= rng.randrange(1, 256)
            assert not any(isinstance(one, Frame) and len(one.raw) > 5 for one in decoded(bytes(changed)))


def test_noise_holds_no_frame() -> None:
    for seed in (1, 2, 3):
        found = decoded(b"\x00" + random.Random(seed).randbytes(300_000))
        assert not any(isinstance(one, Frame) and len(one.raw) > 5 for one in found)
    assert not any(isinstance(one, Frame) for one in decoded(b"\x00" + b"\x68" * 50_000 + b"\xe5" * 1000))


def test_an_acknowledgement_is_one_only_where_it_can_be() -> None:
    ask = wire.encode(wire.Frame(0x40, 7))
    found = decoded(b"\xe5" + ask + b"\xe5" + b"\x00\xe5")
    assert [one.raw.hex() for one in found if isinstance(one, Frame)] == ["e5", ask.hex(), "e5"]


@given(st.integers(0, 255), st.sampled_from([0x53, 0x73, 0x08]), st.integers(0, 255), st.binary(max_size=252))
def test_a_built_frame_is_read_back(address: int, control: int, ci: int, data: bytes) -> None:
    frame = wire.Frame(control, address, ci, data)
    assert wire.decode(wire.encode(frame)) == frame
    (found,) = decoded(wire.encode(frame))
    assert isinstance(found, Frame)


@given(st.sampled_from([0x72, 0x73, 0x76, 0x77, 0x78, 0x7A]), st.binary(max_size=250))
def test_any_content_is_bounded_and_raises_its_own_error_only(ci: int, data: bytes) -> None:
    try:
        answer = records.decode(ci, data)
    except DeviceMismatch:
        return
    assert len(answer.records) <= len(data)
    for name, record in records.rows(answer):
        assert name
        assert (record.value is None) <= bool(record.status)


@given(st.binary(max_size=60))
def test_other_bytes_are_no_frame(data: bytes) -> None:
    if data in (b"\xe5",):
        return
    with pytest.raises(DeviceMismatch):
        wire.decode(data)


@pytest.mark.parametrize(
    ("data", "value", "unit", "status"),
    [
        ("0C 06 78 56 34 12", 12345678000, "W.h", ""),
        ("0C 06 78 56 34 F2", -2345678000, "W.h", ""),
        ("0C 06 78 5A 34 12", None, "W.h", "BadDecodingError"),
        ("0C 06 FF FF FF FF", None, "W.h", "BadSensorFailure"),
        ("02 5A 9C FF", -10.0, "Cel", ""),
        ("05 2B 00 00 C0 7F", None, "W", "BadSensorFailure"),
        ("05 2B 00 00 48 41", 12.5, "W", ""),
        ("04 6D 1A 0F 65 11", "2011-01-05T15:26", None, ""),
        ("04 6D 9A 0F 65 11", None, None, "BadSensorFailure"),
        ("02 6C 00 00", None, None, "BadSensorFailure"),
        ("0D FD 0C 05 31 32 48 46 57", "WFH21", None, ""),
        ("04 06 01 02", None, "W.h", "BadDecodingError"),
        ("84 80 80 80 80 80 80 80 80 80 80 80 00 06 01 02 03 04", None, None, "BadDecodingError"),
        ("22 FC 03 48 52 25 74 C8 11", 45.52, "%", ""),
    ],
)
def test_what_a_record_says(data: str, value: object, unit: str | None, status: str) -> None:
    (record,) = records.decode(0x78, bytes.fromhex(data)).records
    assert (record.value, record.unit, record.status) == (value, unit, status)


def test_a_fixed_answer() -> None:
    data = bytes.fromhex("78563412 0A 00 E9 7E 01000000 35010000")
    answer = records.decode(0x73, data)
    assert answer.header is not None
    assert (answer.header.id, answer.header.medium) == ("12345678", "water")
    assert [(record.value, record.unit, record.storage) for record in answer.records] == [
        (0.001, "m3", 0),
        (0.135, "m3", 1),
    ]


@pytest.mark.parametrize(("address", "data"), [(None, b""), (256, b""), (1, bytes(253))])
def test_what_does_not_fit_is_refused(address: int | None, data: bytes) -> None:
    with pytest.raises(ConfigError):
        wire.encode(wire.Frame(0x53, address, 0x51, data))
