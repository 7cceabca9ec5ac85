"""The arithmetic of a serial line: character time, gaps, and a receiver that knows frames by silence. Pure.

Source: MODBUS over Serial Line V1.02 section 2.5.1.1: frames are separated by at least 3.5 character times, fixed at 1.750 ms
above 19,200 baud.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Wire:
    """Baud rate and character format of a line."""

    baud: int = 9600
    parity: str = "N"
    stop_bits: int = 1
    data_bits: int = 8

    @property
    def bits_per_char(self) -> int:
        return 1 + self.data_bits + (self.parity != "N") + self.stop_bits

    @property
    def char_s(self) -> float:
        return self.bits_per_char / self.baud

    @property
    def gap_s(self) -> float:
        """The silence between two frames."""
        return 3.5 * self.char_s if self.baud <= 19_200 else 0.00175

    def exchange_s(self, request_bytes: int, reply_bytes: int) -> float:
        """Request, the silence that ends it, reply; the device's turnaround not counted."""
        return (request_bytes + reply_bytes) * self.char_s + self.gap_s

    def cycle_s(self, request_bytes: int, reply_bytes: int, turnaround_s: float = 0.0) -> float:
        """The shortest time from one request to the next with both gaps held."""
        return self.exchange_s(request_bytes, reply_bytes) + turnaround_s + self.gap_s


@dataclass(slots=True)
class LineStats:
    """What a simulated line saw. Gaps are in character times of the line; above 19,200 baud the gap owed is more than 3.5."""

    requests: int = 0
    replies: int = 0
    bad_frames: int = 0
    collisions: int = 0
    """Times that both sides spoke at once."""
    broken_gaps: int = 0
    shortest_gap_s: float | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    exchange_s: float = 0.0
    """Line time of all exchanges, both gaps and the turnarounds included: the theoretical minimum for what was asked."""


@dataclass(slots=True)
class Receiver:
    """Cuts what arrives into frames by silence and watches the silence before each.

    A pty hands over a whole request in an instant; on a wire its bytes would take `char_s` each. So a request that arrives
    at t ends at t + n characters, and the frame is complete one gap later.
    """

    wire: Wire
    stats: LineStats = field(default_factory=LineStats)
    quiet_since: float | None = None
    """When the last byte of anybody ended on the wire."""
    _buffer: bytearray = field(default_factory=bytearray)
    _ends: float = 0.0

    def push(self, now: float, data: bytes) -> None:
        """Bytes began to arrive at `now`."""
        self.stats.bytes_in += len(data)
        if not self._buffer:
            self._note_gap(now)
            self._ends = now
        self._ends = max(self._ends, now) + len(data) * self.wire.char_s
        self._buffer += data

    def _note_gap(self, now: float) -> None:
        if self.quiet_since is None:
            return
        gap = now - self.quiet_since
        if self.stats.shortest_gap_s is None or gap < self.stats.shortest_gap_s:
            self.stats.shortest_gap_s = gap
        if gap < self.wire.gap_s:
            self.stats.broken_gaps += 1

    @property
    def due(self) -> float | None:
        """When the frame under way is complete, if nothing more comes; None while the line is quiet."""
        return self._ends + self.wire.gap_s if self._buffer else None

    def take(self, now: float) -> bytes | None:
        """The frame, once its silence is over."""
        due = self.due
        if due is None or now < due:
            return None
        frame = bytes(self._buffer)
        self._buffer.clear()
        self.quiet_since = self._ends
        return frame

    def sent(self, ended: float) -> None:
        """The device's own last byte ended on the wire at `ended`."""
        self.quiet_since = ended
