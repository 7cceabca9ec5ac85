"""`plantroom decode`: the command as people and programs type it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edge_agent.cli import invoke

GOOD, WRONG = "010300000001840a", "010300000001aaaa"


def run(*argv: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent.cli", "decode", *argv], input=data, capture_output=True, timeout=30
    )


def test_a_line_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", GOOD + "01 03 02 00 2a 39 9b", "--json"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "ok": True, "address": "1", "control": "03", "values": [], "is": "request", "first": 0, "count": 1, "at": 0, "raw": GOOD,
    }  # fmt: skip
    assert second["values"] == [{"id": "r0", "value": 42, "unit": None}]


def test_a_wrong_one_is_said_and_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", WRONG, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["error"], document["expected"], document["got"]) == (
        False,
        "checksum",
        "840a",
        "aaaa",
    )


def test_bytes_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", GOOD, "--explain"]) == 0
    out = capsys.readouterr().out
    assert "01 03 00 00 00 01 84 0a" in out
    assert "2..3  first" in out


@pytest.mark.parametrize("text", ["xy", "010", "01 03 0g"])
def test_what_is_no_hexadecimal_text_is_wrong_usage(text: str) -> None:
    assert invoke(["decode", "modbus-rtu", text]) == 2


def test_a_stream_of_text_or_bytes() -> None:
    text = run("modbus-rtu", "-", "--json", data=GOOD.encode() + b"\n01:03:02:00:2a:39:9b\n")
    raw = run("modbus-rtu", "-", "--json", "--binary", data=bytes.fromhex(GOOD + "010302002a399b"))
    assert (text.returncode, raw.returncode) == (0, 0)
    assert text.stdout == raw.stdout
    assert len(text.stdout.splitlines()) == 2
    assert run("modbus-rtu", "-", "--json").returncode == 1


def test_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "list"]) == 0
    assert "modbus-rtu" in capsys.readouterr().out.split()
