"""Takes messages from the broker to the store and tells the agents what is safe. The only place that acknowledges.

A message is acknowledged to the broker, in order of receipt, and on `down/ack`, after the store has its rows or the dead-letter
file has the message. Memory is bounded: a full window stops reading the socket, a store that is down for 20 s ends the session.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog

from device_profiles.errors import StoreUnavailable
from gateway.contract import messages
from gateway.contract.topics import VERSION, Topics
from gateway.deadletter import DeadLetters
from gateway.intake import Intake, Origin, Reader, Receipt
from gateway.inventory import Inventory
from gateway.mqtt import Incoming, MqttSession, MqttSettings
from gateway.stores.base import Refused, Store, StoreMisconfigured

T = TypeVar("T")
_log = structlog.get_logger("ingest")

ACK_EXPIRY_S = 300
LONE_CLIENT = "ingest-1"
"""The usual client id of a worker; a broker keeps two from having it at one time."""
SESSION_EXPIRY_S = 60
_RETRY_CAP_S = 60.0
_SLICE = 250
"""Messages taken in before the loop gets a turn."""
_LATENCIES = 4096
_MOST_VOUCHED = 10_000
_MOST_RECEIPTS = 200_000
"""Sequence numbers kept for agents while the broker is away; beyond it the agents' resend settles the matter."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one worker."""

    receive_maximum: int = 1000
    batch_messages: int = 500
    """Half of the Receive Maximum: one half is taken in while the other is being written."""
    batch_rows: int = 5000
    batch_bytes: int = 8 * 1024 * 1024
    window_messages: int = 4000
    window_bytes: int = 32 * 1024 * 1024
    """What may wait between the socket and the store; beyond it reading stops."""
    in_flight: int = 2
    store_down_s: float = 20.0
    retry_s: float = 0.5
    stop_s: float = 8.0


