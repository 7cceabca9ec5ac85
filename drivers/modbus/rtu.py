"""Modbus RTU: finds the answer among the bytes of a line, and never takes a late one for it.

A reply carries no number that ties it to its request, so after a timeout the line is kept quiet for a while, what comes then is
recognised as late, and a unit that still owes an answer is asked something whose reply differs in length or function code
first; its answer proves that the owed ones cannot come any more (a device answers in order). Only then are values believed.
Where a device refuses every such question, consecutive equal replies are needed, one more than it owes.
Source: MODBUS over Serial Line V1.02, 2.4.1 (replies of other units do not stop the timer) and 2.5.1 (RTU).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from device_profiles.errors import ConfigError, DeviceMismatch, DeviceTimeout
from drivers.base import LinkConfig, Trace, WireCount
from drivers.serial_line import Line, LineAccess, LineInterrupted, LineOwner, LineSilent

from . import codec

QUIET_SHARE = 0.5
"""Part of the time limit that a line stays quiet after a timeout: an answer up to 1.5 times late is caught there."""
LATEST = 20
"""An answer that is later than so many time limits (and 5 s) does not come any more, whatever a serial server buffers."""
_HEADER = 3
_SHORTEST = 5
_NOBODY = -1


@dataclass(frozen=True, slots=True)
class Signature:
    """What a good reply can be told apart by: function code and length (VARIABLE fits any)."""

    function: int
    size: int

    def fits(self, other: Signature) -> bool:
        """True when a reply of the one could be taken for a reply of the other."""
        return self.function == other.function and (
            self.size == other.size or codec.VARIABLE in (self.size, other.size)
        )


def signature(request: codec.Request) -> Signature:
    return Signature(request.function, request.reply_size)


class ReplyFinder:
    """Finds the reply to one request in what a line brings; other units' frames, echoes and noise are passed over."""

    def __init__(self, unit: int, request: codec.Request, *, line_echoes: bool = False) -> None:
        self._unit = unit
        self._request = request
        # A reply to a write is the same bytes as its undeclared echo, so only a line that is known to echo passes the first
        # of them over; a reply to a read never is (but for a freak of FC 1, 2).
        self._is_write = request.function in codec.WRITES
        may_echo = unit != _NOBODY and (line_echoes or not self._is_write)
        self._echo = codec.rtu_frame(unit, request.pdu) if may_echo else b""
        self._echo_at: int | None = None
        self._at = 0
        self.heard_echo = False
        """The request itself came back before the answer."""
        self.reason = ""
        """Why what came is not the answer; "" when nothing came that looks like one."""
        self.passed: list[tuple[int, Signature]] = []
        """Good frames that are not the answer: unit and signature."""

    def __call__(self, data: bytes) -> bytes | int:
        """The answer's frame, or how many more bytes it takes at least. To be called with ever more of the same bytes."""
        at = self._at
        need = hopeful = 0
        first_open: int | None = None
        while at < len(data):
            size = frame_size(data, at)
            if size is not None and len(data) - at < size:
                missing = size - (len(data) - at)
                need = min(need, missing) if need else missing
                if not hopeful and self._looks_right(data, at, size):
                    hopeful = missing
                first_open = at if first_open is None else first_open
                size = None
            length = self._whole_frame(data, at, size) if size is not None else 0
            if length and self._answers(data[at : at + length], at):
                self.heard_echo = bool(self._echo) and self._echo in data[:at]
                return data[at : at + length]
            at += length or 1
        self._at = at if first_open is None else first_open
        return hopeful or need or _SHORTEST

    def _looks_right(self, data: bytes, at: int, size: int) -> bool:
        """True where the begin of a frame fits the answer: worth waiting for its end, whatever else may begin inside."""
        if len(data) - at < _HEADER or data[at] != self._unit:
            return False
        if data[at + 1] != self._request.function:
            return data[at + 1] == self._request.function | 0x80
        return self._request.reply_size in (codec.VARIABLE, size - 3)

    def _whole_frame(self, data: bytes, at: int, size: int) -> int:
        """Length of a frame with a right checksum that begins here: a reply, or a request (8 bytes); 0 = none."""
        if codec.rtu_holds(data[at : at + size]):
            return size
        if data[at + 1] <= 6 and size != 8 and len(data) - at >= 8 and codec.rtu_holds(data[at : at + 8]):
            return 8
        if data[at] == self._unit and data[at + 1] & 0x7F == self._request.function:
            self.reason = self.reason or "the checksum is wrong"
        return 0

    def _answers(self, frame: bytes, at: int) -> bool:
        """True for the reply; anything else is noted."""
        unit, pdu = frame[0], frame[1:-2]
        if frame == self._echo and not (self._is_write and self._echo_at not in (None, at)):
            self._echo_at = at
            self.reason = self.reason or "only the request came back, as an adapter's echo"
            return False
        if unit != self._unit:
            self.reason = self.reason or f"unit {unit} answered"
        elif pdu[0] & 0x7F != self._request.function:
            self.reason = f"function code {pdu[0]} where {self._request.function} was asked"
        elif pdu[0] & 0x80 or self._request.reply_size in (len(pdu), codec.VARIABLE):
            if not self._is_write or pdu[0] & 0x80 or pdu == self._request.pdu[: self._request.reply_size]:
                return True
            self.reason = "another address or value is confirmed than was written"
        else:
            self.reason = f"a reply of {len(pdu)} bytes where {self._request.reply_size} are due"
        self.passed.append((unit, Signature(pdu[0], len(pdu))))
        return False


