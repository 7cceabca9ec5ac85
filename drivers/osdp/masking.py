"""What a trace may show of OSDP frames: never a card, a typed key or a reader's key, whether encrypted or not.

Encrypted data are hidden as well: a channel in install mode has a key that everybody knows, and ciphertext tells nobody anything.
"""

from __future__ import annotations

from dataclasses import replace

from drivers.base import Trace
from drivers.frames import Reject, Verdict

from . import frame as wire

_HIDDEN_REPLIES = frozenset({0x50, 0x51, 0x53, 0x57, 0x80, 0x81, 0x82, 0x90, 0xB1})
_HIDDEN_COMMANDS = frozenset({0x75, 0x80, 0xA1, 0xA4, 0xA5})


def masked(raw: bytes) -> tuple[bytes, str]:
    """(the bytes with zeros for what is hidden, a remark). Of bytes that are no whole frames only the count is kept."""
    shown, at = bytearray(), 0
    remarks: list[str] = []
    while at < len(raw):
        found = wire.match(raw, at)
        if isinstance(found, Reject | Verdict):
            return bytes(shown) + bytes(len(raw) - at), "; ".join(
                (*remarks, f"{len(raw) - at} bytes that are no frame (hidden)")
            )
        frame, own = found
        at += len(own)
        hidden = frame.is_encrypted or frame.code in (_HIDDEN_REPLIES if frame.is_reply else _HIDDEN_COMMANDS)
        if hidden and frame.data:
            remarks.append(
                f"{frame.name} of {frame.address}, sequence {frame.sequence}, {len(frame.data)} data bytes (hidden)"
            )
            own = wire.encode(replace(frame, data=bytes(len(frame.data))), mark=own[0] == wire.MARK)
        shown += own
    return bytes(shown), "; ".join(remarks)


def masking(trace: Trace | None) -> Trace | None:
    """A trace that is given what it may show."""
    if trace is None:
        return None
    inner = trace

    def show(direction: str, frame: bytes, remark: str) -> None:
        shown, hidden = masked(frame)
        inner(direction, shown, "; ".join(text for text in (remark, hidden) if text))

    return show
