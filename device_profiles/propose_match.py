"""Scores the vocabulary's points for one object: by the words of its names, its unit, its type and the equipment it belongs to.

The score is a weighted overlap of words (as in text retrieval), times what unit and object type leave of it. Pure.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from .propose_found import FoundObject
from .propose_names import Reading, Token, dictionary, numbers, tokens
from .units import UNITS
from .vocabulary import PointDef, vocabulary

MISSING = 0.8
"""What a word of the id that nothing speaks for costs, against one that is there."""
EXTRA = 0.55
"""What a word of the object that the id does not have costs."""
ALONE = 0.93
"""What the score of one text alone, name or description, is worth against that of both."""
UNUSUAL = 0.1
"""What taking a token's second reading instead of its first costs."""
UNUSED = 0.3
"""What a word that the prefix ends with costs where the id does not have it."""
FROM_PREFIX = 0.95
FROM_CONTEXT = 0.75
"""How far equipment, prefix, unit and object type speak for a word that the name leaves out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One wording of one point of the vocabulary."""

    point: PointDef
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Match:
    """A point that an object may be."""

    point: PointDef
    score: float
    matched: tuple[str, ...]
    implied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one object before the vocabulary is asked."""

    type: str
    """num, bool, enum, text or any."""
    direction: str
    """in, out, value or unknown."""
    unit: str | None
    name: tuple[Token, ...]
    description: tuple[Token, ...]
    context: frozenset[str]
    """Words of the prefix and of the equipment."""
    own: frozenset[str]
    """Those of them that the prefix ends with: `supply fan` of AHU1.SF2."""


_TYPES = {
    "analog": "num", "large": "num", "accumulator": "num", "pulse": "num", "averaging": "num", "loop": "num",
    "integer": "num", "positive": "num", "lighting": "num", "binary": "bool", "multi": "enum", "characterstring": "text",
}  # fmt: skip


def value_type(found: FoundObject) -> str | None:
    """num, bool, enum or text; `any` for an object of unknown type, None for one without a value to read."""
    if found.kind == "unknown":
        return "any"
    if found.kind == "opcua":
        kinds = {bool: "bool", str: "text", int: "num", float: "num"}
        return "enum" if found.states and not isinstance(found.value, bool) else kinds.get(type(found.value), "num")
    return _TYPES.get(found.kind.partition("-")[0])


def direction(found: FoundObject) -> str:
    """Whether the object measures (in), drives (out), or is a value inside of the controller; else unknown."""
    if found.kind.endswith("-input") or found.kind in ("accumulator", "pulse-converter", "averaging"):
        return "in"
    if found.kind.endswith("-output") or found.kind == "loop":
        return "out"
    if found.kind == "opcua":
        return "out" if found.writable else "in"
    return "unknown" if found.kind == "unknown" else "value"


def evidence(found: FoundObject, leaf: str, context: Iterable[str], own: Iterable[str] = ()) -> Evidence:
    """Everything the matcher needs of an object of which `leaf` is the name without its prefix."""
    return Evidence(
        type=value_type(found) or "num",
        direction=direction(found),
        unit=found.unit,
        name=tokens(leaf),
        description=tokens(found.description),
        context=frozenset(context) | _of_unit(found),
        own=frozenset(own),
    )


def matches(seen: Evidence) -> list[Match]:
    """The points of the vocabulary that it may be, the best first; at most five, each point once."""
    best: dict[str, Match] = {}
    for candidate in _candidates_for(seen):
        factor = _unit_factor(seen, candidate.point) * _direction_factor(seen, candidate.point)
        if factor == 0:
            continue
        match = _scored(seen, candidate, factor)
        if match.score > 0.25 and (candidate.point.id not in best or best[candidate.point.id].score < match.score):
            best[candidate.point.id] = match
    return sorted(best.values(), key=lambda match: (-match.score, len(match.point.id), match.point.id))[:5]


def _scored(seen: Evidence, candidate: Candidate, factor: float) -> Match:
    """Both texts together, or the better of the two alone for slightly less: one of them is often a slip or says nothing."""
    both = _overlap((*seen.name, *seen.description), candidate, seen)
    options = [(both[0], both)]
    if seen.name and seen.description and both[0] < ALONE:
        alone = [_overlap(part, candidate, seen) for part in (seen.name, seen.description)]
        options += [(ALONE * result[0], result) for result in alone]
    score, (_, matched, implied) = max(options, key=lambda option: option[0])
    return Match(candidate.point, score * factor, matched, implied)


def _overlap(
    texts: Sequence[Token], candidate: Candidate, seen: Evidence
) -> tuple[float, tuple[str, ...], tuple[str, ...]]:
    weight, words = _weight, candidate.words
    context = seen.context
    matched: set[str] = set()
    extra: dict[str, float] = {}
    for token in texts:
        if not token.readings:
            extra[token.text] = 0.5
            continue
        at, reading = 0, token.readings[0]
        if len(token.readings) > 1:
            at, reading = max(enumerate(token.readings), key=lambda pair: _gain(pair[1], words, pair[0]))
            if at:
                extra[f"not {token.text}"] = UNUSUAL * at
        for word in reading:
            if word in words:
                matched.add(word)
            else:
                extra[word] = weight(word) * (0.25 if word in context else 1.0)
    if not matched:
        return 0.0, (), ()
    role = _ROLE_WORDS.get((seen.type, seen.direction), frozenset())
    implied = {word for word in words - matched if word in context or word in role}
    for word in seen.own - words - extra.keys():
        extra[word] = UNUSED * weight(word)
    taken = sum(weight(word) * (FROM_PREFIX if word in seen.own else FROM_CONTEXT) for word in implied)
    have = sum(map(weight, matched)) + taken
    missing = sum(map(weight, words - matched - implied)) + 0.5 * (sum(map(weight, implied)) - taken)
    total = have + MISSING * missing + EXTRA * sum(extra.values())
    return have / total, tuple(sorted(matched)), tuple(sorted(implied))


def _gain(reading: Reading, words: frozenset[str], at: int) -> float:
    """How well a reading fits the candidate; the usual reading first where both fit alike."""
    gain = -0.25 * at
    for word in reading:
        gain += _weight(word) * (1.0 if word in words else -EXTRA)
    return gain


_ROLE_WORDS = {
    ("bool", "in"): frozenset({"running", "status", "active", "on", "off"}),
    ("bool", "out"): frozenset({"command", "start", "stop", "enable"}),
    ("bool", "value"): frozenset({"status"}),
    ("num", "out"): frozenset({"command", "output"}),
    ("num", "value"): frozenset({"setpoint"}),
    ("enum", "in"): frozenset({"mode", "status"}),
    ("enum", "out"): frozenset({"mode", "command"}),
    ("enum", "value"): frozenset({"mode", "status", "command"}),
}
"""Words that an object's type says when its name does not."""


