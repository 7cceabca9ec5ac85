"""The audit log: chained over files and restarts, and every change to it is found."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from edge_agent.cli import invoke
from edge_agent.commands.audit import FIRST, AuditLog, entries, verify


def write(folder: Path, count: int, **keys: int) -> AuditLog:
    log = AuditLog(folder, **keys)
    for _ in range(count):
        log.append(1000, {"op": "point.write", "by": "u:42", "why": "Wünsche"})
    log.close()
    return log


def test_the_chain_goes_on_over_files_and_restarts(tmp_path: Path) -> None:
    for _ in range(4):
        log = write(tmp_path, 5, max_bytes=400)
    found = verify(tmp_path)
    assert (found.entries, found.first, found.last, found.broken) == (20, 1, 20, None)
    assert (found.head, found.last) == (log.head, log.number)
    assert found.files > 3
    assert [entry["n"] for entry in entries(tmp_path)] == list(range(1, 21))
    assert next(entries(tmp_path))["prev"] == FIRST


def test_old_files_go_and_the_rest_still_verifies(tmp_path: Path) -> None:
    write(tmp_path, 40, max_bytes=400, keep=3)
    found = verify(tmp_path)
    assert (found.files, found.last, found.broken) == (3, 40, None)
    assert found.first > 1


def test_every_change_is_found(tmp_path: Path) -> None:
    write(tmp_path, 6)
    [path] = tmp_path.glob("audit-*")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    changes = {
        "changed": whole.replace(b"u:42", b"u:43", 1),
        "taken out": b"".join(lines[:2] + lines[3:]),
        "first gone": b"".join(lines[1:]),
        "exchanged": b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        "no JSON": whole.replace(lines[3], b"nonsense\n"),
        "added": whole.replace(lines[3], lines[3] + lines[3]),
    }
    for name, data in changes.items():
        path.write_bytes(data)
        found = verify(tmp_path)
        assert found.broken is not None, name
        assert found.broken.startswith(f"{path.name}:"), name


def test_a_missing_or_changed_end_is_found_by_a_hash_that_was_published(tmp_path: Path) -> None:
    head = write(tmp_path, 6, max_bytes=400).head
    last = sorted(tmp_path.glob("audit-*"))[-1]
    whole = last.read_bytes()
    assert verify(tmp_path, head).broken is None
    write(tmp_path, 2, max_bytes=10_000)
    assert verify(tmp_path, head).broken is None, "entries that came since change nothing"
    for end in (b"", whole.replace(b"u:42", b"u:43")):
        last.write_bytes(whole[: whole.rfind(b"{")] + end.splitlines(keepends=True)[-1] if end else end)
        assert verify(tmp_path).broken is None, "the chain alone cannot tell"
        broken = verify(tmp_path, head).broken
        assert broken is not None
        assert head in broken


def test_a_torn_last_line_is_cut_off_and_the_chain_goes_on(tmp_path: Path) -> None:
    write(tmp_path, 3)
    [path] = tmp_path.glob("audit-*")
    whole = path.read_bytes()
    for torn in range(1, 40):
        path.write_bytes(whole + whole[:torn])
        log = write(tmp_path, 1)
        assert log.healed == torn
        assert verify(tmp_path).broken is None
        assert verify(tmp_path).entries == 4


def test_a_file_that_was_only_begun_is_no_end(tmp_path: Path) -> None:
    write(tmp_path, 3)
    (tmp_path / "audit-000000000004.jsonl").touch()
    write(tmp_path, 2)
    assert (verify(tmp_path).entries, verify(tmp_path).broken) == (5, None)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path)
    log.append(1, {"op": "a"})
    real = os.write

    def full(file: int, data: bytes) -> int:
        real(file, data[:7])
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="full"):
        log.append(2, {"op": "b"})
    monkeypatch.undo()
    assert log.append(3, {"op": "c"}) == 2
    log.close()
    assert [entry["op"] for entry in entries(tmp_path)] == ["a", "c"]
    assert verify(tmp_path).broken is None
    assert json.loads(next(tmp_path.glob("audit-*")).read_bytes().splitlines()[0])["t"] == 1


def test_the_command_line_names_the_first_broken_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "audit", 3)
    assert invoke(["audit", "verify", "--dir", str(tmp_path)]) == 0
    assert "3 entries, 1 to 3" in capsys.readouterr().out
    assert invoke(["audit", "list", "--dir", str(tmp_path), "--limit", "2"]) == 0
    assert capsys.readouterr().out.count("Wünsche") == 2
    [path] = (tmp_path / "audit").glob("audit-*")
    path.write_bytes(path.read_bytes().replace(b"u:42", b"u:43", 1))
    assert invoke(["audit", "verify", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith(f"{path.name}:2: entry 2 does not follow")
    assert invoke(["audit", "verify", "--dir", str(tmp_path / "none")]) == 1
