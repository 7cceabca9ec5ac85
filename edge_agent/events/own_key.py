"""The key of an agent that was given none: made once, kept in its data folder, readable by nobody else."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import structlog

from device_profiles.errors import ConfigError

from .pseudonym import PseudonymKey

_NAME = "pseudonym.key"
OWN = "own-"
"""How the id of such a key begins."""
_OCTETS = 32
_log = structlog.get_logger("events")


def own_key(folder: Path) -> PseudonymKey:
    """The key in a folder, made when there is none. Raises ConfigError when it is there and cannot be read.

    On a disk that takes nothing the key is of this run only: an agent polls without a disk, too.
    """
    path = folder / _NAME
    try:
        try:
            text = path.read_text("ascii").strip()
        except FileNotFoundError:
            text = secrets.token_hex(_OCTETS)
            # Where there are cards, the configuration has warned already; a site of meters alone need not hear of it.
            _log.debug("a key for pseudonyms is made: under any other, cards had other pseudonyms", path=str(path))
            try:
                _write(path, text)
            except OSError as error:
                _log.error(
                    "the key for pseudonyms cannot be kept: cards have others after a restart", reason=str(error)
                )
        secret = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        step = "give privacy.keys in agent.yaml, or put the file back"
        raise ConfigError(f"the key for pseudonyms cannot be read: {error}", where=str(path), next_step=step) from error
    if len(secret) < _OCTETS:
        raise ConfigError(f"the key has {len(secret)} octets", where=str(path), next_step="put the whole file back")
    return PseudonymKey(f"{OWN}{hashlib.sha256(secret).hexdigest()[:6]}", secret)


def _write(path: Path, text: str) -> None:
    """Whole on the disk before it is used: a key that is lost would give every card another pseudonym."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{_NAME}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
