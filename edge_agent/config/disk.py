"""Looks whether the disk of the data folder has room for the spool that the configuration allows. Writes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from device_profiles.problems import Problems
from edge_agent.model import Config


def check_disk(config: Config, problems: Problems) -> None:
    """A warning where less is free than must stay free: then messages are dropped from the first one on."""
    folder = next(each for each in (config.data_dir, *config.data_dir.absolute().parents) if each.is_dir())
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # it says so itself when it is opened
    spool = config.spool
    held = _size(spool.path)
    needed = spool.floor_free_bytes + spool.ballast_bytes
    if free + held < needed:
        problems.warn(
            ("agent", "data_dir"),
            f"{folder} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are kept free of messages",
            "free space there, choose another data_dir, or lower agent.spool.floor_free_bytes",
        )


def _size(path: Path) -> int:
    """What the spool has already, with its ballast."""
    return sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*")) if path.parent.is_dir() else 0
