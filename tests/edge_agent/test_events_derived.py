"""Changes of polled points as events: pure, over acquisitions; and in a running agent's poller."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from device_profiles.reading import Acquisition, Flagged
from drivers.fake import FakeDevice
from drivers.fake_doors import FakeDoors
from drivers.listening import Occurrence
from edge_agent.clock import VirtualClock
from edge_agent.events.derived import Derived, derives
from edge_agent.model import Device
from tests.edge_agent.event_world import Disk, Site
from tests.shipped import LIBRARY

PROFILE = LIBRARY.get("waveshare-relay-8ch-d-barrier")
BARRIER = Device(
    id="gate-1", name="gate-1", link="l", unit=1, protocol="modbus", profile=PROFILE, points=PROFILE.points,
    cls=PROFILE.class_, system=PROFILE.system, direction="in",
)  # fmt: skip
T0 = 1_795_355_245_000


def run(*values: dict[str, Any], step_s: float = 1) -> list[Occurrence]:
    derived = Derived(BARRIER)
    return [
        told
        for at, good in enumerate(values)
        for told in derived.take(Acquisition("gate-1", T0 + int(at * step_s * 1000), good=good))
    ]


def names(told: list[Occurrence]) -> list[str]:
    return [one.name for one in told]


def test_a_change_is_an_event_and_the_first_value_is_none() -> None:
    assert derives(BARRIER)
    told = run(
        {"door_open": True}, {"door_open": False}, {"door_open": False}, {"obstructed": False}, {"door_open": True}
    )
    assert names(told) == ["gate.closed", "gate.opened"]
    assert told[0].data == {"dir": "in"}
    assert told[0].t_ms is None


def test_open_for_a_minute_is_told_once_and_again_after_it_was_closed() -> None:
    opened = [{"door_open": True}] * 130
    told = run({"door_open": False}, *opened, {"door_open": False}, *opened[:70])
    assert names(told) == ["gate.opened", "access.held_open", "gate.closed", "gate.opened", "access.held_open"]
    assert told[1].data["held_s"] == 60


def test_what_was_so_before_we_looked_is_not_timed() -> None:
    assert run(*[{"door_open": True}] * 200) == []


def test_a_bad_value_ends_nothing_and_a_flagged_good_one_counts() -> None:
    derived = Derived(BARRIER)
    list(derived.take(Acquisition("gate-1", T0, good={"door_open": False})))
    bad = Acquisition("gate-1", T0 + 1, flagged=[Flagged("door_open", None, "BadTimeout")])
    good = Acquisition("gate-1", T0 + 2, flagged=[Flagged("door_open", True, "Good", flags=("x",))])
    assert list(derived.take(bad)) == []
    assert names(list(derived.take(good))) == ["gate.opened"]
    history = Acquisition("gate-1", T0 - 50_000, good={"door_open": False}, src="memory")
    assert list(derived.take(history)) == []


@given(st.lists(st.booleans(), max_size=50))
def test_as_many_events_as_changes_each_with_its_own_key(values: list[bool]) -> None:
    told = [one for one in run(*({"door_open": value} for value in values)) if one.name.startswith("gate.")]
    assert len(told) == sum(one != other for one, other in itertools.pairwise(values))
    assert len({one.key for one in told}) == len(told)


async def test_a_polled_barrier_tells_its_changes_through_the_agents_poller() -> None:
    clock, disk = VirtualClock(), Disk()
    values: dict[str, Any] = dict.fromkeys((point.id for point in PROFILE.points), False)
    doors = FakeDoors({1: FakeDevice(values)}, sleep=clock.sleep)
    async with Site(doors, disk, clock, [replace(BARRIER, link="bus")]).running():
        await clock.advance(3)
        values["door_open"] = True
        await clock.advance(65)
        values["door_open"] = False
        await clock.advance(3)
    disk.commit()
    assert [name for _, _, name in disk.order] == ["gate.opened", "access.held_open", "gate.closed"]
