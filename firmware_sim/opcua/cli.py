"""`plantroom sim opcua`: the plant room's OPC UA server on loopback.

Orders on standard input, one JSON line each, one line back: {"op": "hang"} {"op": "wake"} {"op": "drop"} {"op": "forget"}
{"op": "restart"} {"op": "offer", "policies": ["none"]} {"op": "remove", "path": "ChillerPlant/Chiller1/Power"}
{"op": "fault", "chiller": 1} {"op": "heal"}.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.opcua.server import PlantServer


def opcua(
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    pki: Annotated[Path | None, typer.Option(help="Keep the server's certificate and key in this folder.")] = None,
    refresh: Annotated[float, typer.Option(help="Seconds between changes.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same values.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
) -> None:
    """Run a chiller plant and an energy station as an OPC UA server with every security policy (user operator)."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    asyncio.run(_run(port, pki, refresh, seed, as_json))


async def _run(port: int, pki: Path | None, refresh_s: float, seed: int, as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop
    from firmware_sim.opcua.server import USERS, PlantServer

    under_way: set[asyncio.Task[None]] = set()
    try:
        async with PlantServer(port=port, pki=pki, refresh_s=refresh_s, seed=seed) as server:
            ready = {"url": server.url, "users": list(USERS), "prefixes": ["ChillerPlant", "EnergyStation"]}
            typer.echo(
                json.dumps(ready) if as_json else f"{server.url} is ready; plantroom scan opcua --link {server.url}"
            )

            def obey(line: str) -> None:
                task = asyncio.get_running_loop().create_task(_obey(server, line), name="sim-order")
                under_way.add(task)
                task.add_done_callback(under_way.discard)

            await until_told_to_stop(obey)
    except OSError as error:
        raise refused(error, "port or path") from error


async def _obey(server: PlantServer, line: str) -> None:
    try:
        order = json.loads(line)
        await _carry_out(server, order if isinstance(order, dict) else {})
        answer: dict[str, Any] = {"ok": True}
    except (ValueError, KeyError, TypeError) as error:
        answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    typer.echo(json.dumps(answer))


async def _carry_out(server: PlantServer, order: dict[str, Any]) -> None:
    op = order.get("op")
    if op == "restart":
        await server.restart()
    elif op == "remove":
        await server.remove(str(order["path"]))
    elif op == "offer":
        server.offer(*order.get("policies", ()))
    elif op == "fault":
        server.world.faulty.add(int(order["chiller"]))
    elif op == "heal":
        server.world.faulty.clear()
        server.deafen(False)
        server.offer()
    elif op in ("hang", "wake"):
        server.deafen(op == "hang")
    elif op == "drop":
        server.drop_connections()
    elif op == "forget":
        server.forget_sessions()
    else:
        raise ValueError(f"unknown op {op!r}; known are hang, wake, drop, forget, restart, offer, remove, fault, heal")
