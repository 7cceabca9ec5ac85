"""The key of an agent that was given none: made once, kept in its data folder, readable by nobody else."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from device_profiles.errors import ConfigError

from .pseudonym import PseudonymKey

_NAME = "pseudonym.key"
_OCTETS = 32


def own_key(folder: Path) -> PseudonymKey:
    """The key in a folder, made when there is none. Raises ConfigError when it can neither be read nor made."""
    path = folder / _NAME
    try:
        try:
            text = path.read_text("ascii").strip()
        except FileNotFoundError:
            text = _made(path)
        secret = bytes.fromhex(text)
    except (OSError, ValueError) as error:
        step = "give privacy.keys in agent.yaml, or make the folder writable for the agent"
        raise ConfigError(f"the key for pseudonyms cannot be read: {error}", where=str(path), next_step=step) from error
    if len(secret) < _OCTETS:
        raise ConfigError(f"the key has {len(secret)} octets", where=str(path), next_step="put the whole file back")
    return PseudonymKey(f"own-{hashlib.sha256(secret).hexdigest()[:6]}", secret)


def _made(path: Path) -> str:
    """A new key, whole on the disk before it is used: a lost one would give every card another pseudonym."""
    text = secrets.token_hex(_OCTETS)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{_NAME}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return text
