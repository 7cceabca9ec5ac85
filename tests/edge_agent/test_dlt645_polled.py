"""DL/T 645 meters under the real poller: a mixed line, an outage filled from frozen records, a clock that is off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from device_profiles.control import Operation
from drivers.base import CanOperate, Session
from drivers.mixed import MixedDriver
from edge_agent.clock import Quality, SystemClock
from edge_agent.config.load import load_config
from edge_agent.polling.poller import LinkPoller
from firmware_sim.devices import build
from firmware_sim.meter_counting import CountingMeter
from firmware_sim.meter_mixed import MixedLine
from firmware_sim.wire import Wire
from tests.edge_agent.poll_world import Recorder

NUMBER = "000000880047"
TZ_S = 8 * 3600.0


class SetClock(SystemClock):
    """The machine's clock, known to be right."""

    def quality(self) -> Quality:
        return "ntp"


def agent_yaml(folder: Path, port: str) -> Path:
    (folder / "password").write_text("02:123456")
    (folder / "password").chmod(0o600)
    path = folder / "agent.yaml"
    path.write_text(
        f"""
agent: {{id: a, site: s, tz: Asia/Shanghai}}
mqtt: {{url: "mqtt://127.0.0.1"}}
links:
  rs485-1: {{kind: serial, path: {port}, baud: 115200, timeout: 0.3, mixed: true}}
devices:
- id: meter-1
  link: rs485-1
  unit: "{NUMBER}"
  profile: generic-dlt645-2007-three-phase
  line: {{baud: 38400, parity: E}}
  secret: {{file: password}}
  options: {{relay: with}}
  poll: 1
  points: {{energy_active_import: {{poll: 1}}}}
- {{id: meter-2, link: rs485-1, unit: 7, profile: eastron-sdm630, poll: 1}}
"""
    )
    return path


@asynccontextmanager
async def polled(
    folder: Path, memory: Mapping[str, Mapping[str, Any]], **life: Any
) -> AsyncIterator[tuple[LinkPoller, Recorder, CountingMeter]]:
    meter = CountingMeter(NUMBER, utc_offset_s=TZ_S, password="02123456", **life)
    alive = meter.meter()
    alive.turnaround_s = 0.002
    device = build("eastron-sdm630", id="meter-2", unit=7, seed=1, now=time.time, utc_offset_s=0.0)
    with MixedLine([alive], Wire(38400, "E"), [device], Wire(115200)) as line:
        config = load_config(agent_yaml(folder, line.path))
        clock = SetClock()
        sink = Recorder(clock)  # type: ignore[arg-type]  # it only asks for monotonic time
        poller = LinkPoller(config.links[0], MixedDriver(), config.devices, sink=sink, clock=clock, memory=memory)
        task = asyncio.create_task(poller.run(), name="poller")
        try:
            async with asyncio.timeout(20):
                yield poller, sink, meter
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.02)


async def test_six_hours_without_the_agent_come_back_as_history(tmp_path: Path) -> None:
    now = time.time()
    memory = {"heard": {"meter-1": round((now - 6 * 3600) * 1000)}}
    async with polled(tmp_path, memory, began_s=now - 86_400) as (_poller, sink, meter):
        await until(lambda: sum(one.src == "memory" for one in sink.of("meter-1")) >= 6 and bool(sink.of("meter-2")))
        history = [one for one in sink.of("meter-1") if one.src == "memory"]
    hours = [round((now // 3600 - n) * 3_600_000) for n in (5, 4, 3, 2, 1, 0)]
    assert [one.t_ms for one in history][:6] == hours
    for one in history:
        counted = float(meter.world.snapshot(one.t_ms / 1000)["kwh_import"] or 0)
        assert abs(float(one.good["energy_active_import"]) - counted) < 0.011
    live = [one for one in sink.of("meter-1") if one.src is None]
    assert live
    assert any("frequency" in one.good for one in sink.of("meter-2"))


async def test_a_clock_that_is_off_is_an_event(tmp_path: Path) -> None:
    async with polled(tmp_path, {}, skew_s=4000.0) as (_poller, sink, _meter):
        await until(lambda: bool(sink.named("device.clock_skew")))
        [(device, data)] = sink.named("device.clock_skew")
    assert device == "meter-1"
    assert data["point"] == "clock_skew"
    assert abs(data["skew_ms"] - 4_000_000) < 3000


async def test_a_command_goes_between_the_polls_of_a_mixed_line(tmp_path: Path) -> None:
    async with polled(tmp_path, {}) as (poller, sink, meter):
        await until(lambda: any(one.good.get("relay_open") is False for one in sink.of("meter-1")))
        trip = Operation(id="open_relay", op="breaker.open", call={"control": "trip"})

        async def job(session: Session, address: Any) -> Any:
            assert isinstance(session, CanOperate)
            return await session.operate(address, trip, {}, None)

        done = await poller.ask("meter-1", job, is_command=True)
        assert done["relay"] == "open"
        await until(lambda: any(one.good.get("relay_open") is True for one in sink.of("meter-1")))
    assert meter.relay_open
