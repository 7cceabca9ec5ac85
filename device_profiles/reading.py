"""What the drivers return and what the normaliser makes of it: the nouns of one acquisition.

Quality is the OPC UA model (OPC 10000-4, 7.39): the severity is the two top bits of the status code, the status is the
symbolic name. Good is the absence of everything else, so a good value carries no object of its own: the batch is the unit of
work on every stage, never the point.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

Value = float | int | bool | str
"""A value in the unit of the vocabulary, ready for the contract. Text only for points of type `str`."""

Raw = int | float | bool | str
"""A value as the device holds it: type and word order are undone, scale and meaning are not."""


class Severity(IntEnum):
    """OPC UA severity, the `q` of the contract."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


def severity_of(status: str) -> Severity:
    """The severity that an OPC UA symbolic status name says by its first word. Raises ValueError for any other text."""
    if status.startswith("Good"):
        return Severity.GOOD
    if status.startswith("Uncertain"):
        return Severity.UNCERTAIN
    if status.startswith("Bad"):
        return Severity.BAD
    raise ValueError(f"{status!r} is no OPC UA status name: it begins with neither Good, Uncertain nor Bad")


@dataclass(frozen=True, slots=True)
class PointFault:
    """One point that could not be read while its device answers. `later` asks for another try (Modbus exceptions 5, 6)."""

    status: str
    detail: str = ""
    later: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """A value from a protocol that carries status and time itself (BACnet, OPC UA). `flags` as in `Flagged`."""

    value: Raw | None
    status: str = "Good"
    source_time_ms: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flagged:
    """One sample that is not simply good now: not good, back to good, with a flag, or with a time of its own.

    `value` None means no usable value. `status` "" means no quality is said (a good value with its own time).
    `dt_ms` is relative to the acquisition; `source_stamped` when the device itself stamped it.
    """

    point: str
    value: Value | None = None
    status: str = ""
    dt_ms: int = 0
    flags: tuple[str, ...] = ()
    source_stamped: bool = False


@dataclass(slots=True)
class Acquisition:
    """What one acquisition of one device gives: good values at `t_ms`, and what needs words.

    `t_ms` is UTC milliseconds. `mark_ms` is the aligned mark (quarter hour) that the aligned values stand for. `src` says where
    values come from that were not acquired now: `memory`, the device's own.
    """

    device: str
    t_ms: int
    good: dict[str, Value] = field(default_factory=dict)
    flagged: list[Flagged] = field(default_factory=list)
    mark_ms: int | None = None
    src: str | None = None
