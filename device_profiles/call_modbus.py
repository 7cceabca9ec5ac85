"""What `call` of an operation says on Modbus: one coil or register, written once or as a pulse. Data, and its rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from pydantic import Field, ValidationError, model_validator

from .strict import Strict
from .yamlfile import KeyPath

if TYPE_CHECKING:
    from .schema import Profile

MAX_PULSE_S = 10.0


class ModbusCall(Strict):
    """`{coil: 0, pulse_s: 0.5}` switches on and off again; `{coil: 0, value: 1}` and `{reg: 4, value: 2}` write once.

    `{coil: 0x0200, data: 5}` is function 05 with a word of the device's own, for boards that time a pulse by themselves. That is
    the better way: the pulse ends whatever becomes of us.
    """

    coil: int | None = Field(default=None, ge=0, le=65535)
    reg: int | None = Field(default=None, ge=0, le=65535)
    value: int | None = Field(default=None, ge=0, le=65535)
    pulse_s: float | None = Field(default=None, ge=0.05, le=MAX_PULSE_S)
    data: int | None = Field(default=None, ge=0, le=65535)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if (self.coil is None) == (self.reg is None):
            raise ValueError("give either coil or reg")
        if sum(each is not None for each in (self.value, self.pulse_s, self.data)) != 1:
            raise ValueError("give one of value, pulse_s and data")
        if self.reg is not None and self.value is None:
            raise ValueError("a register is written with value")
        if self.coil is not None and self.value not in (None, 0, 1):
            raise ValueError(f"a coil is 0 or 1, not {self.value}")
        return self


def modbus_call_rules(profile: Profile) -> Iterator[tuple[KeyPath, str, str]]:
    """Operations of a Modbus profile whose `call` is none: (path, what, next step)."""
    if profile.protocol != "modbus":
        return
    for index, operation in enumerate(profile.operations):
        try:
            ModbusCall.model_validate(operation.call)
        except ValidationError as error:
            what = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            yield ("operations", index, "call"), what, "write {coil: 0, pulse_s: 0.5}"
