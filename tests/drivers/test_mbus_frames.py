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


def test_no_more_acknowledgements_in_a_row_than_there_can_be_slaves() -> None:
    *acks, rest = decoded(b"\xe5" * 100_000)
    assert len(acks) == 250
    assert isinstance(rest, Reject)
    assert (rest.error, rest.at, rest.got) == ("noise", 250, "99750")


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
        ("03 FC 20 03 43 42 41 15 31 00", 12565, "1/s", ""),  # the unit in words behind the extension
        ("05 14 FF FF 7F 4B", 167772.15, "m3", ""),  # every bit of a real counts
        ("05 2B EC DD 4C 4B", 13426156, "W", ""),
        ("06 13 FF FF FF FF FF 7F", 140737488355.327, "m3", ""),
        ("07 13 00 00 00 00 00 00 00 80", -9223372036854775.808, "m3", ""),
        ("0E 13 12 90 78 56 34 12", 123456789.012, "m3", ""),
        ("0D 13 C4 78 56 34 12", 12345.678, "m3", ""),
        ("0D 13 D4 78 56 34 12", -12345.678, "m3", ""),
        ("0D 13 E3 01 00 01", 65.537, "m3", ""),
        ("0D 13 F0" + " 01" * 16, "01" * 16, "m3", ""),
        ("0D 13 F7 01", None, "m3", "BadDecodingError"),
        ("0D 13 C0", None, "m3", "BadDecodingError"),
        ("03 6D 19 0F 0A", "10:15:25", None, ""),
        ("03 6D 3F 3F 1F", None, None, "BadSensorFailure"),
        ("06 6D 19 0F 0A 65 11 00", "2011-01-05T10:15:25", None, ""),
        ("06 6D 19 8F 0A 65 11 00", None, None, "BadSensorFailure"),
        ("04 6D 1A 2F 65 11", "2011-01-05T15:26", None, ""),  # with its century
        ("04 6D 1A 1F 65 11", None, None, "BadSensorFailure"),  # every hour
        ("02 6C 5E F2", None, None, "BadSensorFailure"),  # the 30th of February
        ("02 6C FF FF", None, None, "BadSensorFailure"),
        ("0A 6C 34 12", None, None, "BadDecodingError"),
        ("02 FD 17 00 80", 32768, "1", ""),  # bits have no sign
        ("02 FD 16 34 12", None, None, "BadNotReadable"),
        ("04 93 15 00 00 00 00", None, "m3", "BadNoData"),
        ("04 93 16 00 00 00 00", None, "m3", "BadOutOfRange"),
        ("04 93 18 00 00 00 00", None, "m3", "BadSensorFailure"),
        ("04 93 22 E8 03 00 00", 1.0, "m3/h", ""),
        ("04 93 3C E8 03 00 00", 1.0, "m3", ""),
        ("04 BB 6F 1A 0F 65 11", "2011-01-05T15:26", None, ""),
        ("02 BB 59 02 00", 120, "s", ""),
        ("04 93 7D 01 00 00 00", 1, "m3", ""),
        ("04 93 7B 01 00 00 00", 1.001, "m3", ""),
        ("02 FD C8 FC 01 01 09", 230.5, "V", ""),
        ("04 FB 02 01 00 00 00", 1, "kV.A.h{reactive}", ""),
        ("02 FB 2E F4 01", 50.0, "Hz", ""),
        ("04 FB 18 01 00 00 00", 100000, "kg", ""),
        ("02 FD 71 9C FF", -100, "dB[mW]", ""),
        ("02 FF 12 34 12", 4660, None, ""),
        ("00 13", None, "m3", "BadNoData"),
    ],
)
def test_what_a_record_says(data: str, value: object, unit: str | None, status: str) -> None:
    (record,) = records.decode(0x78, bytes.fromhex(data)).records
    assert (record.value, record.unit, record.status) == (value, unit, status)


@pytest.mark.parametrize(
    ("vib", "name"),
    [
        ("93 3B", "volume_positive"), ("93 3C", "volume_negative"), ("93 40", "volume_lower_limit"),
        ("BB 59", "flow_high_first_duration"), ("BB 4F", "flow_high_last_end"), ("FD C8 FC 03", "voltage_l3"),
        ("93 22", "volume_per_hour"), ("93 FF 22", "volume"), ("93 74", "volume"),
    ],
)  # fmt: skip
def test_only_the_plain_quantity_has_its_plain_name(vib: str, name: str) -> None:
    (record,) = records.decode(0x78, b"\x02" + bytes.fromhex(vib) + b"\x01\x11").records
    assert record.quantity == name


def test_storage_tariff_and_subunit_come_from_all_their_extensions() -> None:
    (record,) = records.decode(0x78, bytes.fromhex("D4 B1 C2 21 06 01 00 00 00")).records
    assert (record.function, record.storage, record.tariff, record.subunit) == (
        "max",
        0b1_0010_0001_1 | 0,
        0b10_00_11,
        2,
    )


HEADER = bytes.fromhex("12345678 4024 01 07 55 04 0000")


def test_answers_with_their_highest_byte_first() -> None:
    answer = records.decode(0x76, HEADER + bytes.fromhex("04 13 00 00 30 39  0C 13 12 34 56 78  04 6D 11 65 0F 1A"))
    assert answer.header is not None
    assert (answer.header.id, answer.header.maker, answer.header.states) == ("12345678", "PAD", ["power low"])
    assert [record.value for record in answer.records] == [12.345, 12345.678, "2011-01-05T15:26"]
    fixed = records.decode(0x77, bytes.fromhex("12345678 0A 01 E9 7E 00000001 00000135"))
    assert fixed.header is not None
    assert (fixed.header.id, [record.value for record in fixed.records]) == ("12345678", [0.001, 0.309])


def test_encrypted_records_are_no_numbers() -> None:
    header = HEADER[:10] + bytes((0x10, 0x05))
    assert [record.status for record in records.decode(0x72, header + bytes(range(16))).records] == ["BadDecodingError"]
    plain = records.decode(0x72, header + bytes.fromhex("2F2F 04 13 39300000 2F2F2F2F2F2F2F2F"))
    assert [record.value for record in plain.records] == [12.345]
    odd = records.decode(
        0x72, HEADER[:10] + b"\xff\xff" + bytes.fromhex("04 13 39300000")
    )  # old meters have anything there
    assert [record.value for record in odd.records] == [12.345]


def test_an_application_error_is_told_in_words() -> None:
    (found,) = decoded(wire.encode(wire.Frame(0x08, 5, 0x70, b"\x08")))
    assert isinstance(found, Frame)
    assert (found.facts["error"], found.values) == ("busy", ())


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
