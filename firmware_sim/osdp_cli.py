"""`plantroom sim osdp`: OSDP readers on a pseudo terminal with the timing of a real line.

Orders on standard input, one JSON line each, one line back; `reader` is an address, all readers without it:

    {"op": "card", "reader": 1, "bits": "10000000101010111000011010"}     {"op": "card", "text": "12345678"}
    {"op": "keys", "reader": 1, "keys": "1234#"}
    {"op": "tamper", "on": true}   {"op": "power", "on": true}   {"op": "input", "number": 0, "on": true}
    {"op": "mute"}   {"op": "heal"}   {"op": "restart"}   {"op": "busy", "count": 3}   {"op": "mac"}
    {"op": "unplug"}   {"op": "plug"}   {"op": "stats"}   {"op": "readers"}
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.osdp import OsdpLine, OsdpReader


def osdp(
    address: Annotated[
        list[int] | None, typer.Option("--address", help="0 to 126; may be repeated for several on the line.")
    ] = None,
    count: Annotated[int, typer.Option(help="Without --address: so many, from 0.", min=1, max=127)] = 1,
    link: Annotated[Path | None, typer.Option(help="Make this a symlink to the pseudo terminal.")] = None,
    baud: Annotated[int, typer.Option(help="Baud rate of the line.")] = 38400,
    key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the readers' own key, 32 hexadecimal digits.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install/--no-install", help="The readers take the key that everybody knows.")
    ] = False,
    demand: Annotated[bool, typer.Option("--demand", help="The readers answer nothing in plain.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="The readers know no CRC.")] = False,
    turnaround: Annotated[float, typer.Option(help="Seconds from a command to its reply.", min=0, max=1)] = 0.003,
    every: Annotated[float, typer.Option(help="Seconds from one card to the next; 0: none by itself.", min=0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Run OSDP readers that present cards and keys when told, with secure channel."""
    from firmware_sim.osdp import RATES, OsdpLine, OsdpReader
    from firmware_sim.wire import Wire

    if baud not in RATES:
        raise typer.BadParameter(f"{baud} is no baud rate of OSDP; known are {', '.join(map(str, RATES))}")
    addresses = address or list(range(count))
    if len(set(addresses)) != len(addresses) or not all(0 <= one <= 126 for one in addresses):
        raise typer.BadParameter("addresses must differ and lie in 0..126")
    key: bytes | None = None
    if key_env is not None:
        try:
            key = bytes.fromhex(os.environ.get(key_env, ""))
        except ValueError:
            key = b""
        if len(key) != 16:
            raise typer.BadParameter(f"the environment variable {key_env} is not 32 hexadecimal digits")
    readers = [
        OsdpReader(one, key, install=install, demands_channel=demand, has_crc=not checksum, turnaround_s=turnaround,
                   serial=0x1000 + one)
        for one in addresses
    ]  # fmt: skip
    asyncio.run(_run(OsdpLine(readers, Wire(baud), link=link), str(link) if link else "", every, as_json))


async def _run(line: OsdpLine, link: str, every_s: float, as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop

    try:
        with line:
            url = f"serial:{link or line.path}?baud={line.wire.baud}&parity=N"
            if as_json:
                rows = [reader.address for reader in line.readers]
                typer.echo(json.dumps({"link": url, "protocol": "osdp", "readers": rows}))
            else:
                for reader in line.readers:
                    typer.echo(f"{reader.address:3d}  osdp  {url}")
            coming = asyncio.create_task(_come_by(line, every_s), name="cards") if every_s else None
            await until_told_to_stop(lambda text: typer.echo(json.dumps(_reply(line, text))))
            if coming is not None:
                coming.cancel()
    except OSError as error:
        raise refused(error, "path") from error


async def _come_by(line: OsdpLine, every_s: float) -> None:
    """One reader after the other sees a card: 26 bits, facility 42, the numbers one after the other."""
    for number in itertools.count(1):
        await asyncio.sleep(every_s)
        body = f"{42:08b}{number % 0x10000:016b}"
        even, odd = body[:12].count("1") % 2, (body[12:].count("1") + 1) % 2
        reader = line.readers[number % len(line.readers)]
        line.ask(functools.partial(reader.present, f"{even}{body}{odd}"))


def _reply(line: OsdpLine, text: str) -> dict[str, Any]:
    done: list[dict[str, Any]] = []

    def obey() -> None:
        try:
            done.append(obey_order(line, json.loads(text)))
        except (ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
            done.append({"ok": False, "error": f"not understood: {error}"})

    line.ask(obey)
    return done[0] if done else {"ok": False, "error": "the line is busy"}


def obey_order(line: OsdpLine, order: dict[str, Any]) -> dict[str, Any]:
    """Does what one order says, on the line's thread; gives what is answered."""
    op, number = order.get("op"), order.get("reader")
    chosen = [reader for reader in line.readers if number in (None, reader.address)]
    if not chosen:
        return {"ok": False, "error": f"there is no reader {number!r}"}
    if op == "readers":
        return {"ok": True, "readers": {str(one.address): _shown(one) for one in chosen}}
    if op == "stats":
        stats = line.stats
        return {"ok": True, "requests": stats.requests, "replies": stats.replies, "collisions": stats.collisions}
    if op in ("unplug", "plug"):
        line.unplug() if op == "unplug" else line.plug()
        return {"ok": True}
    for reader in chosen:
        if not _happens(reader, str(op), order):
            return {"ok": False, "error": f"unknown order {op!r}"}
    return {"ok": True}


def _happens(reader: OsdpReader, op: str, order: dict[str, Any]) -> bool:
    is_on = bool(order.get("on", True))
    if op == "card" and "text" in order:
        reader.present_text(str(order["text"]))
    elif op == "card":
        reader.present(str(order["bits"]))
    elif op == "keys":
        reader.type_keys(str(order["keys"]))
    elif op == "tamper":
        reader.set_tamper(is_on)
    elif op == "power":
        reader.set_power(is_on)
    elif op == "input":
        reader.set_input(int(order["number"]), is_on)
    elif op in ("mute", "heal"):
        reader.mute = op == "mute"
        reader.spoil_mac = False
        reader.spoil = lambda frame: [(0.0, frame)]
    elif op == "restart":
        reader.restart()
    elif op == "busy":
        reader.busy = int(order.get("count", 1))
    elif op == "mac":
        reader.spoil_mac = True
    else:
        return False
    return True


def _shown(reader: OsdpReader) -> dict[str, Any]:
    return {"polls": reader.polls, "repeats": reader.repeats, "commands": len(reader.done), "outputs": reader.outputs}
