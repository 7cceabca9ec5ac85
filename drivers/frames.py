"""Frames found in a stream of bytes, for people and for `plantroom decode`: what each protocol's frame decoder gives.

A decoder needs no device, no profile and no question that the bytes would answer. It never raises for bytes, whatever they are,
takes linear time, and says of every byte that it was part of a frame, of a frame that is wrong, or of nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Protocol


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes [start, end) of a frame, and what they say."""

    start: int
    end: int
    name: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """One value in a frame, scaled as the protocol says it. `unit` is a UCUM code; `status` "" is good."""

    id: str
    value: float | int | bool | str | None
    unit: str | None = None
    status: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One right frame. `at` is the offset of its first byte in the stream."""

    at: int
    raw: bytes
    address: str | None = None
    control: str | None = None
    values: tuple[Value, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the frame says, JSON-ready."""
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Reject:
    """Bytes that are no right frame. `error` is one word: `checksum length truncated format noise` or the protocol's own."""

    at: int
    raw: bytes
    error: str
    expected: str | None = None
    got: str | None = None
    detail: str = ""


class FrameDecoder(Protocol):
    """One stream, in order."""

    def feed(self, data: bytes) -> Iterator[Frame | Reject]:
        """What the stream holds up to here; incomplete frames wait for more."""
        ...

    def end(self) -> Iterator[Frame | Reject]:
        """What is left when nothing more comes."""
        ...


class Verdict(Enum):
    """What a `match` says of bytes that are no whole frame."""

    NOTHING = "nothing"
    MORE = "more"


NOTHING: Final = Verdict.NOTHING
"""No frame begins here."""
MORE: Final = Verdict.MORE
"""A frame may begin here, and needs more bytes to be known."""

Matched = Frame | Reject | Verdict
Match = Callable[[bytes, int], Matched]
"""What begins at an index of these bytes. `Frame.at` and `Reject.at` are that index. Costs at most one frame's length."""


class Scanner:
    """A FrameDecoder from a `match` and a pattern of `width` bytes that every frame begins with.

    A right frame is found wherever it begins, also inside of what looked like another one. What looked like a frame and is none
    ends where the next right one begins. Bytes that are in nothing are told as one `noise` for each run of them; of more than
    `keep` bytes only the first are kept. `size` is how many bytes a frame that begins at an index says it has, None where its
    head is not whole; with it, what the end of the stream cuts off is told as `truncated` with what is missing.
    """

    def __init__(
        self,
        match: Match,
        start: re.Pattern[bytes],
        *,
        width: int = 1,
        longest: int = 512,
        keep: int = 64,
        size: Callable[[bytes, int], int | None] = lambda _data, _at: None,
    ) -> None:
        self._match = match
        self._start = start
        self._width = width
        self._longest = longest
        self._keep = keep
        self._size = size
        self._data = b""
        self._within = 0
        """How far the wrong frame that the data begin with was looked through for a right one."""
        self.base = 0
        """Offset in the stream of the bytes that `match` is given."""
        self._noise_at = 0
        self._noise = 0
        self._noise_bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        yield from self._scan(data, is_end=False)

    def end(self) -> Iterator[Frame | Reject]:
        """See FrameDecoder."""
        yield from self._scan(b"", is_end=True)
        yield from self._flush()

    def _scan(self, data: bytes, *, is_end: bool) -> Iterator[Frame | Reject]:
        data = self._data + data
        at = run = 0  # from `run` on there is nothing
        size, within, nothing = len(data), self._within, b""
        self._within = 0
        while at < size:
            found = self._start.search(data, at)
            if found is None:
                at = size if is_end else max(at, size - self._width + 1)
                break
            at = found.start()
            if nothing and data.startswith(nothing, at):
                at += 1
                continue
            matched = self._match(data, at)
            if matched is MORE and not is_end and size - at < self._longest:
                break
            if matched is MORE and is_end and (cut := self._cut_off(data, at, after_noise=run < at or self._noise > 0)):
                matched = cut
            if isinstance(matched, Verdict):
                nothing = data[at : at + self._longest] if size - at >= self._longest else b""
                at += 1
                continue
            nothing = b""
            if isinstance(matched, Reject):
                first = at + max(1, within if at == 0 else 0)
                inner, looked = self._inner(data, first, at + len(matched.raw), is_end=is_end)
                if inner is MORE:
                    self._within = looked - at
                    break
                if inner is None:
                    matched = replace(matched, raw=data[at:looked])
            self._skip(data, run, at)
            yield from self._flush()
            yield replace(matched, at=matched.at + self.base)
            at = run = at + max(1, len(matched.raw))
        self._skip(data, run, at)
        self._data = data[at:]
        self.base += at

    def _inner(self, data: bytes, first: int, last: int, *, is_end: bool) -> tuple[Verdict | None, int]:
        """(None, where a right frame begins within [first, last)); (NOTHING, _); (MORE, from where on)."""
        nothing = b""
        while (found := self._start.search(data, first)) is not None and found.start() < last:
            at = found.start()
            first = at + 1
            if nothing and data.startswith(nothing, at):
                continue
            matched = self._match(data, at)
            if isinstance(matched, Frame):
                return None, at
            if matched is MORE and not is_end and len(data) - at < self._longest:
                return MORE, at
            nothing = data[at : at + self._longest] if len(data) - at >= self._longest else b""
        known = is_end or len(data) - last >= self._width - 1
        return (NOTHING if known else MORE), max(first, min(last, len(data) - self._width))

    def _cut_off(self, data: bytes, at: int, *, after_noise: bool) -> Reject | None:
        """What the end of the stream cut off; None for a few bytes after noise, which may as well be more of it."""
        said = self._size(data, at)
        if said is None and after_noise:
            return None
        got = len(data) - at
        missing = "before its length is known" if said is None else f"where {said} are due"
        expected = None if said is None else str(said)
        return Reject(at, data[at:], "truncated", expected, str(got), f"a frame ends after {got} bytes, {missing}")

    def _skip(self, data: bytes, first: int, last: int) -> None:
        if first == last:
            return
        if not self._noise:
            self._noise_at = self.base + first
        self._noise += last - first
        room = self._keep - len(self._noise_bytes)
        if room > 0:
            self._noise_bytes += data[first : min(last, first + room)]

    def _flush(self) -> Iterator[Reject]:
        if self._noise:
            detail = f"{self._noise} bytes that are part of no frame"
            yield Reject(self._noise_at, bytes(self._noise_bytes), "noise", got=str(self._noise), detail=detail)
            self._noise = 0
            self._noise_bytes.clear()
