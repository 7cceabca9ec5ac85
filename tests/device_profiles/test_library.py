"""Profiles are found by id, merged, filled in, and refused with file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_profiles.errors import ProfileError
from device_profiles.library import SHIPPED, Library
from device_profiles.schema import Modbus, Profile

SDM630 = (SHIPPED / "electricity_meter" / "eastron-sdm630.yaml").read_text(encoding="utf-8")
SMALL = """profile: maker-m1
version: 1
class: electricity_meter
system: energy
products: [Maker M1]
protocol: modbus
points:
  - {id: voltage_l1, reg: 0, scale: 0.1, label: Voltage}
  - {id: current_l1, reg: 1, scale: 0.01, label: Current}
source: {title: "M1 (source: unverified)"}
"""


def write(folder: Path, text: str, name: str = "maker-m1") -> Library:
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return Library([folder, SHIPPED])


def refusal(folder: Path, text: str, name: str = "maker-m1") -> str:
    with pytest.raises(ProfileError) as caught:
        write(folder, text, name).get(name)
    return str(caught.value)


def test_every_shipped_profile_loads() -> None:
    profiles = Library([SHIPPED]).all()
    assert len(profiles) >= 20
    assert len({profile.profile for profile in profiles}) == len(profiles)


def test_defaults_come_from_vocabulary_and_profile() -> None:
    profile = Library([SHIPPED]).get("eastron-sdm630")
    volts, energy = profile.point("voltage_l1"), profile.point("energy_active_import")
    assert volts.address == Modbus(table="input", reg=0)
    assert (volts.type, volts.quantity, volts.unit, volts.word_order) == ("f32", "voltage", "V", "ABCD")
    assert (volts.poll, volts.heartbeat, volts.deadband, volts.min, volts.max) == (10, 300, 0.5, -500000, 1000)
    assert (energy.counter, energy.align, energy.poll, energy.unit) == (True, 900, None, "kW.h")
    assert profile.point("power_active").unit == "W"
    assert profile.name == "eastron-sdm630@1"


def test_an_internal_point_needs_no_meaning() -> None:
    factor = Library([SHIPPED]).get("sunspec-inverter-three-phase").point("w_sf")
    assert (factor.internal, factor.quantity, factor.poll) == (True, None, None)


def test_directories_of_the_caller_come_first(tmp_path: Path) -> None:
    library = write(tmp_path, SDM630.replace("poll: 10\n", "poll: 77\n"), "eastron-sdm630")
    assert library.get("eastron-sdm630").poll == 77
    assert library.path("eastron-sdm630").parent == tmp_path
    assert Library.default([tmp_path]).get("eastron-sdm630").poll == 77


@pytest.mark.parametrize("name", ["../eastron-sdm630", "/etc/passwd", "a/b", "", "a\0b", "x" * 65, "EASTRON-SDM630"])
def test_an_id_is_no_path(name: str) -> None:
    with pytest.raises(ProfileError, match="is no profile id"):
        Library([SHIPPED]).get(name)


def test_links_hidden_and_odd_files_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "far.yaml").write_text(SMALL)
    inside = tmp_path / "inside"
    (inside / ".git").mkdir(parents=True)
    for name in (".hidden.yaml", "Upper.yaml", "notes.txt", ".git/x.yaml"):
        (inside / name).write_text(SMALL)
    (inside / "linked").symlink_to(outside)
    assert Library([inside]).files == {}


def test_unknown_ids_get_the_nearest_one() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'eastron-sdm63'.*did you mean 'eastron-sdm630'"):
        Library([SHIPPED]).get("eastron-sdm63")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("scale: 0.1, ", "unit: kw, "), 'maker-m1.yaml:8 points[0].unit: "kw" unknown. did you mean "kW"?'),
        (("scale: 0.1, ", "unit: kW, "), "maker-m1.yaml:8 points[0].unit: kW is power, voltage_l1 is voltage in V"),
        (("id: voltage_l1", "id: voltge_l1"), "maker-m1.yaml:8 points[0].id: 'voltge_l1' unknown. did you mean 'voltage_l1'?"),
        (("current_l1", "voltage_l1"), "maker-m1.yaml:9 points[1].id: voltage_l1 is here twice"),
        (("reg: 1", "regg: 1"), "maker-m1.yaml:9 points[1].regg: unknown key 'regg'. did you mean 'reg'?"),
        (("reg: 1", "reg: 70000"), "maker-m1.yaml:9 points[1].reg: 70000 is out of range. give a value of at most 65535"),
        (("scale: 0.1, ", "scale: zero, "), "maker-m1.yaml:8 points[0].scale: 'zero' is no number"),
        (("scale: 0.1, ", "scale: 0, "), "maker-m1.yaml:8 points[0]: scale 0 is not a number other than 0"),
        (("scale: 0.1, ", "type: f23, "), "maker-m1.yaml:8 points[0].type: 'f23' is unknown. did you mean 'f32'?"),
        (("scale: 0.1, ", "min: 5, max: 3, "), "min 5 is above max 3"),
        (("scale: 0.1, ", "bits: 9..4, "), "'9..4' is no bit of a value"),
        (("scale: 0.1, ", "bits: 16, "), "bits 16 are not in a u16"),
        (("scale: 0.1, ", "ratio: [ct], "), "maker-m1.yaml:8 points[0].ratio[0]: 'ct' is no param"),
        (("scale: 0.1, ", "scale_from: {point: v_sf}, "), "points[0].scale_from.point: 'v_sf' is no point"),
        (("scale: 0.1, ", "only: a=b, "), "points[0].only: 'a' is no option"),
        (("scale: 0.1, ", "type: str, "), "type str needs length"),
        (("scale: 0.1, ", "table: coil, type: u16, "), "a coil point cannot be u16"),
        (("scale: 0.1, ", "table: input, access: rw, "), "input registers cannot be written"),
        (("scale: 0.1, ", "parts: [{reg: 1, scale: 1}], "), "the address of a point with parts is its parts"),
        (("reg: 0, ", ""), "an address is missing: give reg, or model and at"),
        (("reg: 0, ", "model: 103, "), "a SunSpec address needs both model and at"),
        (("class: electricity_meter", "class: electricty_meter"), "maker-m1.yaml:3 class: 'electricty_meter' unknown"),
        (("system: energy", "system: rooms"), "maker-m1.yaml:4 system: 'rooms' has no electricity_meter. use energy"),
        (("profile: maker-m1", "profile: maker-m2"), "maker-m1.yaml:1 profile: maker-m2 is in a file named maker-m1.yaml"),
        (("version: 1\n", ""), "version is missing. add version"),
        (("version: 1\n", "version: 1\nversion: 1\n"), "maker-m1.yaml:3: the key 'version' is written twice"),
        (("version: 1\n", "version: !!python/object/apply:os.system [ls]\n"), "maker-m1.yaml:2: the tag"),
        (("version: 1\n", "version: &a 1\n"), "maker-m1.yaml:2: an anchor"),
        (("voltage_l1", "x_thing"), "points[0].quantity: x_thing says neither quantity nor labels. add quantity"),
    ],
)  # fmt: skip
def test_refusals_name_file_line_value_and_next_step(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in SMALL
    told = refusal(tmp_path, SMALL.replace(*change))
    assert said in told
    assert told.startswith(str(tmp_path / "maker-m1.yaml:"))
    assert told.count(". ") >= 1


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, SMALL.replace("voltage_l1", "voltge").replace("scale: 0.01", "unit: amps"))
    assert [line.split(":")[1].split()[0] for line in told.splitlines()] == ["8", "9"]


def test_a_makers_own_point_says_its_quantity(tmp_path: Path) -> None:
    own = SMALL.replace("{id: voltage_l1, reg: 0,", "{id: x_bus, quantity: voltage, unit: mV, reg: 0,")
    point = write(tmp_path, own).get("maker-m1").point("x_bus")
    assert (point.quantity, point.unit, point.counter) == ("voltage", "mV", False)
    assert "x_bus says neither quantity nor labels" in refusal(
        tmp_path, own.replace("quantity: voltage, unit: mV, ", "")
    )


CHILD = """profile: maker-m2
version: 3
extends: maker-m1
without: [current_l1]
products: [Maker M2]
word_order: CDAB
points:
  - {id: voltage_l1, reg: 5}
  - {id: frequency, reg: 9, scale: 0.01, label: Frequency}
