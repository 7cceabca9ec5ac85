"""Asks M-Bus slaves on a line: primary and selected by secondary address, telegram after telegram of one readout.

An answer tells its primary address and, in its header, the identification of the device, but not to which request it belongs.
So after a silence a slave is initialised anew (SND_NKE, which has another answer), and the line stays quiet until nothing old
can come. Source: EN 13757-2:2018, sections 5.5 to 5.7 (link layer procedures, FCB); EN 13757-3:2018, section 11.3 (selection).
"""

from __future__ import annotations

from dataclasses import dataclass

from device_profiles.errors import DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers.base import LinkConfig
from drivers.frames import Reject, Verdict
from drivers.serial_line import Line, LineInterrupted, LineSilent

from . import frame as wire
from . import records
from .select import Secondary

GAP_CHARS = 11.0
"""Bits of silence are 33 between frames (EN 13757-2, 5.4); converters want a character more than that."""
QUIET_SHARE = 0.5
"""Part of the time limit that a line stays quiet after a timeout."""
NKE, SEND, REQUEST = 0x40, 0x53, 0x5B
FCB = 0x20
SELECT, RESET = 0x52, 0x50
_ERRORS = range(0x70, 0x71)
_MOST_TELEGRAMS = 32
_LONGEST = wire.LONGEST
APPLICATION_ERRORS = (
    "an unspecified error", "the request is not implemented", "its buffer is too long", "too many records",
    "premature end of record", "more than 10 DIFE", "more than 10 VIFE", None, "busy", "too many readouts",
)  # fmt: skip


class Collision(DeviceMismatch):
    """Several slaves answered at once."""


class Finder:
    """Finds the answer to one request: an acknowledgement at the very begin, or a long frame of the address."""

    def __init__(self, address: int, *, wants_ack: bool) -> None:
        self._address = address
        self._wants_ack = wants_ack
        self._at = 0
        self.answer: wire.Frame | None = None
        self.reason = ""
        self.seen = b""

    def __call__(self, data: bytes) -> bytes | int:
        """The answer's bytes, or how many more it takes at least. To be called with ever more of the same bytes."""
        self.seen = data
        if self._wants_ack:
            if data[:1] == bytes((wire.ACK,)) and len(data) == 1:
                self.answer = wire.Frame(None)
                return data
            self.reason = f"{data[:8].hex(' ')} came where an acknowledgement is due"
            return 1
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
        if self._address < wire.NETWORK_LAYER and frame.address != self._address:
            self.reason = f"address {frame.address} answered"
            return False
        return True


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
        self._selected: str | None = None

    def read(self, line: Line, unit: int | Secondary) -> tuple[records.Answer, ...]:
        """All telegrams of one readout. Raises DeviceError, LinkError, LineInterrupted."""
        key = unit if isinstance(unit, int) else unit.text
        slave = self._slaves.setdefault(key, _Slave())
        address = wire.NETWORK_LAYER
        if isinstance(unit, int):
            address = unit
            self._selected = None
            if not slave.is_fresh:
                self._reset(line, address)
                slave.is_fresh, slave.fcb = True, True
        elif self._selected != unit.text:
            self._select(line, unit)
            slave.fcb = True
        answers: list[records.Answer] = []
        try:
            while True:
                answers.append(self._request(line, address, slave))
                if isinstance(unit, Secondary):
                    _check_identity(unit, answers[-1])
                if not answers[-1].more:
                    return tuple(answers)
                if len(answers) >= _MOST_TELEGRAMS:
                    raise DeviceMismatch(
                        f"the readout has no end: {len(answers)} telegrams", next_step="look at the frames with --trace"
                    )
        except (DeviceTimeout, DeviceMismatch, DeviceRefused, LineInterrupted):
            slave.is_fresh, self._selected = False, None
            raise

    def ping(self, line: Line, address: int) -> bool:
        """Whether a slave answers to its primary address. Raises Collision where several do, LinkError."""
        try:
            self._reset(line, address)
        except DeviceTimeout:
            return False
        except DeviceMismatch as error:
            raise Collision(error.what) from error
        return True

    def select(self, line: Line, pattern: Secondary) -> records.Answer | None:
        """The one slave that a pattern selects; None when there is none. Raises Collision where several are, LinkError."""
        self._selected = None
        try:
            self._select(line, pattern)
        except DeviceTimeout:
            return None
        except DeviceMismatch as error:
            raise Collision(error.what) from error
        try:
            return self._request(line, wire.NETWORK_LAYER, _Slave())
        except (DeviceMismatch, DeviceTimeout) as error:
            raise Collision(error.what) from error  # several acknowledged in one instant, and now they spoil each other

    def _reset(self, line: Line, address: int) -> None:
        self._exchange(line, wire.Frame(NKE, address), wants_ack=True)

    def _select(self, line: Line, pattern: Secondary) -> None:
        frame = wire.Frame(SEND, wire.NETWORK_LAYER, SELECT, pattern.encoded)
        self._exchange(line, frame, wants_ack=True)
        self._selected = pattern.text

    def _request(self, line: Line, address: int, slave: _Slave) -> records.Answer:
        frame = self._exchange(line, wire.Frame(REQUEST | (FCB if slave.fcb else 0), address), wants_ack=False)
        slave.fcb = not slave.fcb
        assert frame.ci is not None
        if frame.ci in _ERRORS:
            raise refusal(frame.data)
        return records.decode(frame.ci, frame.data)

    def _exchange(self, line: Line, frame: wire.Frame, *, wants_ack: bool) -> wire.Frame:
        assert frame.address is not None
        finder = Finder(frame.address, wants_ack=wants_ack)
        line.settle()
        line.send(wire.encode(frame))
        try:
            line.receive(finder, 1 if wants_ack else _LONGEST, self._link.timeout_s)
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
    words = (APPLICATION_ERRORS[code] if code < len(APPLICATION_ERRORS) else None) or f"application error {code}"
    status = "BadTooManyOperations" if code in (8, 9) else "BadDeviceFailure"
    return DeviceRefused(f"the device refuses: {words}", code=code, status=status, next_step="read it less often")


def _check_identity(asked: Secondary, answer: records.Answer) -> None:
    """An answer of a selected device carries the identification that was selected."""
    if answer.header is not None and not asked.fits(answer.header.secondary):
        raise DeviceMismatch(
            f"device {answer.header.secondary} answered where {asked.text} was selected",
            next_step="look at the frames with --trace",
        )
