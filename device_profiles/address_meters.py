"""Where a point is in a utility meter: addresses of the serial meter protocols."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .strict import Strict

METERS_SHORT: dict[str, dict[str, object]] = {
    "cjt188": {"type": "string", "description": "CJ/T 188: a field of the answer, as volume or heat_energy."},
    "data_id": {
        "type": "integer",
        "minimum": 0,
        "maximum": 65535,
        "description": "CJ/T 188 identifier, 0x901F without.",
    },
    "mbus": {"type": "string", "description": "M-Bus: the quantity of the record, as energy or supply_temperature."},
    "function": {"enum": ["", "max", "min", "error"], "description": "M-Bus: of the record."},
    "storage": {"type": "integer", "minimum": 0, "description": "M-Bus storage number of the record."},
    "tariff": {"type": "integer", "minimum": 0, "description": "M-Bus tariff of the record."},
    "subunit": {"type": "integer", "minimum": 0, "description": "M-Bus subunit of the record."},
    "nth": {"type": "integer", "minimum": 1, "maximum": 99, "description": "M-Bus: which of several equal records."},
    "vib": {"type": "string", "description": "M-Bus: the value information field itself, in hexadecimal."},
}
"""Keys of CJ/T 188 and M-Bus addresses that may stand beside the point's own."""


class Dlt645Record(Strict):
    """Where a DL/T 645-2007 meter keeps a value's past: identifiers of the newest frozen record, whose last byte counts backwards
    from 01. Hourly energy is `{time: 0x05040001, value: 0x05040101, count: 254}`, daily `{time: 0x05060001, value: 0x05060101,
    count: 62}`; `item` is the value's place in a record of several.
    """

    time: int = Field(ge=0, le=0xFFFFFFFF, strict=True)
    value: int = Field(ge=0, le=0xFFFFFFFF, strict=True)
    count: int = Field(default=62, ge=1, le=254)
    item: int = Field(default=0, ge=0, le=99)

    @model_validator(mode="after")
    def _counts_from_one(self) -> Self:
        if self.time & 0xFF != 1 or self.value & 0xFF != 1:
            raise ValueError("time and value are those of the newest record: their last byte is 01")
        return self


LOAD_CLASSES: dict[int, tuple[int, ...]] = {
    1: (2, 2, 2, 3, 3, 3, 2),
    2: (3,) * 8,
    3: (2,) * 4,
    4: (4,) * 4,
    5: (4,) * 4,
    6: (3,) * 2,
}
"""Bytes of each value in the classes of a load record. Source: DL/T 645-2007, annex B."""


class Dlt645Load(Strict):
    """Where a DL/T 645-2007 meter keeps a value in its load records: the class, and the value's place in it from 0.

    1: Ua Ub Uc Ia Ib Ic f; 2: P Pa Pb Pc Q Qa Qb Qc; 3: power factor, a, b, c; 4: active energy forward, reverse, reactive 1, 2;
    5: reactive energy of quadrants 1 to 4; 6: active, reactive demand.
    """

    load: int = Field(ge=1, le=6)
    item: int = Field(default=0, ge=0, le=7)

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.item >= len(LOAD_CLASSES[self.load]):
            raise ValueError(f"load records of class {self.load} have items 0 to {len(LOAD_CLASSES[self.load]) - 1}")
        return self

    @property
    def place(self) -> tuple[int, int]:
        """(offset, bytes) of the value in its class."""
        sizes = LOAD_CLASSES[self.load]
        return sum(sizes[: self.item]), sizes[self.item]