"""


def test_extends_merges_points_by_id(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    child = write(tmp_path, CHILD, "maker-m2").get("maker-m2")
    assert [point.id for point in child.points] == ["voltage_l1", "frequency"]
    assert child.point("voltage_l1").address == Modbus(reg=5)
    assert str(child.point("voltage_l1").scale) == "0.1"
    assert (child.version, child.class_, child.products) == (3, "electricity_meter", ("Maker M2",))


def test_findings_of_a_merged_profile_name_the_file_that_has_the_key(tmp_path: Path) -> None:
    write(tmp_path, SMALL.replace("scale: 0.1,", "unit: kw,"))
    assert refusal(tmp_path, CHILD, "maker-m2").startswith(f"{tmp_path}/maker-m1.yaml:8 points[0].unit")
    write(tmp_path, SMALL)
    told = refusal(tmp_path, CHILD.replace("reg: 9", "reg: 9, unit: kw"), "maker-m2")
    assert told.startswith(f"{tmp_path}/maker-m2.yaml:9 points[1].unit")
    assert refusal(tmp_path, CHILD.replace("reg: 5", "type: u17"), "maker-m2").startswith(f"{tmp_path}/maker-m2.yaml:8")


@pytest.mark.parametrize(
    ("extends", "said"),
    [
        ("maker-m2", "cannot be extended"),
        ("maker-m9", "did you mean"),
        ("[a]", "cannot be extended"),
        ("../x", "is no profile id"),
    ],
)
def test_extends_names_another_profile(tmp_path: Path, extends: str, said: str) -> None:
    write(tmp_path, SMALL)
    told = refusal(tmp_path, CHILD.replace("extends: maker-m1", f"extends: {extends}"), "maker-m2")
    assert said in told
    assert told.startswith(f"{tmp_path}/maker-m2.yaml:3 extends")


def test_extends_goes_one_level(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    write(tmp_path, CHILD, "maker-m2")
    grandchild = CHILD.replace("maker-m2", "maker-m3").replace("extends: maker-m1", "extends: maker-m2")
    assert "maker-m2 itself extends 'maker-m1'" in refusal(tmp_path, grandchild, "maker-m3")


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    library = write(tmp_path, SMALL.replace("reg: 1", "reg: -1"))
    results = dict(library.each())
    assert isinstance(results["maker-m1"], ProfileError)
    assert isinstance(results["eastron-sdm630"], Profile)
    with pytest.raises(ProfileError, match="maker-m1"):
        library.all()


def test_a_missing_directory_is_empty(tmp_path: Path) -> None:
    assert Library([tmp_path / "none"]).files == {}


def test_the_schema_for_editors_knows_the_short_keys() -> None:
    schema = Profile.model_json_schema()
    point = schema["$defs"]["Point"]["properties"]
    assert {"reg", "table", "model", "at", "address", "type"} <= point.keys()
    assert "class" in schema["properties"]


KEYS = st.sampled_from([*Profile.model_fields, "class", "id", "reg", "at", "unit", "label", "x", "1"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(
    ["modbus", "voltage_l1", "V", "f32", "energy", "electricity_meter", "maker-m1"]
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=30
)
SHUFFLED: dict[str, Any] = yaml.safe_load(SMALL)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=8), st.booleans())
def test_any_yaml_is_a_profile_or_a_profile_error(tmp_path: Path, tree: dict[str, Any], over: bool) -> None:
    text = yaml.safe_dump({**SHUFFLED, **tree} if over else tree, allow_unicode=True)
    try:
        assert isinstance(write(tmp_path, text).get("maker-m1"), Profile)
    except ProfileError:
        return


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_profile_or_a_profile_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "maker-m1.yaml").write_bytes(content)
    with pytest.raises(ProfileError):
        Library([tmp_path]).get("maker-m1")
