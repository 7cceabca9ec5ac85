"""Which station a device instance is at: asks by Who-Is, remembers I-Am, notices what moved and what is there twice.

Does no I/O of its own. An I-Am costs a dictionary entry; more of them than _RATE a second, or more devices than _MOST, are
counted in `dropped`, but for those somebody waits for.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceTimeout, LinkError
from drivers.base import BacnetLink, LinkConfig
from drivers.link import BACNET_PORT

from .answers import to_station

_RATE = 3000
_MOST = 20_000
_MOST_STATIONS = 8
"""Stations that are remembered for one instance."""
_MOST_ROUTERS = 4096
_SETTLE_S = 0.03
"""After the first I-Am: a second station that claims the same instance has answered by then."""
_RECENT_S = 60.0
"""An I-Am that nobody asked for is believed for so long."""
_MOVED_AGAIN_S = 10.0
"""A station that claims a known instance makes us ask again, at most so often."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A device where it is: `10.0.0.7:47808`, or `2:0x0c` for a station of network 2. APDU length in octets."""

    instance: int
    address: str
    max_apdu: int = 480
    segmentation: str = "none"
    vendor: int = 0


def network_of(peer: Peer) -> str | None:
    """The network behind a router that a device is on; None on our own."""
    network, separator, _ = peer.address.partition(":0x")
    return network if separator else None


def station_of(text: str) -> tuple[str, int]:
    """Host and port of `10.0.0.7:47808`; the port may be left out. Raises ValueError."""
    host, _, port = text.partition(":")
    return host, int(port or BACNET_PORT)


def check_stations(link: LinkConfig) -> None:
    """Raises ConfigError for a peer or BBMD that is no IPv4 address with a port: names would be looked up while others wait."""
    own = link.bacnet or BacnetLink()
    for text in (*own.peers, *((own.bbmd,) if own.bbmd else ())):
        try:
            host, port = station_of(text)
            ipaddress.IPv4Address(host)
            is_sound = 0 < port <= 65535
        except ValueError:
            is_sound = False
        if not is_sound:
            raise ConfigError(f"{text!r} is no station", where=link.id, next_step="write it as 10.0.0.7:47808")


