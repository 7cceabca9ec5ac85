"""Secrets by reference: where one is, and reading it. Nothing here logs or repeats one, and no model holds its content."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from .address import Strict
from .errors import ConfigError
from .findings import shown
from .problems import Problems
from .yamlfile import KeyPath

MAX_BYTES = 4096


class Secret(Strict):
    """Where a secret is: in a file of its own, or in the environment. Never the secret itself."""

    file: str | None = Field(default=None, min_length=1, max_length=4096)
    env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")

    @model_validator(mode="before")
    @classmethod
    def _is_reference(cls, data: Any) -> Any:
        if not isinstance(data, dict):  # the value stays out of the message: it may well be the secret
            raise ValueError(
                "the secret itself stands here; put it into a file that only the agent can read and write {file: PATH}, "
                "or {env: NAME}"
            )
        return data

    @model_validator(mode="after")
    def _one_way(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret needs one of file and env; write {file: PATH} or {env: NAME}")
        return self


def named_file(text: str | None, folder: Path, path: KeyPath, problems: Problems) -> Path | None:
    """The file that a configuration names; that it is missing or not readable is noted. None when nothing is named."""
    if text is None:
        return None
    file = folder / text
    if not file.is_file():
        problems.add(path, f"there is no file {shown(str(file))}", "check the path; relative ones begin at this file")
    elif not os.access(file, os.R_OK):
        problems.add(
            path, f"{shown(str(file))} cannot be read by this user", "make it readable for the user of the service"
        )
    return file


def read_secret(secret: Secret, folder: Path, path: KeyPath, problems: Problems) -> str | None:
    """The secret behind a reference, without the line end. What is wrong is noted, without the secret."""
    if secret.env is not None:
        value = os.environ.get(secret.env)
        if not value:
            problems.add((*path, "env"), f"the environment has no {secret.env}", f"set {secret.env}, or use file")
        return value or None
    file = named_file(secret.file, folder, (*path, "file"), problems)
    if file is None or not file.is_file():
        return None
    check_mode(file, (*path, "file"), problems)
    try:
        content = file.read_bytes()[: MAX_BYTES + 1]
        text = content.decode().rstrip("\r\n")
    except OSError:
        return None  # `named_file` has said so
    except UnicodeDecodeError:
        problems.add((*path, "file"), f"{shown(str(file))} is not UTF-8", "write the secret into it as text")
        return None
    if not text or len(content) > MAX_BYTES or "\n" in text:
        problems.add((*path, "file"), f"{shown(str(file))} is empty or not one line", "write the secret into one line")
        return None
    return text


def secret_text(secret: Secret) -> str:
    """The secret itself, when it is needed. Raises ConfigError, which does not contain it."""
    name = f"environment variable {secret.env}" if secret.env is not None else f"file {secret.file}"
    try:
        text = os.environ.get(secret.env, "") if secret.env is not None else Path(secret.file or "").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret in {name} cannot be read", next_step="check the file and its owner") from error
    text = text.rstrip("\r\n")
    if not text:
        raise ConfigError(f"the secret in {name} is empty", next_step="write it there, in one line")
    return text


def check_mode(file: Path, path: KeyPath, problems: Problems) -> None:
    """Notes when others than owner and group can read a secret, or more than its owner can change it."""
    if os.name != "posix" or not file.is_file():
        return
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o027:
        problems.expose(
            path, f"{shown(str(file))} has mode {mode:04o}: others can read or change it", f"chmod 640 {file}"
        )
