"""The vocabulary is closed, consistent, and never changes what it has said once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from device_profiles.units import UNITS
from device_profiles.vocabulary import vocabulary

FROZEN = Path(__file__).parents[1] / "contract" / "vocabulary-1.0.txt"


def test_ids_and_units_are_well_formed() -> None:
    words = vocabulary()
    for quantity in words.quantities.values():
        assert quantity.unit in UNITS
        assert quantity.low < quantity.high
        assert quantity.deadband >= 0
    for point in words.points.values():
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,62}", point.id)
        assert not point.id.startswith("x_")
        assert (point.type == "num") == (point.quantity is not None)
        assert (point.type == "text") == point.id.endswith("_text")
        assert not point.counter or point.type == "num"


def test_suffixes_make_points_and_nothing_else_does() -> None:
    words = vocabulary()
    tariff = words.point("energy_active_import_t2")
    assert tariff is not None
    assert (tariff.stem, tariff.unit, tariff.counter) == ("energy_active_import", "kW.h", True)
    for absent in ("energy_active_import_t6", "frequency_l1", "voltage_l4", "harmonic_voltage_l1", "x_maker"):
        assert words.point(absent) is None
    assert words.point("harmonic_voltage_l1_h3") is not None
    assert words.point("voltage_l3_l1") is not None
    assert words.suggest("voltge_l1") == "voltage_l1"


def test_what_was_published_stays() -> None:
    """One quantity, one unit, one type, for ever: a point of a released vocabulary keeps its meaning."""
    now = vocabulary()
    for line in FROZEN.read_text(encoding="utf-8").splitlines():
        point_id, kind, unit = line.split("\t")
        point = now.point(point_id)
        assert point is not None, f"{point_id} was published and is gone"
        assert (point.type, point.unit or "-") == (kind, unit), point_id


def test_what_is_new_is_written_down() -> None:
    lines = {line.split("\t")[0] for line in FROZEN.read_text(encoding="utf-8").splitlines()}
    new = {point.id for point in vocabulary().points.values() if point.id == point.stem} - lines
    assert not new, f"add these lines to {FROZEN.name}, they then stay for ever: {sorted(new)}"


@pytest.mark.parametrize("cls", ["electricity_meter", "pv_inverter", "vfd", "room_sensor", "contact", "call_point"])
def test_classes_have_a_system(cls: str) -> None:
    assert vocabulary().classes[cls]
