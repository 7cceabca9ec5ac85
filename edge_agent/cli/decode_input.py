"""Bytes for `plantroom decode`: hexadecimal text as people paste it; standard input that is such text, or bytes as they are.

Text: digits of either case with spaces, line ends, commas, semicolons, colons, dashes, bars, dots, brackets or quotes between
them, `0x` or `\\x` before each byte or before all, `h` behind each. Standard input is taken for bytes as they are where one of
its first is no printable character: no right frame of a field protocol is made of printable characters alone. Lines of JSON are a
trace (`.osdpcap` of SIA's OSDP tools): each one's `data` is such text.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator

_BETWEEN = b" \t\r\n\f\v\0,;:-_|.[](){}<>\"'"
_SEPARATORS = tuple(bytes((sign,)) for sign in _BETWEEN)
_CHUNK = 65536
_ENOUGH = 16
"""So many printable characters at the begin of standard input make it text."""
_SHORT = re.compile(rb"(?<![0-9a-fA-F])(?:0x|\\x)([0-9a-f])(?![0-9a-fx])", re.I)
_PREFIX = re.compile(rb"0x|\\x", re.I)
_SUFFIX = re.compile(rb"\b0?([0-9a-f]{2})h\b", re.I)
_LONGEST_WORD = 64
_LONGEST_LINE = 1 << 20
_NO_DIGIT = re.compile(rb"[^0-9a-fA-F]")
_TRACE = re.compile(rb'\s*\{\s*"')
_NO_TEXT = re.compile(rb"[^\t\r\n\f\v\x20-\x7e]")


class NotBytes(Exception):
    """Text that is no hexadecimal text; the message says what it is instead."""


def from_hex(text: bytes) -> Iterator[bytes]:
    """The bytes that hexadecimal text means, at once. Raises NotBytes."""
    yield from HexText().take(text, is_end=True)


class HexText:
    """Hexadecimal text that comes in portions, which may be cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        """Text whose prefix may not be whole."""
        self._odd = b""
        """The first digit of a byte."""
        self._digits = 0

    def take(self, text: bytes, *, is_end: bool = False) -> Iterator[bytes]:
        """The bytes that are whole by now, if any. Raises NotBytes."""
        text = self._rest + text
        cut = len(text) if is_end else _whole(text)
        text, self._rest = text[:cut], text[cut:]
        if b"x" in text or b"X" in text:
            text = _PREFIX.sub(b"", _SHORT.sub(rb"0\1", text))
        if b"h" in text or b"H" in text:
            text = _SUFFIX.sub(rb"\1", text)
        digits = text.translate(None, _BETWEEN)
        if wrong := _NO_DIGIT.search(digits):
            byte = wrong[0][0]
            shown = repr(chr(byte)) if 32 <= byte < 127 else f"byte {byte:02X}H"
            raise NotBytes(f"{shown} at digit {self._digits + wrong.start() + 1} is not hexadecimal")
        self._digits += len(digits)
        digits = self._odd + digits
        odd = len(digits) % 2
        if odd and is_end:
            raise NotBytes(f"{self._digits} hexadecimal digits are no whole number of bytes")
        self._odd = digits[len(digits) - odd :]
        if len(digits) > odd:
            yield bytes.fromhex(digits[: len(digits) - odd].decode())


def _whole(text: bytes) -> int:
    """Up to where no prefix is cut: what stands behind the last separator, or the last of many bytes without one."""
    begin = 1 + max(text.rfind(sign) for sign in _SEPARATORS)
    if len(text) - begin <= _LONGEST_WORD:
        return begin
    last = max(text.rfind(b"x", begin), text.rfind(b"X", begin))
    return last - 1 if last > begin + 1 else begin + (len(text) - begin - 2) // 2 * 2


class Trace:
    """Lines of JSON, each an object whose `data` is hexadecimal text, that come in portions."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines = 0

    def take(self, text: bytes, *, is_end: bool = False) -> Iterator[bytes]:
        """The bytes of the lines that are whole by now. Raises NotBytes."""
        *lines, self._rest = (self._rest + text + b"\n" * is_end).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:
            raise NotBytes(
                f"line {self._lines + len(lines) + 1} of the trace is longer than {_LONGEST_LINE} characters"
            )
        for line in lines:
            self._lines += 1
            if line.strip():
                yield from self._bytes_of(line)

    def _bytes_of(self, line: bytes) -> Iterator[bytes]:
        try:
            data = json.loads(line)["data"].encode()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise NotBytes(f"line {self._lines} of the trace is no JSON object with a text `data`") from None
        try:
            yield from from_hex(data)
        except NotBytes as error:
            raise NotBytes(f"line {self._lines} of the trace: {error}") from None


def standard_input(*, is_binary: bool) -> Iterator[bytes]:
    """Standard input's bytes as they come. Raises NotBytes; an OSError where it cannot be read."""
    begin = b""
    while not is_binary and len(begin) < _ENOUGH:
        if not (chunk := os.read(sys.stdin.fileno(), _CHUNK)):
            break
        begin += chunk
        is_binary = _NO_TEXT.search(begin) is not None
    text = Trace() if _TRACE.match(begin) else HexText()
    if is_binary:
        yield begin
    else:
        yield from text.take(begin)
    while chunk := os.read(sys.stdin.fileno(), _CHUNK):
        if is_binary:
            yield chunk
        else:
            yield from text.take(chunk)
    if not is_binary:
        yield from text.take(b"", is_end=True)
