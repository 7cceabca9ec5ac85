"""What a BACnet device can do wrong with its answers. The server asks `shape` before it sends; storms it runs itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

from firmware_sim.bacnet import npdu
from firmware_sim.faults import BadFault


@dataclass(frozen=True, slots=True)
class BacnetFault:
    """One thing that is wrong. `chance` of each answer being hit; `count` hits until it heals; `service` restricts it to one."""

    kind: str
    chance: float = 1.0
    count: int | None = None
    service: int | None = None
    delay_s: float = 1.4
    code: int = 9
    """Reason of an abort or reject, code of an error (of class `cls`)."""
    cls: int = 5
    segment: int = 1
    """Which segment is lost, from 0."""
    rate: float = 1000.0
    """Of a storm, a second."""
    size: int = 50
    """Largest APDU of small_apdu."""


Wrap = Callable[[bytes], bytes]
"""An APDU as the whole datagram that carries it to whoever asked."""
Shape = Callable[[BacnetFault, bytes, random.Random, Wrap], list[tuple[float, bytes]]]
"""(fault, good APDU, rng, wrap) -> datagrams with the seconds they are late."""


def nested(depth: int) -> bytes:
    """A ReadPropertyMultiple acknowledgement whose value is nothing but opening tags, then closing ones."""
    value = bytes((0x3E,)) * depth + bytes((0x3F,)) * depth
    return b"\x0c\0\0\0\x01\x1e\x29\x55\x4e" + value + b"\x4f\x1f"


def _acked(apdu: bytes, body: bytes) -> bytes:
    """`body` as the acknowledgement to the request that `apdu` answers."""
    invoke = apdu[1] if len(apdu) > 1 else 0
    service = apdu[2] if len(apdu) > 2 else 14
    return npdu.complex_ack(invoke, service, body)


def _bad_length(frame: bytes) -> bytes:
    return frame[:2] + (len(frame) + 7).to_bytes(2, "big") + frame[4:]


SHAPES: dict[str, Shape] = {
    "silent": lambda f, a, r, w: [],
    "late": lambda f, a, r, w: [(f.delay_s, w(a))],
    "twice": lambda f, a, r, w: [(0.0, w(a)), (0.0, w(a))],
    "abort": lambda f, a, r, w: [(0.0, w(npdu.abort(a[1], f.code)))],
    "reject": lambda f, a, r, w: [(0.0, w(npdu.reject(a[1], f.code)))],
    "error": lambda f, a, r, w: [(0.0, w(npdu.error(a[1], a[2] if len(a) > 2 else 12, (f.cls, f.code))))],
    "wrong_invoke": lambda f, a, r, w: [(0.0, w(a[:1] + bytes((a[1] + 1 & 0xFF,)) + a[2:]))],
    "wrong_service": lambda f, a, r, w: [(0.0, w(a[:2] + bytes((a[2] ^ 3,)) + a[3:]))],
    "bad_bvlc": lambda f, a, r, w: [(0.0, _bad_length(w(a)))],
    "bad_npdu": lambda f, a, r, w: [(0.0, npdu.bvlc(npdu.UNICAST, b"\x02\x28\xff\xff\xfe" + a))],
    "bad_apdu": lambda f, a, r, w: [(0.0, w(b"\xf0" + a[1:]))],
    "bad_tags": lambda f, a, r, w: [(0.0, w(_acked(a, b"\x0c\0\0\0\x01\x1e\x29\x55\x4e\x45\xff\xff\xff\xff\xff")))],
    "cut": lambda f, a, r, w: [(0.0, w(a[: max(3, len(a) // 2)]))],
    "nested": lambda f, a, r, w: [(0.0, w(_acked(a, nested(1000 if f.size == 50 else f.size))))],
    "garbage": lambda f, a, r, w: [(0.0, r.randbytes(len(a) + 8))],
}
"""What each kind makes of an answer."""

LASTING = ("small_apdu", "lost_segment", "iam_storm", "cov_storm", "duplicate")
"""Kinds that the server or the device minds by themselves."""
AT_ONCE = ("restart", "renamed", "replaced", "moved", "override", "sensor")
"""Kinds that happen once."""
BACNET_KINDS = (*SHAPES, *LASTING, *AT_ONCE)


class BacnetFaults:
    """What is wrong with one device at the moment."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._active: list[BacnetFault] = []
        self.hits: dict[str, int] = {}

    def add(self, fault: BacnetFault) -> None:
        self._active.append(fault)

    def heal(self) -> None:
        self._active.clear()

    def get(self, kind: str) -> BacnetFault | None:
        """The lasting fault of a kind."""
        return next((fault for fault in self._active if fault.kind == kind), None)

    def hit(self, fault: BacnetFault) -> None:
        """Counts a hit, and heals what had its count."""
        self.hits[fault.kind] = self.hits.get(fault.kind, 0) + 1
        if fault.count is not None and fault in self._active:
            self._active.remove(fault)
            if fault.count > 1:
                self._active.append(replace(fault, count=fault.count - 1))

    def shape(self, service: int, apdu: bytes, wrap: Wrap) -> list[tuple[float, bytes]] | None:
        """What goes out instead of a good answer; None where nothing is wrong. Silence is an empty list."""
        for fault in self._active:
            if fault.kind not in SHAPES or fault.service not in (None, service) or self._rng.random() >= fault.chance:
                continue
            self.hit(fault)
            return SHAPES[fault.kind](fault, apdu, self._rng, wrap)
        return None


_NUMBERS: dict[str, type] = {
    entry.name: float if entry.name in ("chance", "delay_s", "rate") else int
    for entry in fields(BacnetFault)
    if entry.name != "kind"
}


def bacnet_option_names() -> tuple[str, ...]:
    return tuple(_NUMBERS)


def make_bacnet_fault(kind: str, options: Mapping[str, object]) -> BacnetFault:
    """Raises BadFault."""
    if kind not in (*SHAPES, *LASTING):
        raise BadFault(f"unknown fault {kind!r}; known are {', '.join(BACNET_KINDS)}")
    fault = BacnetFault(kind)
    for name, value in options.items():
        if name not in _NUMBERS:
            raise BadFault(f"unknown option {name!r} of fault {kind}; known are {', '.join(_NUMBERS)}")
        try:
            number = float(str(value)) if _NUMBERS[name] is float else int(str(value), 0)
        except ValueError as error:
            raise BadFault(f"option {name}={value!r} of fault {kind} is no number") from error
        fault = replace(fault, **{name: number})  # type: ignore[arg-type]
    return fault
