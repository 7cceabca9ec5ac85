"""`plantroom sim meter`: DL/T 645 meters on a pseudo terminal with the timing of a real line.

Orders on standard input, one JSON line each, one line back:

    {"op": "fault", "meter": "000012345678", "kind": "late", "delay_s": 1.4}     kinds: see KINDS
    {"op": "heal"}                          {"op": "heal", "meter": "000012345678"}
    {"op": "clock", "meter": "000012345678", "skew_s": 90}
    {"op": "unplug"}   {"op": "plug"}   {"op": "stats"}   {"op": "meters"}
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.meter_counting import CountingMeter
    from firmware_sim.meters import Meter, MeterLine

MAKES = {"dlt645-2007": "2007", "dlt645-1997": "1997"}
Spoil = Callable[[bytes], list[tuple[float, bytes]]]


def spoiler(kind: str, options: dict[str, float], seed: int = 1) -> Spoil:
    """What turns a right reply into (seconds late, bytes). Raises KeyError for an unknown kind."""
    chance, rng = options.get("chance", 1.0), random.Random(seed)
    delay_s, kinds = options.get("delay_s", 1.4), KINDS[kind]

    def spoil(reply: bytes) -> list[tuple[float, bytes]]:
        return kinds(reply, delay_s, rng) if rng.random() < chance else [(0.0, reply)]

    return spoil


def _noise(rng: random.Random, count: int) -> bytes:
    return bytes(rng.randrange(256) for _ in range(count))


def _of_another(reply: bytes) -> bytes:
    at = reply.index(0x68)
    other = reply[: at + 1] + bytes((reply[at + 1] ^ 0x01,)) + reply[at + 2 : -2]
    return other + bytes((sum(other[at:]) % 256,)) + b"\x16"


KINDS: dict[str, Callable[[bytes, float, random.Random], list[tuple[float, bytes]]]] = {
    "mute": lambda reply, delay_s, rng: [],
    "late": lambda reply, delay_s, rng: [(delay_s, reply)],
    "twice": lambda reply, delay_s, rng: [(0.0, reply), (delay_s, reply)],
    "checksum": lambda reply, delay_s, rng: [(0.0, reply[:-2] + bytes((reply[-2] ^ 0x55,)) + reply[-1:])],
    "cut": lambda reply, delay_s, rng: [(0.0, reply[: len(reply) // 2])],
    "foreign": lambda reply, delay_s, rng: [(0.0, _of_another(reply))],
    "noise": lambda reply, delay_s, rng: [(0.0, _noise(rng, 7) + reply + _noise(rng, 5))],
    "garbage": lambda reply, delay_s, rng: [(0.0, _noise(rng, len(reply)))],
    "flood": lambda reply, delay_s, rng: [(0.0, _noise(rng, 600))],
}
"""What can be wrong with a meter's replies, by name."""


