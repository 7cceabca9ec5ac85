"""What the messages of an OPC UA connection say, in words for people: kind, request, service, and what went wrong. Pure; never
raises, whatever the bytes. What is encrypted stays so.

Source: OPC 10000-6 (Mappings) V1.05, sections 6.7.2 (message chunks), 7.1.2 (Hello, Acknowledge, Error), 5.2.2.9 (NodeId).
"""

from __future__ import annotations

import struct

from asyncua import ua

from .status import name_of

_HEAD, _MSG_HEAD = 8, 24
_SHORT = "_Encoding_DefaultBinary"
_PARTS = {"F": "", "C": " (more follows)", "A": " (given up)"}


def explain(data: bytes, *, encrypted: bool) -> str:
    """The messages that these bytes hold, one after another; bytes that begin within a message are told as that."""
    said = []
    at = 0
    while at + _HEAD <= len(data):
        kind, part = data[at : at + 3].decode("ascii", "replace"), chr(data[at + 3])
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if kind not in _WORDS or part not in _PARTS or size < _HEAD:
            break
        said.append(_WORDS[kind](data[at : at + size], encrypted) + _PARTS[part])
        at += size
    if at < len(data):
        said.append(f"{len(data) - at} bytes that go on with a message" if not said else "...")
    return "; ".join(said)


def _hello(message: bytes, encrypted: bool) -> str:
    return f"Hello to {_text(message, 28)}"


def _acknowledge(message: bytes, encrypted: bool) -> str:
    return "Acknowledge"


def _error(message: bytes, encrypted: bool) -> str:
    if len(message) < 12:
        return "Error"
    return f"Error {name_of(int.from_bytes(message[8:12], 'little'))}: {_text(message, 12)}"


def _open(message: bytes, encrypted: bool) -> str:
    return f"OpenSecureChannel, {_text(message, 12).rpartition('#')[2]}"


def _close(message: bytes, encrypted: bool) -> str:
    return "CloseSecureChannel"


_IN_CLEAR = frozenset((b"\x01\x00\xac\x01", b"\x01\x00\xaf\x01"))
"""GetEndpoints and its answer go over a channel without security, before the one with it."""


def _message(message: bytes, encrypted: bool) -> str:
    if encrypted and message[24:28] not in _IN_CLEAR:
        return f"encrypted message of {len(message)} bytes"
    if len(message) < _MSG_HEAD + 4:
        return "message"
    number = int.from_bytes(message[20:24], "little")
    if (
        message[24] != 1 or message[25] != 0
    ):  # not the four-byte NodeId that the standard's services have: a later chunk
        return f"#{number} goes on"
    name: str = ua.ObjectIdNames.get(int.from_bytes(message[26:28], "little"), "unknown service")
    bad = ""
    if name.endswith(f"Response{_SHORT}") or name.startswith("ServiceFault"):
        status = struct.unpack_from("<I", message, 40)[0] if len(message) >= 44 else 0
        bad = f" {name_of(status)}" if status else ""
    return f"#{number} {name.removesuffix(_SHORT)}{bad}"


_WORDS = {"HEL": _hello, "ACK": _acknowledge, "ERR": _error, "OPN": _open, "MSG": _message, "CLO": _close}


def _text(message: bytes, at: int) -> str:
    """The string whose length stands at `at`, as much of it as is there."""
    size = int.from_bytes(message[at : at + 4], "little", signed=True)
    return message[at + 4 : at + 4 + max(0, min(size, 256))].decode("utf-8", "replace")
