"""From the spool to ingest: publishes, counts credit, sends again, and lets the spool forget what the store has.

It owns the agent's MQTT session and what goes over it. It must not lose track of a message: each one is in flight, in the
live queue, or on the disk beyond the history lane's cursor. Source: CONTRACT.md sections 1, 2 and 4.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import structlog

from edge_agent.flight import RULES, Flight, Limits, Sent
from edge_agent.history import History, Pages
from edge_agent.retained import Retained
from edge_agent.spool import Entry, SpoolFill
from gateway.contract.messages import Ack, Status
from gateway.contract.topics import Topics
from gateway.mqtt import FAILURE, NO_SUBSCRIBERS, Incoming, Message, MqttSession, MqttSettings

SESSION_EXPIRY_S = 24 * 3600
_EPOCHS = 50
_log = structlog.get_logger("uplink")
_decode_ack = msgspec.json.Decoder(Ack).decode
_decode_status = msgspec.json.Decoder(Status).decode


class Store(Pages, Protocol):
    """The part of the spool that is needed here."""

    epoch: str

    def forget(self, epoch: str, ranges: Iterable[tuple[int, int]]) -> None: ...
    def fill(self) -> SpoolFill: ...
    def load_state(self, namespace: str) -> dict[str, Any]: ...
    def save_state(self, namespace: str, key: str, value: Any | None) -> None: ...


class Uplink:
    """`committed` is the spool's on_commit. `status(state, sid)` gives the document of `up/status` (and the will)."""

    def __init__(
        self,
        *,
        settings: MqttSettings,
        topics: Topics,
        spool: Store,
        status: Callable[[str, int], bytes],
        delivery: str = "ingest",
        wall_ms: Callable[[], int],
        limits: Limits = RULES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._spool = spool
        self._status = status
        self._releases_on_puback = delivery == "broker"
        self._wall_ms = wall_ms
        self._limits = limits
        self._now = monotonic
        memory = spool.load_state("uplink")
        self._sid = int(memory.get("sid", 0))
        self._epochs: list[str] = [*memory.get("epochs", []), spool.epoch][-_EPOCHS:]
        spool.save_state("uplink", "epochs", self._epochs)
        self._session = MqttSession(
            replace(settings, username=settings.username or topics.agent),
            client_id=topics.agent,
            session_expiry_s=SESSION_EXPIRY_S,
            will=self._will,
            on_message=self._received,
            on_connect=self._connected,
            on_disconnect=self._disconnected,
            on_alarm=self._alarm,
        )
        self._handlers: dict[str, Callable[[Incoming], None]] = {}
        self._after_connect: list[Callable[[], None]] = []
        self._session.subscribe([(topics.down("ack"), 1), (topics.up("status"), 1)])
        self._retained = Retained(self._publish_retained, spool.load_state("retained"), self._remember_retained)
        self._flight = Flight(limits)
        self._live: deque[Entry] = deque()
        self._live_bytes = 0
        self._live_keys: set[int] = set()
        self._history = History(self, spool, limits, monotonic)
        self._probing = ""
        self._probe_at = 0.0
        self._acked_at = monotonic()
        self._checked_at = monotonic()
        self._running: asyncio.Task[None] | None = None
        self.alarms: dict[str, str] = {}
        self.count: dict[str, int] = dict.fromkeys(
            ("published", "late", "acknowledged", "resent", "dead", "refused", "malformed", "disconnects"), 0
        )

    # What others hand over

    def committed(self, entries: Sequence[Entry]) -> None:
        """The spool has these on the disk; the young ones go out straight from memory."""
        if not self._session.connected:
            self._history.more()
            return
        limits = self._limits
        for entry in entries:
            if entry in self._flight:
                continue  # the history lane was faster
            size = len(entry.payload)
            if len(self._live) >= limits.live_queue_msgs or self._live_bytes + size > limits.live_queue_bytes:
                self._history.go_back(entry.key - 1)
                continue
            self._live.append(entry)
            self._live_bytes += size
            self._live_keys.add(entry.key)
        self._send_live()

    def retain(self, rest: str, payload: bytes) -> None:
        """The retained document `up/{rest}`; published when it changed. b"" removes it."""
        self._retained.set(rest, payload)

    def transient(self, rest: str, payload: bytes, *, qos: int = 0, expiry_s: int | None = None) -> bool:
        """Publish `up/{rest}` now or never: figures, answers. False when not connected."""
        return self._session.publish(self._topics.up(rest), payload, qos=qos, expiry_s=expiry_s)

    def answer(
        self, topic: str, payload: bytes, *, expiry_s: int, correlation: bytes | None, on_ack: Callable[[int], None]
    ) -> bool:
        """Publish the answer to a request; `on_ack` gets the PUBACK's reason, or CONNECTION_LOST. False: nothing was taken."""
        return self._session.publish(topic, payload, expiry_s=expiry_s, correlation=correlation, on_ack=on_ack)

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Call this after each connection, behind all that the contract wants first."""
        self._after_connect.append(callback)

    def republish(self) -> None:
        """Publish every retained document anew, whatever the broker is known to have."""
        if self._session.connected:
            self._retained.disconnected()
            self._retained.connected(session_present=False)

    def hear(self, rest: str, handler: Callable[[Incoming], None]) -> None:
        """Subscribe to `down/{rest}`, where the last level may be `+`."""
        self._handlers[rest.removesuffix("+")] = handler
        self._session.subscribe([(self._topics.down(rest), 1)], retain_as_published=True)

    def figures(self) -> dict[str, Any]:
        """For metrics and people; JSON-ready."""
        return {
            "connected": self._session.connected,
            "connects": self._session.connects,
            "inflight_msgs": self._flight.msgs,
            "inflight_bytes": self._flight.bytes,
            "ack_p99_ms": round(self._flight.ack_p99_s * 1000, 1),
            "behind": self._history.is_behind,
            "probing": self._probing or None,
            "alarms": dict(self.alarms),
            **self.count,
        }

    # Life

    async def run(self) -> None:
        """Until cancelled, or `stop`."""
        try:
            async with asyncio.TaskGroup() as group:
                self._running = group.create_task(self._session.run(), name="uplink-session")
                beside = [
                    group.create_task(self._history.run(), name="uplink-history"),
                    group.create_task(self._tick(), name="uplink-tick"),
                ]
                await asyncio.wait((self._running,))
                for task in beside:
                    task.cancel()
        finally:
            self._running = None

    async def stop(self) -> None:
        """Say `offline`, wait until the broker has it, and disconnect; `run` ends with it."""
        if self._session.connected:
            answered = asyncio.Event()
            offline = self._status("offline", self._sid)
            if self._session.publish(self._topics.up("status"), offline, retain=True, on_ack=lambda _: answered.set()):
                await answered.wait()
        running = self._running
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _will(self) -> Message:
        self._sid += 1
        self._spool.save_state("uplink", "sid", self._sid)
        return Message(self._topics.up("status"), self._status("lost", self._sid), retain=True)

    def _say_online(self) -> None:
        self._session.publish(self._topics.up("status"), self._status("online", self._sid), retain=True)

    def _connected(self, session_present: bool) -> None:
        self.alarms.pop("broker", None)
        now = self._now()
        self._acked_at = now
        _log.info("connected", broker=self._session.settings.url, session_present=session_present, sid=self._sid)
        self._say_online()
        self._retained.connected(session_present)
        # A broker that has lost our session has lost its queues as well; otherwise only what it never answered is lost.
        self._flight.expire(now, everything=not session_present)
        self._probing = ""
        self._resend(now)
        self._history.wake()
        for callback in self._after_connect:
            callback()

    def _disconnected(self, reason: str) -> None:
        self.alarms["broker"] = reason
        self.count["disconnects"] += 1
        _log.warning("disconnected", reason=reason)
        self._retained.disconnected()
        self._drop_live()

    def _alarm(self, name: str, text: str) -> None:
        self.alarms[name] = text
        _log.error(name, detail=text)

    # Publishing

    def _send_live(self) -> None:
        live, flight = self._live, self._flight
        while live and flight.has_credit and not self._probing and self._session.connected:
            entry = live.popleft()
            self._live_bytes -= len(entry.payload)
            self._live_keys.discard(entry.key)
            self.launch(entry)

    def launch(self, entry: Entry) -> None:
        """Publish for the first time."""
        now = self._now()
        if not self._flight.msgs:
            self._acked_at = now  # silence counts from when there is something to acknowledge
        sent = self._flight.add(entry, now, is_late=self.is_late(entry))
        self._publish(sent)

    def is_late(self, entry: Entry) -> bool:
        return not entry.cls and self._wall_ms() - entry.t_ms > self._limits.live_s * 1000

    def _publish(self, sent: Sent) -> None:
        entry = sent.entry
        if entry.cls:
            topic = self._topics.event(entry.device, entry.cls)
        elif self.is_late(entry):
            topic = self._topics.hist(entry.device)
            self.count["late"] += 1
        else:
            topic = self._topics.data(entry.device)
        if self._session.publish(topic, entry.payload, on_ack=lambda reason: self._answered(sent, reason)):
            self.count["published"] += 1
        else:
            sent.is_lost = True

    def _answered(self, sent: Sent, reason: int) -> None:
        """The broker's PUBACK: not durability, but its failures tell us not to wait."""
        if reason < FAILURE and reason != NO_SUBSCRIBERS:
            sent.is_at_broker = True
            if self._releases_on_puback:
                self._take_receipt(sent.entry.epoch, [(sent.entry.seq, sent.entry.seq)])
            return
        sent.is_lost = True
        if reason == NO_SUBSCRIBERS:
            self._probe_only("nobody subscribes: ingest is not there")
        elif reason <= 0xFF:
            self.count["refused"] += 1
            self._probe_only(f"the broker refuses our messages with 0x{reason:02X}: look at its access list")

    def _probe_only(self, why: str) -> None:
        if not self._probing:
            _log.warning("sending probes only", reason=why, every_s=self._limits.probe_s)
            self._probe_at = self._now() + self._limits.probe_s
        self._probing = why

    # Acknowledgements

    def _received(self, message: Incoming) -> None:
        topics = self._topics
        if message.topic == topics.down("ack"):
            self._hear_ack(message)
        elif message.topic == topics.up("status"):
            self._hear_status(message)
        else:
            rest = message.topic.removeprefix(topics.down(""))
            handler = self._handlers.get(rest) or self._handlers.get(rest.rpartition("/")[0] + "/")
            if handler is not None:
                handler(message)

    def _hear_ack(self, message: Incoming) -> None:
        try:
            ack = _decode_ack(message.payload)
        except msgspec.DecodeError as exc:
            self.count["malformed"] += 1
            _log.warning("an acknowledgement cannot be read", detail=str(exc))
            return
        for seq, reason in ack.dead:
            self.count["dead"] += 1
            _log.warning("ingest put a message into the dead-letter file", epoch=ack.epoch, seq=seq, reason=reason)
        self._take_receipt(ack.epoch, ack.ok)

    def _take_receipt(self, epoch: str, ranges: Sequence[tuple[int, int]]) -> None:
        now = self._now()
        self._acked_at = now
        self.count["acknowledged"] += self._flight.acknowledge(epoch, ranges, now)
        self._spool.forget(epoch, ranges)
        if self._probing:
            _log.info("acknowledged again", after=self._probing)
            self._probing = ""
            self._flight.expire(now, everything=False)
            self._resend(now)
        self._send_live()
        self._history.wake()

    def _hear_status(self, message: Incoming) -> None:
        """Our own `lost`, published while we are here: say that we are. Somebody else's `online`: a second of us.

        Mosquitto 2.0.11 closes the older of two connections without a word, so the status is where a clone shows. What a
        broker kept from an earlier life of ours names an epoch that is remembered.
        """
        try:
            status = _decode_status(message.payload)
        except msgspec.DecodeError:
            return
        if status.state == "lost" and self._running is not None:
            self._say_online()
        elif status.state == "online" and status.epoch not in self._epochs and self._session.connects > 1:
            self._session.yield_identity()

    # Again

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._limits.tick_s)
            self.check()

    def check(self) -> None:
        """What only time brings: messages due again, probes, a silent ingest. Called every `tick_s`."""
        now = self._now()
        limits = self._limits
        if not self._session.connected:
            return
        if self._flight.msgs and now - self._acked_at > limits.silence_s and not self._probing:
            self._probe_only(f"no acknowledgement for {limits.silence_s:.0f} s")
        if self._probing:
            probe = self._flight.oldest()
            if now >= self._probe_at and probe is not None:
                self._probe_at = now + limits.probe_s
                self._again(probe, now)
        else:
            self._resend(now)
        self._retained.catch_up()
        self._look_for_strays(now)
        self._history.wake()

    def _resend(self, now: float) -> None:
        for sent in self._flight.due(now):
            self._again(sent, now)

    def _again(self, sent: Sent, now: float) -> None:
        self._flight.again(sent, now)
        self.count["resent"] += 1
        self._publish(sent)

    # The lanes

    def _drop_live(self) -> None:
        for entry in self._live:
            self._history.go_back(entry.key - 1)
        self._live.clear()
        self._live_bytes = 0
        self._live_keys.clear()

    def _look_for_strays(self, now: float) -> None:
        """Messages that a rescued file brought in behind the cursor: seen by the spool holding more than is under way."""
        if self._history.is_behind or now - self._checked_at < self._limits.probe_s:
            return
        self._checked_at = now
        if self._spool.fill().msgs > self._flight.msgs + len(self._live):
            self._history.go_back(0)

    def is_open(self) -> bool:
        return self._session.connected and not self._probing

    def has_room(self, *, late: bool) -> bool:
        return self._flight.has_late_credit if late else self._flight.has_credit and not self._live

    def is_under_way(self, entry: Entry) -> bool:
        return entry in self._flight or entry.key in self._live_keys

    def _remember_retained(self, rest: str, mark: int | None) -> None:
        self._spool.save_state("retained", rest, mark)

    def _publish_retained(self, rest: str, payload: bytes, on_ack: Callable[[int], None]) -> bool:
        return self._session.publish(self._topics.up(rest), payload, retain=True, on_ack=on_ack)
