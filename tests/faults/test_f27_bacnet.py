"""F27: what a BACnet network can do to the agent's poller: storms, lost segments, twins, refusals, octets that are none.

Simulated controllers on loopback, the agent's own poller on them, real time; each judged device is polled twice a second beside
another that nothing happens to. Everything that is dropped is counted in the link's figures, and a log line of one kind comes at
most once a second.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from device_profiles.schema import Point
from drivers.bacnet.cov import Subscriptions
from drivers.bacnet.driver import BacnetDriver
from drivers.base import BacnetLink, LinkConfig
from edge_agent import metrics
from edge_agent.clock import SystemClock
from edge_agent.model import Device
from edge_agent.polling.poller import LinkPoller
from firmware_sim.bacnet.device import BacnetDevice
from firmware_sim.bacnet.models import load_model
from firmware_sim.bacnet.orders import apply_fault, heal
from firmware_sim.bacnet.server import BacnetServer
from tests.drivers.bacnet_device import Device as PlainDevice
from tests.drivers.bacnet_device import Wire, bvll, object_id, serving
from tests.edge_agent.poll_world import Recorder, device

POLL_S = 0.2
MIDNIGHT_S = 1_772_409_600
"""The hour in the air-handling unit, whatever it is here (2026-03-02 00:00 UTC): it was just switched off, its values move."""
AHU, OTHER = 1001, 7


def polled(device_id: str, unit: int, count: int, kind: str, poll: float = POLL_S) -> Device:
    points = [
        Point.model_validate({"id": f"x_{kind.lower()}_{n}", "object": f"{kind}:{n}", "type": "f32", "poll": poll})
        for n in range(1, count + 1)
    ]
    return device(device_id, points, unit=unit, profile={"protocol": "bacnet"})


class World:
    """A poller over an air-handling unit, another device, and what came of it."""

    def __init__(
        self, ahu: BacnetDevice, server: BacnetServer, other: Wire, poller: LinkPoller, sink: Recorder
    ) -> None:
        self.ahu, self.server, self.other, self.poller, self.sink = ahu, server, other, poller, sink
        self.broken: list[Mapping[str, Any]] = []
        """What reached the event loop as a failure of nobody."""
        self.beats: list[float] = []
        """When a task that only sleeps for a cycle awoke: what this machine's cycles are worth just now."""

    async def beat(self) -> None:
        """Until it is cancelled."""
        while True:
            self.beats.append(time.monotonic())
            await asyncio.sleep(POLL_S)

    @property
    def errors(self) -> Mapping[str, int]:
        """What the link did not take, by why."""
        found: Mapping[str, int] = self.poller.figures()["wire"]["errors"]
        return found

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen: {self.poller.figures()}"
            await asyncio.sleep(0.01)

    async def cycles(self, count: int, device_id: str = "other") -> None:
        """Until so many more readings of a device came, each with its value."""
        wanted = len(self.sink.of(device_id)) + count
        await self.until(lambda: len(self.sink.of(device_id)) >= wanted)
        assert all(acquisition.good for acquisition in self.sink.of(device_id)[wanted - count :])

    def judge(self) -> None:
        """What holds whatever happened: the other device within its cycle, nothing broken, everything counted as a number."""
        assert not self.broken
        assert self.poller.figures()["crashes"] == 0
        assert self.poller.figures()["connects"] == 1, "the stack was never stopped"
        times = self.sink.times_of("other")
        cycle, beat = _mean(times), _mean([*self.beats, self.beats[-1] + POLL_S])
        slowest = max(after - before for before, after in pairwise(times))
        print(
            f"cycle of the other device {cycle:.3f} s of {beat:.3f} s, slowest {slowest:.3f} s; not taken: {dict(self.errors)}"
        )
        assert cycle < 2 * beat, "the other device was not read within its cycle"
        assert slowest < 10 * max([POLL_S, *(after - before for before, after in pairwise(self.beats))])
        text = metrics.render({"links": {"bms": self.poller.figures()}}, [])
        for name, count in self.errors.items():
            assert f'plantroom_link_wire_errors_{name}{{link="bms"}} {float(count)}' in text