def frames_in(data: bytes) -> list[tuple[int, Signature]]:
    """Unit and signature of every good frame among bytes that nobody asked for."""
    if not data:
        return []
    finder = ReplyFinder(_NOBODY, codec.Request(b"\x7e", 0))
    finder(data)
    return finder.passed


def frame_size(data: bytes, at: int) -> int | None:
    """Bytes of the reply frame that begins at `at`, as its function code tells; None where no reply can begin.

    For a frame that is cut off before its length is told, the least it can be.
    """
    have = len(data) - at
    if have < 2:
        return _SHORTEST
    function = data[at + 1]
    if function & 0x80:
        return _SHORTEST if function & 0x7F in _KNOWN else None
    if 1 <= function <= 4:
        return _SHORTEST if have < _HEADER else 5 + data[at + 2]
    if function in codec.WRITES:
        return 10 if function == codec.MASK_WRITE else 8
    if function == 43:
        size = codec.identity_size(data[at + 1 : at + 260])
        return size + 3 if size is not None else have + 1
    return None


_KNOWN = frozenset({1, 2, 3, 4, 43}) | codec.WRITES


class Doubts:
    """Which unit still owes which answers: those that did not come in time and may come yet."""

    def __init__(self, forget_s: float) -> None:
        self._forget_s = forget_s
        self._owed: dict[int, list[tuple[Signature, float]]] = {}
        self._tries: dict[int, int] = {}

    def owe(self, unit: int, owed: Signature, now: float) -> None:
        self._owed.setdefault(unit, []).append((owed, now))

    def owed(self, unit: int, now: float) -> list[Signature]:
        """What the unit owes, oldest first; debts older than `forget_s` are forgotten."""
        kept = [(owed, since) for owed, since in self._owed.get(unit, ()) if now - since < self._forget_s]
        if kept:
            self._owed[unit] = kept
        else:
            self._owed.pop(unit, None)
        return [owed for owed, _ in kept]

    def came(self, unit: int, late: Signature) -> None:
        """A late answer was seen: it and all debts before it are settled."""
        debts = self._owed.get(unit, [])
        function = late.function & 0x7F
        for index in range(len(debts) - 1, -1, -1):
            owed = debts[index][0]
            if owed.fits(late) or (late.function & 0x80 and owed.function == function):
                self._owed[unit] = debts[index + 1 :]
                return

    def settled(self, unit: int) -> None:
        self._owed.pop(unit, None)
        self._tries.pop(unit, None)

    def try_again(self, unit: int) -> int:
        """How often it was tried before to settle what the unit owes."""
        tries = self._tries.get(unit, 0)
        self._tries[unit] = tries + 1
        return tries


