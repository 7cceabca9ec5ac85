"""Bench of the frame decoders: a megabyte of noise, and a megabyte that looks like the beginnings of frames."""

from __future__ import annotations

import random
import time
from typing import Any

from .frames import Frame
from .registry import load_frame_decoder

_PROTOCOLS = {
    "dlt645-2007": b"\xfe\xfeh",
    "dlt645-1997": b"h",
    "cjt188": b"\xfeh\x10",
    "osdp": b"\xffS",
    "mbus": b"h\x0b\x0bh",
    "modbus-rtu": b"\x01\x03",
}
"""Protocol, and how its frames begin."""
_SIZE = 1 << 20
_CHUNK = 4096
_SEED = 645


def bench_decode() -> dict[str, Any]:
    """Processor seconds for 1 MB of random bytes, frames wrongly found in it, and seconds for 1 MB of beginnings."""
    noise = random.Random(_SEED).randbytes(_SIZE)
    result: dict[str, Any] = {}
    for protocol, begin in _PROTOCOLS.items():
        noise_s, found = _decode(protocol, noise)
        near = (begin + noise[:5]) * (_SIZE // (len(begin) + 5))
        near_s, _ = _decode(protocol, near)
        result[protocol] = {"noise_s": round(noise_s, 3), "false_frames": found, "beginnings_s": round(near_s, 3)}
    return result


def _decode(protocol: str, data: bytes) -> tuple[float, int]:
    decoder = load_frame_decoder(protocol)
    found, began = 0, time.process_time()
    for at in range(0, len(data), _CHUNK):
        found += sum(isinstance(one, Frame) for one in decoder.feed(data[at : at + _CHUNK]))
    found += sum(isinstance(one, Frame) for one in decoder.end())
    return time.process_time() - began, found
