"""One MQTT 5 session for both sides, over paho driven by its socket callbacks, so that reading can pause.

It owns connecting, TLS, reconnecting with backoff and acknowledging; it knows no topic of the contract. paho keeps the
protocol; `mqtt_wire` is the socket it sees. Every connection has a paho client of its own: what was in flight when one
ends is told to `on_ack` as CONNECTION_LOST and is never sent again by itself, because resending belongs to the spool.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import LinkError, LinkRefused
from gateway import mqtt_errors
from gateway.mqtt_connection import CONNECTION_LOST, Connection, Filter, Incoming, Message, load_paho
from gateway.mqtt_errors import FAILURE, NO_SUBSCRIBERS, TAKEN_OVER
from gateway.mqtt_packets import request_properties

__all__ = ["CONNECTION_LOST", "FAILURE", "NO_SUBSCRIBERS", "Incoming", "Message", "MqttSession", "MqttSettings"]


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """Where the broker is and who we are. The password never shows in a repr.

    `backoff_s` doubles with each attempt that fails, up to `backoff_max_s` (`refused_max_s` after a refusal), with full
    jitter. It is forgotten after a connection of `stable_s`. Connections begin at least `connect_gap_s` apart.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    root: str = "plantroom"
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    tls: bool = False
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    connect_timeout_s: float = 15.0
    backoff_s: float = 2.0
    backoff_max_s: float = 60.0
    refused_max_s: float = 300.0
    takeover_wait_s: float = 60.0
    stable_s: float = 60.0
    connect_gap_s: float = 5.0

    def __repr__(self) -> str:
        return f"MqttSettings({self.url})"

    @property
    def url(self) -> str:
        """Scheme, host and port: what error lines name."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


class MqttSession:
    """Connects for ever; `publish` and `ack` work while connected.

    `will` may be a callable, asked before each connection. `on_connect(session_present)`, `on_disconnect(reason)`, where
    `reason` is one line with what, where and next step, and `on_alarm(name, text)` for `duplicate_identity` and
    `subscription_refused`. All callbacks run in the event loop and must not block.
    """

    def __init__(
        self,
        settings: MqttSettings,
        *,
        client_id: str,
        session_expiry_s: int,
        clean_start: bool = False,
        will: Message | Callable[[], Message] | None = None,
        will_delay_s: int = 10,
        receive_maximum: int = 1000,
        manual_ack: bool = False,
        on_message: Callable[[Incoming], None],
        on_connect: Callable[[bool], None] = lambda _: None,
        on_disconnect: Callable[[str], None] = lambda _: None,
        on_alarm: Callable[[str, str], None] = lambda _name, _text: None,
    ) -> None:
        self.settings = settings
        self.client_id = client_id
        self.session_expiry_s = session_expiry_s
        self.clean_start = clean_start
        self.will_delay_s = will_delay_s
        self.receive_maximum = receive_maximum
        self.manual_ack = manual_ack
        self.on_message = on_message
        self._will = will
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self.on_alarm = on_alarm
        self._filters: dict[str, Filter] = {}
        self._connection: Connection | None = None
        self._is_paused = False
        self._addresses: list[str] = []
        self.connects = 0

    @property
    def connected(self) -> bool:
        """True between the broker's CONNACK and the end of that connection."""
        return self._connection is not None

    @property
    def outstanding(self) -> int:
        """QoS 1 messages handed to `publish` that the broker has not yet answered."""
        return 0 if self._connection is None else self._connection.outstanding

    def subscribe(self, filters: Sequence[tuple[str, int]], *, retain_as_published: bool = False) -> None:
        """Subscribe to (filter, QoS) now and after every reconnect.

        `retain_as_published`: a message published as retained says so even when it arrives live.
        """
        added = [Filter(name, qos, retain_as_published) for name, qos in filters]
        self._filters.update((each.name, each) for each in added)
        if self._connection is not None:
            self._connection.subscribe(added)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expiry_s: int | None = None,
        on_ack: Callable[[int], None] | None = None,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> bool:
        """True when taken. `on_ack` then gets the PUBACK's reason code, or CONNECTION_LOST; failures are >= FAILURE.

        False when not connected, or when the queue of the connection is full: nothing was taken.
        """
        connection = self._connection
        if connection is None:
            return False
        more = request_properties(response_topic, correlation) if response_topic or correlation else b""
        return connection.publish(topic, payload, qos, retain, expiry_s, on_ack, more)

    def ack(self, incoming: Incoming) -> None:
        """Acknowledge a QoS 1 message (`manual_ack`). Sent in order of receipt: one acked early waits for those before it.

        What came over an earlier connection is ignored: the broker sends it again.
        """
        if self._connection is not None:
            self._connection.ack(incoming)

    def pause(self) -> None:
        """Deliver no more messages and stop reading the socket. PUBACKs and pings wait as well; keep it short."""
        self._is_paused = True
        if self._connection is not None:
            self._connection.wire.pause()

    def resume(self) -> None:
        """Read on."""
        self._is_paused = False
        if self._connection is not None:
            self._connection.wire.resume()

    def yield_identity(self) -> None:
        """End the connection as if the broker had said 0x8E: the caller knows that a second client has our id."""
        if self._connection is not None:
            self._connection.end_as_taken_over()

    async def run(self) -> None:
        """Connect and reconnect until cancelled; a cancelled session says DISCONNECT first."""
        failures = 0
        await asyncio.to_thread(load_paho)
        while True:
            began, joined_before = time.monotonic(), self.connects
            taken_over = False
            refusal = False
            try:
                await self._connect_once()
            except LinkError as exc:
                refusal = isinstance(exc, mqtt_errors.BrokerRefused)
                taken_over = isinstance(exc, mqtt_errors.BrokerRefused) and exc.code == TAKEN_OVER
                self._on_disconnect(str(exc))
                if taken_over:
                    self.on_alarm("duplicate_identity", str(exc))
            lasted = time.monotonic() - began
            if self.connects == joined_before:
                failures += 1
            else:
                # A line that flaps gets its chance in each of its good moments, `connect_gap_s` apart, and no reward.
                failures = 0 if lasted >= self.settings.stable_s else 1
            await asyncio.sleep(self._wait(failures, lasted, refusal=refusal, taken_over=taken_over))

    def _wait(self, failures: int, lasted: float, *, refusal: bool, taken_over: bool) -> float:
        """Seconds until the next attempt: full jitter, never two attempts within `connect_gap_s`."""
        settings = self.settings
        if taken_over:
            return settings.takeover_wait_s * (1 + random.random())
        most = settings.refused_max_s if refusal else settings.backoff_max_s
        jittered = random.uniform(0, min(most, settings.backoff_s * 2.0 ** min(failures, 20)))
        return max(jittered, settings.connect_gap_s - lasted)

    async def _connect_once(self) -> None:
        """One connection from DNS to its end, which is always a LinkError (or cancellation)."""
        settings = self.settings
        will = self._will() if callable(self._will) else self._will
        connection = Connection(self, will)
        try:
            try:
                async with asyncio.timeout(settings.connect_timeout_s):
                    await self._open(connection)
                    session_present = await connection.join(is_paused=self._is_paused)
            except (OSError, TimeoutError) as exc:
                raise mqtt_errors.unreachable(
                    exc, where=settings.url, timeout_s=settings.connect_timeout_s, cert=settings.cert
                ) from exc
            self._connection = connection
            self.connects += 1
            if self._filters:
                connection.subscribe(list(self._filters.values()))
            self._on_connect(session_present)
            await connection.watch()
        finally:
            self._connection = None
            await connection.close()

    async def _open(self, connection: Connection) -> None:
        """TCP and TLS, trying each address of the name, and the last good ones when the name does not resolve."""
        settings = self.settings
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, tls_context, settings) if settings.tls else None
        try:
            # A resolver that hangs may not use up the time in which the last good address would answer.
            async with asyncio.timeout(settings.connect_timeout_s / 2):
                found = await loop.getaddrinfo(settings.host, settings.port, type=1)
            self._addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        except OSError:
            if not self._addresses:
                raise
        last: OSError | None = None
        for at, address in enumerate(self._addresses):
            try:
                # A black hole among several addresses may not use up the time of all.
                async with asyncio.timeout(settings.connect_timeout_s / (len(self._addresses) - at + 1)):
                    await loop.create_connection(
                        lambda: connection.wire,
                        address,
                        settings.port,
                        ssl=context,
                        server_hostname=settings.host if context else None,
                    )
                    self._addresses.insert(0, self._addresses.pop(at))
                    return
            except OSError as exc:  # TimeoutError is one
                last = exc
        raise last or OSError("the name has no address")


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """TLS 1.2 or later, the broker's name checked. Read anew for each connection, so that a renewed certificate is taken."""
    try:
        context = ssl.create_default_context(cafile=None if settings.ca is None else str(settings.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.cert is not None:
            context.load_cert_chain(settings.cert, settings.key)
    except (OSError, ssl.SSLError) as exc:
        files = ", ".join(str(path) for path in (settings.ca, settings.cert, settings.key) if path is not None)
        raise LinkRefused(
            f"a TLS file cannot be used: {mqtt_errors.reason_of(exc)} ({files})",
            where=settings.url,
            next_step="correct mqtt.ca, mqtt.cert and mqtt.key, and that the service may read them",
        ) from exc
    return context
