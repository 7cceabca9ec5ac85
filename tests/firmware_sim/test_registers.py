"""Kinds of numbers against bytes worked out by hand, and what an image does at its edges."""

from __future__ import annotations

import math
import struct

import pytest

from firmware_sim.registers import (
    F32,
    F64,
    S16,
    S32,
    SM16,
    SM32,
    U16,
    U32,
    U64,
    Cell,
    Holes,
    Image,
    Kind,
    low_word_first,
    phases,
    text,
)


@pytest.mark.parametrize(
    ("kind", "value", "lsb", "registers"),
    [
        (U16, 229.8, 0.1, "08FA"),
        (U16, 70000, 1, "FFFF"),
        (U16, -1, 1, "0000"),
        (S16, -12.3, 0.1, "FF85"),
        (S16, -40000, 1, "8000"),
        (U32, 305419896, 1, "12345678"),
        (low_word_first(U32), 305419896, 1, "56781234"),
        (low_word_first(S32), -2, 1, "FFFEFFFF"),
        (U64, 1234567.89, 0.01, "00000000075BCD15"),
        (F32, 230.2, 1, "43663333"),
        (F32, 229.8, 0.1, "450FA000"),  # 2298.0: a scaled float
        (F64, 81231500.0, 1, "41935DFA30000000"),
        (SM16, -784, 1, "8310"),
        (SM16, 784, 1, "0310"),
        (low_word_first(SM32), -70000, 1, "11708001"),
        (text(3), "SunS", 1, "53756E530000"),
    ],
)
def test_encoding(kind: Kind, value: float | str, lsb: float, registers: str):
    assert kind.encode(value, lsb).hex().upper() == registers


@pytest.mark.parametrize(("kind", "registers"), [(U16, "ffff"), (S16, "8000"), (S32, "80000000"), (U32, "ffffffff")])
def test_no_value_is_the_kinds_sentinel(kind: Kind, registers: str):
    assert kind.encode(None, 0.1).hex() == registers


def test_no_value_of_a_float_is_nan():
    assert math.isnan(struct.unpack(">f", F32.encode(None, 1))[0])


def _image(holes: Holes, **options: bool) -> Image:
    cells = (Cell(10, U16, "a"), Cell(12, U32, "b"), Cell(20, U16, "=7"))
    image = Image(cells, holes=holes, filler=b"\xff\xff", whole_values=options.get("whole_values", False))
    image.update({"a": 1, "b": 0x00020003})
    return image


@pytest.mark.parametrize(
    ("holes", "address", "count", "registers"),
    [
        (Holes.REFUSE, 12, 2, "00020003"),
        (Holes.REFUSE, 20, 1, "0007"),
        (Holes.REFUSE, 10, 3, None),
        (Holes.REFUSE, 9, 2, None),
        (Holes.REFUSE, 20, 2, None),
        (Holes.FILL, 10, 4, "0001FFFF00020003"),
        (Holes.FILL, 20, 3, "0007FFFFFFFF"),
        (Holes.FILL, 11, 2, None),
        (Holes.FILL, 500, 1, None),
        (Holes.ALWAYS_FILL, 8, 3, "FFFFFFFF0001"),
        (Holes.ALWAYS_FILL, 500, 2, "FFFFFFFF"),
        (Holes.ALWAYS_FILL, 0, 2, "FFFFFFFF"),
    ],
)
def test_holes(holes: Holes, address: int, count: int, registers: str | None):
    data = _image(holes).read(address, count)
    assert (None if data is None else data.hex().upper()) == registers


def test_a_value_is_not_split_where_the_device_refuses_it():
    image = _image(Holes.FILL, whole_values=True)
    assert image.read(12, 2) == b"\0\2\0\3"
    assert image.read(12, 1) is None
    assert image.read(13, 1) is None


def test_absent_quantities_read_as_sentinels_and_constants_do_not():
    image = _image(Holes.REFUSE)
    image.update({"a": 1, "b": 2}, absent={"b"})
    assert image.read(12, 2) == b"\xff\xff\xff\xff"
    assert image.read(20, 1) == b"\0\7"


def test_phases_lie_one_after_the_other_or_apart():
    assert [cell.address for cell in phases(100, U32, "u")] == [100, 102, 104]
    assert [cell.address for cell in phases(100, U32, "u", step=0x14)] == [100, 120, 140]
    assert [cell.label for cell in phases(0, U16, "u", label="U{}")] == ["U1", "U2", "U3"]
