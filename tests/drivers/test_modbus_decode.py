"""drivers.modbus.decode: every type in every word order, by bytes that were worked out by hand or by another way."""

from __future__ import annotations

import math
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_profiles.reading import PointFault
from device_profiles.schema import Point
from drivers.modbus.block import Place, build_block, locate_point

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")


def point(name: str = "x", reg: int = 0, **keys: Any) -> Point:
    return Point.model_validate({"id": name, "address": {"table": "holding", "reg": reg}, **keys})


def decode(points: list[Point], data: bytes, first: int = 0) -> dict[str, Any]:
    places = [place for place in (locate_point(one, None) for one in points) if place is not None]
    block = build_block("holding", first, first + len(data) // 2 - 1, places, {})
    return dict(zip((place.point.id for place in block.places), block.decode(data), strict=True))


def one(data: str, **keys: Any) -> Any:
    return decode([point(**keys)], bytes.fromhex(data))["x"]


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        ("u16", "fffe", 65534), ("s16", "fffe", -2), ("s16", "8000", -32768), ("u32", "00010002", 65538),
        ("s32", "ffffffff", -1), ("s32", "80000000", -(2**31)), ("u32", "ffffffff", 2**32 - 1),
        ("u64", "0000000100000002", 2**32 + 2), ("s64", "8000000000000000", -(2**63)), ("u64", "ffffffffffffffff", 2**64 - 1),
        ("f32", "42f6e979", 123.45600128173828), ("f32", "80000000", -0.0), ("f32", "00000001", 1.401298464324817e-45),
        ("f64", "405edd2f1a9fbe77", 123.456), ("bcd16", "1234", 1234), ("bcd32", "00123456", 123456),
        ("bcd64", "0000000012345678", 12345678), ("sm16", "8005", -5), ("sm16", "0005", 5), ("sm32", "80000001", -1),
        ("sm16", "8000", 0),
    ],
)  # fmt: skip
def test_each_type_high_word_first(kind: str, data: str, value: float) -> None:
    assert one(data, type=kind) == value


@pytest.mark.parametrize(
    ("order", "data"), [("ABCD", "0a0b0c0d"), ("CDAB", "0c0d0a0b"), ("BADC", "0b0a0d0c"), ("DCBA", "0d0c0b0a")]
)
def test_the_four_word_orders_of_32_bits(order: str, data: str) -> None:
    assert one(data, type="u32", word_order=order) == 0x0A0B0C0D


@pytest.mark.parametrize(
    ("order", "data"),
    [
        ("ABCD", "0102030405060708"),
        ("CDAB", "0708050603040102"),
        ("BADC", "0201040306050807"),
        ("DCBA", "0807060504030201"),
    ],
)
def test_the_four_word_orders_of_64_bits(order: str, data: str) -> None:
    assert one(data, type="u64", word_order=order) == 0x0102030405060708


def test_word_order_of_one_register_swaps_its_bytes_only_where_the_order_says_so() -> None:
    assert [one("0102", type="u16", word_order=order) for order in ORDERS] == [0x0102, 0x0102, 0x0201, 0x0201]


def wire_bytes(big_endian: bytes, order: str) -> bytes:
    """Another way to the same: words reversed, then the bytes in each."""
    words = [big_endian[at : at + 2] for at in range(0, len(big_endian), 2)]
    if order in ("CDAB", "DCBA"):
        words.reverse()
    if order in ("BADC", "DCBA"):
        words = [word[::-1] for word in words]
    return b"".join(words)


@given(st.floats(allow_nan=False), st.sampled_from(ORDERS))
def test_any_f64_survives_any_order(value: float, order: str) -> None:
    assert one(wire_bytes(struct.pack(">d", value), order).hex(), type="f64", word_order=order) == value


@given(st.integers(-(2**31), 2**31 - 1), st.sampled_from(ORDERS))
def test_any_s32_survives_any_order(value: int, order: str) -> None:
    assert one(wire_bytes(struct.pack(">i", value), order).hex(), type="s32", word_order=order) == value


def test_nan_and_infinity_are_handed_on_as_they_are() -> None:
    assert math.isnan(one("7fc00000", type="f32"))
    assert one("ff800000", type="f32") == -math.inf
    assert math.isnan(one("7ff8000000000000", type="f64"))


@pytest.mark.parametrize(("kind", "data"), [("bcd16", "00a0"), ("bcd32", "1234567f"), ("bcd64", "f000000000000000")])
def test_a_nibble_above_nine_is_a_fault_and_no_number(kind: str, data: str) -> None:
    fault = one(data, type=kind)
    assert isinstance(fault, PointFault)
    assert fault.status == "BadDecodingError"


@given(st.binary(min_size=8, max_size=8))
def test_bcd_is_a_number_exactly_when_all_nibbles_are_digits(data: bytes) -> None:
    value = one(data.hex(), type="bcd64")
    assert value == int(data.hex()) if data.hex().isdecimal() else isinstance(value, PointFault)


