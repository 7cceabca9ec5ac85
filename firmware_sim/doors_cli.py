"""`plantroom sim uhppote` and `plantroom sim zkteco`: door controllers and terminals that people walk through.

Orders on standard input, one JSON line each, one line back:

    {"op": "swipe", "card": 6154410, "door": 1, "dir": "in"}     {"op": "button", "door": 1}     (uhppote)
    {"op": "move", "door": 1, "open": true}     {"op": "clear"}     {"op": "clock", "skew_s": 90}     {"op": "mute", "answers": 3}
    {"op": "punch", "pin": "1001", "card": "6154410", "door": 1, "event": 0, "state": 0}     (zkteco)
    {"op": "alarm", "value": 55}     {"op": "state"}
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.uhppote import Board
    from firmware_sim.zkteco import ZktecoSim

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Zone = Annotated[str, typer.Option("--tz", help="Time zone of the simulated clock, as Asia/Shanghai.")]
Every = Annotated[float, typer.Option("--every", help="Seconds from one person to the next; 0: nobody comes.", min=0)]
CARDS = (6154410, 6154411, 6154412, 6154413)
"""The first three open every door."""
Orders = dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]]


def uhppote(
    serial: Annotated[int, typer.Option(help="Serial number of the board.", min=1, max=0xFFFFFFFF)] = 423187757,
    doors: Annotated[int, typer.Option(help="1, 2 or 4.", min=1, max=4)] = 4,
    port: Annotated[int, typer.Option(help="UDP port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 60000,
    stored: Annotated[int, typer.Option(help="Records in its memory when it starts.", min=0, max=100_000)] = 0,
    tz: Zone = "UTC",
    every: Every = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run a UHPPOTE door controller with cards, doors and a memory."""
    from firmware_sim.uhppote import Board

    board = Board(serial, doors=doors, now=_clock(tz))
    board.cards = {card: set(board.doors) for card in CARDS[:3]}
    for number in range(stored):
        board.clock_off = timedelta(seconds=number - stored)
        board.record(1, True, number % doors + 1, 1, CARDS[number % 3], 1)
    board.clock_off = timedelta(0)
    asyncio.run(_uhppote(board, port, every, as_json))


def zkteco(
    server: Annotated[str, typer.Option(help="host:port of the agent's http-listen link.")] = "127.0.0.1:8090",
    serial: Annotated[str, typer.Option(help="Serial number of the terminal.")] = "CJ9H000001",
    security: Annotated[bool, typer.Option(help="An access controller (security push), else attendance push.")] = False,
    key_file: Annotated[Path | None, typer.Option(help="Its communication key is read from here.")] = None,
    delay: Annotated[float, typer.Option(help="Seconds from one request for commands to the next.", min=0.05)] = 2.0,
    stored: Annotated[int, typer.Option(help="Records that it kept and nobody took yet.", min=0, max=100_000)] = 0,
    tz: Zone = "UTC",
    every: Every = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run a ZKTeco terminal that dials in, and keeps its records until they are taken."""
    from firmware_sim.zkteco import ZktecoSim

    host, _, port = server.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"--server {server!r} is no host:port")
    try:
        key = key_file.read_text(encoding="utf-8").strip() if key_file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--key-file {key_file}: {error}") from error
    sim = ZktecoSim(serial, (host, int(port)), _clock(tz), security=security, key=key, delay_s=delay)
    for number in range(stored):
        sim.now = lambda ago=stored - number: _clock(tz)() - timedelta(seconds=ago)  # type: ignore[misc]
        sim.punch(str(1001 + number % 50), card=str(CARDS[number % 3]))
    sim.now = _clock(tz)
    asyncio.run(_zkteco(sim, every, as_json))


def _clock(tz: str) -> Callable[[], datetime]:
    try:
        zone = ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise typer.BadParameter(f"--tz {tz!r} is no time zone") from error
    return lambda: datetime.now(UTC).astimezone(zone).replace(tzinfo=None)


async def _uhppote(board: Board, port: int, every: float, as_json: bool) -> None:
    from firmware_sim.uhppote import UhppoteSim

    def swipe(order: dict[str, Any]) -> dict[str, Any]:
        direction = 2 if order.get("dir") == "out" else 1
        return {"granted": board.swipe(int(order["card"]), int(order.get("door", 1)), direction)}

    def mute(order: dict[str, Any]) -> None:
        board.faults.mute = int(order.get("answers", 1))

    def clock(order: dict[str, Any]) -> None:
        board.clock_off = timedelta(seconds=float(order["skew_s"]))

    orders: Orders = {
        "swipe": swipe,
        "button": lambda order: board.push(int(order.get("door", 1))),
        "move": lambda order: board.move(int(order.get("door", 1)), bool(order["open"])),
        "clear": lambda order: board.clear(),
        "clock": clock,
        "mute": mute,
        "state": lambda order: {"newest": board.newest, "listener": list(board.listener)},
    }

    async def person() -> None:
        door = random.choice(list(board.doors))
        if board.swipe(random.choice(CARDS), door):
            board.move(door, True)
            await asyncio.sleep(min(1.0, every / 2))
            board.move(door, False)

    try:
        async with UhppoteSim([board], port=port) as sim:
            shown = {
                "at": sim.address,
                "unit": board.serial,
                "protocol": "uhppote",
                "profile": f"uhppote-l0{len(board.doors)}",
            }
            await _run(shown, orders, person, every, as_json)
    except OSError as error:
        raise refused(error, "port") from error


async def _zkteco(sim: ZktecoSim, every: float, as_json: bool) -> None:
    def punch(order: dict[str, Any]) -> None:
        sim.punch(
            str(order["pin"]), card=str(order.get("card", "")), door=int(order.get("door", 1)),
            event=int(order.get("event", 0)), state=int(order.get("state", 0)),
        )  # fmt: skip

    orders: Orders = {
        "punch": punch,
        "alarm": lambda order: sim.alarm(int(order["value"])),
        "state": lambda order: {"kept": len(sim.kept), "done": sim.done[-10:]},
    }

    async def person() -> None:
        sim.punch(str(random.randint(1001, 1050)), state=random.choice((0, 1)))

    profile = "zkteco-security-push" if sim.security else "zkteco-attendance-push"
    shown = {"server": "{}:{}".format(*sim.url), "unit": sim.serial, "protocol": "zkteco-push", "profile": profile}
    dialling = asyncio.create_task(sim.run(), name="terminal")
    try:
        await _run(shown, orders, person, every, as_json)
    finally:
        dialling.cancel()


async def _run(shown: dict[str, Any], orders: Orders, person: Callable[[], Any], every: float, as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop

    def obey(line: str) -> None:
        typer.echo(json.dumps(_obeyed(orders, line)))

    async def crowd() -> None:
        while True:
            await asyncio.sleep(every)
            await person()

    typer.echo(json.dumps(shown) if as_json else "  ".join(f"{name} {value}" for name, value in shown.items()))
    walking = asyncio.create_task(crowd(), name="people") if every else None
    try:
        await until_told_to_stop(obey)
    finally:
        if walking is not None:
            walking.cancel()


def _obeyed(orders: Orders, line: str) -> dict[str, Any]:
    try:
        order = json.loads(line)
        found = orders.get(order.get("op"))
        if found is None:
            return {"ok": False, "error": f"unknown op {order.get('op')!r}; known are {', '.join(orders)}"}
        return {"ok": True, **(found(order) or {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}
