"""The shipped catalogue has no findings, and each rule finds what it is for, at the line where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import ProfileError
from device_profiles.library import Library
from device_profiles.lint import lint_all, lint_paths

GOOD = """profile: maker-m1
version: 1
class: electricity_meter
system: energy
products: [Maker M1]
protocol: modbus
params: {ct: {register: {reg: 90}, default: 1}}
points:
  - {id: voltage_l1, reg: 0, scale: 0.1, max: 300, label: Voltage}
  - {id: current_l1, reg: 1, type: s16, ratio: [ct], invalid: [-32768], label: Current}
  - {id: energy_active_import, reg: 2, type: u32, label: Energy}
  - {id: running, reg: 4, bits: 0, label: Bit 0}
  - {id: fault, reg: 4, bits: 1, label: Bit 1}
  - {id: status_word, reg: 4, label: Word}
caveats:
  - {text: Mind the gap., link: "https://example.org/gap"}
source: {title: M1, url: "https://example.org/m1"}
"""


def test_the_shipped_catalogue_is_clean() -> None:
    assert [str(finding) for finding in lint_all()] == []


def test_a_good_profile_has_no_findings(tmp_path: Path) -> None:
    (tmp_path / "maker-m1.yaml").write_text(GOOD)
    assert lint_all(Library([tmp_path])) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        (", label: Voltage", "", 9, "voltage_l1 has no label"),
        ("max: 300", "max: 1e9", 9, "max 1e+09 is out of what voltage can be. stay in -500000 to 500000 V"),
        ("max: 300", "min: -1e9", 9, "min -1e+09 is out of what voltage can be"),
        ("bits: 1, label", "bits: 1, max: 1, label", 13, "fault is no number and has max 1"),
        ("[-32768]", "[0xFFFF]", 10, "65535 cannot come out of a s16"),
        ("[-32768]", "[{low: 5, high: 40000}]", 10, "40000 cannot come out of a s16"),
        ("reg: 2, type: u32", "reg: 2, poll: 10, type: u32", 11, "energy_active_import is read every 10 s and not at marks"),
        ("reg: 2, type: u32", "reg: 2, align: 700, type: u32", 11, "marks every 700 s drift through the day"),
        ("reg: 2, type: u32", "reg: 1, type: u32", 11, "energy_active_import overlaps current_l1 at register 1"),
        ("reg: 4, label: Word", "reg: 3, type: u32, label: Word", 14, "status_word overlaps"),
        ("bits: 1,", "bits: 0,", 13, "fault overlaps running at register 4"),
        ("params:", "limits: {max_registers: 1}\nparams:", 12, "energy_active_import takes 2 registers"),
        ("params:", "limits: {forbidden: [[holding, 3, 9]]}\nparams:", 12, "lies in the forbidden range 3..9"),
        ("ratio: [ct], ", "", 7, "no point uses ct"),
        ("{register: {reg: 90}, default: 1}", "{}", 7, "ct has neither register nor default"),
        (', link: "https://example.org/gap"', "", 16, "caveat 1 has no evidence"),
        (', url: "https://example.org/m1"', "", 17, "'M1' has no url. add url, or write (source: unverified) into the title"),
        ("https://example.org/m1", "ftp://example.org", 17, "is no web address"),
        ("[Maker M1]", "[]", 5, "no product is named"),
        ("scale: 0.1", "unit: kw", 9, '"kw" unknown. did you mean "kW"?'),
    ],
)  # fmt: skip
def test_each_rule_finds_its_case(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "maker-m1.yaml"
    path.write_text(GOOD.replace(old, new))
    found = [str(finding) for finding in lint_paths([path])]
    assert any(said in text and text.startswith(f"{path}:{line}") for text in found), found


def test_points_of_different_options_may_share_registers(tmp_path: Path) -> None:
    text = GOOD.replace("params:", "options: {kind: {values: [a, b], default: a}}\nparams:")
    text = text.replace("label: Voltage", "label: Voltage, only: kind=a")
    text = text.replace("caveats:", "  - {id: voltage_l1, reg: 0, type: f32, only: kind=b, label: V}\ncaveats:")
    (tmp_path / "maker-m1.yaml").write_text(text.replace("reg: 1,", "reg: 40,"))
    assert lint_paths([tmp_path]) == []


def test_paths_are_files_or_directories_of_profiles(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no profile below it"):
        lint_paths([tmp_path])
    assert "there is no such file" in str(lint_paths([tmp_path / "none.yaml"])[0])
