"""bacpypes3 put together for a client: our UDP port at its bottom, our transactions at its top.

What bacpypes3 does here: segmentation, network layer and routes, BBMD registration. It sees only what belongs to a segmented
answer of a transaction, and messages of the network layer and of a BBMD; everything else is decided in `client` on the datagram
itself. Its coroutines run as bounded tasks whose failures are counted and told, so that no bytes stop it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from typing import Any

from bacpypes3.apdu import APDU, AbortPDU, ConfirmedRequestPDU, UnconfirmedRequestPDU
from bacpypes3.appservice import AWAIT_CONFIRMATION, COMPLETED, ApplicationServiceAccessPoint, ClientSSM
from bacpypes3.basetypes import Segmentation
from bacpypes3.comm import ApplicationServiceElement, Server, bind
from bacpypes3.errors import AbortException, RejectException
from bacpypes3.ipv4.bvll import LPDU, BVLLCodec
from bacpypes3.ipv4.service import BIPForeign, BIPNormal
from bacpypes3.netservice import NetworkServiceAccessPoint, NetworkServiceElement
from bacpypes3.pdu import PDU, Address, IPv4Address, LocalBroadcast, LocalStation, RemoteBroadcast, RemoteStation

from device_profiles.errors import DeviceMismatch

from .directory import Peer

MAX_APDU = 1476
MAX_SEGMENTS = 64
_MOST_TASKS = 256
"""Datagrams that bacpypes3 works on at the same time."""
_NO_TIMER = 0
REGISTER_AGAIN_S = 5.0
"""After a BBMD said no."""
LIBRARY_ERRORS = (ValueError, RuntimeError, RejectException, AbortException)
"""The roots of bacpypes3's own exceptions (`bacpypes3.errors`)."""
_SEGMENTATION = {
    "both": Segmentation.segmentedBoth,
    "transmit": Segmentation.segmentedTransmit,
    "receive": Segmentation.segmentedReceive,
    "none": Segmentation.noSegmentation,
}

Finish = Callable[[str, int, APDU], None]
"""Called with (address, invoke id, what ended the transaction: a whole acknowledgement or an abort)."""


class Port(Server[PDU]):  # type: ignore[misc]  # bacpypes3 has no types
    """The bottom: what the stack wants on the wire goes to `send`."""

    def __init__(self, send: Callable[[bytes, tuple[str, int] | None], None]) -> None:
        super().__init__()
        self._send = send

    async def indication(self, pdu: PDU) -> None:
        """Sends; a local broadcast has no destination of its own."""
        destination = pdu.pduDestination
        if isinstance(destination, LocalBroadcast):
            self._send(bytes(pdu.pduData), None)
        else:
            octets = destination.addrAddr
            self._send(bytes(pdu.pduData), (".".join(map(str, octets[:4])), octets[4] << 8 | octets[5]))


class _Peers:
    """Tells the transactions how long an APDU a peer takes; in place of bacpypes3's cache, which keeps whoever says I-Am."""

    def __init__(self) -> None:
        self.known: dict[Address, Any] = {}

    async def get_device_info(self, address: Address) -> Any:
        return self.known.get(address)


class _PeerInfo:
    max_npdu_length = None
    max_segments_accepted = None

    def __init__(self, max_apdu: int, segmentation: str) -> None:
        self.max_apdu_length_accepted = max_apdu
        self.segmentation_supported = _SEGMENTATION[segmentation]


class _Transactions(ApplicationServiceAccessPoint):  # type: ignore[misc]  # bacpypes3 has no types
    """Hands over reassembled acknowledgements as they are, instead of decoding them."""

    def __init__(self, finish: Finish, segment_timeout_s: float) -> None:
        self.peers = _Peers()
        super().__init__(None, self.peers)
        self._finish = finish
        self.numberOfApduRetries = 0
        self.apduTimeout = _NO_TIMER  # the time limit of a request is the client's
        self.segmentTimeout = int(segment_timeout_s * 1000)
        self.segmentationSupported = Segmentation.segmentedBoth
        self.maxSegmentsAccepted = MAX_SEGMENTS
        self.maxApduLengthAccepted = MAX_APDU
        self.proposedWindowSize = 8

    async def sap_response(self, apdu: APDU) -> None:
        """The end of a transaction."""
        self._finish(address_text(apdu.pduSource), apdu.apduInvokeID, apdu)

    async def confirmation(self, pdu: PDU) -> None:
        """Only transactions of ours get what comes up; requests of others never come here."""
        if pdu.pduData[0] >> 4 in (3, 4, 7):
            await super().confirmation(pdu)


class _Foreign(BIPForeign):  # type: ignore[misc]  # bacpypes3 has no types
    """Says when the BBMD has answered, and registers again where bacpypes3 gives up: a BBMD that was away for longer than the
    registration lasts, and one that says no, as it does to a broadcast after it was started anew (annex J.4.5)."""

    _registration_handle: asyncio.Handle | None

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    async def confirmation(self, lpdu: LPDU) -> None:
        renewal = self._registration_handle
        await super().confirmation(lpdu)
        if self.bbmdRegistrationStatus >= 0:
            self.answered.set()
        if self.bbmdRegistrationStatus > 0 and renewal is not None and self._registration_handle is None:
            renewal.cancel()
            self._stop_tracking_registration()
            later = asyncio.get_running_loop().call_later
            self._registration_handle = later(REGISTER_AGAIN_S, self._start_registration)

    def _registration_expired(self) -> None:
        bbmd, ttl_s = self.bbmdAddress, self.bbmdTimeToLive
        super()._registration_expired()
        self.register(bbmd, ttl_s)


