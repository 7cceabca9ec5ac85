"""What a device profile may say: the pydantic models behind the YAML files, and what must agree inside one of them.

Shape only: that a name is known to the vocabulary or that a target exists is checked by `rules`. Address, type and word order
are the driver's business; quantity, unit, scale and limits are the normaliser's: the two never mix. What the vocabulary knows
of a point (its unit, type and class) is not repeated in a profile.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from .address import SHORT_KEYS, SHORT_SCHEMA, AnyAddress, Strict, with_address
from .address import Bacnet as Bacnet
from .address import Cjt188 as Cjt188
from .address import Dlt645 as Dlt645
from .address import Http as Http
from .address import Mbus as Mbus
from .address import Modbus as Modbus
from .address import Onvif as Onvif
from .address import OpcUa as OpcUa
from .address import Pjlink as Pjlink
from .address import StringsField as StringsField
from .address import Table as Table
from .address import Virtual as Virtual
from .address_osdp import Osdp as Osdp
from .control import Operation as Operation
from .control import Write as Write
from .credential import Credential as Credential
from .events import EventSource as EventSource
from .point_defaults import with_defaults
from .strings import Strings as Strings

IdText = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
PointId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
PointType = Literal[
    "u16", "u32", "u64", "s16", "s32", "s64", "f32", "f64", "bcd16", "bcd32", "bcd64", "sm16", "sm32", "bool", "str"
]
WordOrder = Literal["ABCD", "CDAB", "BADC", "DCBA"]

TYPE_REGISTERS: dict[str, int] = {
    "u16": 1, "s16": 1, "bcd16": 1, "sm16": 1, "bool": 1,
    "u32": 2, "s32": 2, "f32": 2, "bcd32": 2, "sm32": 2,
    "u64": 4, "s64": 4, "f64": 4, "bcd64": 4,
}  # fmt: skip
"""Registers a value of each type takes (`str` takes `length`)."""

WHOLE_TYPES = frozenset(TYPE_REGISTERS) - {"f32", "f64", "bool"}
"""Types whose raw value is a whole number."""

_BITS = re.compile(r"([0-9]{1,2})\.\.([0-9]{1,2})")
_WITH_BITS = (Modbus, Dlt645, Cjt188, Mbus, StringsField)
"""Addresses of values that may be words of bits; the drivers of the others give whole values."""


class ScaleFrom(Strict):
    """A scale that the device itself holds: `exp10` means value * 10**register (SunSpec sunssf)."""

    point: PointId
    exp10: bool = True


class Part(Strict):
    """One register of a counter that is split over several, with what one unit of it counts."""

    reg: int = Field(ge=0, le=65535)
    scale: Decimal


class Invalid(Strict):
    """A raw value, or a range of raw values, that the device sends for "no value"."""

    value: int | float | str | None = None
    low: int | float | None = None
    high: int | float | None = None

    @model_validator(mode="after")
    def _value_or_range(self) -> Self:
        is_range = self.low is not None and self.high is not None
        if (self.value is not None) == is_range or (self.low is None) != (self.high is None):
            raise ValueError("give either value, or low and high")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Point(Strict):
    """One value of a device.

    In a file `reg: 0x34` (with `table`), or `model: 103` with `at: 14`, stands for the address. The value in `unit` is
    `raw * scale * 10**scale_from * ratios + offset`; `parts` adds up its registers, each with its own scale.
    """

    SHORT_KEYS: ClassVar[tuple[str, ...]] = SHORT_KEYS

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema["properties"].update(SHORT_SCHEMA),
    )

    id: PointId
    label: str = ""
    """The datasheet's own words."""
    quantity: str | None = None
    unit: str | None = None
    """The unit that scale and offset lead to; converted to the vocabulary's unit. None = already the vocabulary's."""
    address: AnyAddress = Field(default_factory=dict)
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
    write: Write | None = None
    """What holds for writing it; None with access `rw` or `w` takes the defaults."""
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
    cov: bool | float | None = None
    """`false`: never subscribed, always polled. A number: the increment asked for where the protocol lets one ask, in the
    device's unit. None lets the device decide."""
    internal: bool = False
    """Read for the sake of other points (scale factors, ratios); never published."""

    @model_validator(mode="before")
    @classmethod
    def _short_address(cls, data: Any) -> Any:
        return with_address(data)

    @field_validator("bits")
    @classmethod
    def _bits_syntax(cls, bits: int | str | None) -> int | str | None:
        if bits is None:
            return None
        match = _BITS.fullmatch(bits) if isinstance(bits, str) else None
        first, last = (bits, bits) if isinstance(bits, int) else (int(match[1]), int(match[2])) if match else (-1, -1)
        if not 0 <= first <= last <= 63:
            raise ValueError(
                f"{bits!r} is no bit of a value; write `3`, or `4..7` with the lower bit first, bit 0 the least"
            )
        return bits

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        if self.scale is not None and (not self.scale.is_finite() or self.scale == 0):
            raise ValueError(f"scale {self.scale} is not a number other than 0")
        if self.bit_range and (self.type in ("str", "f32", "f64") or self.bit_range[1] >= 16 * self.registers):
            raise ValueError(f"bits {self.bits} are not in a {self.type}")
        if self.type == "str" and self.length is None and isinstance(self.address, Modbus):
            raise ValueError("type str needs length, in registers")
        if self.type != "str" and self.length is not None:
            raise ValueError(f"length is for type str only, not for {self.type}")
        if self.parts and (self.scale is not None or self.scale_from is not None):
            raise ValueError("parts have scales of their own: leave out scale and scale_from")
        if self.parts and (self.type not in WHOLE_TYPES or self.bits is not None or self.invalid):
            raise ValueError("parts are whole numbers that are added up: leave out bits, invalid and other types")
        return self._address_agrees()

    def _address_agrees(self) -> Self:
        if self.write is not None and "w" not in self.access:
            raise ValueError("write is for points that can be written: add access: rw")
        if self.bits is not None and not isinstance(self.address, _WITH_BITS):
            raise ValueError("bits are taken out of registers and of words that meters send: leave them out here")
        if not isinstance(self.address, Modbus):
            return self
        located = self.address.reg is not None or self.address.model is not None
        if self.parts and located:
            raise ValueError("the address of a point with parts is its parts: leave out reg")
        if not self.parts and not located:
            raise ValueError("an address is missing: give reg, or model and at")
        if (self.address.table in ("coil", "discrete")) != (self.type == "bool" and self.bits is None):
            raise ValueError(
                f"a {self.address.table} point cannot be {self.type}; coils and discrete inputs are bool, "
                "a bit of a register is u16 with bits"
            )
        return self

    @property
    def is_writable(self) -> bool:
        """True when the profile allows to write it."""
        return "w" in self.access

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
    config: bool = True
    """The value may be given in the configuration; it then goes before the register."""
    reread: float = Field(default=3600, gt=0)
    """Seconds between reads of the register; a change is published as `device.ratio_changed`."""


