"""Options decide which points there are; instances make devices of one address space."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import ProfileError
from device_profiles.library import SHIPPED, Library
from device_profiles.resolve import instance_id, options_of, points_of, shifted
from device_profiles.schema import Modbus, Point

LIBRARY = Library([Path(__file__).with_name("profiles"), SHIPPED])


def places(points: tuple[Point, ...]) -> dict[str, int | None]:
    return {point.id: point.address.reg for point in points if isinstance(point.address, Modbus)}


def test_an_option_chooses_among_points_of_one_id() -> None:
    diris = LIBRARY.get("socomec-diris")
    assert places(points_of(diris))["energy_active_import"] == 0xC702
    assert places(points_of(diris, {"energies": "c650"}))["energy_active_import"] == 0xC652
    for chosen in (points_of(diris), points_of(diris, {"energies": "c650"})):
        assert len({point.id for point in chosen}) == len(chosen)


def test_a_branch_meter_makes_24_devices_and_a_head() -> None:
    branch = LIBRARY.get("generic-branch-meter-24")
    assert branch.instances is not None
    head = places(points_of(branch))
    assert set(head) == {"voltage_l1", "voltage_l2", "voltage_l3", "frequency"}
    registers = set()
    for number in range(1, 25):
        circuit = places(points_of(branch, instance=number))
        assert circuit["energy_active_import"] == 104 + 8 * (number - 1)
        assert circuit.keys().isdisjoint(head)
        registers |= set(circuit.values())
    assert len(registers) == 24 * 5
    assert [instance_id(branch.instances, "panel", n) for n in (1, 24)] == ["panel-1", "panel-24"]


def test_two_channels_repeat_everything_and_leave_no_head() -> None:
    meter = LIBRARY.get("deye-dtsd422")
    assert points_of(meter) == ()
    one, two = places(points_of(meter, instance=1)), places(points_of(meter, instance=2))
    assert {name: reg - 0x1000 for name, reg in two.items() if reg is not None} == one


def test_scale_factors_go_along_with_those_that_need_them() -> None:
    sunspec = LIBRARY.get("sunspec-inverter-three-phase")
    ids = {point.id for point in points_of(sunspec)}
    needed = {point.scale_from.point for point in points_of(sunspec) if point.scale_from}
    assert needed <= ids


def test_a_shift_moves_registers_offsets_and_parts() -> None:
    assert shifted(Point(id="a", reg=5), 8).address == Modbus(reg=13)
    assert shifted(Point(id="a", model=103, at=5), 8).address == Modbus(model=103, offset=13)
    parts = shifted(
        Point(id="a", parts=({"reg": 1, "scale": 1}, {"reg": 2, "scale": 10}), address={"table": "input"}), 8
    )
    assert [part.reg for part in parts.parts] == [9, 10]
    assert parts.address == Modbus(table="input")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"energys": "c650"}, "has no option 'energys'. did you mean 'energies'?"),
        ({"energies": "c6"}, "energies cannot be 'c6'"),
    ],
)
def test_unknown_options_and_values_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(ProfileError) as caught:
        options_of(LIBRARY.get("socomec-diris"), given)
    assert said in str(caught.value)


def test_instances_that_are_not_there_are_refused() -> None:
    branch = LIBRARY.get("generic-branch-meter-24")
    for number in (0, 25):
        with pytest.raises(ProfileError, match=f"no instance {number}. use 1 to 24"):
            points_of(branch, instance=number)
    with pytest.raises(ProfileError, match="is one device"):
        points_of(LIBRARY.get("eastron-sdm630"), instance=1)
