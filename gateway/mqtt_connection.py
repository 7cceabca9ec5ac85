"""One MQTT connection: a paho client, its wire, and what is in flight on it. It ends with the connection.

It owns the window towards the broker (its Receive Maximum), the order of acknowledgements and the watch for a half-open
line. It must not reconnect: that is the session's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from device_profiles.errors import LinkError, LinkLost, LinkTimeout
from gateway import mqtt_errors
from gateway.mqtt_packets import Malformed, decode_puback, decode_publish, encode_puback, encode_publish
from gateway.mqtt_wire import Wire

if TYPE_CHECKING:
    from gateway.mqtt import MqttSession

CONNECTION_LOST = 0x100
"""Told to `on_ack` when the connection ended before the PUBACK; as a failure it is >= 0x80, as no code of MQTT it is > 0xFF."""

WINDOW = 100
"""QoS 1 messages in flight at most; less when the broker's Receive Maximum is less. More makes no broker faster."""
_QUEUE = 10_000


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish, such as the will."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """A subscription."""

    name: str
    qos: int
    retain_as_published: bool = False


@dataclass(slots=True, eq=False)
class Incoming:
    """A message received. With manual acknowledgement it stays the broker's until `MqttSession.ack`."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    expiry_s: int | None = None
    response_topic: str | None = None
    correlation: bytes | None = None
    is_acked: bool = False
    source: object = None


Publication = tuple[str, bytes, bool, int | None, Callable[[int], None] | None, bytes]

_FIRST_MID = 1024
"""Packet ids below are paho's, for SUBSCRIBE."""
_LAST_MID = 0xFFFF


@cache
def load_paho() -> Any:
    """paho's client module, loaded with the first connection only. Any, because its stubs on PyPI describe version 1."""
    import paho.mqtt.client

    return paho.mqtt.client


