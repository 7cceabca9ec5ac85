"""A counter is the integral of its power: checked against numeric integration, across days, weekends and clouds."""

from __future__ import annotations

import random

import pytest

from firmware_sim.curves import DAY_S, EPOCH_S, DayHump, Power, Wave
from firmware_sim.plant import Branches, Inverter
from firmware_sim.worlds import ThreePhase, people, sun

FRIDAY_S = EPOCH_S + 893 * DAY_S  # 2026-06-12, a Friday


def _numeric(power: Power, start: float, end: float, step: float = 5.0) -> float:
    steps = int((end - start) / step)
    inner = sum(power.kw(start + index * step) for index in range(1, steps))
    return (inner + (power.kw(start) + power.kw(end)) / 2) * step / 3600


@pytest.mark.parametrize("day", [people(5, 3600.0), sun(5, 28_800.0), DayHump(8, 9, 1)], ids=["people", "sun", "short"])
def test_kwh_is_the_integral_of_kw_over_a_weekend(day: DayHump):
    power = Power(2.0, 30.0, day, Wave.wandering(random.Random(3), 1.0))
    start, end = FRIDAY_S + 5_000, FRIDAY_S + 3 * DAY_S + 40_000
    assert power.kwh(end) - power.kwh(start) == pytest.approx(_numeric(power, start, end), rel=1e-5)


def test_a_wave_stays_within_its_amplitude():
    wave = Wave.wandering(random.Random(1), 2.5)
    values = [wave.value(FRIDAY_S + second) for second in range(0, 20_000, 7)]
    assert max(map(abs, values)) <= 2.5
    assert max(values) > 1 > -1 > min(values)


def test_weekends_are_quiet_and_nights_dark():
    office, roof = people(4, 0.0), sun(4, 0.0)
    noon = 12.5 * 3600
    assert office.value(FRIDAY_S + noon) > 2 * office.value(FRIDAY_S + DAY_S + noon) > 0
    assert roof.value(FRIDAY_S + 2 * 3600) == 0.0
    assert roof.value(FRIDAY_S + noon) > 0.2


def test_the_same_seed_gives_the_same_snapshot_and_another_another():
    assert ThreePhase(3).snapshot(FRIDAY_S) == ThreePhase(3).snapshot(FRIDAY_S)
    assert ThreePhase(3).snapshot(FRIDAY_S) != ThreePhase(4).snapshot(FRIDAY_S)


@pytest.mark.parametrize("hour", [3, 9, 12, 15, 22])
def test_a_meters_quantities_agree_with_each_other(hour: int):
    values = {
        name: float(value)
        for name, value in ThreePhase(8).snapshot(FRIDAY_S + hour * 3600).items()
        if value is not None
    }
    for n in "123":
        assert 215 < values[f"u{n}"] < 245
        assert values[f"kva{n}"] == pytest.approx(values[f"u{n}"] * values[f"i{n}"] / 1000)
        assert values[f"kva{n}"] ** 2 == pytest.approx(values[f"kw{n}"] ** 2 + values[f"kvar{n}"] ** 2)
    assert values["kw"] == pytest.approx(values["kw1"] + values["kw2"] + values["kw3"])
    assert values["kw"] / values["kva"] == pytest.approx(values["pf"])
    assert 49.9 < values["frequency"] < 50.1
    assert values["u12"] == pytest.approx(values["u1"] * 3**0.5, rel=0.02)


def test_a_generator_counts_export_and_its_power_is_negative():
    world = ThreePhase.generating(2, rated_kw=10, utc_offset_s=0)
    night, noon = world.snapshot(FRIDAY_S + 3600), world.snapshot(FRIDAY_S + 12 * 3600)
    assert noon["kw"] < -0.5
    assert noon["pf"] < 0
    assert noon["i_signed1"] < 0 < noon["i1"]
    assert night["kw"] == 0.0
    assert noon["kwh_export"] > night["kwh_export"]
    assert noon["kwh_import"] == night["kwh_import"]


def test_an_inverter_sleeps_at_night():
    inverter = Inverter(1)
    night, noon = inverter.snapshot(FRIDAY_S), inverter.snapshot(FRIDAY_S + 12 * 3600)
    assert (night["status"], night["w"]) == (Inverter.SLEEPING, 0.0)
    assert noon["status"] == Inverter.MPPT
    assert noon["w"] == pytest.approx(noon["dc_w"] * 0.975)
    assert noon["wh"] > night["wh"]


def test_branch_circuits_add_up():
    values = Branches(6).snapshot(FRIDAY_S + 40_000)
    assert values["kw"] == pytest.approx(sum(float(values[f"c{number}_kw"] or 0) for number in range(1, 25)))