def meter(
    make: Annotated[str, typer.Argument(help=f"One of {', '.join(MAKES)}.")],
    number: Annotated[
        list[str] | None,
        typer.Option("--number", help="12 digits of a meter; may be repeated for several on the line."),
    ] = None,
    count: Annotated[int, typer.Option(help="Without --number: so many, from 000000000001.", min=1, max=250)] = 1,
    link: Annotated[Path | None, typer.Option(help="Make this a symlink to the pseudo terminal.")] = None,
    baud: Annotated[
        int | None, typer.Option(help="2400 (2007) or 1200 (1997) without it.", min=300, max=115_200)
    ] = None,
    parity: Annotated[str, typer.Option(help="N, E or O.")] = "E",
    wake: Annotated[int, typer.Option(help="FE bytes before each reply.", min=0, max=8)] = 4,
    turnaround: Annotated[float, typer.Option(help="Seconds from a request to its reply.", min=0, max=5)] = 0.04,
    phases: Annotated[int, typer.Option(min=1, max=3)] = 3,
    skew: Annotated[float, typer.Option(help="Seconds that the meters' clocks are off.")] = 0.0,
    password: Annotated[str, typer.Option(help="Password class and six digits of this simulated meter.")] = "02000000",
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What is wrong, as 000000000001=late:delay_s=1.4, or late for all; may be repeated."),
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than the clock the load runs.", min=0.001)] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Run DL/T 645 meters that count, with a clock, frozen values and a relay."""
    from firmware_sim.clock import utc_offset_s, world_clock
    from firmware_sim.meter_counting import CountingMeter
    from firmware_sim.meters import MeterLine
    from firmware_sim.wire import Wire

    if make not in MAKES:
        raise typer.BadParameter(f"{make!r} is no make of meter; known are {', '.join(MAKES)}")
    if parity.upper() not in ("N", "E", "O"):
        raise typer.BadParameter(f"parity {parity!r} is none of N, E, O")
    if len(password) != 8 or not password.isdecimal():
        raise typer.BadParameter("a password is two digits of its class and six of its own, as 02000000")
    numbers = number or [f"{n:012d}" for n in range(1, count + 1)]
    for one in numbers:
        if len(one) != 12 or not one.isdecimal() or one == "9" * 12:
            raise typer.BadParameter(f"{one!r} is no meter number: give 12 digits")
    if len(set(numbers)) != len(numbers):
        raise typer.BadParameter("two meters have the same number")
    now, offset = world_clock(speed), utc_offset_s()
    lives = {
        one: CountingMeter(
            one, MAKES[make], now, offset, skew_s=skew, password=password, phases=phases, began_s=now() - 86_400 * 90
        )
        for one in numbers
    }
    meters = {one: life.meter() for one, life in lives.items()}
    for each in meters.values():
        each.wake, each.turnaround_s = wake, turnaround
    for text in fault or []:
        _apply_text(meters, text)
    rate = baud or (2400 if MAKES[make] == "2007" else 1200)
    line = MeterLine(meters.values(), Wire(rate, parity.upper()), link=link)
    asyncio.run(_run(line, lives, meters, str(link) if link else "", make, as_json))


def _apply_text(meters: dict[str, Meter], text: str) -> None:
    whose, what = (text[:12], text[13:]) if text[:12].isdecimal() and text[12:13] == "=" else ("", text)
    kind, _, rest = what.partition(":")
    try:
        options = {key: float(value) for key, _, value in (pair.partition("=") for pair in rest.split(",") if pair)}
        spoil = spoiler(kind, options)
    except (KeyError, ValueError) as error:
        raise typer.BadParameter(
            f"fault {text!r} is not understood: known are {', '.join(KINDS)}, with :delay_s=, chance="
        ) from error
    if whose and whose not in meters:
        raise typer.BadParameter(f"there is no meter {whose} in {text!r}")
    for one in [meters[whose]] if whose else meters.values():
        one.spoil = spoil


async def _run(
    line: MeterLine,
    lives: dict[str, CountingMeter],
    meters: dict[str, Meter],
    link: str,
    make: str,
    as_json: bool,
) -> None:
    from firmware_sim.control import until_told_to_stop

    try:
        with line:
            url = f"serial:{link or line.path}?baud={line.wire.baud}&parity={line.wire.parity}"
            if as_json:
                typer.echo(json.dumps({"link": url, "protocol": make, "meters": list(meters)}))
            else:
                for number in meters:
                    typer.echo(f"{number}  {make}  {url}")
            await until_told_to_stop(lambda text: typer.echo(json.dumps(_reply(line, lives, meters, text))))
    except OSError as error:
        raise refused(error, "path") from error


def _reply(line: MeterLine, lives: dict[str, CountingMeter], meters: dict[str, Meter], text: str) -> dict[str, Any]:
    try:
        order = json.loads(text)
        done: list[dict[str, Any]] = []
        line.ask(lambda: done.append(_obey(line, lives, meters, order)))
    except (ValueError, AttributeError) as error:
        return {"ok": False, "error": str(error)}
    return done[0]


def _obey(
    line: MeterLine, lives: dict[str, CountingMeter], meters: dict[str, Meter], order: dict[str, Any]
) -> dict[str, Any]:
    op, number = order.get("op"), order.get("meter")
    if number is not None and number not in meters:
        return {"ok": False, "error": f"there is no meter {number!r}"}
    chosen: Iterable[str] = [number] if number is not None else meters
    if op in ("fault", "heal"):
        kind = str(order.get("kind"))
        if op == "fault" and kind not in KINDS:
            return {"ok": False, "error": f"unknown kind {kind!r}; known are {', '.join(KINDS)}"}
        options: dict[str, float] = {name: float(order[name]) for name in ("delay_s", "chance") if name in order}
        for each in chosen:
            meters[each].spoil = spoiler(kind, options) if op == "fault" else lambda reply: [(0.0, reply)]
    elif op == "clock":
        for each in chosen:
            lives[each].skew_s = float(order.get("skew_s", 0))
    elif op in ("unplug", "plug"):
        line.unplug() if op == "unplug" else line.plug()
    elif op == "meters":
        rows = {each: {"relay": "open" if lives[each].relay_open else "closed"} for each in chosen}
        return {"ok": True, "meters": rows}
    elif op == "stats":
        stats = line.stats
        facts = {"requests": stats.requests, "replies": stats.replies, "bad_frames": stats.bad_frames}
        return {"ok": True, **facts, "collisions": stats.collisions, "exchange_s": round(stats.exchange_s, 4)}
    else:
        return {"ok": False, "error": f"unknown order {op!r}"}
    return {"ok": True}
