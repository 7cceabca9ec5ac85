"""The agent's local socket: one JSON request a line, one JSON answer a line, for people on the box.

A Unix socket that the group may use; nothing listens on the network. A handler finds under `peer` who asks. An answer is
`{"ok": true, "result": ...}` or `{"ok": false, "error": "..."}`. It routes requests and bounds them; what they do is the agent's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

from device_profiles.errors import LinkRefused, LinkTimeout, PlantroomError

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

MAX_REQUEST = 64 * 1024
_ANSWER_TIMEOUT_S = 30.0
_LONGER_S = {"command": 85.0}
"""What may take longer: a write is waited for until it shows."""
_IDLE_S = 60.0
_log = structlog.get_logger("local_api")
_encode = msgspec.json.Encoder(enc_hook=str).encode


class LocalApi:
    """Serves the handlers while it is entered."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> LocalApi:
        """Raises LinkRefused when another agent answers there or the socket cannot be made."""
        try:
            return await self._listen()
        except OSError as error:
            raise LinkRefused(
                f"the local socket cannot be made ({error.strerror or error})",
                where=str(self._path),
                next_step="choose another `socket`, or let the agent's user write its folder",
            ) from error

    async def _listen(self) -> LocalApi:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if answers(self._path):
            raise LinkRefused(
                "another agent answers on this socket",
                where=str(self._path),
                next_step="stop it, or give this agent another `socket` and `data_dir`",
            )
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=MAX_REQUEST)
        os.chmod(self._path, 0o660)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer(writer)
        try:
            while True:
                try:
                    async with asyncio.timeout(_IDLE_S):
                        line = await reader.readline()
                except ValueError:
                    writer.write(_failure(f"a request of more than {MAX_REQUEST} bytes"))
                    break
                if not line:
                    break
                writer.write(await self._answer(line, peer))
                async with asyncio.timeout(_IDLE_S):
                    await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _answer(self, line: bytes, peer: Mapping[str, int]) -> bytes:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
            return _failure(f"not a JSON object: {error}")
        op = str(request.get("op"))
        handler = self._handlers.get(op)
        if handler is None:
            return _failure(f"unknown op {request.get('op')!r}; known are {', '.join(sorted(self._handlers))}")
        timeout_s = _LONGER_S.get(op, _ANSWER_TIMEOUT_S)
        try:
            async with asyncio.timeout(timeout_s):
                result = await handler({**request, "peer": peer})
        except PlantroomError as error:
            return _failure(str(error))
        except TimeoutError:
            return _failure(f"no answer within {timeout_s:g} s")
        return _encode({"ok": True, "result": result}) + b"\n"


def _peer(writer: asyncio.StreamWriter) -> dict[str, int]:
    """Who is at the other end, as the kernel knows it (SO_PEERCRED of unix(7)); empty where it does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return {}
    # A socket of its own for the same connection: uvloop's stand-in for a socket has no getsockopt.
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as link:
        pid, uid, gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return {"pid": pid, "uid": uid, "gid": gid}


def _failure(text: str) -> bytes:
    return _encode({"ok": False, "error": text}) + b"\n"


def answers(path: Path) -> bool:
    """An agent listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def ask(path: Path, op: str, *, timeout_s: float = 35.0, **arguments: Any) -> Any:
    """Asks the running agent. Raises LinkRefused when none runs, LinkTimeout when it hangs, PlantroomError for its refusal."""
    where = str(path)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(timeout_s)
            link.connect(str(path))
            link.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
            with link.makefile("rb") as answers:
                line = answers.readline()
    except TimeoutError as error:
        raise LinkTimeout(
            f"no answer within {timeout_s:g} s", where=where, next_step="look at the agent's journal"
        ) from error
    except PermissionError as error:
        raise LinkRefused(
            "permission denied", where=where, next_step="run as root or join the group of the agent (plantroom)"
        ) from error
    except OSError as error:
        raise LinkRefused(
            f"no agent answers here ({error.strerror})",
            where=where,
            next_step="start it with: plantroom run agent.yaml",
        ) from error
    if not line:
        raise LinkRefused("the agent closed the connection", where=where, next_step="look at the agent's journal")
    answer = json.loads(line)
    if not answer["ok"]:
        raise PlantroomError(answer["error"], where=where)
    return answer["result"]
