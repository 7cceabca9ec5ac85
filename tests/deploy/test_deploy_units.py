"""The systemd units are valid, hardened, and call commands that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.cli import COMMANDS

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
EXPOSURE = 25
"""Tenths, of 100: what `systemd-analyze security` may find at most."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def test_there_are_both_units() -> None:
    assert [unit.name for unit in UNITS] == ["plantroom-agent.service", "plantroom-gateway.service"]


@pytest.mark.real
@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_is_hardened(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-600:]


@pytest.mark.real
@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_every_line(unit: Path, tmp_path: Path) -> None:
    """With the program put where this machine has one; every other line is the shipped one."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("/opt/plantroom/bin/plantroom", shutil.which("true") or "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_unit_calls_a_command_that_exists(unit: Path) -> None:
    found = re.search(r"^ExecStart=/opt/plantroom/bin/plantroom (\S+) /etc/plantroom/(\S+)$", unit.read_text(), re.M)
    assert found is not None
    assert found[1] in COMMANDS
    assert (SYSTEMD.parent / found[2]).is_file()


def test_the_users_of_the_units_are_made() -> None:
    made = (SYSTEMD / "plantroom.sysusers.conf").read_text()
    for unit in UNITS:
        user = re.search(r"^User=(\S+)$", unit.read_text(), re.M)
        assert user is not None
        assert re.search(rf"^u {re.escape(user[1])} ", made, re.M)
