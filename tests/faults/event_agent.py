"""`plantroom run` with door controllers that are a file, for kills of the agent while it reads what they kept.

    python event_agent.py AGENT_YAML RECORDS

Each line of RECORDS is a record: `{"unit", "index", "t", "event", "card", "data"}`; a new line is told live as well.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from device_profiles.credential import Clear
from drivers.base import Address, LinkConfig
from drivers.fake import FakeDevice
from drivers.fake_doors import DoorSession, FakeDoors
from drivers.listening import Occurrence
from edge_agent import agent
from edge_agent.cli import run

_PORTION_S = 0.03
_LOOK_S = 0.05
VALUES = ("voltage_l1", "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3")


class FileDoors(FakeDoors):
    """Doors whose memory is a file that only grows."""

    def __init__(self, path: Path) -> None:
        super().__init__({unit: FakeDevice(dict.fromkeys(VALUES, 1.0)) for unit in (1, 2)}, portion=20, sleep=_slowly)
        self._file = path.open()

    def look(self) -> list[tuple[int, Occurrence]]:
        """The records since the last look."""
        found = []
        while line := self._file.readline():
            record = json.loads(line)
            clear = {"card": Clear(record["card"])} if record["card"] else {}
            key, unit = f"record:{record['index']}", record["unit"]
            told = Occurrence("", record["event"], key, record["data"], clear, record["t"], record["index"])
            self.records.setdefault(unit, []).append(told)
            found.append((unit, told))
        return found

    @asynccontextmanager
    async def _open_doors(self, link: LinkConfig) -> AsyncIterator[DoorSession]:
        self.look()
        async with super()._open_doors(link) as session:
            slow = _SlowSession(self, link)
            self.session = slow
            telling = asyncio.create_task(self._tell(slow), name="live records")
            try:
                yield slow
            finally:
                telling.cancel()
                slow.close()
                session.close()

    async def _tell(self, session: DoorSession) -> None:
        while True:
            for unit, told in self.look():
                session.arrive(unit, told)
            await asyncio.sleep(_LOOK_S)


class _SlowSession(DoorSession):
    async def recall_events(self, device: Address, after: int) -> AsyncIterator[Sequence[Occurrence]]:
        async for portion in super().recall_events(device, after):
            await asyncio.sleep(_PORTION_S)
            yield portion


async def _slowly(seconds: float) -> None:
    await asyncio.sleep(seconds)


if __name__ == "__main__":
    agent.load_driver = lambda protocol: FileDoors(Path(sys.argv[2]))  # type: ignore[assignment]
    raise SystemExit(run.command([sys.argv[1]]))
