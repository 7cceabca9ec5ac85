"""How much disk the spool may take, and the ballast that makes deleting possible on a full one.

The bound is `max_bytes` and a floor of free disk. Below the floor the spool stops growing and reuses its own space; it never
throws away what it holds because others fill the disk, and it takes at least the size of the ballast where there is any room.
"""

from __future__ import annotations

import os

from edge_agent.model import SpoolSettings

WAL_ROOM = 8 * 1024**2
"""What the write-ahead log takes at most: 1000 pages before a checkpoint, and one large transaction."""


def log_bytes(settings: SpoolSettings) -> int:
    """What the write-ahead log may take of `max_bytes`."""
    return min(WAL_ROOM, settings.max_bytes // 4)


class Space:
    """The disk around the spool file."""

    def __init__(self, settings: SpoolSettings) -> None:
        self._settings = settings
        self._ceiling: int | None = None
        """Size of the file when the disk was found full: it grows no further until there is room again."""
        self._ballast = settings.path.with_name(settings.path.name + ".ballast")

    def free(self) -> int:
        """Bytes of the file system that are free for us; 0 when it does not answer."""
        try:
            found = os.statvfs(self._settings.path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize

    def allowance(self, file_bytes: int) -> int:
        """Bytes that the database may have in use, when its file has `file_bytes` now."""
        settings = self._settings
        free = self.free()
        if self._ceiling is not None and free < settings.ballast_bytes + WAL_ROOM:
            return self._ceiling
        self._ceiling = None
        room = max(file_bytes + max(0, free - settings.floor_free_bytes), settings.ballast_bytes)
        return max(0, min(settings.max_bytes - log_bytes(settings), room))

    def found_full(self, file_bytes: int) -> None:
        """A write found no room: the ballast goes, and the spool lives in the file as it is."""
        self._ceiling = file_bytes
        self.release()

    def release(self) -> bool:
        """Gives the ballast's blocks to whoever needs them now. True when there was one."""
        try:
            held = self._ballast.stat().st_blocks > 0
            if held:
                os.truncate(self._ballast, 0)
        except OSError:
            return False
        return held

    def restore(self) -> None:
        """Takes the ballast again once there is room for it above the floor. Nothing happens when it is there."""
        size = self._settings.ballast_bytes
        if not size:
            return
        try:
            if self._ballast.exists() and self._ballast.stat().st_blocks * 512 >= size:
                return
            if self.free() < self._settings.floor_free_bytes + size:
                return
            handle = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(handle, 0, size)  # real blocks: a sparse file would reserve nothing
        except OSError:
            os.ftruncate(handle, 0)
        finally:
            os.close(handle)
