"""What F22 to F26 ask of any serial protocol: a bus whose slaves are late, a hundred with one dead, a port pulled out."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable
from pathlib import Path

import pytest

from device_profiles.errors import DeviceTimeout
from drivers.base import Driver
from edge_agent.clock import SystemClock
from edge_agent.config.load import load_config
from edge_agent.polling.poller import LinkPoller
from firmware_sim.line import SerialLine
from tests.drivers.virtual_wire import Piece, VirtualWire
from tests.edge_agent.poll_world import Recorder

Reply = Callable[[bytes, int], "tuple[Hashable, bytes] | None"]
"""(request, its number on the line) -> (who answers, the right answer), None for what nobody answers."""


class LateBus:
    """The other end of a VirtualWire: each slave answers its requests in their order, but one in twenty is lost, four in ten
    come 1.05 to 4 time limits late, some are garbled, and some are `refusal`s. `number` counts requests.
    """

    def __init__(
        self, seed: int, reply: Reply, *, char_s: float, timeout_s: float, refusal: Callable[[bytes], bytes | None]
    ) -> None:
        self._random = random.Random(seed)
        self._reply = reply
        self._refusal = refusal
        self._char_s = char_s
        self._timeout_s = timeout_s
        self._busy: dict[Hashable, float] = {}
        self.number = 0

    def __call__(self, request: bytes, end: float) -> list[Piece]:
        self.number += 1
        right = self._reply(request, self.number)
        dice = self._random.random()
        if right is None or dice < 0.05:
            return []
        who, reply = right
        delay = 0.03
        if dice < 0.45:
            delay = self._timeout_s * self._random.choice([1.05, 1.4, 1.4, 1.8, 2.5, 4.0])
        begin = max(end + delay, self._busy.get(who, 0.0))
        if dice > 0.99:
            at = max(0, len(reply) - 2)
            reply = reply[:at] + bytes((reply[at] ^ 0x10,)) + reply[at + 1 :]
        elif dice > 0.96:
            reply = self._refusal(request) or reply
        self._busy[who] = begin + len(reply) * self._char_s
        return [(begin - end, reply)]


def a_hundred_with_one_dead(wire: VirtualWire, read: Callable[[int], None], *, one_s: float, dead_s: float) -> None:
    """Reads 1 to 100 four times, of which 50 is dead: it costs `dead_s` a time, and the others not a twentieth more than
    `one_s` each.
    """
    for _ in range(4):
        began = wire.time
        for number in range(1, 101):
            if number == 50:
                with pytest.raises(DeviceTimeout):
                    read(number)
            else:
                read(number)
        assert wire.time - began < 99 * one_s * 1.05 + dead_s


async def a_port_that_is_pulled_out(folder: Path, port: Path, line: SerialLine, driver: Driver, device: str) -> None:
    """`line` stands behind the link `port`; `device` is the line of agent.yaml of its device `meter-1`, on link `line-1`."""
    config = folder / "agent.yaml"
    config.write_text(
        f"""
agent: {{id: a, site: s, tz: UTC}}
mqtt: {{url: "mqtt://127.0.0.1"}}
links:
  line-1: {{kind: serial, path: {port}, baud: 115200, timeout: 0.2}}
devices:
- {device}
"""
    )
    loaded = load_config(config)
    sink = Recorder(SystemClock())  # type: ignore[arg-type]  # it only asks for monotonic time
    poller = LinkPoller(loaded.links[0], driver, loaded.devices, sink=sink, clock=SystemClock(), memory={})
    task = asyncio.create_task(poller.run(), name="poller")
    try:
        async with asyncio.timeout(30):
            while not sink.of("meter-1"):
                await asyncio.sleep(0.02)
            line.ask(line.unplug)
            while poller.figures()["state"] == "open":
                await asyncio.sleep(0.02)
            processor, began, attempts = time.process_time(), time.perf_counter(), poller.figures()["attempts"]
            while poller.figures()["attempts"] == attempts:
                await asyncio.sleep(0.02)
            assert time.process_time() - processor < 0.5 * (time.perf_counter() - began), "no busy loop"
            before = len(sink.of("meter-1"))
            line.ask(line.plug)
            while len(sink.of("meter-1")) == before:
                await asyncio.sleep(0.02)
            assert time.perf_counter() - began < 5.5
    finally:
        task.cancel()
        await asyncio.wait([task])
