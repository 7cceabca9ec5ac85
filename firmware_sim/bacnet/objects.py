"""The objects of a simulated device: their properties as encoded bytes, their priority arrays, what may be written.

Values come from the device's world and go back to it (device.py calls `take` and `give`); the services are in services.py.
"""

from __future__ import annotations

import math
import struct
from functools import lru_cache

from firmware_sim.bacnet import names, tags
from firmware_sim.bacnet.models import Row
from firmware_sim.bacnet.world import World

Flags = tuple[bool, bool, bool, bool]
"""in-alarm, fault, overridden, out-of-service."""

_HEAD = (names.OBJECT_IDENTIFIER, names.OBJECT_NAME, names.OBJECT_TYPE)
_STATE = (names.PRESENT_VALUE, names.STATUS_FLAGS, names.EVENT_STATE, names.OUT_OF_SERVICE)
_COMMAND = (names.PRIORITY_ARRAY, names.RELINQUISH_DEFAULT)
_NUMBER_OF_STATES, _STATE_TEXT, _ACTIVE_TEXT, _INACTIVE_TEXT, _POLARITY = 74, 110, 4, 46, 84
_MIN_VALUE, _MAX_VALUE, _RESOLUTION, _SCALE = 69, 65, 106, 187
_OFF_NORMAL = 2
_LOWEST = 15
"""Index of priority 16, where a controller's own programme writes."""
_MINIMUM_ON_OFF = 6
"""A priority nobody may write (clause 19.2.3)."""


class PropertyFault(Exception):
    """A read or write that is answered with an error; `cause` is (class, code)."""

    def __init__(self, cause: tuple[int, int]) -> None:
        super().__init__(f"error class {cause[0]} code {cause[1]}")
        self.cause = cause


def encoded(kind: int, value: float | str) -> bytes:
    """A present value in its object type's datatype."""
    if kind in names.ANALOG:
        return tags.real(float(value))
    if kind in names.BINARY:
        return tags.enumerated(int(bool(value)))
    if isinstance(value, str):
        return tags.text(value)
    return tags.unsigned(max(0, int(value)))


