"""The shape of an answer that was decoded once, so that the next one of the same shape is one comparison and one unpack. Pure.

Answers to the same ReadPropertyMultiple differ in the octets of their values only, as long as no value changes its length. A
template holds where those lie; bytes that differ anywhere else do not fit, and are decoded tag by tag.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from . import tags
from .codec import Ref

_CODES = {
    (tags.REAL, 4): "f", (tags.DOUBLE, 8): "d", (tags.BITS, 2): "xB",
    (tags.UNSIGNED, 1): "B", (tags.UNSIGNED, 2): "H", (tags.UNSIGNED, 4): "I",
    (tags.ENUMERATED, 1): "B", (tags.ENUMERATED, 2): "H", (tags.ENUMERATED, 4): "I",
    (tags.SIGNED, 1): "b", (tags.SIGNED, 2): "h", (tags.SIGNED, 4): "i",
}  # fmt: skip


class Template:
    """`unpack(answer)`: the values in the order asked, a bit string of up to 8 bits as its octet; None when it does not fit."""

    __slots__ = ("_expected", "_mask", "_size", "_unpack")

    def __init__(self, answer: bytes, spans: Sequence[tuple[int, int, str]]) -> None:
        mask = bytearray(b"\xff" * len(answer))
        codes = [">"]
        at = 0
        for first, last, code in spans:
            changing = last - 1 if code == "xB" else first  # the octet before the bits says how many they are
            mask[changing:last] = bytes(last - changing)
            codes += (f"{first - at}x", code)
            at = last
        codes.append(f"{len(answer) - at}x")
        self._size = len(answer)
        self._mask = int.from_bytes(mask)
        self._expected = int.from_bytes(answer) & self._mask
        self._unpack = struct.Struct("".join(codes)).unpack

    def unpack(self, answer: bytes) -> tuple[int | float, ...] | None:
        if len(answer) != self._size or int.from_bytes(answer) & self._mask != self._expected:
            return None
        return self._unpack(answer)


def learn(answer: bytes, refs: Sequence[Ref]) -> Template | None:
    """The template of an answer that was found to be right for `refs`; None when it has errors, text, or several values a
    property. Raises BacnetError for bytes that are no answer."""
    spans: list[tuple[int, int, str]] = []
    at, depth, properties = 0, 0, 0
    while at < len(answer):
        tag = tags.read_tag(answer, at, len(answer))
        at = tag.at
        if tag.is_opening or tag.is_closing:
            depth += 1 if tag.is_opening else -1
            if tag.is_opening and (depth > 2 or tag.number not in (1, 4)):
                return None
            if len(spans) != properties:
                return None  # a property of none or of several values, which another one may make up for
            properties += tag.is_opening and depth == 2
            continue
        at += tag.size
        if depth == 2:
            code = None if tag.is_context else _CODES.get((tag.number, tag.size))
            if code is None:
                return None
            spans.append((tag.at, at, code))
    return Template(answer, spans) if len(spans) == len(refs) else None
