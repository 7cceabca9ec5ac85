"""Asks DL/T 645 meters on a line: finds the answer among the bytes, gathers follow-on frames, and takes no late answer for one.

A good answer repeats address and identifier, so that of another meter or another value is known. What it does not tell is to
which of two equal questions it belongs, and an error repeats no identifier at all. So a meter that owes an answer is asked for
something else first: it answers in order, and what answers that proves that nothing older is still to come.
Source: DL/T 645-2007, 5.4 (wake-up bytes, delays), 7.1 and 7.2 (read, follow-on data, errors); DL/T 645-1997, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from device_profiles.errors import DeviceMismatch, DeviceRefused, DeviceTimeout
from drivers import bcd
from drivers.base import LinkConfig
from drivers.frames import Reject, Verdict
from drivers.serial_line import Line, LineInterrupted, LineSilent

from . import frame as wire

GAP_CHARS = 1.0
"""Characters of silence before a request. The standard asks for none: frames are told by their start, length and end, and the
wake-up bytes give a driver of the bus its time; one character lets the meter that spoke last let go of it.
"""
QUIET_SHARE = 0.5
"""Part of the time limit that a line stays quiet after a timeout."""
FORGET_TIMES = 20
"""An answer that is later than so many time limits (and 5 s) does not come any more."""
READ_ADDRESS = 0x13
_LONGEST_READ = wire.HEAD + 2 + wire.MAX_READ + 4
_LONGEST_NUMBER = wire.HEAD + 2 + 10 + 4
_BROADCAST_PAUSE_S = 0.5
"""Meters carry out what is meant for all within the longest delay that the standard gives them for an answer."""
_MOST_FRAMES = 64
_MOST_DATA = 4096
_STATUSES = ((0x02, "BadNodeIdUnknown"), (0x04, "BadUserAccessDenied"))


@dataclass(frozen=True, slots=True)
class Whose:
    """Who answered. `number` is the answer's own address, with A where the meter repeats what it was asked; `is_alone` when
    nothing was heard after it; `says` the number that stands in its data.
    """

    number: str
    is_alone: bool
    says: str | None


@dataclass(frozen=True, slots=True)
class Edition:
    """Where -1997 and -2007 differ in a read."""

    name: str
    di_size: int
    read: int
    more: int
    counts_frames: bool
    """A follow-on request and its answer end with a frame number."""
    energy: int
    """The total that every meter has, and no two have alike."""
    energies: int
    """The block of it and its tariffs."""
    probes: tuple[int, ...]
    """Identifiers that nearly every meter answers, in the order of trying."""


EDITION_2007 = Edition(
    "dlt645-2007",
    4,
    0x11,
    0x12,
    True,
    0x00010000,
    0x0001FF00,
    (0x04000401, 0x04000101, 0x04000102, 0x00010000, 0x02010100, 0x00000000),
)
EDITION_1997 = Edition(
    "dlt645-1997", 2, 0x01, 0x02, False, 0x9010, 0x901F, (0xC032, 0xC010, 0xC011, 0x9010, 0xB611, 0x9020)
)


class ReplyFinder:
    """Finds the answer to one read in what a line brings; other meters' frames, our echo and noise are passed over."""

    def __init__(self, address: str, control: int, di: bytes) -> None:
        self._address = address
        self._control = control
        self._di = di
        self._at = 0
        self.answer: wire.Frame | None = None
        self.passed: list[wire.Frame] = []
        """Replies that are not the answer."""
        self.reason = ""

    def __call__(self, data: bytes) -> bytes | int:
        """The answer's bytes, or how many more it takes at least. To be called with ever more of the same bytes."""
        while (found := wire.PATTERN.search(data, self._at)) is not None:
            at = found.start()
            matched = wire.match(data, at)
            if matched is Verdict.MORE:
                self._at = at
                return self._missing(data, found.end() - 1)
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
        self._at = max(self._at, len(data) - len(data[len(data.rstrip(b"\xfe")) :]))
        return wire.HEAD + 2

    def _missing(self, data: bytes, first: int) -> int:
        have = len(data) - first
        size = wire.HEAD + 2 + (data[first + 9] if have >= wire.HEAD else 0)
        return max(1, size - have)

    def _answers(self, frame: wire.Frame) -> bool:
        if not frame.is_reply:
            return False  # our own request, or another master's
        if not fits(self._address, frame.address):
            self.reason = self.reason or f"meter {frame.address} answered"
        elif frame.control & 0x1F != self._control:
            self.reason = f"control {frame.control:02X} where {self._control | wire.REPLY:02X} is due"
        elif not frame.is_error and frame.data[: len(self._di)] != self._di:
            given, due = (data[::-1].hex().upper() for data in (frame.data[: len(self._di)], self._di))
            self.reason = f"identifier {given} where {due} was asked"
        else:
            return True
        self.passed.append(frame)
        return False