class Connection:
    """From the TCP connection to its end. Callbacks of paho arrive in the event loop, because the wire calls paho there."""

    def __init__(self, session: MqttSession, will: Message | None) -> None:
        self._session = session
        loop = asyncio.get_running_loop()
        self.wire = Wire(self)
        self._joined: asyncio.Future[bool] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._error: LinkError | None = None
        self._window = WINDOW
        self._mid = _FIRST_MID
        self._in_flight: dict[int, Callable[[int], None] | None] = {}
        self._queue: deque[Publication] = deque()
        self._received: deque[Incoming] = deque()
        self._client = self._make_client(will)

    def _make_client(self, will: Message | None) -> Any:
        session = self._session
        settings = session.settings
        paho = load_paho()
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=session.client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        # The one place where paho lets in a connection that is made already, without blocking.
        client._create_socket = lambda: self.wire
        if settings.username is not None:
            client.username_pw_set(settings.username, settings.password)
        if will is not None:
            properties = paho.Properties(paho.PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = session.will_delay_s
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = lambda *_: client.loop_write()
        return client

    # Life

    async def join(self, *, is_paused: bool) -> bool:
        """Say CONNECT over the open wire and wait for the answer. Returns Session Present."""
        session = self._session
        settings = session.settings
        paho = load_paho()
        properties = paho.Properties(paho.PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session.session_expiry_s
        properties.ReceiveMaximum = session.receive_maximum
        self._client.connect_async(
            settings.host, settings.port, settings.keepalive_s, clean_start=session.clean_start, properties=properties
        )
        self._client.reconnect()
        self.wire.give_up_after(1.5 * settings.keepalive_s)
        session_present = await self._joined
        if is_paused:
            self.wire.pause()
        return session_present

    async def watch(self) -> None:
        """Keep the connection alive until it ends; raises the LinkError that says why."""
        keepalive = self._session.settings.keepalive_s
        every = max(0.05, keepalive / 10)
        while True:
            done, _ = await asyncio.wait((self._ended,), timeout=every)
            if done:
                self._ended.result()
            if not self.wire.is_paused:
                self._client.loop_misc()
            # loop_misc pings after a silence of one keepalive; whoever has not answered half of one later is gone.
            silent_s = time.monotonic() - self.wire.last_received
            if silent_s > 1.5 * keepalive and not self.wire.is_paused:
                self._fail(
                    LinkTimeout(
                        f"nothing heard for {silent_s:.0f} s, keepalive is {keepalive} s",
                        where=self._session.settings.url,
                        next_step="look at the network between",
                    )
                )
                self.wire.abort()

    async def close(self) -> None:
        """DISCONNECT if connected, and let the line go. What is outstanding is reported as lost."""
        if not self._ended.done():
            if self._client.is_connected():
                self._client.disconnect()
                await asyncio.wait((self._ended,), timeout=2.0)
            self.wire.abort()
        if not self._joined.done():
            self._joined.cancel()
        if self._ended.done() and not self._ended.cancelled():
            self._ended.exception()
        self._drop()

    def end_as_taken_over(self) -> None:
        self._fail(mqtt_errors.duplicate(where=self._session.settings.url, client=self._session.client_id))
        self.wire.close()

    def _fail(self, error: LinkError) -> None:
        """The first reason is the true one."""
        if self._error is None:
            self._error = error

    def on_lost(self, exc: BaseException | None) -> None:
        settings = self._session.settings
        failure: BaseException
        if isinstance(exc, Malformed):
            failure = LinkLost(
                f"{exc}", where=settings.url, next_step="look at the broker; something between may alter the stream"
            )
        elif exc is not None and not isinstance(exc, OSError):
            failure = exc  # a bug in a callback: it belongs to whoever runs the session
        else:
            failure = self._error or mqtt_errors.ended(
                exc, where=settings.url, has_joined=self._joined.done(), is_tls=settings.tls, cert=settings.cert
            )
        if not self._joined.done():
            self._joined.set_exception(failure)
        if not self._ended.done():
            self._ended.set_exception(failure)

    def on_session_packet(self) -> None:
        self._client.loop_read()

    def _drop(self) -> None:
        in_flight, self._in_flight = self._in_flight, {}
        queue, self._queue = self._queue, deque()
        self._received.clear()
        for on_ack in (*in_flight.values(), *(publication[4] for publication in queue)):
            if on_ack is not None:
                on_ack(CONNECTION_LOST)

    # Publishing

    @property
    def outstanding(self) -> int:
        return len(self._in_flight) + len(self._queue)

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        expiry_s: int | None,
        on_ack: Callable[[int], None] | None,
        more: bytes,
    ) -> bool:
        if qos == 0:
            self.wire.write(encode_publish(topic, payload, 0, retain, 0, expiry_s, more))
            return True
        if len(self._in_flight) < self._window:
            self._send(topic, payload, retain, expiry_s, on_ack, more)
            return True
        if len(self._queue) >= _QUEUE:
            return False
        self._queue.append((topic, payload, retain, expiry_s, on_ack, more))
        return True

    def _send(
        self,
        topic: str,
        payload: bytes,
        retain: bool,
        expiry_s: int | None,
        on_ack: Callable[[int], None] | None,
        more: bytes,
    ) -> None:
        mid = self._mid
        while mid in self._in_flight:
            mid = mid + 1 if mid < _LAST_MID else _FIRST_MID
        self._mid = mid + 1 if mid < _LAST_MID else _FIRST_MID
        self._in_flight[mid] = on_ack
        self.wire.write(encode_publish(topic, payload, 1, retain, mid, expiry_s, more))

    def on_puback(self, body: bytes) -> None:
        mid, reason = decode_puback(body)
        if mid not in self._in_flight:
            return
        on_ack = self._in_flight.pop(mid)
        if self._queue:
            self._send(*self._queue.popleft())
        if on_ack is not None:
            on_ack(reason)

    # Receiving

    def on_publish(self, flags: int, body: bytes) -> None:
        found = decode_publish(flags, body)
        if found.qos > 1:
            raise Malformed("PUBLISH with QoS 2, which nothing here subscribes to")
        incoming = Incoming(*found, source=self)
        if found.qos == 0:
            self._session.on_message(incoming)
            return
        self._received.append(incoming)
        self._session.on_message(incoming)
        if not self._session.manual_ack:
            self.ack(incoming)

    def ack(self, incoming: Incoming) -> None:
        if incoming.source is not self or incoming.qos == 0:
            return
        incoming.is_acked = True
        received = self._received
        while received and received[0].is_acked:
            self.wire.write(encode_puback(received.popleft().mid))

    # Session state

    def subscribe(self, filters: Sequence[Filter]) -> None:
        options = load_paho().SubscribeOptions
        self._client.subscribe(
            [(each.name, options(qos=each.qos, retainAsPublished=each.retain_as_published)) for each in filters]
        )

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        for reason in reasons:
            if reason.value >= mqtt_errors.FAILURE:
                self._session.on_alarm("subscription_refused", str(self._refused(reason.value)))

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.value >= mqtt_errors.FAILURE:
            self._fail(self._refused(reason.value))
            return
        theirs = getattr(properties, "ReceiveMaximum", None)
        if theirs is not None:
            self._window = min(WINDOW, theirs)
        if not self._joined.done():
            self._joined.set_result(flags.session_present)

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server and reason.value >= mqtt_errors.FAILURE:
            self._fail(self._refused(reason.value))

    def _refused(self, code: int) -> LinkError:
        session = self._session
        return mqtt_errors.refused(
            code, where=session.settings.url, client=session.client_id, user=session.settings.username
        )