class Dlt645(Strict):
    """A value of a DL/T 645 meter, by data identifier (four bytes of -2007, two of -1997, the highest first).

    `format` is the standard's: `XXXXXX.XX` are eight digits, two of them behind the point; letters other than X (`YYMMDDWW`,
    `NNNNNNNNNNNN`) are digits that make a text. A `block` (FF in one byte of the identifier) is read instead where the meter
    knows it; its items are of one format, and `item` counts them from 0. `record` is where the meter keeps the value's past:
    frozen values or load records.
    Two formats are ours: `word` is a status word of two bytes, lowest first, for points with `bits`; `clock` reads the date
    under `di` and the time under the next identifier, and gives the seconds that the meter's clock is ahead of ours.
    """

    di: int = Field(ge=0, le=0xFFFFFFFF, strict=True)
    format: str = Field(default="XXXXXX.XX", pattern=r"^(X{1,16}(\.X{1,8})?|[YMDWhmsN]{2,24}|word|clock)$")
    signed: bool = False
    block: int | None = Field(default=None, ge=0, le=0xFFFFFFFF, strict=True)
    item: int = Field(default=0, ge=0, le=99)
    record: Dlt645Record | Dlt645Load | None = None

    @model_validator(mode="after")
    def _whole_bytes(self) -> Self:
        if self.format in ("word", "clock"):
            if self.block is not None or self.signed:
                raise ValueError(f"format {self.format} has neither block nor sign")
            return self
        if sum(letter != "." for letter in self.format) % 2:
            raise ValueError(f"{self.format} has an odd number of digits; write a leading digit too, as XX.XX")
        if self.item and self.block is None:
            raise ValueError("item is a place in a block: give block")
        return self

    @model_validator(mode="after")
    def _fits_its_load(self) -> Self:
        if isinstance(self.record, Dlt645Load) and self.record.place[1] != self.size:
            raise ValueError(
                f"{self.format} is {self.size} bytes, and {self.record.place[1]} in the load record: see load and item"
            )
        return self

    @property
    def is_text(self) -> bool:
        return self.format[0] not in "Xwc"

    @property
    def size(self) -> int:
        """Bytes on the wire."""
        if self.format in ("word", "clock"):
            return 2 if self.format == "word" else 7
        return sum(letter != "." for letter in self.format) // 2

    @property
    def places(self) -> int:
        """Digits behind the point."""
        return len(self.format.partition(".")[2])

    @property
    def reference(self) -> str | None:
        """The address as people write it: those of -1997 have two bytes and begin with 9 to F."""
        return f"{self.di:04X}" if 0x9000 <= self.di <= 0xFFFF else f"{self.di:08X}"

    def shifted(self, step: int) -> Self:
        """Meters are told apart by their number."""
        return self


class Cjt188(Strict):
    """A value of a CJ/T 188 meter: a field of the answer to a data identifier, by name (`drivers.cjt188.items`). Its unit is
    the one that the meter sends.
    """

    cjt188: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    data_id: int = Field(default=0x901F, ge=0, le=0xFFFF, strict=True)

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return f"{self.data_id:04X} {self.cjt188}"

    def shifted(self, step: int) -> Self:
        """Meters are told apart by their number."""
        return self


class Mbus(Strict):
    """A record of an M-Bus meter's answer, by what it means: quantity (`drivers.mbus.vif`), function, storage, tariff, subunit.
    Its unit is the one that the meter sends. `nth` tells records apart that mean the same. `header_status` and `header_access`
    are fields of the fixed header.
    """

    mbus: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    function: Literal["", "max", "min", "error"] = ""
    storage: int = Field(default=0, ge=0)
    tariff: int = Field(default=0, ge=0)
    subunit: int = Field(default=0, ge=0)
    nth: int = Field(default=1, ge=1, le=99)
    vib: str | None = Field(default=None, pattern=r"^[0-9A-F]{2,40}$")
    """The value information field itself, where its meaning alone does not tell (a maker's own)."""

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        text = f"{self.mbus}_{self.function}" if self.function else self.mbus
        for name in ("storage", "tariff", "subunit"):
            number = getattr(self, name)
            text += f" {name} {number}" if number else ""
        return text if self.nth == 1 else f"{text} #{self.nth}"

    def shifted(self, step: int) -> Self:
        """Meters are told apart by their number."""
        return self
