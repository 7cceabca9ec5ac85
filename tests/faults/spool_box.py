"""A spool for the fault tests: fills one, takes an image of its files as a killed process leaves them, opens images."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_agent.model import SpoolSettings
from edge_agent.spool import Entry, Kind, Spool

SITE, AGENT = "hq", "gw-01"


class Box:
    """An open spool with everything it said."""

    def __init__(self, folder: Path, *, site: str = SITE, agent: str = AGENT, **settings: Any) -> None:
        self.folder = folder
        self.committed: list[Entry] = []
        self.trouble: list[tuple[str, Mapping[str, Any]]] = []
        chosen = {"commit_ms": 1, "ballast_bytes": 0, "floor_free_bytes": 0, **settings}
        self.spool = Spool.open(
            SpoolSettings(path=folder / "spool.db", **chosen),
            site=site,
            agent=agent,
            on_commit=self._commit,
            on_trouble=lambda kind, fields: self.trouble.append((kind, fields)),
        )

    def _commit(self, entries: Sequence[Entry]) -> None:
        self.committed += entries

    def put(self, size: int = 200, kind: Kind = Kind.TELEMETRY) -> int:
        number = len(self.committed)
        return self.spool.put(kind, f"meter-{number % 7:02}", 1_795_000_000_000 + number, lambda e, s: body(e, s, size))

    async def fill(self, count: int, sizes: Sequence[int] = (200,)) -> None:
        for index in range(count):
            self.put(sizes[index % len(sizes)])
        await self.spool.flush()

    async def all(self) -> list[Entry]:
        return await self.spool.backlog(0, 1_000_000, 2**40)

    def lost(self) -> set[tuple[str, int]]:
        """(epoch, seq) of everything reported as lost."""
        return {
            (fields["epoch"], seq)
            for kind, fields in self.trouble
            if kind == "data_lost"
            for low, high in fields["ranges"]
            for seq in range(low, high + 1)
        }

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.trouble]


def body(epoch: str, seq: int, size: int) -> bytes:
    """A payload that tells which message it is, incompressible and the same each time."""
    return f"{epoch}:{seq}:{size}:".encode() + random.Random(f"{epoch}{seq}").randbytes(size)


def is_true(entry: Entry) -> bool:
    """Whether the entry is, byte for byte, what was put."""
    size = int(entry.payload.split(b":", 3)[2])
    return entry.payload == body(entry.epoch, entry.seq, size)


def image(folder: Path, target: Path) -> Path:
    """The files as they lie there now, as if the process had been killed."""
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, target / path.name)
    return target
