"""Unconfirmed requests to many: by broadcast, through a BBMD, into one network, and to each configured peer.

Only puts datagrams together; `send(datagram, station or None for a local broadcast)` puts them on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drivers.base import BacnetLink

from . import answers, codec, frame
from .directory import station_of


class Calling:
    """See above."""

    def __init__(self, own: BacnetLink, send: Callable[[bytes, tuple[str, int] | None], None]) -> None:
        self._own = own
        self._send = send

    def broadcast(self, apdu: bytes) -> None:
        """To every network we can reach: our own by broadcast, or through the BBMD."""
        function = frame.DISTRIBUTE if self._own.bbmd is not None else frame.ORIGINAL_BROADCAST
        target = self.bbmd if self._own.bbmd is not None else None
        self._send(answers.datagram(answers.GLOBAL + apdu, function), target)

    def to_network(self, network: int, apdu: bytes) -> None:
        """To all stations of one network, by whichever router knows the way: each is asked to pass it on."""
        npdu = answers.to_network(network) + apdu
        if self._own.bbmd is not None:
            self._send(answers.datagram(npdu, frame.DISTRIBUTE), self.bbmd)
        else:
            self._send(answers.datagram(npdu, frame.ORIGINAL_BROADCAST), None)
        for text in self._own.peers:
            self._send(answers.datagram(npdu), station_of(text))

    @property
    def bbmd(self) -> tuple[str, int]:
        """The BBMD that we are registered with."""
        return station_of(self._own.bbmd or "")

    def ask_for(self, instance: int | None, peers: Sequence[str]) -> None:
        """Who-Is for one device by broadcast, or (None) a greeting that also asks whether the station is a router."""
        if instance is None:
            for text in peers:
                target = station_of(text)
                self._send(answers.datagram(b"\x01\x00" + answers.unconfirmed(codec.WHO_IS, b"")), target)
                self._send(answers.datagram(answers.WHO_IS_ROUTER), target)
            return
        payload = codec.encode_who_is(instance, instance)
        self.broadcast(answers.unconfirmed(codec.WHO_IS, payload))
        for text in peers:
            self._send(answers.directed_broadcast(codec.WHO_IS, payload), station_of(text))
