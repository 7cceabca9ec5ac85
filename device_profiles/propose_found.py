"""What discovery found on a device, and what is proposed for it: the nouns of `propose`. Holds no logic."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object of a device, as the protocol says it."""

    kind: str
    """A BACnet object type (`analog-input`), `opcua`, or `unknown` in a list of bare names."""
    reference: str
    """What goes into the address: `analog-input:3`, or a node id or browse path."""
    name: str
    description: str = ""
    unit: str | None = None
    """UCUM code; None where the device says none or one that the table lacks."""
    unit_name: str = ""
    """The protocol's own name of the unit, as `percent-relative-humidity`."""
    states: tuple[str, ...] = ()
    """State texts from state 1 on, on OPC UA from 0; of a binary object the inactive and the active text."""
    writable: bool = False
    value: float | bool | str | None = None
    label: str = ""
    """Another name that people use, as a supervisor's; the address is by `name`."""


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """The device that holds the objects. Everything may be unknown."""

    id: str = ""
    """What tells it apart: a BACnet instance, an endpoint."""
    name: str = ""
    vendor: str = ""
    model: str = ""
    description: str = ""
    protocol: str = "bacnet"


@dataclass(frozen=True, slots=True)
class ProposedPoint:
    """One object with the point that it probably is."""

    found: FoundObject
    id: str
    """An id of the vocabulary, or a maker's own that begins with `x_`."""
    type: str
    """num, bool, enum or text."""
    quantity: str | None
    unit: str | None
    """UCUM unit of the device's values, as a profile says it."""
    brick: str | None
    confidence: float
    """0 to 1."""
    reason: str
    leaf: str
    """The object's name without its equipment's prefix."""
    prefix: str = ""
    cls: str = ""
    other: str | None = None
    """The second best id, where there is one near."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """One piece of equipment on the device: the objects whose names begin alike."""

    id: str
    cls: str
    prefix: str
    points: tuple[ProposedPoint, ...]
    confidence: float
    """Of the class."""
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Everything that is proposed for one device."""

    device: FoundDevice
    equipment: tuple[Equipment, ...]
    skipped: tuple[FoundObject, ...] = field(default=())
    """Objects that hold no value to read (programs, files, schedules, logs)."""

    @property
    def points(self) -> tuple[ProposedPoint, ...]:
        """Every proposed point."""
        return tuple(point for one in self.equipment for point in one.points)
