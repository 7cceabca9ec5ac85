"""The spool against a model: any mixture of put, forget, backlog, state and reopening, clean or by kill."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.model import SpoolSettings
from edge_agent.spool import Entry, Kind, Spool

Number = tuple[str, int]


class SpoolMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.copies = 0
        self.put: dict[Number, bytes] = {}
        self.state: dict[str, int] = {}
        self.seen: list[Number] = []
        self.epochs: list[tuple[str, int]] = []
        self._open()

    def _open(self) -> None:
        self.trouble: list[str] = []
        options = {"commit_ms": 1, "ballast_bytes": 0, "floor_free_bytes": 0}

        async def opened() -> Spool:
            return Spool.open(
                SpoolSettings(self.folder / "spool.db", **options),
                site="hq",
                agent="gw-01",
                on_commit=lambda entries: self.seen.extend((entry.epoch, entry.seq) for entry in entries),
                on_trouble=lambda kind, fields: self.trouble.append(kind),
            )

        self.spool = self.loop.run_until_complete(opened())
        assert self.spool.previous == (self.epochs[-1] if self.epochs else None)
        assert self.spool.epoch not in {epoch for epoch, _ in self.epochs}
        self.epochs.append((self.spool.epoch, 0))

    @rule(count=st.integers(1, 9), size=st.sampled_from([1, 300, 5000]), kind=st.sampled_from(Kind))
    def add(self, count: int, size: int, kind: Kind) -> None:
        for _ in range(count):
            seq = self.spool.put(kind, "meter-01", 1, lambda epoch, seq: f"{epoch} {seq} ".encode() + bytes(size))
            epoch, last = self.epochs[-1]
            assert seq == last + 1
            self.epochs[-1] = (epoch, seq)
            self.put[epoch, seq] = f"{epoch} {seq} ".encode() + bytes(size)

    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        epoch, _ = data.draw(st.sampled_from(self.epochs))
        ranges = data.draw(st.lists(st.tuples(st.integers(-2, 40), st.integers(-2, 60)), max_size=3))
        self.loop.run_until_complete(self.spool.flush())
        self.spool.forget(epoch, ranges)
        for low, high in ranges:
            for seq in range(low, high + 1):
                self.put.pop((epoch, seq), None)

    @rule(key=st.sampled_from("abc"), value=st.none() | st.integers(-(2**63), 2**64 - 1))
    def save(self, key: str, value: int | None) -> None:
        self.spool.save_state("n", key, value)
        if value is None:
            self.state.pop(key, None)
        else:
            self.state[key] = value

    @rule()
    def close_and_open(self) -> None:
        self.loop.run_until_complete(self.spool.close())
        self._open()

    @rule()
    def kill_and_open(self) -> None:
        """What is on the disk once everything is committed, as if the process had been killed then."""
        self.loop.run_until_complete(self.spool.flush())
        self.copies += 1
        target = self.folder.with_name(f"{self.folder.name}-{self.copies}")
        shutil.copytree(self.folder, target)
        self.loop.run_until_complete(self.spool.close())
        shutil.rmtree(self.folder)
        self.folder = target
        self._open()

    @rule(limit=st.integers(1, 30), max_bytes=st.integers(1, 20_000), newest_first=st.booleans())
    def read_in_parts(self, limit: int, max_bytes: int, newest_first: bool) -> None:
        self.loop.run_until_complete(self.spool.flush())
        found: list[Entry] = []
        while part := self.loop.run_until_complete(
            self.spool.backlog(found[-1].key if found else 0, limit, max_bytes, newest_first=newest_first)
        ):
            assert len(part) <= limit
            assert len(part) == 1 or sum(len(entry.payload) for entry in part) <= max_bytes
            found += part
        keys = [entry.key for entry in found]
        assert keys == sorted(set(keys), reverse=newest_first)
        assert {(entry.epoch, entry.seq): entry.payload for entry in found} == self.put

    @invariant()
    def nothing_is_wrong(self) -> None:
        if not hasattr(self, "spool"):
            return
        assert self.spool.load_state("n") == self.state
        assert self.trouble == []
        assert len(self.seen) == len(set(self.seen))

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.loop.run_until_complete(self.spool.close())
            self.loop.run_until_complete(asyncio.sleep(0))
            assert len(self.seen) == sum(last for _, last in self.epochs), "each message is handed on once"
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)


SpoolMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
test_the_spool_does_what_the_model_does = SpoolMachine.TestCase
