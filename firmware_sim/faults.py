"""What a device can do wrong: to its values (Tampering) and to its replies (Fault).

A fault on replies turns (request, good reply) into what really goes over the wire; the servers only send. Set at start
(`--fault late:delay_s=1.4`) and at run time (control.py). Chance is seeded, so a run repeats.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from firmware_sim.framing import Request
from firmware_sim.pdu import ACKNOWLEDGE, BUSY, exception
from firmware_sim.registers import Snapshot


@dataclass(frozen=True, slots=True)
class Emission:
    """What goes over the wire for one request: (seconds after the device's turnaround, bytes), in order."""

    parts: tuple[tuple[float, bytes], ...] = ()
    close: bool = False
    """Drop the connection (TCP) after the parts."""
    deaf: bool = False
    """Keep the connection open and never answer on it again (half-open)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a device's replies.

    `chance` of each request being hit; `count` hits until it heals; `first`..`last` restrict it to requests that touch these
    registers; `function` to one function code. The others are read by the kinds that need them.
    """

    kind: str
    chance: float = 1.0
    count: int | None = None
    first: int | None = None
    last: int | None = None
    function: int | None = None
    code: int = 2
    delay_s: float = 1.4
    size: int = 3

    def touches(self, pdu: bytes) -> bool:
        """Whether a request concerns the fault's registers and function."""
        if self.function is not None and pdu[0] != self.function:
            return False
        if self.first is None:
            return True
        if len(pdu) < 5:
            return False
        start = int.from_bytes(pdu[1:3], "big")
        length = int.from_bytes(pdu[3:5], "big") if pdu[0] in (1, 2, 3, 4, 15, 16) else 1
        last = self.first if self.last is None else self.last
        return start <= last and self.first < start + max(length, 1)


Shape = Callable[[Fault, Request, bytes, random.Random], Emission]


def _one(data: bytes, delay_s: float = 0.0) -> Emission:
    return Emission(((delay_s, data),))


def _noise(rng: random.Random, count: int) -> bytes:
    return rng.randbytes(count)


def _spoil_check(request: Request, frame: bytes) -> bytes:
    """A wrong CRC; over TCP, which has none, a wrong protocol identifier."""
    if request.transaction is not None:
        return frame[:3] + bytes((frame[3] ^ 0x5A,)) + frame[4:]
    return frame[:-1] + bytes((frame[-1] ^ 0x5A,))


def _wrong_count(pdu: bytes) -> bytes:
    """Byte count two too large, the data as they were."""
    return bytes((pdu[0], pdu[1] + 2 & 0xFF)) + pdu[2:] if len(pdu) > 2 else pdu


def _other_registers(pdu: bytes) -> bytes:
    """A well-formed reply with one register too few: what a device answers to another question."""
    return bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2] if pdu[0] in (3, 4) and pdu[1] >= 4 else pdu


def _flood(rng: random.Random) -> Emission:
    """Noise for five seconds without a pause (256 bytes take longer than a quarter of a second at 9600 baud)."""
    return Emission(tuple((0.25 * index, _noise(rng, 256)) for index in range(20)))


def _dribble(fault: Fault, frame: bytes) -> Emission:
    """One byte at a time, `delay_s` apart."""
    return Emission(tuple((fault.delay_s * index, frame[index : index + 1]) for index in range(len(frame))))


def _split(fault: Fault, frame: bytes) -> Emission:
    half = len(frame) // 2
    return Emission(((0.0, frame[:half]), (fault.delay_s, frame[half:])))


def _echo(request: Request, pdu: bytes) -> Emission:
    """A two-wire adapter that hears itself: the request comes back before the reply."""
    return Emission(((0.0, request.frame(request.pdu) + request.frame(pdu)),))


