"""The one thread that touches the disk: group commit, and reading between two commits.

What it has to say goes to the event loop by `call_soon_threadsafe`. It never blocks the loop, and the loop never waits for it.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from edge_agent.spool.buffer import Buffer
from edge_agent.spool.disk import Disk
from edge_agent.spool.entry import Entry, SpoolFill
from edge_agent.spool.ranges import Ranges

BATCH = 256


class _Job:
    """Something to do in the thread, for somebody who waits in the event loop."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.future: Future[Any] = Future()
        self._work = work

    def run(self) -> None:
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self._work())
            finally:
                self.cancel()

    def cancel(self) -> None:
        if not self.future.done() and not self.future.cancel():
            self.future.set_exception(RuntimeError("the spool's thread has ended"))


class Writer:
    """Takes what the buffer holds to the disk within `commit_s`, or keeps it in memory while there is no disk."""

    def __init__(
        self,
        disk: Disk,
        buffer: Buffer,
        *,
        commit_s: float,
        loop: AbstractEventLoop,
        on_commit: Callable[[Sequence[Entry]], None],
    ) -> None:
        self._disk = disk
        self._buffer = buffer
        self._commit_s = commit_s
        self._loop = loop
        self._on_commit = on_commit
        self._condition = threading.Condition()
        self._due: float | None = None
        self._jobs: deque[_Job] = deque()
        self._forget = Ranges()
        self._state: dict[tuple[str, str], bytes | None] = {}
        self._stopping = False
        self._has_ended = False
        self._counting = threading.Lock()
        self._fill = disk.fill()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)

    # -- called from the event loop

    def start(self) -> None:
        self._thread.start()

    def wake(self, *, now: bool = False) -> None:
        """Something waits to be written: within the commit interval, or at once."""
        if self._due is not None and not now:
            return
        with self._condition:
            if now:
                self._due = 0.0
            elif self._due is None:
                self._due = time.monotonic() + self._commit_s
            self._condition.notify()

    def forget(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Keys that need not be kept any more."""
        with self._condition:
            for low, high in ranges:
                self._forget.add(low, high)
        self.wake()

    def save(self, namespace: str, key: str, value: bytes | None) -> None:
        with self._condition:
            self._state[namespace, key] = value
        self.wake()

    def put_with(self, entry: Entry, place: tuple[str, str], value: bytes) -> list[Entry]:
        """A message, and state that goes into the same commit; gives what had to go for it."""
        with self._condition:
            dropped = self._buffer.put(entry)
            self._state[place] = value
        return dropped

    def fill(self) -> SpoolFill:
        with self._counting:  # a message on its way to the disk is counted once, at every moment
            disk, (msgs, size, oldest) = self._fill, self._buffer.fill()
        return SpoolFill(disk.msgs + msgs, disk.bytes + size, oldest if disk.oldest_ms is None else disk.oldest_ms)

    def call(self, work: Callable[[], Any]) -> Future[Any]:
        """Runs `work` in the thread, between two commits. Cancelled when the thread has ended."""
        job = _Job(work)
        with self._condition:
            if self._has_ended:
                job.cancel()
            else:
                self._jobs.append(job)
                self._condition.notify()
        return job.future

    def stop(self) -> None:
        """Ends the thread after a last commit. `join` waits for it."""
        with self._condition:
            self._stopping = True
            self._condition.notify()

    def join(self) -> None:
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        try:
            self._disk.prepare()
            while not self._has_ended:
                self._turn()
        finally:  # also when a bug ends the thread: nobody waits for it for ever
            with self._condition:
                self._has_ended = True
            for job in self._jobs:
                job.cancel()
            self._disk.close()

    def _turn(self) -> None:
        with self._condition:
            while not (self._stopping or self._jobs or self._is_due() or self._disk.can_rescue):
                self._condition.wait(self._timeout())
            is_due, stopping = self._is_due(), self._stopping
        if is_due or stopping:
            self.commit_all()
        rescues = self._disk.can_rescue
        if rescues and not (is_due or stopping):
            self._disk.rescue_some()
        for _ in range(len(self._jobs)):
            self._jobs.popleft().run()
        if rescues and not self._disk.can_rescue:
            self._count()
        with self._condition:
            self._has_ended = stopping and not self._jobs

    def _is_due(self) -> bool:
        due, retry_at = self._due, self._disk.retry_at
        now = time.monotonic()
        return (due is not None and now >= due) or (retry_at is not None and now >= retry_at)

    def _timeout(self) -> float | None:
        times = [at for at in (self._due, self._disk.retry_at) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def commit_all(self) -> None:
        """Writes what waits now, in batches. In the thread only."""
        self._write_resident()
        with self._condition:
            self._due = None
            forget, self._forget = self._forget, Ranges()
            state, self._state = self._state, {}
            waiting = len(self._buffer)
        # State goes with the last batch of what was put before it: what it says may rest on those messages.
        is_empty = not waiting
        while waiting > 0:
            batch = self._buffer.take(min(BATCH, waiting))
            waiting -= len(batch) or waiting  # what was shed meanwhile is not there any more
            self._commit(batch, forget, {} if waiting > 0 else state)
            forget = Ranges()
        if is_empty and (forget or state):
            self._commit([], forget, state)
        self._count()

    def _commit(self, batch: list[Entry], forget: Ranges, state: dict[tuple[str, str], bytes | None]) -> None:
        self._buffer.forget(forget)
        if self._disk.open() and self._disk.store(batch, forget, state):
            self._count(partial(self._buffer.done, batch))
        else:
            self._buffer.keep(batch)
            with self._condition:
                for low, high in forget:
                    self._forget.add(low, high)
                self._state = {**state, **self._state}
        if batch:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self._on_commit, batch)

    def _count(self, settle: Callable[[], None] = lambda: None) -> None:
        """Takes the figures of the disk anew; what `settle` takes out of memory is in them."""
        fill = self._disk.fill()
        with self._counting:
            self._fill = fill
            settle()

    def _write_resident(self) -> None:
        """What was handed on without a disk goes to it, once there is one."""
        with self._condition:
            forget = Ranges(self._forget)
        while entries := self._buffer.resident(BATCH):
            if not (self._disk.open() and self._disk.store(entries, forget, {})):
                return
            self._count(partial(self._buffer.written, entries[-1].key))
        self._disk.open()

    def read(self, after_key: int, limit: int, max_bytes: int, *, newest_first: bool = False) -> list[Entry]:
        """Committed entries beyond a key, in reading order. In the thread only."""
        if newest_first and after_key == 0:
            after_key = 2**63 - 1
        with self._condition:
            skip = Ranges(self._forget)
        memory = self._buffer.beyond(after_key, limit, skip, newest_first=newest_first)
        disk = self._disk.read(after_key, limit, max_bytes, newest_first, skip)
        return _within((memory + disk if newest_first else disk + memory)[:limit], max_bytes)


def _within(entries: list[Entry], max_bytes: int) -> list[Entry]:
    """As many from the front as fit, but one at least."""
    size = 0
    for index, entry in enumerate(entries):
        size += len(entry.payload)
        if size > max_bytes and index:
            return entries[:index]
    return entries
