"""F7: no space on write, sync and create; a disk that is full before the start; a file system mounted read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from spool_box import Box, is_true
from tracing import environment, run, run_attached, why_not

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
IS_THOROUGH = os.environ.get("PLANTROOM_FAULTS") == "all"


@cache
def _namespace() -> list[str] | None:
    """The command that gives a mount namespace, or None when this machine allows none."""
    if shutil.which("unshare") is None:
        return None
    for command in (["unshare", "-m"], ["unshare", "-Urm"]):
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
        if tried.returncode == 0:
            return command
    return None


def on_small_disk(scenario: str, folder: Path, program: str = "spool_on_full_disk.py") -> dict[str, Any]:
    namespace = _namespace()
    if namespace is None:
        pytest.skip("a mount namespace with a small tmpfs is not permitted here")
    script = 'mount -t tmpfs -o size=4m none "$1" && exec "$2" "$3" "$1" "$4"'
    done = subprocess.run(
        [*namespace, "sh", "-c", script, "sh", str(folder), sys.executable, str(HERE / program), scenario],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=58,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(scenario, result)
    return result


def test_a_disk_that_is_full_before_the_start(tmp_path: Path) -> None:
    result = on_small_disk("before", tmp_path)
    assert result["acked"] == result["in_memory"] == 63
    assert result["kept"]
    assert result["events_kept"]
    assert result["kinds"][0] == "storage_failed"
    assert "data_lost" not in result["kinds"]
    assert result["recovered_s"] < 100


def test_a_disk_that_fills_while_it_runs(tmp_path: Path) -> None:
    result = on_small_disk("during", tmp_path)
    assert result["had_ballast"]
    assert result["acked"]
    assert result["lost"] > 0
    assert result["silent"] == []
    assert result["both"] == 0
    assert result["events_kept"]
    assert result["still_there"]
    assert result["recovered_s"] < 100


def test_a_disk_that_is_read_only_at_the_start(tmp_path: Path) -> None:
    result = on_small_disk("readonly", tmp_path)
    assert result["acked"] == 30
    assert result["kept"]
    assert result["kinds"] == ["storage_failed", "storage_recovered"]
    assert result["recovered_s"] < 100


def _calls() -> list[tuple[str, str]]:
    once = [("pwrite64", str(number)) for number in range(1, 60, 1 if IS_THOROUGH else 16)]
    for_ever = [(call, "1+") for call in ("fdatasync", "ftruncate", "fallocate")] + [("pwrite64", "20+")]
    return once + for_ever


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"] if IS_THOROUGH else ["ENOSPC"])
@pytest.mark.parametrize(("call", "when"), _calls())
async def test_no_space_in_any_call(call: str, when: str, error: str, tmp_path: Path) -> None:
    if why_not():
        pytest.skip(str(why_not()))
    said = run_attached(tmp_path, 21, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}")
    assert said.is_done, "it stood still"
    assert "data_lost" not in said.troubles()
    box = Box(tmp_path)
    found = await box.all()
    assert all(is_true(entry) for entry in found)
    if "+" not in when or call in ("ftruncate", "fallocate"):
        assert said.held <= {(entry.epoch, entry.seq) for entry in found}
        assert "storage_failed" not in said.troubles()
    else:
        assert "storage_failed" in said.troubles()
    assert "set_aside" not in box.kinds()
    await box.spool.close()


async def test_no_file_can_be_created(tmp_path: Path) -> None:
    if why_not():
        pytest.skip(str(why_not()))
    # Python makes no file of its own here: PYTHONDONTWRITEBYTECODE is set for the child by `environment`.
    path = (
        "-P",
        str(tmp_path / "spool.db"),
        "-P",
        str(tmp_path / "spool.db-wal"),
        "-P",
        str(tmp_path / "spool.db-shm"),
    )
    said = run(tmp_path, 21, *path, "-e", "trace=openat", "-e", "inject=openat:error=ENOSPC")
    assert said.is_done
    assert len(said.numbers("ack")) >= 21
    assert said.troubles() == ["storage_failed"]


def test_commands_while_the_disk_is_full(tmp_path: Path) -> None:
    """What cannot be journalled is refused and not written; a hold is given back all the same, and polling goes on."""
    result = on_small_disk("commands", tmp_path, "commands_on_full_disk.py")
    assert result["first"] == ["rejected", "blocked"]
    assert result["refused"] == ["rejected blocked"]
    assert result["unwritten"]
    assert result["polled"] >= 8
    assert result["held_while_full"] == 20
    assert result["holds"] == 0
    assert result["after"] == "succeeded"
    assert result["once"]
    assert result["audit"] is None, "the chain of the audit log is whole"