class Driver(BacnetDriver):
    """With subscriptions as short-lived as a test wants them."""

    def __init__(self, lifetime_s: int | None) -> None:
        self._lifetime_s = lifetime_s

    @asynccontextmanager
    async def open(self, link: LinkConfig, trace: Any = None) -> AsyncIterator[Any]:
        async with super().open(link, trace) as session:
            if self._lifetime_s is not None:
                session._subscriptions = Subscriptions(session.client, lifetime_s=self._lifetime_s)
            yield session


@asynccontextmanager
async def world(
    *, cov: bool = False, lifetime_s: int | None = None, count: int = 13, apdu_timeout_s: float = 0.3
) -> AsyncIterator[World]:
    began = time.time()
    ahu = BacnetDevice(load_model("bacnet-ahu"), id="ahu-1", instance=AHU, now=lambda: MIDNIGHT_S + time.time() - began)
    async with BacnetServer(ahu) as server, serving(PlainDevice(instance=OTHER)) as other:
        own = BacnetLink(
            peers=("{}:{}".format(*server.address), other.place),
            apdu_timeout_s=apdu_timeout_s, segment_timeout_s=0.2, cov=cov,
        )  # fmt: skip
        link = LinkConfig("bms", "bacnet", host="127.0.0.1", port=0, bacnet=own)
        clock = SystemClock()
        sink = Recorder(clock)  # type: ignore[arg-type]  # any clock does
        devices = [polled("ahu", AHU, count, "AI"), polled("other", OTHER, 3, "AV")]
        poller = LinkPoller(link, Driver(lifetime_s), devices, sink=sink, clock=clock, memory={})
        made = World(ahu, server, other, poller, sink)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: made.broken.append(context))
        tasks = [asyncio.create_task(poller.run(), name="poller under test"), asyncio.create_task(made.beat())]
        try:
            await made.until(lambda: bool(sink.of("ahu")) and len(sink.of("other")) >= 2)
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.set_exception_handler(None)


def _mean(times: Sequence[float]) -> float:
    return (times[-1] - times[0]) / (len(times) - 1)


async def datagrams(world: World, *some: bytes, per_turn: int = 50) -> None:
    """From a station that is nobody's peer, a few at a time, so that the kernel drops none."""
    port = world.other.clients[-1][1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port)
    )
    for at in range(0, len(some), per_turn):
        for one in some[at : at + per_turn]:
            transport.sendto(one)
        await asyncio.sleep(0.002)
    transport.close()


async def test_a_storm_of_who_is_and_i_am() -> None:
    async with world(apdu_timeout_s=3.0) as it:  # a busy machine is slow to answer: that is not the storm's doing
        apply_fault(it.server, it.ahu, "iam_storm", {"rate": 1000})
        await datagrams(it, *[bvll(b"\x01\x20\xff\xff\x00\xff\x10\x08")] * 1000)
        await it.cycles(3)
        await it.until(lambda: it.ahu.faults.hits["iam_storm"] > 1000)
        assert it.errors["dropped"] >= 1, "we answer a hundred Who-Is a second"
        twin = PlainDevice()
        flood = []
        for twin.instance in range(20_000, 26_000):
            flood.append(twin.i_am())
        await datagrams(it, *flood, per_turn=500)
        await it.until(lambda: it.errors["i_am_dropped"] > 0)
        heal(it.server, it.ahu)
        await it.cycles(2)
        assert len(it.sink.of("ahu")) >= 4
        it.judge()


async def test_a_segment_that_never_comes() -> None:
    async with world() as it:
        it.ahu.about.max_apdu = 50
        it.ahu.about.segmentation = 0
        await it.cycles(2, "ahu")  # in segments
        apply_fault(it.server, it.ahu, "lost_segment", {"segment": 1})
        failed = it.poller.figures()["failed"]
        await it.until(lambda: it.poller.figures()["failed"] > failed)
        await it.cycles(1)
        heal(it.server, it.ahu)
        await it.cycles(1, "ahu")
        it.judge()


async def test_a_storm_of_changes_and_renewals_before_their_end() -> None:
    async with world(cov=True, lifetime_s=3) as it:
        await it.until(lambda: len(it.ahu.subscriptions.held) == 13)
        apply_fault(it.server, it.ahu, "cov_storm", {"rate": 3000})
        least = 13
        deadline = time.monotonic() + 4.0
        while time.monotonic() < deadline:
            least = min(least, len(it.ahu.subscriptions.held))
            await asyncio.sleep(0.02)
        assert least == 13, "a subscription ran out before it was renewed"
        figures = it.poller.figures()
        assert figures["changes"] > 1000
        assert figures["subscribed"] >= 13
        heal(it.server, it.ahu)
        it.judge()


