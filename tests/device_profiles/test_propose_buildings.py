"""Two real buildings: how many of their points are named as the people who labelled them did. The figures are printed.

Inputs are names, descriptions, units and object types only; never the truth or what was derived from it. A point counts as right
when its id (without a number) is one of those that propose_truth.yaml has for its truth type.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from device_profiles.propose import propose
from device_profiles.propose_files import read_table
from device_profiles.propose_found import FoundObject, ProposedPoint
from device_profiles.vocabulary import vocabulary
from device_profiles.yamlfile import read_yaml

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "bacnet_points"
TRUTH = read_yaml(Path(__file__).with_name("propose_truth.yaml"), shown="propose_truth.yaml").data
SURE = 0.8

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"no {VECTORS}: the buildings' lists are not in the project"
)


class Score:
    """Counts of one building."""

    def __init__(self, truth: dict[str, list[str]], pairs: Iterable[tuple[str, ProposedPoint]]) -> None:
        self.all = self.mappable = self.right = self.sure = self.sure_right = self.rightly_own = 0
        for label, point in pairs:
            wanted = truth.get(label) or []
            right = re.sub(r"_\d+$", "", point.id) in wanted
            self.all += 1
            self.mappable += bool(wanted)
            self.right += right
            self.rightly_own += not wanted and point.id.startswith("x_")
            if point.confidence >= SURE:
                self.sure += 1
                self.sure_right += right

    def __str__(self) -> str:
        return (
            f"{self.right} of {self.all} right ({self.right / self.all:.1%}); of {self.mappable} that the vocabulary can name "
            f"{self.right / self.mappable:.1%}; {self.sure} ({self.sure / self.all:.1%}) with confidence >= {SURE}, "
            f"of these {self.sure_right / max(1, self.sure):.1%} right; of {self.all - self.mappable} without a word "
            f"{self.rightly_own} left unnamed"
        )


def ebu3b(*, descriptions: bool, labels: bool) -> Score:
    path = VECTORS / "ebu3b_dev505.csv"
    found = read_table(path.read_text(encoding="utf-8"), where=path.name)
    seen = [
        FoundObject(one.kind, f"{one.reference}", one.name, one.description * descriptions, one.unit, one.unit_name,
                    label=one.label * labels)
        for one in found
    ]  # fmt: skip
    points = {point.found.reference: point for point in propose(seen).points}
    with path.open(encoding="utf-8", newline="") as file:
        truth = [row["Ground Truth Point Type"] for row in csv.DictReader(file)]
    return Score(TRUTH["ebu3b"], [(label, points[one.reference]) for label, one in zip(truth, found, strict=True)])


@needs_vectors
def test_a_laboratory_building_with_1832_points(capsys: pytest.CaptureFixture[str]) -> None:
    whole = ebu3b(descriptions=True, labels=True)
    bare = ebu3b(descriptions=False, labels=False)
    with capsys.disabled():
        print(f"\nEBU3B, names and descriptions: {whole}\nEBU3B, object names alone:     {bare}")
    assert whole.all == 1832
    assert whole.right / whole.all > 0.88
    assert whole.sure_right / whole.sure > 0.94
    assert bare.right / bare.all > 0.82


@needs_vectors
def test_a_building_of_bare_names(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither units, descriptions nor object types: what the words alone say."""
    with (VECTORS / "uva_rice_point_map.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["tagset"] != "Unknown"]
    found = [FoundObject("unknown", str(number), row["original label"]) for number, row in enumerate(rows)]
    points = {point.found.reference: point for one in found for point in propose([one]).points}
    score = Score(TRUTH["uva"], [(row["tagset"], points[str(number)]) for number, row in enumerate(rows)])
    with capsys.disabled():
        print(f"\nUVA/Rice, bare names: {score}")
    assert score.right / score.mappable > 0.85


def test_the_truth_names_points_of_the_vocabulary() -> None:
    known = vocabulary().points
    for building in TRUTH.values():
        for label, ids in building.items():
            assert all(point in known for point in ids), label
