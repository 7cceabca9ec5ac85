"""`plantroom sim`: simulated devices on this machine. Everything listens on loopback only.

A long-running subcommand prints one JSON line (with --json) or a table once all is ready, obeys the orders of control.py on its
standard input, and ends with SIGTERM, SIGINT or the end of that input.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.bacnet.models import BACNET_MODELS
from firmware_sim.camera_cli import onvif, pjlink
from firmware_sim.cli_errors import refused
from firmware_sim.devices import MODELS
from firmware_sim.doors_cli import uhppote, zkteco
from firmware_sim.http_cli import isapi, rest
from firmware_sim.meter_cli import meter
from firmware_sim.meters_cli import cjt188, mbus
from firmware_sim.morning_cli import morning
from firmware_sim.opcua.cli import opcua
from firmware_sim.osdp_cli import osdp
from firmware_sim.strings_cli import strings

if TYPE_CHECKING:
    from firmware_sim.fleet import Fleet, Place
    from firmware_sim.tcp_proxy import TcpProxy

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Run simulated devices."
)

Directory = Annotated[Path | None, typer.Option("--dir", help="Put serial-port symlinks and campus.json here.")]
Speed = Annotated[float, typer.Option(help="How many times faster than the clock the simulated world runs.", min=0.001)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same values.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, one line a document.")]


def _say(text: str) -> None:
    print(text, flush=True)


@app.command("demo")
def demo(
    directory: Directory = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What is wrong with a device, like floor-2=late:delay_s=1.4; may be repeated."),
    ] = None,
    as_json: AsJson = False,
    speed: Speed = 1.0,
    seed: Seed = 1,
    plant_room: Annotated[bool, typer.Option("--plant-room/--no-plant-room", help="With BACnet devices.")] = True,
) -> None:
    """Run the demo campus: nineteen Modbus devices, and a plant room of forty-three BACnet devices."""
    from firmware_sim.fleet import CAMPUS, PLANT_ROOM, Fleet

    faults = [tuple(text.partition("=")[::2]) for text in fault or []]
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    fleet = Fleet((*CAMPUS, *(PLANT_ROOM if plant_room else ())), directory=directory, seed=seed, speed=speed)
    asyncio.run(_run_fleet(fleet, as_json, faults, keep=True))


@app.command("device")
def device(
    model: Annotated[str, typer.Argument(help="A make of device; see plantroom sim list.")],
    tcp: Annotated[
        int | None, typer.Option(help="Listen on this port of 127.0.0.1 with Modbus TCP; 0 takes a free one.")
    ] = None,
    rtu_tcp: Annotated[
        int | None, typer.Option(help="Listen with RTU frames over TCP, as behind a serial server.")
    ] = None,
    pty: Annotated[
        bool, typer.Option("--pty", help="Sit on a pseudo terminal with the timing of a serial line.")
    ] = False,
    link: Annotated[Path | None, typer.Option(help="Make this a symlink to the pseudo terminal.")] = None,
    baud: Annotated[int, typer.Option(help="Bits a second of the line.", min=300, max=1_000_000)] = 9600,
    parity: Annotated[str, typer.Option(help="N, E or O.")] = "N",
    unit: Annotated[
        str,
        typer.Option(help="Unit ids of one or several devices of this make: 1, or 1,4,7, or 1-100; BACnet: instances."),
    ] = "",
    port: Annotated[
        int | None,
        typer.Option(help="UDP port of a BACnet device, or of the router before several; 0 takes a free one."),
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="What is wrong with it, like late:delay_s=1.4,chance=0.1.")
    ] = None,
    speed: Speed = 1.0,
    seed: Seed = 1,
    as_json: AsJson = False,
) -> None:
    """Run one make of device, healthy or with faults."""
    from firmware_sim.fleet import Fleet, Place, Placed

    kinds = [
        kind for kind, chosen in (("tcp", tcp is not None), ("rtu+tcp", rtu_tcp is not None), ("serial", pty)) if chosen
    ]
    if model in BACNET_MODELS:
        if kinds:
            raise typer.BadParameter(f"{model} speaks BACnet/IP: give --port PORT")
        fleet = Fleet((_bacnet_place(model, unit, port or 0),), seed=seed, speed=speed)
        faults = [(one.id, text) for one in fleet.places[0].devices for text in fault or []]
        asyncio.run(_run_fleet(fleet, as_json, faults))
        return
    if model not in MODELS:
        raise typer.BadParameter(f"unknown device {model!r}; known are {', '.join((*MODELS, *BACNET_MODELS))}")
    if len(kinds) != 1:
        raise typer.BadParameter("give exactly one of --tcp PORT, --rtu-tcp PORT and --pty")
    if parity.upper() not in ("N", "E", "O"):
        raise typer.BadParameter(f"parity {parity!r} is none of N, E, O")
    units = _units(unit or "1")
    placed = tuple(Placed(f"{model}-{one}", model, one) for one in units)
    tcp_port = tcp if tcp is not None else rtu_tcp or 0
    place = Place(link.name if link else "line", kinds[0], placed, baud=baud, parity=parity.upper(), port=tcp_port)
    fleet = Fleet((place,), directory=link.parent if link else None, seed=seed, speed=speed)
    faults = [(one.id, text) for one in placed for text in fault or []]
    asyncio.run(_run_fleet(fleet, as_json, faults))


def _bacnet_place(model: str, instances: str, port: int) -> Place:
    """One device at a port of its own; several, and makes on MS/TP, behind a router at that port."""
    from firmware_sim.bacnet.models import load_model
    from firmware_sim.fleet import Place, Placed

    make = load_model(model)
    numbers = _units(instances, highest=4_194_302) if instances else [make.instance]
    placed = tuple(
        Placed(f"{model}-{number}", model, number, prefix=f"VAV-{number}." if make.mstp else "") for number in numbers
    )
    return Place("bacnet", "bacnet-router" if make.mstp or len(placed) > 1 else "bacnet", placed, port=port)


def _units(text: str, highest: int = 247) -> list[int]:
    units: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise typer.BadParameter(f"unit {part!r} is neither a number nor a range like 1-100")
        units += range(int(first), int(last or first) + 1)
    if not units or any(not 1 <= one <= highest for one in units) or len(set(units)) != len(units):
        raise typer.BadParameter(f"unit ids {text!r} must differ and lie in 1..{highest}")
    return units


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the makes of devices that can be simulated."""
    models = MODELS | BACNET_MODELS
    if as_json:
        _say(json.dumps([{"model": slug, "what": what} for slug, (_, what) in models.items()]))
        return
    for slug, (_, what) in models.items():
        _say(f"{slug:<32} {what}")


