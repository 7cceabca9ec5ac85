"""plantroom watch and status show what happens at a device, with no card in clear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from device_profiles.credential import Clear
from drivers.fake import FakeDevice
from drivers.fake_doors import FakeDoors
from drivers.listening import Occurrence
from edge_agent.cli import status, watch_events
from edge_agent.cli.one_device import OneDevice
from tests.edge_agent.poll_world import SOCKET, device, point

SWIPE = Occurrence("", "access.granted", "record:1", {"dir": "in"}, {"card": Clear("4711")}, 1_795_355_245_338)


async def pause(seconds: float) -> None:
    await asyncio.sleep(0)


async def watched(doors: FakeDoors) -> tuple[list[Mapping[str, Any]], list[str]]:
    told: list[Mapping[str, Any]] = []
    said: list[str] = []
    door = device("door-1", [point("x_locked")], unit=1)
    async with doors.open(SOCKET) as session:
        async with watch_events.listening(
            OneDevice(doors, session, SOCKET, door), told.append, said.append
        ) as has_events:
            assert has_events
            for _ in range(20):
                await asyncio.sleep(0)
            doors.happens(1, SWIPE)
            session.arrive(1, SWIPE)  # a device that is not answered tells it again
            for _ in range(20):
                await asyncio.sleep(0)
        doors.happens(1, SWIPE)
    return told, said


async def test_events_are_told_once_and_cards_are_not_shown() -> None:
    doors = FakeDoors({1: FakeDevice({"x_locked": 1})})
    told, said = await watched(doors)
    assert told == [{"event": "access.granted", "t": SWIPE.t_ms, "data": {"dir": "in", "card": "(hidden)"}}]
    assert said == []
    assert doors.stored == [], "the device keeps its records: nobody has stored them"
    assert watch_events.line(told[0]).endswith("access.granted  dir=in card=(hidden)")


async def test_a_device_that_does_not_answer_is_said_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_events, "_AGAIN_S", 0.0)
    doors = FakeDoors({1: FakeDevice({"x_locked": 1})})
    doors.deaf.add(1)
    told, said = await watched(doors)
    assert told == []
    assert "no answer" in said[0]


def test_status_shows_the_events_of_devices_that_have_some(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    events = {"count": 1002, "recalled": 1000, "last": 1000, "index": 1003, "alarms": ["tamper"]}
    devices = [{"id": "meter-01", "events": None}, {"id": "door-1", "events": events}]
    status._show_events(Console(width=80), {"t": 61_000, "devices": devices})
    shown = capsys.readouterr().out
    assert "meter-01" not in shown
    assert shown.split()[-8:] == ["door-1", "1002", "1000", "60", "s", "ago", "1003", "tamper"]
    status._show_events(Console(width=80), {"t": 0, "devices": devices[:1]})
    assert capsys.readouterr().out == ""


def test_what_a_device_says_at_first_to_be_well_is_no_event() -> None:
    raised: set[str] = set()
    shown = [
        not watch_events._is_stale_end(name, "tamper", raised)
        for name in ("alarm.cleared", "alarm.raised", "alarm.cleared", "alarm.cleared", "card.read")
    ]
    assert shown == [False, True, True, False, True]
