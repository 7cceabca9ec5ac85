"""The spool as the agent sees it: put, forget, backlog, state. Everything here runs in the event loop and never blocks it.

It numbers the messages and hands them to the writer's thread. Nothing is handed to `on_commit` before the disk has it, but
for the time when there is no disk at all (`storage_failed`): then memory, bounded, is the spool.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from edge_agent.model import SpoolSettings
from edge_agent.spool.buffer import Buffer
from edge_agent.spool.disk import LOST, Disk
from edge_agent.spool.entry import Entry, Kind, Seal, SpoolFill
from edge_agent.spool.lock import FolderLock
from edge_agent.spool.numbers import UNREAD_BASE, Numbers
from edge_agent.spool.ranges import Ranges
from edge_agent.spool.recovery import Shelf
from edge_agent.spool.space import Space, log_bytes
from edge_agent.spool.writer import BATCH, Writer

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class Spool:
    """Keeps messages until ingest says that they are stored.

    `on_trouble(kind, fields)` is called in the event loop with:
    `data_lost` {epoch, ranges, t0, t1, reason}: messages that are gone, for the event of that name;
    `set_aside` {path, reason, detail}: a file that was damaged, foreign or of another format;
    `salvaged` {path, msgs}: what was whole in a damaged file has been taken over;
    `storage_failed` {path, error} and `storage_recovered` {path}: memory only in between.
    """

    def __init__(
        self,
        numbers: Numbers,
        writer: Writer,
        buffer: Buffer,
        loop: AbstractEventLoop,
        state: dict[str, dict[str, bytes]],
        on_trouble: Callable[[str, Mapping[str, Any]], None],
        lock: FolderLock,
    ) -> None:
        self.epoch = numbers.epoch
        self.previous = numbers.previous
        self._numbers = numbers
        self._writer = writer
        self._buffer = buffer
        self._loop = loop
        self._state = state
        self._on_trouble = on_trouble
        self._lock = lock
        self._base = numbers.base
        self._seq = 0

    @classmethod
    def open(
        cls,
        settings: SpoolSettings,
        *,
        site: str,
        agent: str,
        on_commit: Callable[[Sequence[Entry]], None],
        on_trouble: Callable[[str, Mapping[str, Any]], None],
        loop: AbstractEventLoop | None = None,
    ) -> Spool:
        """Opens the file at `settings.path` or begins a new one, and starts the writer's thread.

        Never fails because of the file's content or the disk: what cannot be read is set aside, and without a disk the
        spool works in memory. Raises PlantroomError when another agent works in the same folder. The callbacks are called
        in `loop` (default: the running one), never before `open` returned.
        """
        loop = loop or asyncio.get_running_loop()
        lock = FolderLock(settings.path.parent)
        seal = Seal(site, agent)
        numbers = Numbers()
        shelf = Shelf(settings.path, seal, numbers, site=site, agent=agent, log_bytes=log_bytes(settings))

        def told(kind: str, fields: Mapping[str, Any], receipt: str | None) -> None:
            on_trouble(kind, fields)
            if receipt is not None:  # an event put in the callback is committed no later than this
                writer.save(LOST, receipt, None)

        def tell(kind: str, fields: Mapping[str, Any], receipt: str | None) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(told, kind, fields, receipt)

        disk = Disk(shelf, Space(settings), numbers, seal, tell)
        if not disk.open():
            numbers.adopt((), above=2 * UNREAD_BASE)  # below it is room for whatever the file may hold
        state: dict[str, dict[str, bytes]] = {}
        for namespace, key, value in disk.load_state():
            state.setdefault(namespace, {})[key] = value
        buffer = Buffer()
        writer = Writer(disk, buffer, commit_s=settings.commit_ms / 1000, loop=loop, on_commit=on_commit)
        writer.start()
        return cls(numbers, writer, buffer, loop, state, on_trouble, lock)

    def put(
        self,
        kind: Kind,
        device: str,
        t_ms: int,
        build: Callable[[str, int], bytes],
        *,
        cls: str = "",
        now: bool = False,
        state: tuple[str, str, Any] | None = None,
    ) -> int:
        """Numbers a message and queues it for the next commit; returns its seq. Never blocks.

        `build(epoch, seq)` gives the bytes that go out, with both in them; when it raises, no number is used. Events are
        committed at once, and so is anything put with `now`. `state` (namespace, key, value) is saved with it, never before it.
        """
        seq = self._seq + 1
        payload = build(self.epoch, seq)
        self._seq = seq
        entry = Entry(self._base + seq, self.epoch, seq, kind, device, cls, t_ms, payload)
        if state is None:
            dropped = self._buffer.put(entry)
        else:
            namespace, key, value = state
            self._state.setdefault(namespace, {})[key] = encoded = _encode(value)
            dropped = self._writer.put_with(entry, (namespace, key), encoded)
        self._writer.wake(now=now or kind is Kind.EVENT or len(self._buffer) == BATCH)
        if dropped:
            self._report(dropped)
        return seq

    def _report(self, dropped: Sequence[Entry]) -> None:
        keys = Ranges((entry.key, entry.key) for entry in dropped)
        for report in self._numbers.lost(keys, [entry.t_ms for entry in dropped], "memory full"):
            self._loop.call_soon(self._on_trouble, "data_lost", report)

    async def flush(self) -> None:
        """Returns when everything put so far is on the disk (or handed on from memory, when there is no disk)."""
        await asyncio.wrap_future(self._writer.call(self._writer.commit_all), loop=self._loop)

    def forget(self, epoch: str, ranges: Iterable[tuple[int, int]]) -> None:
        """Ingest has stored these numbers. Unknown ones are ignored; a message comes back at most until the next commit."""
        most = self._seq if epoch == self.epoch else UNREAD_BASE  # a range must not reach what is yet to come
        keys = [found for low, high in ranges if (found := self._numbers.keys(epoch, low, min(high, most)))]
        if keys:
            self._writer.forget(keys)

    async def backlog(self, after_key: int, limit: int, max_bytes: int, *, newest_first: bool = False) -> list[Entry]:
        """Committed messages that are not forgotten: at most `limit` and about `max_bytes`, but one at least.

        In key order from after `after_key`, or with `newest_first` backwards from before it; 0 begins at that end.
        """
        return await asyncio.wrap_future(
            self._writer.call(lambda: self._writer.read(after_key, limit, max_bytes, newest_first=newest_first)),
            loop=self._loop,
        )

    def fill(self) -> SpoolFill:
        return self._writer.fill()

    def load_state(self, namespace: str) -> dict[str, Any]:
        """The latest value of each key, from memory. Tuples come back as lists."""
        return {key: _decode(value) for key, value in self._state.get(namespace, {}).items()}

    def save_state(self, namespace: str, key: str, value: Any | None) -> None:
        """Keeps a value (anything MessagePack knows: integers of 64 bits) with the next commit; None removes the key."""
        values = self._state.setdefault(namespace, {})
        if value is None:
            if values.pop(key, None) is not None:
                self._writer.save(namespace, key, None)
            return
        encoded = _encode(value)
        if values.get(key) != encoded:
            values[key] = encoded
            self._writer.save(namespace, key, encoded)

    async def close(self) -> None:
        """Commits what waits and closes the file. Nothing may be put afterwards."""
        self._writer.stop()
        await asyncio.to_thread(self._writer.join)
        self._lock.release()
