"""Questions to boards over one UDP port, and the answers that belong to them. Knows messages, and no points and no events.

One question at a time a board. After one that was not answered, or was asked twice, the board is left alone until no other
answer to it can come: only a record says which question it answers. An answer counts only from the address that was asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from device_profiles.errors import ConfigError, DeviceError, DeviceTimeout
from drivers.base import Address, LinkConfig, Trace
from drivers.udp_port import UdpPort, place_of

from . import frame
from .frame import Frame, FrameError, Function
from .masking import masking

Unasked = Callable[[Frame, str], None]
_TRIES = 3
"""A datagram may be lost on the way; asking again costs a board nothing."""


@dataclass(slots=True)
class _Board:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: tuple[str, int, int | None, asyncio.Future[Frame]] | None = None
    """Address that was asked, function, index where it has one, and who waits."""
    quiet_until: float = 0.0
    doubled: dict[int, float] = field(default_factory=dict)
    """Until when a second answer may come, by functions that were asked twice."""
    at: tuple[str, int] | None = None


class Boards:
    """The boards behind one port. `port` is opened and closed by their session."""

    def __init__(self, link: LinkConfig, unasked: Unasked, trace: Trace | None) -> None:
        self.link = link
        self.port = UdpPort(link, self._received, masking(trace))
        self._unasked = unasked
        self._boards: dict[int, _Board] = {}
        self._found: asyncio.Queue[tuple[Frame, tuple[str, int]]] = asyncio.Queue(1000)

    async def ask(self, device: Address, function: Function, body: bytes = b"", *, once: bool = False) -> Frame:
        """The answer. `once`: the question is never repeated.

        Raises DeviceTimeout, LinkLost; DeviceError where it is not known where the board is.
        """
        serial = serial_of(device)
        board = self._boards.setdefault(serial, _Board())
        async with board.lock:
            index = int.from_bytes(body[:4], "little") if function == Function.GET_EVENT else None
            if index in (0, frame.NEWEST):
                index = None
            quiet_until = max(board.quiet_until, board.doubled.get(function, 0.0) if index is None else 0.0)
            pause = quiet_until - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            place = await self._place(device, board)
            tries = 1 if once else _TRIES
            for number in range(tries):
                found = await self._exchange(board, place, frame.build(function, serial, body), function, index, tries)
                if found is not None:
                    if number:
                        board.doubled[function] = time.monotonic() + self.link.timeout_s
                    return found
            board.quiet_until = time.monotonic() + self.link.timeout_s
            if not device.at:
                board.at = None  # it may have another address by now
            self.port.counts.timeouts += 1
            raise DeviceTimeout(
                f"no answer from {place[0]}:{place[1]} in {self.link.timeout_s:g} s",
                where=f"{device.device or serial} ({self.link.where})",
                next_step="check its address (plantroom scan uhppote), and that UDP 60000 is let through",
            )

    async def find(self, within_s: float) -> AsyncIterator[tuple[Frame, tuple[str, int]]]:
        """Asks all boards at once who they are; yields each answer and the address it came from. Raises ConfigError, LinkLost."""
        own = self.link.listen
        if own is None or not own.broadcast:
            raise ConfigError(
                "the link has no broadcast address to look for boards with",
                where=self.link.where,
                next_step="give the board's address as at:, or the link a broadcast, as 192.168.1.255",
            )
        while not self._found.empty():
            self._found.get_nowait()
        self.port.send(frame.build(Function.GET_DEVICE, 0), place_of(own.broadcast, frame.PORT, self.link.where))
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    yield await self._found.get()
            except TimeoutError:
                return

    def place_of(self, serial: int) -> tuple[str, int] | None:
        """Where a board was found by broadcast."""
        board = self._boards.get(serial)
        return None if board is None else board.at

    def is_known(self, serial: int) -> bool:
        """The board has been asked something."""
        return serial in self._boards

    async def _place(self, device: Address, board: _Board) -> tuple[str, int]:
        if device.at:
            return place_of(device.at, frame.PORT, device.device)
        own = self.link.listen
        if board.at is None and (own is None or not own.broadcast):
            raise DeviceError(
                "it is not known where the board is: it has no address, and its link no broadcast",
                where=f"{device.device or device.unit} ({self.link.where})",
                next_step="give its address as at: 192.168.1.100, or the link broadcast: 192.168.1.255",
            )
        if board.at is None:
            async for found, peer in self.find(self.link.timeout_s):
                self._boards.setdefault(found.serial, _Board()).at = peer
                if found.serial == serial_of(device):
                    break
        at = board.at
        if at is None:
            raise DeviceTimeout(
                f"board {device.unit} did not answer to a broadcast",
                where=f"{device.device} ({self.link.where})",
                next_step="give its address as at: 192.168.1.100",
            )
        return at

    async def _exchange(
        self, board: _Board, place: tuple[str, int], request: bytes, function: int, index: int | None, tries: int
    ) -> Frame | None:
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        board.waiting = (place[0], function, index, future)
        try:
            self.port.send(request, place)
            self.port.counts.requests += 1
            async with asyncio.timeout(self.link.timeout_s / tries):
                return await future
        except TimeoutError:
            return None
        finally:
            board.waiting = None

    def _received(self, data: bytes, peer: tuple[str, int]) -> None:
        try:
            found = frame.parse(data)
        except FrameError as error:
            self.port.admission.refuse("no_message", peer[0], str(error))
            return
        board = self._boards.get(found.serial)
        if board is not None and board.waiting is not None:
            host, function, index, future = board.waiting
            same = found.function == function and (index is None or found.number(8) in (index, 0))
            if same and host != peer[0]:
                self.port.admission.refuse("foreign_address", peer[0])
                return
            if same and not future.done():
                self.port.counts.replies += 1
                future.set_result(found)
        if found.function == Function.GET_DEVICE and not self._found.full():
            self._found.put_nowait((found, peer))
        elif found.function == Function.GET_STATUS:
            self._unasked(found, peer[0])


def serial_of(device: Address) -> int:
    """The number of the board. Raises ConfigError."""
    text = str(device.unit)
    if text.isascii() and text.isdecimal() and 0 < int(text) <= 0xFFFFFFFF:
        return int(text)
    raise ConfigError(
        f"{device.unit!r} is no serial number of a board", where=device.device, next_step="give the number on the board"
    )
