"""Where a point is on its device: one address model a protocol.

Addresses are the driver's business only. In a file the keys of a Modbus address may stand beside the point's own: `reg: 0x34`
(with `table`), or `model: 103` with `at: 14`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

Table = Literal["holding", "input", "coil", "discrete"]

SHORT_KEYS = ("table", "reg", "model", "at")
"""Keys of an address that may stand beside the point's own."""

SHORT_SCHEMA: dict[str, Any] = {
    "reg": {"type": "integer", "minimum": 0, "maximum": 65535, "description": "Register from 0, as on the wire."},
    "table": {"enum": ["holding", "input", "coil", "discrete"]},
    "model": {
        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}],
        "description": "SunSpec model.",
    },
    "at": {"type": "integer", "minimum": 0, "description": "Register inside the SunSpec model, counted from its ID."},
}


class Strict(BaseModel):
    """A key that is not known is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Modbus(Strict):
    """A Modbus address. Registers are numbered from 0 as on the wire; `model` and `offset` instead of `reg` for SunSpec
    (offset counts from the model's ID register, as the SunSpec model documents do)."""

    table: Table = "holding"
    reg: int | None = Field(default=None, ge=0, le=65535)
    model: int | tuple[int, ...] | None = None
    """A SunSpec model, or several that keep the point at the same offset (101, 102, 103)."""
    offset: int | None = Field(default=None, ge=0, le=65535, validation_alias=AliasChoices("at", "offset"))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.model is None) != (self.offset is None):
            raise ValueError("a SunSpec address needs both model and at")
        if self.model is not None and self.reg is not None:
            raise ValueError("an address has either reg, or model and at")
        return self


class Virtual(Strict):
    """A sum over other devices' points: `plus` minus `minus`, each `device/point`."""

    plus: tuple[str, ...] = ()
    minus: tuple[str, ...] = ()


def _address_kind(value: Any) -> str:
    """Tells the protocols' addresses apart by their keys; what is neither stays a mapping for its own driver to read."""
    if isinstance(value, Modbus) or (isinstance(value, dict) and value.keys() & {"table", "reg", "model"}):
        return "Modbus"
    if isinstance(value, Virtual) or (isinstance(value, dict) and value.keys() & {"plus", "minus"}):
        return "Virtual"
    return "Other"


AnyAddress = Annotated[
    Annotated[Modbus, Tag("Modbus")] | Annotated[Virtual, Tag("Virtual")] | Annotated[dict[str, Any], Tag("Other")],
    Discriminator(_address_kind),
]


def with_address(data: Any) -> Any:
    """`reg`, `table`, `model` and `at` of a point put into its address."""
    if not isinstance(data, dict) or not any(key in data for key in SHORT_KEYS):
        return data
    rest = {key: value for key, value in data.items() if key not in SHORT_KEYS}
    short = {key: data[key] for key in SHORT_KEYS if key in data}
    given = rest.get("address") or {}
    if not isinstance(given, dict) or short.keys() & given.keys():
        return data  # both forms at once: the unknown key is then the error
    return {**rest, "address": {**short, **given}}
