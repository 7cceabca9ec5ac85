"""What a profile says about writing: the limits of a point, what must hold before it is written, and a device's operations.

All values are in the vocabulary's unit. A site may narrow these limits in agent.yaml, never widen them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .address import Strict

OPERATIONS = Literal[
    "device.call",
    "gate.open",
    "gate.close",
    "gate.hold",
    "breaker.open",
    "breaker.close",
    "camera.snapshot",
    "time.sync",
]
"""Operations of CONTRACT.md section 6 that a profile can say how to do; `device.call` is any other method of the device."""


class Interlock(Strict):
    """Something that must be so, on a fresh value, before a write goes out: `{point: running, equals: 1}`."""

    point: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9_-]{0,47}/)?[a-z][a-z0-9_]{0,62}$")]
    """A point of the same device, or `device/point`."""
    equals: float | bool | str | None = None
    low: float | None = None
    high: float | None = None
    max_age: float = Field(default=60, gt=0, le=86400)
    """Seconds after which the value is not fresh any more; the write is then refused."""
    text: str = ""
    """Why, in words for people."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.equals is None and self.low is None and self.high is None:
            raise ValueError("an interlock says what must hold: give equals, low or high")
        return self


class Write(Strict):
    """What holds for writing a point."""

    min: float | None = None
    max: float | None = None
    """None takes the point's own limits, and for an enumeration its labels."""
    step: float | None = Field(default=None, gt=0)
    """Largest change in one command, from the value read just before."""
    per_hour: int = Field(default=60, ge=1, le=100_000)
    min_interval: float = Field(default=0, ge=0, le=86400)
    """Seconds between two writes."""
    priority: int | None = Field(default=None, ge=8, le=16)
    """BACnet: the slot we write to (1 to 7 are life safety and the minimum on/off time, and never ours)."""
    hold_max: float | None = Field(default=None, gt=0)
    """Longest hold in seconds; with it, a write without `hold_s` is refused."""
    release: float | bool | str | None = None
    """What is written when a hold ends, where the protocol has no priorities; None = the value read before the first write."""
    readback: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = None
    """Another point that shows the effect; None reads the point itself."""
    within: float = Field(default=5, gt=0, le=600)
    """Seconds after which the read-back must show the value."""
    tolerance: float | None = Field(default=None, ge=0)
    """Largest difference between what was written and what is read back; None = the resolution of the point."""
    idempotent: bool = True
    """False for pulses and toggles: never written twice for one command, whatever happens."""
    interlocks: tuple[Interlock, ...] = ()
    function: Literal["single", "multiple"] | None = None
    """Modbus: write by FC 5/6 or by FC 15/16; None takes single for one register and multiple for more."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


class Input(Strict):
    """One argument of an operation."""

    type: Literal["num", "bool", "text"] = "num"
    min: float | None = None
    max: float | None = None
    unit: str | None = None
    default: float | bool | str | None = None
    """None = it must be given."""


class Operation(Strict):
    """Something the device can be told to do that is no write of one point."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    op: OPERATIONS = "device.call"
    label: str = ""
    call: dict[str, Any]
    """How, in the driver's own words: OPC UA `{object: Plant/Chiller1, method: Reset}`."""
    inputs: dict[str, Input] = Field(default_factory=dict)
    idempotent: bool = False
    per_hour: int = Field(default=10, ge=1, le=100_000)
    interlocks: tuple[Interlock, ...] = ()