class Option(Strict):
    """A switch of a device and the values that it can have."""

    values: tuple[str, ...] = Field(min_length=1)
    default: str
    label: str = ""

    @model_validator(mode="after")
    def _default_is_a_value(self) -> Self:
        if self.default not in self.values:
            raise ValueError(f"default {self.default!r} is none of {', '.join(self.values)}")
        return self


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
    stride: int = Field(ge=1, le=65535)
    id: Annotated[str, Field(pattern=r"^([a-z0-9_-]|\{device\}|\{n\})+$")] = "{device}-{n}"
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
    """The id of a shipped or site profile whose keys hold where this one has none; points merge by id."""
    without: tuple[PointId, ...] = ()
    """Points of the extended profile that this device lacks."""
    table: Table = "holding"
    """What points take that do not say their own; so do `type` and `word_order`."""
    type: PointType = "u16"
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
    events: tuple[EventSource, ...] = ()
    credential: Credential | None = None
    """How it says which card it was."""
    operations: tuple[Operation, ...] = ()
    strings: Strings | None = None
    """Protocol `strings`: its frames and requests."""
    caveats: tuple[Caveat, ...] = ()
    source: Source

    @model_validator(mode="before")
    @classmethod
    def _point_defaults(cls, data: Any) -> Any:
        """Hands table, type and word order of the profile down to the points that have none."""
        if not isinstance(data, dict) or not isinstance(data.get("points"), list | tuple):
            return data
        return {**data, "points": [with_defaults(point, data) for point in data["points"]]}

    @property
    def name(self) -> str:
        """`eastron-sdm630@1`, as the contract's meta names it."""
        return f"{self.profile}@{self.version}"

    def point(self, point_id: str) -> Point:
        """The point of this id. Raises KeyError."""
        for point in self.points:
            if point.id == point_id:
                return point
        raise KeyError(point_id)
