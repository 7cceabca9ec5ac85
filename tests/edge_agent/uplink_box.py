"""A site's uplink and a small centre, over a real broker: what the tests of the uplink and of its faults share.

The centre is not the gateway's ingest: it knows MQTT and `down/ack` only, keeps what it got in memory, and can be told to be
silent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.flight import Limits
from edge_agent.model import SpoolSettings
from edge_agent.spool import Kind, Spool
from edge_agent.uplink import Uplink
from gateway.contract import messages
from gateway.contract.topics import Topics, parse
from gateway.mqtt import Incoming, MqttSession, MqttSettings
from tests.gateway.mqtt_box import settings, until

__all__ = ["QUICK", "Centre", "Site", "centre", "settings", "site", "until"]

QUICK = Limits(resend_s=0.3, resend_max_s=2.0, probe_s=0.3, silence_s=5.0, tick_s=0.05)


@dataclass
class Centre:
    """Subscribes to all `up/#` of one root and acknowledges data and events."""

    mqtt: MqttSettings
    client_id: str = "centre"
    got: Counter[tuple[str, int]] = field(default_factory=Counter)
    bodies: dict[tuple[str, int], set[bytes]] = field(default_factory=dict)
    by_kind: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    retained: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, bytes]] = field(default_factory=list)
    is_silent: bool = False
    drop_every: int = 0
    session: MqttSession = field(init=False)
    _task: asyncio.Task[None] | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        self.session = MqttSession(
            self.mqtt, client_id=self.client_id, session_expiry_s=60, manual_ack=True, on_message=self._received
        )
        # A group a filter: rumqttd keeps one cursor a group, and messages of a second filter in it are never delivered.
        kinds = ("data", "hist", "event")
        self.session.subscribe([(f"$share/centre-{kind}/plantroom/v1/+/+/up/{kind}/#", 1) for kind in kinds])
        self.session.subscribe([(f"plantroom/v1/+/+/up/{rest}", 1) for rest in ("status", "caps", "site", "dev/#")])
        self.session.subscribe([("plantroom/v1/+/+/up/cmd/#", 1), ("plantroom/v1/+/+/up/config/#", 1)])

    def _received(self, message: Incoming) -> None:
        self.log.append((message.topic, message.payload))
        route = parse(message.topic)
        assert route is not None
        kind = route.rest[0]
        if kind in ("data", "hist", "event"):
            document = json.loads(message.payload)
            number = (document["epoch"], int(document["seq"]))
            self.got[number] += 1
            self.bodies.setdefault(number, set()).add(message.payload)
            self.by_kind.setdefault(kind, []).append(number)
            self._count += 1
            if not self.is_silent and not (self.drop_every and self._count % self.drop_every == 0):
                receipt = messages.encode(messages.Ack(epoch=number[0], ok=[(number[1], number[1])]))
                self.session.publish(Topics(route.site, route.agent).down("ack"), receipt, expiry_s=300)
        else:
            self.retained["/".join(route.rest)] = message.payload
        self.session.ack(message)

    async def start(self) -> None:
        self._task = asyncio.create_task(self.session.run())
        await until(lambda: self.session.connected, "the centre to connect")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


class Site:
    """A spool and an uplink, hooked up as the agent does it."""

    def __init__(self, folder: Path, mqtt: MqttSettings, *, limits: Limits = QUICK, delivery: str = "ingest") -> None:
        self.wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
        self.topics = Topics("hq", "gw-01")
        self.lost: list[object] = []
        self.spool = Spool.open(
            SpoolSettings(folder / "spool.db", floor_free_bytes=0, commit_ms=10, ballast_bytes=0),
            site="hq",
            agent="gw-01",
            on_commit=lambda entries: self.uplink.committed(entries),
            on_trouble=lambda kind, fields: self.lost.append((kind, fields)),
        )
        self.uplink = Uplink(
            settings=mqtt,
            topics=self.topics,
            spool=self.spool,
            status=self._status,
            delivery=delivery,
            wall_ms=self.wall_ms,
            limits=limits,
        )
        self.task: asyncio.Task[None] | None = None

    def _status(self, state: str, sid: int) -> bytes:
        return messages.encode(messages.Status(state=state, epoch=self.spool.epoch, sid=sid))  # type: ignore[arg-type]

    def put(self, count: int, *, age_s: float = 0.0, device: str = "meter-01", size: int = 0) -> set[tuple[str, int]]:
        """Accepts `count` messages; returns their numbers."""
        t_ms = self.wall_ms() - int(age_s * 1000)
        pad = "x" * size

        def build(epoch: str, seq: int) -> bytes:
            s: dict[str, messages.Scalar] = {"n": seq, "pad": pad}
            return messages.encode(
                messages.Telemetry(
                    cls="electricity_meter", epoch=epoch, seq=seq, meta="7c1e", clk="ntp", t=t_ms + seq, s=s
                )
            )

        return {(self.spool.epoch, self.spool.put(Kind.TELEMETRY, device, t_ms, build)) for _ in range(count)}

    def start(self) -> None:
        self.task = asyncio.create_task(self.uplink.run())

    async def kill(self) -> None:
        """Ends the uplink without a farewell of its own."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


@asynccontextmanager
async def site(folder: Path, mqtt: MqttSettings, **more: object) -> AsyncIterator[Site]:
    """A running site."""
    one = Site(folder, mqtt, **more)  # type: ignore[arg-type]
    one.start()
    try:
        yield one
    finally:
        await one.kill()
        await one.spool.close()


@asynccontextmanager
async def centre(mqtt: MqttSettings, **more: object) -> AsyncIterator[Centre]:
    """A running centre."""
    one = Centre(mqtt, **more)  # type: ignore[arg-type]
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
