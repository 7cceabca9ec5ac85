"""Values that people write in their own way: durations, sizes, texts, hosts. Pure types for pydantic."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|min|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]i?)?B?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})|[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?")
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def seconds(value: Any) -> Any:
    """`30`, `"30s"`, `"15min"`, `"500ms"`, `"1h"` in seconds; anything else goes on as it is, for pydantic to refuse."""
    if isinstance(value, bool):
        raise ValueError(f"{value!r} is no duration; write seconds, or a number with ms, s, min, h or d")
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value[:40]!r} is no duration; write seconds, or a number with ms, s, min, h or d")
    return round(float(match[1]) * _SECONDS[match[2]], 6)


def size(value: Any) -> Any:
    """`1024`, `"256MiB"`, `"2GB"` in bytes; anything else goes on as it is, for pydantic to refuse."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value[:40]!r} is no size; write bytes, or a number with kB, MB, GB, KiB, MiB or GiB")
    return int(float(match[1]) * _BYTES[match[2] or ""])


def check_host(text: str) -> str:
    """A host name or an address without port. Raises ValueError."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text[:60]!a} is no host; give a name or an address, without scheme and port")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text[:40]!a} holds a control character; remove it")
    return text


def _as_text(value: Any) -> Any:
    """Numbers and booleans as the text that a person wrote (`serial: 2311`, `wiring: 3`)."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _schema(kind: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "examples": [example]}], "title": kind})


Poll = Annotated[float, BeforeValidator(seconds), Field(ge=0.01, le=86400), _schema("Seconds between reads", "30s")]
Heartbeat = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=86400), _schema("Seconds", "5min")]
Align = Annotated[
    int, BeforeValidator(seconds), Field(ge=1, le=86400), _schema("Seconds; reads at every multiple of it", "15min")
]
Timeout = Annotated[float, BeforeValidator(seconds), Field(ge=0.01, le=60), _schema("Seconds", "500ms")]
Pause = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=5), _schema("Seconds", "20ms")]
KeepAlive = Annotated[int, BeforeValidator(seconds), Field(ge=5, le=3600), _schema("Seconds", "30s")]
Snapshot = Annotated[float, BeforeValidator(seconds), Field(ge=10, le=86400), _schema("Seconds", "5min")]
Bytes = Annotated[int, BeforeValidator(size), Field(ge=0, le=2**50), _schema("Bytes", "2GiB")]
Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=200), AfterValidator(_printable)]
"""One line for people or for other systems: printable, so that it can go to any terminal."""
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, AfterValidator(check_host)]
PathText = Annotated[str, Field(min_length=1, max_length=4096)]
"""A path as written; a relative one begins at the folder of the file that names it."""
