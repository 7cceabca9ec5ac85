"""Loads the closed vocabulary: which quantities, points and classes exist.

Everything that names a point or a class asks here. Ids that begin with `x_` are a maker's own and outside of it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from .yamlfile import read_yaml

MetaType = Literal["num", "bool", "enum", "text"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One kind of number: its one unit, the change worth a message, and what any device can say."""

    id: str
    unit: str
    deadband: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PointDef:
    """One point of the vocabulary. `quantity` and `unit` are None for bool, enum and text."""

    id: str
    stem: str
    type: MetaType
    quantity: str | None = None
    unit: str | None = None
    counter: bool = False
    brick: str | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All of it, read-only."""

    quantities: Mapping[str, Quantity]
    points: Mapping[str, PointDef]
    classes: Mapping[str, tuple[str, ...]]
    """Class to its systems, the usual one first."""

    def point(self, point_id: str) -> PointDef | None:
        """What the vocabulary says of this id, or None."""
        return self.points.get(point_id)

    def quantity_of(self, point_id: str) -> Quantity | None:
        """The quantity of a point of the vocabulary, None for other points and other types."""
        known = self.points.get(point_id)
        return self.quantities[known.quantity] if known and known.quantity else None

    def suggest(self, point_id: str) -> str | None:
        """The id that someone probably meant."""
        close = difflib.get_close_matches(point_id, self.points, n=1)
        return close[0] if close else None


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary of this version."""
    return _load(Path(__file__).with_name("vocabulary.yaml"))


def _load(path: Path) -> Vocabulary:
    data = read_yaml(path, shown=path.name).data
    groups = {name: tuple(_expand(entry)) for name, entry in data["suffixes"].items()}
    quantities = {
        name: Quantity(name, row["unit"], float(row["deadband"]), float(row["range"][0]), float(row["range"][1]))
        for name, row in data["quantities"].items()
    }
    points: dict[str, PointDef] = {}
    for stem, row in data["points"].items():
        for suffix in _suffixes(row, groups):
            point_id = f"{stem}_{suffix}" if suffix else stem
            if point_id in points:
                raise ValueError(f"{path.name}: {point_id} comes of both {points[point_id].stem} and {stem}")
            points[point_id] = _point(point_id, stem, row, quantities)
    classes = {name: tuple(systems) for name, systems in data["classes"].items()}
    return Vocabulary(MappingProxyType(quantities), MappingProxyType(points), MappingProxyType(classes))


def _expand(entry: list[str] | str) -> list[str]:
    """`[l1, l2]` as it is; `1..32` and `h2..h50` counted out."""
    if isinstance(entry, list):
        return entry
    match = re.fullmatch(r"([a-z]*)(\d+)\.\.\1(\d+)", entry)
    if match is None:
        raise ValueError(f"suffix group {entry!r} is neither a list nor a range")
    return [f"{match[1]}{n}" for n in range(int(match[2]), int(match[3]) + 1)]


def _suffixes(row: dict[str, Any], groups: dict[str, tuple[str, ...]]) -> list[str]:
    if "pairs" in row:
        first, second = row["pairs"]
        return [f"{a}_{b}" for a in groups[first] for b in groups[second]]
    return ["", *(suffix for group in row.get("with", ()) for suffix in groups[group])]


def _point(point_id: str, stem: str, row: dict[str, Any], quantities: dict[str, Quantity]) -> PointDef:
    quantity = row.get("quantity")
    return PointDef(
        id=point_id,
        stem=stem,
        type=row.get("type", "num"),
        quantity=quantity,
        unit=quantities[quantity].unit if quantity else None,
        counter=bool(row.get("counter", False)),
        brick=row.get("brick"),
    )
