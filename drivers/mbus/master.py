"""Asks M-Bus slaves on a line: primary and selected by secondary address, telegram after telegram of one readout.

An answer tells its primary address and, in its header, the identification of the device, but not to which request it belongs.
So a slave that owes one is initialised until nothing old can come any more (see debts). A telegram whose sum is wrong is asked
for once more with the same frame count bit, on which the slave repeats it.
Source: EN 13757-2:2018, sections 5.5 to 5.7 (link layer procedures, FCB); EN 13757-3:2018, section 11.3 (selection).
"""

from __future__ import annotations

from dataclasses import dataclass

from device_profiles.errors import DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers.base import LinkConfig
from drivers.frames import Reject, Verdict
from drivers.serial_line import Line, LineInterrupted, LineSilent

from . import frame as wire
from . import records
from .answer import Answer
from .debts import Debts
from .select import Secondary

GAP_CHARS = 11.0
"""Bits of silence are 33 between frames (EN 13757-2, 5.4); converters want a character more than that."""
QUIET_SHARE = 0.5
"""Part of the time limit that a line stays quiet after a timeout."""
NKE, SEND, REQUEST = 0x40, 0x53, 0x5B
FCB = 0x20
SELECT, RESET = 0x52, 0x50
_MOST_TELEGRAMS = 32
_MOST_PROOFS = 8
"""So often a slave that owes a telegram is initialised in one readout."""
FORGET_TIMES = 20
"""What is later than so many time limits (and 5 s) does not come any more."""
_LATEST_S, _LATEST_BITS = 0.05, 330
"""How long a slave may take for the first bit of its answer (EN 13757-2, 5.4)."""


class Collision(DeviceMismatch):
    """Several slaves answered at once."""


class Finder:
    """Finds the answer to one request: an acknowledgement at the very begin, or a long frame of the address."""

    def __init__(self, unit: int | Secondary, *, wants_ack: bool, takes_nameless: bool = True) -> None:
        self._unit = unit
        self._takes_nameless = takes_nameless
        self._wants_ack = wants_ack
        self._at = 0
        self.answer: wire.Frame | None = None
        self.reason = ""
        self.is_spoilt = False
        """A telegram came from the address, whole but for its sum."""

    def __call__(self, data: bytes) -> bytes | int:
        """The answer's bytes, or how many more it takes at least. To be called with ever more of the same bytes."""
        return self._acknowledgement(data) if self._wants_ack else self._telegram(data)

    def _acknowledgement(self, data: bytes) -> bytes | int:
        """It may stand behind late telegrams of whomever."""
        while self._at < len(data):
            matched = wire.match(data, self._at)
            if matched is Verdict.MORE:
                return 1
            if isinstance(matched, Verdict | Reject):
                break
            self._at += len(matched[1])
        rest = data[self._at :]
        if rest == bytes((wire.ACK,)):
            self.answer = wire.Frame(None)
            return rest
        self.reason = f"{rest[:8].hex(' ')} came where an acknowledgement is due" if rest else "a late telegram came"
        return 1

    def _telegram(self, data: bytes) -> bytes | int:
        while (found := wire.PATTERN.search(data, self._at)) is not None:
            at = found.start()
            matched = wire.match(data, at) if data[at] != wire.ACK else Verdict.NOTHING
            if matched is Verdict.MORE:
                self._at = at
                return max(1, data[at + 1] + 6 - (len(data) - at)) if data[at] == wire.LONG else 1
            if isinstance(matched, Verdict):
                self._at = at + 1
            elif isinstance(matched, Reject):
                self.reason = self.reason or matched.detail
                raw = matched.raw
                self.is_spoilt = self.is_spoilt or (
                    raw[0] == wire.LONG and not self._foreign(raw[5], raw[6], raw[7:-2])
                )
                self._at = at + 1
            else:
                self._at = at + len(matched[1])
                if self._answers(matched[0]):
                    self.answer = matched[0]
                    return matched[1]
        return 1

    def _answers(self, frame: wire.Frame) -> bool:
        if frame.ci is None or frame.name != "answer":
            return False
        foreign = self._foreign(frame.address or 0, frame.ci, frame.data)
        self.reason = foreign or self.reason
        return not foreign

    def _foreign(self, address: int, ci: int, data: bytes) -> str:
        """Who answered in place of the one who was asked; empty where it may be that one. Some answers say no name."""
        if isinstance(self._unit, int):
            return f"address {address} answered" if address != self._unit else ""
        header = records.header(ci, data)
        if header is None:
            return "" if self._takes_nameless else "a telegram without identification came, and another slave owes one"
        if self._unit.fits(header.secondary):
            return ""
        return f"device {header.secondary} answered where {self._unit.text} was selected"


