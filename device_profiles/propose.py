"""Proposes what the objects of a device are: points of the vocabulary with a confidence and a reason, for a person to accept.

Pure: discovery gives the objects (`drivers`, an EDE file, a table), `propose_yaml` writes the profile. The method is general
(words of names, units, object types, equipment); no building's own labels are in it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count

from .propose_equipment import class_of, context_of, own_words, split
from .propose_found import Equipment, FoundDevice, FoundObject, Proposal, ProposedPoint
from .propose_match import Evidence, Match, counted_id, evidence, matches, value_type
from .units import UNITS
from .vocabulary import vocabulary

KNOWN = 0.5
"""From this score on an object is called by the vocabulary's name; below, it gets an `x_` of its own."""
SURE_CLASS = 0.5
"""From this confidence on the class of a group speaks for words that its names leave out."""
UNSAID = 0.75
"""The most confidence in a set-point that no word calls one: controllers keep readings in values too."""


def propose(objects: Sequence[FoundObject], *, device: FoundDevice | None = None) -> Proposal:
    """What each object of one device probably is. Never fails: what nobody can tell has a low confidence and says so."""
    held = [found for found in objects if value_type(found) is not None]
    skipped = tuple(found for found in objects if value_type(found) is None)
    groups: dict[str, list[tuple[FoundObject, str]]] = defaultdict(list)
    for found, (prefix, leaf) in zip(held, split([found.name for found in held]), strict=True):
        groups[prefix].append((found, leaf))
    whose = device or FoundDevice()
    equipment = tuple(_equipment(prefix, members, whose) for prefix, members in groups.items())
    return Proposal(whose, equipment, skipped)


def _equipment(prefix: str, members: Sequence[tuple[FoundObject, str]], device: FoundDevice) -> Equipment:
    """One group: its points once without and once with what its class says."""
    first = [_best(found, leaf, prefix) for found, leaf in members]
    around = 1.5 if prefix else 3.0
    texts = [(prefix, 3.0), *((text, around) for text in (device.name, device.model, device.description))]
    texts += [(text, 3.0) for text in _label_stems([found.label for found, _ in members])]
    cls, confidence, reason = class_of(texts, [match.point.id for match in first if match and match.score >= KNOWN])
    speaks = cls if confidence >= SURE_CLASS else None
    points = [_point(found, leaf, prefix, cls, context_of(prefix, speaks)) for found, leaf in members]
    return Equipment(
        _slug(prefix) or _slug(device.name) or cls, cls, prefix, tuple(_unique(points)), confidence, reason
    )


def _label_stems(labels: Sequence[str]) -> list[str]:
    """The beginning that the people's own names of a group share."""
    named = [label for label in labels if label]
    if not named:
        return []
    low, high = min(named), max(named)
    same = next((at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), len(low))
    return [low[:same]]


def _best(found: FoundObject, leaf: str, prefix: str) -> Match | None:
    ranked = _ranked(evidence(found, leaf, context_of(prefix, None), own_words(prefix)))
    return ranked[0] if ranked else None


@lru_cache(maxsize=8192)
def _ranked(seen: Evidence) -> tuple[Match, ...]:
    return tuple(matches(seen))


def _point(found: FoundObject, leaf: str, prefix: str, cls: str, context: frozenset[str]) -> ProposedPoint:
    seen = evidence(found, leaf, context, own_words(prefix))
    ranked = _ranked(seen)
    if not ranked or ranked[0].score < KNOWN:
        return _own(found, leaf, prefix, cls, seen, ranked)
    best = ranked[0]
    point_id = counted_id(best.point, (leaf, found.description) if found.description else (leaf,))
    return ProposedPoint(
        found,
        point_id,
        best.point.type,
        best.point.quantity,
        _profile_unit(found.unit, best.point.unit),
        best.point.brick,
        confidence(ranked),
        reason(found, seen, best),
        leaf,
        prefix,
        cls,
        ranked[1].point.id if len(ranked) > 1 else None,
    )


def confidence(ranked: Sequence[Match]) -> float:
    """How sure the first of the matches is: its score, less where the second is near or nothing says that it is a set-point."""
    lead = ranked[0].score - (ranked[1].score if len(ranked) > 1 else 0.0)
    most = UNSAID if "setpoint" in ranked[0].implied else 0.99
    return round(min(most, ranked[0].score * (0.85 + 0.15 * min(1.0, lead / 0.2))), 2)


