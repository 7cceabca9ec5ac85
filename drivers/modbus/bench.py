"""Benches of the Modbus driver: how much of a serial line's time it uses, and how far its plans are from the cheapest.

`bench_line` starts the paced device of bench_slave as a process of its own on a pseudo terminal; `bench_plan` compares the
planner with an optimum found another way. Both return what `plantroom bench` prints as its one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from functools import cache
from statistics import median
from typing import Any

from device_profiles.schema import Point
from drivers.base import Address, Limits, LinkConfig

from . import planner
from .driver import ModbusDriver

_REGISTERS = 10
_WINDOWS = 5
"""Seconds at each speed; the median second counts, so that one hiccup of a shared machine does not."""
_MAPS = 1000
_SIZES = {1: "u16", 2: "f32", 4: "u64"}


def bench_line() -> dict[str, Any]:
    """Requests a second over a pty that paces its bytes, as a share of what the line can carry with both silences held.

    `shortest_gap_chars` is the shortest silence that the device heard before a request, at 9600 baud in characters (3.5 are
    due); `gaps_broken` counts those shorter than the standard at any speed.
    """
    results = {str(baud): asyncio.run(_line(baud)) for baud in (9600, 115200)}
    return {
        **{baud: round(result["share"], 4) for baud, result in results.items()},
        "shortest_gap_chars": round(results["9600"]["shortest_gap_chars"], 3),
        "gaps_broken": sum(result["gaps_broken"] for result in results.values()),
    }


async def _line(baud: int) -> dict[str, Any]:
    slave = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drivers.modbus.bench_slave", str(baud),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert slave.stdin is not None
    assert slave.stdout is not None
    path = (await slave.stdout.readline()).decode().strip()
    link = LinkConfig("bench", "serial", path=path, baud=baud)
    driver = ModbusDriver()
    [batch] = driver.plan([_point(reg, 1) for reg in range(_REGISTERS)], Limits(), None, link)
    rates: list[float] = []
    async with driver.open(link) as session:
        await session.read(Address(1), batch)
        for _ in range(_WINDOWS):
            requests, began = 0, time.perf_counter()
            while time.perf_counter() - began < 1:
                values = await session.read(Address(1), batch)
                assert list(values) == list(range(_REGISTERS)), values
                requests += 1
            rates.append(requests / (time.perf_counter() - began))
    slave.stdin.close()
    heard = json.loads(await slave.stdout.readline())
    await slave.wait()
    char_s = link.bits_per_char / baud
    gap_s = 3.5 * char_s if baud <= 19200 else 0.00175
    cycle_s = (8 + 5 + 2 * _REGISTERS) * char_s + 2 * gap_s
    return {
        "share": median(rates) * cycle_s,
        "shortest_gap_chars": heard["shortest_gap_s"] / char_s,
        "gaps_broken": heard["gaps_broken"],
    }


def bench_plan() -> dict[str, Any]:
    """Cost of 1,000 random maps as planned, over their optimum as found without the planner; 1.0 is the optimum."""
    chance = random.Random(2026)
    planned = best = 0.0
    for _ in range(_MAPS):
        link = LinkConfig("bench", chance.choice(["serial", "tcp"]), baud=chance.choice([2400, 9600, 115200]))
        points, limits = _random_map(chance)
        cost = planner.cost_of(link)
        batches = planner.plan(points, limits, None, link)
        planned += sum(cost.block("holding", batch.plan.count) for batch in batches)
        best += cheapest([(_reg(point), _reg(point) + point.registers - 1) for point in points], limits, cost)
    return {"ratio": round(planned / best, 6), "maps": _MAPS}


def cheapest(spans: list[tuple[int, int]], limits: Limits, cost: planner.Cost) -> float:
    """The least cost of covering all spans, by recursion over registers: the first one still wanted begins a read, whose
    length is tried out register by register. Shares no code with the planner.
    """
    forbidden = {reg for _, first, last in limits.forbidden for reg in range(first, last + 1)}
    wanted = {reg for first, last in spans for reg in range(first, last + 1)}

    @cache
    def from_register(start: int) -> float:
        """The cost of what begins at `start` or after."""
        due = [span for span in spans if span[0] >= start]
        if not due:
            return 0.0
        first = min(span[0] for span in due)
        least = float("inf")
        hole = 0
        for end in range(first, first + limits.max_registers):
            hole = 0 if end in wanted else hole + 1
            if end in forbidden or (limits.max_gap is not None and hole > limits.max_gap):
                break
            open_spans = [span[0] for span in due if span[1] > end]
            if end in wanted and not (open_spans and min(open_spans) == first):
                rest = min(open_spans, default=1 << 20)
                least = min(least, cost.block("holding", end - first + 1) + from_register(rest))
        return least

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))
    return from_register(0)


def _random_map(chance: random.Random) -> tuple[list[Point], Limits]:
    """Clusters of points, as meters have them, with holes of all sizes."""
    points: list[Point] = []
    reg = chance.randrange(100)
    while len(points) < chance.randint(3, 60) and reg < 60_000:
        size = chance.choice([1, 1, 2, 2, 2, 4])
        points.append(_point(reg, size))
        reg += size + chance.choice([0, 0, 0, 1, 2, 5, 10, 20, 40, 70, 500])
    taken = {at for point in points for at in range(_reg(point), _reg(point) + point.registers)}
    holes = [reg for reg in range(_reg(points[0]), _reg(points[-1])) if reg not in taken]
    forbidden = tuple(("holding", reg, reg) for reg in chance.sample(holes, min(len(holes), chance.randint(0, 3))))
    return points, Limits(
        max_registers=chance.choice([8, 20, 60, 125]), max_gap=chance.choice([None, None, 0, 8]), forbidden=forbidden
    )


def _reg(point: Point) -> int:
    reg: int = point.address.reg  # type: ignore[union-attr, assignment]
    return reg


@cache
def _point(reg: int, size: int) -> Point:
    return Point.model_validate({"id": f"r{reg}", "address": {"table": "holding", "reg": reg}, "type": _SIZES[size]})