async def test_more_changes_than_are_read_are_dropped_counted_and_polled_again() -> None:
    async with world(cov=True) as it:
        await it.until(lambda: len(it.ahu.subscriptions.held) == 13)
        assert it.poller._reader is not None
        session: Any = it.poller._reader.session
        session.subscriptions.inbox._most = 5
        apply_fault(it.server, it.ahu, "cov_storm", {"rate": 3000})
        await it.until(lambda: it.errors["cov_dropped"] > 0)
        heal(it.server, it.ahu)
        await it.cycles(2, "ahu")
        it.judge()


async def test_a_second_device_of_the_same_instance() -> None:
    async with world() as it:
        apply_fault(it.server, it.ahu, "duplicate", {})
        await it.until(lambda: it.server.impostor is not None)
        await datagrams(it, bvll(b"\x01\x00\x10\x00\xc4" + object_id(8, AHU) + b"\x22\x05\xc4\x91\x03\x21\x0f"))
        await it.until(lambda: it.errors["duplicates"] > 0)
        await it.cycles(2)
        heal(it.server, it.ahu)
        await it.cycles(1, "ahu")
        it.judge()


@pytest.mark.parametrize(("kind", "code"), [("abort", 9), ("abort", 4), ("reject", 0), ("error", 3), ("silent", 0)])
async def test_refusals(kind: str, code: int) -> None:
    """Whatever a device says no with: it has no value as long as it does, and values again when it stops."""
    async with world() as it:
        failed, seen = it.poller.figures()["failed"], len(it.sink.of("ahu"))
        apply_fault(it.server, it.ahu, kind, {"code": code})
        await it.until(
            lambda: it.poller.figures()["failed"] > failed or any(not one.good for one in it.sink.of("ahu")[seen:])
        )
        await it.cycles(2)
        heal(it.server, it.ahu)
        refused = len(it.sink.of("ahu"))
        await it.until(lambda: any(one.good for one in it.sink.of("ahu")[refused:]))
        it.judge()


KINDS = (
    "bad_bvlc", "bad_npdu", "bad_apdu", "bad_tags", "cut", "nested", "garbage", "wrong_invoke", "wrong_service", "twice"
)  # fmt: skip


async def test_answers_that_are_none() -> None:
    """One after the other: the request is lost, the next one brings the values."""
    async with world() as it:
        names = set(it.sink.of("ahu")[-1].good)
        with capture_logs() as logs:
            began = time.monotonic()
            for kind in KINDS:
                apply_fault(it.server, it.ahu, kind, {"count": 1})
                await it.until(lambda kind=kind: it.ahu.faults.hits.get(kind, 0) == 1)  # type: ignore[misc]
                seen = len(it.sink.of("ahu"))
                await it.until(lambda seen=seen: set(names) in [set(one.good) for one in it.sink.of("ahu")[seen:]])  # type: ignore[misc]
            seconds = time.monotonic() - began
        assert all(set(one.good) <= names for one in it.sink.of("ahu"))
        assert it.errors["malformed"] >= 3
        assert it.errors["unexpected"] >= 2, "an answer to nothing, and one that came twice"
        bounded(logs, seconds)
        it.judge()


def bounded(logs: list[Any], seconds: float) -> None:
    """One line of one kind a second at most."""
    lines = Counter((line["event"], line.get("device")) for line in logs)
    assert all(count <= seconds + 1 for count in lines.values()), lines


