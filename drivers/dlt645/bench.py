"""Bench of a DL/T 645 line: how much of what 2400 baud and the meter's own turnaround allow is used for readings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from statistics import median
from typing import Any

from device_profiles.library import Library
from drivers.base import Address, Limits, LinkConfig, parse_link

from .driver import Dlt645Driver2007

_BAUD = 2400
_TURNAROUND_S = 0.04
_METERS = 3
_ROUNDS = 5


def bench_dlt645() -> dict[str, Any]:
    """Share of the theoretical rate: bytes at 11 bits each and the meters' turnaround, over the time that rounds of whole meters
    took. The simulated meters run as a process of their own; the median round counts.
    """
    return asyncio.run(_line())


async def _line() -> dict[str, Any]:
    meters = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.cli", "sim", "meter", "dlt645-2007", "--count", str(_METERS),
        "--baud", str(_BAUD), "--turnaround", str(_TURNAROUND_S), "--json",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert meters.stdin is not None
    assert meters.stdout is not None
    try:
        ready = json.loads(await meters.stdout.readline())
        link = parse_link(ready["link"], link_id="bench")
        shares, requests = await _rounds(link, ready["meters"])
    finally:
        meters.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await asyncio.wait_for(meters.wait(), 5)
    return {"share": round(median(shares), 4), "worst": round(min(shares), 4), "requests": requests, "baud": _BAUD}


async def _rounds(link: LinkConfig, numbers: list[str]) -> tuple[list[float], int]:
    points = Library.default().get("generic-dlt645-2007-three-phase").points
    driver = Dlt645Driver2007()
    batches = driver.plan(points, Limits(), None, link)
    char_s = link.bits_per_char / link.baud
    shares: list[float] = []
    async with driver.open(link) as session:
        await session.read(Address(numbers[0]), batches[0])  # the line listens for a moment when it is opened
        for _ in range(_ROUNDS):
            counts = session.counts
            bytes_before, asked_before, began = counts.bytes_in + counts.bytes_out, counts.requests, time.perf_counter()
            for number in numbers:
                for batch in batches:
                    await session.read(Address(number), batch)
            took_s = time.perf_counter() - began
            sent = counts.bytes_in + counts.bytes_out - bytes_before
            least_s = sent * char_s + (counts.requests - asked_before) * _TURNAROUND_S
            shares.append(least_s / took_s)
        return shares, session.counts.requests
