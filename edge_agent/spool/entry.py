"""What the spool holds: ready-to-send bytes with number, kind and checksum. Pure; no file is touched here.

A checksum is bound to the agent: a row of another agent, epoch or number never passes as ours, not even when a foreign
write-ahead log has been replayed over our database.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

import msgspec

Row = tuple[int, str, int, int, str, str, int, int, bytes]
"""(key, epoch, seq, kind, device, cls, t_ms, crc, payload), as it lies in the database."""


class Kind(IntEnum):
    """In the order in which messages go when space is short."""

    TELEMETRY = 0
    """Periodic readings: thinned, then dropped oldest first."""
    MARK = 1
    """Readings for an aligned mark: dropped oldest first once no telemetry is left."""
    EVENT = 2
    """Events and alarms: last of all."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One message. `key` orders it in the spool; (epoch, seq) is its number for ever."""

    key: int
    epoch: str
    seq: int
    kind: Kind
    device: str
    cls: str
    """Event class for the topic (`system`); empty for telemetry."""
    t_ms: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SpoolFill:
    """How full the spool is. `bytes` is the disk space in use (and memory, while there is no disk)."""

    msgs: int
    bytes: int
    oldest_ms: int | None


class Seal:
    """CRC32 over everything a row says, seeded with who it belongs to."""

    __slots__ = ("_seed",)

    def __init__(self, site: str, agent: str) -> None:
        self._seed = crc32(f"{site}/{agent}".encode())

    def message(self, epoch: str, seq: int, kind: int, device: str, cls: str, t_ms: int, payload: bytes) -> int:
        head = f"{epoch} {seq} {int(kind)} {device} {cls} {t_ms}"
        return crc32(payload, crc32(head.encode("utf-8", "surrogatepass"), self._seed))

    def fields(self, *values: object) -> int:
        """For rows that are not messages."""
        return crc32(repr(values).encode("utf-8", "surrogatepass"), self._seed)

    def row(self, entry: Entry) -> Row:
        crc = self.message(entry.epoch, entry.seq, entry.kind, entry.device, entry.cls, entry.t_ms, entry.payload)
        return (
            entry.key,
            entry.epoch,
            entry.seq,
            int(entry.kind),
            entry.device,
            entry.cls,
            entry.t_ms,
            crc,
            entry.payload,
        )

    def entry(self, row: Row) -> Entry | None:
        """The entry of a row, or None when a single bit of it is not what was written."""
        key, epoch, seq, kind, device, cls, t_ms, crc, payload = row
        try:
            if self.message(epoch, seq, kind, device, cls, t_ms, payload) != crc:
                return None
            return Entry(key, epoch, seq, Kind(kind), device, cls, t_ms, payload)
        except (TypeError, ValueError):  # a damaged record may hold any type
            return None
