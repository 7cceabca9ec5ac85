"""`plantroom sim osdp`: what it prints, which orders it obeys, what it refuses; and the reader's own CRC against the standard."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from firmware_sim.cli import app
from firmware_sim.osdp import OsdpLine, OsdpReader, crc
from firmware_sim.osdp_cli import _come_by
from firmware_sim.wire import Wire


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--baud", "1200"], "no baud rate of OSDP"),
        (["--address", "127"], "lie in 0..126"),
        (["--address", "1", "--address", "1"], "must differ"),
        (["--key-env", "PLANTROOM_NO_SUCH_KEY"], "PLANTROOM_NO_SUCH_KEY"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["osdp", *arguments])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_it_runs_obeys_and_ends_with_its_input() -> None:
    orders = [
        {"op": "card", "bits": "1" * 26},
        {"op": "card", "reader": 1, "text": "1234"},
        {"op": "keys", "reader": 1, "keys": "1#"},
        {"op": "tamper"},
        {"op": "power", "on": False},
        {"op": "input", "number": 0},
        {"op": "busy", "count": 2},
        {"op": "mac"},
        {"op": "mute"},
        {"op": "heal"},
        {"op": "restart"},
        {"op": "unplug"},
        {"op": "plug"},
        {"op": "stats"},
        {"op": "readers"},
        {"op": "card", "reader": 7, "bits": "1"},
        {"op": "card"},
        {"op": "input", "number": 9},
        {"op": "dance"},
    ]
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "sim", "osdp", "--count", "2", "--json"],
        input="".join(json.dumps(order) + "\n" for order in orders) + "no json\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    first, *answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["readers"] == [0, 1]
    assert first["link"].startswith("serial:")
    assert [answer["ok"] for answer in answers] == [True] * 15 + [False] * 5


def test_the_checksum_of_public_captures() -> None:
    assert crc(bytes.fromhex("537F0D00046E0080250000")) == bytes.fromhex("6E38")
    assert crc(bytes.fromhex("53000900046100")) == bytes.fromhex("C066")


def test_a_reader_repeats_and_refuses_by_sequence() -> None:
    reader = OsdpReader(0)

    def command(code: int, sequence: int) -> bytes | None:
        body = bytes((0x53, 0, 8, 0, 4 | sequence, code))
        return reader.hear(body + crc(body))

    assert command(0x60, 1) is not None  # nothing began with 0: NAK of the sequence
    first = command(0x60, 0)
    reader.present("1" * 26)
    card = command(0x60, 1)
    assert first is not None
    assert card is not None
    assert (first[5], card[5]) == (0x40, 0x50)
    assert command(0x60, 1) == card
    assert reader.repeats == 1
    wrong = command(0x60, 3)
    assert wrong is not None
    assert wrong[5:7] == bytes((0x41, 4))


async def test_cards_come_by_themselves_with_right_parity() -> None:
    line = OsdpLine([OsdpReader(0), OsdpReader(1)], Wire(38400))
    seen: list[tuple[int, str]] = []
    for reader in line.readers:
        reader.present = lambda bits, at=reader.address: seen.append((at, bits))  # type: ignore[method-assign, assignment]
    line.ask = lambda call: call()  # type: ignore[method-assign]
    coming = asyncio.create_task(_come_by(line, 0.001))
    while len(seen) < 3:
        await asyncio.sleep(0)
    coming.cancel()
    assert [at for at, _ in seen[:3]] == [1, 0, 1]
    for number, (_, bits) in enumerate(seen[:3], 1):
        assert (len(bits), int(bits[1:9], 2), int(bits[9:25], 2)) == (26, 42, number)
        assert bits[:13].count("1") % 2 == 0
        assert bits[13:].count("1") % 2 == 1
