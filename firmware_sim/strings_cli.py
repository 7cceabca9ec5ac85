"""`plantroom sim strings`: one device that speaks in strings, on a pseudo terminal, TCP (either way) or UDP of this machine.

Orders on standard input, one JSON line each, one line back:

    {"op": "swipe", "card": 13530444}                          readers
    {"op": "walk", "way": "in"}   {"op": "release"}            turnstile (release: its fire contact)
    {"op": "fire", "loop": 4, "detector": 4, "place": "..."}   {"op": "reset", ...}
    {"op": "mute"}   {"op": "heal"}   {"op": "drop"}   {"op": "unplug"}   {"op": "plug"}   {"op": "stats"}
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.strings_wire import StringsWire

DEVICES = {
    "id-12": "card reader, 125 kHz: STX, ten hex digits, check (id-innovations-id-12)",
    "rdm6300": "card reader, 125 kHz module (rdm6300)",
    "bits26": "Wiegand 26 converter that writes bits (generic-wiegand-bits)",
    "bits34": "Wiegand 34 converter that writes bits (generic-wiegand-bits)",
    "decimal": "card reader that writes a decimal number (generic-reader-decimal)",
    "facility": "card reader that writes facility code and number (generic-reader-facility)",
    "turnstile": "turnstile (digicon-tx1500)",
    "projector": "projector that warms up (benq-projector-rs232)",
    "gst9000": "fire panel's printer port, GBK (gst-gst9000-printer)",
    "afp2800": "fire panel's printer port, ASCII (firesense-afp2800-printer)",
}
_HABITS: dict[str, dict[str, Any]] = {
    "turnstile": {"op": "walk", "way": "in"},
    "gst9000": {"op": "fire", "loop": 4, "detector": 4, "place": "裙楼一层上空"},
    "afp2800": {"op": "fire", "loop": 1, "detector": 1, "place": "LOBBY"},
}


def strings(
    device: Annotated[str, typer.Argument(help="Which device: " + ", ".join(DEVICES) + ".")],
    kind: Annotated[str, typer.Option(help="serial, tcp (it is dialled), tcp-listen (it dials in) or udp.")] = "serial",
    port: Annotated[int, typer.Option(help="tcp, udp: port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    to: Annotated[int, typer.Option(help="tcp-listen, udp: the agent's port of 127.0.0.1.", min=0, max=65535)] = 0,
    link: Annotated[Path | None, typer.Option(help="serial: make this a symlink to the pseudo terminal.")] = None,
    baud: Annotated[int, typer.Option(help="Bits a second of the line.", min=300, max=1_000_000)] = 9600,
    every: Annotated[
        float, typer.Option(help="Seconds between things that happen by themselves; 0 = none.", min=0)
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Run a card reader, turnstile, projector or fire panel that speaks in strings."""
    from firmware_sim.strings_wire import KINDS

    if device not in DEVICES:
        raise typer.BadParameter(f"unknown device {device!r}; known are {', '.join(DEVICES)}")
    if kind not in KINDS:
        raise typer.BadParameter(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
    if (kind == "tcp-listen" or (kind == "udp" and every)) and not to:
        raise typer.BadParameter(f"a device on {kind} speaks to somebody: give --to PORT, the agent's port")
    asyncio.run(_run(device, kind, port, to, link, baud, every, as_json))


def talker_of(device: str) -> Any:
    """The simulated device of this name."""
    from firmware_sim.fire_panel_strings import FirePanel
    from firmware_sim.reader_strings import Reader
    from firmware_sim.rs232_projector import Projector
    from firmware_sim.turnstile_strings import Turnstile

    if device == "turnstile":
        return Turnstile()
    if device == "projector":
        return Projector(warm_s=10)
    return FirePanel(device) if device in ("gst9000", "afp2800") else Reader(device)


async def _run(
    device: str, kind: str, port: int, to: int, link: Path | None, baud: int, every: float, as_json: bool
) -> None:
    from firmware_sim.control import until_told_to_stop
    from firmware_sim.strings_wire import StringsWire

    talker = talker_of(device)
    try:
        async with StringsWire(talker, kind, baud=baud, port=port, to=to, link=link) as wire:
            place = wire.path or (f"127.0.0.1:{wire.port}" if kind != "tcp-listen" else f"dials 127.0.0.1:{to}")
            ready = {
                "device": device,
                "kind": kind,
                "path": wire.path,
                "port": wire.port,
                "to": to,
                "what": DEVICES[device],
            }
            typer.echo(json.dumps(ready, ensure_ascii=False) if as_json else f"{device} is ready: {kind} {place}")
            habit = asyncio.create_task(_live(talker, wire, device, every), name="sim-strings-life") if every else None
            await until_told_to_stop(lambda line: typer.echo(json.dumps(_obey(talker, wire, line))))
            if habit is not None:
                habit.cancel()
    except OSError as error:
        raise refused(error, "port or path") from error


async def _live(talker: Any, wire: StringsWire, device: str, every: float) -> None:
    card = 0xCE7500
    while True:
        await asyncio.sleep(every)
        card += 1
        if device == "turnstile":
            talker.granted["in"] += 1
        _carry_out(talker, wire, _HABITS.get(device, {"op": "swipe", "card": card}))


def _obey(talker: Any, wire: StringsWire, line: str) -> dict[str, Any]:
    try:
        order = json.loads(line)
        return {"ok": True, **_carry_out(talker, wire, order if isinstance(order, dict) else {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def _carry_out(talker: Any, wire: StringsWire, order: dict[str, Any]) -> dict[str, Any]:
    op = order.get("op")
    if op == "swipe":
        talker.swipe(int(order["card"]))
    elif op == "walk":
        return {"passed": talker.walk(str(order.get("way", "in")))}
    elif op == "release":
        talker.is_released = bool(order.get("on", True))
    elif op in ("fire", "reset"):
        getattr(talker, op)(int(order.get("loop", 1)), int(order.get("detector", 1)), str(order.get("place", "")))
    elif op in ("mute", "heal"):
        talker.mute = op == "mute"
    elif op in ("drop", "plug", "unplug"):
        getattr(wire, op)()
    elif op == "stats":
        return {"heard": wire.bytes_heard, "said": wire.bytes_said, "connections": wire.connections}
    else:
        raise ValueError(f"unknown op {op!r}")
    return {}
