"""Messages in memory: put but not yet on the disk. Thread-safe, bounded, never waits.

`waiting` have not been committed and not been handed on. `resident` have been handed on without the disk, because there is
none: they are written as soon as it is back. When the bound is reached the oldest telemetry goes first, then marks, then events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from threading import Lock

from edge_agent.spool.entry import Entry, Kind
from edge_agent.spool.ranges import Ranges

MAX_BYTES = 16 * 1024**2
MAX_MESSAGES = 20_000
_OVERHEAD = 400
"""Bytes of memory that an entry takes besides its payload."""


class Buffer:
    """What would be lost if the power went now."""

    def __init__(self, *, max_bytes: int = MAX_BYTES, max_messages: int = MAX_MESSAGES) -> None:
        self._lock = Lock()
        self._waiting: deque[Entry] = deque()
        self._resident: deque[Entry] = deque()
        self._taken = 0
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_messages = max_messages

    def put(self, entry: Entry) -> list[Entry]:
        """Adds the entry; returns what had to go for it, oldest first."""
        with self._lock:
            self._waiting.append(entry)
            self._bytes += _size(entry)
            if self._bytes <= self._max_bytes and self._messages() <= self._max_messages:
                return []
            return self._shed()

    def take(self, limit: int) -> list[Entry]:
        """Takes the front of what waits. The taker settles it with `keep`, `give_back` or `done`."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
            self._taken += len(batch)
            return batch

    def done(self, batch: Sequence[Entry]) -> None:
        """The batch is on the disk."""
        with self._lock:
            self._taken -= len(batch)
            self._bytes -= sum(map(_size, batch))

    def give_back(self, batch: Sequence[Entry]) -> None:
        """The batch waits again, in front."""
        with self._lock:
            self._taken -= len(batch)
            self._waiting.extendleft(reversed(batch))

    def keep(self, batch: Sequence[Entry]) -> None:
        """The batch stays in memory, handed on without a disk."""
        with self._lock:
            self._taken -= len(batch)
            self._resident.extend(batch)

    def resident(self, limit: int) -> list[Entry]:
        """The oldest of what was handed on without a disk. They stay until `written`."""
        with self._lock:
            return list(islice(self._resident, limit))

    def written(self, up_to_key: int) -> None:
        """Everything handed on without a disk up to this key is on the disk now."""
        with self._lock:
            while self._resident and self._resident[0].key <= up_to_key:
                self._bytes -= _size(self._resident.popleft())

    def forget(self, ranges: Ranges) -> None:
        """Drops what was handed on without a disk and is acknowledged."""
        with self._lock:
            if not self._resident:
                return
            kept: deque[Entry] = deque()
            for entry in self._resident:
                if entry.key in ranges:
                    self._bytes -= _size(entry)
                else:
                    kept.append(entry)
            self._resident = kept

    def beyond(self, after_key: int, limit: int, skip: Ranges, *, newest_first: bool = False) -> list[Entry]:
        """Of what was handed on without a disk: the entries beyond a key, in reading order, without those of `skip`."""
        with self._lock:
            if newest_first:
                found = (entry for entry in reversed(self._resident) if entry.key < after_key)
            else:
                found = (entry for entry in self._resident if entry.key > after_key)
            return list(islice((entry for entry in found if entry.key not in skip), limit))

    def fill(self) -> tuple[int, int, int | None]:
        """(messages, bytes, time of the oldest)."""
        with self._lock:
            front = self._resident or self._waiting
            return self._messages(), self._bytes, front[0].t_ms if front else None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def _messages(self) -> int:
        return len(self._waiting) + len(self._resident) + self._taken

    def _shed(self) -> list[Entry]:
        """Makes an eighth of the room free, so that the whole is not searched again at the next put."""
        max_bytes, max_messages = self._max_bytes * 7 // 8, self._max_messages * 7 // 8
        count = self._messages()
        gone: list[Entry] = []
        for kind in Kind:
            for queue in (self._resident, self._waiting):
                kept: list[Entry] = []
                for entry in queue:
                    if entry.kind is kind and (self._bytes > max_bytes or count > max_messages):
                        gone.append(entry)
                        count -= 1
                        self._bytes -= _size(entry)
                    else:
                        kept.append(entry)
                if len(kept) != len(queue):
                    queue.clear()
                    queue.extend(kept)
        return gone


def _size(entry: Entry) -> int:
    return len(entry.payload) + _OVERHEAD
