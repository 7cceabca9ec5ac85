"""Asks CJ/T 188 meters on a line. The serial number of a request comes back in its answer, so that a late one is known as such.

An error may lack it: after a silence such an error is not believed until the meter has answered something with its number.
Source: CJ/T 188-2004 and -2018, section 7 (wake-up bytes, controls, serial number, error answers).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from device_profiles.errors import DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers.base import LinkConfig
from drivers.frames import Reject, Verdict
from drivers.serial_line import Line, LineInterrupted, LineSilent

from . import frame as wire
from . import items

GAP_CHARS = 1.0
"""The standard asks for no silence between frames; a character separates them for those that look for one."""
QUIET_SHARE = 0.5
"""Part of the time limit that a line stays quiet after a timeout."""
READ, READ_ADDRESS, WRITE = 0x01, 0x03, 0x04
ADDRESS_ITEM = 0x810A
_PROOFS = 3
"""So often a meter that answered a pattern is asked whether it is alone."""
_PROOF_STEP = 0x54
"""With the one that every question adds: serial numbers whose bits differ, high and low."""
_LONGEST_REPLY = wire.HEAD + 49 + 2 + 4


@dataclass(frozen=True, slots=True)
class Question:
    """One request. `data` is what follows identifier and serial number."""

    kind: int
    address: str
    control: int
    di: int
    shape: items.Shape
    data: bytes = b""


class ReplyFinder:
    """Finds the answer to one request in what a line brings; other frames and noise are passed over."""

    def __init__(self, asked: Question, serial: int, *, is_in_doubt: bool) -> None:
        self._asked = asked
        self._serial = serial
        self._is_in_doubt = is_in_doubt
        self._at = 0
        self.answer: wire.Frame | None = None
        self.reason = ""

    def __call__(self, data: bytes) -> bytes | int:
        """The answer's bytes, or how many more it takes at least. To be called with ever more of the same bytes."""
        while (found := wire.PATTERN.search(data, self._at)) is not None:
            at = found.start()
            matched = wire.match(data, at)
            if matched is Verdict.MORE:
                self._at = at
                return self._missing(data, found.end() - 2)
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
        rest = data[:-1] if data[-1:] == b"h" else data
        self._at = max(self._at, len(rest.rstrip(b"\xfe")))
        return wire.HEAD + 3

    @staticmethod
    def _missing(data: bytes, first: int) -> int:
        have = len(data) - first
        size = wire.HEAD + 2 + (data[first + 10] if have >= wire.HEAD else 0)
        return max(1, size - have)

    def _answers(self, frame: wire.Frame) -> bool:
        asked = self._asked
        if not frame.is_reply:
            return False
        if not fits(asked.address, frame.address) or asked.kind not in (wire.ANY_TYPE, frame.kind):
            self.reason = self.reason or f"meter {frame.address} of type {frame.kind:02X} answered"
        elif frame.control & 0x3F != asked.control:
            self.reason = f"control {frame.control:02X} where {asked.control | wire.REPLY:02X} is due"
        elif frame.is_error:
            return self._is_our_error(frame)
        elif items.identifier(frame.data) != asked.di:
            self.reason = f"identifier {frame.data[:2].hex().upper()} where {asked.di:04X} was asked"
        elif frame.data[2:3] != bytes((self._serial,)):
            self.reason = f"serial number {frame.data[2:3].hex()} where {self._serial:02x} was sent"
        else:
            return True
        return False

    def _is_our_error(self, frame: wire.Frame) -> bool:
        """Errors are the serial number and one or two bytes of status, or status alone; two bytes may be either."""
        says_serial = len(frame.data) > 1 and frame.data[0] == self._serial
        if len(frame.data) > 2 and not says_serial:
            self.reason = f"an error for serial number {frame.data[0]:02x}"
            return False
        if self._is_in_doubt and not (says_serial and len(frame.data) > 2):
            self.reason = "an error that may belong to an older question"
            return False
        return True


def fits(asked: str, given: str) -> bool:
    """True where a reply from `given` can answer a question to `asked`, in which A stands for any digit."""
    return all(one in ("A", other) for one, other in zip(asked, given, strict=True))


class Master:
    """Asks; runs in the line's thread."""

    def __init__(self, link: LinkConfig) -> None:
        self._link = link
        self._serial = 0
        self._owing: set[str] = set()
        """Meters that have not answered since a silence."""

    def ask(self, line: Line, asked: Question) -> wire.Frame:
        """The good answer, identifier and serial number included. Raises DeviceError, LinkError, LineInterrupted."""
        self._serial = (self._serial + 1) & 0xFF
        finder = ReplyFinder(asked, self._serial, is_in_doubt=asked.address in self._owing)
        data = items.request(asked.di, self._serial, asked.shape) + asked.data
        line.settle()
        line.send(wire.encode(wire.Frame(asked.kind, asked.address, asked.control, data)))
        try:
            line.receive(finder, _LONGEST_REPLY, self._link.timeout_s)
        except LineSilent as silent:
            self._missed(line, asked)
            raise self._no_answer(finder, silent) from silent
        except LineInterrupted:
            self._missed(line, asked)
            raise
        assert finder.answer is not None
        if finder.answer.is_error:
            raise refusal(finder.answer.data)
        self._owing.discard(asked.address)
        return finder.answer

    def address(self, line: Line, asked: Question) -> tuple[wire.Frame, bool]:
        """The answer of whoever is asked for its address, and whether nothing else was heard after it. Raises as `ask`."""
        found = self.ask(line, asked)
        if "A" not in asked.address:
            return found, True
        line.stay_quiet(self._link.timeout_s)
        return found, not line.settle() and self._is_one(line, asked)

    def _is_one(self, line: Line, asked: Question) -> bool:
        """Whether the same pattern is answered as cleanly with current values: those of several meters that answered in one
        instant, bit upon bit, differ where their addresses happened to look like one. A sum of 8 bits may be right by chance;
        each question has another serial number, and so another sum, also where meters show the same.
        """
        for _ in range(_PROOFS):
            self._serial += _PROOF_STEP
            try:
                self.ask(line, replace(asked, control=READ, di=items.CURRENT))
            except DeviceRefused:
                pass
            except (DeviceTimeout, DeviceMismatch):
                return False
            if line.settle():
                return False
        return True

    def _missed(self, line: Line, asked: Question) -> None:
        self._owing.add(asked.address)
        line.stay_quiet(QUIET_SHARE * self._link.timeout_s)

    def _no_answer(self, finder: ReplyFinder, silent: LineSilent) -> DeviceTimeout | DeviceMismatch:
        limit = f"within {self._link.timeout_s:g} s"
        if not silent.received:
            step = "check the meter's address and type, the wiring, the baud rate and parity (most are 2400 8E1)"
            return DeviceTimeout(f"no answer {limit}", next_step=step)
        if not finder.reason:
            step = "check baud rate and parity (most are 2400 8E1), termination, and that A and B are not exchanged"
            return DeviceMismatch(f"no frame among {len(silent.received)} bytes {limit}", next_step=step)
        return DeviceMismatch(f"no answer {limit}: {finder.reason}", next_step="look at the frames with --trace")


def refusal(data: bytes) -> DeviceRefused:
    """The error of an answer C1, C3 or C4. Its status bytes are the maker's own, save that most mean "no such data"."""
    status = data[1:] if len(data) > 1 else data
    return DeviceRefused(
        f"the meter refuses (status {status.hex().upper() or 'none'})",
        code=int.from_bytes(status[:2], "little"),
        status="BadNodeIdUnknown",
        next_step="compare identifier and its byte order (option identifier) with the meter's manual",
    )
