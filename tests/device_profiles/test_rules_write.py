"""device_profiles.rules_write: a write that cannot be done, checked or undone as the profile says is refused on loading."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.lint import lint_paths

GOOD = """profile: maker-v1
version: 1
class: vfd
system: energy
products: [Maker V1]
protocol: modbus
points:
  - {id: speed_reference, reg: 1, access: rw, write: {min: 0, max: 100, step: 20, hold_max: 600}, label: REF}
  - {id: start_command, reg: 2, bits: 0, access: rw, write: {readback: running, function: single}, label: RUN}
  - {id: mode, reg: 4, labels: {0: "off", 1: auto}, access: rw, write: {release: auto}, label: MODE}
  - {id: running, reg: 3, bits: 0, label: RUNNING}
  - {id: x_limit, quantity: current, type: f32, reg: 6, min: 0, max: 50, access: rw, label: LIMIT}
  - {id: fault_code, reg: 9, access: w, write: {min: 0, max: 9, interlocks: [{point: running, equals: false}]}, label: RESET}
source: {title: V1, url: "https://example.org/v1"}
"""


def found_in(folder: Path, text: str) -> list[str]:
    path = folder / "maker-v1.yaml"
    path.write_text(text)
    return [str(finding) for finding in lint_paths([path])]


def test_a_profile_that_can_be_written_as_it_says(tmp_path: Path) -> None:
    assert found_in(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("step: 20", "function: multiple, priority: 10", 8, "priority 10 where Modbus has none"),
        ("step: 20", "release: 120", 8, "release 120 is outside its own limits"),
        ("step: 20", "release: slow", 8, "'slow' is no value of speed_reference"),
        ("step: 20", "idempotent: false", 8, "a pulse is not held"),
        ("reg: 1,", "parts: [{reg: 1, scale: 1}], table: holding,", 8, "is a sum of 1 registers"),
        ("readback: running", "readback: runing", 9, "'runing' is no point. did you mean 'running'?"),
        ("readback: running", "readback: fault_code", 9, "fault_code is not read"),
        ("release: auto", "release: atuo", 10, "no label 'atuo'. did you mean 'auto'?"),
        ("release: auto", "step: 1", 10, "mode is no number and has step 1"),
        ("type: f32, reg: 6, min: 0, max: 50, access: rw", "type: f32, reg: 6, min: 0, max: 50, access: rw, write: {min: -1}",
         12, "min -1 is below the point's own 0"),
        ("type: f32, reg: 6, min: 0, max: 50, access: rw", "type: f32, reg: 6, min: 0, max: 50, access: rw, write: {max: 51}",
         12, "max 51 is above the point's own 50"),
        ("max: 50, access: rw", "max: 50, access: rw, write: {function: single}", 12, "function 6 writes one register"),
        ("min: 0, max: 50,", "", 12, "x_limit can be written without a min"),
        ("max: 9,", "max: 9, step: 1,", 13, "a step needs the present value, and the point is not read"),
        ("max: 9,", "max: 9, hold_max: 60,", 13, "what stood before a hold cannot be read"),
        ("point: running", "point: rnning", 13, "'rnning' is no point"),
        ("point: running", "point: fault_code", 13, "fault_code is not read"),
        ("{point: running, equals: false}", "{point: mode, equals: hand}", 13, "mode has no label 'hand'"),
        ("source:", "operations: [{id: reset, call: {}}]\nsource:", 14, "give either coil or reg"),
    ],
)  # fmt: skip
def test_each_rule_finds_its_case(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in GOOD
    found = found_in(tmp_path, GOOD.replace(old, new))
    assert any(said in text and f"maker-v1.yaml:{line}" in text for text in found), found


def test_an_interlock_on_another_device_is_the_sites_business(tmp_path: Path) -> None:
    assert found_in(tmp_path, GOOD.replace("point: running,", "point: fan-2/running,")) == []
