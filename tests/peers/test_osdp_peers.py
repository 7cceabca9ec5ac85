"""A libosdp peripheral (C library, not written here) as the reader of our control panel: plain, and over the secure channel."""

from __future__ import annotations

import asyncio
import json
import os
import tty
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_profiles.secrets import Secret
from drivers.base import Address, Limits, LinkConfig
from drivers.listening import Listened, Occurrence
from drivers.osdp.session import OsdpSession
from drivers.registry import load_driver
from tests.shipped import LIBRARY

HOME = Path(__file__).parent / "osdp"
PYTHON = HOME / ".venv" / "bin" / "python"
KEY = "00112233445566778899aabbccddeeff"
CARD = "1" + "0111011000000100" + "11100110" + "1"
"""Facility code 118, number 1254, with both parity bits."""
PROFILE = LIBRARY.get("generic-osdp-reader")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PYTHON.exists(), reason="libosdp is not installed (bash tests/install_peers.sh)"),
]


class Peer:
    """The peripheral's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def order(self, **order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            while True:
                said: dict[str, Any] = json.loads(await self._process.stdout.readline())
                if said.keys() != {"command", "type"}:  # it was asked for a status
                    return said


@asynccontextmanager
async def peer(*keys: str) -> AsyncIterator[tuple[Peer, str]]:
    """A reader at address 101, and the port that it is on."""
    master, slave = os.openpty()
    tty.setraw(slave)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        PYTHON, HOME / "reader.py", str(master), "101", *keys, stdin=pipe, stdout=pipe, pass_fds=[master]
    )
    try:
        one = Peer(process)
        assert await one.said() == {"ready": True}
        yield one, os.ttyname(slave)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            await process.wait()
        os.close(master)
        os.close(slave)


@asynccontextmanager
async def panel(port: str) -> AsyncIterator[OsdpSession]:
    link = LinkConfig("osdp-1", "serial", path=port, baud=115200, parity="N", timeout_s=0.2)
    async with load_driver("osdp").open(link) as session:
        assert isinstance(session, OsdpSession)
        yield session


async def told(session: OsdpSession, count: int, *names: str) -> Sequence[Occurrence]:
    found: list[Occurrence] = []
    async with asyncio.timeout(10):
        async for turn in session.occurrences():
            found += [one for one in turn if one.name in names]
            if len(found) >= count:
                break
    return found


@pytest.mark.parametrize("keys", [(), (KEY,)])
async def test_cards_keys_and_commands(keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCBK", KEY)
    me = Address(101, "door-1", secret=Secret(env="SCBK") if keys else None)
    batch = load_driver("osdp").plan(PROFILE.points, Limits(), None, LinkConfig("l", "serial", path="x"))[0]
    async with peer(*keys) as (reader, port), panel(port) as session:
        values = dict(zip(batch.points, await session.read(me, batch), strict=True))
        assert values["online"] is True
        assert values["secure_channel"] is bool(keys)
        assert values["tamper"] is False
        assert values["serial_text"] == "12345678"
        await session.listen(Listened(me, PROFILE.events, PROFILE.credential))
        reader.order(card=CARD)
        reader.order(keys="1234")
        card, typed = await told(session, 2, "card.read", "keypad.entered")
        assert card.clear["card"].text == str(int(CARD[1:-1], 2))
        assert card.data["bits"] == 26
        assert typed.data == {"count": 4}
        operations = {one.id: one for one in PROFILE.operations}
        await session.operate(me, operations["led"], {"color": "green", "seconds": 2}, None)
        await session.operate(me, operations["buzzer"], {"count": 3, "on_ms": 200}, None)
        await session.operate(me, operations["text"], {"text": "Welcome", "seconds": 5}, None)
        await session.operate(me, operations["output"], {"state": "on", "seconds": 0}, None)
        led, buzzer, text, output = [await reader.said() for _ in range(4)]
        assert (led["led_number"], led["on_color"], led["control_code"]) == (0, 2, 2)
        assert buzzer["rep_count"] == 3
        assert text["data"] == "Welcome"
        assert output["output_no"] == 0


async def test_another_key_is_refused_and_nothing_is_said_in_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCBK", "ff" * 16)
    me = Address(101, "door-1", secret=Secret(env="SCBK"))
    batch = load_driver("osdp").plan(PROFILE.points, Limits(), None, LinkConfig("l", "serial", path="x"))[0]
    async with peer(KEY) as (_, port), panel(port) as session:
        await session.listen(Listened(me, PROFILE.events, PROFILE.credential))
        alarm = (await told(session, 1, "alarm.raised"))[0]
        assert alarm.data["id"] == "secure_channel"
        values = dict(zip(batch.points, await session.read(me, batch), strict=True))
        assert values["secure_channel"] is False
        assert values["online"] is False
