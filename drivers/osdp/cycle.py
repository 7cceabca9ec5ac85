"""The poll cycle of one line: one piece of work that holds the line's thread and speaks to one reader after the other.

Whatever else is wanted of a reader is handed over as an order and goes out in its next turn. A reader that is gone costs one
short wait now and then (`reader`). What the readers told goes to `tell`, in this thread. Knows no event and no profile.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from device_profiles.errors import ConfigError, DeviceTimeout
from drivers.base import LinkConfig
from drivers.frames import Frame, Reject, Verdict
from drivers.serial_line import Line, LineSilent

from . import frame as wire
from .facts import Phase, Told
from .frames import Decoder
from .reader import Reader

GAP_CHARS = 2.0
"""Characters of silence before a command (SIA OSDP 2.2, 5.6)."""
REPLY_S = 0.2
"""A reader answers within this time (SIA OSDP 2.2, 5.7)."""
CYCLE_S = 0.2
"""Each reader is polled at least so often."""
TARGET_S = 0.08
"""A reader is polled so often where the line has time: half of what is allowed, and more."""
PROBE_S = 0.06
"""How long an answer to a probe is waited for, but for every third one: readers answer within some milliseconds."""
REPLY_CHARS = 48
_IDLE_S = 0.5


@dataclass(slots=True)
class Pace:
    """How well the readers are polled, since the last look."""

    polls: int = 0
    longest_s: float = 0.0
    """The longest time between two polls of one reader that answers."""


class Finder:
    """Finds the answer to the command under way in what a line brings; whatever else comes is passed over."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._start = re.compile(
            b"(?s)\xff?S%s.[\x00-\x05][\x00-\x0f]" % re.escape(bytes((wire.REPLY | reader.address,)))
        )
        self._at = 0
        self.reply: wire.Frame | None = None
        self.reason = ""

    def __call__(self, data: bytes) -> bytes | int:
        """See drivers.serial_line.Finder."""
        while (found := self._start.search(data, self._at)) is not None:
            at = found.start()
            matched = wire.match(data, at)
            if matched is Verdict.MORE:
                self._at = at
                return max(1, (wire.size(data, at) or 0) - (len(data) - at))
            if isinstance(matched, Verdict | Reject):
                self.reason = self.reason or (matched.detail if isinstance(matched, Reject) else "")
                self._at = at + 1
                continue
            self._at = at + len(matched[1])
            if not (why := self._reader.foreign(matched[0])):
                self.reply = matched[0]
                return matched[1]
            self.reason = why
        return max(1, wire.HEAD + 3 - len(data)) if len(data) < wire.HEAD + 3 else 1


class Cycle:
    """`run` in the line's thread until `stop`; `attend`, `forget`, `post` from any thread."""

    def __init__(self, link: LinkConfig, tell: Callable[[Reader, list[Told]], None]) -> None:
        self._limit_s = min(link.timeout_s, REPLY_S)
        self._tell = tell
        self._readers: tuple[Reader, ...] = ()
        self._posted: deque[Callable[[Line], None]] = deque()
        self._wake = threading.Event()
        self._stopped = False
        self.pace: dict[int, Pace] = {}
        """By address."""

    @property
    def readers(self) -> Iterable[Reader]:
        return self._readers

    def attend(self, reader: Reader) -> None:
        """This reader is polled from now on."""
        self.post(lambda _line: self._set(*self._readers, reader))

    def forget(self, reader: Reader) -> None:
        self.post(lambda _line: self._set(*(other for other in self._readers if other is not reader)))

    def follow(self, line: Line, reader: Reader, address: int, baud: int) -> None:
        """After COMSET: the reader at its new address, and the whole line at its new rate. In the line's thread."""
        reader.address = address
        if baud != line.link.baud:
            line.tune(replace(line.link, baud=baud), GAP_CHARS)
        reader.begin_anew(line.clock.now())

    def post(self, call: Callable[[Line], None]) -> None:
        """Runs in the line's thread, between two commands."""
        self._posted.append(call)
        self._wake.set()

    def stop(self) -> None:
        """Ends `run` after the command under way."""
        self._stopped = True
        self._wake.set()

    def run(self, line: Line) -> None:
        """Raises LinkError, LineInterrupted."""
        while not self._stopped:
            self._wake.clear()
            if (wait_s := self.step(line)) > 0:
                self._wake.wait(wait_s)

    def step(self, line: Line) -> float:
        """One command to the reader whose turn it is; how long nobody's turn is (seconds), at most. Raises LinkError,
        LineInterrupted.
        """
        while self._posted:
            self._posted.popleft()(line)
        reader = min(self._readers, key=lambda one: one.due, default=None)
        wait_s = _IDLE_S if reader is None else reader.due - line.clock.now()
        if reader is None or wait_s > 0:
            return min(wait_s, _IDLE_S)
        self.turn(line, reader)
        return 0.0

    def _set(self, *readers: Reader) -> None:
        self._readers = readers

    def turn(self, line: Line, reader: Reader) -> bool:
        """One command to one reader, and its answer: True when anything came. In the line's thread. Raises LinkError,
        LineInterrupted.
        """
        is_probe = reader.phase is Phase.GONE
        try:
            command = reader.next()
        except ConfigError as error:
            self._told(reader, reader.keyless(line.clock.now(), error.what))
            return False
        self._note(reader, line.clock.now(), is_probe)
        finder = Finder(reader)
        try:
            line.settle()
        except DeviceTimeout as babble:
            self._told(reader, reader.missed(line.clock.now(), babble.what))
            return True
        line.send(command)
        sent_at = line.clock.now()
        limit_s = min(PROBE_S, self._limit_s) if is_probe and reader.probes % 3 else self._limit_s
        try:
            line.receive(finder, REPLY_CHARS, limit_s)
        except LineSilent as silent:
            told = reader.missed(line.clock.now(), self._why(finder, silent, limit_s))
            came = bool(silent.received)
        else:
            came = True
            assert finder.reply is not None
            now = line.clock.now()
            reader.due = sent_at + TARGET_S
            told = reader.heard(finder.reply, now)
            if reader.has_more:
                reader.due = min(reader.due, now)
        self._told(reader, told)
        return came

    def _told(self, reader: Reader, told: list[Told]) -> None:
        if told:
            self._tell(reader, told)

    def _note(self, reader: Reader, now: float, is_probe: bool) -> None:
        pace = self.pace.setdefault(reader.address, Pace())
        pace.polls += 1
        if not is_probe and reader.facts.online and reader.polled:
            pace.longest_s = max(pace.longest_s, now - reader.polled)
        reader.polled = now

    def _why(self, finder: Finder, silent: LineSilent, limit_s: float) -> str:
        limit = f"within {limit_s * 1000:.0f} ms"
        if not silent.received:
            return f"no answer {limit}"
        return f"no answer {limit}: {finder.reason or _others(silent.received)}"


def _others(received: bytes) -> str:
    """Who spoke instead."""
    frames = [one for one in Decoder().feed(received[: wire.LONGEST]) if isinstance(one, Frame)]
    others = sorted({one.address for one in frames if one.facts["is"] == "reply" and one.address})
    return f"reader {', '.join(others)} answered" if others else f"no frame of its own among {len(received)} bytes"
