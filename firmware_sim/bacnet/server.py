"""One UDP socket on 127.0.0.1 and what is behind it: a device, a router with devices on its networks, or a BBMD.

Owns addresses, routing and timing; what a device answers is in exchange.py. Loopback has no broadcast: what a device would
broadcast goes to whoever asked, to the neighbours given, and to the foreign devices that registered.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from firmware_sim.bacnet import npdu
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.exchange import Exchange, Route
from firmware_sim.bacnet.npdu import BadFrame, Npdu, Udp

_OK, _NO_REGISTER, _NO_DISTRIBUTE = 0x0000, 0x0030, 0x0060
_GRACE_S = 30
"""A foreign device may be so late with its renewal (clause J.5.2.3)."""


@dataclass(slots=True)
class Network:
    """A network behind the router. On MS/TP one request is under way at a time, and a device takes its time to answer."""

    number: int
    devices: dict[bytes, BacnetDevice]
    """MAC address -> device."""
    mstp: bool = False
    turnaround_s: tuple[float, float] = (0.02, 0.3)
    seed: int = 1
    most_waiting: int = 256
    overflow: int = 0
    """Messages the router had no room for."""
    waiting: deque[tuple[BacnetDevice, bytes, Route]] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class BacnetServer(asyncio.DatagramProtocol):
    """`async with BacnetServer(device) as server: server.address`. Start raises OSError for a port that is taken."""

    TICK_S = 0.1
    """How often subscribers are looked after."""

    def __init__(
        self,
        device: BacnetDevice | None = None,
        *,
        networks: Iterable[Network] = (),
        network_number: int = 1,
        bbmd: bool = False,
        neighbours: Iterable[Udp] = (),
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.device, self.bbmd, self.host = device, bbmd, host
        self.networks: Mapping[int, Network] = {network.number: network for network in networks}
        self.network_number, self.neighbours = network_number, list(neighbours)
        self.foreign: dict[Udp, float] = {}
        """Registered foreign devices and when their time is over."""
        self.clients: dict[Udp, None] = {}
        """Who sent something, the last sixteen."""
        self.deaf = False
        self.bad_frames = 0
        self.impostor: BacnetServer | None = None
        """Another device on the network that claims the same instance."""
        self.exchange = Exchange(self.send)
        self._wanted_port = port
        self._transport: asyncio.DatagramTransport | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def address(self) -> Udp:
        """Where it listens; only while started."""
        if self._transport is None:
            raise RuntimeError("the server is not started")
        name = self._transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    @property
    def port(self) -> int:
        return self.address[1]

    def devices(self) -> list[BacnetDevice]:
        own = [] if self.device is None else [self.device]
        return own + [device for network in self.networks.values() for device in network.devices.values()]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=(self.host, self._wanted_port)
        )
        self._tasks = [asyncio.create_task(self._mind_subscribers(), name="bacnet-sim-cov")]
        self._tasks += [
            asyncio.create_task(self._pass_on(network), name=f"bacnet-sim-mstp-{network.number}")
            for network in self.networks.values()
            if network.mstp
        ]
        for device in self.devices():
            device.on_write = partial(loop.call_soon, self.exchange.notify, device)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.exchange.stop()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self.impostor is not None:
            await self.impostor.stop()

    async def __aenter__(self) -> BacnetServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def keep(self, task: asyncio.Task[None]) -> None:
        """A task that ends with the server."""
        self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)

    def place_of(self, device: BacnetDevice) -> tuple[int, bytes] | None:
        """Network and MAC address of a device behind the router."""
        for network in self.networks.values():
            for mac, one in network.devices.items():
                if one is device:
                    return network.number, mac
        return None

    def move(self, device: BacnetDevice) -> None:
        """The same device at another port, or at another MAC address of its network; nobody is told."""
        place = self.place_of(device)
        if place is None:
            self.keep(asyncio.create_task(self._rebind(), name="bacnet-sim-move"))
            return
        devices = self.networks[place[0]].devices
        del devices[place[1]]
        devices[bytes((next(mac for mac in range(254, 0, -1) if bytes((mac,)) not in devices),))] = device

    async def _rebind(self) -> None:
        old = self._transport
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, local_addr=(self.host, 0)
        )
        if old is not None:
            old.close()

    # datagrams

    def datagram_received(self, data: bytes, addr: Udp) -> None:
        if self.deaf:
            return
        if addr not in self.clients:
            while len(self.clients) >= 16:
                self.clients.pop(next(iter(self.clients)))
            self.clients[addr] = None
        try:
            function, body = npdu.open_bvlc(data)
            if function in (npdu.UNICAST, npdu.BROADCAST):
                if function == npdu.BROADCAST and self.bbmd:
                    self._forward(addr, body, but=None)
                self._message(npdu.open_npdu(body), addr)
            elif function == npdu.FORWARDED and len(body) > 6:
                origin = npdu.udp_from(body)
                self._message(npdu.open_npdu(body[6:]), origin)
                if self.bbmd:
                    self._forward(origin, body[6:], but=addr)
            else:
                self._bbmd(function, body, addr)
        except BadFrame:
            self.bad_frames += 1

    def error_received(self, exc: Exception) -> None:
        """A client that is gone; UDP tells by the way."""

    def send(self, datagram: bytes, to: Udp) -> None:
        if self._transport is not None:
            self._transport.sendto(datagram, to)

    def _bbmd(self, function: int, body: bytes, addr: Udp) -> None:
        now = asyncio.get_running_loop().time()
        for one in [one for one, ends in self.foreign.items() if ends < now]:
            del self.foreign[one]
        if function == npdu.REGISTER and len(body) == 2:
            if self.bbmd and len(self.foreign) < 64:
                self.foreign[addr] = now + int.from_bytes(body, "big") + _GRACE_S
            self._result(_OK if self.bbmd else _NO_REGISTER, addr)
        elif function == npdu.DISTRIBUTE:
            if addr not in self.foreign:
                self._result(_NO_DISTRIBUTE, addr)
                return
            self._forward(addr, body, but=addr)
            self._message(npdu.open_npdu(body), addr)
        elif function == npdu.READ_FOREIGN and self.bbmd:
            rows = b"".join(
                npdu.udp_bytes(one) + b"\0\0" + max(0, int(ends - now)).to_bytes(2, "big")
                for one, ends in self.foreign.items()
            )
            self.send(npdu.bvlc(npdu.READ_FOREIGN_ACK, rows), addr)
        elif function == npdu.READ_TABLE and self.bbmd:
            self.send(npdu.bvlc(npdu.READ_TABLE_ACK, npdu.udp_bytes(self.address) + b"\xff\xff\xff\xff"), addr)
        elif function == npdu.DELETE_FOREIGN and len(body) == 6:
            gone = self.foreign.pop(npdu.udp_from(body), None)
            self._result(_OK if gone is not None else 0x0050, addr)

    def _result(self, code: int, addr: Udp) -> None:
        self.send(npdu.bvlc(npdu.RESULT, code.to_bytes(2, "big")), addr)

    def _forward(self, origin: Udp, body: bytes, *, but: Udp | None) -> None:
        """A broadcast, to everyone who has to hear of it except where it came from."""
        datagram = npdu.bvlc(npdu.FORWARDED, npdu.udp_bytes(origin) + body)
        for one in [*self.foreign, *self.neighbours]:
            if one not in (but, origin):
                self.send(datagram, one)

    def announce(self, apdu: bytes, route: Route) -> None:
        """What a device says to all: to who asked, and where a BBMD or a neighbour carries it."""
        body = npdu.npdu(apdu, source=route.at)
        if self.bbmd:
            self._forward(self.address, body, but=None)
        for one in self.neighbours:
            self.send(npdu.bvlc(npdu.BROADCAST, body), one)
        if route.udp not in self.foreign and route.udp not in self.neighbours:
            self.send(route.wrap(apdu), route.udp)

    # network layer

    def _message(self, message: Npdu, addr: Udp) -> None:
        if message.message is not None:
            self._network_layer(message, addr)
            return
        back = (message.snet, message.sadr) if message.snet is not None else None
        if message.dnet in (None, npdu.GLOBAL) and self.device is not None:
            self._deliver(self.device, message.payload, Route(addr, back, None), is_all=message.dnet is not None)
        if message.dnet is None:
            return
        if message.dnet == npdu.GLOBAL:
            hit = list(self.networks.values())
        elif message.dnet in self.networks:
            hit = [self.networks[message.dnet]]
        else:
            reason = b"\x01" + message.dnet.to_bytes(2, "big")  # not directly connected, no router known
            self.send(npdu.bvlc(npdu.UNICAST, npdu.npdu(reason, message=npdu.REJECT_TO_NETWORK)), addr)
            return
        if message.hops <= 1 and message.dnet == npdu.GLOBAL:
            return
        for network in hit:
            macs = [message.dadr] if message.dadr else list(network.devices)
            for mac in macs:
                device = network.devices.get(mac)
                if device is not None:
                    route = Route(addr, back, (network.number, mac))
                    self._deliver(device, message.payload, route, is_all=not message.dadr, network=network)

    def _network_layer(self, message: Npdu, addr: Udp) -> None:
        if message.message == npdu.WHO_IS_ROUTER and self.networks:
            wanted = int.from_bytes(message.payload[:2], "big") if len(message.payload) >= 2 else None
            reached = [number for number in self.networks if wanted in (None, number)]
            if reached:
                body = b"".join(number.to_bytes(2, "big") for number in reached)
                self.send(npdu.bvlc(npdu.UNICAST, npdu.npdu(body, message=npdu.I_AM_ROUTER)), addr)
        elif message.message == npdu.WHAT_IS_NETWORK and self.networks:
            body = self.network_number.to_bytes(2, "big") + b"\x01"
            self.send(npdu.bvlc(npdu.UNICAST, npdu.npdu(body, message=npdu.NETWORK_IS)), addr)

    def _deliver(
        self, device: BacnetDevice, apdu: bytes, route: Route, *, is_all: bool, network: Network | None = None
    ) -> None:
        if not apdu:
            raise BadFrame("no APDU")
        if apdu[0] >> 4 == 1:  # unconfirmed: everyone hears it at once, even on MS/TP
            said = self.exchange.unconfirmed(device, apdu)
            if said is not None:
                self.announce(said, route)
                if self.impostor is not None and device is self.device:
                    self.impostor.announce(said, Route(route.udp, route.back, None))
        elif is_all:
            raise BadFrame("a confirmed request to all")
        elif network is not None and network.mstp:
            if len(network.waiting) >= network.most_waiting:
                network.overflow += 1
                return
            network.waiting.append((device, apdu, route))
            network.arrived.set()
        else:
            self.exchange.confirmed(device, apdu, route)

    async def _pass_on(self, network: Network) -> None:
        """The MS/TP line: one message after the other, each answer after the device's turnaround."""
        rng = random.Random(network.seed)
        while True:
            network.arrived.clear()
            while network.waiting:
                device, apdu, route = network.waiting.popleft()
                await asyncio.sleep(rng.uniform(*network.turnaround_s))
                with contextlib.suppress(BadFrame):
                    self.exchange.confirmed(device, apdu, route)
            await network.arrived.wait()

    async def _mind_subscribers(self) -> None:
        while True:
            await asyncio.sleep(self.TICK_S)
            for device in self.devices():
                self.exchange.notify(device)
