"""Which questions bring a board's points: one status for most of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from device_profiles.address import Uhppote
from device_profiles.errors import ConfigError
from device_profiles.schema import Point
from drivers.base import Batch, LinkConfig

from .frame import SIZE

_MEMORY = ("newest", "records")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: `status`, `door`, `memory` or `cards`, and what of its answer is wanted."""

    kind: str
    door: int
    wanted: tuple[Uhppote, ...]


def plan(points: Sequence[Point], link: LinkConfig) -> tuple[Batch, ...]:
    """A batch a question. Raises ConfigError for a point without an address."""
    groups: dict[tuple[str, int], list[tuple[Point, Uhppote]]] = {}
    for point in points:
        address = point.address
        if not isinstance(address, Uhppote):
            raise ConfigError(f"{point.id} has no address on a UHPPOTE board", where=link.id, next_step="add board:")
        kind = "status"
        if address.board in ("mode", "delay"):
            kind = "door"
        elif address.board in _MEMORY:
            kind = "memory"
        elif address.board == "cards":
            kind = "cards"
        groups.setdefault((kind, (address.door or 0) if kind == "door" else 0), []).append((point, address))
    return tuple(
        Batch(
            points=tuple(point.id for point, _ in group),
            request_bytes=SIZE,
            reply_bytes=SIZE,
            plan=Ask(kind, door, tuple(address for _, address in group)),
        )
        for (kind, door), group in groups.items()
    )
