"""F8: a sync that answers EIO, once or for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from spool_box import Box, is_true
from tracing import needs_strace, run_attached

__all__ = ["needs_strace"]
pytestmark = pytest.mark.real

IS_THOROUGH = os.environ.get("PLANTROOM_FAULTS") == "all"
MESSAGES = 21


@pytest.mark.parametrize("number", range(1, 12) if IS_THOROUGH else (1, 4))
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
async def test_one_failed_sync_costs_nothing(call: str, number: int, tmp_path: Path) -> None:
    said = run_attached(tmp_path, MESSAGES, "-e", f"trace={call}", "-e", f"inject={call}:error=EIO:when={number}")
    assert said.is_done
    assert said.troubles() == []
    assert len(said.numbers("ack")) >= MESSAGES
    box = Box(tmp_path)
    found = await box.all()
    assert all(is_true(entry) for entry in found)
    assert {(entry.epoch, entry.seq) for entry in found} == said.held
    assert box.trouble == []
    await box.spool.close()


@pytest.mark.parametrize("number", [1, 3])
async def test_a_disk_that_never_syncs_again_leaves_memory(number: int, tmp_path: Path) -> None:
    said = run_attached(tmp_path, MESSAGES, "-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={number}+")
    assert said.is_done
    assert said.troubles() == ["storage_failed"]
    assert len(said.numbers("ack")) >= MESSAGES
    box = Box(tmp_path)
    found = await box.all()
    assert all(is_true(entry) for entry in found)
    assert "set_aside" not in box.kinds()
    await box.spool.close()
