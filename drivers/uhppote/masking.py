"""What a trace may show of UHPPOTE datagrams: never the number of a card. Only the messages that we send, and their answers, are
shown; of any other one the serial number."""

from __future__ import annotations

from drivers.base import Trace

from . import frame
from .frame import Function

_HEAD = 8
_RECORDS = frozenset({Function.GET_STATUS, Function.GET_EVENT})
_CARD = slice(16, 20)
_KNOWN = frozenset(Function)


def masked(datagram: bytes) -> tuple[bytes, str]:
    """(the bytes with zeros for what is hidden, a remark)."""
    starts = (frame.START, frame.START_OLD_EVENT)
    if len(datagram) != frame.SIZE or datagram[0] not in starts or datagram[1] not in _KNOWN:
        hidden = bytes(max(0, len(datagram) - _HEAD))
        return datagram[:_HEAD] + hidden, "no message that is known here (hidden)" if any(datagram[_HEAD:]) else ""
    if datagram[1] not in _RECORDS or not any(datagram[_CARD]):
        return datagram, ""
    return datagram[: _CARD.start] + bytes(4) + datagram[_CARD.stop :], "card (hidden)"


def masking(trace: Trace | None) -> Trace | None:
    """A trace that is given what it may show."""
    if trace is None:
        return None
    inner = trace

    def show(direction: str, datagram: bytes, remark: str) -> None:
        shown, hidden = masked(datagram)
        inner(direction, shown, "; ".join(text for text in (remark, hidden) if text))

    return show
