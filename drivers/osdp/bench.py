"""Bench of OSDP lines: 32 readers on four lines at 38400 Bd, all over the secure channel, while cards are presented.

The simulated lines are processes of their own: this process's share of a processor is the control panels' alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import sys
import time
from typing import Any

from device_profiles.library import Library
from device_profiles.secrets import Secret
from drivers.base import Address, parse_link
from drivers.listening import Listened

from .cycle import Pace
from .driver import OsdpDriver
from .session import OsdpSession

LINES, READERS, BAUD = 4, 8, 38400
_SECONDS, _EVERY_S = 20.0, 0.05
_KEY_NAME = "PLANTROOM_BENCH_SCBK"
_BEFORE_S = 30.0


def bench_osdp() -> dict[str, Any]:
    """Longest time between two polls of one reader (ms), and from a card at the reader to its Occurrence (ms, p50 and p99; the
    order to the simulator's process is counted in). A card is presented every 50 ms somewhere.
    """
    os.environ[_KEY_NAME] = secrets.token_hex(16)
    try:
        return asyncio.run(_bench())
    finally:
        del os.environ[_KEY_NAME]


async def _bench() -> dict[str, Any]:
    async with contextlib.AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(simulated()) for _ in range(LINES)]
        sessions: list[OsdpSession] = []
        for number, (link, _) in enumerate(lines):
            session = await stack.enter_async_context(OsdpDriver().open(link))
            for unit in range(READERS):
                await session.listen(_listened(f"{number}-{unit}", unit))
            sessions.append(session)
        async with asyncio.timeout(_BEFORE_S):
            for number, session in enumerate(sessions):
                for unit in range(READERS):
                    await session.identify(_listened(f"{number}-{unit}", unit).address)
        for session in sessions:
            session.cycle.pace.clear()
        heard: dict[str, float] = {}
        hearing = [asyncio.create_task(_hear(session, heard), name="bench hear") for session in sessions]
        began, cpu = time.perf_counter(), time.process_time()
        shown = await _present([process for _, process in lines])
        await asyncio.sleep(1)
        took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        paces = [pace for session in sessions for pace in session.cycle.pace.values()]
        for task in hearing:
            task.cancel()
        await asyncio.gather(*hearing, return_exceptions=True)
        return _figures(paces, shown, heard, took_s, cpu_s)


@contextlib.asynccontextmanager
async def simulated() -> Any:
    """One line in a process of its own: (link, process)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.cli", "sim", "osdp", "--count", str(READERS), "--baud", str(BAUD),
        "--key-env", _KEY_NAME, "--json",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ready = json.loads(await process.stdout.readline())
        yield parse_link(ready["link"], link_id="bench"), process
    finally:
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await asyncio.wait_for(process.wait(), 5)


def _listened(device: str, unit: int) -> Listened:
    profile = Library.default().get("generic-osdp-reader")
    return Listened(Address(unit, device, secret=Secret(env=_KEY_NAME)), profile.events, profile.credential)


async def _hear(session: OsdpSession, heard: dict[str, float]) -> None:
    async for turn in session.occurrences():
        now = time.perf_counter()
        for one in turn:
            if one.name == "card.read":
                heard[one.clear["card"].text] = now


async def _present(processes: list[asyncio.subprocess.Process]) -> dict[str, float]:
    """A card of its own each time, at some reader; (card, when)."""
    rng, shown = random.Random(1), dict[str, float]()
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        process = rng.choice(processes)
        assert process.stdin is not None
        assert process.stdout is not None
        number = 1_000_000 + len(shown)
        order = {"op": "card", "reader": rng.randrange(READERS), "bits": bits_of(number)}
        shown[str(number)] = time.perf_counter()
        process.stdin.write(json.dumps(order).encode() + b"\n")
        await process.stdout.readline()
        await asyncio.sleep(_EVERY_S * rng.uniform(0.5, 1.5))
    return shown


def bits_of(number: int) -> str:
    """A 26-bit card with both parity bits (H10301)."""
    own = f"{number:024b}"
    return str(own[:12].count("1") % 2) + own + str((own[12:].count("1") + 1) % 2)


def _figures(
    paces: list[Pace], shown: dict[str, float], heard: dict[str, float], took_s: float, cpu_s: float
) -> dict[str, Any]:
    delays = sorted(heard[card] - at for card, at in shown.items() if card in heard)
    return {
        "readers": len(paces),
        "longest_poll_ms": round(max(pace.longest_s for pace in paces) * 1000, 1),
        "polls_per_s": round(sum(pace.polls for pace in paces) / took_s, 1),
        "cards": len(shown),
        "missing": len(shown) - len(delays),
        "card_p50_ms": round(delays[len(delays) // 2] * 1000, 1) if delays else None,
        "card_p99_ms": round(delays[int(len(delays) * 0.99)] * 1000, 1) if delays else None,
        "processor_percent": round(100 * cpu_s / took_s, 1),
    }
