"""What a program gets on standard output where a command with `--json` ends in an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_agent.cli import invoke


@pytest.mark.parametrize(
    ("argv", "code", "what"),
    [
        (["read"], 2, "--link is missing"),
        (["read", "--link", "foo://x", "--fc", "3"], 1, "unknown kind of link"),
        (["read", "--link", "tcp://127.0.0.1:1", "--bogus"], 2, "No such option: --bogus"),
        (["call", "door-1", "--socket", "/nowhere/agent.sock"], 1, "no agent answers here"),
        (["scan", "modbus"], 2, "Missing option '--link'"),
        (["audit", "verify", "--dir", "/nowhere"], 1, "there is no audit log"),
        (["check", "/nowhere.yaml"], 1, "there is no such file"),
    ],
)
def test_errors_are_json_too(capsys: pytest.CaptureFixture[str], argv: list[str], code: int, what: str) -> None:
    assert invoke([*argv, "--json"]) == code
    said = capsys.readouterr().out
    told = json.loads(said)
    assert told["ok"] is False
    assert what in told["problems"][0]["what"]
    assert set(told["problems"][0]) == {"where", "what", "next_step"}


def test_people_read_them_on_standard_error_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["audit", "verify", "--dir", "/nowhere"]) == 1
    said = capsys.readouterr()
    assert (said.out, "there is no audit log" in said.err) == ("", True)


def test_a_file_named_by_json_is_no_wish_for_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert invoke(["profile", "propose", "--json", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().out == ""
