"""Snapshots that stay on the box: a bounded folder. Only address, hash and end of life go anywhere (CONTRACT.md section 7)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import ConfigError

MOST = 500
MOST_BYTES = 256 << 20
KEPT_S = 86_400
_NEW = ".new-"
_SAFE = re.compile(r"[^a-z0-9_-]+")
_KINDS = {b"\xff\xd8\xff": "jpg", b"\x89PN": "png"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file of the folder. `expires` is UTC ms."""

    path: Path
    sha256: str
    expires: int


def keep(folder: str, device: str, data: bytes) -> Picture:
    """Writes a picture and removes the oldest beyond the folder's bounds. Blocks on the disk. Raises ConfigError."""
    kind = _KINDS.get(data[:3], "bin")
    now_ms = time.time_ns() // 1_000_000
    digest = hashlib.sha256(data).hexdigest()
    place = Path(folder)
    name = f"{_SAFE.sub('-', device.lower())[:48] or 'device'}-{now_ms}-{digest[:12]}.{kind}"
    try:
        place.mkdir(mode=0o750, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, prefix=_NEW)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o640)
        Path(temporary).replace(place / name)
        _tidy(place, now_ms / 1000)
    except OSError as error:
        step = "check the folder's owner and the disk's space"
        raise ConfigError(f"{folder} takes no picture ({error.strerror})", where=device, next_step=step) from error
    return Picture(place / name, digest, now_ms + KEPT_S * 1000)


def _tidy(place: Path, now: float) -> None:
    found: list[tuple[float, int, Path]] = []
    for file in place.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another link tidies at the same time
            told = file.stat()
            is_under_way = file.name.startswith(_NEW) and now - told.st_mtime < 60
            if stat.S_ISREG(told.st_mode) and not is_under_way:
                found.append((told.st_mtime, told.st_size, file))
    room = MOST_BYTES
    for number, (changed, size, file) in enumerate(sorted(found, reverse=True)):
        room -= size
        if number >= MOST or now - changed > KEPT_S or (room < 0 and number):
            file.unlink(missing_ok=True)
