"""The folder of snapshots: bounded, and shared by several links."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from device_profiles.errors import ConfigError
from drivers import pictures

JPEG = b"\xff\xd8\xff"


def test_old_and_too_many_pictures_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 3)
    old = tmp_path / "old.jpg"
    old.write_bytes(JPEG)
    os.utime(old, (1, 1))
    kept = [pictures.keep(str(tmp_path), "Cam 1/../x", JPEG + bytes([number])) for number in range(5)]
    assert not old.exists()
    there = sorted(tmp_path.iterdir())
    assert len(there) == 3
    assert kept[-1].path in there
    assert kept[-1].path.parent == tmp_path, "no device's name leads out of the folder"
    assert kept[-1].sha256 == hashlib.sha256(kept[-1].path.read_bytes()).hexdigest()
    assert kept[-1].expires / 1000 == pytest.approx(time.time() + pictures.KEPT_S, abs=60)
    assert kept[-1].path.stat().st_mode & 0o777 == 0o640


def test_many_links_keep_pictures_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 5)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(pictures.keep, str(tmp_path), f"cam-{n % 8}", JPEG + bytes([n])) for n in range(120)]
    assert all(job.result().sha256 for job in jobs)
    assert len(list(tmp_path.iterdir())) <= 5 + 8


def test_a_folder_that_takes_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="takes no picture"):
        pictures.keep(str(tmp_path / "file"), "cam", JPEG)
