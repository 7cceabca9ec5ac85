"""The local socket answers what it is asked, refuses what it cannot, and never two agents share one."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import LinkRefused, PlantroomError
from edge_agent.local_api import MAX_REQUEST, LocalApi, ask


async def _echo(request: Mapping[str, Any]) -> Any:
    if request.get("fail"):
        raise PlantroomError("no such device 'x'", where="agent", next_step="see plantroom status")
    return request["text"]


async def test_asks_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "run" / "agent.sock"
    async with LocalApi(path, {"echo": _echo}):
        assert path.stat().st_mode & 0o777 == 0o660
        assert await asyncio.to_thread(ask, path, "echo", text="héllo") == "héllo"
        with pytest.raises(PlantroomError, match="no such device"):
            await asyncio.to_thread(ask, path, "echo", fail=True)
        with pytest.raises(PlantroomError, match=r"unknown op 'nope'; known are echo"):
            await asyncio.to_thread(ask, path, "nope")
    assert not path.exists()


async def test_a_second_agent_is_refused_and_a_stale_socket_is_not(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with LocalApi(path, {}):
        with pytest.raises(LinkRefused, match="another agent"):
            async with LocalApi(path, {}):
                pass
    path.touch()
    async with LocalApi(path, {}):
        pass


@pytest.mark.parametrize(
    "line",
    [b"\n", b"null\n", b"[1]\n", b'{"op":1e400}\n', b"\xff\xfe\n", b"[" * 5000 + b"\n", b"x" * (MAX_REQUEST + 9)],
)
async def test_garbage_gets_an_error_and_the_socket_lives(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "agent.sock"
    async with LocalApi(path, {"echo": _echo}):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(line + b"\n")
        assert b'"ok":false' in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        assert await asyncio.to_thread(ask, path, "echo", text="on") == "on"


async def test_no_agent_is_said_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(LinkRefused, match=r"no agent answers here .* plantroom run"):
        ask(tmp_path / "none.sock", "status")


async def _who(request: Mapping[str, Any]) -> Any:
    return request["peer"]


async def test_a_handler_is_told_by_the_kernel_who_asks(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with LocalApi(path, {"who": _who}):
        said = await asyncio.to_thread(ask, path, "who", peer={"uid": 4711})
        assert (said["uid"], said["pid"]) == (os.getuid(), os.getpid())
