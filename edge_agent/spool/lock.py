"""One agent a data folder. The lock lies on the folder itself: a full or read-only disk refuses it no more than any other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from device_profiles.errors import PlantroomError

if sys.platform != "win32":
    import fcntl


class FolderLock:
    """Held until `release`, or until the process ends in whatever way."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock. Raises PlantroomError when another process has it; a folder that cannot be opened is not locked."""
        self._handle: int | None = None
        if sys.platform == "win32":
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise PlantroomError(
                "another agent works in this folder",
                where=str(folder),
                next_step="stop it, or give this agent a data_dir of its own",
            ) from None
        except OSError:
            os.close(handle)  # a file system without locks
            return
        self._handle = handle

    def release(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)