def fits(asked: str, given: str) -> bool:
    """True where a reply from `given` can answer a question to `asked`, in which A stands for any digit."""
    return asked == given or all(one in ("A", other) for one, other in zip(asked, given, strict=True))


class Doubts:
    """Which identifiers a meter still owes: (identifier, since), oldest first."""

    def __init__(self, forget_s: float) -> None:
        self._forget_s = forget_s
        self._owed: dict[str, list[tuple[bytes, float]]] = {}

    def owe(self, address: str, di: bytes, now: float) -> None:
        self._owed.setdefault(address, []).append((di, now))

    def owed(self, address: str, now: float) -> list[bytes]:
        """Debts older than `forget_s` are forgotten."""
        kept = [(di, since) for di, since in self._owed.get(address, ()) if now - since < self._forget_s]
        self._owed[address] = kept
        return [di for di, _ in kept]

    def came(self, address: str, frame: wire.Frame) -> None:
        """A late answer was seen: it, and all debts before it, are settled. An error settles the oldest."""
        debts = self._owed.get(address, [])
        for index, (di, _) in enumerate(debts):
            if frame.is_error or frame.data[: len(di)] == di:
                self._owed[address] = debts[index + 1 :]
                return

    def settled(self, address: str) -> None:
        self._owed.pop(address, None)


