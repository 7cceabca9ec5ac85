"""`plantroom scan osdp` against simulated readers, and a reading of what it found."""

from __future__ import annotations

import json

import pytest

from edge_agent.cli import invoke
from firmware_sim.osdp import OsdpLine, OsdpReader
from firmware_sim.wire import Wire

KEY = bytes(range(16))


def test_readers_are_found_whatever_they_speak(capsys: pytest.CaptureFixture[str]) -> None:
    readers = [
        OsdpReader(0, turnaround_s=0.002),
        OsdpReader(3, has_crc=False, turnaround_s=0.002, serial=0x1234),
        OsdpReader(5, key=KEY, demands_channel=True, install=False, turnaround_s=0.002),
    ]
    with OsdpLine(readers, Wire(115200)) as line:
        link = f"serial:{line.path}?baud=115200"
        assert invoke(["scan", "osdp", "--link", link, "--units", "0-5", "--json"]) == 0
        first, checksum, closed = json.loads(capsys.readouterr().out)["readers"]
        assert (first["unit"], first["baud"], first["vendor"], first["serial"]) == (0, 115200, "00068E", "00C0FFEE")
        assert (first["channel"], first["firmware"]) == ("offered", "1.4.2")
        assert (checksum["unit"], checksum["serial"]) == (3, "00001234")
        assert (closed["unit"], closed["channel"]) == (5, "needed")
        assert all("trouble" not in one for one in (first, checksum, closed))

        assert invoke(["scan", "osdp", "--link", link, "--units", "0,5"]) == 0
        told = capsys.readouterr().out
        assert "  0 at 115200 Bd  vendor 00068E  model " in told
        assert "wants its secure channel" in told
        assert f"2 readers on {line.path}" in told
        assert f"plantroom read --link 'serial:{line.path}?baud=115200' --unit 0 --profile generic-osdp-reader" in told
        assert invoke(["read", "--link", link, "--unit", "0", "--profile", "generic-osdp-reader"]) == 0

        assert invoke(["scan", "osdp", "--link", link, "--units", "7"]) == 1
        assert "no reader answered" in capsys.readouterr().err


def test_what_is_no_answer_is_told_as_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    """Two readers of one address, a wrong rate: bytes come, and no frame."""
    with OsdpLine([OsdpReader(2, spoil=lambda frame: [(0.0, frame[:6] + b"\x55" * 6)])], Wire(115200)) as line:
        assert invoke(["scan", "osdp", "--link", f"serial:{line.path}?baud=115200", "--units", "1-2"]) == 0
    told = capsys.readouterr().out
    assert "  2 at 115200 Bd  no answer within 60 ms: " in told
    assert "  1 at" not in told


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--link", "tcp://127.0.0.1:502"], "carries no OSDP"),
        (["--link", "serial:/dev/null", "--units", "120-127"], "not within 0 to 126"),
        (["--link", "serial:/dev/null", "--units", "a"], "is no range"),
        (["--link", "serial:/dev/null", "--bauds", "fast"], "write them like 9600"),
        (["--link", "rtu+tcp://127.0.0.1:4001", "--bauds", "9600"], "on serial ports only"),
    ],
)
def test_what_is_asked_wrongly_is_said(wrong: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["scan", "osdp", *wrong]) in (1, 2)
    said = capsys.readouterr().err.replace("\n", " ")
    assert words in " ".join(said.replace("│", " ").split())