class _Top(ApplicationServiceElement):  # type: ignore[misc]  # bacpypes3 has no types
    """Takes what has no transaction: that a route is unknown. The request then ends at its time limit."""

    async def confirmation(self, *_: Any) -> None:
        return


class Transaction:
    """A confirmed request, from before it is sent until it has ended."""

    __slots__ = ("_address", "_machine", "_sap")

    def __init__(self, sap: _Transactions, address: Address) -> None:
        self._sap = sap
        self._address = address
        self._machine = ClientSSM(sap, address)
        sap.clientTransactions.append(self._machine)

    async def send(self, service: int, invoke_id: int, payload: bytes) -> None:
        """Sends the request; its end comes to `finish`, or to the client that heard it unsegmented. Raises DeviceMismatch for
        what bacpypes3 cannot send."""
        request = ConfirmedRequestPDU(service, invoke_id)
        request.pduDestination = self._address
        request.put_data(payload)
        try:
            await self._machine.indication(request)
        except LIBRARY_ERRORS as error:
            raise DeviceMismatch(
                f"the request cannot be sent in segments: {type(error).__name__} {error}",
                next_step="look at max-apdu-length-accepted and segmentation-supported of the device",
            ) from error

    def await_segments(self, invoke_id: int) -> None:
        """The request was sent without bacpypes3, whole; its answer comes in segments, which want bacpypes3."""
        self._machine.invokeID = invoke_id
        self._machine.set_state(AWAIT_CONFIRMATION)

    def end(self) -> None:
        """Forgets it: what still arrives for it belongs to nothing."""
        if self._machine in self._sap.clientTransactions:
            self._machine.set_state(COMPLETED)


class Stack:
    """One BACnet/IP stack. `send` puts a datagram on the wire, `finish` ends a transaction, `failed` hears of library errors."""

    def __init__(
        self,
        send: Callable[[bytes, tuple[str, int] | None], None],
        finish: Finish,
        failed: Callable[[BaseException], None],
        *,
        is_foreign: bool,
        segment_timeout_s: float,
    ) -> None:
        logging.getLogger("bacpypes3").setLevel(logging.CRITICAL)  # our errors and counters say it
        self._failed = failed
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0
        self._port = Port(send)
        self._sap = _Transactions(finish, segment_timeout_s)
        self._network = NetworkServiceAccessPoint()
        element = NetworkServiceElement()
        bind(element, self._network)
        bind(_Top(), self._sap, self._network)
        self.link: BIPNormal | _Foreign = _Foreign() if is_foreign else BIPNormal()
        bind(self.link, BVLLCodec(), self._port)
        self._network.bind(self.link, address=IPv4Address("0.0.0.0"))

    async def register(self, bbmd: tuple[str, int], ttl_s: int) -> int:
        """Registers as a foreign device, and keeps the registration up. Gives what the BBMD answered: a BVLC result code, 0 for
        yes. Waits as long as it does not answer.
        """
        assert isinstance(self.link, _Foreign)
        self.link.register(IPv4Address(bbmd), ttl_s)
        await self.link.answered.wait()
        return int(self.link.bbmdRegistrationStatus)

    def begin(self, peer: Peer) -> Transaction:
        """A transaction with a peer, not sent yet."""
        address = address_of(peer.address)
        self._sap.peers.known[address] = _PeerInfo(peer.max_apdu, peer.segmentation)
        return Transaction(self._sap, address)

    async def route(self, network: int, router: tuple[str, int]) -> None:
        """The router behind which a network is."""
        station = address_of(f"{router[0]}:{router[1]}")
        await self._network.update_router_references(None, station, [network])

    async def tell(self, address: Address, service: int, payload: bytes) -> None:
        """Sends an unconfirmed request."""
        request = UnconfirmedRequestPDU(service)
        request.pduDestination = address
        request.put_data(payload)
        await self._sap.request(request)

    def take(self, data: bytes, source: tuple[str, int]) -> None:
        """Gives a datagram to bacpypes3, in a task of its own."""
        if len(self._tasks) >= _MOST_TASKS:
            self.dropped += 1
            return
        pdu = PDU(data, source=IPv4Address(source), destination=None)
        task = asyncio.get_running_loop().create_task(self._port.response(pdu), name="bacnet datagram")
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)

    async def close(self) -> None:
        """Ends what is under way; a foreign device says goodbye to its BBMD first."""
        if isinstance(self.link, _Foreign):
            self.link.unregister()
            await asyncio.sleep(0)  # the goodbye is a task of bacpypes3
            await asyncio.sleep(0)
        for machine in tuple(self._sap.clientTransactions):
            machine.set_state(COMPLETED)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def address_text(address: Address) -> str:
    """`10.0.0.7:47808` for a station of our network, `2:0x0c` for one behind a router."""
    if address.addrNet is not None:
        return f"{address.addrNet}:0x{address.addrAddr.hex()}"
    octets = address.addrAddr
    return f"{'.'.join(map(str, octets[:4]))}:{octets[4] << 8 | octets[5]}"


def address_of(text: str) -> Address:
    """The address that a text names, also `*` (our network), `2:*` and `*:*`. Raises ValueError."""
    net, separator, station = text.partition(":0x")
    if separator:
        return RemoteStation(int(net), bytes.fromhex(station))
    if text == "*":
        return LocalBroadcast()
    if text.endswith(":*") and text[:-2].isdecimal():
        return RemoteBroadcast(int(text[:-2]))
    host, _, port = text.partition(":")
    return LocalStation(ipaddress.IPv4Address(host).packed + int(port or 47808).to_bytes(2))


__all__ = ["AbortPDU", "Stack", "Transaction", "address_of", "address_text"]
