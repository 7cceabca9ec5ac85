"""`plantroom spool`: the look into the spool, while the agent runs and when it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.cli import invoke
from edge_agent.model import SpoolSettings
from edge_agent.spool import Kind, Spool


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool.open(
        SpoolSettings(tmp_path / "spool.db", commit_ms=1, ballast_bytes=4096, floor_free_bytes=0),
        site="hq",
        agent="gw-01",
        on_commit=lambda entries: None,
        on_trouble=lambda kind, fields: None,
    )
    for number in range(30):
        device = f"meter-{number % 3:02}"
        spool.put(Kind.TELEMETRY, device, 1000 + number, lambda e, s: json.dumps({"epoch": e, "seq": s}).encode())
    spool.put(Kind.EVENT, "door-1", 5000, lambda e, s: b"\xff", cls="access")
    await spool.flush()
    yield spool
    await spool.close()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(["spool", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def test_show_says_what_waits_while_the_agent_runs(
    spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "--dir", str(tmp_path), "--json")
    (summary,) = lines(out)
    assert code == 0
    assert (summary["msgs"], summary["oldest"], summary["newest"]) == (31, 1000, 5000)
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [spool.epoch]
    groups = {(group["device"], group["kind"]): group["msgs"] for group in summary["groups"]}
    assert groups == {(f"meter-{n:02}", "telemetry"): 10 for n in range(3)} | {("door-1", "event"): 1}
    code, out, _ = call(capsys, "show", "--dir", str(tmp_path))
    assert code == 0
    assert "31 messages waiting" in out
    assert "hq/gw-01" in out


async def test_list_shows_messages_as_they_are_sent(
    spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = call(capsys, "list", "--dir", str(tmp_path), "--limit", "2", "--json")
    assert [line["message"] for line in lines(out)] == [{"epoch": spool.epoch, "seq": n} for n in (1, 2)]
    _, out, _ = call(
        capsys, "list", "--dir", str(tmp_path), "--device", "meter-02", "--newest", "--limit", "1", "--json"
    )
    assert [line["seq"] for line in lines(out)] == [30]
    _, out, _ = call(capsys, "list", "--dir", str(tmp_path), "--kind", "event", "--json")
    assert [(line["cls"], line["message"]) for line in lines(out)] == [("access", "ff")]
    code, out, _ = call(capsys, "list", "--dir", str(tmp_path))
    assert code == 0
    assert spool.epoch in out


async def test_looking_changes_nothing(spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path, killed, ignore=shutil.ignore_patterns("killed"))
    for clean in (False, True):
        if clean:
            for path in killed.iterdir():
                path.unlink()
            await spool.close()
            shutil.copy(tmp_path / "spool.db", killed / "spool.db")
        before = {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
        for command in ("show", "list", "verify"):
            code, _, _ = call(capsys, command, "--dir", str(killed))
            assert code == 0
        after = {path.name: path.read_bytes() for path in killed.iterdir() if not path.name.endswith("-shm")}
        assert after == before
        assert clean is not (killed / "spool.db-shm").exists()


async def test_verify_finds_a_flipped_bit(spool: Spool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "verify", "--dir", str(tmp_path), "--json")
    assert (code, lines(out)) == (0, [{"msgs": 31, "findings": []}])
    epoch = spool.epoch
    await spool.close()
    data = bytearray((tmp_path / "spool.db").read_bytes())
    at = data.index(f'{{"epoch": "{epoch}", "seq": 17}}'.encode())
    data[at + 3] ^= 1
    (tmp_path / "spool.db").write_bytes(data)
    code, out, _ = call(capsys, "verify", "--dir", str(tmp_path), "--json")
    assert code == 1
    assert [found["what"] for found in lines(out)[0]["findings"]] == [f"message {epoch} 17 has a wrong checksum"]


@pytest.mark.parametrize("content", [None, b"garbage" * 1000, b""])
async def test_what_is_no_spool_is_said_in_one_line(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "spool.db").write_bytes(content)
    code, out, err = call(capsys, "--dir", str(tmp_path))
    assert (code, out) == (1, "")
    assert str(tmp_path / "spool.db") in err
    assert "Traceback" not in err


async def test_wrong_usage_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "list", "--dir", str(tmp_path), "--kind", "noise")[0] in (1, 2)
    assert call(capsys, "--dir", str(tmp_path), "--config", "agent.yaml")[0] == 2
    assert call(capsys, "--nonsense")[0] == 2
