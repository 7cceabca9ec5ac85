"""Schedules and calendars of a device as plain data, for people: weekly times, exceptions, holidays. Reads only.

Source: ANSI/ASHRAE 135-2020, clauses 12.24 (Schedule), 12.9 (Calendar) and 21 (BACnetSpecialEvent, BACnetCalendarEntry,
BACnetDateRange, BACnetWeekNDay). A part of a date that stands for any is `*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from device_profiles.bacnet import OBJECT_NAMES, OBJECT_TYPES

from . import names, tags, values
from .bulk import BulkReader, text_of
from .client import BacnetClient, Peer
from .codec import Element, Ref, Result
from .tags import BacnetError, Date, ObjectId, Time

_P = names.PROPERTIES
_SCHEDULE, _CALENDAR = OBJECT_TYPES["schedule"], OBJECT_TYPES["calendar"]
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKS = {1: "days 1-7", 2: "days 8-14", 3: "days 15-21", 4: "days 22-28", 5: "days 29-31", 6: "last 7 days"}
_SCHEDULE_PROPERTIES = (
    "object-name", "description", "present-value", "effective-period", "schedule-default", "weekly-schedule",
    "exception-schedule", "list-of-object-property-references", "priority-for-writing",
)  # fmt: skip
_CALENDAR_PROPERTIES = ("object-name", "description", "present-value", "date-list")


async def read_schedules(client: BacnetClient, peer: Peer) -> dict[str, Any]:
    """`{"schedules": [...], "calendars": [...]}` of a device. Raises DeviceError, LinkError."""
    reader = BulkReader(client, peer)
    listed = await reader.array(Ref(8, peer.instance, _P["object-list"]))
    there = [element.value for element in listed.elements if isinstance(element.value, ObjectId)]
    return {
        "schedules": [await _schedule(reader, one) for one in there if one.kind == _SCHEDULE],
        "calendars": [await _calendar(reader, one) for one in there if one.kind == _CALENDAR],
    }


async def _schedule(reader: BulkReader, one: ObjectId) -> dict[str, Any]:
    found = {name: await reader.array(Ref(*one, _P[name])) for name in _SCHEDULE_PROPERTIES}
    return {
        **_common(one, found),
        "value": _plain(found["present-value"].elements[:1]),
        "default": _plain(found["schedule-default"].elements[:1]),
        "effective": _guarded(effective, found["effective-period"]),
        "weekly": _guarded(weekly, found["weekly-schedule"]),
        "exceptions": _guarded(exceptions, found["exception-schedule"]),
        "writes": _guarded(_targets, found["list-of-object-property-references"]),
        "priority": _plain(found["priority-for-writing"].elements[:1]),
    }


async def _calendar(reader: BulkReader, one: ObjectId) -> dict[str, Any]:
    found = {name: await reader.array(Ref(*one, _P[name])) for name in _CALENDAR_PROPERTIES}
    return {
        **_common(one, found),
        "active": _plain(found["present-value"].elements[:1]),
        "dates": _guarded(entries, found["date-list"]),
    }


def _common(one: ObjectId, found: dict[str, Result]) -> dict[str, Any]:
    return {
        "object": f"{OBJECT_NAMES[one.kind]}:{one.instance}",
        "name": text_of(found["object-name"]),
        "description": text_of(found["description"]),
    }


def _guarded(decode: Any, result: Result) -> Any:
    """What a decoder makes of a property; `{"error": ...}` for what the device refuses or nobody can read."""
    if result.error is not None:
        return None if result.error[1] == 32 else {"error": names.error_text(*result.error)}
    try:
        return decode(result.elements)
    except BacnetError as error:
        return {"error": str(error)}


def effective(elements: Sequence[Element]) -> dict[str, str]:
    """A BACnetDateRange: `{"from": ..., "to": ...}`."""
    dates = [element.value for element in elements]
    if len(dates) != 2 or not all(isinstance(date, Date) for date in dates):
        raise BacnetError("a date range without two dates")
    return {"from": str(dates[0]), "to": str(dates[1])}


def weekly(elements: Sequence[Element]) -> dict[str, list[dict[str, Any]]]:
    """Seven daily schedules: time and value of each change, by day. A value None gives control back to the default."""
    if len(elements) != len(_DAYS):
        raise BacnetError(f"a weekly schedule of {len(elements)} days")
    return {day: _times(_inside(element, 0)) for day, element in zip(_DAYS, elements, strict=True)}


def exceptions(elements: Sequence[Element]) -> list[dict[str, Any]]:
    """Special events: when (a calendar entry or a calendar object), what, and its priority (1 is highest)."""
    found: list[dict[str, Any]] = []
    current: dict[str, Any] = {}
    for element in elements:
        if element.number in (0, 1) and element.form != tags.APPLICATION:
            current = {"when": _period(element) if element.number == 0 else _reference(element)}
            found.append(current)
        elif element.number == 2 and element.form == tags.CONSTRUCTED and current:
            current["times"] = _times(_inside(element, 2))
        elif element.number == 3 and element.form == tags.CONTEXT and current:
            current["priority"] = tags.read_unsigned(_octets(element))
        else:
            raise BacnetError(f"tag {element.number} in a special event")
    return found


def entries(elements: Sequence[Element]) -> list[Any]:
    """A list of calendar entries."""
    return [_entry(element) for element in elements]


def _period(element: Element) -> Any:
    inner = _inside(element, 0)
    if len(inner) != 1:
        raise BacnetError(f"a special event of {len(inner)} periods")
    return _entry(inner[0])


def _entry(element: Element) -> Any:
    if element.number == 0 and element.form == tags.CONTEXT:
        return {"date": str(_date(_octets(element)))}
    if element.number == 1 and element.form == tags.CONSTRUCTED:
        return effective(_inside(element, 1))
    if element.number == 2 and element.form == tags.CONTEXT:
        octets = _octets(element)
        if len(octets) != 3:
            raise BacnetError(f"{len(octets)} octets are no month, week and day")
        month, week, day = octets
        known = {13: "odd months", 14: "even months", 255: "*"}
        return {
            "month": known.get(month, month),
            "week": "*" if week == 255 else _WEEKS.get(week, week),
            "day": _DAYS[day - 1] if 1 <= day <= 7 else "*",
        }
    raise BacnetError(f"tag {element.number} is no calendar entry")


def _date(octets: bytes) -> Date:
    date = tags.read_primitive(tags.DATE, octets, 0, len(octets))
    assert isinstance(date, Date)
    return date


def _times(elements: Sequence[Element]) -> list[dict[str, Any]]:
    """A list of time values: pairs of a time and a value."""
    if len(elements) % 2:
        raise BacnetError("a list of times and values that do not pair")
    found: list[dict[str, Any]] = []
    for time, value in zip(elements[::2], elements[1::2], strict=True):
        if not isinstance(time.value, Time):
            raise BacnetError("a schedule's time is none")
        found.append({"at": str(time.value), "value": _plain([value])})
    return found


def _reference(element: Element) -> dict[str, str]:
    calendar = tags.read_object(_octets(element))
    return {"calendar": f"{OBJECT_NAMES.get(calendar.kind, calendar.kind)}:{calendar.instance}"}


def _targets(elements: Sequence[Element]) -> list[str]:
    """What a schedule writes: objects with their properties (BACnetDeviceObjectPropertyReference)."""
    found: list[str] = []
    for element in elements:
        if element.form != tags.CONTEXT:
            continue
        if element.number == 0:
            one = tags.read_object(_octets(element))
            found.append(f"{OBJECT_NAMES.get(one.kind, one.kind)}:{one.instance}")
        elif element.number == 1 and found:
            found[-1] += f" {names.property_name(tags.read_unsigned(_octets(element)))}"
        elif element.number == 3 and found:
            found[-1] += f" of device {tags.read_object(_octets(element)).instance}"
    return found


def _plain(elements: Sequence[Element]) -> Any:
    """A value for JSON."""
    if not elements:
        return None
    value = elements[0].value
    return value if value is None or isinstance(value, bool | int | float | str) else values.text_of(elements[0])


def _inside(element: Element, number: int) -> tuple[Element, ...]:
    if element.form != tags.CONSTRUCTED or element.number != number or not isinstance(element.value, tuple):
        raise BacnetError(f"tag {element.number} where constructed tag {number} is due")
    return tuple(part for part in element.value if isinstance(part, Element))


def _octets(element: Element) -> bytes:
    if element.form != tags.CONTEXT or not isinstance(element.value, bytes):
        raise BacnetError(f"tag {element.number} is no primitive")
    return element.value
