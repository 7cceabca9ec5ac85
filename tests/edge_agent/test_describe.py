"""The retained documents say what leaves the agent, not what the device holds."""

from decimal import Decimal

from device_profiles.schema import Point
from edge_agent.describe import meta
from edge_agent.model import Device
from tests.shipped import LIBRARY


def device(*points: Point, name: str = "Incomer 1") -> Device:
    profile = LIBRARY.get("eastron-sdm630")
    return Device(
        id="meter-01", name=name, link="rs485-1", unit=12, protocol="modbus", profile=profile, points=points,
        cls="electricity_meter", system="energy", codes={"energy": "01B00"},
    )  # fmt: skip


def point(**more: object) -> Point:
    fields: dict[str, object] = {
        "id": "power_active",
        "quantity": "power",
        "unit": "W",
        "address": {"table": "input", "reg": 52},
    }
    return Point.model_validate(fields | {"type": "s32", "poll": 10, "heartbeat": 300} | more)


def test_units_are_those_of_the_vocabulary() -> None:
    document = meta(device(point(scale=Decimal("0.1"))), "")
    told = document.points["power_active"]
    assert (told.unit, told.q, told.type, told.ref) == ("kW", "power", "num", "input:0x0034")
    assert told.res == 0.0001
    assert (told.poll_s, told.hb_s, told.align_s) == (10, 300, None)
    assert document.addr == "rs485-1:12"
    assert document.codes == {"energy": "01B00"}


def test_an_aligned_point_tells_its_marks_and_no_heartbeat() -> None:
    told = meta(
        device(point(id="energy_active_import", quantity="energy", unit="kW.h", type="f32", align=900)), ""
    ).points
    assert (told["energy_active_import"].align_s, told["energy_active_import"].hb_s) == (900, None)
    assert told["energy_active_import"].res is None


def test_the_revision_changes_with_the_content_only() -> None:
    first, same, other = (
        meta(device(point()), ""),
        meta(device(point()), ""),
        meta(device(point(), name="Incomer 2"), ""),
    )
    assert first.rev == same.rev != other.rev
    assert len(first.rev) == 8


def test_internal_points_are_not_announced() -> None:
    assert set(meta(device(point(), point(id="x_w_sf", quantity=None, unit=None, internal=True)), "").points) == {
        "power_active"
    }
