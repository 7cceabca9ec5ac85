"""What is known of a reader, what it told, and what is wanted of it: the nouns of the conversation. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from device_profiles.errors import DeviceError

from . import words


class Phase(Enum):
    """Where the conversation is."""

    GONE = auto()
    BEGINNING = auto()
    POLLING = auto()


@dataclass(slots=True)
class Order:
    """A command that is slipped in between the polls. `done` is called once, with the reply's (code, data) or the error."""

    code: int
    data: bytes
    done: Callable[[tuple[int, bytes] | DeviceError], None]


@dataclass(slots=True)
class Facts:
    """What is known of a reader now. None = it has not said."""

    online: bool = False
    secure: bool = False
    install: bool = False
    """The channel is encrypted with the key that everybody knows."""
    tamper: bool | None = None
    power: bool | None = None
    inputs: tuple[bool, ...] = ()
    outputs: tuple[bool, ...] = ()
    readers: tuple[int, ...] = ()
    """RSTATR: 0 normal, 1 not connected, 2 tampered with."""
    identity: words.Identity | None = None
    capabilities: dict[int, tuple[int, int]] = field(default_factory=dict)
    trouble: str = ""
    """Why it is not online, or not secure, in words."""
    changed: int = 0
    """Grows when the reader came or went: who waits for the first contact looks here."""


class Told:
    """What a reader said that somebody may want to hear of: (the driver's words for a profile's `when`, its reply's data).

    `fault` says what could not be understood.
    """

    __slots__ = ("card", "count", "fault", "message", "text")

    def __init__(
        self, message: dict[str, object], *, card: words.Card | None = None, text: str | None = None, count: int = 0,
        fault: str = "",
    ) -> None:  # fmt: skip
        self.message, self.card, self.text, self.count, self.fault = message, card, text, count, fault


def changes(name: str, before: tuple[bool | None, ...], now: tuple[bool, ...]) -> list[Told]:
    """What is another than before; at first what is active."""
    old = (*before, *(None for _ in range(len(now) - len(before))))
    numbered = name in ("input", "output")
    return [
        Told({"status": name, "active": is_on, **({"number": at} if numbered else {})})
        for at, (was, is_on) in enumerate(zip(old, now, strict=False))
        if was is not is_on and not (numbered and was is None and not is_on)
    ]
