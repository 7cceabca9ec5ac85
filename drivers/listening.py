"""What happens at a device, and the devices that dial in: the capability of drivers beside reading (see drivers.base).

A driver tells what happened in the contract's terms (name, data), says which card or plate it was in clear (`Clear`: the agent
makes a pseudonym of it before anything is written), and gives what the device itself numbers or stamps its records with. It
does not know what was told before: the agent keeps the cursor, drops repeats and asks for what is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from device_profiles.credential import Clear, Credential
from device_profiles.events import EventName, EventSource

from .base import Address


@dataclass(frozen=True, slots=True)
class Listened:
    """A device whose events are wanted, with what its profile and its entry say about them."""

    address: Address
    events: tuple[EventSource, ...] = ()
    credential: Credential | None = None
    direction: Literal["in", "out"] | None = None
    """Which way one goes who is let through here, for devices that do not say."""
    tz: str = "UTC"
    """IANA time zone of the device's own clock, where it says no offset."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened at a device.

    `key` tells it from all others of this device and is the same however often and whichever way it is told (`record:4711`); it
    contains no card and no plate: the agent adds their pseudonyms to it.
    """

    device: str
    name: EventName
    key: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the event (`gateway.contract.events`)."""
    clear: Mapping[str, Clear] = field(default_factory=dict)
    """Fields that become pseudonyms: `card`, `plate`."""
    t_ms: int | None = None
    """The device's own time, UTC ms; None where it has none: the agent's clock counts."""
    index: int | None = None
    """The device's own number of this record, growing by one, where it keeps them."""
    from_memory: bool = False
    """Read from what the device kept, not heard as it happened."""


@runtime_checkable
class CanListen(Protocol):
    """Tells what happens at its devices, as it happens."""

    async def listen(self, device: Listened) -> None:
        """From now on this device's events are told; called again it replaces what was said before.

        Raises DeviceError when the device must be asked and does not answer (the agent tries again), LinkError.
        """
        ...

    async def forget(self, device: Address) -> None:
        """Ends it, as well as it can be ended."""
        ...

    def occurrences(self) -> AsyncIterator[Sequence[Occurrence]]:
        """What happened since the last turn, oldest first, in order per device, never an empty turn. One reader; ends with the
        session. The queue behind it is bounded: a device that is answered (a push) waits while it is full; what cannot wait is
        counted in `dropped` and recalled later where the device keeps it.
        """
        ...

    def stored(self, turn: Sequence[Occurrence]) -> None:
        """This turn is on the disk of the box: the devices may be told to forget it. Called once a turn, in order."""
        ...


@runtime_checkable
class CanRecallEvents(Protocol):
    """Reads the events that a device keeps in its own memory, by its own index."""

    async def kept(self, device: Address) -> tuple[int, int] | None:
        """(oldest, newest) index in the device's memory; None when it is empty. Raises DeviceError, LinkError."""
        ...

    def recall_events(self, device: Address, after: int) -> AsyncIterator[Sequence[Occurrence]]:
        """The records with an index above `after` (0 = all), oldest first, in portions; `from_memory` and `index` are set.

        Raises DeviceError, LinkError. The device was given to `listen` before.
        """
        ...
