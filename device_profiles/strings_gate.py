"""What is told of a frame before it is taken apart: its fixed places as one pattern, its length, what its end is. Pure.

Almost all noise ends here, at the speed of `re`; only what is left is walked field by field.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .strings import MAX_FRAME, FieldSpec

_WIDEST = 48
"""Bytes of a frame's begin that the pattern looks at."""
_CLASSES = {
    "decimal": rb"[0-9+\-. ]", "hex": rb"[0-9A-Fa-f]", "bits": rb"[01]",
    "bcd": b"[%s]" % b"".join(rb"\x%x0-\x%x9" % (tens, tens) for tens in range(10)),
}  # fmt: skip
"""What one byte of a field may be; any where nothing stands here."""


@dataclass(frozen=True, slots=True)
class Part:
    """A literal, or a field."""

    text: str = ""
    name: str = ""
    spec: FieldSpec | None = None

    @property
    def size(self) -> int | None:
        """Characters; None where it is open."""
        return len(self.text) if self.spec is None else self.spec.size


@dataclass(frozen=True, slots=True)
class Gate:
    """Of one frame."""

    begin: re.Pattern[bytes]
    """The bytes that it may begin with: its first `width`, and what may follow them of an open number."""
    width: int
    length: tuple[int, FieldSpec] | None
    """Where its length stands."""
    is_fixed: bool
    """It always has `least` bytes."""
    least: int
    """Characters that it has at least."""
    literals: tuple[tuple[int, str], ...]
    """(offset, text) at fixed places."""
    tail: tuple[tuple[int, bytes], ...]
    """(offset from the end, bytes) at fixed places behind what is open."""

    def size(self, data: bytes, at: int) -> int | None:
        """Bytes of the frame that begins at `at`, whose first `width` are there; None where nothing says it, 0 for none."""
        if self.length is None:
            return self.least if self.is_fixed else None
        offset, spec = self.length
        if offset + (spec.size or 0) > self.width:
            return None
        field = data[at + offset : at + offset + (spec.size or 0)]
        if spec.as_ == "uint":
            value = int.from_bytes(field, spec.order)
        else:
            try:
                value = int(field, 16 if spec.as_ == "hex" else 10)
            except ValueError:
                return 0
        size = value + (spec.total or 0)
        return size if self.least <= size <= MAX_FRAME else 0

    def ends(self, data: bytes, end: int) -> bool:
        """What stands before `end` may be the end of this frame."""
        return all(data.startswith(literal, end - back) for back, literal in self.tail)


def gate_of(parts: Sequence[Part], encoding: str) -> Gate:
    """The gate of a frame; its pattern is meant for text of one byte a character."""
    literals, length, offset = [], None, 0
    begin, width = b"", 0
    for index, part in enumerate(parts):
        if part.size is None:
            begin += _open_pattern(part, parts[index + 1 :]) if offset == width else b""
            break
        if part.spec is None:
            literals.append((offset, part.text))
        elif part.spec.total is not None:
            length = (offset, part.spec)
        if offset == width and (room := min(part.size, _WIDEST - width)) > 0:
            begin += _pattern(part, room, encoding)
            width += room
        offset += part.size
    tail, back = [], 0
    for part in reversed(parts):
        if part.size is None:
            break
        back += part.size
        if part.spec is None:
            tail.append((back, part.text.encode("latin-1", "replace")))
    least = sum(part.size or 0 for part in parts)
    is_fixed = all(part.size is not None for part in parts)
    return Gate(re.compile(begin, re.DOTALL), width, length, is_fixed, least, tuple(literals), tuple(tail))


def _open_pattern(part: Part, rest: Sequence[Part]) -> bytes:
    """Of an open number up to the literal behind it, or to where the data end."""
    if part.spec is None or part.spec.as_ not in _CLASSES or not rest or not rest[0].text:
        return b""
    literal = rest[0].text.encode("latin-1", "replace")
    known = (_CLASSES[part.spec.as_], MAX_FRAME, re.escape(literal), len(literal) - 1)
    return b"%s{0,%d}(?:%s|.{0,%d}\\Z)" % known


def _pattern(part: Part, size: int, encoding: str) -> bytes:
    """The first `size` bytes of a part: never narrower than what its field takes."""
    if part.spec is None:
        return re.escape(part.text[:size].encode("latin-1", "replace"))
    spec = part.spec
    if spec.total is not None and spec.as_ == "uint" and size == spec.size:
        high = [b"\\x00"] * (size - 2) + [b"[\\x00-\\x%02x]" % (MAX_FRAME >> 8)] * (size > 1)
        each = [*high, b"."]
        return b"".join(each if spec.order == "big" else reversed(each))
    ahead = b""
    if spec.words is not None and size == spec.size and all(spec.words):
        words = b"|".join(re.escape(word.encode(encoding, "replace")) for word in spec.words)
        ahead = b"(?=[ \\x00\\t]*+(?:%s))" % words
    if spec.among and spec.as_ == "uint" and spec.size == 1:
        return b"[%s]" % b"".join(b"\\x%02x" % number for number in spec.among if 0 <= number < 256)
    return ahead + b"%s{%d}" % (_CLASSES.get(spec.as_, b"."), size)
