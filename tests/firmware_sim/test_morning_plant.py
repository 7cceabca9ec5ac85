"""Lights, air and meter of the morning follow one count of people."""

from __future__ import annotations

import pytest

from firmware_sim.morning_plant import Presence, controllers, office_meter

NIGHT_S = 1_763_949_600.0
"""A Monday, 2 o'clock."""


class Clock:
    def __init__(self) -> None:
        self.s = NIGHT_S

    def __call__(self) -> float:
        return self.s


def test_the_count_and_its_integral() -> None:
    now = Clock()
    present = Presence(40, now)
    assert (present.value(now()), present.integral(now())) == (0, 0)
    now.s += 100
    present.set(20)
    now.s += 100
    present.set(40)
    now.s += 10
    assert present.integral(now()) == pytest.approx(60)
    assert present.integral(NIGHT_S + 150) == pytest.approx(25)
    assert [present.value(NIGHT_S + at) for at in (-1, 99, 100, 199, 200)] == [0, 0, 0.5, 0.5, 1]
    assert present.integral(NIGHT_S - 1) == 0


def test_lights_and_air_follow() -> None:
    now = Clock()
    present = Presence(40, now)
    lights, air, box = controllers(present, now, 0.0)

    def seen() -> tuple[int, float, float, float, bool]:
        everything = {name: value for device in (lights, air, box) for name, value in device.snapshot().items()}
        at = {name: float(value) for name, value in everything.items() if not isinstance(value, str)}
        lit = sum(at[f"CKT-{n}-S"] for n in range(1, 9))
        power = sum(at[f"CKT-{n}-KW"] for n in range(1, 9))
        return int(lit), power, at["SF-KW"], at["VAV-3-01.SA-F"], bool(at["VAV-3-01.OCC-S"])

    found = []
    for count in (0, 1, 20, 40, 0):
        present.set(count)
        for _ in range(60):
            now.s += 10
            for device in (lights, air, box):
                device.refresh()
        found.append(seen())
    assert [row[0] for row in found] == [0, 1, 4, 8, 0]
    for column in (1, 2, 3):
        night, one, half, full, again = (row[column] for row in found)
        assert night <= one < half < full
        assert again == pytest.approx(night, abs=0.05 * full)
    assert found[0][2] == 0.03, "the fan stands"
    assert found[0][3] < 1
    assert not found[0][4]


def test_the_meter_counts_what_they_use() -> None:
    now = Clock()
    present = Presence(40, now)
    meter = office_meter("000012345680", present, now, 0.0)

    def seen() -> tuple[float, float]:
        values = meter.world.snapshot(now())
        return float(values["kw"] or 0), float(values["kwh_import"] or 0)

    kw_0, kwh_0 = seen()
    assert 0 < kw_0 < 6
    present.set(40)
    now.s += 3600
    kw, kwh = seen()
    assert 48 < kw < 57
    assert kwh - kwh_0 == pytest.approx(kw, rel=0.1), "an hour of it"
    assert meter.meter().number == "000012345680"
