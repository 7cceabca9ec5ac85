"""The part of a simulated display of PJLink class 2 that answers a search, on a port of loopback instead of UDP 4352.

Source: JBMIA, PJLink Specifications class 2 version 2.1, section 3.2.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class SearchResponder(asyncio.DatagramProtocol):
    """Answers while it is entered. `answers`: what it sends, one datagram each."""

    def __init__(self, *answers: bytes, port: int = 0) -> None:
        self.answers = answers or (b"%2ACKN=00:1B:2C:3D:4E:5F\r",)
        self.port = port
        self.asked = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self.port))
        self.port = int(self._transport.get_extra_info("sockname")[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data.upper() == b"%2SRCH\r" and self._transport is not None:
            self.asked += 1
            for answer in self.answers:
                self._transport.sendto(answer, addr)
