"""Wire frames for people: time, direction, bytes, and what they say. Never raises, whatever the bytes."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from .base import LinkConfig, Trace
from .frames import Reject
from .modbus import codec
from .registry import FRAME_DECODERS, load_frame_decoder

_TABLES = {1: "coils", 2: "discrete inputs", 3: "holding registers", 4: "input registers"}
_MOST_BYTES = 48


def printer(
    link: LinkConfig, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic, *, protocol: str = ""
) -> Trace:
    """A Trace that writes one line a frame, with milliseconds since the first and since the frame before. `protocol` tells what
    is spoken on a line; without it the kind of link does.
    """
    first: float | None = None
    before = 0.0

    def trace(direction: str, frame: bytes, remark: str) -> None:
        nonlocal first, before
        now = clock()
        first = now if first is None else first
        delta, before = (now - before if now > first else 0.0), now
        words = remark or explain(link, direction, frame, protocol)
        write(f"{(now - first) * 1000:9.1f} ms {delta * 1000:+8.1f}  {direction} {_shown(frame)}  {words}".rstrip())

    return trace


def explain(link: LinkConfig, direction: str, frame: bytes, protocol: str = "") -> str:
    """What a Modbus frame, a BACnet/IP datagram, OPC UA messages or a meter's frame say, in words; "" for what is none."""
    if link.is_line and protocol != "modbus" and protocol in FRAME_DECODERS:
        return _decoded(frame, protocol)
    if link.kind == "bacnet":
        from .bacnet.explain import explain as explain_bacnet

        return explain_bacnet(frame)
    if link.opcua is not None:
        from .opcua.explain import explain as explain_opcua

        return explain_opcua(frame, encrypted=link.opcua.policy != "none" and link.opcua.mode == "sign_and_encrypt")
    if link.kind == "tcp":
        if len(frame) < 8:
            return ""
        tid, _, _, unit = struct.unpack_from(">HHHB", frame)
        return f"#{tid} unit {unit}: {explain_pdu(direction, frame[7:])}"
    if len(frame) < 4:
        return ""
    note = "" if codec.rtu_holds(frame) else " (wrong checksum)"
    return f"unit {frame[0]}: {explain_pdu(direction, frame[1:-2])}{note}"


def _decoded(frame: bytes, protocol: str) -> str:
    """As `plantroom decode` has it: facts, then values."""
    decoder = load_frame_decoder(protocol)
    words = []
    for found in (*decoder.feed(frame), *decoder.end()):
        if isinstance(found, Reject):
            words.append(found.detail or found.error)
            continue
        facts = [f"{name} {fact}" for name, fact in found.facts.items() if not isinstance(fact, dict | list)]
        values = [f"{value.id} {value.status or value.value}" for value in found.values]
        words.append(f"{found.address or ''}: {', '.join(facts + values)}")
    return "; ".join(words)


def explain_pdu(direction: str, pdu: bytes) -> str:
    """What a request (">") or reply ("<") PDU says, in words."""
    if not pdu:
        return "nothing"
    function = pdu[0]
    if function & 0x80:
        words, _ = codec.EXCEPTIONS.get(pdu[1] if len(pdu) > 1 else -1, ("unknown", ""))
        return f"exception {pdu[1] if len(pdu) > 1 else '?'} ({words}) to function {function & 0x7F}"
    if function in _TABLES:
        if direction == ">" and len(pdu) == 5:
            reg, count = struct.unpack_from(">HH", pdu, 1)
            return f"read {count} {_TABLES[function]} from {reg} (0x{reg:04x})"
        return f"{_TABLES[function]}, {len(pdu) - 2} bytes" if len(pdu) > 2 else _TABLES[function]
    if function in (5, 6) and len(pdu) == 5:
        reg, value = struct.unpack_from(">HH", pdu, 1)
        return f"write {'coil' if function == 5 else 'register'} {reg} = 0x{value:04x}"
    if function in (15, 16) and len(pdu) >= 5:
        reg, count = struct.unpack_from(">HH", pdu, 1)
        return f"write {count} {'coils' if function == 15 else 'registers'} from {reg}"
    if function == codec.MASK_WRITE and len(pdu) == 7:
        reg, keep, value = struct.unpack_from(">HHH", pdu, 1)
        return f"bits 0x{~keep & 0xFFFF:04x} of register {reg} = 0x{value:04x}"
    if function == 43:
        return "device identification"
    return f"function {function}"


def _shown(frame: bytes) -> str:
    return frame[:_MOST_BYTES].hex(" ") + (f" ... ({len(frame)} bytes)" if len(frame) > _MOST_BYTES else "")
