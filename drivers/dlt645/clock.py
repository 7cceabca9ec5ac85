"""The clocks of DL/T 645 meters: local time in digits, how far it is from ours, and when the standard lets it be set. Pure.

A broadcast time (08H) is for corrections of at most five minutes, once a day, and not while a meter closes a day.
Source: DL/T 645-2007, 7.10 (broadcast time); -1997, 6.4.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from drivers import bcd

MOST_S = 300.0
"""A meter takes no broadcast time that is further from its own."""
LEAST_S = 3.0
"""Not worth a broadcast."""
_MIDNIGHT_S = 600.0
"""So close to midnight no time is set; the standard wants five minutes, and the meter's clock may be five off."""


def zone_of(tz: str) -> tzinfo | None:
    """The site's time zone; None is this machine's."""
    return ZoneInfo(tz) if tz else None


def meter_time(date: bytes, time: bytes) -> datetime | None:
    """What a meter says under its date (YYMMDDWW) and its time (hhmmss), local; None where these are no date and time."""
    day, clock = bcd.digits(date[:4]), bcd.digits(time[:3])
    if day is None or clock is None or len(day) != 8 or len(clock) != 6:
        return None
    return _parsed(day[:6] + clock)


def record_time(data: bytes) -> datetime | None:
    """YYMMDDhhmm of a frozen record, local; None for none (zeros, FF)."""
    text = bcd.digits(data[:5])
    return None if text is None or len(text) != 10 else _parsed(text + "00")


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%y%m%d%H%M%S")  # noqa: DTZ007  meters know no zone
    except ValueError:
        return None


def utc_s(local: datetime, tz: str) -> float:
    """Seconds of the Unix clock of a local time. An hour that comes twice is taken the first time."""
    zone = zone_of(tz)
    return local.timestamp() if zone is None else local.replace(tzinfo=zone).timestamp()


def local_time(utc: float, tz: str) -> datetime:
    """The local time without its zone, as meters know it."""
    return datetime.fromtimestamp(utc, zone_of(tz)).replace(tzinfo=None)


def time_bytes(local: datetime) -> bytes:
    """YYMMDDhhmmss, lowest byte first."""
    return bcd.to_bytes(local.strftime("%y%m%d%H%M%S"))


def why_not(local: datetime, skew_s: float, set_on: str | None) -> str | None:
    """Why a clock that is `skew_s` ahead may not be set at this local time by broadcast; None when it may.

    `set_on` is the day (ISO) on which its line was set last.
    """
    if abs(skew_s) > MOST_S:
        return f"its clock is {skew_s:+.0f} s off, and meters take no broadcast of more than {MOST_S:.0f} s"
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    since = (local - midnight).total_seconds()
    if min(since, timedelta(days=1).total_seconds() - since) < _MIDNIGHT_S:
        return "it is midnight, when meters close their day"
    if set_on == local.date().isoformat():
        return "the clocks of this line were set today already"
    return None
