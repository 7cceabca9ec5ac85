"""Who is on a line: an address is asked who it is and what it can do, in clear and without a key.

A reader that another panel talks to loses that conversation by it: the line has to be ours. Polls nobody, orders nothing.
"""

from __future__ import annotations

from drivers.serial_line import Line

from . import words
from .cycle import Cycle
from .facts import Phase
from .reader import Reader

_MOST_TURNS = 16
"""Who it is, what it can do, four statuses, and some that are repeated."""


def look(cycle: Cycle, line: Line, address: int) -> dict[str, str]:
    """What the reader at an address says of itself, and `channel`: needed, offered or none; `trouble` where what came was no
    answer. Empty where nobody answers. In the line's thread. Raises LinkError, LineInterrupted.
    """
    reader = Reader(address, None)
    is_there = cycle.turn(line, reader)
    if reader.phase is Phase.GONE and not reader.facts.trouble.startswith(words.REFUSAL):
        is_there |= cycle.turn(line, reader)  # by the checksum: not every reader knows the CRC
    for _ in range(_MOST_TURNS):
        if reader.phase is not Phase.BEGINNING:
            break
        cycle.turn(line, reader)
    return _said(reader) if is_there else {}


def _said(reader: Reader) -> dict[str, str]:
    facts, needs_channel = reader.facts, words.NAKS[words.WANTS_CHANNEL] in reader.facts.trouble
    said = {} if facts.identity is None else facts.identity.facts()
    if facts.capabilities or needs_channel:
        is_offered = facts.capabilities.get(words.CAP_SECURITY, (0, 0))[0] & 1
        said["channel"] = "needed" if needs_channel else "offered" if is_offered else "none"
    if facts.trouble and not needs_channel:
        said["trouble"] = facts.trouble
    return said
