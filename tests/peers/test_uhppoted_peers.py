"""The library of the uhppoted project (not written here) asks our simulated board, beside our own driver on the same board."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drivers.base import Address, LinkConfig, ListenLink
from drivers.listening import Listened
from drivers.uhppote.driver import UhppoteDriver
from firmware_sim.uhppote import Board, UhppoteSim
from tests.shipped import LIBRARY

HOME = Path(__file__).parent / "uhppoted"
PYTHON = HOME / ".venv" / "bin" / "python"
SERIAL = 423187757
PROFILE = LIBRARY.get("uhppote-l04")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not PYTHON.exists(), reason="uhppoted is not installed (bash tests/install_peers.sh)"),
]


async def test_the_board_answers_a_foreign_client_as_it_answers_ours() -> None:
    board = Board(SERIAL, now=lambda: datetime.now(UTC).replace(tzinfo=None))
    board.cards[6154410] = {1, 2}
    own = ListenLink(allow=("127.0.0.1",))
    link = LinkConfig(id="doors", kind="udp", host="127.0.0.1", port=0, listen=own)
    async with UhppoteSim([board]) as sim, UhppoteDriver().open(link) as session:
        board.swipe(6154410, 2)
        board.swipe(1, 1, 2)
        process = await asyncio.create_subprocess_exec(
            PYTHON, HOME / "client.py", sim.address, str(SERIAL), "127.0.0.1:60501", stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        told = [json.loads(line) for line in out.splitlines()]
        by = {each["what"]: each for each in told}
        assert process.returncode == 0
        assert (by["found"]["controller"], by["found"]["version"]) == (str(SERIAL), "v8.92")
        assert by["set_time"]["datetime"] == "2026-11-22 08:00:00"
        assert (by["door"]["mode"], by["door"]["delay"]) == ("3", "7")
        assert by["open"]["opened"] == "True"
        assert (by["status"]["event_index"], by["status"]["event_reason"], by["status"]["relays"]) == ("3", "44", "1")
        assert [each["index"] for each in told if each["what"] == "event"] == ["1", "2", "3"]
        second = [each for each in told if each["what"] == "event"][1]
        assert (second["card"], second["access_granted"], second["reason"], second["direction"]) == (
            "1",
            "False",
            "6",
            "2",
        )
        assert by["index"]["event_index"] == "2"
        assert (by["listener"]["address"], by["listener"]["port"]) == ("127.0.0.1", "60501")

        address = Address(SERIAL, "door-1", at=sim.address)
        await session.listen(Listened(address, PROFILE.events, PROFILE.credential))
        assert board.listener == ("127.0.0.1", 60501)  # the other program's
        records = [each async for portion in session.recall_events(address, 0) for each in portion]
        assert [(each.index, each.name) for each in records] == [
            (1, "access.granted"), (2, "access.denied"), (3, "gate.opened"),
        ]  # fmt: skip
        assert board.mark == 2
