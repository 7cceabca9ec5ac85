"""`plantroom profile propose` and what `profile show` says of BACnet points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from device_profiles.errors import ConfigError
from device_profiles.library import Library
from edge_agent.cli.profile import app

TABLE = (
    "object-name,object-type,object-instance,description,unit-code\nSA-T,AI,1,Supply air temperature,62\nSF-C,BO,1,,\n"
)
EDE = """#Engineering-Data-Exchange - B.I.G.-EU
PROJECT_NAME;x
VERSION_OF_REFERENCEFILE;1
TIMESTAMP_OF_LAST_CHANGE;2026-01-01
AUTHOR_OF_LAST_CHANGE;x
VERSION_OF_LAYOUT;2.3
# keyname;device obj.-instance;object-name;object-type;object-instance;description
a;7;RA-T;0;1;
b;8;MA-T;0;1;
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "objects.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_table_becomes_a_profile_that_loads(table: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["propose", "--csv", str(table), "--name", "AHU 7", "--out", str(tmp_path / "site")]
    )
    assert result.exit_code == 0, result.output
    profile = Library([tmp_path / "site"]).get("ahu-7-ahu")
    assert [point.id for point in profile.points] == ["supply_air_temperature", "supply_fan_command"]
    assert "2 objects, 1 devices, 1 profiles: 2 sure, 0 to look at" in result.stderr
    with pytest.raises(ConfigError, match="is there already"):
        CliRunner().invoke(app, ["propose", "--csv", str(table), "--name", "AHU 7", "--out", str(tmp_path / "site")],
                           catch_exceptions=False)  # fmt: skip


def test_a_document_of_the_proposal() -> None:
    objects = json.dumps([{"kind": "analog-input", "reference": "analog-input:1", "name": "ZN-T", "unit": "Cel"}])
    result = CliRunner().invoke(app, ["propose", "--json", "-", "--as-json"], input=objects)
    (equipment,) = json.loads(result.stdout)["equipment"]
    assert equipment["points"][0]["id"] == "zone_temperature"
    assert equipment["points"][0]["brick"] == "Zone_Air_Temperature_Sensor"


def test_an_ede_file_of_several_devices_needs_one_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(EDE, encoding="utf-8")
    result = CliRunner().invoke(app, ["propose", "--ede", str(path), "--device", "8"])
    assert "id: mixed_air_temperature" in result.stdout
    with pytest.raises(ConfigError, match=r"2 devices\. give --device, one of 7, 8"):
        CliRunner().invoke(app, ["propose", "--ede", str(path)], catch_exceptions=False)


def test_one_list_is_needed(table: Path) -> None:
    assert CliRunner().invoke(app, ["propose"]).exit_code == 2
    assert CliRunner().invoke(app, ["propose", "--csv", str(table), "--json", "-"]).exit_code == 2


def test_bacnet_points_are_shown_by_object_or_name() -> None:
    assert "analog-input:1" in CliRunner().invoke(app, ["show", "generic-bacnet-ahu"]).stdout
    assert '"{prefix}ZN-T"' in CliRunner().invoke(app, ["show", "generic-bacnet-vav-prefixed"]).stdout
