"""Requests and answers between clients and simulated devices: APDU heads, segmentation, confirmed notifications, faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from firmware_sim.bacnet import names, npdu
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.npdu import BadFrame, Udp
from firmware_sim.bacnet.segments import Answer, Segmented
from firmware_sim.bacnet.tags import TagError

_RETRY_S, _RETRIES = 3.0, 3
_MOST_PENDING = 1000


@dataclass(frozen=True, slots=True)
class Route:
    """Between a client and a device: the client's address, its network where it is behind a router of its own, and ours."""

    udp: Udp
    back: tuple[int, bytes] | None = None
    at: tuple[int, bytes] | None = None
    """Network and MAC address of the device, where it is behind our router."""

    def wrap(self, apdu: bytes) -> bytes:
        """An APDU of the device as the datagram to the client."""
        confirmed = apdu[:1] != b"" and apdu[0] >> 4 == 0
        return npdu.bvlc(npdu.UNICAST, npdu.npdu(apdu, to=self.back, source=self.at, reply_expected=confirmed))


@dataclass(slots=True)
class _Pending:
    """A confirmed notification that nobody has acknowledged yet."""

    apdu: bytes
    left: int
    timer: asyncio.TimerHandle


class Exchange:
    """What the devices of one server have under way."""

    def __init__(self, send: Callable[[bytes, Udp], None]) -> None:
        self._send = send
        self.segmented = Segmented()
        self._pending: dict[tuple[Route, int], _Pending] = {}
        self._invoke = 0
        self.notifications = 0
        self.unanswered = 0
        """Confirmed notifications given up."""

    def stop(self) -> None:
        self.segmented.stop()
        for pending in self._pending.values():
            pending.timer.cancel()
        self._pending.clear()

    # requests

    def unconfirmed(self, device: BacnetDevice, apdu: bytes) -> bytes | None:
        """What a device says to a broadcast. Raises BadFrame."""
        if device.faults.get("silent") is not None:
            return None
        try:
            return device.unconfirmed(apdu[1], apdu[2:])
        except (IndexError, TagError) as error:
            raise BadFrame(str(error)) from error

    def confirmed(self, device: BacnetDevice, apdu: bytes, route: Route) -> None:
        """A confirmed request, or an answer to one of ours. Raises BadFrame."""
        kind = apdu[0] >> 4
        if kind == 0:
            self._request(device, apdu, route)
        elif len(apdu) < 2:
            raise BadFrame("an APDU without invoke id")
        elif kind == 4 and len(apdu) >= 4:
            self.segmented.acknowledged((route, apdu[1]), apdu[2], apdu[3])
        elif kind in (2, 5, 6, 7):
            self.segmented.drop((route, apdu[1]))
            pending = self._pending.pop((route, apdu[1]), None)
            if pending is not None:
                pending.timer.cancel()

    def _request(self, device: BacnetDevice, apdu: bytes, route: Route) -> None:
        if len(apdu) < 4:
            raise BadFrame("a request without service")
        invoke, takes_segments = apdu[2], bool(apdu[0] & 2)
        size = apdu_size(apdu[1] & 15, device.about.max_apdu)
        most = names.SEGMENT_COUNTS[apdu[1] >> 4 & 7] or 64
        key = (route, invoke)
        if apdu[0] & 8:
            if device.about.segmentation not in (0, 2):
                self._out(device, names.READ_MULTIPLE, npdu.abort(invoke, names.ABORT_SEGMENTATION), route)
                return
            if len(apdu) < 6:
                raise BadFrame("a segment without service")
            whole, acknowledgement = self.segmented.take(key, apdu[3], apdu[6:], more=bool(apdu[0] & 4))
            self._send(route.wrap(acknowledgement), route.udp)
            if whole is None:
                return
            service, payload = apdu[5], whole
        else:
            service, payload = apdu[3], apdu[4:]
        if key in self.segmented.answers:  # the client repeats what is being answered
            return
        can_segment = takes_segments and device.about.segmentation in (0, 1)
        reply = device.answer(service, payload, invoke, route, (size - 5) * most if can_segment else size - 3)
        if len(reply) <= size:
            self._out(device, service, reply, route)
        elif not can_segment:
            self._out(device, service, npdu.abort(invoke, names.ABORT_SEGMENTATION), route)
        else:
            self._long(device, service, reply[3:], size, most, key, route)
        if service in (names.SUBSCRIBE_COV, names.SUBSCRIBE_COV_PROPERTY):
            self.notify(device)

    def _long(
        self,
        device: BacnetDevice,
        service: int,
        body: bytes,
        size: int,
        most: int,
        key: tuple[Route, int],
        route: Route,
    ) -> None:
        parts = [body[at : at + size - 5] for at in range(0, len(body), size - 5)]
        if len(parts) > most:
            self._out(device, service, npdu.abort(key[1], names.ABORT_OVERFLOW), route)
            return
        shaped = device.faults.shape(service, npdu.complex_ack(key[1], service, body[: size - 5]), route.wrap)
        if shaped is not None:
            self._emit(shaped, route)
            return

        def lose(number: int) -> bool:
            fault = device.faults.get("lost_segment")
            if fault is None or number != fault.segment:
                return False
            device.faults.hit(fault)
            return True

        answer = Answer(service, parts, lambda segment: self._send(route.wrap(segment), route.udp), lose)
        self.segmented.begin(key, answer)

    def _out(self, device: BacnetDevice, service: int, apdu: bytes, route: Route) -> None:
        shaped = device.faults.shape(service, apdu, route.wrap)
        if shaped is None:
            self._send(route.wrap(apdu), route.udp)
        else:
            self._emit(shaped, route)

    def _emit(self, shaped: list[tuple[float, bytes]], route: Route) -> None:
        for delay_s, datagram in shaped:
            if delay_s > 0:
                asyncio.get_running_loop().call_later(delay_s, self._send, datagram, route.udp)
            else:
                self._send(datagram, route.udp)

    # notifications

    def notify(self, device: BacnetDevice) -> None:
        """Tells the device's subscribers what changed."""
        if not device.subscriptions.held or device.faults.get("silent") is not None:
            return
        for one, body in device.notifications():
            route = one.peer
            assert isinstance(route, Route)
            self.notifications += 1
            if not one.confirmed:
                self._send(route.wrap(bytes((0x10, names.UNCONFIRMED_COV)) + body), route.udp)
                continue
            self._invoke = self._invoke + 1 & 0xFF
            code = names.APDU_SIZES.index(
                max(size for size in names.APDU_SIZES if size <= max(50, device.about.max_apdu))
            )
            apdu = bytes((0x00, code, self._invoke, names.CONFIRMED_COV)) + body
            self._repeat((route, self._invoke), apdu, _RETRIES)

    def _repeat(self, key: tuple[Route, int], apdu: bytes, left: int) -> None:
        old = self._pending.pop(key, None)
        if old is not None:
            old.timer.cancel()
        if left <= 0 or len(self._pending) >= _MOST_PENDING:
            self.unanswered += 1
            return
        route = key[0]
        self._send(route.wrap(apdu), route.udp)
        timer = asyncio.get_running_loop().call_later(_RETRY_S, self._repeat, key, apdu, left - 1)
        self._pending[key] = _Pending(apdu, left, timer)


def apdu_size(code: int, own: int) -> int:
    """The longest APDU both sides take: the client's by its code, ours in octets."""
    return min(names.APDU_SIZES[code] if code < len(names.APDU_SIZES) else 1476, own)