class Ingest:
    """One worker. Hand it open parts, `run` it, cancel it: what was taken in is then stored first, as far as the time allows."""

    def __init__(
        self,
        settings: MqttSettings,
        *,
        client_id: str,
        store: Store,
        inventory: Inventory,
        dead: DeadLetters,
        limits: Limits = Limits(),
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._store = store
        self._inventory = inventory
        self._dead = dead
        self._limits = limits
        self._wall_ms = wall_ms
        self._reader = Reader(inventory)
        self._window: deque[Incoming] = deque()
        self._window_bytes = 0
        self._stirred = asyncio.Event()
        """Something arrived, or a write ended."""
        self._may_connect = asyncio.Event()
        self._may_connect.set()
        self._leave = asyncio.Event()
        self._worked_off = asyncio.Event()
        self._is_paused = False
        self._receipts: dict[Origin, Receipt] = {}
        self._latency_ms: deque[int] = deque(maxlen=_LATENCIES)
        self.alarms: dict[str, str] = {}
        self._vouched_ms: dict[tuple[str, str], int] = {}
        self._worker = "" if client_id == LONE_CLIENT else client_id
        self.count: dict[str, int] = dict.fromkeys(
            (
                "received",
                "settled",
                "stored",
                "points",
                "dead",
                "batches",
                "retries",
                "receipts",
                "disconnects",
                "replayed",
            ),
            0,
        )
        self._session = MqttSession(
            settings,
            client_id=client_id,
            session_expiry_s=SESSION_EXPIRY_S,
            receive_maximum=limits.receive_maximum,
            manual_ack=True,
            on_message=self._received,
            on_connect=self._connected,
            on_disconnect=self._disconnected,
            on_alarm=self._alarm,
        )
        base = f"{settings.root}/{VERSION}/+/+/up"
        self._session.subscribe([(f"$share/ingest-{kind}/{base}/{kind}/#", 1) for kind in ("data", "hist", "event")])
        self._session.subscribe(
            [(f"{base}/{kind}", 1) for kind in ("status", "caps", "site", "config/reported", "dev/+/+", "alarm/+/+")]
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stay_connected(), name="ingest-session")
            group.create_task(self._work(), name="ingest-work")
            group.create_task(self._watch_replays(), name="ingest-replays")

    async def _stay_connected(self) -> None:
        """A session while the store is there to take what it brings."""
        while True:
            await self._may_connect.wait()
            self._leave.clear()
            session = asyncio.create_task(self._session.run(), name="ingest-mqtt")
            leave = asyncio.create_task(self._leave.wait())
            try:
                await asyncio.wait((session, leave), return_when=asyncio.FIRST_COMPLETED)
                if session.done():
                    session.result()
            except asyncio.CancelledError:
                self._session.pause()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.stop_s):
                        await self._worked_off.wait()
                raise
            finally:
                leave.cancel()
                session.cancel()
                await asyncio.gather(session, leave, return_exceptions=True)
            self._window.clear()  # the broker, or the agents, send it again
            self._window_bytes = 0
            self._is_paused = False
            self._session.resume()
            self.count["disconnects"] += 1

    async def _work(self) -> None:
        """Takes what is there, writes it, and settles writes in the order in which they began."""
        running: deque[asyncio.Task[None]] = deque()
        try:
            while True:
                while running and running[0].done():
                    running.popleft().result()
                if self._window and len(running) < self._limits.in_flight:
                    intake = await self._take()
                    task = asyncio.create_task(
                        self._bring(intake, running[-1] if running else None), name="ingest-write"
                    )
                    task.add_done_callback(lambda _: self._stirred.set())
                    running.append(task)
                    continue
                self._stirred.clear()
                await self._stirred.wait()
        finally:
            if running:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.stop_s):
                        await asyncio.gather(*running, return_exceptions=True)
                for task in running:
                    task.cancel()
            self._worked_off.set()

    # --- the way of a message -----------------------------------------------------------------------------------------

    def _received(self, message: Incoming) -> None:
        self._window.append(message)
        self._window_bytes += len(message.payload)
        self._stirred.set()
        limits = self._limits
        if not self._is_paused and (
            len(self._window) >= limits.window_messages or self._window_bytes >= limits.window_bytes
        ):
            self._is_paused = True
            self._session.pause()

    async def _take(self) -> Intake:
        """What waits, at most a batch of it."""
        limits, window, intake = self._limits, self._window, Intake()
        taken_bytes, now_ms = 0, self._wall_ms()
        while (
            window
            and len(intake.incoming) < limits.batch_messages
            and len(intake.batch) < limits.batch_rows
            and taken_bytes < limits.batch_bytes
        ):
            for _ in range(min(_SLICE, len(window))):
                message = window.popleft()
                taken_bytes += len(message.payload)
                self._window_bytes -= len(message.payload)
                self._reader.take(intake, message, now_ms)
            await asyncio.sleep(0)
        self.count["received"] += len(intake.incoming)
        if len(self._vouched_ms) > _MOST_VOUCHED:
            self._vouched_ms = {key: at for key, at in self._vouched_ms.items() if at >= now_ms}
        intake.vouch(now_ms, self._vouched_ms, self._worker)
        if (
            self._is_paused
            and len(window) < limits.window_messages // 2
            and self._window_bytes < limits.window_bytes // 2
        ):
            self._is_paused = False
            self._session.resume()
        return intake

    async def _bring(self, intake: Intake, before: asyncio.Task[None] | None) -> None:
        """Into the store and the dead-letter file; then, after the intake before it, the word that it is there."""
        refused = await self._write(intake)
        for orphan in intake.refuse(refused):
            self._alarm("ledger_refused", f"{orphan.reason}: {orphan.detail}")
        await self._bury(intake)
        await self._insist(self._inventory.flush)
        if before is not None:
            await asyncio.wait((before,))
        self._settle(intake)

    async def _write(self, intake: Intake) -> list[Refused]:
        return await self._insist(lambda: self._store.write(intake.batch)) if intake.batch.rows else []

    async def _insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until the store, or the inventory's file, has it. Nothing else ends this but cancellation."""
        failures, began = 0, time.monotonic()
        while True:
            try:
                result = await attempt()
            except StoreUnavailable as error:
                failures += 1
                self.count["retries"] += 1
                self._store_down(error, time.monotonic() - began)
                await asyncio.sleep(wait_s(error, failures, self._limits.retry_s))
            else:
                self._store_up(failures)
                return result

    async def _bury(self, intake: Intake) -> None:
        """The dead letters are on the disk; a disk that refuses is waited for, because nothing is dropped."""
        failures = 0
        for dead in intake.dead.values():
            if self._dead.add(dead.topic, dead.payload, dead.reason, dead.detail, dead.lines):
                self.count["dead"] += 1
                _log.warning("dead letter", topic=dead.topic, reason=dead.reason, detail=dead.detail)
        while intake.dead:
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._dead.sync)
                self.alarms.pop("dead_letters", None)
                return
            except StoreUnavailable as error:
                failures += 1
                self._alarm("dead_letters", str(error))
                await asyncio.sleep(wait_s(error, failures, self._limits.retry_s))

    def _settle(self, intake: Intake) -> None:
        for origin, receipt in intake.receipts.items():
            self._receipts.setdefault(origin, Receipt()).add(receipt)
        self._send_receipts()
        for message in intake.incoming:
            self._session.ack(message)
        now_ms = self._wall_ms()
        step = max(1, len(intake.acquired_ms) // 64)
        self._latency_ms.extend(now_ms - t_ms for t_ms in intake.acquired_ms[::step])
        self.count["batches"] += 1
        self.count["settled"] += len(intake.incoming)
        self.count["stored"] += len(intake.incoming) - len(intake.dead)
        self.count["points"] += intake.points

    def _send_receipts(self) -> None:
        if not self._session.connected:
            if sum(len(receipt.ok) for receipt in self._receipts.values()) > _MOST_RECEIPTS:
                self._receipts.clear()
            return
        for origin in list(self._receipts):
            site, agent, epoch = origin
            document = messages.encode(self._receipts[origin].document(epoch))
            topic = Topics(site, agent, root=self._settings.root).down("ack")
            if self._session.publish(topic, document, qos=1, expiry_s=ACK_EXPIRY_S):
                del self._receipts[origin]
                self.count["receipts"] += 1

    # --- the store's moods --------------------------------------------------------------------------------------------

    def _store_down(self, error: StoreUnavailable, for_s: float) -> None:
        name = "store_misconfigured" if isinstance(error, StoreMisconfigured) else "store_unavailable"
        self._alarm(name, str(error))
        if isinstance(error, StoreMisconfigured) or for_s >= self._limits.store_down_s:
            self._may_connect.clear()
            self._leave.set()

    def _store_up(self, failures: int) -> None:
        if failures:
            _log.info("store is back", store=self._store.name, attempts=failures)
        self.alarms.pop("store_unavailable", None)
        self.alarms.pop("store_misconfigured", None)
        self._may_connect.set()

    def _connected(self, session_present: bool) -> None:
        self.alarms.pop("broker", None)
        if not session_present:
            self._inventory.current.begin()
        _log.info("connected", broker=self._settings.url, session_present=session_present)
        self._send_receipts()

    def _disconnected(self, reason: str) -> None:
        self.alarms["broker"] = reason
        _log.warning("disconnected", reason=reason)

    def _alarm(self, name: str, text: str) -> None:
        if self.alarms.get(name) != text:
            _log.error(name, detail=text)
        self.alarms[name] = text

    # --- replays ------------------------------------------------------------------------------------------------------

    async def _watch_replays(self) -> None:
        """What people asked to replay goes the whole way again; the receipt was sent long ago."""
        while True:
            for path, letter in self._dead.replays():
                payload = letter.payload
                if payload is None:
                    self._dead.refused_again(path)
                    continue
                intake = Intake()
                self._reader.take(intake, Incoming(letter.topic, payload, 0, False, 0), self._wall_ms())
                intake.receipts.clear()
                refused = [] if intake.dead else await self._write(intake)
                if refused or intake.dead or not intake.batch.rows:
                    self._dead.refused_again(path)
                    _log.warning("replayed message is refused again", topic=letter.topic, id=letter.id)
                else:
                    self._dead.replayed(path, letter)
                    self.count["replayed"] += 1
            await asyncio.sleep(1.0)

    # --- figures ------------------------------------------------------------------------------------------------------

    def figures(self) -> dict[str, object]:
        """One JSON-ready document: what was received, stored and refused, what waits, and what is wrong."""
        latency = sorted(self._latency_ms)
        return {
            "connected": self._session.connected,
            "waiting": len(self._window),
            **self.count,
            "seq_conflicts": self._reader.seq_conflicts,
            "dev_conflicts": self._reader.dev_conflicts,
            "unregistered": self._reader.unregistered,
            "dead_by_reason": dict(self._dead.by_reason),
            "latency_ms": {"p50": _quantile(latency, 0.5), "p99": _quantile(latency, 0.99)},
            "alarms": dict(self.alarms),
        }


def wait_s(error: StoreUnavailable, failures: int, first_s: float) -> float:
    """How long to wait after so many failures: what the store asks for, at most a minute, or a doubling backoff with jitter."""
    backoff = min(_RETRY_CAP_S, first_s * 2.0 ** min(failures - 1, 16)) * random.uniform(0.5, 1.0)
    return max(min(error.retry_after_s or 0.0, _RETRY_CAP_S), backoff)


def _quantile(ordered: list[int], share: float) -> int | None:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