async def test_octets_that_are_none_and_senders_that_are_not_who_they_say() -> None:
    rng = random.Random(27)
    i_am = b"\x01\x00\x10\x00\xc4"
    rest = b"\x22\x05\xc4\x91\x03\x21\x0f"
    bad = [
        b"\x81", b"\x82\x0a\x00\x04", b"\x81\x0a\xff\xff\x01\x00", bvll(b"\x02\x00"), bvll(b"\x01\x28\xff\xff"),
        bvll(b"\x01\x00\xf0\x00"), bvll(b"\x01\x00\x10"), bvll(b"\x01\x00\x10\x02" + b"\x0e" * 1000),
        bvll(b"\x01\x00\x10\x00" + b"\x0e" * 1000), bvll(i_am + object_id(8, 4_194_303) + rest),
        bvll(i_am + object_id(0, 5) + rest), bvll(b"\x01\x00\x10\x00\x09\x01\xc4" + object_id(8, 5) + rest),
        bvll(b"\x01\x00\x10\x00\x75\xff\xff\xff\xff\xff"), bytes(65_507), b"\x81\x0a" + (65_507).to_bytes(2) + bytes(65_503),
    ]  # fmt: skip
    async with world(cov=True) as it:
        with capture_logs() as logs:
            began = time.monotonic()
            for _ in range(20):
                await datagrams(it, *bad, *(rng.randbytes(rng.randrange(1, 200)) for _ in range(50)), per_turn=20)
            # Answers and changes of the device, from a station that is not it: to every invoke id, for every object.
            forged = b"\x0c" + object_id(0, 1) + b"\x19\x55\x3e\x44\x49\x74\x24\x00\x3f"
            for invoke_id in range(256):
                await datagrams(it, bvll(b"\x01\x00\x30" + bytes((invoke_id,)) + b"\x0c" + forged))
            process = next(iter(it.ahu.subscriptions.held.values())).process
            change = b"\x0a" + process.to_bytes(2) if process < 65536 else b"\x0b" + process.to_bytes(3)
            told = change + b"\x1c" + object_id(8, AHU) + b"\x2c" + object_id(0, 1) + b"\x39\x0a"
            told += b"\x4e\x09\x55\x2e\x44\x49\x74\x24\x00\x2f\x09\x6f\x2e\x82\x04\x00\x2f\x4f"
            await datagrams(it, *[bvll(b"\x01\x00\x10\x02" + told)] * 20)
            await it.until(lambda: it.errors["cov_unasked"] >= 20)
            await it.cycles(2)
            await it.cycles(1, "ahu")  # a change of its own
            seconds = time.monotonic() - began
        assert it.errors["malformed"] >= 20 * len(bad)
        assert it.errors["unexpected"] >= 256
        values = [value for one in it.sink.of("ahu") for value in one.good.values()]
        assert 1_000_000.0 not in [float(value) for value in values if not isinstance(value, str)], (
            "a forged value was believed"
        )
        bounded(logs, seconds)
        it.judge()


async def test_one_unreachable_device_among_two_hundred_costs_the_others_no_time() -> None:
    """Each device at a station of its own. The mean time between two readings of the others, before and after, in one run."""
    count = 200
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(serving(PlainDevice(instance=n))) for n in range(1, count + 1)]
        own = BacnetLink(peers=tuple(wire.place for wire in wires), apdu_timeout_s=0.5, cov=False)
        link = LinkConfig("bms", "bacnet", host="127.0.0.1", port=0, bacnet=own)
        clock = SystemClock()
        sink = Recorder(clock)  # type: ignore[arg-type]
        devices = [polled(f"d{n}", n, 1, "AV") for n in range(1, count + 1)]
        poller = LinkPoller(link, BacnetDriver(), devices, sink=sink, clock=clock, memory={})
        task = asyncio.create_task(poller.run(), name="poller under test")
        try:
            healthy = await cycle_s(sink, devices)
            wires[49].devices[0].is_silent = True
            broken = await cycle_s(sink, [one for one in devices if one.id != "d50"])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        print(f"cycle {healthy:.3f} s, with one of {count} unreachable {broken:.3f} s: {broken / healthy - 1:+.1%}")
        # The 5 % are judged on the virtual clock (test_poller_parallel); here the machine's own noise is of that size.
        assert broken < 2 * healthy


async def cycle_s(sink: Recorder, devices: list[Device], turns: int = 4) -> float:
    """The mean time between readings of these devices over so many turns."""
    deadline = time.monotonic() + 30
    while min(Counter(each.id for _, each, _ in sink.readings).get(one.id, 0) for one in devices) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    sink.readings.clear()
    while min(Counter(each.id for _, each, _ in sink.readings).get(one.id, 0) for one in devices) < turns + 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    times: dict[str, list[float]] = {}
    for at, each, _ in sink.readings:
        times.setdefault(each.id, []).append(at)
    return sum((seen[-1] - seen[0]) / (len(seen) - 1) for seen in (times[one.id] for one in devices)) / len(devices)
