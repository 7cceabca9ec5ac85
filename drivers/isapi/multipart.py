"""The endless multipart answer of an alert stream, taken apart as it comes. Pure; bounded whatever comes.

A part is given as soon as its document is whole: the next boundary may come only with the next event, and lengths are often wrong
(firmware counts characters for bytes, or the line end too, or says 0). A stream may use another boundary than it says, and parts
may have no head. Parts that are pictures are passed over without being kept. Source: RFC 2046, 5.1; MIME as devices send it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_HEAD = 8192
MAX_PART = 256 << 10
_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,200})"?', re.IGNORECASE)
_FIRST_LINE = re.compile(rb"\s*--([^\s]{1,200})[ \t]*\r?\n")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_NO_HEAD = re.compile(rb"[ \t]*\r?\n(?=[<{])")
_ALERT = b"EventNotificationAlert"
_END_TAG = re.compile(rb"EventNotificationAlert\s*>\s*\Z")


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a content type names, without the dashes that some firmware puts into it; empty where a multipart names
    none; None where it is no multipart.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        return b"" if content_type.lower().lstrip().startswith("multipart/") else None
    return match[1].lstrip("-").encode("ascii", "replace")


@dataclass(slots=True)
class Multipart:
    """A stream's state. `feed` gives the bodies that became whole; pictures and what is too long are counted, not kept."""

    boundary: bytes
    most: int | None = None
    """Parts that are looked at; None = as many as come."""
    skipped: int = 0
    """Parts that were passed over: pictures."""
    broken: int = 0
    """Parts without an end where one was due, or too long."""
    _buffer: bytearray = field(default_factory=bytearray)
    _state: str = "between"
    _left: int = 0
    """Bytes of a part of known length that are still to come (or to be passed over)."""
    _scanned: int = 0
    """How far the buffer was searched for the boundary already."""
    _tries: int = 0
    _heads: int = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are whole now, in order."""
        self._buffer += data
        found: list[bytes] = []
        while (self.most is None or self._heads <= self.most) and self._step(found):
            pass
        return found

    def _step(self, found: list[bytes]) -> bool:
        """One move; False when more bytes are needed."""
        if self._state == "between":
            return self._to_boundary()
        if self._state == "head":
            return self._take_head()
        if self._state == "sized":
            return self._take_sized(found)
        if self._state == "pass":
            return self._pass()
        return self._take_unsized(found)

    @property
    def _mark(self) -> bytes:
        return b"--" + self.boundary

    def _to_boundary(self) -> bool:
        """Drops what stands before the next boundary; a little of the end stays, where a boundary may have begun."""
        at = self._buffer.find(self._mark) if self.boundary else -1
        if at < 0:
            if not self._heads and (match := _FIRST_LINE.match(self._buffer)) is not None:
                self.boundary = match[1].lstrip(b"-")  # the one that it uses, whatever it said
                return bool(self.boundary)
            keep = len(self._mark) - 1 if self._heads else 256
            if len(self._buffer) > keep:
                del self._buffer[: len(self._buffer) - keep]
            return False
        del self._buffer[: at + len(self._mark)]
        self._state = "head"
        return True

    def _take_head(self) -> bool:
        longest = MAX_HEAD + 4  # looking further each time would cost the square of what came
        match = _NO_HEAD.match(self._buffer) or _BLANK_LINE.search(self._buffer, 0, longest)
        if match is None:
            if len(self._buffer) > MAX_HEAD:
                self.broken += 1
                self._state = "between"
                return True
            return False
        at, size = match.start(), match.end() - match.start()
        self._heads += 1
        head = bytes(self._buffer[:at])
        del self._buffer[: at + size]
        kind, length = _fields(head)
        self._scanned = self._tries = 0
        is_picture = kind.startswith(("image/", "video/", "audio/", "application/octet-stream"))
        if is_picture:
            self.skipped += 1
        if length is not None and (is_picture or length > MAX_PART):
            self.broken += not is_picture
            self._state, self._left = "pass", length
        elif length:
            self._state, self._left = "sized", length
        else:
            self._state = "between" if is_picture else "unsized"
        return True

    def _pass(self) -> bool:
        gone = min(self._left, len(self._buffer))
        del self._buffer[:gone]
        self._left -= gone
        if self._left:
            return False
        self._state = "between"
        return True

    def _take_sized(self, found: list[bytes]) -> bool:
        """A boundary within the length ends the part: firmware that counts characters, or the next line, says too much."""
        size = len(self._mark)
        at = self._buffer.find(self._mark, max(0, self._scanned - size), self._left + size - 1)
        if at >= 0:
            self.broken += 1
            found.append(bytes(self._buffer[:at]).rstrip(b"-").strip())
            del self._buffer[:at]
            self._state = "between"
            return True
        self._scanned = min(len(self._buffer), self._left)
        if len(self._buffer) < self._left and self._is_whole():
            self.broken += 1
            found.append(bytes(self._buffer).strip())
            self._buffer.clear()
            self._state = "between"
            return False
        if len(self._buffer) < self._left or self._is_cut():
            return False
        body = bytes(self._buffer[: self._left])
        if _ends(body):
            found.append(body)
            del self._buffer[: self._left]
            self._state = "between"
        else:
            self.broken += 1
            self._state = "unsized"
        return True

    def _is_cut(self) -> bool:
        """The length may end within a boundary of which the rest is still to come."""
        mark, left = self._mark, self._left
        return any(
            mark.startswith(bytes(self._buffer[left - begun : left - begun + len(mark)]))
            for begun in range(1, min(len(mark), left + 1))
        )

    def _take_unsized(self, found: list[bytes]) -> bool:
        at = self._buffer.find(self._mark, max(0, self._scanned - len(self._mark)))
        if at >= 0:
            body = bytes(self._buffer[:at]).rstrip(b"-").strip()
            del self._buffer[:at]
            self._state = "between"
            if body:
                found.append(body)
            return True
        self._scanned = len(self._buffer)
        if len(self._buffer) > MAX_PART:
            self.broken += 1
            self._state = "between"
            return True
        if self._is_whole():
            found.append(bytes(self._buffer).strip())
            self._buffer.clear()
            self._state = "between"
        return False

    def _is_whole(self) -> bool:
        """What has come so far is a document: an XML end tag, or braces that close where a JSON text began."""
        tail = bytes(self._buffer[-64:]).rstrip()
        if _END_TAG.search(tail) is not None:
            return True
        if not tail.endswith(b"}") or self._tries >= 16 or bytes(self._buffer[:16]).lstrip()[:1] != b"{":
            return False
        self._tries += 1
        return _closes(bytes(self._buffer))


def _ends(body: bytes) -> bool:
    """A document does not stop in the middle, as far as that can be told cheaply."""
    first = body[:16].lstrip()[:1]
    if first == b"<" and _ALERT in body[:512]:
        return _END_TAG.search(body[-64:]) is not None
    return first != b"{" or _closes(body)


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def _closes(text: bytes) -> bool:
    rest = _STRINGS.sub(b"", text)
    return b'"' not in rest and rest.count(b"{") == rest.count(b"}")


def _fields(head: bytes) -> tuple[str, int | None]:
    """(content type in lower case, length or None)."""
    kind, length = "", None
    for line in head.replace(b"\r\n", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        word = name.strip().lower()
        text = value.strip()
        if word == b"content-type":
            kind = text.decode("ascii", "replace").lower()
        elif word == b"content-length" and text.isdigit() and len(text) < 10:
            length = int(text)
    return kind, length
