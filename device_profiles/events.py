"""The names of the contract's events, and what a profile says about which of a device's messages are which. Data only."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .strict import Strict

EventName = Literal[
    "access.granted", "access.denied", "access.forced", "access.held_open", "access.duress", "card.read", "keypad.entered",
    "gate.opened", "gate.closed", "gate.pass", "gate.obstructed", "vehicle.entered", "vehicle.left",
    "camera.motion", "camera.line_cross", "camera.tamper", "camera.offline", "call.raised", "call.answered",
    "alarm.raised", "alarm.cleared",
]  # fmt: skip
"""Events of CONTRACT.md section 7 that a device can be the source of."""


class EventSource(Strict):
    """One kind of a device's own messages, and the event of the contract that it is.

    Of several sources whose `when` fits, the first one counts, so a general one comes last.
    """

    event: EventName | None
    """None: known, and no event (a heartbeat)."""
    when: dict[str, Any] = Field(default_factory=dict)
    """What tells the message, in the driver's own words: ISAPI `{major: 5, minor: [1, 75]}`. Each key must fit; a list fits with
    any of its elements."""
    data: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Fields of the event that are always so: `{reason: expired_card}`, `{id: tamper, sev: high}` of an alarm; `moment: true` for
    an alarm whose end the device does not tell."""
    label: str = ""
    """The maker's own words."""

    def fits(self, message: dict[str, Any]) -> bool:
        """All that `when` asks for stands in the message."""
        return all(
            key in message and (message[key] in want if isinstance(want, list) else message[key] == want)
            for key, want in self.when.items()
        )


def source_of(sources: tuple[EventSource, ...], message: dict[str, Any]) -> EventSource | None:
    """The first source that fits a device's message; None when the profile knows no such message."""
    return next((source for source in sources if source.fits(message)), None)
