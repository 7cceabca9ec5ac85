"""Messages that will never be stored as they are, kept on disk with the reason until a person has looked.

JSON lines in numbered files, synced before anybody is told; bounded by rotation, oldest files first, and what was given up is
counted. A replay goes through a folder that the running gateway watches: the message takes the whole way of ingest again, and
because writing a row twice changes nothing, its effect is exactly once.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from device_profiles.errors import ConfigError, StoreUnavailable
from gateway.contract.messages import MAX_BYTES

_REMEMBERED = 20_000
"""Messages whose second coming is recognised."""


class DeadLetter(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One message. `text` holds its payload, or `base64` where that is no UTF-8; neither of a message larger than 64 KiB."""

    id: int
    t: int
    """When it was put here, UTC ms."""
    reason: str
    detail: str
    topic: str
    size: int
    sha: str
    text: str | None = None
    base64: str | None = None
    lines: list[str] = []
    """The rows that the store refused, in its own language."""

    @property
    def payload(self) -> bytes | None:
        """The message as it came; None when it was too large to keep."""
        if self.text is not None:
            return self.text.encode()
        return None if self.base64 is None else base64.b64decode(self.base64)


_decoder = msgspec.json.Decoder(DeadLetter)
_encode = msgspec.json.encode


class DeadLetters:
    """The folder of one worker. `add` and `sync` by ingest; `__iter__`, `find` and `ask_replay` by anybody."""

    def __init__(
        self,
        folder: Path,
        *,
        file_bytes: int = 8 * 1024 * 1024,
        files: int = 16,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._folder = folder
        self._replay = folder / "replay"
        self._file_bytes = file_bytes
        self._files = files
        self._wall_ms = wall_ms
        self._file: int | None = None
        self._size = 0
        self._waiting: list[bytes] = []
        self._writing = threading.Lock()
        self._next_id = 1
        self._seen: dict[bytes, None] = {}
        self.by_reason: dict[str, int] = {}
        """Added since the start."""
        self.given_up = 0
        """Files that rotation removed since the start."""

    # --- ingest's side ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Makes the folder and recalls what is in it. Raises StoreUnavailable."""
        try:
            self._replay.mkdir(parents=True, exist_ok=True)
            for letter in self:
                self._next_id = max(self._next_id, letter.id + 1)
                self._remember(_key(letter.topic, letter.sha))
            names = self._names()
            self._file = self._open_file(names[-1] if names else self._folder / "dead-000001.jsonl")
        except OSError as error:
            raise self._trouble(error) from error

    def add(self, topic: str, payload: bytes, reason: str, detail: str, lines: Iterable[str] = ()) -> bool:
        """Keeps a message, in memory until `sync`. False when the same one is here already."""
        sha = hashlib.blake2b(payload, digest_size=12).hexdigest()
        key = _key(topic, sha)
        if key in self._seen:
            return False
        self._remember(key)
        letter = DeadLetter(
            id=self._next_id,
            t=self._wall_ms(),
            reason=reason,
            detail=detail[:500],
            topic=topic[:1024],
            size=len(payload),
            sha=sha,
            lines=list(lines),
        )
        if len(payload) <= MAX_BYTES:
            try:
                letter.text = payload.decode()
            except UnicodeDecodeError:
                letter.base64 = base64.b64encode(payload).decode()
        self._next_id += 1
        self._waiting.append(_encode(letter) + b"\n")
        self.by_reason[reason] = self.by_reason.get(reason, 0) + 1
        return True

    def sync(self) -> None:
        """Everything added until now is on the disk; may run in another thread. Raises StoreUnavailable; nothing is forgotten."""
        with self._writing:
            self._sync()

    def _sync(self) -> None:
        waiting = self._waiting[:]
        if not waiting:
            return
        assert self._file is not None, "open the folder first"
        try:
            data = b"".join(waiting)
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:
            raise self._trouble(error) from error
        self._size += len(data)
        del self._waiting[: len(waiting)]
        if self._size >= self._file_bytes:
            self._rotate()

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            os.close(self._file)
            self._file = None

    def replays(self) -> list[tuple[Path, DeadLetter]]:
        """What people asked to replay, with the file to hand to `replayed`."""
        found = []
        for path in sorted(self._replay.glob("*.json")):
            try:
                found.append((path, _decoder.decode(path.read_bytes())))
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                path.rename(path.with_suffix(".unreadable"))
        return found

    def replayed(self, path: Path, letter: DeadLetter) -> None:
        """The message is stored now: it is a dead letter no more, and may become one again."""
        self._seen.pop(_key(letter.topic, letter.sha), None)
        with (self._folder / "replayed").open("a") as file:
            file.write(f"{letter.id}\n")
        path.unlink(missing_ok=True)

    def refused_again(self, path: Path) -> None:
        """The message is still refused and stays where it is."""
        path.unlink(missing_ok=True)

    # --- everybody's side ---------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[DeadLetter]:
        """The letters in order of arrival, without those that a replay has brought into the store. A torn line is skipped."""
        done = self._done()
        for path in self._names():
            with path.open("rb") as file:
                for line in file:
                    try:
                        letter = _decoder.decode(line)
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        continue  # the last line before a power cut; nothing was acknowledged on its account
                    if letter.id not in done:
                        yield letter

    def find(self, number: int) -> DeadLetter:
        """The letter of this id. Raises ConfigError."""
        for letter in self:
            if letter.id == number:
                return letter
        raise ConfigError(
            f"there is no dead letter {number}",
            where=str(self._folder),
            next_step="see the ids with `plantroom deadletter list`",
        )

    def ask_replay(self, letter: DeadLetter) -> None:
        """Puts the message before the gateway again. Raises ConfigError for one that was too large to keep."""
        if letter.payload is None:
            raise ConfigError(
                f"dead letter {letter.id} had {letter.size} bytes and was not kept",
                where=letter.topic,
                next_step="let the sender publish it again, in messages of at most 64 KiB",
            )
        self._replay.mkdir(parents=True, exist_ok=True)
        draft = self._replay / f"{letter.id}.part"
        draft.write_bytes(_encode(letter))
        draft.rename(self._replay / f"{letter.id:09}.json")

    # --- files --------------------------------------------------------------------------------------------------------

    def _names(self) -> list[Path]:
        return sorted(self._folder.glob("dead-*.jsonl"))

    def _done(self) -> set[int]:
        try:
            return {int(line) for line in (self._folder / "replayed").read_text().split()}
        except (FileNotFoundError, ValueError):
            return set()

    def _open_file(self, path: Path) -> int:
        is_new = not path.exists()
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        if is_new:  # its name is to survive a power cut as well as what is in it
            folder = os.open(self._folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        self._size = os.fstat(file).st_size
        if self._size and not path.read_bytes().endswith(b"\n"):
            self._size += os.write(file, b"\n")  # ends a line that a power cut tore
        return file

    def _rotate(self) -> None:
        assert self._file is not None
        names = self._names()
        number = int(names[-1].stem.removeprefix("dead-")) + 1
        os.close(self._file)
        self._file = self._open_file(self._folder / f"dead-{number:06}.jsonl")
        for path in names[: max(0, len(names) + 1 - self._files)]:
            path.unlink(missing_ok=True)
            self.given_up += 1

    def _remember(self, key: bytes) -> None:
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def _trouble(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(
            f"dead letters cannot be written: {error.strerror or error}",
            where=str(self._folder),
            next_step="check the disk's space and the folder's permissions",
        )


def _key(topic: str, sha: str) -> bytes:
    return f"{sha} {topic[:1024]}".encode()
