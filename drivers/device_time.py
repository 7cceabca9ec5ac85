"""Dates and times as devices write them, to UTC milliseconds. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

_OLDEST, _NEWEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_POSIX = re.compile(r"<?[A-Za-z0-9+-]{3,10}?>?([+-]?)(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?")


def epoch_ms(text: str, zone: tzinfo | None = None) -> int | None:
    """UTC ms of an ISO 8601 date and time; `zone` where it says no offset. None for what is no time, or has neither, or lies
    outside of 2000 to 2099.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if found.tzinfo is None:
        if zone is None:
            return None
        found = found.replace(tzinfo=zone)
    try:
        if not _OLDEST <= found < _NEWEST:
            return None
    except OverflowError:
        return None
    return int(found.timestamp() * 1000)


def zone_of(name: str) -> tzinfo:
    """A time zone by its IANA name. Raises ZoneInfoNotFoundError (a KeyError): the configuration has checked it."""
    return ZoneInfo(name)


def posix_zone(text: str) -> tzinfo | None:
    """A POSIX time zone without summer time, `CST-8:00:00` (8 h ahead of UTC); None for another: with summer time a local time
    alone says too little. Source: IEEE Std 1003.1-2017, 8.3.
    """
    match = _POSIX.fullmatch(text.strip())
    if match is None:
        return None
    sign, hours, minutes, seconds = match.groups()
    behind = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
    if behind >= timedelta(hours=24):
        return None
    return timezone(behind if sign == "-" else -behind)
