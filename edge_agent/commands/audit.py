"""Who asked for what, why, and what came of it: an append-only file whose entries are chained, so that none is changed unseen.

One JSON object a line: `n` counts up, `t` is UTC ms, `prev` the SHA-256 of the previous line without its line end (64 zeros in
the very first). A line is synced before `append` returns. At `max_bytes` the next file, named by its first entry, begins and the
chain goes on in it; the oldest file beyond `keep` goes. What no chain can show is a missing end: so the agent publishes number
and hash of the last entry with its figures, and `verify` looks for a hash that was seen. Synchronous, one thread at a time;
raises OSError. No secret may be handed in.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

FIRST = "0" * 64
MAX_BYTES = 8 * 1024**2
KEEP = 32
_encode = msgspec.json.Encoder().encode


class AuditLog:
    """The log in a folder. `healed` counts the bytes of a last line that a power cut had torn; they were never promised."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES, keep: int = KEEP) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._keep = keep
        self._file: int | None = None
        self._size = 0
        self.number = 0
        self.head = FIRST
        self.healed = 0
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        files = _files(folder)
        if files:
            self._take_up(files)

    def append(self, t_ms: int, entry: Mapping[str, Any]) -> int:
        """Its number, once it is on the disk."""
        number = self.number + 1
        line = _encode({"n": number, "t": t_ms, "prev": self.head, **entry})
        file = self._writable(number)
        try:
            _write_all(file, line + b"\n")
            os.fdatasync(file)
        except OSError:
            # What stands there is not known: cut it off, or the next line would be a part of it.
            with suppress(OSError):
                os.ftruncate(file, self._size)
            self.close()
            raise
        self._size += len(line) + 1
        self.number, self.head = number, _hash(line)
        return number

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_up(self, files: list[Path]) -> None:
        path = files[-1]
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end < len(data):
            self.healed = len(data) - end
            os.truncate(path, end)
        self._size = end
        lines = data[:end].splitlines()
        if not lines and len(files) > 1:  # the power went while the next file began
            path.unlink()
            self._take_up(files[:-1])
        elif lines:
            self.head = _hash(lines[-1])
            self.number = _number(lines[-1])

    def _writable(self, number: int) -> int:
        if self._file is not None and self._size < self._max_bytes:
            return self._file
        self.close()
        files = _files(self._folder)
        is_next = not files or self._size >= self._max_bytes
        path = self._folder / f"{_stem(number)}.jsonl" if is_next else files[-1]
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._file).st_size
        if is_next:
            _sync_folder(self._folder)
            for old in files[: max(0, len(files) + 1 - self._keep)]:
                old.unlink(missing_ok=True)
        return self._file


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found. `broken` says file, line and what is wrong with the first entry that does not fit."""

    entries: int
    files: int
    first: int
    last: int
    head: str
    broken: str | None = None


def verify(folder: Path, seen: str | None = None) -> Verified:
    """Follows the chain through all files of a folder. `seen` is the hash of an entry that was published: one that is not there
    shows that the end was cut off or changed. Raises OSError.
    """
    entries, first, last, head = 0, 0, 0, ""
    is_seen = seen is None
    files = _files(folder)
    for path in files:
        for at, line in enumerate(_lines(path), 1):
            broken = _broken(line, last, head, is_first=not entries)
            if broken is None and at == 1 and path.stem != _stem(_number(line)):
                broken = f"the file begins with entry {_number(line)}: those before it were taken out"
            if broken is not None:
                return Verified(entries, len(files), first, last, head, f"{path.name}:{at}: {broken}")
            last, head = _number(line), _hash(line)
            first = first or last
            is_seen = is_seen or head == seen
            entries += 1
    missing = None if is_seen else f"no entry has the hash {seen}: the end was cut off or changed, or older files went"
    return Verified(entries, len(files), first, last, head, missing)


def entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Every entry that can be read, oldest first."""
    for path in _files(folder):
        for line in _lines(path):
            with suppress(ValueError):
                yield json.loads(line)


def _broken(line: bytes, last: int, head: str, *, is_first: bool) -> str | None:
    try:
        entry = json.loads(line)
        number, prev = entry["n"], entry["prev"]
    except (ValueError, TypeError, KeyError):
        return "no entry of an audit log"
    if is_first:
        return None if number != 1 or prev == FIRST else "the first entry follows another one"
    if number != last + 1:
        return f"entry {number} follows {last}"
    return (
        None
        if prev == head
        else f"entry {number} does not follow from what stands before it: one of the two was changed"
    )


def _stem(number: int) -> str:
    return f"audit-{number:012}"


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")


def _number(line: bytes) -> int:
    try:
        return int(json.loads(line)["n"])
    except (ValueError, TypeError, KeyError):
        return 0


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _write_all(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
