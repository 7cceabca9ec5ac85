"""drivers.bacnet.calendar: schedules and calendars from their octets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.bacnet import calendar
from drivers.bacnet.codec import Element
from drivers.bacnet.tags import BacnetError, read_elements

AT_SIX, AT_TEN = b"\xb4\x06\x00\x00\x00\x21\x01", b"\xb4\x16\x00\x00\x00\x21\x02"
NEW_YEAR = b"\x0c\xff\x01\x01\xff"
"""A calendar entry: the first of January of any year."""


def elements(octets: bytes) -> tuple[Element, ...]:
    return read_elements(octets, 0, len(octets))[0]


def test_a_week() -> None:
    days = [b"\x0e" + AT_SIX + AT_TEN + b"\x0f"] * 5 + [b"\x0e\x0f"] * 2
    found = calendar.weekly(elements(b"".join(days)))
    assert found["monday"] == [{"at": "06:00:00", "value": 1}, {"at": "22:00:00", "value": 2}]
    assert found["sunday"] == []


def test_a_week_that_gives_back_control() -> None:
    days = b"\x0e\xb4\x06\x00\x00\x00\x00\x0f" + b"\x0e\x0f" * 6
    assert calendar.weekly(elements(days))["monday"] == [{"at": "06:00:00", "value": None}]


def test_exceptions_by_date_range_week_and_calendar() -> None:
    period = b"\x1e\xa4\x7e\x07\x01\x03\xa4\x7e\x08\x1f\x02\x1f"
    octets = b"".join(
        (
            b"\x0e" + NEW_YEAR + b"\x0f\x2e" + AT_SIX + b"\x2f\x39\x01",
            b"\x0e" + period + b"\x0f\x2e\x2f\x39\x02",
            b"\x0e\x2b\x0d\x06\x05\x0f\x2e\x2f\x39\x03",
            b"\x1c\x01\x80\x00\x07\x2e" + AT_TEN + b"\x2f\x39\x04",
        )
    )
    assert calendar.exceptions(elements(octets)) == [
        {"when": {"date": "*-01-01"}, "times": [{"at": "06:00:00", "value": 1}], "priority": 1},
        {"when": {"from": "2026-07-01", "to": "2026-08-31"}, "times": [], "priority": 2},
        {"when": {"month": "odd months", "week": "last 7 days", "day": "friday"}, "times": [], "priority": 3},
        {"when": {"calendar": "calendar:7"}, "times": [{"at": "22:00:00", "value": 2}], "priority": 4},
    ]


@pytest.mark.parametrize(
    ("decode", "octets"),
    [
        (calendar.weekly, b"\x0e\x0f" * 6),
        (calendar.weekly, b"\x1e\x1f" * 7),
        (calendar.weekly, b"\x0e\x21\x01\x21\x01\x0f" + b"\x0e\x0f" * 6),
        (calendar.weekly, b"\x0e" + AT_SIX[:5] + b"\x0f" + b"\x0e\x0f" * 6),
        (calendar.effective, b"\xa4\x7e\x07\x01\x03"),
        (calendar.entries, b"\x3c\xff\x01\x01\xff"),
        (calendar.entries, b"\x2a\x01\x02"),
        (calendar.entries, b"\x0b\xff\x01\x01"),
        (calendar.exceptions, b"\x2e\x2f"),
        (calendar.exceptions, b"\x0e\x0f"),
    ],
)
def test_what_is_none(decode: Callable[[Any], Any], octets: bytes) -> None:
    with pytest.raises(BacnetError):
        decode(elements(octets))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=40), st.sampled_from([calendar.weekly, calendar.exceptions, calendar.entries]))
def test_any_octets_are_data_or_a_bacnet_error(octets: bytes, decode: Callable[[Any], Any]) -> None:
    try:
        decode(elements(b"\x0e" + octets + b"\x0f" if decode is not calendar.entries else octets))
    except BacnetError:
        return
