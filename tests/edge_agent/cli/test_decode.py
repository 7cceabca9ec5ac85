"""`plantroom decode`: the command as people and programs type it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.cli import invoke
from edge_agent.cli.decode_input import HexText

TRACE = """{ "timeSec" : "1", "io" : "in", "data" : " %s" }
{ "timeSec" : "1", "io" : "in", "data" : " %s" }
"""
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


@pytest.mark.parametrize("text", ["xy", "010", "01 03 0g", "0x1 03 x"])
def test_what_is_no_hexadecimal_text_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", text]) == 2
    assert capsys.readouterr().out == ""
    assert invoke(["decode", "modbus-rtu", text, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["error"]) == (False, "input")


FORMS: dict[str, Callable[[bytes], str]] = {
    "together": bytes.hex,
    "capitals": lambda data: data.hex().upper(),
    "spaces": lambda data: data.hex(" "),
    "colons": lambda data: data.hex(":"),
    "words": lambda data: data.hex("-", 2),
    "a number": lambda data: "0x" + data.hex(),
    "C": lambda data: "{" + ", ".join(f"0x{byte:X}" for byte in data) + "};",
    "lines of C": lambda data: ",\n\t".join(f"0x{byte:02x}" for byte in data),
    "a string": lambda data: '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"',
    "lines": lambda data: "\r\n".join(data[at : at + 3].hex() for at in range(0, len(data), 3)),
    "as in manuals": lambda data: " ".join(f"{byte:02X}H" for byte in data),
    "an assembler's": lambda data: ", ".join(f"{'0' if byte > 0x9F else ''}{byte:02x}h" for byte in data),
    "a list": lambda data: str([f"{byte:02X}" for byte in data]),
}


@pytest.mark.parametrize("form", FORMS)
@given(data=st.binary(min_size=1, max_size=40), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_hexadecimal_text_in_every_form_however_it_is_cut(form: str, data: bytes, cuts: list[int]) -> None:
    text = FORMS[form](data).encode()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader = HexText()
    portions = [portion for first, last in pairwise(edges) for portion in reader.take(text[first:last])]
    assert b"".join([*portions, *reader.take(b"", is_end=True)]) == data


@pytest.mark.parametrize(
    ("data", "argv", "code", "error"),
    [
        (bytes.fromhex(GOOD), ["modbus-rtu"], 0, None),
        (GOOD.encode(), ["modbus-rtu"], 0, None),
        (b"01 03 zz", ["modbus-rtu"], 2, "input"),
        (b"hello", ["dlt645-2007", "--binary"], 1, "noise"),
        ((TRACE % ("01 03 00 00", "00 01 84 0a")).encode(), ["modbus-rtu"], 0, None),
        ((TRACE % ("01 03 00 00", "00 01 84 0z")).encode(), ["modbus-rtu"], 2, "input"),
        (b'{"data": 5}', ["modbus-rtu"], 2, "input"),
        (b'{"data": "01', ["modbus-rtu"], 2, "input"),
    ],
)
def test_bytes_are_told_from_text(
    data: bytes, argv: list[str], code: int, error: str | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / "input"
    file.write_bytes(data)
    with file.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert invoke(["decode", *argv, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document.get("error") == error
    assert error or document["raw"] == GOOD


def test_words_of_a_shell_are_one_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", "01", "03", "00", "00", "00", "01", "84", "0a", "--json", "--explain"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["parts"][0] == {"start": 0, "end": 1, "name": "unit", "text": "unit 1"}


def test_no_bytes_are_no_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "modbus-rtu", "", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


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


def test_an_unknown_protocol_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["decode", "dlt645", GOOD, "--json"]) == 2
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert (document["ok"], document["error"], document["got"]) == (False, "protocol", "dlt645")
    assert "dlt645-2007" in document["expected"]
    assert "no decoder for 'dlt645'" in told.err


def test_the_name_of_a_file_is_told_how_to_give_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "frames.hex"
    file.write_text(GOOD)
    assert invoke(["decode", "modbus-rtu", str(file)]) == 2
    assert "use - <" in capsys.readouterr().err


def test_a_disk_that_is_full_is_said_in_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [sys.executable, "-m", "edge_agent.cli", "decode", "modbus-rtu", GOOD]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=30, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr
