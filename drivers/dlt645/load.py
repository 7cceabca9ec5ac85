"""Load records of DL/T 645-2007: what is asked for them, and what a block of them says. Pure.

    A0 A0 n YYMMDDhhmm [class 1] AA [class 2] AA ... [class 6] AA CS E5      n = bytes from the time up to before CS

A class that the meter does not record is empty. E0 E0 in front marks a block that the meter itself holds for damaged.
Source: DL/T 645-2007, 7.2.1 (read, formats 2 and 3), annex A.7 (identifiers), annex B (records); meters differ in how they count
n and in the empty classes of an answer to one class, so that a record is taken apart by its separators and its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from device_profiles.address_meters import LOAD_CLASSES
from drivers import bcd

from . import clock

MOST_BLOCKS, MOST_OF_ALL = 5, 2
"""Records asked for at once, of a class and of all: some 200 bytes, so that nobody on a slow line waits long for them."""
_START, _DAMAGED, _BREAK, _END = b"\xa0\xa0", b"\xe0\xe0", 0xAA, 0xE5
_HEAD = 8


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What a meter recorded at one (local) time: the bytes of each class."""

    local: datetime
    classes: Mapping[int, bytes]


def from_time(number: int) -> int:
    """The identifier of records of a class, or of all (0), from a given time on."""
    return 0x06000001 | number << 16


def newest(number: int) -> int:
    """The identifier of the newest record of a class, or of all (0)."""
    return 0x06000002 | number << 16


def interval_of_class(number: int) -> int:
    """The identifier of the minutes between two records of a class."""
    return 0x04000A01 + number


def request(blocks: int, since: datetime | None = None) -> bytes:
    """What follows the identifier in a question for so many records, from a time on where it is for those."""
    return bcd.to_bytes(f"{blocks:02d}") + (bcd.to_bytes(since.strftime("%y%m%d%H%M")) if since else b"")


def records(data: bytes, number: int) -> Iterator[LoadRecord]:
    """The records in the answer for a class, or for all (0). What is damaged, or no record, is left out."""
    at = 0
    while (at := _next(data, at)) >= 0:
        end = _end(data, at)
        if end is None:
            at += 2
            continue
        local = clock.record_time(data[at + 3 : at + _HEAD])
        if local is not None and data.startswith(_START, at):
            yield LoadRecord(local, _classes(data[at + _HEAD : end - 2], number))
        at = end


def _next(data: bytes, at: int) -> int:
    starts = [found for mark in (_START, _DAMAGED) if (found := data.find(mark, at)) >= 0]
    return min(starts, default=-1)


def _end(data: bytes, at: int) -> int | None:
    """Behind the E5 of the record at `at`; n counts CS and E5 in some meters."""
    if at + _HEAD > len(data):
        return None
    size = at + 3 + data[at + 2]
    return next(
        (end for end in (size + 2, size + 1, size) if at + _HEAD < end <= len(data) and data[end - 1] == _END), None
    )


def _classes(body: bytes, number: int) -> dict[int, bytes]:
    if number:
        body = body.lstrip(bytes((_BREAK,)))
        size = sum(LOAD_CLASSES[number])
        return {number: body[:size]} if len(body) >= size else {}
    found: dict[int, bytes] = {}
    at = 0
    for each, sizes in LOAD_CLASSES.items():
        if at >= len(body):
            break
        if body[at] == _BREAK:
            at += 1
            continue
        size = sum(sizes)
        if body[at + size : at + size + 1] != bytes((_BREAK,)):
            break
        found[each] = body[at : at + size]
        at += size + 1
    return found
