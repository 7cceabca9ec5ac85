"""Looks into a spool, also while its agent works on it. Never changes a message, an acknowledgement or the file.

A file with a write-ahead log is opened read-only through SQLite, which may renew the log's index; one without is read as it lies
there, so that no file of another owner appears beside it. Raises PlantroomError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import PlantroomError
from edge_agent.spool.database import FORMAT, PAGE, EpochRow, epoch_row
from edge_agent.spool.entry import Entry, Kind, Seal

BUSY_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with the spool; `key` where it is about one message."""

    what: str
    key: int | None = None


class Look:
    """One spool file, open for reading."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        owner: tuple[str, str] = self._one("SELECT site, agent FROM identity") or ("", "")
        self.site, self.agent = owner
        self._seal = Seal(self.site, self.agent)

    def _one(self, statement: str) -> Any:
        return self._connection.execute(statement).fetchone()

    def epochs(self) -> list[EpochRow]:
        """Openings of the spool that still matter, oldest first; rows with a wrong checksum are left out."""
        rows = self._connection.execute("SELECT * FROM epoch ORDER BY id")
        return [row for values in rows if (row := epoch_row(values, self._seal))]

    def summary(self) -> dict[str, Any]:
        """Depth, size and age, by kind and by device."""
        statement = "SELECT kind, device, count(*), sum(length(payload)), min(t_ms), max(t_ms) FROM message GROUP BY kind, device"
        groups = [
            {"kind": _kind(kind), "device": device, "msgs": msgs, "bytes": size, "oldest": oldest, "newest": newest}
            for kind, device, msgs, size, oldest, newest in self._connection.execute(statement)
        ]
        (pages,) = self._one("PRAGMA page_count")
        (free,) = self._one("PRAGMA freelist_count")
        beside = {name: _size(self.path, name) for name in ("-wal", ".ballast")}
        return {
            "path": str(self.path),
            "site": self.site,
            "agent": self.agent,
            "msgs": sum(group["msgs"] for group in groups),
            "bytes": sum(group["bytes"] for group in groups),
            "oldest": min((group["oldest"] for group in groups), default=None),
            "newest": max((group["newest"] for group in groups), default=None),
            "disk": {
                "used": (pages - free) * PAGE,
                "file": pages * PAGE,
                "log": beside["-wal"],
                "ballast": beside[".ballast"],
            },
            "epochs": [{name: asdict(row)[name] for name in ("epoch", "base", "last")} for row in self.epochs()],
            "groups": groups,
            "set_aside": sorted(path.name for path in self.path.parent.glob(f"{self.path.name}.*-*Z*")),
        }

    def entries(
        self,
        *,
        limit: int | None = None,
        device: str | None = None,
        kind: Kind | None = None,
        newest_first: bool = False,
    ) -> Iterator[Entry]:
        """Messages in key order. Broken ones are left out: `findings` tells them."""
        conditions, values = ["1"], list[Any]()
        if device is not None:
            conditions.append("device = ?")
            values.append(device)
        if kind is not None:
            conditions.append("kind = ?")
            values.append(int(kind))
        order = "DESC" if newest_first else "ASC"
        statement = f"SELECT * FROM message WHERE {' AND '.join(conditions)} ORDER BY key {order} LIMIT ?"
        for row in self._connection.execute(statement, (*values, -1 if limit is None else limit)):
            entry = self._seal.entry(row)
            if entry is not None:
                yield entry

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong: structure, numbers, checksums."""
        for (text,) in self._connection.execute("PRAGMA quick_check(20)"):
            if text != "ok":
                yield Finding(text)
        spans = [(row.base, row.base + row.last, row.epoch) for row in self.epochs()]
        if not spans:
            yield Finding("no opening of this spool can be read")
        count = 0
        for row in self._connection.execute("SELECT * FROM message ORDER BY key"):
            count += 1
            key, epoch, seq = row[:3]
            if self._seal.entry(row) is None:
                yield Finding(f"message {epoch} {seq} has a wrong checksum", key)
            elif not any(low < key <= high and key - low == seq and epoch == name for low, high, name in spans):
                yield Finding(f"message {epoch} {seq} lies outside of its epoch", key)
        held = max(self.epochs(), key=lambda row: row.commits).held if spans else count
        if held != count:
            yield Finding(f"{count} messages are there where {held} were counted")


@contextmanager
def looking(path: Path) -> Iterator[Look]:
    """Opens the spool at `path` for reading."""
    if not path.is_file():
        raise PlantroomError(
            "no spool here", where=str(path), next_step="name the agent's data directory with --dir, or its --config"
        )
    has_log = _size(path, "-wal") > 0
    uri = f"{path.absolute().as_uri()}?{'mode=ro' if has_log else 'immutable=1'}"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != FORMAT:
                raise PlantroomError(
                    f"format {version} is not a spool's of this version",
                    where=str(path),
                    next_step="look at it with the version of plantroom that wrote it",
                )
            connection.execute("BEGIN")  # one state of the spool, whatever the agent does meanwhile
            yield Look(path, connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise PlantroomError(
            f"the spool cannot be read ({error})",
            where=str(path),
            next_step="start the agent: it sets a damaged spool aside and takes over what is whole",
        ) from error


def _kind(kind: int) -> str:
    return Kind(kind).name.lower() if kind in list(Kind) else str(kind)


def _size(path: Path, suffix: str) -> int:
    try:
        return path.with_name(path.name + suffix).stat().st_size
    except OSError:
        return 0