SHAPES: dict[str, Shape] = {
    "silent": lambda f, q, p, r: Emission(),
    "late": lambda f, q, p, r: _one(q.frame(p), f.delay_s),
    "garbage": lambda f, q, p, r: _one(_noise(r, len(q.frame(p)))),
    "crc": lambda f, q, p, r: _one(_spoil_check(q, q.frame(p))),
    "partial": lambda f, q, p, r: _one(q.frame(p)[: f.size]),
    "noise_before": lambda f, q, p, r: _one(_noise(r, f.size) + q.frame(p)),
    "noise_after": lambda f, q, p, r: _one(q.frame(p) + _noise(r, f.size)),
    "flood": lambda f, q, p, r: _flood(r),
    "dribble": lambda f, q, p, r: _dribble(f, q.frame(p)),
    "split": lambda f, q, p, r: _split(f, q.frame(p)),
    "twice": lambda f, q, p, r: _one(q.frame(p) * 2),
    "wrong_unit": lambda f, q, p, r: _one(q.frame(p, unit=q.unit + 1 & 0xFF)),
    "wrong_function": lambda f, q, p, r: _one(q.frame(bytes((p[0] ^ 0x07,)) + p[1:])),
    "wrong_count": lambda f, q, p, r: _one(q.frame(_wrong_count(p))),
    "short_reply": lambda f, q, p, r: _one(q.frame(_other_registers(p))),
    "wrong_transaction": lambda f, q, p, r: _one(q.frame(p, transaction_off=-1)),
    "echo": lambda f, q, p, r: _echo(q, p),
    "echo_only": lambda f, q, p, r: _one(q.frame(q.pdu)),
    "exception": lambda f, q, p, r: _one(q.frame(exception(q.pdu[0], f.code))),
    "acknowledge": lambda f, q, p, r: _one(q.frame(exception(q.pdu[0], ACKNOWLEDGE))),
    "busy": lambda f, q, p, r: _one(q.frame(exception(q.pdu[0], BUSY))),
    "drop": lambda f, q, p, r: Emission(close=True),
    "drop_partway": lambda f, q, p, r: replace(_one(q.frame(p)[: f.size]), close=True),
    "half_open": lambda f, q, p, r: Emission(deaf=True),
}
"""What each kind of fault sends. `dead` is `silent`; `intermittent` is `silent` with chance 0.5."""

_ALIASES: dict[str, Fault] = {
    "dead": Fault("silent"),
    "intermittent": Fault("silent", chance=0.5),
    "wrong_fc": Fault("wrong_function"),
    "wrong_byte_count": Fault("wrong_count"),
    "wrong_tid": Fault("wrong_transaction"),
}

TAMPERINGS = ("rollover", "exchange", "reset", "absent", "stuck", "ignore_writes")
KINDS = (*SHAPES, *_ALIASES, *TAMPERINGS)


@dataclass(slots=True)
class Tampering:
    """What is wrong with the values themselves; the wire is in order."""

    absent: set[str] = field(default_factory=set)
    """Quantities for which the device sends its "no value" sentinel."""
    stuck_at: float | None = None
    """The device's clock and measurements stand still at this time."""
    ignores_writes: bool = False
    """Writes are confirmed and not carried out, as by a drive in local control."""
    dirty: bool = False
    _pending: list[str] = field(default_factory=list)
    _offsets: dict[str, float] = field(default_factory=dict)

    def apply(self, kind: str, quantity: str | None, now: float) -> None:
        """`rollover`, `exchange`, `reset` act on the counters once, `absent` on `quantity`, `stuck` on everything,
        `ignore_writes` on what is written from now on.
        """
        self.dirty = True
        if kind == "absent":
            self.absent.add(quantity or "kw")
        elif kind == "stuck":
            self.stuck_at = now
        elif kind == "ignore_writes":
            self.ignores_writes = True
        else:
            self._pending.append(kind)

    def heal(self) -> None:
        """Values are right again; counters stay where they were put."""
        self.absent.clear()
        self.stuck_at = None
        self.ignores_writes = False
        self.dirty = True

    def time(self, now: float) -> float:
        return now if self.stuck_at is None else self.stuck_at

    def counters(self, snapshot: Snapshot, moduli: Mapping[str, float]) -> Snapshot:
        """The snapshot with its counters as tampered with, each within its modulus."""
        self.dirty = False
        shifted = dict(snapshot)
        for kind in self._pending:
            for quantity, modulus in moduli.items():
                value = float(snapshot[quantity] or 0.0)
                # rollover: one tenth of a unit short of starting over; exchange: a new meter fresh from the shelf
                target = {"rollover": modulus - 0.1, "exchange": 3.2, "reset": 0.0}[kind]
                self._offsets[quantity] = target - value
        self._pending.clear()
        for quantity, modulus in moduli.items():
            reading = snapshot[quantity]
            if isinstance(reading, int | float):
                shifted[quantity] = (reading + self._offsets.get(quantity, 0.0)) % modulus
        return shifted


