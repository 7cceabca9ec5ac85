"""Finds the pieces of equipment behind one device: names that begin alike, and the class that each group of them is.

A supervisory controller holds a hundred terminal boxes whose objects differ in a prefix only. Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from .propose_names import dictionary, tokens

_SEPARATORS = re.compile(r"[\s._:/\\'|-]+")
_ALPHA = re.compile(r"[A-Za-z]+")
_ENOUGH = 64
"""Beyond so many prefixes nothing is more certain."""
_MANY = 24
"""Points of a usual piece of equipment: more of them make a prefix no better."""

LEAST = 3
"""Objects that a piece of equipment has at the least."""
FALLBACK_CLASS = "ahu"
"""The class of a device that nothing tells apart: profiles must name one; confidence 0 says that a person has to choose."""


def split(names: Sequence[str]) -> list[tuple[str, str]]:
    """Every name as (prefix of its equipment, leaf). An empty prefix where the whole device is one piece of equipment.

    A cut is good where many prefixes share the leaf, many leaves share the prefix, and the prefix ends like the name of a piece
    of equipment.
    """
    cuts = {name: [(name[:at], name[at:]) for at in _cuts(name)] for name in set(names)}
    leaves: dict[str, set[str]] = defaultdict(set)
    prefixes: dict[str, set[str]] = defaultdict(set)
    for options in cuts.values():
        for prefix, leaf in options:
            leaves[prefix].add(leaf)
            prefixes[leaf.casefold()].add(prefix)
    best: dict[str, tuple[str, str]] = {}
    for name, options in cuts.items():
        best[name] = max(
            options,
            key=lambda cut: (_goodness(cut, len(prefixes[cut[1].casefold()]), len(leaves[cut[0]])), len(cut[0])),
        )
    sizes = Counter(prefix for prefix, _ in best.values())
    return [_merged_up(best[name], sizes) for name in names]


def _merged_up(cut: tuple[str, str], sizes: Mapping[str, int]) -> tuple[str, str]:
    """Two objects are no equipment: they belong to the group around them, or to the device itself."""
    prefix, leaf = cut
    if not prefix or sizes[prefix] >= LEAST:
        return cut
    around = [outer for outer in sizes if prefix.startswith(outer) and sizes[outer] >= LEAST and outer != prefix]
    outer = max(around, key=len, default="")
    return outer, (prefix + leaf)[len(outer) :]


def _cuts(name: str) -> list[int]:
    return [0, *(match.end() for match in _SEPARATORS.finditer(name) if 0 < match.end() < len(name))][:12]


def _goodness(cut: tuple[str, str], same_leaf: int, siblings: int) -> float:
    prefix, leaf = cut
    shared = math.log2(1 + min(same_leaf, _ENOUGH)) + math.log2(1 + min(siblings, _MANY))
    if not any(any(token.readings) for token in tokens(leaf)):
        shared -= 2.0
    if not prefix:
        return shared
    last = [part for part in _SEPARATORS.split(prefix) if part][-2:]
    named = any(_noun(part) for part in last)
    counted = bool(last) and any(char.isdigit() for char in last[-1])
    return shared + (1.5 if named and counted else 0.5 if counted else 0.25 if named else -0.5)


def _noun(part: str) -> str | None:
    """The class that a piece of a name names: AHU3, CHWP1."""
    match = _ALPHA.match(part)
    word = match[0].lower() if match else ""
    return next((cls for cls, kind in dictionary().equipment.items() if word in kind.nouns), None)


def class_of(texts: Iterable[tuple[str, float]], points: Iterable[str]) -> tuple[str, float, str]:
    """(class, confidence, reason) of a group: `texts` name it, each with its weight; `points` are what its objects may be."""
    votes: defaultdict[str, float] = defaultdict(float)
    reasons: dict[str, list[str]] = defaultdict(list)
    for text, weight in texts:
        for at, part in enumerate(reversed([piece for piece in _SEPARATORS.split(text) if piece][-4:])):
            cls = _noun(part)
            if cls is not None:
                votes[cls] += weight / (1 + 0.5 * at)
                reasons[cls].append(f"named {part}")
    ids = [re.sub(r"_\d+$", "", point) for point in points]
    for cls, kind in dictionary().equipment.items():
        typical = sorted(set(ids) & kind.points)
        if typical:  # one point alone tells little
            share = len(typical) / math.sqrt(len(kind.points) * max(4, len(set(ids))))
            votes[cls] += share * (5.0 if len(typical) == 1 else 10.0)
            reasons[cls].append("has " + ", ".join(typical[:4]) + (" ..." if len(typical) > 4 else ""))
    if not votes:
        return FALLBACK_CLASS, 0.0, "nothing tells its class"
    (cls, most), *rest = sorted(votes.items(), key=lambda vote: -vote[1])
    second = rest[0][1] if rest else 0.0
    return cls, round(min(0.99, most / (most + second + 1.0)), 2), "; ".join(dict.fromkeys(reasons[cls]))


def context_of(prefix: str, cls: str | None) -> frozenset[str]:
    """The words that prefix and class speak for, so that the leaf need not say them."""
    last = " ".join([part for part in _SEPARATORS.split(prefix) if part][-3:])
    words = {word for token in tokens(last) for reading in token.readings[:1] for word in reading}
    kind = dictionary().equipment.get(cls or "")
    return frozenset(words | (kind.implies if kind else frozenset()))


def own_words(prefix: str) -> frozenset[str]:
    """The words of the last piece of a prefix that has letters: SF2 of `AHU1.SF2.`. A drive says how, not what."""
    pieces = [piece for piece in _SEPARATORS.split(prefix) if _ALPHA.search(piece)]
    last = tokens(pieces[-1]) if pieces else ()
    return frozenset(word for token in last for reading in token.readings[:1] for word in reading) - {"drive", "motor"}
