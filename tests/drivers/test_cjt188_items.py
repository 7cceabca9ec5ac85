"""What CJ/T 188 identifiers hold, and how a frame of an unknown meter is read in its maker's order."""

from __future__ import annotations

import pytest

from drivers.cjt188 import items
from drivers.cjt188.items import Shape
from drivers.registry import load_frame_decoder


def read(di: int, data: str, kind: str = "water", shape: Shape | None = None) -> dict[str, object]:
    found = items.decode(kind, di, bytes.fromhex(data), shape or Shape())
    return {value.id: value.value if value.value is not None else value.status for value in found}


@pytest.mark.parametrize(
    ("di", "data", "kind", "expected"),
    [
        (0xD120, "78563412 2C", "water", {"volume_settlement_1": 123456.78}),
        (0xD12B, "00010000 05", "heat", {"heat_energy_settlement_12": 1.0}),
        (0xD12B, "00010000 99", "heat", {"heat_energy_settlement_12": "BadDecodingError"}),
        (0x8103, "25", "water", {"settlement_day": 25}),
        (0x8104, "FF", "water", {"reading_day": "BadSensorFailure"}),
        (0x8102, "500300 150000 250500 300000 750800", "water",
         {"price_1": 3.5, "price_1_limit": 15, "price_2": 5.25, "price_2_limit": 30, "price_3": 8.75}),
        (0x8105, "07 00500000 00250100 00100000 0400", "water",
         {"purchase_count": 7, "purchase_last": 50.0, "purchase_total": 125.0, "credit": 10.0, "valve_open": True,
          "battery_low": True, "status_word": 4}),
        (0xA014, "01 1122334455667788", "water", {}),
        (0xA015, "45301520112620", "water", {"time_text": "2026-11-20T15:30:45"}),
        (0xA015, "45301531022620", "water", {"time_text": "BadDecodingError"}),
        (0xA015, "45301520112600", "water", {"time_text": "BadDecodingError"}),
        (0xA015, "00000000000000", "water", {"time_text": "BadSensorFailure"}),
        (0x1234, "0102", "water", {"undecoded": "0102"}),
    ],
)  # fmt: skip
def test_what_an_identifier_holds(di: int, data: str, kind: str, expected: dict[str, object]) -> None:
    assert read(di, data, kind) == expected


@pytest.mark.parametrize("code", sorted(items.UNITS))
def test_every_unit_counts_what_the_standard_says(code: int) -> None:
    unit, times = items.UNITS[code]
    value = items.counter("x", bytes.fromhex("00020000") + bytes((code,)), Shape())
    assert (value.value, value.unit) == (2 * times, unit)


WATER, HEAD = "68 10 45231100111100", "81 16 901F 07"


def whole(text: str) -> bytes:
    body = bytes.fromhex(text)
    return body + bytes((sum(body) % 256, 0x16))


@pytest.mark.parametrize(
    ("values", "clock"),
    [
        ("56341200 2C 00100000 2C", "45301520112620"), ("2C 56341200 2C 00100000", "45301520112620"),
        ("56341200 2C 00100000 2C", "20261120153045"), ("2C 56341200 2C 00100000", "20261120153045"),
    ],
)  # fmt: skip
def test_a_frame_is_read_in_the_order_that_its_bytes_show(values: str, clock: str) -> None:
    decoder = load_frame_decoder("cjt188")
    (found,) = [*decoder.feed(whole(f"{WATER} {HEAD} {values} {clock} 0000")), *decoder.end()]
    assert not hasattr(found, "error")
    said = {value.id: value.value for value in found.values}
    assert (said["volume"], said["volume_settlement"], said["time_text"]) == (1234.56, 10.0, "2026-11-20T15:30:45")


def test_bytes_that_both_orders_explain_are_read_in_the_usual_one() -> None:
    data = bytes.fromhex("2C 000000 2C 2C 000000 2C 20111009080720 0000")
    assert items.likely_shape("water", 0x901F, data) == Shape()
