"""Takes the messages of a damaged file over into the new one, a batch at a time, and says afterwards which are missing."""

from __future__ import annotations

from collections.abc import Iterator

from edge_agent.spool.database import EpochRow
from edge_agent.spool.entry import Entry
from edge_agent.spool.numbers import Numbers, expected
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.salvage import Remains


class Rescue:
    """One damaged file. Iterate it; each batch is written before the next is asked for."""

    def __init__(self, remains: Remains, numbers: Numbers) -> None:
        self.remains = remains
        self.count = 0
        self.times: tuple[int, int] | None = None
        """Oldest and newest time among the messages found."""
        self._numbers = numbers
        self._found = Ranges()
        self._unknown: set[str] = set()
        self._batches = remains.messages()

    def batches(self) -> Iterator[tuple[list[Entry], list[EpochRow]]]:
        """(messages, epochs that were not known before)."""
        for batch in self._batches:
            entries, epochs = [], []
            for found in batch:
                entry, epoch = self._numbers.adopt_message(found)
                entries.append(entry)
                if epoch is not None:
                    epochs.append(epoch)
                    self._unknown.add(epoch.epoch)
                self._found.add(entry.key)
            times = [entry.t_ms for entry in entries]
            low, high = self.times or (times[0], times[0])
            self.times = min(low, *times), max(high, *times)
            yield entries, epochs
        self.count = self._found.count()

    def missing(self) -> Ranges:
        """Keys that the file should have held and that were not found."""
        missing = Ranges(
            self.remains.expected if self.remains.expected is not None else expected(self.remains.epochs())
        )
        for epoch in self._unknown:
            inside = self._numbers.keys(epoch, 1, 2**31)
            keys = [key for low, high in self._found for key in (low, high) if inside and inside[0] <= key <= inside[1]]
            if keys:
                missing.add(min(keys), max(keys))
        for low, high in self._found:
            missing.remove(low, high)
        return missing
