"""The alert stream of one host, read for as long as somebody listens: opened again after every end, with growing pauses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from device_profiles.errors import DeviceError, DeviceMismatch, LinkError
from drivers.document import DocumentError
from drivers.http_client import HttpClient

from .messages import Message, message_of
from .multipart import Multipart, boundary_of

PATH = "/ISAPI/Event/notification/alertStream"
IDLE_S = 90.0
"""Devices say a heartbeat every 10 s or so; one that was silent for so long is not there any more."""
_FIRST_S, _LAST_S = 1.0, 60.0
_log = logging.getLogger("isapi")

Take = Callable[[Message], Awaitable[None]]


class AlertStream:
    """`open` once; then `run` keeps it going. Every message is given to `take` and waited for: the device waits with us."""

    def __init__(self, client: HttpClient, take: Take, *, idle_s: float = IDLE_S, first_s: float = _FIRST_S) -> None:
        self._client = client
        self._take = take
        self._idle_s = idle_s
        self._first_s = first_s
        self._task: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None
        self._has_heard = False
        self.openings = 0

    async def open(self) -> None:
        """Returns once the stream runs, and does nothing where it does already. Raises DeviceError, LinkError."""
        if self._task is not None and not self._task.done():
            return
        self._opened = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"alert stream of {self._client.link.id}")
        try:
            async with asyncio.timeout(self._client.link.timeout_s + self._client.link.connect_timeout_s):
                await asyncio.shield(self._opened)
        except TimeoutError:
            await self.close()
            raise DeviceMismatch("its alert stream does not begin", where=self._client.link.where) from None

    async def close(self) -> None:
        """Ends it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        """The first opening is whoever called `open`'s; every later one is tried until it works."""
        pause_s = self._first_s
        while True:
            self._has_heard = False
            try:
                await self._once()
            except (DeviceError, LinkError) as error:
                if self._opened is not None and not self._opened.done():
                    self._opened.set_exception(error)
                    return
                _log.debug("alert stream of %s: %s", self._client.link.id, error.what)
            pause_s = self._first_s if self._has_heard else pause_s
            await asyncio.sleep(pause_s)
            pause_s = min(_LAST_S, pause_s * 2)

    async def _once(self) -> None:
        """Until the stream ends. Raises DeviceError, LinkError."""
        client, where = self._client, self._client.link.where
        async with client.stream(PATH, idle_s=self._idle_s, where=where) as (content_type, chunks):
            boundary = boundary_of(content_type)
            if boundary is None:
                raise DeviceMismatch(f"its alert stream is {content_type[:60]!r} and no multipart", where=where)
            self.openings += 1
            if self._opened is not None and not self._opened.done():
                self._opened.set_result(None)
            stream = Multipart(boundary)
            async for chunk in chunks:
                for body in stream.feed(chunk):
                    self._has_heard = True
                    await self._give(body)

    async def _give(self, body: bytes) -> None:
        try:
            message = message_of(body)
        except DocumentError:
            errors = self._client.counts.errors
            errors["bad_message"] = errors.get("bad_message", 0) + 1
            return
        if message is not None:
            await self._take(message)
