"""What a device says of its own points: units, labels, who it is."""

from typing import Any

from device_profiles.reading import Acquisition, Flagged
from device_profiles.schema import Point
from drivers.fake import FakeDevice
from edge_agent.conversion import Converter
from edge_agent.describe import meta
from edge_agent.normalize import Normalizer
from edge_agent.polling.learned import identity_of, learned_point
from tests.edge_agent.poll_world import RTT_S, device, point, world


def said(**units: str) -> dict[str, Any]:
    return {"units": units}


def temperature(**keys: Any) -> Point:
    return point("supply_air_temperature", quantity="temperature", type="f32", **keys)


def test_the_device_s_unit_counts_and_the_profile_s_where_it_says_none() -> None:
    for unit, layout, raw, value in (
        (None, said(supply_air_temperature="[degF]"), 68.0, 20.0),
        ("Cel", said(supply_air_temperature="[degF]"), 68.0, 20.0),
        ("[degF]", None, 68.0, 20.0),
        ("[degF]", said(supply_air_temperature="1"), 68.0, 20.0),
        (None, said(supply_air_temperature="Cel"), 20.5, 20.5),
        (None, said(supply_air_temperature="furlong"), 20.5, 20.5),
    ):
        converter = Converter(temperature(unit=unit), {}, layout)
        assert converter.value(raw) == (value, "")
        lane = converter.lane(raw)
        if lane.low <= raw <= lane.high:
            assert (raw * lane.mul) / lane.div == value


def test_a_unit_of_another_kind_is_a_bad_point_that_is_told_once() -> None:
    normalizer = Normalizer(device("m", [temperature(), point("x_a")]))
    ((name, why),) = normalizer.adopt(said(supply_air_temperature="kW"))
    assert name == "supply_air_temperature"
    assert "kW" in why
    assert normalizer.adopt(said(supply_air_temperature="kW")) == []
    out = Acquisition("m", 0)
    normalizer.take(normalizer.prepare(["supply_air_temperature", "x_a"]), [20.5, 1], 0, out)
    assert out.flagged == [Flagged("supply_air_temperature", None, "BadConfigurationError")]
    assert out.good == {"x_a": 1.0}
    assert normalizer.adopt(said(supply_air_temperature="K")) == []


def test_labels_and_a_unit_that_nobody_else_has_come_from_the_device() -> None:
    points = [point("x_mode"), point("x_named", labels={1: "on"}), point("x_free")]
    layout = {"labels": {"x_mode": {"1": "off", "2": "heat"}, "x_named": {"1": "an"}}, "units": {"x_free": "kPa"}}
    before, after = meta(device("m", points), ""), meta(device("m", points), "", layout)
    assert (before.points["x_mode"].type, before.points["x_mode"].labels) == ("num", None)
    assert (after.points["x_mode"].type, after.points["x_mode"].labels) == ("enum", {"1": "off", "2": "heat"})
    assert after.points["x_named"].labels == {"1": "on"}
    assert after.points["x_free"].unit == "kPa"
    assert before.rev != after.rev
    assert Converter(points[0], {}, layout).value(2) == (2, "")
    assert Converter(points[0], {}, layout).value(3) == (3, "UncertainEngineeringUnitsExceeded")


def test_a_serial_number_that_the_configuration_lacks() -> None:
    layout = {"identity": {"vendor": "Acme", "serial": "77", "firmware": "2"}}
    assert identity_of(layout) == {"vendor": "Acme", "serial": "77"}
    assert meta(device("m", []), "", layout).serial == "77"
    assert meta(device("m", [], serial="12"), "", layout).serial == "12"


def test_a_layout_of_another_version_says_nothing() -> None:
    assert learned_point(point("x_a"), {"models": {}}).point == point("x_a")
    assert identity_of({"identity": "?"}) == {}


async def test_another_device_at_the_address_is_an_event_and_its_counters_know() -> None:
    first = {"identity": {"vendor": "Acme", "model": "A1", "serial": "1"}}
    fake = FakeDevice({"x_a": 1}, delay_s=RTT_S, layout=first)
    async with world([device("m", [point("x_a")])], fakes={1: fake}) as it:
        await it.clock.advance(5)
        assert it.sink.kept["identity"]["m"] == first["identity"]
        assert it.sink.named("device.identity_changed") == []
        fake.news = {"identity": {"vendor": "Acme", "serial": "2", "firmware": "9"}}
        await it.clock.advance(30)
        ((name, data),) = it.sink.named("device.identity_changed")
        assert (name, data) == ("m", {"before": "Acme A1 1", "after": "Acme 2"})
        assert it.sink.layouts[-1] == ("m", {"identity": {"vendor": "Acme", "serial": "2", "firmware": "9"}})
        fake.news = {"identity": {"vendor": "Acme", "serial": "2", "firmware": "10"}}
        await it.clock.advance(30)
        assert len(it.sink.named("device.identity_changed")) == 1
