"""drivers.bacnet.ede: lists of objects as planners write them. No public EDE file is known: one is made of a real building."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_profiles.bacnet import OBJECT_NAMES
from device_profiles.errors import ConfigError
from drivers.bacnet.ede import EdeObject, companion, read_ede, write_ede

BUILDING = Path(__file__).parents[3] / "shared/vectors/bacnet_points/ebu3b_dev505.csv"

OTHER_PROGRAM = (
    "# Proposal_Engineering-Data-Exchange - B.I.G.-EU\nProject_Name;Werk 2\nVERSION_OF_REFERENCEFILE;3\n"
    "TIMESTAMP_OF_LAST_CHANGE;19. Dez 2025\nAUTHOR_OF_LAST_CHANGE;Müller\nVERSION_OF_LAYOUT;2.2\n"
    "#mandatory;mandatory;mandatory;mandatory;mandatory;optional\n"
    "#keyname;device obj.-instance;object-name;object-type;object-instance;description;present-value-default;"
    "min-present-value;max-present-value;commandable;supports COV;hi-limit;lo-limit;state-text-reference;unit-code;"
    "vendor-specific-addres\n"
    "k1;505;AHU1/SA-T;0;12;Zuluft;;-20,5;60;N;Y;;;;62;\n"
    "k2;505;AHU1/FAN;BO;1;Ventilator;;;;Y;Y;;;2;;\n"
    "k3;505;AHU1/MODE;multi-state value;3;Betriebsart;1;1;3;Y;Y;;;1;;\n"
    "k4;505;AHU1/OWN;130;4;;;;;;;;;;300;\n"
)
TEXTS = "#State Text Reference\n#Reference Number;Text 1;Text 2;Text 3\n1;Aus;Ein;Automatik\n2;steht;läuft\n"
UNITS = "#Encoding;Code;Unit Text\nISO 8859-1;300;Hefe/h\n"


def saved(folder: Path, text: str = OTHER_PROGRAM, encoding: str = "cp1252") -> Path:
    path = folder / "Werk2_EDE.csv"
    path.write_text(text, encoding=encoding)
    (folder / "Werk2_StateTexts.csv").write_text(TEXTS, encoding=encoding)
    (folder / "Werk2_Units.csv").write_text(UNITS, encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-8-sig", "utf-16"])
def test_a_file_of_another_program_is_read_with_its_texts_and_units(tmp_path: Path, encoding: str) -> None:
    found = read_ede(saved(tmp_path, encoding=encoding))
    assert (found.project, found.author, found.layout) == ("Werk 2", "Müller", "2.2")
    supply, fan, mode, own = found.objects
    assert (supply.kind, supply.instance, supply.name, supply.unit) == ("analog-input", 12, "AHU1/SA-T", 62)
    assert (supply.minimum, supply.maximum, supply.settable, supply.cov) == (-20.5, 60.0, False, True)
    assert (fan.kind, dict(fan.texts), fan.settable) == ("binary-output", {0: "steht", 1: "läuft"}, True)
    assert dict(mode.texts) == {1: "Aus", 2: "Ein", 3: "Automatik"}
    assert (own.kind, own.unit, own.unit_text, own.settable) == ("130", 300, "Hefe/h", None)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_separators_and_decimal_commas(tmp_path: Path, separator: str) -> None:
    rows = [line.split(";") for line in OTHER_PROGRAM.splitlines()]
    path = tmp_path / "other.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    assert read_ede(path).objects[0].minimum == -20.5


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (";0;12;Zuluft", ";700000;12;Zuluft", "object type '700000' is unknown"),
        (";0;12;Zuluft", ";0;4194303;Zuluft", "object instance '4194303'"),
        ("k1;505", "k1;AHU", "device instance 'AHU'"),
        ("-20,5", "1.234,5", "'1.234,5' is no number"),
        (";62;", ";Grad;", "unit code 'Grad'"),
        ("object-type;", "objekttyp;", "no column object-type"),
        ("#keyname", "#name", "no line of column names"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    path = saved(tmp_path, OTHER_PROGRAM.replace(before, after))
    with pytest.raises(ConfigError) as error:
        read_ede(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_ede(tmp_path / "none.csv")


TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12).map(str.strip)
OBJECTS = st.builds(
    EdeObject,
    device=st.integers(0, 4_194_302),
    kind=st.sampled_from(["analog-input", "analog-value", "multi-state-value", "loop", "512"]),
    instance=st.integers(0, 4_194_302),
    name=TEXT,
    description=TEXT,
    unit=st.none() | st.integers(0, 65535),
    texts=st.lists(st.text("abü; \"'", min_size=1, max_size=5).map(lambda text: f"t{text}t"), max_size=4).map(
        lambda texts: dict(enumerate(texts, 1))
    ),
    minimum=st.none() | st.integers(-1000, 1000).map(lambda n: n / 8),
    settable=st.none() | st.booleans(),
    cov=st.none() | st.booleans(),
    key=st.text("abc123", min_size=1, max_size=8),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(OBJECTS, max_size=6))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, objects: list[EdeObject]) -> None:
    path = tmp_path_factory.mktemp("ede") / "site_EDE.csv"
    write_ede(path, objects, project="site; one")
    found = read_ede(path)
    assert found.objects == tuple(objects)
    assert (found.project, found.layout) == ("site; one", "2.3")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_file_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("ede") / "x.csv"
    path.write_bytes(OTHER_PROGRAM.encode()[:700] + data)
    with contextlib.suppress(ConfigError):
        read_ede(path)


@pytest.mark.skipif(not BUILDING.exists(), reason="the vectors of the real building are not here")
def test_a_real_building_goes_through_a_file(tmp_path: Path) -> None:
    with BUILDING.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    objects = [
        EdeObject(
            device=int(row["BACnet Device ID"]),
            kind=OBJECT_NAMES[int(row["BACnet Object Type"])],
            instance=int(row["BACnet Object ID"]),
            name=row["BACnet Name"].strip(),
            description=row["BACnet Description"].strip(),
            unit=int(row["BACnet Unit"]) if row["BACnet Unit"] else None,
            key=row["Unique Identifier"],
        )
        for row in rows
    ]
    [path] = write_ede(tmp_path / "EBU3B_EDE.csv", objects, project="EBU3B")
    found = read_ede(path)
    assert len(found.of_device(505)) == len(rows) > 1000
    assert found.objects == tuple(objects)
    assert companion(path, "Units").name == "EBU3B_Units.csv"
