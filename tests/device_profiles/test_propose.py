"""What names, units and types say in the conventions of several makers and public schemes, and what is written of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.errors import ConfigError
from device_profiles.library import Library
from device_profiles.propose import propose
from device_profiles.propose_files import object_kind, read_json, read_table, unit_of
from device_profiles.propose_found import FoundDevice, FoundObject, ProposedPoint
from device_profiles.propose_names import dictionary, numbers, tokens
from device_profiles.propose_yaml import proposed_profiles
from device_profiles.schema import Bacnet, OpcUa, Point
from device_profiles.vocabulary import vocabulary


def one(kind: str, name: str, unit: str | None = None, description: str = "", **more: object) -> ProposedPoint:
    found = FoundObject(kind, f"{kind}:1", name, description, unit, **more)  # type: ignore[arg-type]
    return propose([found]).points[0]


def where(point: Point) -> str | None:
    assert isinstance(point.address, Bacnet | OpcUa)
    return point.address.reference


@pytest.mark.parametrize(
    ("kind", "name", "unit", "point"),
    [
        # separators and short forms of the American makers
        ("analog-input", "ZN-T", "[degF]", "zone_temperature"),
        ("analog-input", "DA-T", "[degF]", "supply_air_temperature"),
        ("analog-input", "OA-H", "%", "outside_air_humidity"),
        ("binary-output", "SF-C", None, "supply_fan_command"),
        ("binary-input", "SF-S", None, "supply_fan_running"),
        ("analog-output", "CLG-O", "%", "cooling_command"),
        ("analog-input", "DA-P", "[in_i'H2O]", "supply_air_pressure"),
        ("analog-value", "EFFCLG-SP", "[degF]", "zone_temperature_cooling_setpoint_effective"),
        # camel case, as in Niagara and Tracer
        ("analog-input", "SpaceTemperatureActive", "Cel", "zone_temperature"),
        ("analog-value", "OccupiedCoolingSetpoint", "Cel", "zone_temperature_cooling_setpoint_occupied"),
        ("analog-input", "DischargeAirTemp", "Cel", "supply_air_temperature"),
        ("binary-input", "SupplyFanStatus", None, "supply_fan_running"),
        ("analog-output", "chilledWaterValveCmd", "%", "cooling_valve_command"),
        ("analog-input", "evapLvgWtrTemp", "Cel", "chilled_water_supply_temperature"),
        ("analog-input", "CondEntWtrTemp", "Cel", "condenser_water_supply_temperature"),
        # words, as in Carrier's, Haystack's and Brick's
        ("analog-input", "Outdoor Air Temperature", "Cel", "outside_air_temperature"),
        ("analog-value", "Unoccupied Heating Setpoint", "[degF]", "zone_temperature_heating_setpoint_unoccupied"),
        ("analog-input", "discharge-air-flow-sensor", "[ft_i]3/min", "supply_air_flow"),
        ("analog-input", "return_air_co2_sensor", "[ppm]", "return_air_co2"),
        ("analog-input", "Hot Water Supply Temp", "Cel", "hot_water_supply_temperature"),
        ("binary-input", "Freezestat", None, "freeze_alarm"),
        # run together
        ("analog-value", "CHWSTSP", "Cel", "chilled_water_supply_temperature_setpoint"),
        ("analog-input", "MIXAIRTEMP", "Cel", "mixed_air_temperature"),
        ("analog-output", "OADMPR", "%", "outside_air_damper_command"),
        # Siemens' terminal equipment, as day and night
        ("analog-value", "DAY CLG STPT", "[degF]", "zone_temperature_cooling_setpoint_occupied"),
        ("analog-value", "CTL FLOW MAX", "[ft_i]3/min", "supply_air_flow_setpoint_max"),
        # misspelt and cut short
        ("analog-input", "Dischrge Air Temprature", "Cel", "supply_air_temperature"),
        ("binary-output", "COMPRES CMD", None, "compressor_command"),
        # Chinese
        ("analog-value", "送风温度设定", "Cel", "supply_air_temperature_setpoint"),
        ("binary-input", "冷冻泵1运行状态", None, "chilled_water_pump_running_1"),
        ("analog-output", "冷水阀调节", "%", "cooling_valve_command"),
        ("analog-output", "新风阀控制", "%", "outside_air_damper_command"),
        ("analog-input", "冷凝器进水温度", "Cel", "condenser_water_supply_temperature"),
        # German and French, with and without their accents
        ("analog-input", "RLT01 Außenlufttemperatur", "Cel", "outside_air_temperature"),
        ("analog-input", "RLT Ablufttemperatur", "Cel", "return_air_temperature"),
        ("binary-input", "Zuluftventilator Störung", None, "supply_fan_fault"),
        ("binary-input", "ZULUFTVENTILATOR BETRIEBSMELDUNG", None, "supply_fan_running"),
        ("analog-output", "Kühlventil Stellsignal", "%", "cooling_valve_command"),
        ("analog-output", "Kuehlventil Stellsignal", "%", "cooling_valve_command"),
        ("analog-value", "Raumtemperatur Sollwert R101", "Cel", "zone_temperature_setpoint"),
        ("analog-input", "CTA Température reprise", "Cel", "return_air_temperature"),
        ("analog-value", "Consigne température soufflage", "Cel", "supply_air_temperature_setpoint"),
        ("analog-output", "CTA Vanne eau glacée", "%", "cooling_valve_command"),
        # lighting, lifts, meters
        ("binary-output", "Lighting Circuit Cmd", None, "lighting_command"),
        ("analog-input", "Illuminance", "lx", "zone_illuminance"),
    ],
)  # fmt: skip
def test_conventions_of_several_makers(kind: str, name: str, unit: str | None, point: str) -> None:
    found = one(kind, name, unit)
    assert found.id == point, found.reason
    assert found.confidence > 0.6


def test_the_unit_decides_between_readings() -> None:
    assert one("analog-input", "RA DP", "Cel").id == "return_air_dew_point"
    assert one("analog-input", "FLT DP", "Pa").id == "filter_pressure_drop"
    assert (
        one("analog-value", "SF SP", "Pa").id != one("analog-value", "ZN SP", "Cel").id == "zone_temperature_setpoint"
    )


def test_a_reason_names_what_was_heard() -> None:
    point = one("analog-input", "DA-T", "[degF]")
    assert point.reason == (
        "name 'DA-T' + unit [degF] + analog-input: supply air temperature -> Supply_Air_Temperature_Sensor"
    )
    assert (point.brick, point.quantity, point.unit) == ("Supply_Air_Temperature_Sensor", "temperature", "[degF]")


def test_what_nobody_can_tell_is_the_makers_own_with_the_quantity_of_its_unit() -> None:
    point = one("analog-value", "QZX 17", "kPa")
    assert (point.id, point.quantity, point.unit) == ("x_qzx_17", "pressure", "kPa")
    assert point.confidence < 0.5
    assert "no word of the vocabulary fits 'QZX 17'" in point.reason


@pytest.mark.parametrize(
    ("kind", "name", "unit"),
    [
        ("analog-value", "Space Temperature Active", "Cel"),  # a reading that a controller keeps in a value
        ("analog-value", "ACTIVE SETPOINT", "Cel"),  # of what, nothing says
        ("analog-value", "TREND INTERVAL", "s"),  # not the integral that it looks like
        ("analog-value", "password", "1"),
    ],
)
def test_what_names_leave_open_is_never_sure(kind: str, name: str, unit: str) -> None:
    found = one(kind, name, unit)
    assert found.confidence < 0.8, found.reason


def test_a_chinese_word_that_nobody_knows_makes_a_name_less_sure() -> None:
    assert one("analog-input", "未知温度", "Cel").confidence < one("analog-input", "温度", "Cel").confidence


def test_a_supervisory_controller_of_boxes_is_one_profile_with_its_devices(tmp_path: Path) -> None:
    leaves = [
        ("analog-input", "ZN-T", "Cel"), ("analog-output", "DPR-O", "%"), ("analog-input", "SA-F", "m3/h"),
        ("multi-state-value", "OCC-MODE", None), ("binary-value", 'odd "name"', None),
    ]  # fmt: skip
    found = [
        FoundObject(kind, f"{kind}:{100 * box + at}", f"NAE7.VAV-{box}.{leaf}", unit=unit,
                    states=("Occupied", "Unoccupied") if kind.startswith("multi") else ())
        for box in range(1, 9)
        for at, (kind, leaf, unit) in enumerate(leaves)
    ]  # fmt: skip
    found.append(FoundObject("schedule", "schedule:1", "NAE7.SCHED"))
    proposal = propose(found, device=FoundDevice(name="NAE7"))
    assert [one.cls for one in proposal.equipment] == ["vav"] * 8
    assert [skipped.name for skipped in proposal.skipped] == ["NAE7.SCHED"]
    (profile,) = proposed_profiles(proposal)
    assert profile.devices[0] == ("nae7-vav-1", "NAE7.VAV-1.")
    (tmp_path / f"{profile.id}.yaml").write_text(profile.text, encoding="utf-8")
    loaded = Library([tmp_path]).get(profile.id)
    points = {point.id: point for point in loaded.points}
    assert where(points["zone_temperature"]) == '"{prefix}ZN-T"'
    assert points["occupancy_mode"].labels == {1: "Occupied", 2: "Unoccupied"}
    assert not any(point.is_writable for point in loaded.points)


def test_one_piece_of_equipment_is_addressed_by_object(tmp_path: Path) -> None:
    found = [
        FoundObject("analog-input", "analog-input:1", "SA-T", unit="Cel"),
        FoundObject("analog-input", "analog-input:2", "RA-T", unit="Cel"),
        FoundObject("analog-input", "analog-input:3", "RA-T 2", unit="Cel"),
        FoundObject("binary-input", "binary-input:1", "SF-S"),
        FoundObject("multi-state-input", "multi-state-input:1", "UNIT MODE"),
    ]
    proposal = propose(found, device=FoundDevice(name="AHU-4", vendor="Some Maker", model="X1"))
    (profile,) = proposed_profiles(proposal)
    (tmp_path / f"{profile.id}.yaml").write_text(profile.text, encoding="utf-8")
    loaded = Library([tmp_path]).get("some-maker-x1-ahu")
    assert {point.id: where(point) for point in loaded.points} == {
        "supply_air_temperature": "analog-input:1",
        "return_air_temperature": "analog-input:2",
        "return_air_temperature_2": "analog-input:3",
        "supply_fan_running": "binary-input:1",
    }
    assert "its state texts are not known, add labels" in profile.text


def test_opc_ua_nodes_are_proposed_like_objects(tmp_path: Path) -> None:
    supply = "Plant/Chiller1/ChilledWaterSupplyTemperature"
    found = [
        FoundObject("opcua", supply, supply.rpartition("/")[2], unit="Cel", value=7.0),
        FoundObject("opcua", "Plant/Chiller1/Running", "Running", value=True),
        FoundObject("opcua", "ns=2;i=7", "ModelName", value="X"),
    ]  # fmt: skip
    (profile,) = proposed_profiles(propose(found, device=FoundDevice(name="Chiller 1", protocol="opcua")))
    (tmp_path / f"{profile.id}.yaml").write_text(profile.text, encoding="utf-8")
    points = {point.id: point for point in Library([tmp_path]).get(profile.id).points}
    assert where(points["chilled_water_supply_temperature"]) == supply
    assert points["running"].type == "bool"


KINDS = ["analog-input", "binary-value", "multi-state-output", "characterstring-value", "unknown", "4711"]


@given(
    st.lists(
        st.builds(
            FoundObject,
            kind=st.sampled_from(KINDS),
            reference=st.just(""),
            name=st.text(max_size=40),
            description=st.text(max_size=40),
            unit=st.sampled_from([None, "Cel", "%", "1", "[degF]", "s", "no unit at all"]),
            states=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        ),
        max_size=12,
    )
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_whatever_a_device_says_something_that_loads_is_proposed(
    tmp_path_factory: pytest.TempPathFactory, found: list[FoundObject]
) -> None:
    found = [replace(one, reference=f"{one.kind}:{at}") for at, one in enumerate(found)]
    proposal = propose(found)
    assert len(proposal.points) + len(proposal.skipped) == len(found)
    assert all(0 <= point.confidence < 1 for point in proposal.points)
    folder = tmp_path_factory.mktemp("p")
    for profile in proposed_profiles(proposal):
        (folder / f"{profile.id}.yaml").write_text(profile.text, encoding="utf-8")
        assert Library([folder]).get(profile.id).protocol == "bacnet"


def test_names_are_taken_apart() -> None:
    assert [token.text for token in tokens("CHWSTSP")] == ["chwst", "sp"]
    assert [token.text for token in tokens("averageSpaceTemp2")] == ["average", "space", "temp"]
    assert [token.text for token in tokens("RA CO2 (ppm)")][:2] == ["ra", "co2"]
    assert numbers("CO2 of AHU-3, PM2.5 in room 12") == (3, 12)
    assert [token.is_known for token in tokens("Zzyzx")] == [False]


def test_the_dictionary_names_points_and_classes_that_there_are() -> None:
    words, known = dictionary(), vocabulary()
    assert not {point for point in words.aliases if known.point(point) is None}
    assert not set(words.equipment) - set(known.classes)
    assert not {point for kind in words.equipment.values() for point in kind.points if known.point(point) is None}


def test_tables_are_read_whatever_their_columns_are_called() -> None:
    text = (
        "object-name;object-type;object-instance;unit-code;description\nSA-T;0;7;62;Supply\nRH;Analog Value;8;29;\n\n"
    )
    first, second = read_table(text)
    assert (first.kind, first.reference, first.unit, first.description) == (
        "analog-input",
        "analog-input:7",
        "Cel",
        "Supply",
    )
    assert (second.kind, second.unit, second.unit_name) == ("analog-value", "%", "percent-relative-humidity")
    with pytest.raises(ConfigError, match="no column of object types or names"):
        read_table("a,b\n1,2\n")
    with pytest.raises(ConfigError, match=r"plan.csv:2: 'gadget' is no BACnet object type"):
        read_table("name,type\nx,gadget\n", where="plan.csv")


def test_json_is_read_and_refused_with_its_place() -> None:
    (found,) = read_json(
        '[{"kind": "AI", "reference": "analog-input:1", "name": "ZN-T", "unit": "°F", "states": ["a"]}]'
    )
    assert (found.kind, found.unit, found.states) == ("analog-input", "[degF]", ("a",))
    for text, said in [
        ("{", "no JSON"),
        ('{"a": 1}', "no list of objects"),
        ('[{"kind": "AI"}]', "object 1: a mapping with 1 keys is no object"),
        ('[{"kind": "AI", "reference": "r", "name": "n", "states": "x"}]', "states are 'x'"),
        ('[{"kind": "AI", "reference": "r", "name": "n", "description": 4}]', "description is 4"),
    ]:
        with pytest.raises(ConfigError, match=said):
            read_json(text)


def test_object_types_and_units_in_every_writing() -> None:
    assert {object_kind(text) for text in ("Analog Input", "AI", "0", "analog-input", "ANALOG_INPUT")} == {
        "analog-input"
    }
    assert object_kind("Multi-State Value") == object_kind("MultiState Value") == "multi-state-value"
    assert object_kind("gadget") is None
    assert unit_of("64") == ("[degF]", "")
    assert unit_of("302") == (None, "")
