"""F25: dead devices on a bus cost the others nothing, probing keeps to its share, and who comes back is back within a minute."""

from itertools import pairwise
from statistics import mean

import pytest

from device_profiles.errors import DeviceTimeout
from drivers.base import Address, Batch, Session
from edge_agent.model import Device
from edge_agent.polling.schedule import PROBE_SHARE
from tests.edge_agent.poll_world import LINE, World, device, point, world

DEVICES = 100
PERIOD_S = 2.1
"""A hundred devices of 20 ms take 2.0 s: the line has 5 % to spare and a time limit costs a quarter of a cycle."""


def bus() -> list[Device]:
    return [device(f"meter-{n}", [point("x_power", poll=PERIOD_S)], unit=n) for n in range(1, DEVICES + 1)]


def cycle_s(it: World, unit: int, since: float) -> float:
    """Mean time between the reads of a unit."""
    times = [at for at in it.reads_of(unit) if at >= since]
    return mean(second - first for first, second in pairwise(times))


@pytest.mark.parametrize("dead", [1, 10])
async def test_the_others_keep_their_cycle_and_probing_its_share(dead: int) -> None:
    async with world(bus()) as it:
        await it.clock.advance(30)
        silent = {unit: it.kill(unit) for unit in range(1, dead + 1)}
        await it.clock.advance(3 * (PERIOD_S + dead * LINE.timeout_s))  # three cycles with all their time limits
        judged = it.clock.monotonic()
        await it.clock.advance(600)
        for unit in (dead + 1, 50, DEVICES):
            assert cycle_s(it, unit, judged) <= PERIOD_S * 1.05
        probing = sum(cost for at, unit, cost in it.spent if at >= judged and unit in silent)
        assert probing <= PROBE_SHARE * 600 + LINE.timeout_s
        assert {name for name, _ in it.sink.named("system.device_down")} == {f"meter-{unit}" for unit in silent}


async def test_a_device_that_answers_again_is_back_within_a_minute() -> None:
    async with world(bus()) as it:
        await it.clock.advance(10)
        for pause_s in (7, 61, 500):
            silent = it.kill(7)
            await it.clock.advance(20 + pause_s)
            assert it.sink.state_of("meter-7").state == "down"  # type: ignore[union-attr]
            it.driver.devices[7] = silent
            before = len(it.sink.named("system.device_up"))
            await it.clock.advance(61)
            assert len(it.sink.named("system.device_up")) == before + 1
            assert it.sink.state_of("meter-7").state == "ok"  # type: ignore[union-attr]


async def test_a_device_that_comes_and_goes_does_not_disturb_the_others() -> None:
    async with world(bus()) as it:
        await it.clock.advance(30)
        since = it.clock.monotonic()
        for _ in range(10):
            silent = it.kill(3)
            await it.clock.advance(20)
            it.driver.devices[3] = silent
            await it.clock.advance(20)
        assert cycle_s(it, 50, since) <= PERIOD_S * 1.05


async def test_a_command_to_a_dead_device_fails_soon_and_blocks_nobody() -> None:
    async with world(bus()) as it:
        await it.clock.advance(10)
        it.kill(7)
        await it.clock.advance(60)
        batch = Batch(("x_power",))

        async def write(session: Session, address: Address) -> None:
            await session.read(address, batch)

        asked = it.clock.monotonic()
        with pytest.raises(DeviceTimeout):
            await it.clock.run(it.poller.ask("meter-7", write, is_command=True))
        assert it.clock.monotonic() - asked <= 2
        await it.clock.advance(30)
        assert cycle_s(it, 50, asked) <= PERIOD_S * 1.05