class Directory:
    """`ask(instance, peers)` sends Who-Is by broadcast and to these peers; `ask(None, peers)` greets peers."""

    def __init__(self, link: LinkConfig, ask: Callable[[int | None, Sequence[str]], None]) -> None:
        self._link = link
        self._peers = (link.bacnet or BacnetLink()).peers
        self._configured = frozenset(self._peers)
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self.dropped = 0
        self.duplicates = 0
        self._known: dict[int, Peer] = {}
        self._heard: dict[int, dict[str, tuple[Peer, float]]] = {}
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._listeners: list[Callable[[Peer], None]] = []
        self._behind: dict[int, tuple[str, int]] = {}
        self._routers: set[str] = set()
        self._left: dict[int, str] = {}
        """Where a device was that did not answer any more."""
        self._stations: set[str] = set()
        """Configured peers that said who they are."""
        self._greeted = self._asked_all = -1e9
        self._asked_again: dict[int, float] = {}
        self._second = (0.0, 0)
        self._turns: dict[str, asyncio.Lock] = {}

    def known(self, instance: int) -> Peer | None:
        """What a `find` brought before."""
        return self._known.get(instance)

    def turn(self, peer: Peer) -> asyncio.Lock | None:
        """What a request into a network behind a router waits for: an MS/TP line serves one station at a time, and what queues
        up in its router comes too late. None on our own network."""
        network = network_of(peer)
        return None if network is None else self._turns.setdefault(network, asyncio.Lock())

    def forget(self, instance: int) -> None:
        """Nothing is known of it any more, but where it was asked last."""
        peer = self._known.pop(instance, None)
        if peer is not None:
            self._left[instance] = peer.address
        self._heard.pop(instance, None)

    def way(self, peer: Peer) -> tuple[bytes, tuple[str, int]] | None:
        """The NPDU head of requests to a peer, and the station to send them to; None where its router is not known."""
        network, separator, station = peer.address.partition(":0x")
        if not separator:
            return to_station(None, b""), station_of(peer.address)
        router = self._behind.get(int(network))
        return None if router is None else (to_station(int(network), bytes.fromhex(station)), router)

    def is_router(self, source: tuple[str, int]) -> None:
        """This station said that it routes."""
        if len(self._routers) < _MOST_ROUTERS:
            self._routers.add(f"{source[0]}:{source[1]}")

    def listen(self, callback: Callable[[Peer], None]) -> Callable[[], None]:
        """Calls back for each I-Am; the result ends that."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback)

    def heard(self, peer: Peer, network: int | None, source: tuple[str, int]) -> None:
        """An I-Am arrived; `source` is the router where there is a network."""
        now = self._loop.time()
        began, count = self._second
        self._second = (now, 1) if now - began >= 1.0 else (began, count + 1)
        is_room = self._second[1] <= _RATE and (len(self._heard) < _MOST or peer.instance in self._heard)
        if not is_room and peer.instance not in self._waiting:
            self.dropped += 1
            return
        if network is not None and (network in self._behind or len(self._behind) < _MOST_ROUTERS):
            self._behind[network] = source
            self.is_router(source)
        if peer.address in self._configured:
            self._stations.add(peer.address)
        stations = self._heard.setdefault(peer.instance, {})
        if peer.address in stations or len(stations) < _MOST_STATIONS:
            stations[peer.address] = (peer, now)
        self._compare(peer, now)
        for waiter in self._waiting.pop(peer.instance, ()):
            self._loop.call_later(_SETTLE_S, _wake, waiter)
        for callback in tuple(self._listeners):
            callback(peer)

    def _compare(self, peer: Peer, now: float) -> None:
        """What is known of a device that says where it is: it may have moved, or there are two."""
        known = self._known.get(peer.instance)
        if known is None or known == peer:
            return
        if known.address == peer.address:
            self._known[peer.instance] = peer
        elif now - self._asked_again.get(peer.instance, -1e9) >= _MOVED_AGAIN_S:
            self._asked_again[peer.instance] = now
            del self._known[peer.instance]

    async def find(self, instance: int, limit_s: float) -> Peer:
        """Asks until somebody answers. Raises DeviceTimeout, DeviceMismatch, LinkError when the link ends meanwhile."""
        began = self._loop.time()
        recent = [peer for peer, at in self._heard.get(instance, {}).values() if began - at < _RECENT_S]
        if len(recent) == 1 and instance not in self._asked_again:
            self._known[instance] = recent[0]
            return recent[0]
        claimed = {*self._heard.pop(instance, {}), self._left.get(instance, "")}
        self._greet(began)
        self._ask(instance, [peer for peer in self._peers if peer in self._routers or peer in claimed])
        if not await self._wait(instance, limit_s / 3):
            self._ask(instance, self._candidates(began, claimed))
            await self._wait(instance, limit_s * 2 / 3)
        peers = [peer for peer, _ in self._heard.get(instance, {}).values()]
        where = f"{self._link.id}, device {instance}"
        if not peers:
            raise DeviceTimeout(
                f"no I-Am from instance {instance} within {limit_s:g} s", where=where,
                next_step="check instance and power; name it in the link's bacnet.peers where broadcasts do not reach it",
            )  # fmt: skip
        if len(peers) > 1:
            self.duplicates += 1
            raise DeviceMismatch(
                f"instance {instance} is claimed by {' and '.join(sorted(peer.address for peer in peers))}", where=where,
                next_step="give one of the devices another instance",
            )  # fmt: skip
        self._asked_again.pop(instance, None)
        self._left.pop(instance, None)
        self._known[instance] = peers[0]
        return peers[0]

    def _greet(self, now: float) -> None:
        """Asks every configured peer who it is, once in a while; routers among them are asked for what is behind them."""
        if self._peers and now - self._greeted >= _RECENT_S:
            self._greeted = now
            self._ask(None, self._peers)

    def _candidates(self, now: float, claimed: set[str]) -> list[str]:
        """Configured peers that may know a device that did not answer: all of them once in a while, otherwise those that route or
        have not said who they are. With hundreds of peers an absent device would cost the others their time.
        """
        if now - self._asked_all >= _RECENT_S:
            self._asked_all = now
            return list(self._peers)
        return [peer for peer in self._peers if peer in self._routers or peer in claimed or peer not in self._stations]

    async def _wait(self, instance: int, limit_s: float) -> bool:
        """True when an I-Am came within the limit."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(instance, []).append(waiter)
        try:
            async with asyncio.timeout(limit_s + _SETTLE_S):
                await waiter
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting.get(instance, [])
            if waiter in waiting:
                waiting.remove(waiter)
        return True

    def end(self, error: LinkError) -> None:
        """Whoever waits gets this error."""
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
        self._waiting.clear()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
