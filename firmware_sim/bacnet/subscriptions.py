"""Change-of-value subscriptions of one simulated device, and the notifications they owe. Source: clauses 13.1, 13.14, 13.15."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from firmware_sim.bacnet import names, tags
from firmware_sim.bacnet.objects import Flags, PropertyFault, SimObject
from firmware_sim.bacnet.tags import Reader

P = TypeVar("P")
Finder = Callable[[int], SimObject | None]


@dataclass(slots=True)
class Subscription(Generic[P]):
    """Who wants to know what. `peer` is how the server reaches the subscriber."""

    peer: P
    process: int
    one: SimObject
    prop: int | None
    """None: the object as a whole; else the property of SubscribeCOVProperty."""
    confirmed: bool
    ends_at: float | None
    """Monotonic seconds; None: until it is cancelled."""
    increment: float | None = None
    told: tuple[float | str, Flags] | None = None

    def notification(self, device_key: int, now: float) -> bytes:
        """The parameters of a notification; what it says counts as told."""
        self.told = (self.one.value, self.one.flags)
        left = 0 if self.ends_at is None else max(1, round(self.ends_at - now))
        values = b"".join(
            tags.context_unsigned(0, prop) + tags.wrapped(2, value)
            for prop, value in self.one.cov_values()
            if self.prop in (None, prop, names.PRESENT_VALUE)
        )
        return (
            tags.context_unsigned(0, self.process)
            + tags.context_object(1, device_key)
            + tags.context_object(2, self.one.key)
            + tags.context_unsigned(3, left)
            + tags.wrapped(4, values)
        )


@dataclass(slots=True)
class Subscriptions(Generic[P]):
    """At most `most` of them."""

    most: int
    held: dict[tuple[P, int, int, int | None], Subscription[P]] = field(default_factory=dict)

    def subscribe(
        self, peer: P, payload: bytes, find: Finder, now: float, *, by_property: bool
    ) -> Subscription[P] | None:
        """The new or renewed subscription; None for a cancellation. Raises PropertyFault and TagError."""
        reader = Reader(payload)
        process, key = reader.unsigned(0), reader.object(1)
        confirmed, lifetime = reader.optional(2), reader.optional(3)
        prop = increment = None
        if by_property:
            inner = Reader(reader.inside(4))
            prop = inner.unsigned(0)
            if reader.is_next(5):
                raw = reader.expect(5)
                increment = float(tags.simple_value(tags.Tag(tags.REAL, "app", raw)) or 0.0)
        one = find(key)
        if one is None:
            raise PropertyFault(names.UNKNOWN_OBJECT)
        if not _tells(one) or prop not in (None, names.PRESENT_VALUE, names.STATUS_FLAGS):
            raise PropertyFault(names.NO_COV)
        place = (peer, process, one.key, prop)
        if confirmed is None and lifetime is None:
            self.held.pop(place, None)
            return None
        if place not in self.held and len(self.held) >= self.most:
            raise PropertyFault(names.NO_LIST_SPACE)
        ends_at = now + lifetime if lifetime else None
        self.held[place] = Subscription(peer, process, one, prop, bool(confirmed), ends_at, increment)
        return self.held[place]

    def due(self, now: float) -> list[Subscription[P]]:
        """Those whose value moved; those whose time is over are forgotten."""
        for place in [place for place, one in self.held.items() if one.ends_at is not None and one.ends_at <= now]:
            del self.held[place]
        return [one for one in self.held.values() if one.one.has_moved(one.told, one.increment)]

    def forget(self) -> None:
        self.held.clear()


def _tells(one: SimObject) -> bool:
    """Objects of which a change of value is told (table 13-1, as far as simulated)."""
    return one.kind in names.ANALOG | names.BINARY | names.MULTISTATE or one.row.kind == "CSV"