def _of_unit(found: FoundObject) -> frozenset[str]:
    """The words that a unit says: percent relative humidity is humidity, cubic feet a minute are air flow."""
    unit = found.unit
    if "humidity" in found.unit_name:
        return frozenset({"humidity"})
    if unit is None or unit not in UNITS:
        return frozenset()
    if unit in _UNIT_WORDS:
        return frozenset(_UNIT_WORDS[unit].split())
    kind = UNITS[unit].kind
    return frozenset(_KIND_WORDS.get(kind, kind).split())


_UNIT_WORDS = {
    "[ft_i]3/min": "air flow",
    "[gal_us]/min": "water flow",
    "Pa": "air pressure",
    "[in_i'H2O]": "air pressure",
}
_KIND_WORDS = {"fraction": "co2", "ratio": "", "temperature difference": "temperature difference", "rotation": "speed"}


def _unit_factor(seen: Evidence, point: PointDef) -> float:
    """0 where the unit rules the point out, 1 where it is just right."""
    if seen.type not in ("num", "any") or point.unit is None:
        return 1.0
    ours, theirs = UNITS[point.unit], UNITS.get(seen.unit or "")
    if seen.type == "any" and theirs is None:
        return 1.0
    if theirs is None or theirs.code == "1":
        return 0.95 if ours.kind == "ratio" else 0.85
    if ours.kind == "ratio":
        wants_percent = ours.code == "%"
        return 0.0 if theirs.kind != "ratio" else 1.0 if wants_percent == (theirs.code == "%") else 0.6
    if ours.kind == "temperature difference" and theirs.kind == "temperature":
        return 0.97
    if ours.kind != theirs.kind:
        return 0.0
    airy = {"pressure": {"Pa", "[in_i'H2O]", "mm[H2O]"}, "flow": {"[ft_i]3/min", "m3/s"}}.get(ours.kind)
    if airy and point.quantity in ("air_pressure", "air_flow", "pressure", "flow"):
        is_air = point.quantity.startswith("air")
        if theirs.code in airy and not is_air:
            return 0.8
        if theirs.code in ("[psi]", "bar", "MPa", "[gal_us]/min") and is_air:
            return 0.7
    return 1.0


