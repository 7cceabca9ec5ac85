"""Objects that are more than a value: calendar, schedule, lift, trend log, and the device object itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from firmware_sim.bacnet import names, tags
from firmware_sim.bacnet.models import Row
from firmware_sim.bacnet.objects import Flags, PropertyFault, SimObject, encoded
from firmware_sim.bacnet.world import World

Local = Callable[[], datetime]
"""The device's local time on the simulated clock, without zone."""


def encoded_date(day: datetime) -> bytes:
    return tags.date(day.year, day.month, day.day, day.isoweekday())


def encoded_time(at: datetime) -> bytes:
    return tags.time(at.hour, at.minute, at.second, at.microsecond // 10_000)


class ListedObject(SimObject):
    """An object whose properties are a table: `more` after those every object has."""

    __slots__ = ("local",)
    HEAD = (names.OBJECT_IDENTIFIER, names.OBJECT_NAME, names.OBJECT_TYPE)

    def __init__(self, row: Row, local: Local) -> None:
        super().__init__(row)
        self.local = local

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        """Property -> its encoding, or its elements where it is an array."""
        raise NotImplementedError

    def array(self, prop: int) -> list[bytes] | None:
        if prop == names.PROPERTY_LIST:
            return [tags.enumerated(one) for one in self.required()[3:]]
        known = self.more().get(prop)
        value = known() if known is not None else None
        return value if isinstance(value, list) else None

    def single(self, prop: int) -> bytes | None:
        if prop in self.HEAD or prop == names.DESCRIPTION:
            return super().single(prop)
        known = self.more().get(prop)
        value = known() if known is not None else None
        return value if isinstance(value, bytes) else None

    def required(self) -> tuple[int, ...]:
        return (*self.HEAD, names.DESCRIPTION, *self.more())

    def optional(self) -> tuple[int, ...]:
        return ()

    def write(self, prop: int, data: bytes, index: int | None, priority: int | None) -> None:
        known = prop in self.more() or prop in self.HEAD or prop == names.DESCRIPTION
        raise PropertyFault(names.WRITE_DENIED if known else names.UNKNOWN_PROPERTY)


class Calendar(ListedObject):
    """Holidays: the first of January, the first three days of October, in every year."""

    __slots__ = ()
    DAYS = ((1, 1), (10, 1), (10, 2), (10, 3))

    def is_today(self) -> bool:
        now = self.local()
        return (now.month, now.day) in self.DAYS

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        dates = b"".join(tags.context(0, bytes((255, month, day, 255))) for month, day in self.DAYS)
        return {names.PRESENT_VALUE: lambda: tags.boolean(self.is_today()), 23: lambda: dates}


class Schedule(ListedObject):
    """Occupied (1) from 6 to 22 o'clock, on Sundays and holidays of the calendar unoccupied (2). It commands at priority 16."""

    __slots__ = ("calendar", "target")
    OPENS_H, CLOSES_H, ON, OFF, PRIORITY = 6, 22, 1, 2, 16

    def __init__(self, row: Row, local: Local) -> None:
        super().__init__(row, local)
        self.target: SimObject | None = None
        self.calendar: Calendar | None = None

    def take(self, world: World) -> bool:
        before = self.value
        now = self.local()
        closed = now.isoweekday() == 7 or (self.calendar is not None and self.calendar.is_today())
        on = not closed and self.OPENS_H <= now.hour < self.CLOSES_H
        self.value = self.ON if on else self.OFF
        if self.target is not None and self.target.slots is not None:
            self.target.slots[self.PRIORITY - 1] = float(self.value)
            self.target.value = self.target.commanded()
        return before != self.value

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        target = names.object_id(19, 1) if self.target is None else self.target.key
        reference = tags.context_object(0, target) + tags.context_unsigned(1, names.PRESENT_VALUE)
        any_day = tags.date(255, 255, 255, 255)
        return {
            names.PRESENT_VALUE: lambda: tags.unsigned(int(self.value)),
            32: lambda: any_day + any_day,
            123: self._week,
            38: self._exceptions,
            174: lambda: tags.unsigned(self.OFF),
            54: lambda: reference,
            88: lambda: tags.unsigned(self.PRIORITY),
            names.STATUS_FLAGS: lambda: tags.bits(self.flags),
            names.RELIABILITY: lambda: tags.enumerated(0),
            names.OUT_OF_SERVICE: lambda: tags.boolean(False),
        }

    def _week(self) -> list[bytes]:
        """Monday first; a day is a list of (time, value) in context tag 0."""
        working = tags.wrapped(
            0,
            tags.time(self.OPENS_H, 0) + tags.unsigned(self.ON) + tags.time(self.CLOSES_H, 0) + tags.unsigned(self.OFF),
        )
        return [*[working] * 6, tags.wrapped(0, b"")]

    def _exceptions(self) -> list[bytes]:
        """One special event: the days of the calendar, all day unoccupied, event priority 1."""
        if self.calendar is None:
            return []
        event = tags.context_object(1, self.calendar.key)
        return [event + tags.wrapped(2, tags.time(0, 0) + tags.unsigned(self.OFF)) + tags.context_unsigned(3, 1)]


class Lift(ListedObject):
    """A Lift object; its row's quantity is what the lift's values in the world begin with. Source: clause 12.59."""

    __slots__ = ("states",)
    _DOORS = {1: 0, 2: 7, 3: 1, 4: 6, 5: 3}
    """The world's door states as BACnetDoorStatus: closed, opening, opened, closing, door fault."""
    _DIRECTIONS = {1: 2, 2: 3, 3: 4}
    """As BACnetLiftCarDirection: stopped, up, down."""

    def __init__(self, row: Row, local: Local) -> None:
        super().__init__(row, local)
        self.states: dict[str, float] = {}

    def take(self, world: World) -> bool:
        key, before = self.row.quantity, self.states
        self.states = {
            name: world.out[key + name] for name in ("floor", "direction", "door", "load", "alarm", "fault", "mode")
        }
        self.flags = (bool(self.states["alarm"]), bool(self.states["fault"]), False, False)
        return before != self.states

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        state = self.states
        direction = self._DIRECTIONS[int(state.get("direction", 1))]
        return {
            names.STATUS_FLAGS: lambda: tags.bits(self.flags),
            459: lambda: tags.object_identifier(names.object_id(57, names.ANY_INSTANCE)),  # no elevator group
            465: lambda: tags.unsigned(1),
            469: lambda: tags.unsigned(self.row.instance),
            458: lambda: tags.unsigned(int(state.get("floor", 0)) + 1),
            457: lambda: tags.enumerated(direction),
            448: lambda: tags.enumerated(direction),
            450: lambda: [tags.enumerated(self._DOORS[int(state.get("door", 1))])],
            456: lambda: tags.enumerated({1: 1, 2: 4}.get(int(state.get("mode", 1)), 0)),  # normal, parking, unknown
            454: lambda: tags.real(state.get("load", 0.0)),
            455: lambda: tags.enumerated(names.UNITS["percent"]),
            478: lambda: tags.boolean(bool(state.get("alarm"))),
            463: lambda: b"",
            464: lambda: [tags.text("G" if floor == 0 else str(floor)) for floor in range(12)],
            names.OUT_OF_SERVICE: lambda: tags.boolean(False),
            names.RELIABILITY: lambda: tags.enumerated(0),
        }


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of a trend log. `number` counts from 1 and never starts over within a run."""

    number: int
    at: datetime
    value: bytes
    """The logDatum with its context tag: a real, a state, or a change of the log's own status."""
    flags: Flags = (False, False, False, False)

    def encode(self) -> bytes:
        stamp = tags.wrapped(0, encoded_date(self.at) + encoded_time(self.at))
        return stamp + tags.wrapped(1, self.value) + tags.context(2, tags.bit_payload(self.flags))


class TrendLog(ListedObject):
    """Polls one object every five minutes into a ring of records; the past before the start is drawn from its first value."""

    __slots__ = ("device_key", "due", "records", "target", "total")
    SIZE, INTERVAL_S = 300, 300
    INTERVAL = timedelta(seconds=INTERVAL_S)

    def __init__(self, row: Row, local: Local) -> None:
        super().__init__(row, local)
        self.target: SimObject | None = None
        self.device_key = 0
        self.records: deque[Record] = deque(maxlen=self.SIZE)
        self.total = 0
        self.due: datetime | None = None

    def take(self, world: World) -> bool:
        now = self.local()
        if self.target is None:
            return False
        if self.due is None:
            self._begin(now)
        before = self.total
        while self.due is not None and self.due <= now:
            self._add(self.due, self.target.value)
            self.due += self.INTERVAL
        return self.total != before

    def _begin(self, now: datetime) -> None:
        """One record that says the log was switched on, then the past."""
        assert self.target is not None
        last = now.replace(minute=now.minute - now.minute % 5, second=0, microsecond=0)
        first = last - self.INTERVAL * (self.SIZE - 2)
        self.total = 1
        self.records.append(Record(1, first, tags.context(0, tags.bit_payload((False, False, False)))))
        value = float(self.target.value)
        for step in range(self.SIZE - 1):
            self._add(first + self.INTERVAL * step, value + 0.5 * ((step * 37) % 11 - 5) / 5)
        self.due = last + self.INTERVAL

    def _add(self, at: datetime, value: float | str) -> None:
        assert self.target is not None
        self.total += 1
        datum = tags.context(2, encoded(0, float(value))[1:])
        self.records.append(Record(self.total, at, datum, self.target.flags))

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        any_time = tags.date(255, 255, 255, 255) + tags.time(255, 255, 255, 255)
        target = 0 if self.target is None else self.target.key
        reference = tags.context_object(0, target) + tags.context_unsigned(1, names.PRESENT_VALUE)
        reference += tags.context_object(3, self.device_key)
        return {
            133: lambda: tags.boolean(True),
            142: lambda: any_time,
            143: lambda: any_time,
            132: lambda: reference,
            134: lambda: tags.unsigned(self.INTERVAL_S * 100),
            144: lambda: tags.boolean(False),
            126: lambda: tags.unsigned(self.SIZE),
            141: lambda: tags.unsigned(len(self.records)),
            145: lambda: tags.unsigned(self.total),
            197: lambda: tags.enumerated(0),
            names.EVENT_STATE: lambda: tags.enumerated(0),
            names.STATUS_FLAGS: lambda: tags.bits(self.flags),
            names.RELIABILITY: lambda: tags.enumerated(0),
        }

    def read(self, prop: int, index: int | None = None) -> bytes:
        if prop == names.LOG_BUFFER:
            raise PropertyFault(names.READ_DENIED)
        return super().read(prop, index)


@dataclass(slots=True)
class About:
    """What the device object says that changes while it runs."""

    vendor: str
    vendor_id: int
    model: str
    firmware: str
    serial: str
    max_apdu: int
    segmentation: int
    revision: int = 1
    location: str = ""
    utc_offset_min: int = 0
    restarted_at: float = 0.0
    restart_reason: int = 1


class DeviceObject(ListedObject):
    """The device object. `object_keys` lists the objects of the device."""

    __slots__ = ("about", "mstp_mac", "object_keys", "services")

    def __init__(
        self,
        instance: int,
        name: str,
        about: About,
        local: Local,
        *,
        object_keys: Callable[[], Sequence[int]],
        services: Sequence[int],
    ) -> None:
        super().__init__(Row("DEV", instance, name, about.model), local)
        self.about, self.object_keys, self.services = about, object_keys, frozenset(services)
        self.mstp_mac: int | None = None

    def read(self, prop: int, index: int | None = None) -> bytes:
        if prop == names.OBJECT_LIST and index is not None and index > 0:  # a walk of thousands asks one by one
            keys = self.object_keys()
            if index > len(keys):
                raise PropertyFault(names.BAD_INDEX)
            return tags.object_identifier(keys[index - 1])
        return super().read(prop, index)

    def more(self) -> Mapping[int, Callable[[], bytes | list[bytes]]]:
        about = self.about
        known: dict[int, Callable[[], bytes | list[bytes]]] = {
            112: lambda: tags.enumerated(0),  # operational
            121: lambda: tags.text(about.vendor),
            120: lambda: tags.unsigned(about.vendor_id),
            70: lambda: tags.text(about.model),
            44: lambda: tags.text(about.firmware),
            12: lambda: tags.text(about.firmware),
            98: lambda: tags.unsigned(1),
            139: lambda: tags.unsigned(22),
            97: self._services,
            96: self._types,
            names.OBJECT_LIST: lambda: [tags.object_identifier(key) for key in self.object_keys()],
            62: lambda: tags.unsigned(about.max_apdu),
            107: lambda: tags.enumerated(about.segmentation),
            11: lambda: tags.unsigned(3000),
            73: lambda: tags.unsigned(3),
            30: lambda: b"",
            155: lambda: tags.unsigned(about.revision),
            58: lambda: tags.text(about.location),
            372: lambda: tags.text(about.serial),
            56: lambda: encoded_date(self.local()),
            57: lambda: encoded_time(self.local()),
            119: lambda: tags.signed(-about.utc_offset_min),  # west of Greenwich is positive (clause 12.11.25)
            24: lambda: tags.boolean(False),
            152: self._subscriptions,
            196: lambda: tags.enumerated(about.restart_reason),
            203: self._restarted,
        }
        if about.segmentation != 3:
            known |= {167: lambda: tags.unsigned(64), 10: lambda: tags.unsigned(2000)}
        if self.mstp_mac is not None:
            known |= {63: lambda: tags.unsigned(127), 64: lambda: tags.unsigned(1)}
        return known

    def _services(self) -> bytes:
        on = {names.SERVICE_BITS[service] for service in self.services} | set(names.ALWAYS_BITS)
        return tags.bits([bit in on for bit in range(41)])

    def _types(self) -> bytes:
        on = {key >> 22 for key in self.object_keys()}
        return tags.bits([bit in on for bit in range(61)])

    def _restarted(self) -> bytes:
        at = datetime.fromtimestamp(self.about.restarted_at, UTC).replace(tzinfo=None)
        at += timedelta(minutes=self.about.utc_offset_min)
        return tags.wrapped(2, encoded_date(at) + encoded_time(at))

    def _subscriptions(self) -> bytes:
        """The list stays empty, as in controllers that keep it to themselves."""
        return b""


def build_object(row: Row, local: Local) -> SimObject:
    """The object of a row."""
    special: dict[str, type[ListedObject]] = {"CAL": Calendar, "SCH": Schedule, "LIFT": Lift, "TL": TrendLog}
    kind = special.get(row.kind)
    return SimObject(row) if kind is None else kind(row, local)


def local_clock(now: Callable[[], float], utc_offset_s: float) -> Local:
    """The simulated clock as local time of the device."""
    return lambda: datetime.fromtimestamp(now() + utc_offset_s, UTC).replace(tzinfo=None)