class Faults:
    """What is wrong with one device at the moment."""

    def __init__(self, seed: int = 0) -> None:
        self.tampering = Tampering()
        self._rng = random.Random(seed)
        self._wire: list[Fault] = []
        self.hits: dict[str, int] = {}

    def add(self, fault: Fault) -> None:
        self._wire.append(fault)

    def heal(self) -> None:
        self._wire.clear()
        self.tampering.heal()

    @property
    def active(self) -> Sequence[Fault]:
        return tuple(self._wire)

    def emit(self, request: Request, reply: bytes) -> Emission:
        """What goes over the wire: the good reply, or what the first fault that hits makes of it."""
        for index, fault in enumerate(self._wire):
            if not fault.touches(request.pdu) or self._rng.random() >= fault.chance:
                continue
            self.hits[fault.kind] = self.hits.get(fault.kind, 0) + 1
            if fault.count is not None:
                if fault.count <= 1:
                    del self._wire[index]
                else:
                    self._wire[index] = replace(fault, count=fault.count - 1)
            return SHAPES[fault.kind](fault, request, reply, self._rng)
        return _one(request.frame(reply))


class BadFault(ValueError):
    """The text or JSON does not describe a fault; the message says what is wrong and what is known."""


_NUMBERS: dict[str, type] = {
    entry.name: float if entry.name in ("chance", "delay_s") else int for entry in fields(Fault) if entry.name != "kind"
}


def option_names() -> tuple[str, ...]:
    return tuple(_NUMBERS)


def make_fault(kind: str, options: Mapping[str, object]) -> Fault:
    """Raises BadFault."""
    if kind in TAMPERINGS:
        raise BadFault(f"{kind} changes values, not replies")
    fault = _ALIASES.get(kind) or (Fault(kind) if kind in SHAPES else None)
    if fault is None:
        raise BadFault(f"unknown fault {kind!r}; known are {', '.join(KINDS)}")
    for name, value in options.items():
        if name not in _NUMBERS:
            raise BadFault(f"unknown option {name!r} of fault {kind}; known are {', '.join(_NUMBERS)}")
        try:
            number = float(value) if _NUMBERS[name] is float else int(str(value), 0)  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise BadFault(f"option {name}={value!r} of fault {kind} is no number") from error
        fault = replace(fault, **{name: number})  # type: ignore[arg-type]
    return fault


def add_fault(faults: Faults, kind: str, options: Mapping[str, object], now: float) -> None:
    """A fault of any kind, on values or replies. Raises BadFault."""
    if kind in TAMPERINGS:
        unknown = set(options) - {"quantity"}
        if unknown:
            raise BadFault(f"unknown option {min(unknown)!r} of fault {kind}; known is quantity")
        quantity = options.get("quantity")
        faults.tampering.apply(kind, None if quantity is None else str(quantity), now)
    else:
        faults.add(make_fault(kind, options))


def parse_fault(text: str) -> tuple[str, dict[str, object]]:
    """`late:delay_s=1.4,chance=0.1` -> ("late", {...}). Raises BadFault."""
    kind, _, rest = text.partition(":")
    options: dict[str, object] = {}
    for item in filter(None, rest.split(",")):
        name, separator, value = item.partition("=")
        if not separator:
            raise BadFault(f"{item!r} in {text!r} is not NAME=VALUE")
        options[name] = value
    return kind, options