class SimObject:
    """An object whose present value is a number, a state or a text."""

    __slots__ = (
        "description",
        "flags",
        "increment",
        "key",
        "kind",
        "name",
        "out_of_service",
        "reliability",
        "relinquish",
        "row",
        "slots",
        "value",
    )  # fmt: skip

    def __init__(self, row: Row) -> None:
        self.row = row
        self.kind = names.KINDS[row.kind]
        self.key = names.object_id(self.kind, row.instance)
        self.name, self.description = row.name, row.description
        self.relinquish: float | str = self._first()
        self.value: float | str = self.relinquish
        self.slots: list[float | None] | None = [None] * 16 if self.is_commandable else None
        self.increment, self.reliability, self.out_of_service = row.increment, 0, False
        self.flags: Flags = (False, False, False, False)

    def _first(self) -> float | str:
        value = self.row.default
        return 1.0 if self.kind in names.MULTISTATE and value == 0.0 else value

    @property
    def is_commandable(self) -> bool:
        return self.row.kind in ("AO", "BO", "MSO") or self.row.writes == "commandable"

    # world

    def take(self, world: World) -> bool:
        """The value from the world, or from its programme; True where value or flags changed."""
        before, quantity = (self.value, self.flags), self.row.quantity
        if self.slots is not None:
            if quantity in world.program:
                self.slots[_LOWEST] = world.program[quantity]
            if not self.out_of_service:
                self.value = self.commanded()
        elif quantity and not self.row.writes and not self.out_of_service:
            self.value = world.out.get(quantity, self.value)
        self._set_flags()
        return before != (self.value, self.flags)

    def give(self, world: World) -> None:
        """What the world has to obey: a set-point, or a command above the programme's."""
        quantity = self.row.quantity
        if not quantity or not (self.row.writes or self.slots) or isinstance(self.value, str):
            return
        slots = self.slots
        if slots is not None and quantity in world.program and all(slot is None for slot in slots[:_LOWEST]):
            world.inputs.pop(quantity, None)
        else:
            world.inputs[quantity] = self.value

    def commanded(self) -> float | str:
        """The value of the highest priority that has one, else the relinquish default."""
        return next((slot for slot in self.slots or () if slot is not None), self.relinquish)

    def _set_flags(self) -> None:
        alarm = bool(self.value) and self.row.texts[-1:] == ("Alarm",)
        self.flags = (alarm, self.reliability != 0, self.flags[2], self.out_of_service)

    # reading

    def read(self, prop: int, index: int | None = None) -> bytes:
        """A property, or one element of it, encoded. Raises PropertyFault."""
        if prop == names.PRESENT_VALUE and index is None and type(self) is SimObject:  # what nearly everyone asks
            return encoded(self.kind, self.value)
        items = self.array(prop)
        if items is not None:
            if index is None:
                return b"".join(items)
            if index == 0:
                return tags.unsigned(len(items))
            if index > len(items):
                raise PropertyFault(names.BAD_INDEX)
            return items[index - 1]
        value = self.single(prop)
        if value is None:
            raise PropertyFault(names.UNKNOWN_PROPERTY)
        if index is not None:
            raise PropertyFault(names.NO_ARRAY)
        return value

    def array(self, prop: int) -> list[bytes] | None:
        """The elements of an array property; None where this is none of the object's arrays."""
        if prop == names.PRIORITY_ARRAY and self.slots is not None:
            return [tags.null() if slot is None else encoded(self.kind, slot) for slot in self.slots]
        if prop == _STATE_TEXT and self.kind in names.MULTISTATE:
            return [tags.text(text) for text in self.row.texts]
        if prop == names.PROPERTY_LIST:
            return [tags.enumerated(one) for one in (*self.required(), *self.optional()) if one not in _HEAD]
        return None

    def single(self, prop: int) -> bytes | None:
        """A property that is no array, encoded; None where the object has none of that number."""
        if prop == names.PRESENT_VALUE:
            return encoded(self.kind, self.value)
        if prop == names.STATUS_FLAGS:
            return tags.bits(self.flags)
        if prop == names.OBJECT_NAME:
            return tags.text(self.name)
        if prop == names.DESCRIPTION:
            return tags.text(self.description)
        if prop == names.RELIABILITY and prop in self.optional():
            return tags.enumerated(self.reliability)
        if prop == names.EVENT_STATE:
            return tags.enumerated(1 if self.flags[1] else _OFF_NORMAL if self.flags[0] else 0)
        if prop == names.OUT_OF_SERVICE:
            return tags.boolean(self.out_of_service)
        if prop == names.RELINQUISH_DEFAULT and self.slots is not None:
            return encoded(self.kind, self.relinquish)
        if prop == names.COV_INCREMENT and self.kind in names.ANALOG:
            return tags.real(self.increment)
        return _fixed(self.row).get(prop)

    def required(self) -> tuple[int, ...]:
        """Properties of conformance code R, in the order of the standard's tables."""
        own: tuple[int, ...] = ()
        if self.kind in names.ANALOG:
            own = (names.UNIT,)
        elif self.kind in names.MULTISTATE:
            own = (_NUMBER_OF_STATES,)
        elif self.row.kind in ("BI", "BO"):
            own = (_POLARITY,)
        elif self.row.kind == "ACC":
            own = (_SCALE, names.UNIT, _MAX_VALUE)
        elif self.row.kind == "CSV":
            return (*_HEAD, names.PRESENT_VALUE, names.STATUS_FLAGS)
        command = _COMMAND if self.row.kind in ("AO", "BO", "MSO") else ()
        return (*_HEAD, *_STATE, *own, *command)

    def optional(self) -> tuple[int, ...]:
        if self.row.kind == "CSV":
            return (names.DESCRIPTION, names.EVENT_STATE, names.OUT_OF_SERVICE)
        own: tuple[int, ...] = ()
        if self.kind in names.ANALOG:
            limits = (_MIN_VALUE, _MAX_VALUE) if self.row.low is not None else ()
            own = (*limits, _RESOLUTION, names.COV_INCREMENT)
        elif self.kind in names.BINARY and self.row.texts:
            own = (_INACTIVE_TEXT, _ACTIVE_TEXT)
        elif self.kind in names.MULTISTATE and self.row.texts:
            own = (_STATE_TEXT,)
        command = _COMMAND if self.slots is not None and self.row.kind not in ("AO", "BO", "MSO") else ()
        return (names.DESCRIPTION, names.RELIABILITY, *own, *command)

    # writing

    def write(self, prop: int, data: bytes, index: int | None, priority: int | None) -> None:
        """A WriteProperty. Raises PropertyFault, and TagError for bytes that are no value."""
        if index is not None and self.array(prop) is None:
            raise PropertyFault(names.NO_ARRAY if self.single(prop) is not None else names.UNKNOWN_PROPERTY)
        reader = tags.Reader(data)
        tag = reader.take()
        if not reader.is_done:
            raise PropertyFault(names.BAD_TYPE)
        value = tags.simple_value(tag)
        if prop == names.PRESENT_VALUE:
            self._write_present(tag, value, priority)
        elif prop == names.OUT_OF_SERVICE and isinstance(value, bool):
            self.out_of_service = value
        elif prop in (names.OBJECT_NAME, names.DESCRIPTION) and isinstance(value, str):
            if prop == names.OBJECT_NAME:
                raise PropertyFault(names.WRITE_DENIED)
            self.description = value
        elif prop == names.COV_INCREMENT and self.kind in names.ANALOG and isinstance(value, float):
            if not value >= 0:
                raise PropertyFault(names.OUT_OF_RANGE)
            self.increment = value
        elif prop == names.RELINQUISH_DEFAULT and self.slots is not None and value is not None:
            self.relinquish = self._checked(tag, value)
        elif self.array(prop) is None and self.single(prop) is None:
            raise PropertyFault(names.UNKNOWN_PROPERTY)
        else:
            known = {names.OUT_OF_SERVICE, names.DESCRIPTION, names.COV_INCREMENT}
            raise PropertyFault(names.BAD_TYPE if prop in known else names.WRITE_DENIED)
        self._set_flags()

    def _write_present(self, tag: tags.Tag, value: tags.Value, priority: int | None) -> None:
        if self.slots is None:
            if not (self.row.writes == "plain" or self.out_of_service):
                raise PropertyFault(names.WRITE_DENIED)
            self.value = self._checked(tag, value)
            return
        slot = 16 if priority is None else priority
        if not 1 <= slot <= 16:
            raise PropertyFault(names.OUT_OF_RANGE)
        if slot == _MINIMUM_ON_OFF:
            raise PropertyFault(names.WRITE_DENIED)
        number = None if value is None and tag.number == tags.NULL else self._checked(tag, value)
        self.slots[slot - 1] = None if number is None else float(number)
        self.value = self.commanded()

    def _checked(self, tag: tags.Tag, value: tags.Value) -> float | str:
        """A value of this object's datatype within its limits. Raises PropertyFault."""
        if self.row.kind == "CSV":
            if isinstance(value, str):
                return value
            raise PropertyFault(names.BAD_TYPE)
        wanted = (
            tags.REAL if self.kind in names.ANALOG else tags.ENUMERATED if self.kind in names.BINARY else tags.UNSIGNED
        )
        if tag.number != wanted or not isinstance(value, int | float):
            raise PropertyFault(names.BAD_TYPE)
        low, high = self.row.low, self.row.high
        if self.kind in names.BINARY:
            low, high = 0, 1
        elif self.kind in names.MULTISTATE:
            low, high = 1, len(self.row.texts)
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            raise PropertyFault(names.OUT_OF_RANGE)
        return float(value)

    def has_moved(self, since: tuple[float | str, Flags] | None, increment: float | None) -> bool:
        """Whether a subscriber who was told `since` has to be told again (clause 13.1)."""
        if since is None or since[1] != self.flags:
            return True
        was = since[0]
        if self.kind in names.ANALOG and isinstance(was, float | int) and isinstance(self.value, float | int):
            step = self.increment if increment is None else increment
            return abs(self.value - was) >= step if step > 0 else _single(self.value) != _single(was)
        return was != self.value

    def cov_values(self) -> tuple[tuple[int, bytes], ...]:
        """What a notification says."""
        return ((names.PRESENT_VALUE, encoded(self.kind, self.value)), (names.STATUS_FLAGS, tags.bits(self.flags)))