def _direction_factor(seen: Evidence, point: PointDef) -> float:
    """What is measured is no set-point and what is driven no reading; softly, since gateways map values as they like."""
    role = _role(point)
    if seen.direction == "in":
        return {"command": 0.82, "setpoint": 0.93}.get(role, 1.0)
    if seen.direction == "out":
        return {"sensor": 0.9, "status": 0.88, "alarm": 0.85}.get(role, 1.0)
    return 1.0


@cache
def _role(point: PointDef) -> str:
    """command, setpoint, status, alarm or sensor, from the Brick class and the id."""
    last = (point.brick or "").rpartition("_")[2].lower()
    if last in ("command", "status", "alarm"):
        return last
    if last in ("setpoint", "limit", "parameter") or "setpoint" in point.id:
        return "setpoint"
    return "sensor"


@cache
def _index() -> tuple[tuple[Candidate, ...], Mapping[str, tuple[int, ...]], Mapping[str, float]]:
    """All candidates, the candidates that have a word, and each word's weight (the rarer the heavier)."""
    aliases = dictionary().aliases
    stems = [point for point in vocabulary().points.values() if point.id == point.stem]
    candidates = [
        Candidate(point, frozenset(wording))
        for point in stems
        for wording in (point.id.split("_"), *aliases.get(point.id, ()))
    ]
    by_word: dict[str, list[int]] = defaultdict(list)
    for at, candidate in enumerate(candidates):
        for word in candidate.words:
            by_word[word].append(at)
    frequency = Counter(word for point in stems for word in set(point.id.split("_")))
    rarity = {word: min(2.2, max(0.9, math.log(len(stems) / count) / 2)) for word, count in frequency.items()}
    return tuple(candidates), {word: tuple(ats) for word, ats in by_word.items()}, {**rarity, **dictionary().weights}


@cache
def _weight(word: str) -> float:
    return _index()[2].get(word, 1.2)


def _candidates_for(seen: Evidence) -> list[Candidate]:
    """Those of the object's type that share a word with its texts, and most of their own with everything that is known."""
    candidates, by_word, _ = _index()
    words = {word for token in (*seen.name, *seen.description) for reading in token.readings for word in reading}
    known = words | seen.context | _ROLE_WORDS.get((seen.type, seen.direction), frozenset())
    found = {at for word in words for at in by_word.get(word, ())}
    return [
        candidate
        for candidate in (candidates[at] for at in sorted(found))
        if seen.type in (candidate.point.type, "any") and 2 * len(candidate.words - known) <= len(candidate.words)
    ]


def counted_id(point: PointDef, texts: Sequence[str]) -> str:
    """The id with the one number that the first of the texts has, where the vocabulary counts such points: pump_running_2."""
    for text in texts:
        found = set(numbers(text))
        if len(found) == 1:
            numbered = f"{point.id}_{found.pop()}"
            return numbered if vocabulary().point(numbered) else point.id
    return point.id
