"""Where a point is in an access controller: what a UHPPOTE board answers, and what a ZKTeco terminal told when it dialled in."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from .strict import Strict

BOARD_OF_DOORS = ("door_open", "button", "unlocked", "locked", "mode", "delay")
"""What a board has for each of its doors."""


class Uhppote(Strict):
    """A value of a UHPPOTE board; `door` is 1 to 4.

    `unlocked`: the door's relay is drawn. `mode` is 1 held open, 2 held closed, 3 controlled by cards; `delay` the seconds for
    which it is unlocked. `clock` is the seconds that the board's clock is ahead of ours; `newest` the index of its newest record,
    `records` how many it keeps.
    """

    board: Literal[
        "online", "door_open", "button", "unlocked", "locked", "mode", "delay", "error", "special", "inputs", "clock",
        "newest", "records", "cards",
    ]  # fmt: skip
    door: int | None = Field(default=None, ge=1, le=4)

    @model_validator(mode="after")
    def _has_door(self) -> Self:
        if (self.door is None) == (self.board in BOARD_OF_DOORS):
            raise ValueError(f"{self.board} {'needs' if self.door is None else 'has no'} door")
        return self

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.board if self.door is None else f"{self.board} {self.door}"

    def shifted(self, step: int) -> Self:
        """The same of the next door."""
        return self if self.door is None else self.model_copy(update={"door": min(self.door + step, 4)})


class Told(Strict):
    """What a terminal told last: an option of its own (`told: ~DeviceName`, `told: UserCount`), or one of these.

    `online`: it was heard within the link's `silent`. `clock`: the seconds that its clock is ahead of ours, where it says so.
    `door_open` and `unlocked` of one `door`: from its `rtstate`.
    """

    told: str = Field(pattern=r"^~?[A-Za-z][A-Za-z0-9_]{0,62}$")
    door: int | None = Field(default=None, ge=1, le=8)

    @property
    def reference(self) -> str | None:
        """The address as people write it."""
        return self.told if self.door is None else f"{self.told} {self.door}"

    def shifted(self, step: int) -> Self:
        """The same of the next door."""
        return self if self.door is None else self.model_copy(update={"door": min(self.door + step, 8)})