def reason(found: FoundObject, seen: Evidence, match: Match) -> str:
    """In words: `name 'DA-T' + unit [degF] + analog-input: supply air temperature -> Supply_Air_Temperature_Sensor`."""
    spoken = [
        f"name {found.name!r}" if seen.name else "",
        f"description {found.description!r}" if seen.description else "",
    ]
    parts = [part for part in spoken if part] + ([f"unit {found.unit}"] if found.unit else []) + [found.kind]
    order = {word: at for at, word in enumerate(match.point.id.split("_"))}
    says = " ".join(sorted(match.matched, key=lambda word: (order.get(word, len(order)), word)))
    taken = f" (taken as said: {' '.join(match.implied)})" if match.implied else ""
    return f"{' + '.join(parts)}: {says}{taken} -> {match.point.brick or match.point.id}"


def _own(
    found: FoundObject, leaf: str, prefix: str, cls: str, seen: Evidence, ranked: Sequence[Match]
) -> ProposedPoint:
    """A maker's own point, with the quantity that its unit says."""
    quantity = _quantity_of(found.unit) if seen.type in ("num", "any") else None
    why = f"no word of the vocabulary fits {found.name!r}" + (f" ({found.description})" if found.description else "")
    other = ranked[0].point.id if ranked else None
    low = round(0.5 * ranked[0].score, 2) if ranked else 0.1
    point_id = f"x_{_slug(found.description or leaf) or _slug(found.reference)}"[:60].rstrip("_")
    unit = found.unit if quantity and found.unit in UNITS else None
    return ProposedPoint(found, point_id, seen.type, quantity, unit, None, low, why, leaf, prefix, cls, other)


_QUANTITY_OF_KIND = {
    "temperature": "temperature", "ratio": "percentage", "pressure": "pressure", "flow": "flow", "fraction": "gas_fraction",
    "power": "power", "energy": "energy", "time": "duration", "speed": "speed", "volume": "volume", "length": "level",
}  # fmt: skip


def _quantity_of(unit: str | None) -> str:
    """The quantity of a unit; a plain count where there is none."""
    if unit is None or unit not in UNITS or unit == "1":
        return "count"
    kind = UNITS[unit].kind
    known = _QUANTITY_OF_KIND.get(kind)
    return known or next((one.id for one in vocabulary().quantities.values() if UNITS[one.unit].kind == kind), "count")


def _profile_unit(unit: str | None, ours: str | None) -> str | None:
    """The unit for the profile's line: of a difference of temperatures where the device says just degrees."""
    if ours is None or unit is None or unit not in UNITS or UNITS[unit].code == "1":
        return None
    if UNITS[ours].kind == "temperature difference" and UNITS[unit].kind == "temperature":
        return {"[degF]": "[degF]{difference}"}.get(unit, "K{difference}")
    return None if unit == ours else unit


def _unique(points: Sequence[ProposedPoint]) -> list[ProposedPoint]:
    """Every id once in a group: the surest object keeps it, the others become the maker's own."""
    taken: set[str] = set()
    result: dict[int, ProposedPoint] = {}
    for at, point in sorted(enumerate(points), key=lambda pair: -pair[1].confidence):
        if point.id in taken:
            point = _renamed(point, taken)
        taken.add(point.id)
        result[at] = point
    return [result[at] for at in range(len(points))]


def _renamed(point: ProposedPoint, taken: set[str]) -> ProposedPoint:
    stem = f"x_{_slug(point.found.description or point.leaf) or _slug(point.found.reference)}"[:56].rstrip("_")
    fresh = next(name for name in chain([stem], (f"{stem}_{n}" for n in count(2))) if name not in taken)
    quantity = point.quantity or (_quantity_of(point.found.unit) if point.type == "num" else None)
    unit = point.found.unit if point.type == "num" and point.found.unit in UNITS else None
    why = point.reason if point.id.startswith("x_") else f"{point.reason}; a surer object has {point.id} already"
    return ProposedPoint(
        point.found, fresh, point.type, quantity, unit, point.brick, round(0.5 * point.confidence, 2), why,
        point.leaf, point.prefix, point.cls, point.id,
    )  # fmt: skip


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return slug[:48].rstrip("_")