@dataclass(slots=True)
class _Slave:
    """What a master knows of one slave. `fcb` is the frame count bit of the next request."""

    fcb: bool = True
    is_fresh: bool = False


class Master:
    """Reads out; runs in the line's thread."""

    def __init__(self, link: LinkConfig) -> None:
        self._link = link
        self._slaves: dict[int | str, _Slave] = {}
        self._debts = Debts(max(5.0, FORGET_TIMES * link.timeout_s))
        self._selected: str | None = None
        self._is_crowded = False
        """Somebody may be selected who should not be."""

    def read(self, line: Line, unit: int | Secondary, reset: bytes | None = None) -> tuple[Answer, ...]:
        """All telegrams of one readout, behind an application reset with these bytes where told. Raises DeviceError, LinkError,
        LineInterrupted.
        """
        slave = self._slaves.setdefault(_key(unit), _Slave())
        answers: list[Answer] = []
        try:
            self._begin(line, unit, slave, reset)
            while True:
                answers.append(self._request(line, unit, slave))
                if not answers[-1].more:
                    return tuple(answers)
                if len(answers) >= _MOST_TELEGRAMS:
                    raise DeviceMismatch(
                        f"the readout has no end: {len(answers)} telegrams", next_step="look at the frames with --trace"
                    )
        except (DeviceTimeout, DeviceMismatch, DeviceRefused, LineInterrupted):
            slave.is_fresh, self._selected = False, None
            raise

    def _begin(self, line: Line, unit: int | Secondary, slave: _Slave, reset: bytes | None) -> None:
        """Makes the slave ready for a request, and sure that what comes answers it."""
        if isinstance(unit, int):
            self._selected = None
            if reset is not None:
                self._acknowledge(line, unit, wire.Frame(SEND, unit, RESET, reset))
            if not slave.is_fresh or reset is not None:
                self._prove(line, unit, wire.Frame(NKE, unit))
                slave.is_fresh, slave.fcb = True, True
            return
        if self._selected != unit.text:
            self._select(line, unit)
            slave.fcb = True
        if reset is not None:
            self._acknowledge(line, unit, wire.Frame(SEND, wire.NETWORK_LAYER, RESET, reset))

    def ping(self, line: Line, address: int) -> bool:
        """Whether a slave answers to its primary address. Raises Collision where several do, LinkError."""
        try:
            self._acknowledge(line, address, wire.Frame(NKE, address))
            if line_after(line, self._link.timeout_s):
                raise Collision(f"several slaves acknowledge at address {address}")
        except DeviceTimeout:
            return False
        except DeviceMismatch as error:
            raise Collision(error.what) from error
        return True

    def select(self, line: Line, pattern: Secondary) -> Answer | None:
        """The one slave that a pattern selects; None when there is none. Raises Collision where several are, LinkError."""
        self._selected = None
        try:
            self._select(line, pattern)
        except DeviceTimeout:
            return None
        except DeviceMismatch as error:
            raise Collision(error.what) from error
        if line_after(line, self._link.timeout_s):
            self._is_crowded = True
            raise Collision("several slaves acknowledge, one after the other")
        try:
            answer = self._request(line, pattern, _Slave())
        except (DeviceMismatch, DeviceTimeout) as error:
            raise Collision(error.what) from error  # several acknowledged in one instant, and now they spoil each other
        if line_after(line, self._link.timeout_s):
            self._is_crowded = True
            raise Collision("several slaves answer, one after the other")
        return answer

    def _select(self, line: Line, pattern: Secondary) -> None:
        """Selects those whom a pattern fits. All others are deselected by it, unless they did not hear it well."""
        if self._is_crowded:
            self._debts.asks_acknowledgement(wire.NETWORK_LAYER, line.clock.now())
            line.settle()
            line.send(wire.encode(wire.Frame(NKE, wire.NETWORK_LAYER)))
            line.stay_quiet(_LATEST_S + (_LATEST_BITS + 5 * self._link.bits_per_char) / self._link.baud)
            self._is_crowded = False
        self._prove(line, pattern, wire.Frame(SEND, wire.NETWORK_LAYER, SELECT, pattern.encoded))
        self._selected = pattern.text

    def _prove(self, line: Line, unit: int | Secondary, frame: wire.Frame) -> None:
        """Sends what is acknowledged until no older telegram can come behind it. Raises DeviceError, LinkError."""
        for _ in range(_MOST_PROOFS):
            self._acknowledge(line, unit, frame)
            if not self._debts.may_send_telegram(_key(unit), line.clock.now()):
                return
        raise DeviceMismatch(
            f"the slave owes an older telegram, which {_MOST_PROOFS} acknowledgements do not rule out",
            next_step="nothing: it is asked again; if it stays so, raise timeout_s",
        )

    def _acknowledge(self, line: Line, unit: int | Secondary, frame: wire.Frame) -> None:
        line.settle()
        self._debts.asks_acknowledgement(_key(unit), line.clock.now())
        try:
            self._exchange(line, frame, Finder(unit, wants_ack=True), 1)
        except DeviceMismatch:
            self._is_crowded = frame.address == wire.NETWORK_LAYER
            raise
        self._debts.acknowledged(_key(unit))

    def _request(self, line: Line, unit: int | Secondary, slave: _Slave) -> Answer:
        frame = self._telegram(line, unit, slave)
        slave.fcb = not slave.fcb
        assert frame.ci is not None
        self._debts.answered(_key(unit))
        if frame.ci == records.ERROR:
            raise refusal(frame.data)
        return records.decode(frame.ci, frame.data)

    def _telegram(self, line: Line, unit: int | Secondary, slave: _Slave) -> wire.Frame:
        """The answer to a request for data; one whose sum is wrong is asked for again."""
        address = unit if isinstance(unit, int) else wire.NETWORK_LAYER
        request = wire.Frame(REQUEST | (FCB if slave.fcb else 0), address)
        line.settle()
        now = line.clock.now()
        is_sure = not self._debts.do_others_owe(_key(unit), now)
        self._debts.misses_telegram(_key(unit), now)  # until it is here
        finder = Finder(unit, wants_ack=False, takes_nameless=is_sure)
        try:
            return self._exchange(line, request, finder, wire.LONGEST)
        except DeviceMismatch:
            self._is_crowded = address == wire.NETWORK_LAYER
            if not finder.is_spoilt:
                raise
        line.settle()
        finder = Finder(unit, wants_ack=False, takes_nameless=is_sure)
        return self._exchange(line, request, finder, wire.LONGEST)

    def _exchange(self, line: Line, frame: wire.Frame, finder: Finder, reply_chars: int) -> wire.Frame:
        line.send(wire.encode(frame))
        try:
            line.receive(finder, reply_chars, self._link.timeout_s)
        except LineSilent as silent:
            line.stay_quiet(QUIET_SHARE * self._link.timeout_s)
            raise self._no_answer(finder, silent) from silent
        except LineInterrupted:
            line.stay_quiet(QUIET_SHARE * self._link.timeout_s)
            raise
        assert finder.answer is not None
        return finder.answer

    def _no_answer(self, finder: Finder, silent: LineSilent) -> DeviceTimeout | DeviceMismatch:
        limit = f"within {self._link.timeout_s:g} s"
        if not silent.received:
            step = "check the address, the level converter and its supply, the baud rate (2400 8E1 mostly)"
            return DeviceTimeout(f"no answer {limit}", next_step=step)
        reason = finder.reason or f"no frame among {len(silent.received)} bytes"
        if silent.received == bytes((wire.ACK,)):
            reason = "it acknowledges and has no data"
        return DeviceMismatch(f"no answer {limit}: {reason}", next_step="look at the frames with --trace")


def refusal(data: bytes) -> DeviceRefused:
    """The error of an answer with CI 70h (EN 13757-3, section 7.3)."""
    code = data[0] if data else 0
    status = "BadTooManyOperations" if code in (8, 9) else "BadDeviceFailure"
    return DeviceRefused(
        f"the device refuses: {records.error(data)}", code=code, status=status, next_step="read it less often"
    )


def line_after(line: Line, seconds: float) -> bytes:
    """What else comes within this time."""
    line.stay_quiet(seconds)
    return line.settle()


def _key(unit: int | Secondary) -> int | str:
    return unit if isinstance(unit, int) else unit.text
