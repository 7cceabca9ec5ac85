"""One terminal as it was heard: when, from where, what it said of itself, its doors, and the commands that wait for it."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from device_profiles.reading import PointFault, Raw
from drivers.base import Address
from drivers.listening import Listened

from .protocol import MOST_OPTIONS

MOST_COMMANDS = 16


@dataclass(slots=True)
class Command:
    """A line for the terminal. `done` gets the terminal's return code."""

    number: int
    text: str
    done: asyncio.Future[int]
    is_fetched: bool = False


@dataclass(slots=True)
class Terminal:
    """What is known of it since the link was opened."""

    address: Address
    listened: Listened | None = None
    heard_at: float | None = None
    """Monotonic seconds of its last request."""
    host: str = ""
    trusted_host: str = ""
    """Where it showed its secret from."""
    is_security: bool = False
    """It speaks security push; else attendance push."""
    options: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    """Its last `rtstate`."""
    stamps: dict[str, str] = field(default_factory=dict)
    """The stamp of the last upload that was stored, by table."""
    skew_s: float | None = None
    """Its clock less ours, where it showed it."""
    contact: asyncio.Event = field(default_factory=asyncio.Event)
    commands: deque[Command] = field(default_factory=deque)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def learn(self, options: Mapping[str, str]) -> None:
        """What it says of itself; of new names only as many as a terminal can have."""
        for name, value in options.items():
            if name in self.options or len(self.options) < MOST_OPTIONS:
                self.options[name] = value

    def command(self, text: str) -> Command:
        """Puts a command into the queue, which the terminal fetches. The caller bounds it by `MOST_COMMANDS`."""
        made = Command(next(self._numbers), text, asyncio.get_running_loop().create_future())
        self.commands.append(made)
        return made

    def fetch(self) -> list[Command]:
        """What the terminal has not fetched yet, oldest first. Each is given out once."""
        found = [command for command in self.commands if not command.is_fetched]
        for command in found:
            command.is_fetched = True
        return found

    def result(self, number: int, code: int) -> bool:
        """A command was carried out, or not. False for a number that nobody waits for."""
        for command in self.commands:
            if command.number == number and command.is_fetched:
                if not command.done.done():
                    command.done.set_result(code)
                self.commands.remove(command)
                return True
        return False

    def value(self, told: str, door: int | None) -> Raw | PointFault:
        """A point's value."""
        if told == "online":
            return True
        if told == "clock":
            return round(self.skew_s, 1) + 0.0 if self.skew_s is not None else _nothing("its time")
        if told in ("door_open", "unlocked"):
            return self._of_door(told, door or 1)
        text = self.options.get(told.removeprefix("~"))
        return _nothing(told) if text is None else _number(text)

    def _of_door(self, told: str, door: int) -> Raw | PointFault:
        """Sensors have two bits a door (0 none, 1 closed, 2 open), relays one, door 1 lowest, four and eight doors a byte."""
        bits = 2 if told == "door_open" else 1
        text = self.states.get("sensor" if told == "door_open" else "relay", "")
        at, shift = divmod((door - 1) * bits, 8)
        try:
            state = bytes.fromhex(text)[at] >> shift & (1 << bits) - 1
        except (ValueError, IndexError):
            return _nothing(f"the state of door {door}")
        if told == "door_open":
            return PointFault("BadSensorFailure", f"door {door} has no contact") if state == 0 else state == 2
        return state == 1


def _nothing(what: str) -> PointFault:
    return PointFault("BadWaitingForInitialData", f"the terminal has not told {what} yet")


def _number(text: str) -> Raw:
    try:
        return int(text)
    except ValueError:
        return text
