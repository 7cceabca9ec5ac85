"""Runs `spool_child.py` under strace: killed at a system call, answered with an error, or recorded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WRITES = ("pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "fallocate")
"""What changes the spool's files; plain `write` is only used for what the child says."""


@cache
def why_not() -> str | None:
    """Why strace cannot be used here, or None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"ptrace is not permitted: {tried.stderr.strip()[:200]}"


@pytest.fixture(autouse=True)
def needs_strace() -> None:
    """Skips a test that imports this where strace does not work."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


class Said:
    """What a child said before it ended."""

    def __init__(self, output: str, code: int) -> None:
        # A line that was cut off by the kill is no promise.
        self.lines = [line.split() for line in output[: output.rfind("\n") + 1].splitlines()]
        self.was_killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        self.is_done = ["done"] in self.lines
        self.code = code

    def numbers(self, word: str) -> set[tuple[str, int]]:
        return {(line[1], int(line[2])) for line in self.lines if line[0] == word}

    @property
    def held(self) -> set[tuple[str, int]]:
        """What it was told to be on the disk and did not give up."""
        return self.numbers("ack") - self.numbers("forgot")

    def troubles(self) -> list[str]:
        return [line[1] for line in self.lines if line[0] == "trouble"]


def command(folder: Path, messages: int, *more: str) -> list[str]:
    return [sys.executable, str(HERE / "spool_child.py"), str(folder), str(messages), *more]


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE)]),
    }


def run(folder: Path, messages: int, *strace: str, log: Path = Path(os.devnull)) -> Said:
    """Runs a child from its start under strace."""
    # With --seccomp-bpf, which is faster, strace 6.1 injects nothing into calls of threads.
    faster = () if any(option.startswith("inject=") for option in strace) else ("--seccomp-bpf",)
    done = subprocess.run(
        ["strace", "-f", *faster, "-qq", "-o", str(log), *strace, *command(folder, messages)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    said = Said(done.stdout, done.returncode)
    assert said.was_killed or said.code == 0, done.stderr
    return said


def run_attached(folder: Path, messages: int, *strace: str) -> Said:
    """Runs a child that opens its spool alone; only what comes then is traced, so that the writer's calls are counted from 1."""
    child = subprocess.Popen(
        command(folder, messages, "--wait"),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    first = child.stdout.readline()
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", os.devnull, *strace, "-p", str(child.pid)], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    if "attached" not in attached:
        child.kill()
        child.communicate()
        tracer.communicate()
        pytest.skip(f"strace may not attach: {attached.strip()}")
    try:
        output, errors = child.communicate("go\n", timeout=50)
    finally:
        child.kill()
        tracer.communicate(timeout=20)
    said = Said(first + output, child.returncode)
    assert said.was_killed or said.code == 0, errors
    return said


def record(folder: Path, messages: int, log: Path, *strace: str) -> str:
    """Runs a child to its end and returns strace's log of it."""
    said = run(folder, messages, *strace, log=log)
    assert said.is_done
    return log.read_text()
