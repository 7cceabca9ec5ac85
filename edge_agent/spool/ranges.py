"""Sets of whole numbers kept as closed ranges. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of integers as sorted, disjoint, non-touching closed ranges."""

    __slots__ = ("_high", "_low")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._low: list[int] = []
        self._high: list[int] = []
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: int, high: int | None = None) -> None:
        """Adds low..high, both included; nothing when high < low."""
        high = low if high is None else high
        if high < low:
            return
        first = bisect_left(self._high, low - 1)
        last = bisect_right(self._low, high + 1)
        if first < last:
            low = min(low, self._low[first])
            high = max(high, self._high[last - 1])
        self._low[first:last] = [low]
        self._high[first:last] = [high]

    def remove(self, low: int, high: int | None = None) -> None:
        """Takes low..high out; nothing when high < low."""
        high = low if high is None else high
        if high < low:
            return
        first = bisect_left(self._high, low)
        last = bisect_right(self._low, high)
        if first >= last:
            return
        left, right = self._low[first], self._high[last - 1]
        keep = [(left, low - 1)] if left < low else []
        if right > high:
            keep.append((high + 1, right))
        self._low[first:last] = [a for a, _ in keep]
        self._high[first:last] = [b for _, b in keep]

    def __contains__(self, value: int) -> bool:
        index = bisect_left(self._high, value)
        return index < len(self._low) and self._low[index] <= value

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._low, self._high, strict=True)))

    def __len__(self) -> int:
        """The number of ranges."""
        return len(self._low)

    def count(self) -> int:
        """The number of integers."""
        return sum(self._high) - sum(self._low) + len(self._low)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._low == other._low and self._high == other._high

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"
