"""Takes a refused block apart: finds what the device refuses by halving, and brings everything else in the same read.

Pure: a generator that yields sub-blocks to ask and is sent the outcome of each. The longest begin of the block that the device
gives is found by halving; the element after it is asked alone: refused, it is bad; answered, the device only does not give both
in one request (a wall in its map, a length it does not tell), and there is to be cut. With n elements and one bad among them
this costs ceil(log2 n) requests, that one, and one for the rest: at most 9 for a block of 120 registers, and that much again
for each further bad one.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from device_profiles.reading import PointFault, Raw

from .block import Block, Element, build_block
from .codec import EXCEPTIONS

HEALED_CODES = frozenset({2, 3, 4})
"""Exceptions by which devices refuse a part of a block: the address, the length, or (some makers) any hole."""
MOST_REQUESTS = 40
"""Requests that one healing may cost; what is unknown after them is asked again at the next read."""
_HOPELESS = 3
"""After so many refused points, and none that was answered, nothing is to be expected of the others."""

Outcome = bytes | int
"""Data of a good reply, or the exception code."""
Healing = Generator[Block, Outcome, "Healed"]


@dataclass(slots=True)
class Healed:
    """What a healing brought: a value or a fault for every point of the block, and what is to be remembered."""

    values: dict[str, Raw | PointFault] = field(default_factory=dict)
    refused: list[tuple[int, int]] = field(default_factory=list)
    """Registers that are refused when asked alone."""
    cuts: list[int] = field(default_factory=list)
    """Registers that can be read, but not in one request with the register before."""


def fault_of(code: int) -> PointFault:
    """The fault of a point whose read ended with this exception."""
    words, status = EXCEPTIONS.get(code, ("not in the standard", "BadCommunicationError"))
    return PointFault(status, f"exception {code} ({words})", later=code in (5, 6))


def heal(block: Block, code: int) -> Healing:
    """Asks parts of a block that was refused with `code` until all of its points are known."""
    run = _Run(block, Healed(), code)
    low, high = 0, len(block.elements)
    length = 0
    while low < high:  # asked together, low .. high-1 are refused
        good, bad = low, high
        while bad - good > 1:
            if run.stopped:
                return run.give_up()
            middle = (good + bad) // 2
            if (yield from run.ask(low, middle)):
                good = middle
            else:
                bad = middle
        if good > low and (yield from run.ask(good, good + 1)):
            run.cut(good)
            before, length = length, run.registers(low, good)
            low = good
            if length == before:
                low = yield from run.ask_in_lengths(low, high, length)
        else:
            run.refuse(good)
            low = good + 1
        if low < high and not run.dead_end and (yield from run.ask(low, high)):
            low = high
        if run.stopped:
            return run.give_up()
    return run.healed if run.succeeded else run.give_up()


@dataclass(slots=True)
class _Run:
    block: Block
    healed: Healed
    code: int
    requests: int = 0
    succeeded: bool = False
    dead_end: bool = False

    def ask(self, begin: int, end: int) -> Generator[Block, Outcome, bool]:
        """Reads elements begin..end-1; True and their values kept when the device answers."""
        elements = self.block.elements[begin:end]
        places = [place for element in elements for place in element.places]
        part = build_block(self.block.table, elements[0].first, elements[-1].last, places, self.block.layout)
        outcome = yield part
        self.requests += 1
        if isinstance(outcome, int):
            self.code = outcome
            self.dead_end = outcome not in HEALED_CODES
            return False
        self.succeeded = True
        self.healed.values.update(zip((place.point.id for place in part.places), part.decode(outcome), strict=True))
        return True

    def ask_in_lengths(self, low: int, high: int, length: int) -> Generator[Block, Outcome, int]:
        """Reads on in pieces of `length` registers, which twice was the most; returns where that ends."""
        while low < high and not self.stopped:
            end = low + 1
            while end < high and self.registers(low, end + 1) <= length:
                end += 1
            if not (yield from self.ask(low, end)):
                break
            if end < high:
                self.cut(end)
            low = end
        return low

    def registers(self, begin: int, end: int) -> int:
        return self.block.elements[end - 1].last - self.block.elements[begin].first + 1

    def cut(self, index: int) -> None:
        self.healed.cuts.append(self.block.elements[index].first)

    def refuse(self, index: int) -> None:
        element: Element = self.block.elements[index]
        self.healed.refused.append((element.first, element.last))
        self.healed.values.update({place.point.id: fault_of(self.code) for place in element.places})

    @property
    def stopped(self) -> bool:
        """Nothing sensible is left to try: the device refuses everything, is busy, or the requests are used up."""
        hopeless = len(self.healed.refused) >= _HOPELESS and not self.succeeded
        return self.dead_end or hopeless or self.requests >= MOST_REQUESTS

    def give_up(self) -> Healed:
        """The points that are not known yet get the fault of the last refusal; where nothing was read, nothing is learned."""
        fault = fault_of(self.code)
        for place in self.block.places:
            self.healed.values.setdefault(place.point.id, fault)
        lone = len(self.block.elements) == 1 and self.code in (2, 3)
        if not self.succeeded and not lone:
            self.healed.refused.clear()
        return self.healed


def remembered(layout: Mapping[str, Any], table: str, healed: Healed) -> dict[str, Any]:
    """The layout with what a healing found: `refused` spans and `cuts`, a table each, sorted and merged."""
    new = dict(layout)
    if healed.refused:
        spans = [tuple(span) for span in layout.get("refused", {}).get(table, ())] + healed.refused
        new["refused"] = {**layout.get("refused", {}), table: _merged(spans)}
    if healed.cuts:
        cuts = {*layout.get("cuts", {}).get(table, ()), *healed.cuts}
        new["cuts"] = {**layout.get("cuts", {}), table: sorted(cuts)}
    return new


def forgiven(layout: Mapping[str, Any], table: str, first: int, last: int) -> dict[str, Any]:
    """The layout without refused spans that touch first..last: the device answers there again."""
    spans = layout.get("refused", {}).get(table, ())
    kept = [list(span) for span in spans if span[1] < first or last < span[0]]
    return {**layout, "refused": {**layout.get("refused", {}), table: kept}}


def _merged(spans: list[tuple[int, int]]) -> list[list[int]]:
    """Sorted spans, equal and nested ones once. Neighbours stay apart: each is forgiven by itself."""
    kept: list[list[int]] = []
    for first, last in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not kept or last > kept[-1][1]:
            kept.append([first, last])
    return kept
