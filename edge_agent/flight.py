"""What is published and not yet acknowledged by ingest: credit, when to send again, and how long acknowledging takes.

Pure: time comes in as monotonic seconds, and nothing is sent here. The entries themselves stay in the spool as well; this is
only the window over it. Source: CONTRACT.md section 4.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from edge_agent.spool import Entry

_SAMPLES = 512
_REFRESH = 64
_RECENT = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """The rules of delivery. Seconds, bytes, messages."""

    credit_msgs: int = 256
    credit_bytes: int = 1024 * 1024
    history_share: float = 0.75
    """The part of the credit that late messages may use, so that a live one always finds room."""
    history_per_s: float = 1000.0
    history_bytes_per_s: float = 4 * 1024 * 1024
    live_s: float = 60.0
    """Published within this of its time, a reading is live; else it is history."""
    resend_s: float = 15.0
    resend_max_s: float = 600.0
    probe_s: float = 30.0
    silence_s: float = 300.0
    """Without any acknowledgement for so long, only probes are sent."""
    tick_s: float = 1.0
    live_queue_msgs: int = 4096
    live_queue_bytes: int = 8 * 1024 * 1024
    page_msgs: int = 128
    page_bytes: int = 512 * 1024


RULES = Limits()


@dataclass(slots=True, eq=False)
class Sent:
    """One message in flight. `is_lost`: known not to have reached anybody, so that it need not be waited for."""

    entry: Entry
    sent_at: float
    due_at: float
    tries: int = 1
    is_late: bool = False
    is_lost: bool = False
    is_at_broker: bool = False


class Flight:
    """The window of unacknowledged messages of one agent."""

    def __init__(self, limits: Limits = RULES) -> None:
        self._limits = limits
        self._sent: dict[str, dict[int, Sent]] = {}
        self._recent: dict[tuple[str, int], None] = {}
        self._latencies: deque[float] = deque(maxlen=_SAMPLES)
        self._p99 = 0.0
        self._since_p99 = 0
        self.msgs = 0
        self.bytes = 0
        self._late_msgs = 0
        self._late_bytes = 0

    def __contains__(self, entry: Entry) -> bool:
        """True while in flight, and for those just acknowledged: a page read from the disk before may still hold them."""
        of_epoch = self._sent.get(entry.epoch)
        return (of_epoch is not None and entry.seq in of_epoch) or (entry.epoch, entry.seq) in self._recent

    def __iter__(self) -> Iterator[Sent]:
        """In order of first sending within an epoch."""
        for of_epoch in self._sent.values():
            yield from of_epoch.values()

    @property
    def has_credit(self) -> bool:
        """Room for one more live message, or an event."""
        return self.msgs < self._limits.credit_msgs and self.bytes < self._limits.credit_bytes

    @property
    def has_late_credit(self) -> bool:
        """Room for one more late message."""
        share = self._limits.history_share
        return (
            self.has_credit
            and self._late_msgs < share * self._limits.credit_msgs
            and self._late_bytes < share * self._limits.credit_bytes
        )

    @property
    def ack_p99_s(self) -> float:
        """99th percentile of the time from publishing to ingest's acknowledgement, of messages sent once."""
        if self._since_p99 >= _REFRESH or (self._since_p99 and not self._p99):
            ordered = sorted(self._latencies)
            self._p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
            self._since_p99 = 0
        return self._p99

    def add(self, entry: Entry, now: float, *, is_late: bool) -> Sent:
        """Takes up a message that is being published for the first time."""
        sent = Sent(entry, now, now + self._wait_s(1), is_late=is_late)
        self._sent.setdefault(entry.epoch, {})[entry.seq] = sent
        size = len(entry.payload)
        self.msgs += 1
        self.bytes += size
        if is_late:
            self._late_msgs += 1
            self._late_bytes += size
        return sent

    def again(self, sent: Sent, now: float) -> None:
        """The message is being published once more."""
        sent.tries += 1
        sent.sent_at = now
        sent.due_at = now + self._wait_s(sent.tries)
        sent.is_lost = sent.is_at_broker = False

    def remove(self, sent: Sent) -> bool:
        """Lets one go; False when it has gone already."""
        of_epoch = self._sent.get(sent.entry.epoch)
        if of_epoch is None or of_epoch.pop(sent.entry.seq, None) is None:
            return False
        if not of_epoch:
            del self._sent[sent.entry.epoch]
        size = len(sent.entry.payload)
        self.msgs -= 1
        self.bytes -= size
        if sent.is_late:
            self._late_msgs -= 1
            self._late_bytes -= size
        return True

    def acknowledge(self, epoch: str, ranges: Iterable[tuple[int, int]], now: float) -> int:
        """Ingest has stored these numbers. Returns how many of them were in flight."""
        of_epoch = self._sent.get(epoch)
        if of_epoch is None:
            return 0
        count = 0
        for low, high in ranges:
            wide = high - low >= len(of_epoch)
            seqs = [seq for seq in of_epoch if low <= seq <= high] if wide else range(low, high + 1)
            for seq in seqs:
                sent = of_epoch.get(seq)
                if sent is not None and self.remove(sent):
                    count += 1
                    self._recent[epoch, seq] = None
                    if sent.tries == 1:
                        self._latencies.append(now - sent.sent_at)
                        self._since_p99 += 1
        for old in list(islice(self._recent, max(0, len(self._recent) - _RECENT))):
            del self._recent[old]
        return count

    def due(self, now: float) -> list[Sent]:
        """What has waited too long, oldest due first."""
        return sorted((sent for sent in self if sent.due_at <= now), key=lambda sent: sent.due_at)

    def expire(self, now: float, *, everything: bool) -> None:
        """Make due at once what is known to be lost, or `everything`."""
        for sent in self:
            if everything or sent.is_lost:
                sent.due_at = now

    def oldest(self) -> Sent | None:
        """The one with the earliest time of acquisition: the probe."""
        return min(self, key=lambda sent: sent.entry.key, default=None)

    def _wait_s(self, tries: int) -> float:
        """Seconds until a message counts as lost after being sent `tries` times."""
        limits = self._limits
        first = max(limits.resend_s, 4.0 * self.ack_p99_s)
        wait = min(limits.resend_max_s, first * 2.0 ** min(tries - 1, 20))
        return wait if tries == 1 else wait * random.uniform(0.75, 1.25)