@app.command("faults")
def list_faults(as_json: AsJson = False) -> None:
    """List what can be wrong with a device (--fault), and the orders that a running simulator obeys."""
    from firmware_sim import control
    from firmware_sim.bacnet.faults import BACNET_KINDS, bacnet_option_names
    from firmware_sim.faults import KINDS, option_names

    if as_json:
        bacnet = {"kinds": BACNET_KINDS, "options": bacnet_option_names()}
        _say(json.dumps({"kinds": KINDS, "options": option_names(), "bacnet": bacnet}))
        return
    _say("Kinds:    " + ", ".join(KINDS))
    _say("Options:  " + ", ".join(option_names()) + "; quantity for absent")
    _say("BACnet:   " + ", ".join(BACNET_KINDS))
    _say(
        "Options:  "
        + ", ".join(bacnet_option_names())
        + "; object, value, priority for override; object, code for sensor\n"
    )
    _say(control.__doc__ or "")


@app.command("bench-server")
def bench_server(
    ports: Annotated[int, typer.Option(help="How many ports to listen on.", min=1, max=1000)] = 50,
    first_port: Annotated[int, typer.Option(help="The first port; 0 takes free ones.", min=0, max=65000)] = 0,
) -> None:
    """Run a fast Modbus TCP server for benches: 62 floats at register 0 of every port."""
    from firmware_sim.bench_server import FLOATS, serve

    serve(ports, first_port, lambda bound: _say(json.dumps({"ports": bound, "host": "127.0.0.1", "floats": FLOATS})))


