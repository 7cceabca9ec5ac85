"""A centre for the tests: ingest with a store of the test's choice, and an agent's side that publishes and counts receipts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.deadletter import DeadLetters
from gateway.ingest import Ingest, Limits
from gateway.inventory import Inventory
from gateway.mqtt import Incoming, MqttSession
from gateway.stores.base import Refused, RowBatch, Store
from gateway.stores.sqlite import SqliteStore
from gateway.stores.sqlite_write import Retention
from tests.gateway.message_box import AGENT, NOW, SITE, TOPICS
from tests.gateway.mqtt_box import settings, until

QUICK = Limits(retry_s=0.01, store_down_s=0.2, stop_s=3.0)


@dataclass
class Centre:
    """Everything of one worker, running."""

    ingest: Ingest
    store: Store
    inventory: Inventory
    dead: DeadLetters
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def figure(self, name: str) -> int:
        value = self.ingest.figures()[name]
        assert isinstance(value, int)
        return value

    async def settled(self, count: int) -> None:
        """So many messages were taken in and are stored, dead or otherwise done with."""
        await until(lambda: self.figure("settled") >= count, f"{count} settled messages")


def sqlite_store(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "store.db", retention=Retention(raw_days=None), wall_ms=lambda: NOW)


@asynccontextmanager
async def centre(
    port: int,
    folder: Path,
    *,
    store: Store | None = None,
    registered: Sequence[tuple[str, str]] | None = ((SITE, AGENT),),
    limits: Limits = QUICK,
    client_id: str = "ingest-1",
    wait: bool = True,
) -> AsyncIterator[Centre]:
    """Runs until left; what it keeps on the disk stays in `folder`."""
    async with AsyncExitStack() as stack:
        kept = store or sqlite_store(folder)
        await kept.open()
        stack.push_async_callback(kept.close)
        inventory = Inventory(folder / "inventory.db", registered=registered, wall_ms=lambda: NOW)
        await inventory.open()
        stack.push_async_callback(inventory.close)
        dead = DeadLetters(folder / "dead", wall_ms=lambda: NOW)
        dead.open()
        stack.callback(dead.close)
        ingest = Ingest(
            settings(port),
            client_id=client_id,
            store=kept,
            inventory=inventory,
            dead=dead,
            limits=limits,
            wall_ms=lambda: NOW,
        )
        one = Centre(ingest, kept, inventory, dead, asyncio.create_task(ingest.run()))
        stack.push_async_callback(one.stop)
        if wait:
            await until(lambda: ingest.figures()["connected"] is True)
        yield one


@dataclass
class FakeAgent:
    """An agent's MQTT side: publishes what the test says, and hears `down/ack`."""

    session: MqttSession
    ok: dict[str, set[int]] = field(default_factory=dict)
    dead: dict[int, str] = field(default_factory=dict)
    receipts: list[Incoming] = field(default_factory=list)
    pubacks: list[int] = field(default_factory=list)

    def heard(self, message: Incoming) -> None:
        self.receipts.append(message)
        document = msgspec.json.decode(message.payload)
        assert document["v"] == 1
        for a, b in document["ok"]:
            self.ok.setdefault(document["epoch"], set()).update(range(a, b + 1))
        self.dead.update((seq, reason) for seq, reason in document.get("dead", ()))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.session.publish(topic, payload, retain=retain, on_ack=self.pubacks.append)

    async def acknowledged(self, count: int, epoch: str | None = None) -> None:
        await until(lambda: sum(len(self.ok[e]) for e in self.ok if epoch in (None, e)) >= count, f"{count} receipts")


@asynccontextmanager
async def fake_agent(port: int, client_id: str = "agent", topics: object = TOPICS) -> AsyncIterator[FakeAgent]:
    agents: list[FakeAgent] = []
    session = MqttSession(
        settings(port), client_id=client_id, session_expiry_s=60, on_message=lambda message: agents[0].heard(message)
    )
    agents.append(FakeAgent(session))
    session.subscribe([(topics.down("ack"), 1)])  # type: ignore[attr-defined]
    task = asyncio.create_task(session.run())
    try:
        await until(lambda: session.connected)
        yield agents[0]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class MoodyStore:
    """A real store behind a door that a test opens and closes: waits for `hold`, then raises the next of `moods`, if any."""

    name = "moody"

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.moods: list[Exception] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.writes = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.sizes: list[int] = []

    async def write(self, batch: RowBatch) -> list[Refused]:
        self.writes += 1
        self.sizes.append(len(batch))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.hold.wait()
            if self.moods:
                raise self.moods.pop(0)
            return await self.inner.write(batch)
        finally:
            self.in_flight -= 1

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)
