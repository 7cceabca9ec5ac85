"""Cuts what a wire brings into the frames of one language, in linear time. Knows no wire and no device.

Lines are cut at their end, a stream at what its frames begin with, and messages by pause where the channel says that one is over
(`end`). What is no frame is a Reject that says how many bytes, never which.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from device_profiles.strings import MAX_FRAME
from device_profiles.strings_codec import Heard, Language, Wait


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that are no frame of this language. `shown` is masked where its frames hold secrets."""

    size: int
    reason: str
    shown: bytes = b""


_BLANK = b"\r\n\0 "
_SHOWN = 64


class Decoder:
    """One stream of one language, in order."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._data = b""
        self._tail_of_long = False
        """Within a line that is longer than any frame: nothing of it counts until it ends."""
        self._start, self._start_width = language.start, language.start_width
        self._begin, self._begin_width = language.begin, language.begin_width
        self._wait = Wait(0)
        """Until when it is no use to look at what waits in a stream."""
        self._line = None if not language.is_text else re.compile(re.escape(language.line_end))

    @property
    def is_empty(self) -> bool:
        """Nothing waits for its end."""
        return not self._data

    def feed(self, data: bytes) -> Iterator[Heard | Refused]:
        """The frames that are whole by now; what may become one waits."""
        if self._line is not None:
            yield from self._lines(data, self._line)
        elif self.language.spec.pause_ms is not None:
            self._data += data
            if len(self._data) > MAX_FRAME:
                yield self._refuse(self._data, "longer than any frame")
                self._data = b""
        else:
            yield from self._stream(data, is_end=False)

    def end(self) -> Iterator[Heard | Refused]:
        """Nothing more comes, or a pause was long enough: what waited is a frame now, or none."""
        data, self._data, self._tail_of_long = self._data, b"", False
        if not data:
            return
        if self._line is not None:
            yield self._refuse(data, "a line without its end")
        elif self.language.spec.pause_ms is not None:
            yield self.language.whole(data) or self._refuse(data, "no such frame")
        else:
            self._data = data
            yield from self._stream(b"", is_end=True)

    def _lines(self, data: bytes, line_end: re.Pattern[bytes]) -> Iterator[Heard | Refused]:
        overlap = len(self._data) - len(self.language.line_end) + 1
        data = self._data + data
        at, search_from = 0, max(0, overlap)
        while (found := line_end.search(data, search_from)) is not None:
            line = data[at : found.start()].strip(_BLANK)
            at = search_from = found.end()
            was_long, self._tail_of_long = self._tail_of_long, False
            if line and not was_long:
                yield self._whole(line)
        self._data = data[at:]
        if len(self._data) > MAX_FRAME:
            if not self._tail_of_long:
                yield self._refuse(self._data, "longer than any frame")
            self._tail_of_long, self._data = True, self._data[-len(self.language.line_end) :]

    def _whole(self, line: bytes) -> Heard | Refused:
        if len(line) > MAX_FRAME:
            return self._refuse(line, "longer than any frame")
        return self.language.whole(line) or self._refuse(line, "no such frame")

    def _stream(self, data: bytes, *, is_end: bool) -> Iterator[Heard | Refused]:
        known = len(self._data)
        data = self._data + data
        if len(data) < self._wait.size and not is_end and not self._has_come(data, known):
            self._data = data
            return
        text = data.decode("latin-1")
        at, size, noise = 0, len(data), 0
        wait = Wait(0)
        while at < size:
            begin = self._next(data, at, is_end=is_end)
            noise += begin - at
            at = begin
            if at == size or (not is_end and size - at < self._start_width and not self._start.match(data, at)):
                break
            found = self.language.at(data, text, at)
            if isinstance(found, Wait) and not is_end:
                wait = found
                break
            if not isinstance(found, Heard):
                first, at = at, self._after(data, at)
                noise += at - first
                continue
            yield from self._noise(data[at - noise : at])
            noise = 0
            yield found
            at += len(found.raw)
        yield from self._noise(data[at - noise : at])
        self._data, self._wait = data[at:], wait

    def _next(self, data: bytes, at: int, *, is_end: bool) -> int:
        """Where a frame may begin, from `at` on: at the end of the data a part of its begin is enough."""
        if (match := self._begin.search(data, at)) is not None:
            last = match.start()
        else:
            last = len(data)
        near = max(at, len(data) - self._begin_width + 1)
        if near >= last:
            return last
        if (match := self._start.search(data, near, last)) is not None:
            return match.start()
        return last if is_end or last < len(data) else max(near, len(data) - self._start_width + 1)

    def _after(self, data: bytes, at: int) -> int:
        """Where to go on behind what is no frame: the same bytes once more are none either, as in rows of begins."""
        refused = data[at : at + MAX_FRAME]
        if len(refused) == MAX_FRAME and (match := self._begin.search(data, at + 1)) is not None:
            step = match.start() - at
            while data.startswith(refused, at + step):
                at += step
        return at + 1

    def _has_come(self, data: bytes, known: int) -> bool:
        """Something that is waited for stands in what is new."""
        return any(data.find(one, max(0, known - len(one) + 1)) >= 0 for one in self._wait.until)

    def _noise(self, data: bytes) -> Iterator[Refused]:
        """Line ends and padding between frames are none."""
        if data.strip(_BLANK):
            yield self._refuse(data, "no such frame")

    def _refuse(self, data: bytes, reason: str) -> Refused:
        shown = data[:_SHOWN]
        return Refused(len(data), reason, b"*" * len(shown) if self.language.spec.has_secrets else shown)
