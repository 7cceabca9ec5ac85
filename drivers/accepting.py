"""Our listening TCP port on a link where devices dial in: each connection is admitted by its address before a byte of it is read.

Owns the listening socket and the list of open connections; what is spoken on them is its user's. Used over HTTP and raw TCP.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import cast

from device_profiles.errors import ConfigError, LinkLost

from .admission import Admission, plain
from .base import LinkConfig
from .link import ListenLink, refused_to_listen

_BACKLOG = 128
_AT_ONCE = 32
"""Connections that are taken before others have their turn."""
_HANDSHAKE_S = 5.0
_PAUSE_S = 0.5
"""After the system had no file descriptor left for a connection."""


class Connection(asyncio.Protocol):
    """One connection that was let in. Subclasses say what is done with its bytes."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.transport: asyncio.Transport | None = None
        self.gone: Callable[[], None] = lambda: None
        """Called once when it has ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()

    def abort(self) -> None:
        """Ends it now."""
        if self.transport is not None:
            self.transport.abort()


class Acceptor:
    """The open port. `make` gives the protocol for a peer that was let in."""

    def __init__(self, link: LinkConfig, admission: Admission, make: Callable[[str], Connection]) -> None:
        self.link = link
        self.own: tuple[str, int] = (link.host, link.port)
        self._admission = admission
        self._make = make
        self._lost: str | None = None
        self._socket: socket.socket | None = None
        self._tls: ssl.SSLContext | None = None
        self._again: asyncio.TimerHandle | None = None
        self._open: set[Connection] = set()
        self._greeting: dict[asyncio.Task[None], socket.socket] = {}

    async def open(self) -> None:
        """Binds and listens. Raises LinkRefused; ConfigError for a certificate that cannot be used."""
        self._tls = _tls(self.link)
        self._socket = _bound(self.link)
        self.own = self._socket.getsockname()[:2]
        self._listen()

    async def close(self) -> None:
        """Ends the port and all connections, those included that are not begun yet."""
        if self._socket is not None:
            self._pause()
            self._socket.close()
        greeting = tuple(self._greeting)
        for task in greeting:
            task.cancel()
        await asyncio.gather(*greeting, return_exceptions=True)
        for connection in tuple(self._open):
            connection.abort()

    def check(self) -> None:
        """Raises LinkLost when nobody is let in any more."""
        if self._lost is not None:
            raise LinkLost(self._lost, where=self.link.where, next_step="it is opened again by itself")

    def _listen(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._accept, self._socket)

    def _pause(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
        if self._again is not None:
            self._again.cancel()

    def _accept(self, bound: socket.socket) -> None:
        """Takes who waits. A callback and no task: one that is cancelled with a connection in its hands would leave it open."""
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = bound.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # the peer had gone before we came to it
            except OSError as error:
                self._pause()
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._admission.refuse("no_descriptor_left", "")
                    self._again = asyncio.get_running_loop().call_later(_PAUSE_S, self._listen)
                else:
                    self._lost = f"listening ended ({error})"
                return
            host = plain(str(peer[0]))
            if not self._admission.enter(host):
                accepted.close()
                continue
            task = asyncio.create_task(self._greet(accepted, host), name=f"greet {host} {self.link.id}")
            self._greeting[task] = accepted
            task.add_done_callback(self._greeted)

    def _greeted(self, task: asyncio.Task[None]) -> None:
        accepted = self._greeting.pop(task)
        if task.cancelled():
            accepted.close()

    async def _greet(self, accepted: socket.socket, host: str) -> None:
        connection = self._make(host)
        self._open.add(connection)

        def gone() -> None:
            if connection in self._open:
                self._open.discard(connection)
                self._admission.leave(host)

        connection.gone = gone
        accepted.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else _HANDSHAKE_S,
            )
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            self._admission.refuse("no_tls", host, str(error)[:100])
            accepted.close()
            gone()
        except asyncio.CancelledError:
            accepted.close()
            gone()
            raise


def _tls(link: LinkConfig) -> ssl.SSLContext | None:
    own = link.listen or ListenLink()
    if not own.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(own.certificate, own.key or None)
    except OSError as error:
        what = f"the certificate {own.certificate} and its key cannot be used ({error})"
        raise ConfigError(what, where=link.where, next_step="give both as PEM files that belong together") from error
    return context


def _bound(link: LinkConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in link.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((link.host, link.port))
        bound.listen(_BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise refused_to_listen(link, error) from error
    return bound