class RtuMaster:
    """Asks units on a line; runs in the line's thread."""

    def __init__(self, link: LinkConfig) -> None:
        self._link = link
        self._doubts = Doubts(max(5.0, LATEST * link.timeout_s))
        self._echoes = False
        """An adapter of this line was heard to send requests back, though the configuration does not say so."""

    def ask(self, line: Line, unit: int, request: codec.Request) -> bytes:
        """The data of the good reply (the PDU for FC 43). Raises DeviceError, LinkError, LineInterrupted."""
        self._settle(line)
        if self._doubts.owed(unit, line.clock.now()):
            pdu = self._clear(line, unit, request)
            if pdu is not None:
                return self._data(request, pdu)
            self._settle(line)
        return self._data(request, self._once(line, unit, request))

    def _data(self, request: codec.Request, pdu: bytes) -> bytes:
        return pdu if request.reply_size == codec.VARIABLE and not pdu[0] & 0x80 else codec.reply_data(request, pdu)

    def _settle(self, line: Line) -> None:
        """Waits for the line; late answers that came in the quiet time are crossed off."""
        for unit, late in frames_in(line.settle()):
            self._doubts.came(unit, late)

    def _once(self, line: Line, unit: int, request: codec.Request) -> bytes:
        """One request and the PDU that answers it, an exception reply too."""
        finder = ReplyFinder(unit, request, line_echoes=self._echoes)
        chars = (request.reply_size if request.reply_size != codec.VARIABLE else codec.MAX_PDU) + 3
        line.send(codec.rtu_frame(unit, request.pdu))
        try:
            frame = line.receive(finder, chars, self._link.timeout_s)
        except LineSilent as silent:
            self._missed(line, unit, request, finder)
            raise self._no_answer(finder, silent) from silent
        except LineInterrupted:
            self._missed(line, unit, request, finder)
            raise
        self._cross_off(finder)
        self._echoes = self._echoes or finder.heard_echo
        return frame[1:-2]

    def _cross_off(self, finder: ReplyFinder) -> None:
        for unit, late in finder.passed:
            self._doubts.came(unit, late)

    def _missed(self, line: Line, unit: int, request: codec.Request, finder: ReplyFinder) -> None:
        self._cross_off(finder)
        self._doubts.owe(unit, signature(request), line.clock.now())
        line.stay_quiet(QUIET_SHARE * self._link.timeout_s)

    def _no_answer(self, finder: ReplyFinder, silent: LineSilent) -> DeviceTimeout | DeviceMismatch:
        limit = f"within {self._link.timeout_s:g} s"
        if not silent.received:
            return DeviceTimeout(
                f"no answer {limit}", next_step="check the unit number, the wiring (A and B) and the baud rate"
            )
        if not finder.reason:
            return DeviceMismatch(
                f"no frame among {len(silent.received)} bytes {limit}",
                next_step="check baud rate and parity, termination, and that A and B are not exchanged",
            )
        return DeviceMismatch(f"no answer {limit}: {finder.reason}", next_step="look at the frames with --trace")

    def _clear(self, line: Line, unit: int, request: codec.Request) -> bytes | None:
        """Makes sure that no owed answer can be taken for the next one. Raises DeviceTimeout when the unit is silent.

        Returns a PDU only where the request itself had to be repeated until its replies agreed. That is tried in turn with
        other questions, because some devices are silent to all but one, and of some no two values are equal. A write is never
        repeated: where no question settles what is owed, it is not sent.
        """
        is_write = request.function in codec.WRITES
        tries = self._doubts.try_again(unit)
        if tries >= 2 and tries % 2 == 0 and not is_write:
            return self._agree(line, unit, request)
        for probe in probes(request):
            owed = self._doubts.owed(unit, line.clock.now())
            if not owed:
                return None
            if any(signature(probe).fits(debt) for debt in owed):
                continue
            self._settle(line)
            pdu = self._once(line, unit, probe)
            is_clear = not pdu[0] & 0x80 or all(debt.function != probe.function for debt in owed)
            if is_clear:
                self._doubts.settled(unit)
                return None
            self._doubts.owe(unit, signature(probe), line.clock.now())
        if is_write:
            raise DeviceMismatch(
                "nothing was written: answers that came too late cannot be told from its confirmation",
                next_step="write again later, or raise timeout_s: the device is slower than that",
            )
        return self._agree(line, unit, request)

    def _agree(self, line: Line, unit: int, request: codec.Request) -> bytes:
        """Repeats the request until more replies in a row are equal than could be late ones. Raises DeviceMismatch."""
        late = sum(signature(request).fits(debt) for debt in self._doubts.owed(unit, line.clock.now()))
        pdus: list[bytes] = []
        for _ in range(2 * late + 3):
            self._settle(line)
            pdus.append(self._once(line, unit, request))
            if len(pdus) > late and len(set(pdus[-late - 1 :])) == 1:
                self._doubts.settled(unit)
                return pdus[-1]
        raise DeviceMismatch(
            f"{len(pdus)} replies in a row differ, and {late} before them came too late or not at all",
            next_step="raise timeout_s: the device is slower than that",
        )