class Master:
    """Reads identifiers; runs in the line's thread."""

    def __init__(self, link: LinkConfig, edition: Edition) -> None:
        self._link = link
        self._edition = edition
        self._doubts = Doubts(max(5.0, FORGET_TIMES * link.timeout_s))

    def read(self, line: Line, address: str, di: int, rest: bytes = b"") -> bytes:
        """What the meter holds under an identifier, the identifier taken away; `rest` follows it in the question.

        Raises DeviceError, LinkError, LineInterrupted.
        """
        edition = self._edition
        key = di.to_bytes(edition.di_size, "little")
        self._clear(line, address, key)
        reply = self._once(line, address, edition.read, key + rest, key)
        data = bytearray(reply.data[edition.di_size :])
        number = 0
        while reply.has_more:
            number += 1
            if number > _MOST_FRAMES or len(data) > _MOST_DATA:
                raise DeviceMismatch(
                    f"the answer to {di:0{2 * edition.di_size}X} has no end: {number} frames, {len(data)} bytes",
                    next_step="ask for single values instead of the block",
                )
            tail = bytes((number,)) if edition.counts_frames else b""
            reply = self._once(line, address, edition.more, key + tail, key)
            part = reply.data[edition.di_size :]
            if tail and part[-1:] != tail:
                raise DeviceMismatch(
                    f"follow-on frame {part[-1:].hex()} came where {tail.hex()} was asked",
                    next_step="look at the frames with --trace",
                )
            data += part[:-1] if tail else part
        return bytes(data)

    def command(self, line: Line, address: str, control: int, data: bytes, shown: bytes) -> bytes:
        """Sends something to be done, once, and gives the data of its confirmation. A trace sees `shown` as the data.

        Raises DeviceRefused; any other DeviceError or LinkError where it is not known whether the meter did it.
        """
        self._clear(line, address, b"")
        return self._once(line, address, control, data, b"", shown=shown).data

    def tell_all(self, line: Line, control: int, data: bytes) -> None:
        """A broadcast, which nobody answers. Raises DeviceTimeout, LinkError."""
        line.settle()
        line.send(wire.encode(wire.Frame(wire.BROADCAST, control, data)))
        line.stay_quiet(_BROADCAST_PAUSE_S)

    def address(self, line: Line, asked: str, di: int | None = None) -> Whose:
        """Who answers to an address with A in it, asked for its number or for another identifier.

        Raises DeviceError, LinkError: DeviceMismatch where several answers spoil each other.
        """
        size = self._edition.di_size
        number = self._edition.probes[0]
        key = (number if di is None else di).to_bytes(size, "little")
        self._settle(line, asked)
        reply = self._once(line, asked, self._edition.read, key, key, any_answer=True)
        says = bcd.digits(reply.data[size : size + 6]) if not reply.is_error and di in (None, number) else None
        if "A" not in asked:
            return Whose(reply.address, True, says)
        line.stay_quiet(self._link.timeout_s)
        return Whose(reply.address, not line.settle(), says)

    def read_address(self, line: Line) -> Whose:
        """Who stands alone on the line, by the 2007 edition's own question for that (13H). Raises DeviceError, LinkError."""
        self._settle(line, wire.WILDCARD)
        reply = self._once(line, wire.WILDCARD, READ_ADDRESS, b"", b"", any_answer=True)
        says = bcd.digits(reply.data[:6]) if not reply.is_error and len(reply.data) >= 6 else None
        line.stay_quiet(self._link.timeout_s)
        return Whose(reply.address if "A" not in reply.address or says is None else says, not line.settle(), says)

    def _clear(self, line: Line, address: str, key: bytes) -> None:
        """Makes sure that no owed answer can be taken for the next one. Raises DeviceError while that is not sure."""
        self._settle(line, address)
        owed = self._doubts.owed(address, line.clock.now())
        if not owed:
            return
        for probe in self._edition.probes:
            asked = probe.to_bytes(self._edition.di_size, "little")
            if asked in owed or asked == key:
                continue
            self._once(line, address, self._edition.read, asked, asked, in_doubt=True)
            self._doubts.settled(address)
            self._settle(line, address)
            return
        raise DeviceMismatch(
            f"the meter owes {len(owed)} answers, and nothing is left to ask that they could not be taken for",
            next_step="raise timeout_s: the meter is slower than that",
        )

    def _settle(self, line: Line, address: str) -> None:
        stray = line.settle()
        if stray:
            finder = ReplyFinder(address, -1, b"")
            finder(stray)
            self._cross_off(address, finder)

    def _cross_off(self, address: str, finder: ReplyFinder) -> None:
        for frame in finder.passed:
            if fits(address, frame.address):
                self._doubts.came(address, frame)

    def _once(
        self, line: Line, address: str, control: int, data: bytes, key: bytes,
        *, in_doubt: bool = False, any_answer: bool = False, shown: bytes | None = None,
    ) -> wire.Frame:  # fmt: skip
        """One request and its good answer. `in_doubt`: an error may be a late one, and is not believed.
        `any_answer`: an error is as good, because only who answers is asked.
        """
        finder = ReplyFinder(address, control, key)
        if control != self._edition.read:
            line.settle()
        public = None if shown is None else wire.encode(wire.Frame(address, control, shown))
        line.send(wire.encode(wire.Frame(address, control, data)), shown=public)
        try:
            line.receive(finder, _LONGEST_NUMBER if any_answer else _LONGEST_READ, self._link.timeout_s)
        except LineSilent as silent:
            self._missed(line, address, key, finder, is_search=any_answer)
            raise self._no_answer(finder, silent) from silent
        except LineInterrupted:
            self._missed(line, address, key, finder)
            raise
        self._cross_off(address, finder)
        assert finder.answer is not None
        if not finder.answer.is_error or any_answer:
            return finder.answer
        if in_doubt:
            self._doubts.came(address, finder.answer)
            self._doubts.owe(address, key, line.clock.now())
            raise DeviceMismatch(
                "an error came that may belong to an older question", next_step="nothing: the meter is asked again"
            )
        raise refusal(finder.answer.data)

    def _missed(self, line: Line, address: str, key: bytes, finder: ReplyFinder, *, is_search: bool = False) -> None:
        self._cross_off(address, finder)
        self._doubts.owe(address, key, line.clock.now())
        if not is_search or finder.reason:  # a late answer of whom nobody asks for any more fits no other number
            line.stay_quiet(QUIET_SHARE * self._link.timeout_s)

    def _no_answer(self, finder: ReplyFinder, silent: LineSilent) -> DeviceTimeout | DeviceMismatch:
        limit = f"within {self._link.timeout_s:g} s"
        if not silent.received:
            step = "check the meter's number, the wiring (A and B), the baud rate and parity (most are 2400 8E1)"
            return DeviceTimeout(f"no answer {limit}", next_step=step)
        if not finder.reason:
            step = "check baud rate and parity (most are 2400 8E1), termination, and that A and B are not exchanged"
            return DeviceMismatch(f"no frame among {len(silent.received)} bytes {limit}", next_step=step)
        return DeviceMismatch(f"no answer {limit}: {finder.reason}", next_step="look at the frames with --trace")


def refusal(data: bytes) -> DeviceRefused:
    """The error of an answer D1 or C1: what its bits say (`frame.ERRORS_2007`), and the status that a point takes."""
    code = data[0] if data else 0x01
    said = (
        ", ".join(text for bit, text in enumerate(wire.ERRORS_2007) if code >> bit & 1) or "an error without a reason"
    )
    status = next((name for bit, name in _STATUSES if code & bit), "BadDeviceFailure")
    step = (
        "check the password and its class in the device's secret, and that the meter lets itself be programmed"
        if status == "BadUserAccessDenied"
        else "compare the identifier with the meter's manual"
    )
    return DeviceRefused(
        f"the meter refuses: {said} (ERR {code:02X})", code=code, status=status, next_step=step
    )  # fmt: skip
