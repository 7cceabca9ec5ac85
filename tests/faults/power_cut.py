"""What may lie on a disk after the power went: rebuilt from the recorded writes and syncs of a run.

The model: what was synced stays. Of the writes to a file since its last sync each may have happened or not, in any order, or
in part, by sectors of 512 bytes; the file may be longer than what was written, filled with zeros. A file that was removed or
renamed may still be there under its old name until the next sync of anything in the folder. Memory-mapped files (the index of
the write-ahead log) are gone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
TRACE = ("-xx", "-y", "-s", "1000000", "-e", "trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink,rename")

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")


@dataclass
class Call:
    """One system call that succeeded."""

    name: str
    path: str
    data: bytes = b""
    offset: int = 0


@dataclass
class File:
    """Synced content, and what was done to the file since."""

    synced: bytes | None = None
    pending: list[Call] = field(default_factory=list)

    def now(self) -> bytes | None:
        content = self.synced
        for call in self.pending:
            content = _applied(content, call)
        return content

    def settle(self) -> None:
        """Everything done so far is on the disk."""
        self.synced, self.pending = self.now(), []


def calls(trace: str) -> Iterator[Call]:
    """The calls of an strace log, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if match := _UNFINISHED.match(line):
            begun[match[1]] = match[3]
            continue
        if match := _RESUMED.match(line):
            line = f"{match[1]} {match[2]}({begun.pop(match[1])}{match[3]}"
        match = _CALL.match(line)
        if match and int(match[4]) >= 0:
            yield _call(match[2], match[3])


def _call(name: str, arguments: str) -> Call:
    if name in ("unlink", "rename"):
        return Call(name, _text(arguments.split('"')[1]), arguments.split('"')[3].encode() if name == "rename" else b"")
    path = _text(arguments[arguments.index("<") + 1 : arguments.index(">")])
    if name in ("pwrite64", "write"):
        _, text, rest = arguments.split('"')
        numbers = [part.strip() for part in rest.split(",")]
        return Call(name, path, _bytes(text), int(numbers[2]) if name == "pwrite64" else 0)
    return Call(name, path, offset=int(arguments.rsplit(",", 1)[1]) if name == "ftruncate" else 0)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _text(text: str) -> str:
    return _bytes(text).decode() if text.startswith("\\x") else text


def _applied(content: bytes | None, call: Call) -> bytes | None:
    if call.name == "unlink":
        return None
    content = content or b""
    if call.name == "ftruncate":
        return content[: call.offset].ljust(call.offset, b"\0")
    content = content.ljust(call.offset, b"\0")
    return content[: call.offset] + call.data + content[call.offset + len(call.data) :]


class Disk:
    """The files of one folder while a run is played again."""

    def __init__(self, start: Path, folder: str) -> None:
        self._folder = folder
        self.files: dict[str, File] = {
            path.name: File(path.read_bytes()) for path in start.iterdir() if path.is_file() and _counts(path.name)
        }

    def play(self, call: Call) -> None:
        folder, _, name = call.path.rpartition("/")
        if call.name in ("fdatasync", "fsync") and self._folder in (folder, call.path):
            for file in self.files.values():
                if any(pending.name == "unlink" for pending in file.pending):
                    file.settle()
        if folder != self._folder or not _counts(name):
            return
        file = self.files.setdefault(name, File())
        if call.name in ("fdatasync", "fsync"):
            file.settle()
        elif call.name == "rename":
            raise AssertionError("a run without damage renames nothing")
        else:
            file.pending.append(call)

    def cut(self, target: Path, dice: random.Random) -> None:
        """Writes one legal image of the files as they may be after a power cut now."""
        target.mkdir()
        style = dice.choice(["nothing", "everything", "some", "some", "some", "torn", "zeros"])
        for name, file in self.files.items():
            content = file.synced
            for call in _chosen(file.pending, style, dice):
                content = _applied(content, call)
            if style == "zeros" and (size := len(file.now() or b"")) > len(content or b""):
                content = (content or b"").ljust(size, b"\0")
            if content is not None:
                (target / name).write_bytes(content)


def _chosen(pending: list[Call], style: str, dice: random.Random) -> list[Call]:
    if style == "nothing":
        return []
    if style == "everything":
        return pending
    chosen = [call for call in pending if dice.random() < 0.6]
    if style == "some":
        # The order only matters between writes of one place: two of them swapped is the older one staying.
        dice.shuffle(chosen)
        return chosen
    return [_torn(call, dice) for call in chosen]


def _torn(call: Call, dice: random.Random) -> Call:
    """A write of which only some sectors, from one end, reached the disk."""
    if len(call.data) <= 1:
        return call
    at = (call.offset // SECTOR + 1) * SECTOR - call.offset
    edges = list(range(at, len(call.data), SECTOR)) or [len(call.data)]
    edge = dice.choice(edges)
    if dice.random() < 0.5:
        return Call(call.name, call.path, call.data[:edge], call.offset)
    return Call(call.name, call.path, call.data[edge:], call.offset + edge)


def _counts(name: str) -> bool:
    return name.startswith("spool.db") and not name.endswith(("-shm", ".ballast"))
