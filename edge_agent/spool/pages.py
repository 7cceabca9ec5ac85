"""SQLite's file format, read without SQLite: just enough to get rows out of a file that it refuses. Pure.

Source: sqlite.org/fileformat2.html, sections 1.5 (freelist), 1.6 (b-tree pages), 2.1 (record format), 4 (write-ahead log).
A damaged page yields the rows that still parse; whether they are true is for their checksum to say. Nothing here raises
because of content.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from edge_agent.spool.database import PAGE

LEAF = 0x0D
INTERIOR = 0x05
WAL_HEADER = 32
FRAME_HEADER = 24
Value = int | float | str | bytes | None
Record = tuple[int, list[Value]]
"""(rowid, columns)."""
ReadPage = Callable[[int], bytes]
"""Page number, from 1 -> its bytes, or b"" when there is none."""

_INTEGER_SIZES = (0, 1, 2, 3, 4, 6, 8)
_MAX_PAYLOAD = 1 << 20
_MAX_COLUMNS = 16


def records(page: bytes, number: int, read_page: ReadPage) -> tuple[list[Record], bool]:
    """The rows of a table leaf page, and whether all of its cells could be read. Other pages give ([], True)."""
    start = 100 if number == 1 else 0
    if len(page) != PAGE:
        return [], False
    if page[start] != LEAF:
        return [], page[start] == INTERIOR
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    found: list[Record] = []
    whole = start + 8 + 2 * count <= PAGE
    for index in range(min(count, PAGE // 4)):
        at = start + 8 + 2 * index
        pointer = int.from_bytes(page[at : at + 2], "big")
        record = _cell(page, pointer, read_page)
        if record is None:
            whole = False
        else:
            found.append(record)
    return found, whole


def children(page: bytes, number: int) -> list[int]:
    """Child page numbers of a table interior page, in key order."""
    start = 100 if number == 1 else 0
    if len(page) != PAGE or page[start] != INTERIOR:
        return []
    count = min(int.from_bytes(page[start + 3 : start + 5], "big"), PAGE // 5)
    pointers = [int.from_bytes(page[at : at + 2], "big") for at in range(start + 12, start + 12 + 2 * count, 2)]
    found = [int.from_bytes(page[pointer : pointer + 4], "big") for pointer in pointers]
    return [*found, int.from_bytes(page[start + 8 : start + 12], "big")]


def free_pages(read_page: ReadPage) -> set[int]:
    """Pages on the freelist: what is on them was deleted. Empty when the list cannot be followed."""
    head = read_page(1)
    if len(head) != PAGE or not head.startswith(b"SQLite format 3\0"):
        return set()
    trunk = int.from_bytes(head[32:36], "big")
    found: set[int] = set()
    while trunk and trunk not in found:
        found.add(trunk)
        page = read_page(trunk)
        if len(page) != PAGE:
            break
        following, count = struct.unpack_from(">II", page)
        if count > PAGE // 4 - 2:
            break
        found.update(struct.unpack_from(f">{count}I", page, 8))
        trunk = following
    return found


def frames(log: bytes) -> Iterator[tuple[int, int]]:
    """(page number, offset of its bytes) of each frame of a write-ahead log that belongs to its present generation.

    By the salts only: beyond a damaged frame SQLite reads nothing, and what is there may still be good. Frames behind the last
    one that ends a transaction are left out: nobody was told of those.
    """
    step = FRAME_HEADER + PAGE
    starts = range(WAL_HEADER, len(log) - step + 1, step)
    salts = log[16:24]
    if not any(log[at + 8 : at + 16] == salts for at in starts):  # the header itself may be what is damaged
        salts = log[WAL_HEADER + 8 : WAL_HEADER + 16]
    found: list[tuple[int, int]] = []
    for at in starts:
        if log[at + 8 : at + 16] == salts:
            found.append((int.from_bytes(log[at : at + 4], "big"), at + FRAME_HEADER))
            if log[at + 4 : at + 8] != bytes(4):  # the size of the database: this frame ends a transaction
                yield from found
                found.clear()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset behind it). Raises IndexError at the end of the data."""
    value = 0
    for _ in range(8):
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | data[at], at + 1


def _cell(page: bytes, pointer: int, read_page: ReadPage) -> Record | None:
    try:
        size, at = _varint(page, pointer)
        rowid, at = _varint(page, at)
        if size > _MAX_PAYLOAD:
            return None
        local = _local_size(size)
        payload = page[at : at + local]
        if local < size:
            following = int.from_bytes(page[at + local : at + local + 4], "big")
            while following and len(payload) < size:
                overflow = read_page(following)
                if len(overflow) != PAGE:
                    return None
                following = int.from_bytes(overflow[:4], "big")
                payload += overflow[4 : 4 + size - len(payload)]
        return (rowid, _columns(payload)) if len(payload) == size else None
    except (IndexError, ValueError):
        return None


def _local_size(size: int) -> int:
    """How much of a payload lies on the leaf itself (section 1.6)."""
    if size <= PAGE - 35:
        return size
    least = (PAGE - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (PAGE - 4)
    return fitting if fitting <= PAGE - 35 else least


def _columns(payload: bytes) -> list[Value]:
    """The values of a record. Raises IndexError or ValueError when it is none."""
    head, at = _varint(payload, 0)
    values: list[Value] = []
    data = head
    while at < head:
        kind, at = _varint(payload, at)
        if len(values) == _MAX_COLUMNS:
            raise ValueError("too many columns")
        size = _INTEGER_SIZES[kind] if kind < 7 else 8 if kind == 7 else 0 if kind < 12 else (kind - 12) // 2
        part = payload[data : data + size]
        if len(part) != size:
            raise ValueError("a value lies beyond the record")
        data += size
        values.append(_value(kind, part))
    return values


def _value(kind: int, part: bytes) -> Value:
    if kind == 0:
        return None
    if kind < 7:
        return int.from_bytes(part, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", part)[0])
    if kind in (8, 9):
        return kind - 8
    if kind < 12:
        raise ValueError("reserved serial type")
    return part if kind % 2 == 0 else part.decode("utf-8")
