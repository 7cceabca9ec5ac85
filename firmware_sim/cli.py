"""`plantroom sim`: simulated devices on this machine. Everything listens on loopback only."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from firmware_sim.devices import MODELS

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Run simulated devices."
)

Directory = Annotated[Path | None, typer.Option("--dir", help="Put serial-port symlinks and campus.json here.")]
Speed = Annotated[float, typer.Option(help="How many times faster than the clock the simulated world runs.", min=0.001)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same values.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def _say(text: str) -> None:
    print(text, flush=True)


@app.command("demo")
def demo(directory: Directory = None, as_json: AsJson = False, speed: Speed = 1.0, seed: Seed = 1) -> None:
    """Run the demo campus until SIGTERM, SIGINT or the end of standard input."""
    from firmware_sim.fleet import Fleet

    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    asyncio.run(_run_fleet(Fleet(directory=directory, seed=seed, speed=speed), as_json))


async def _run_fleet(fleet, as_json: bool) -> None:  # type: ignore[no-untyped-def]
    from firmware_sim.control import until_told_to_stop

    async with fleet:
        if fleet.directory is not None:
            fleet.write_description(fleet.directory / "campus.json")
        if as_json:
            _say(json.dumps(fleet.describe()))
        else:
            for entry in fleet.describe()["devices"]:
                _say(f"{entry['id']:<16} {entry['model']:<28} unit {entry['unit']:<3} {entry['link']}")
        await until_told_to_stop(fleet, _say)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the makes of devices that can be simulated."""
    if as_json:
        _say(json.dumps([{"model": slug, "what": what} for slug, (_, what) in MODELS.items()]))
        return
    for slug, (_, what) in MODELS.items():
        _say(f"{slug:<32} {what}")