def test_bits_count_from_the_least_significant() -> None:
    word = "a051"  # 1010 0000 0101 0001
    assert one(word, type="u16", bits=0) == 1
    assert one(word, type="u16", bits=1) == 0
    assert one(word, type="u16", bits="4..7") == 5
    assert one(word, type="u16", bits="12..15") == 10
    assert one(word, type="bool", bits=15) is True
    assert one(word, type="bool", bits=14) is False
    assert one("00008000" + "00000001", type="u64", bits=47) == 1
    assert one("ffff", type="s16", bits="0..3") == 15


def test_text_ends_at_the_first_nul_and_loses_its_filling() -> None:
    assert one(b"iEM3155 \0garb".ljust(14, b"\0").hex(), type="str", length=7) == "iEM3155"
    assert one(b"ABCD\xff\xff".hex(), type="str", length=3) == "ABCD"
    assert one(b"BADC".hex(), type="str", length=2, word_order="BADC") == "ABCD"
    assert one("c3a4", type="str", length=1, encoding="utf-8") == "ä"


def test_text_in_another_encoding_is_a_fault() -> None:
    assert one("c3a4", type="str", length=1) == PointFault("BadDecodingError", one("c3a4", type="str", length=1).detail)
    assert one("4142", type="str", length=1, encoding="no-such").status == "BadDecodingError"


def parts(*pairs: tuple[int, str], kind: str = "u16") -> Point:
    rows = [{"reg": reg, "scale": scale} for reg, scale in pairs]
    return Point.model_validate({"id": "x", "type": kind, "parts": rows, "address": {"table": "holding"}})


def test_parts_are_summed_exactly() -> None:
    megawatt_and_kilowatt_hours = parts((0, "1000"), (1, "1"))
    assert decode([megawatt_and_kilowatt_hours], bytes.fromhex("0003000e"))["x"] == 3014
    tenths = parts((0, "1"), (1, "0.1"))
    assert decode([tenths], struct.pack(">HH", 81231 & 0xFFFF, 3))["x"] == 15695.3
    assert decode([parts((0, "100000000"), (2, "0.01"), kind="u32")], struct.pack(">II", 999999999, 12345678))[
        "x"
    ] == float(Decimal("99999999900123456.78"))


def test_parts_may_lie_apart_and_in_any_order() -> None:
    assert decode([parts((3, "1"), (0, "10000"))], struct.pack(">4H", 7, 9, 9, 1234))["x"] == 71234


def test_a_part_that_cannot_be_decoded_makes_the_sum_a_fault() -> None:
    assert (
        decode([parts((0, "1"), (1, "10"), kind="bcd16")], bytes.fromhex("0001000a"))["x"].status == "BadDecodingError"
    )


def test_a_block_with_holes_other_orders_and_overlaps_decodes_each_point() -> None:
    data = bytes(range(40))
    points = [
        point("late", 15, type="f32", word_order="CDAB"),
        point("first", 1, type="u16"),
        point("same", 1, type="bool", bits=0),
        point("inside", 4, type="u16"),
        point("wide", 3, type="u64"),
        point("text", 18, type="str", length=2, encoding="latin-1"),
    ]
    values = decode(points, data)
    assert list(values) == ["first", "same", "wide", "inside", "late", "text"]
    assert values["first"] == 0x0203
    assert values["same"] is True
    assert values["wide"] == int.from_bytes(data[6:14])
    assert values["inside"] == 0x0809
    assert values["late"] == struct.unpack(">f", data[32:34] + data[30:32])[0]
    assert values["text"] == data[36:40].decode("latin-1").strip()


@given(
    st.binary(min_size=250, max_size=250),
    st.lists(st.tuples(st.integers(0, 121), st.sampled_from(ORDERS)), max_size=30),
)
def test_a_whole_block_decodes_as_its_points_one_by_one(data: bytes, wanted: list[tuple[int, str]]) -> None:
    points = [point(f"p{n}", reg, type="s32", word_order=order) for n, (reg, order) in enumerate(wanted)]
    together = decode(points, data) if points else {}
    for n, (reg, order) in enumerate(wanted):
        raw = wire_bytes(data[2 * reg : 2 * reg + 4], order)  # each order undoes itself on 4 bytes
        assert together[f"p{n}"] == struct.unpack(">i", raw)[0]


def test_bits_of_coils_come_least_significant_first() -> None:
    points = [
        Point.model_validate({"id": f"c{n}", "type": "bool", "address": {"table": "coil", "reg": n}})
        for n in (3, 4, 11, 12)
    ]
    places = [Place(one, "coil", (reg,)) for one, reg in zip(points, (3, 4, 11, 12), strict=True)]
    block = build_block("coil", 3, 12, places, {})
    assert block.decode(bytes((0b0000_0001, 0b0000_0011))) == [True, False, True, True]
