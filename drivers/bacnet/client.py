"""A BACnet/IP client: confirmed requests whose answers stay bytes, devices by instance, I-Am and COV as they arrive.

Each datagram is judged once, on its own bytes: what is malformed, foreign, late or unasked for ends here, counted, and costs no
task. Unsegmented answers go straight to the request that waits for them; only segments, network messages and BVLC results go
through bacpypes3 (`stack`). No retry and no schedule.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog

from device_profiles.errors import DeviceMismatch, DeviceRefused, DeviceTimeout, LinkLost
from drivers.base import BacnetLink, LinkConfig, Trace, WireCount

from . import answers, codec, frame
from .calling import Calling
from .directory import Directory, check_stations, station_of
from .directory import Peer as Peer
from .frame import Frame
from .invoke import InvokeIds
from .registration import register
from .stack import MAX_APDU, MAX_SEGMENTS, Stack, Transaction, address_of
from .tags import BacnetError
from .udp import UdpPort

CovCallback = Callable[[str, bytes, bool], None]
"""Called with (who sent it, the notification's parameters undecoded, whether it was confirmed)."""

_SEGMENTED_S = 30.0
"""The longest that a segmented answer may take as a whole."""
_ANSWERS_A_SECOND = 100
"""Who-Is and requests to us that are answered; the rest is dropped and counted."""
_OURS = (None, 0xFFFF)
"""Destination networks of what is for us: none said, or all."""
_MOST_WAYS = 20_000
_ROUTED = 0x20
"""The bit of an NPDU's control octet that says that a destination network follows."""
_TRACE = "look at the frames with --trace"
_log = structlog.get_logger("bacnet")


class _Pending:
    __slots__ = ("began", "future", "handle", "peer", "segments", "service", "transaction")

    def __init__(self, peer: Peer, service: int, future: asyncio.Future[bytes]) -> None:
        self.peer = peer
        self.service = service
        self.future = future
        self.began = future.get_loop().time()
        self.transaction: Transaction | None = None
        self.handle: asyncio.TimerHandle | None = None
        self.segments = 0

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def is_answered(self) -> bool:
        """True when the device said yes or no: nothing more is to come."""
        if not self.future.done() or self.future.cancelled():
            return False
        error = self.future.exception()  # seen by this, also where the sending failed first
        return error is None or isinstance(error, DeviceRefused)


class BacnetClient:
    """One BACnet/IP link. Everything is called from the event loop that opened it."""

    def __init__(self, link: LinkConfig, trace: Trace | None = None) -> None:
        self.link = link
        self.own = link.bacnet or BacnetLink()
        self.counts = WireCount()
        self.malformed = self.unexpected = self.dropped = self.cov_dropped = 0
        """Datagrams: not BACnet/IP; answers to nothing; more than is worked on; notifications nobody subscribed to."""
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._port = UdpPort(link, self._received, self._lost)
        self._stack = Stack(
            self._send, self._finished, self._failed,
            is_foreign=self.own.bbmd is not None, segment_timeout_s=self.own.segment_timeout_s,
        )  # fmt: skip
        self._calling = Calling(self.own, self._send)
        self._directory = Directory(link, self._calling.ask_for)
        self._pending: dict[tuple[str, int], _Pending] = {}
        self._ways: dict[Peer, tuple[bytes, tuple[str, int]]] = {}
        self._ids = InvokeIds()
        self._cov: list[CovCallback] = []
        self._answered = (0.0, 0)
        self._said: dict[str, tuple[float, int]] = {}

    @property
    def port(self) -> int:
        """Our UDP port."""
        return self._port.own[1]

    @property
    def i_am_dropped(self) -> int:
        """I-Am that came faster than they are looked at."""
        return self._directory.dropped

    @property
    def segments_dropped(self) -> int:
        """Segments and network messages beyond what bacpypes3 works on at the same time."""
        return self._stack.dropped

    @property
    def duplicates(self) -> int:
        """How often two stations claimed one device instance."""
        return self._directory.duplicates

    async def open(self) -> None:
        """Binds the port and registers with the BBMD where there is one. Raises LinkError, ConfigError."""
        check_stations(self.link)
        await self._port.open()
        if self._port.deaf:
            self._say("broadcasts are not heard", reason=self._port.deaf)
        if self.own.bbmd is not None:
            await register(self.link, self.own, self._stack)

    async def close(self) -> None:
        """Ends what is under way and closes the port."""
        await self._stack.close()
        self._port.close()

    # Devices.

    async def resolve(self, instance: int, *, fresh: bool = False) -> Peer:
        """The station of a device instance, remembered unless `fresh`.

        Raises DeviceTimeout when nobody says I-Am, DeviceMismatch when several stations do, LinkLost.
        """
        peer = None if fresh else self._directory.known(instance)
        if peer is not None:
            return peer
        self._check_open()
        return await self._directory.find(instance, self.own.apdu_timeout_s)

    def known(self, instance: int) -> Peer | None:
        """What `resolve` remembers."""
        return self._directory.known(instance)

    def forget(self, instance: int) -> None:
        """The device may have moved: the next `resolve` asks for it."""
        self._directory.forget(instance)

    async def who_is(
        self, low: int | None = None, high: int | None = None, destinations: Sequence[str] | None = None
    ) -> None:
        """Asks who is there. None asks our network by broadcast (all networks behind its routers too), and each of the
        configured peers; otherwise `10.0.0.7:47808`, `2:*` or `*:*`. Raises LinkLost, ValueError for what is no address.
        """
        self._check_open()
        payload = codec.encode_who_is(low, high)
        for text in ("*:*", *self.own.peers) if destinations is None else destinations:
            if text == "*:*":
                self._calling.broadcast(answers.unconfirmed(codec.WHO_IS, payload))
            elif text.endswith(":*"):
                self._calling.to_network(int(text[:-2]), answers.unconfirmed(codec.WHO_IS, payload))
            elif text == "*":
                await self._stack.tell(address_of(text), codec.WHO_IS, payload)
            else:
                self._send(answers.directed_broadcast(codec.WHO_IS, payload), station_of(text))

    def listen_i_am(self, callback: Callable[[Peer], None]) -> Callable[[], None]:
        """Calls back for each I-Am that is looked at; the result ends that."""
        return self._directory.listen(callback)

    def listen_cov(self, callback: CovCallback) -> Callable[[], None]:
        """Calls back for each change-of-value notification, before anything of it is decoded. Confirmed ones are acknowledged
        afterwards, by us. The result ends that.
        """
        self._cov.append(callback)
        return lambda: self._cov.remove(callback)

    # Requests.

    async def confirmed(self, peer: Peer, service: int, payload: bytes, *, timeout_s: float | None = None) -> bytes:
        """The parameters of the acknowledgement, reassembled and undecoded; b"" for one without. Sent once; into a network
        behind a router when those before it are answered, and its time begins then.

        Raises DeviceRefused (`code` is the error code, or a reason with names.ABORTED or names.REJECTED added), DeviceTimeout,
        DeviceMismatch, LinkLost.
        """
        turn = self._directory.turn(peer)
        if turn is None:
            return await self._ask(peer, service, payload, timeout_s)
        async with turn:
            return await self._ask(peer, service, payload, timeout_s)

    async def _ask(self, peer: Peer, service: int, payload: bytes, timeout_s: float | None) -> bytes:
        self._check_open()
        key = peer.address, self._ids.take(peer.address, self._pending, self._loop.time())
        pending = _Pending(peer, service, self._loop.create_future())
        limit_s = timeout_s or self.own.apdu_timeout_s
        self._pending[key] = pending
        pending.handle = self._loop.call_later(limit_s, self._expired, pending, limit_s)
        self.counts.requests += 1
        try:
            way = self._way(peer)
            if way is not None and len(payload) + 4 <= min(peer.max_apdu, MAX_APDU):
                self._send(answers.request(way[0], service, key[1], payload), way[1])
            else:
                if way is not None and way[0][1] & _ROUTED:
                    await self._stack.route(int.from_bytes(way[0][2:4]), way[1])
                pending.transaction = self._stack.begin(peer)
                await pending.transaction.send(service, key[1], payload)
            return await pending.future
        except DeviceTimeout:
            self.counts.timeouts += 1
            raise
        finally:
            del self._pending[key]
            pending.handle.cancel()
            if pending.transaction is not None:
                pending.transaction.end()
            if not pending.is_answered():
                self._ids.rest(key, self._loop.time())

    def _way(self, peer: Peer) -> tuple[bytes, tuple[str, int]] | None:
        """The NPDU head of requests to a peer, and the station to send them to; None where the router is not known yet."""
        way = self._ways.get(peer)
        if way is None:
            way = self._directory.way(peer)
            if way is not None:
                if len(self._ways) > _MOST_WAYS:
                    self._ways.clear()
                self._ways[peer] = way
        return way

    def _check_open(self) -> None:
        if self._port.lost is not None:
            raise LinkLost(self._port.lost, where=self.link.where, next_step="it is opened again by itself")

    def _lost(self) -> None:
        for pending in self._pending.values():
            pending.fail(LinkLost(self._port.lost or "", where=self.link.where))
        self._directory.end(LinkLost(self._port.lost or "", where=self.link.where))

    def _expired(self, pending: _Pending, limit_s: float) -> None:
        said = self._port.trouble(pending.began)
        trouble = f" (the network said: {said})" if said else ""
        part = f"only {pending.segments} segments of an answer" if pending.segments else "no answer"
        pending.fail(
            DeviceTimeout(
                f"{part} from {pending.peer.address} within {limit_s:g} s{trouble}",
                next_step="check the device's power and its network",
            )
        )

    # The wire.

    def _send(self, data: bytes, destination: tuple[str, int] | None) -> None:
        self.counts.bytes_out += len(data)
        if self._trace is not None:
            self._trace(">", data, "")
        self._port.send(data, destination)

    def _received(self, data: bytes, source: tuple[str, int]) -> None:
        self.counts.bytes_in += len(data)
        if self._port.is_own(source):
            return
        if self._trace is not None:
            self._trace("<", data, "")
        try:
            heard = frame.parse(data)
            self._judge(heard, data, source)
        except BacnetError as error:
            self.malformed += 1
            self.counts.discarded_bytes += len(data)
            self._say("a malformed datagram was dropped", source=f"{source[0]}:{source[1]}", reason=str(error))

    def _judge(self, heard: Frame, data: bytes, source: tuple[str, int]) -> None:
        kind = heard.pdu_type
        if kind is None:
            if heard.network_message == answers.I_AM_ROUTER:
                self._directory.is_router(source)
            if heard.network_message is not None or (
                heard.function == frame.RESULT and self.own.bbmd and source == self._calling.bbmd
            ):
                self._stack.take(data, source)
        elif kind == frame.UNCONFIRMED:
            self._told(heard, source)
        elif kind == frame.CONFIRMED:
            self._asked(heard, source)
        elif heard.function != frame.ORIGINAL_UNICAST:
            self.unexpected += 1
        else:
            self._answered_to(heard, data, source)

    def _answered_to(self, heard: Frame, data: bytes, source: tuple[str, int]) -> None:
        pending = self._pending.get((_station(heard, source), heard.invoke_id or 0))
        kind = heard.pdu_type
        if pending is None or pending.future.done() or (kind == frame.ABORT and not heard.is_server):
            self.unexpected += 1
        elif heard.is_segmented or kind == frame.SEGMENT_ACK:
            self._segment(pending, heard.invoke_id or 0)
            self._stack.take(data, source)
        elif kind in (frame.COMPLEX_ACK, frame.SIMPLE_ACK):
            self._acknowledged(pending, heard.service, heard.body)
        else:
            self.counts.replies += 1
            try:
                pending.fail(answers.refusal(heard))
            except BacnetError as error:
                pending.fail(DeviceMismatch(f"an error that is none: {error}", next_step=_TRACE))

    def _acknowledged(self, pending: _Pending, service: int | None, body: bytes) -> None:
        self.counts.replies += 1
        if service != pending.service:
            text = f"an answer to service {service} where {pending.service} was asked"
            pending.fail(DeviceMismatch(text, next_step=_TRACE))
        elif not pending.future.done():
            pending.future.set_result(body)

    def _segment(self, pending: _Pending, invoke_id: int) -> None:
        """The time limit of an answer is for its first segment; those that follow have their own, and a limit together."""
        pending.segments += 1
        if pending.transaction is None:
            pending.transaction = self._stack.begin(pending.peer)
            pending.transaction.await_segments(invoke_id)
        if pending.segments == 1 and pending.handle is not None:
            pending.handle.cancel()
            pending.handle = self._loop.call_later(_SEGMENTED_S, self._expired, pending, _SEGMENTED_S)
        elif pending.segments > 4 * MAX_SEGMENTS:
            text = f"more than {4 * MAX_SEGMENTS} segments where we accept {MAX_SEGMENTS}"
            pending.fail(DeviceMismatch(text, next_step=_TRACE))

    def _finished(self, address: str, invoke_id: int, apdu: Any) -> None:
        """A transaction that went through bacpypes3 has ended."""
        pending = self._pending.get((address, invoke_id))
        if pending is None:
            return
        reason = getattr(apdu, "apduAbortRejectReason", None)
        if reason is None:
            self._acknowledged(pending, apdu.apduService, bytes(apdu.pduData))
        elif int(reason) == answers.NO_RESPONSE:
            self._expired(pending, self.own.segment_timeout_s)
        else:
            pending.fail(answers.aborted(int(reason)))

    def _failed(self, error: BaseException) -> None:
        """bacpypes3 did not like what it was given."""
        self.malformed += 1
        self._say("a datagram was dropped", reason=f"{type(error).__name__}: {error}")

    # What others say and ask.

    def _told(self, heard: Frame, source: tuple[str, int]) -> None:
        if heard.service == codec.UNCONFIRMED_COV:
            self._notify(_station(heard, source), heard.body, is_confirmed=False)
        elif heard.service == codec.I_AM:
            told = codec.decode_i_am(heard.body)
            origin = heard.forwarded or source
            peer = Peer(told.instance, _station(heard, origin), told.max_apdu, told.segmentation, told.vendor)
            self._directory.heard(peer, heard.snet, origin)
        elif heard.service == codec.WHO_IS and heard.dnet in _OURS:
            low, high = codec.decode_who_is(heard.body)
            if low <= self.own.instance <= high and self._may_answer():
                us = codec.encode_i_am(codec.IAm(self.own.instance, MAX_APDU, "both", answers.VENDOR))
                self._reply(heard, heard.forwarded or source, answers.unconfirmed(codec.I_AM, us))

    def _asked(self, heard: Frame, source: tuple[str, int]) -> None:
        invoke_id = heard.invoke_id or 0
        if heard.dnet not in _OURS:
            self.unexpected += 1  # a router's to pass on
            return
        if heard.is_segmented:
            reply = answers.abort(invoke_id)
        elif heard.service == codec.CONFIRMED_COV:
            is_wanted = self._notify(_station(heard, source), heard.body, is_confirmed=True)
            reply = answers.simple_ack(invoke_id, codec.CONFIRMED_COV) if is_wanted else answers.unsubscribed(invoke_id)
            self._reply(heard, source, reply)
            return
        else:
            reply = answers.about_us(heard, self.own)
        if self._may_answer():
            self._reply(heard, source, reply)

    def _notify(self, source: str, body: bytes, *, is_confirmed: bool) -> bool:
        for callback in self._cov:
            callback(source, body, is_confirmed)
        if not self._cov:
            self.cov_dropped += 1
        return bool(self._cov)

    def _reply(self, heard: Frame, source: tuple[str, int], apdu: bytes) -> None:
        self._send(answers.datagram(answers.back_to(heard) + apdu), source)

    def _may_answer(self) -> bool:
        """True within our limit of answers a second."""
        began, count = self._answered
        now = self._loop.time()
        if now - began >= 1.0:
            began, count = now, 0
        self._answered = (began, count + 1)
        if count < _ANSWERS_A_SECOND:
            return True
        self.dropped += 1
        return False

    def _say(self, event: str, **facts: Any) -> None:
        """One line a second of one kind; how many were left out stands in the next."""
        now = self._loop.time()
        last, left_out = self._said.get(event, (-1e9, 0))
        if now - last < 1.0:
            self._said[event] = (last, left_out + 1)
            return
        self._said[event] = (now, 0)
        _log.warning(event, link=self.link.id, **facts, **({"left_out": left_out} if left_out else {}))


def _station(heard: Frame, source: tuple[str, int]) -> str:
    if heard.snet is not None:
        return f"{heard.snet}:0x{heard.sadr.hex()}"
    return f"{source[0]}:{source[1]}"


@asynccontextmanager
async def open_client(link: LinkConfig, trace: Trace | None = None) -> AsyncIterator[BacnetClient]:
    """Opens the link, and closes it at the end. Raises LinkError, ConfigError."""
    client = BacnetClient(link, trace)
    try:
        await client.open()
        yield client
    finally:
        await client.close()


__all__ = ["BacnetClient", "CovCallback", "DeviceRefused", "Peer", "open_client"]
