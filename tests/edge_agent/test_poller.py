"""One link on the virtual clock: who is read when, what a failure means, and that changing one device leaves the others alone."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from device_profiles.errors import DeviceRefused, LinkLost, LinkRefused
from device_profiles.reading import Flagged, PointFault
from device_profiles.schema import Point
from drivers.base import Address, LinkConfig, Session
from drivers.fake import FakeDevice
from edge_agent.clock import VirtualClock
from edge_agent.model import Device
from tests.edge_agent.poll_world import LINE, RTT_S, SOCKET, answering, device, point, world

NOW_MS = 1_795_355_245_000
QUARTER_MS = 900_000


def meters(count: int, **keys: Any) -> list[Device]:
    return [device(f"meter-{n}", [point("x_power", **keys)], unit=n) for n in range(1, count + 1)]


async def test_every_device_is_read_at_once_and_then_by_its_period() -> None:
    async with world(meters(3)) as it:
        await it.clock.advance(60)
        for n in (1, 2, 3):
            times = it.sink.times_of(f"meter-{n}")
            assert times[0] <= 1000 + 3 * RTT_S
            assert [second - first for first, second in pairwise(times[1:])] == pytest.approx(
                [10] * (len(times) - 2), abs=0.1
            )
            assert it.sink.state_of(f"meter-{n}").state == "ok"  # type: ignore[union-attr]
        assert it.poller.figures()["late"] == 0


async def test_stamps_of_a_device_grow_whatever_the_clock_does() -> None:
    async with world(meters(1, poll=1)) as it:
        for step_ms in (-500, 400, -200_000, 3_600_000, -250_000):
            await it.clock.advance(5)
            it.clock.step(step_ms)
        await it.clock.advance(5)
        stamps = [reading.t_ms for reading in it.sink.of("meter-1")]
        assert stamps == sorted(set(stamps))


async def test_batches_that_end_together_are_one_acquisition_and_slow_ones_are_not() -> None:
    points = [point("x_a"), point("x_b"), point("x_c")]
    async with world([device("m", points)], batch_size=1) as it:
        await it.clock.advance(1)
        assert [reading.good for reading in it.sink.of("m")] == [{"x_a": 1.0, "x_b": 1.0, "x_c": 1.0}]
        it.driver.devices[1].delay_s = 0.45
        it.sink.readings.clear()
        it.driver.devices[1].values = {"x_a": 2, "x_b": 2, "x_c": 2}
        await it.clock.advance(10)
        it.driver.devices[1].delay_s = RTT_S
        assert [len(reading.good) for reading in it.sink.of("m")] == [3]
    clock = VirtualClock(NOW_MS)
    slow = {1: FakeDevice(dict.fromkeys(("x_a", "x_b", "x_c"), 1), delay_s=0.7)}
    async with world(
        [device("m", points)], link=replace(LINE, timeout_s=2), clock=clock, fakes=slow, batch_size=1
    ) as it:
        await it.clock.advance(3)
        first, second = it.sink.of("m")
        assert (first.good, second.good) == ({"x_a": 1.0, "x_b": 1.0}, {"x_c": 1.0})
        assert (first.t_ms, second.t_ms) == (NOW_MS + 700, NOW_MS + 2100)


async def test_marks_carry_their_mark_and_the_true_time() -> None:
    energy = point("x_energy", type="u32", align=900, deadband=0)
    clock = VirtualClock(NOW_MS)
    async with world([device(f"m{n}", [energy], unit=n) for n in (1, 2)], clock=clock) as it:
        await it.clock.advance(900)
        for n in (1, 2):
            unmarked, marked = it.sink.of(f"m{n}")
            assert unmarked.mark_ms is None
            assert marked.mark_ms == (NOW_MS // QUARTER_MS + 1) * QUARTER_MS
            assert marked.good == {"x_energy": 1.0}
            assert marked.t_ms - marked.mark_ms == n * RTT_S * 1000


async def test_a_mark_that_failed_is_read_again_and_only_what_is_missing() -> None:
    points = [point("x_a", align=900), point("x_b", align=900)]
    async with world([device("m", points)], batch_size=1) as it:
        await it.clock.advance(600)
        fake = it.driver.devices[1]
        busy = PointFault("BadDeviceFailure", later=True)
        fake.steps = deque([{"x_a": busy}, {}])
        it.driver.reads.clear()
        await it.clock.advance(300)
        marked = [reading for reading in it.sink.of("m") if reading.mark_ms]
        assert [sorted(reading.good) for reading in marked] == [["x_b"], ["x_a"]]
        assert len({reading.mark_ms for reading in marked}) == 1
        assert [read.points for read in it.driver.reads] == [("x_a",), ("x_b",), ("x_a",)]


async def test_marks_wait_for_a_clock_that_is_set() -> None:
    clock = VirtualClock(NOW_MS, quality="unsync", uptime_s=5)
    async with world([device("m", [point("x_energy", align=900)])], clock=clock) as it:
        await it.clock.advance(1000)
        assert [reading.mark_ms for reading in it.sink.of("m")] == [None]


async def test_a_device_that_misses_three_reads_is_down_and_comes_back() -> None:
    async with world(meters(2)) as it:
        await it.clock.advance(30)
        silent = it.kill(1)
        await it.clock.advance(40)
        state = it.sink.state_of("meter-1")
        assert state is not None
        assert (state.state, state.sc) == ("down", "BadTimeout")
        ((down, data),) = it.sink.named("system.device_down")
        assert (down, data["sc"]) == ("meter-1", "BadTimeout")
        assert all(reading.flagged == [] for reading in it.sink.of("meter-1")), "only state and events while it is down"
        it.driver.devices[1] = silent
        it.sink.readings.clear()
        await it.clock.advance(60)
        assert it.sink.state_of("meter-1").state == "ok"  # type: ignore[union-attr]
        ((up, outage),) = it.sink.named("system.device_up")
        assert (up, outage["since"]) == ("meter-1", data["since"])
        assert it.sink.of("meter-1")[0].good == {"x_power": 1.0}, "all of it goes out again"
        assert "meter-2" not in {name for name, _ in it.sink.named("system.device_down")}


async def test_one_lost_answer_is_no_outage() -> None:
    async with world(meters(1)) as it:
        await it.clock.advance(25)
        silent = it.kill(1)
        await it.clock.advance(4)
        it.driver.devices[1] = silent
        await it.clock.advance(20)
        assert it.sink.events == []
        assert it.sink.state_of("meter-1").state == "ok"  # type: ignore[union-attr]
        assert it.sink.state_of("meter-1").err <= 1  # type: ignore[union-attr]


async def test_a_lost_answer_leaves_no_heartbeat_slot_empty() -> None:
    devices = [device("m", [point("x_power", type="u16", poll=300, heartbeat=300, deadband=5)])]
    async with world(devices) as it:
        await it.clock.advance(900)
        silent = it.kill(1)
        while it.sink.state_of("m").state == "ok":  # type: ignore[union-attr]
            await it.clock.advance(1)
        it.driver.devices[1] = silent
        await it.clock.advance(900)
        slots = sorted({reading.t_ms // 300_000 for reading in it.sink.of("m")})
        assert slots == list(range(slots[0], slots[0] + len(slots)))
        assert len(slots) >= 6


async def test_a_busy_device_is_asked_again_soon() -> None:
    devices = [device("m", [point("x_power", poll=300, heartbeat=300)])]
    async with world(devices) as it:
        busy = {"x_power": PointFault("BadDeviceFailure", later=True)}
        it.driver.devices[1].steps = deque([busy, busy, {}])
        await it.clock.advance(20)
        assert it.reads_of(1) == pytest.approx([1000, 1002, 1006], abs=0.1)
        assert [reading.good for reading in it.sink.of("m")] == [{"x_power": 1.0}]


async def test_a_failed_batch_of_a_live_device_is_bad_and_the_device_degraded() -> None:
    points = [point("x_a"), point("x_b")]
    async with world([device("m", points)], batch_size=1) as it:
        refused = DeviceRefused("exception 4", code=4, status="BadDeviceFailure")
        it.driver.devices[1].steps = deque([{}, refused])
        await it.clock.advance(5)
        (reading,) = it.sink.of("m")
        assert reading.good == {"x_a": 1.0}
        assert reading.flagged == [Flagged("x_b", None, "BadDeviceFailure")]
        state = it.sink.state_of("m")
        assert state is not None
        assert (state.state, state.sc) == ("degraded", "BadDeviceFailure")
        await it.clock.advance(20)
        assert it.sink.state_of("m").state == "ok"  # type: ignore[union-attr]
        assert Flagged("x_b", 1.0, "Good") in [flag for reading in it.sink.of("m") for flag in reading.flagged]


async def test_a_link_that_cannot_be_opened_takes_its_devices_down_and_brings_them_back() -> None:
    async with world(meters(3)) as it:
        it.driver.refuse = LinkRefused("no such port", where="rs485-1")
        await it.clock.advance(0)
        it.driver.refuse = None
        await it.clock.advance(2)
        assert it.sink.events == [], "one refusal is no outage"
    async with world(meters(3)) as it:
        it.driver.refuse = LinkRefused("no such port", where="rs485-1")
        for unit in (1, 2, 3):
            it.driver.devices[unit].steps.append(LinkLost("unplugged", where="rs485-1"))
        await it.clock.advance(120)
        assert [name for name, _ in it.sink.named("system.device_down")] == ["meter-1", "meter-2", "meter-3"]
        assert {data["sc"] for _, data in it.sink.named("system.device_down")} == {"BadNoCommunication"}
        assert it.poller.figures()["state"] == "closed"
        for unit in (1, 2, 3):
            it.driver.devices[unit].steps.clear()
        it.driver.refuse = None
        await it.clock.advance(35)
        assert len(it.sink.named("system.device_up")) == 3


@pytest.mark.parametrize(("link", "slowest_s"), [(SOCKET, 30), (LINE, 4)])
async def test_reconnecting_slows_down_and_never_stops(link: LinkConfig, slowest_s: float) -> None:
    async with world(meters(1), link=link) as it:
        it.driver.refuse = LinkRefused("no such port", where="rs485-1")
        it.driver.devices[1].steps.append(LinkLost("unplugged", where="rs485-1"))
        tries = []
        for _ in range(200):
            before = it.poller.figures()["attempts"]
            await it.clock.advance(1)
            if it.poller.figures()["attempts"] > before:
                tries.append(it.clock.monotonic())
        gaps = [second - first for first, second in pairwise(tries)]
        assert gaps[-1] == pytest.approx(slowest_s, abs=1)
        assert gaps[0] <= 1


async def test_a_silent_socket_is_opened_anew() -> None:
    async with world(meters(1), link=SOCKET) as it:
        await it.clock.advance(15)
        it.kill(1)
        await it.clock.advance(300)
        assert it.driver.opened >= 3


async def test_a_serial_line_is_not_opened_anew_because_its_devices_are_silent() -> None:
    async with world(meters(1), link=LINE) as it:
        it.kill(1)
        await it.clock.advance(300)
        assert it.driver.opened == 1


async def test_a_disabled_device_is_left_alone_and_says_why() -> None:
    first, second = meters(2)
    async with world([replace(first, disabled="pump is being repaired"), second]) as it:
        await it.clock.advance(30)
        assert it.reads_of(1) == []
        state = it.sink.state_of("meter-1")
        assert state is not None
        assert (state.state, state.note) == ("disabled", "pump is being repaired")


async def test_replacing_one_device_costs_the_others_no_poll() -> None:
    devices = meters(5)
    async with world(devices) as it:
        await it.clock.advance(55)
        changed = replace(devices[0], points=(point("x_power"), point("x_new")))
        it.driver.devices[1].values["x_new"] = 7
        it.poller.replace([changed, *devices[2:]])
        await it.clock.advance(55)
        for n in (3, 4, 5):
            times = it.sink.times_of(f"meter-{n}")
            assert [second - first for first, second in pairwise(times[1:])] == pytest.approx(
                [10] * (len(times) - 2), abs=0.2
            )
        assert it.sink.of("meter-1")[-1].good.keys() == {"x_power", "x_new"}
        assert max(it.sink.times_of("meter-2")) < 1056, "a removed device is not read any more"
        assert it.driver.opened == 1
        assert it.poller.figures()["devices"] == 4


async def test_what_arrives_for_a_device_that_was_removed_meanwhile_is_dropped() -> None:
    devices = meters(2)
    async with world(devices) as it:
        await it.clock.advance(RTT_S / 2)
        it.poller.replace(devices[1:])
        await it.clock.advance(5)
        assert it.sink.of("meter-1") == []


async def test_questions_go_before_reads_and_commands_before_questions() -> None:
    async with world(meters(20)) as it:
        order: list[str] = []

        def job(name: str) -> Any:
            async def ask(session: Session, address: Address) -> str:
                order.append(f"{name} of {address.device} after {len(it.driver.reads)} reads")
                return name

            return ask

        await it.clock.advance(5 * RTT_S)
        read_by_then = len(it.driver.reads)
        asked = asyncio.gather(
            it.poller.ask("meter-1", job("question")), it.poller.ask("meter-2", job("command"), is_command=True)
        )
        await it.clock.advance(5)
        assert await asked == ["question", "command"]
        assert order == [
            f"command of meter-2 after {read_by_then} reads",
            f"question of meter-1 after {read_by_then} reads",
        ]


async def test_an_error_of_a_question_is_its_askers_only() -> None:
    async with world(meters(1)) as it:
        await it.clock.advance(1)

        async def refuse(session: Session, address: Address) -> None:
            raise DeviceRefused("exception 2", code=2, status="BadNodeIdUnknown")

        asked = asyncio.gather(it.poller.ask("meter-1", refuse), return_exceptions=True)
        await it.clock.advance(20)
        assert isinstance((await asked)[0], DeviceRefused)
        assert it.driver.opened == 1
        assert it.sink.state_of("meter-1").state == "ok"  # type: ignore[union-attr]


async def test_asking_on_a_link_that_is_down_fails_at_once() -> None:
    async with world(meters(1)) as it:

        async def read(session: Session, address: Address) -> None: ...

        with pytest.raises(LinkLost, match="not open"):
            await it.poller.ask("meter-1", read)
        with pytest.raises(KeyError):
            await it.poller.ask("nobody", read)


async def test_a_question_under_way_fails_with_the_link() -> None:
    async with world(meters(1)) as it:
        await it.clock.advance(1)

        async def lose(session: Session, address: Address) -> None:
            raise LinkLost("unplugged", where="rs485-1")

        async def wait(session: Session, address: Address) -> None: ...

        asked = asyncio.gather(it.poller.ask("meter-1", lose), it.poller.ask("meter-1", wait), return_exceptions=True)
        await it.clock.advance(20)
        assert [type(error) for error in await asked] == [LinkLost, LinkLost]
        assert it.driver.opened == 2


def located(*points: Point) -> Device:
    return device("inverter", points)


async def test_a_device_is_located_once_and_the_layout_kept() -> None:
    described = located(point("x_w"))
    fakes = answering([described])
    fakes[1].layout = {"base": 40000}
    async with world([described], fakes=fakes) as it:
        await it.clock.advance(30)
        assert it.driver.planned[-1] == {"base": 40000}
        assert it.sink.kept["layouts"]["inverter"] == {"base": 40000}
        plans = len(it.driver.planned)
    async with world([described], fakes=fakes, memory={"layouts": {"inverter": {"base": 50000}}}) as it:
        await it.clock.advance(30)
        assert it.driver.planned == [{"base": 50000}] * plans


async def test_what_a_driver_learns_is_kept_and_planned_anew() -> None:
    async with world(meters(2)) as it:
        await it.clock.advance(15)
        it.driver.devices[1].news = {"refused": [120]}
        it.driver.planned.clear()
        await it.clock.advance(25)
        assert it.driver.planned == [{"refused": [120]}]
        assert it.sink.kept["layouts"] == {"meter-1": {"refused": [120]}}


RATIO = {"params": {"ct": {"register": {"reg": 3}, "reread": 600}}}


async def test_ratios_are_read_before_the_values_and_again_later() -> None:
    described = device("m", [point("x_power", type="s32", ratio=["ct"])], profile=RATIO)
    fakes = {1: FakeDevice({"x_power": 2, "param_ct": 40}, delay_s=RTT_S)}
    async with world([described], fakes=fakes) as it:
        await it.clock.advance(20)
        assert it.sink.of("m")[0].good == {"x_power": 80.0}
        fakes[1].values["param_ct"] = 60
        await it.clock.advance(620)
        assert it.sink.named("device.ratio_changed") == [("m", {"param": "ct", "before": 40.0, "after": 60.0})]
        assert it.sink.of("m")[-1].good == {"x_power": 120.0}
        assert it.sink.kept["params"]["m"] == {"ct": "60"}


async def test_another_serial_number_is_an_event_and_an_exchange_of_its_counters() -> None:
    described = device(
        "m", [point("x_energy", type="u32", counter=True)], profile={"serial": {"address": {"reg": 9}, "type": "u32"}}
    )
    fakes = {1: FakeDevice({"x_energy": 700, "serial_number": 1002}, delay_s=RTT_S)}
    memory = {"identity": {"m": "1001"}, "counters": {"m": {"x_energy": {"last": 5000.0}}}}
    async with world([described], fakes=fakes, memory=memory) as it:
        await it.clock.advance(5)
        assert it.sink.named("device.identity_changed") == [("m", {"before": "1001", "after": "1002"})]
        ((_, data),) = it.sink.named("counter.exchanged")
        assert (data["before"], data["after"], data["reason"]) == (5000.0, 700.0, "identity")
        assert it.sink.kept["identity"] == {"m": "1002"}


async def test_counters_are_kept_when_the_poller_ends() -> None:
    described = device("m", [point("x_energy", type="u32", counter=True)])
    async with world([described]) as it:
        await it.clock.advance(15)
        sink = it.sink
    assert sink.kept["counters"]["m"] == {"x_energy": {"last": 1.0}}


async def test_a_poller_ends_though_a_read_swallowed_its_cancellation() -> None:
    async with world(meters(2)) as it:
        slept, began = it.driver.sleep, asyncio.Event()

        async def deaf(seconds: float) -> None:
            began.set()
            with suppress(asyncio.CancelledError):
                await slept(seconds)

        it.driver.sleep = deaf
        await it.clock.advance(9)
        began.clear()
        while not began.is_set():
            await it.clock.advance(RTT_S / 10)
        it.task.cancel()
        await asyncio.wait((it.task,), timeout=5)
        assert it.task.cancelled()


async def test_a_link_that_cannot_keep_up_counts_and_flags_what_is_late() -> None:
    devices = meters(10, poll=2)
    fakes = answering(devices)
    for fake in fakes.values():
        fake.delay_s = 0.45
    async with world(devices, fakes=fakes) as it:
        await it.clock.advance(120)
        figures = it.poller.figures()
        assert figures["busy"] > 0.95
        assert figures["late"] > 20
        assert ("late",) in {flag.flags for reading in it.sink.of("meter-3") for flag in reading.flagged}
        counts = [len(it.sink.of(f"meter-{n}")) for n in range(1, 11)]
        assert max(counts) - min(counts) <= 2, "everyone gets its share"


async def test_a_state_is_said_at_most_once_a_minute_while_nothing_changes() -> None:
    async with world(meters(1, poll=1)) as it:
        await it.clock.advance(600)
        assert 9 <= len(it.sink.states) <= 12
        ((_, now),) = it.poller.states()
        assert now.ok == len(it.sink.of("meter-1"))
