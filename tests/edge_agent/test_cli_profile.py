"""`plantroom profile` for people and for programs: what it prints, what it writes, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_profiles.library import Library
from edge_agent.cli import invoke


def profile(*argv: str) -> int:
    return invoke(["profile", *argv])


def test_list_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("list", "--json") == 0
    rows = {row["profile"]: row for row in json.loads(capsys.readouterr().out)["profiles"]}
    assert rows["eastron-sdm630"]["class"] == "electricity_meter"
    assert rows["eastron-sdm630"]["file"] == "profiles/electricity_meter/eastron-sdm630.yaml"
    assert rows["generic-branch-meter-24"]["devices"] == 24
    assert rows["sunspec-inverter-three-phase"]["points"] == 26  # scale factors are not points to anybody


def test_list_for_people_tells_broken_files_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "maker-m1.yaml").write_text("profile: maker-m1\n")
    assert profile("list", "--dir", str(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "eastron-sdm630" in out
    assert f"{tmp_path}/maker-m1.yaml:1" in err
    assert "version is missing" in err


def test_show_for_people_has_every_point_and_the_datasheets_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("show", "acrel-dtsd1352") == 0
    out = capsys.readouterr().out
    assert "power_reactive           FC3 0x0172 s32  0.001 pt ct kvar  10 s         Total reactive power" in out
    assert (
        "energy_active_import     FC3 0x000a u32  0.01 pt ct kWh    15 min mark  Current forward total active energy"
        in out
    )
    assert "Mind: The ratios" in out
    assert "\x1b" not in out  # no colours into a pipe


@pytest.mark.parametrize(
    ("profile_id", "said"),
    [
        ("sunspec-inverter-three-phase", "model 101 +14 s16"),
        ("abb-acs355", "FC3 0x008e 0x008f u16  86400+2 s"),
        ("abb-acs355", "FC3 0x0003 bit 3"),
        ("carlo-gavazzi-em24", "FC4 0x0028 s32 CDAB"),
        ("waveshare-relay-8ch-d", "FC1 0x0007 bool"),
        ("generic-branch-meter-24", "24 devices, 8 registers apart: current"),
        ("socomec-diris", "option energies: c700, c650 (default c700)"),
    ],
)
def test_show_tells_where_each_oddity_is(profile_id: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("show", profile_id) == 0
    assert said in capsys.readouterr().out


def test_show_for_programs_is_the_filled_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("show", "eastron-sdm630", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    first = document["points"][0]
    assert (first["id"], first["unit"], first["poll"], first["address"]) == (
        "voltage_l1",
        "V",
        10,
        {"table": "input", "reg": 0},
    )


def test_show_of_nothing_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("show", "eastron-sdm63") == 1
    assert "did you mean 'eastron-sdm630'?" in capsys.readouterr().err
    assert profile("show") == 2


def test_lint_of_the_shipped_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("lint") == 0
    assert capsys.readouterr().out == ""
    assert profile("lint", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


def test_lint_of_a_file_with_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "maker-m1.yaml"
    path.write_text("profile: maker-m1\nversion: one\n")
    assert profile("lint", str(path)) == 1
    assert f"{path}:2 version: 'one' is no whole number" in capsys.readouterr().out
    assert profile("lint", str(path), "--json") == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert {"where", "what", "next_step"} == set(findings[0])


ANSWERS = ("--class", "electricity_meter", "--maker", "Öko & Co", "--model", 'M 1 "X" [b]')


def test_new_writes_a_profile_that_lints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("new", *ANSWERS, "--dir", str(tmp_path)) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == tmp_path / "ko-co-m-1-x-b.yaml"
    assert profile("lint", str(path)) == 0
    made = Library([tmp_path]).get("ko-co-m-1-x-b")
    assert (made.class_, made.system, made.products) == ("electricity_meter", "energy", ('Öko & Co M 1 "X" [b]',))
    sample = path.read_text().replace("points: []", "points:").replace("#  - {", "  - {")
    path.write_text(sample)
    assert profile("lint", str(path)) == 0, "the sample lines are right"


def test_new_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile("new", *ANSWERS, "--dir", str(tmp_path)) == 0
    before = (tmp_path / "ko-co-m-1-x-b.yaml").read_text()
    assert profile("new", *ANSWERS, "--dir", str(tmp_path)) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "ko-co-m-1-x-b.yaml").read_text() == before
    assert profile("new", *ANSWERS, "--dir", str(tmp_path / "none")) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--class": "elec"}, "'elec' is no class"),
        ({"--system": "rooms"}, "has no electricity_meter"),
        ({"--protocol": "smoke"}, "for modbus only"),
        ({"--maker": "§", "--model": "§"}, "neither letter nor digit"),
    ],
)
def test_new_refuses_what_it_cannot_name(
    tmp_path: Path, change: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"--class": "electricity_meter", "--maker": "A", "--model": "B", "--dir": str(tmp_path)} | change
    assert profile("new", *(part for pair in answers.items() for part in pair)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_new_with_a_source_needs_no_excuse(tmp_path: Path) -> None:
    source = ("--source", "M1 register list", "--url", "https://example.org/m1")
    assert profile("new", *ANSWERS, *source, "--dir", str(tmp_path)) == 0
    made = Library([tmp_path]).get("ko-co-m-1-x-b")
    assert (made.source.title, made.source.url) == ("M1 register list", "https://example.org/m1")
