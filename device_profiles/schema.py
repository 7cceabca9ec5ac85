"""What a device profile may say: the pydantic models behind the YAML files.

Address, type and word order are the driver's business; quantity, unit, scale and limits are the normaliser's: the two never
mix. What the vocabulary knows of a point (its unit, type and class) is not repeated in a profile.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

IdText = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
PointId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PointType = Literal[
    "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64", "bcd16", "bcd32", "bcd64", "sm16", "sm32", "bool", "str"
]
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Table = Literal["holding", "input", "coil", "discrete"]

TYPE_REGISTERS: dict[str, int] = {
    "u16": 1, "s16": 1, "bcd16": 1, "sm16": 1, "bool": 1,
    "u32": 2, "s32": 2, "f32": 2, "bcd32": 2, "sm32": 2,
    "u64": 4, "s64": 4, "f64": 4, "bcd64": 4,
}  # fmt: skip
"""Registers a value of each type takes (`str` takes `length`)."""


class Strict(BaseModel):
    """A key that is not known is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScaleFrom(Strict):
    """A scale that the device itself holds: `exp10` means value * 10**register (SunSpec sunssf)."""

    point: PointId
    exp10: bool = True


class Part(Strict):
    """One register of a counter that is split over several, with what one unit of it counts."""

    reg: int = Field(ge=0, le=65535)
    scale: Decimal


class Modbus(Strict):
    """A Modbus address. Registers are numbered from 0 as on the wire; `model` and `offset` instead of `reg` for SunSpec
    (offset counts from the model's ID register, as the SunSpec model documents do)."""

    table: Table = "holding"
    reg: int | None = Field(default=None, ge=0, le=65535)
    model: int | tuple[int, ...] | None = None
    offset: int | None = Field(default=None, ge=0)


class Virtual(Strict):
    """A sum over other devices' points: `plus` minus `minus`, each `device/point`."""

    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()


class Invalid(Strict):
    """A raw value, or a range of raw values, that the device sends for "no value"."""

    value: int | float | str | None = None
    low: int | float | None = None
    high: int | float | None = None


class Point(Strict):
    """One value of a device."""

    id: PointId
    label: str = ""
    """The datasheet's own words."""
    quantity: str | None = None
    unit: str | None = None
    """The unit that scale and offset lead to; converted to the vocabulary's unit. None = already the vocabulary's."""
    address: Modbus | Virtual | dict[str, Any] = Field(default_factory=dict)
    type: PointType = "u16"
    word_order: WordOrder | None = None
    length: int | None = Field(default=None, ge=1, le=125)
    encoding: str = "ascii"
    bits: int | str | None = None
    scale: Decimal | None = None
    scale_from: ScaleFrom | None = None
    ratio: tuple[str, ...] = ()
    offset: Decimal | None = None
    parts: tuple[Part, ...] = ()
    invalid: tuple[Invalid | int | float | str, ...] = ()
    labels: dict[int, str] | None = None
    access: Literal["r", "rw", "w"] = "r"
    min: float | None = None
    max: float | None = None
    poll: float | None = Field(default=None, gt=0, le=86400)
    """Seconds between reads; None takes the profile's `poll`."""
    align: int | None = Field(default=None, ge=1, le=86400)
    """Seconds: read at every mark that is a multiple of this, and say which mark the reading stands for."""
    deadband: float | None = Field(default=None, ge=0)
    heartbeat: float | None = Field(default=None, gt=0)
    """Seconds after which an unchanged value is sent all the same."""
    only: str | None = None
    """`option=value`: the point exists only on a device whose option has this value."""
    counter: bool | None = None
    """A value that only grows; None takes it from the vocabulary."""
    wrap: Decimal | None = None
    """The value (in the device's unit, scaled) at which the counter starts again at 0."""
    internal: bool = False
    """Read for the sake of other points (scale factors, ratios); never published."""

    @property
    def registers(self) -> int:
        """Registers that the value takes on the wire."""
        if self.type == "str":
            return self.length or 1
        return TYPE_REGISTERS[self.type]

    @property
    def bit_range(self) -> tuple[int, int] | None:
        """(first, last) bit of a value inside a word, bit 0 the least significant; None for the whole word."""
        if self.bits is None:
            return None
        if isinstance(self.bits, int):
            return self.bits, self.bits
        first, _, last = self.bits.partition("..")
        return int(first), int(last)


class Param(Strict):
    """A number that the device's values depend on (CT and PT ratio): read from a register, or given in the configuration."""

    register_: Modbus | None = Field(default=None, alias="register")
    type: PointType = "u16"
    scale: Decimal | None = None
    default: float | None = None
    reread: float = Field(default=3600, gt=0)
    """Seconds between reads of the register; a change is published as `device.ratio_changed`."""


class Option(Strict):
    """A switch of a device and the values that it can have."""

    values: tuple[str, ...]
    default: str
    label: str = ""


class Expect(Strict):
    """A register whose content tells the device apart: `scan` and `read` believe a device only if it holds."""

    address: Modbus
    type: PointType = "u16"
    length: int | None = None
    equals: int | str | None = None
    any_of: tuple[int | str, ...] = ()
    low: float | None = None
    high: float | None = None


class LimitsSpec(Strict):
    """What the device can bear in one request."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int | None = Field(default=None, ge=0)
    forbidden: tuple[tuple[Table, int, int], ...] = ()


class Instances(Strict):
    """One address space, many devices: each instance is a device of its own whose registers lie `stride` further on."""

    count: int = Field(ge=1, le=256)
    stride: int = Field(ge=0)
    id: str = "{device}-{n}"
    """Id of the n-th device (n from 1)."""
    points: tuple[PointId, ...] = ()
    """The points that repeat; those not named belong to the head device. Empty = all."""


class Caveat(Strict):
    """Something an engineer should know, with its evidence."""

    text: str
    link: str | None = None


class Source(Strict):
    """Where the register map is from."""

    title: str
    revision: str | None = None
    page: str | None = None
    url: str | None = None


class Profile(Strict):
    """What a model of device is."""

    profile: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: int = Field(ge=1)
    class_: str = Field(alias="class")
    system: str
    products: tuple[str, ...]
    protocol: str
    extends: str | None = None
    word_order: WordOrder = "ABCD"
    poll: float = Field(default=30, gt=0, le=86400)
    options: dict[str, Option] = Field(default_factory=dict)
    params: dict[str, Param] = Field(default_factory=dict)
    limits: LimitsSpec = LimitsSpec()
    identify: tuple[Expect, ...] = ()
    serial: Expect | None = None
    """Where the device holds its serial number."""
    points: tuple[Point, ...]
    instances: Instances | None = None
    events: tuple[dict[str, Any], ...] = ()
    operations: tuple[dict[str, Any], ...] = ()
    caveats: tuple[Caveat, ...] = ()
    source: Source

    def point(self, point_id: str) -> Point:
        """The point of this id. Raises KeyError."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)