def probes(request: codec.Request) -> Iterator[codec.Request]:
    """Reads that a device is likely to answer and whose reply cannot be taken for this request's.

    First other lengths at the same place (by two registers, because some meters refuse half of a 32-bit value), then the
    sibling function code, to which even a refusal is an answer. Before a write: reads of what is to be written.
    """
    tables = {code: table for table, code in codec.FUNCTION_OF.items()}
    table = tables.get(request.function)
    first, count = int.from_bytes(request.pdu[1:3]), int.from_bytes(request.pdu[3:5])
    if table is None:
        is_known = request.function in codec.WRITES
        tables_of = ("coil", "discrete", "holding") if request.function in (5, 15) else ("holding", "input", "coil")
        for name in tables_of if is_known else ("holding",):
            for size in (1, 9, 17) if name in codec.BIT_TABLES else (1, 2, 3):
                yield codec.read_request(name, min(first, 0x10000 - size) if is_known else 0, size)
        return
    unit = 8 if table in codec.BIT_TABLES else 1
    most = min(codec.MAX_BITS if table in codec.BIT_TABLES else codec.MAX_REGISTERS, 0x10000 - first)
    near, far = (-2, 2, -1, 1), (sign * step for step in range(3, 40) for sign in (-1, 1))
    sibling = {"holding": "input", "input": "holding", "coil": "discrete", "discrete": "coil"}[table]
    yield from (codec.read_request(table, first, count + unit * at) for at in near if 1 <= count + unit * at <= most)
    yield from (codec.read_request(sibling, first, size) for size in (1, 1 + unit, 1 + 2 * unit) if size <= most)
    yield from (codec.read_request(table, first, count + unit * at) for at in far if 1 <= count + unit * at <= most)


class RtuWire:
    """A Wire over a line and its owner thread."""

    def __init__(self, owner: LineAccess) -> None:
        self._owner = owner
        self._master = RtuMaster(owner.link)

    @property
    def counts(self) -> WireCount:
        return self._owner.counts

    async def ask(self, unit: int, request: codec.Request) -> bytes:
        """The data of the good reply (the PDU for FC 43). Raises DeviceError, LinkError."""
        if unit > 247:
            raise ConfigError(
                f"unit {unit} is reserved on a serial line", where=self._owner.link.id, next_step="use 1 to 247"
            )
        return await self._owner.call(lambda line: self._master.ask(line, unit, request))


@asynccontextmanager
async def open_rtu(link: LinkConfig, trace: Trace | None) -> AsyncIterator[RtuWire]:
    """Opens the line, and closes it at the end. Raises LinkError."""
    owner = LineOwner(link, trace)
    try:
        await owner.open()
        yield RtuWire(owner)
    finally:
        await owner.close()