@app.command("proxy")
def proxy(
    target: Annotated[str, typer.Argument(help="HOST:PORT to connect to.")],
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1 to listen on; 0 takes a free one.")] = 0,
    latency_s: Annotated[float, typer.Option(min=0)] = 0.0,
    jitter_s: Annotated[float, typer.Option(min=0)] = 0.0,
    slice_bytes: Annotated[int, typer.Option(min=0)] = 0,
    bytes_per_s: Annotated[float, typer.Option(min=0)] = 0.0,
    close_after: Annotated[int, typer.Option(min=0, help="Close a connection after so many bytes of the client.")] = 0,
    reset_after: Annotated[int, typer.Option(min=0, help="Reset a connection after so many bytes of the client.")] = 0,
) -> None:
    """Run a TCP proxy that behaves like a bad network. Orders on standard input: blackhole, heal, cut, or {"latency_s": 2}."""
    from firmware_sim.tcp_proxy import TcpProxy, Treatment

    host, separator, number = target.rpartition(":")
    if not separator or not number.isdigit() or not 1 <= int(number) <= 65535:
        raise typer.BadParameter(f"target {target!r} is not HOST:PORT")
    treatment = Treatment(
        latency_s=latency_s,
        jitter_s=jitter_s,
        slice_bytes=slice_bytes,
        bytes_per_s=bytes_per_s,
        close_after=close_after,
        reset_after=reset_after,
    )
    asyncio.run(_run_proxy(TcpProxy(host or "127.0.0.1", int(number), port=port, treatment=treatment)))


async def _run_fleet(fleet: Fleet, as_json: bool, faults: Sequence[tuple[str, ...]], *, keep: bool = False) -> None:
    """Runs a fleet until it is told to stop. `faults` are (device, text); `keep` writes the description as campus.json."""
    from firmware_sim.control import reply_to, until_told_to_stop
    from firmware_sim.faults import BadFault, add_fault, parse_fault

    try:
        async with fleet:
            for device_id, text in faults:
                bacnet = fleet.bacnet_device(device_id)
                if bacnet is not None:
                    from firmware_sim.bacnet.orders import apply_fault

                    apply_fault(*bacnet, *parse_fault(text))
                    continue
                try:
                    _, one = fleet.device(device_id)
                except KeyError:
                    raise typer.BadParameter(f"there is no device {device_id!r} in {device_id}={text}") from None
                add_fault(one.faults, *parse_fault(text), one.now())
            if keep and fleet.directory is not None:
                fleet.write_description(fleet.directory / "campus.json")
            _show(fleet.describe(), as_json)
            await until_told_to_stop(lambda line: _say(reply_to(fleet, line)))
    except BadFault as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise refused(error, "port or path") from error


def _show(description: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _say(json.dumps(description))
        return
    for entry in description["devices"]:
        _say(f"{entry['id']:<16} {entry['model']:<28} unit {entry['unit']:<3} {entry['link']}")


async def _run_proxy(bad_network: TcpProxy) -> None:
    from firmware_sim.control import treat, until_told_to_stop

    try:
        async with bad_network:
            _say(json.dumps({"port": bad_network.port, "target": bad_network.target}))
            await until_told_to_stop(lambda line: _say(treat(bad_network, line)))
    except OSError as error:
        raise refused(error, "port") from error


app.command("opcua")(opcua)
app.command("meter")(meter)
app.command("morning")(morning)
app.command("cjt188")(cjt188)
app.command("mbus")(mbus)
app.command("osdp")(osdp)
app.command("rest")(rest)
app.command("onvif")(onvif)
app.command("pjlink")(pjlink)
app.add_typer(isapi, name="isapi")
app.command("strings")(strings)
app.command("uhppote")(uhppote)
app.command("zkteco")(zkteco)