def _single(value: float) -> bytes:
    return struct.pack(">f", value)


@lru_cache(maxsize=65_536)
def _fixed(row: Row) -> dict[int, bytes]:
    """Properties that never change, encoded once for all devices of a make."""
    kind = names.KINDS[row.kind]
    known = {
        names.OBJECT_IDENTIFIER: tags.object_identifier(names.object_id(kind, row.instance)),
        names.OBJECT_TYPE: tags.enumerated(kind),
    }
    if kind in names.ANALOG or row.kind == "ACC":
        known[names.UNIT] = tags.enumerated(names.UNITS[row.units])
    if kind in names.ANALOG:
        known[_RESOLUTION] = tags.real(0.1)
        if row.low is not None and row.high is not None:
            known |= {_MIN_VALUE: tags.real(row.low), _MAX_VALUE: tags.real(row.high)}
    if row.kind == "ACC":
        known |= {_SCALE: tags.context(1, b"\0"), _MAX_VALUE: tags.unsigned(99_999_999)}
    if kind in names.BINARY:
        if row.kind != "BV":
            known[_POLARITY] = tags.enumerated(0)
        if row.texts:
            known |= {_INACTIVE_TEXT: tags.text(row.texts[0]), _ACTIVE_TEXT: tags.text(row.texts[1])}
    if kind in names.MULTISTATE:
        known[_NUMBER_OF_STATES] = tags.unsigned(len(row.texts))
    return known
