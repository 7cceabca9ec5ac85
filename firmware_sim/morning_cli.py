"""`plantroom sim morning`: meters, readers, doors, cameras and the people of a morning, for `plantroom demo`."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from firmware_sim.cli_errors import refused


def morning(
    directory: Annotated[Path, typer.Option("--dir", help="Keys and passwords of the simulated devices go here.")],
    listen_port: Annotated[
        int, typer.Option(help="The agent's http-listen port, where terminals dial in.", min=1, max=65535)
    ],
    every: Annotated[float, typer.Option(help="Seconds from one person to the next.", min=0.05)] = 3.0,
    tz: Annotated[str, typer.Option("--tz", help="Time zone of the devices' clocks.")] = "UTC",
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Run meters, readers, a turnstile, doors, cameras and a projector, and the people who use them."""
    asyncio.run(_run(directory, listen_port, every, tz, as_json))


async def _run(directory: Path, listen_port: int, every: float, tz: str, as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop
    from firmware_sim.morning import Morning

    try:
        async with Morning(directory, listen_port=listen_port, every_s=every, tz=tz) as campus:
            if as_json:
                typer.echo(json.dumps(campus.description))
            else:
                for device in campus.devices:
                    typer.echo(f"{device['id']:<18} {device['profile']:<32} {device['link']}")
            await until_told_to_stop(lambda line: typer.echo(json.dumps({"ok": True, "arrived": campus.arrived})))
    except OSError as error:
        raise refused(error, "port or folder") from error
