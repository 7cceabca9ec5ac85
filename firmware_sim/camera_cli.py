"""`plantroom sim onvif` and `plantroom sim pjlink`: a camera or recorder, and a projector, on loopback.

Orders on standard input, one JSON line each, one line back:

    onvif     {"op": "motion", "active": true}   {"op": "tamper", "active": false}   {"op": "cross"}   {"op": "lose"}
              {"op": "clock", "skew_s": 90}   {"op": "mood", "mood": "silent"}   {"op": "stats"}
    pjlink    {"op": "power", "on": true}   {"op": "error", "part": "lamp", "level": 2}   {"op": "failed", "failed": true}
              {"op": "mood", "mood": "garbage"}   {"op": "stats"}
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused
from firmware_sim.http_cli import AsJson, PasswordFile, Port, User, run_host

if TYPE_CHECKING:
    from firmware_sim.onvif import OnvifCamera
    from firmware_sim.pjlink import PjlinkProjector

_MOODS = ("", "silent", "busy", "garbage", "long")


def onvif(
    port: Port = 0,
    user: User = "admin",
    password_file: PasswordFile = None,
    sources: Annotated[int, typer.Option(help="Video sources; more than one makes it a recorder.", min=1, max=64)] = 1,
    skew: Annotated[float, typer.Option(help="Seconds that its clock is ahead.")] = 0.0,
    motion: Annotated[
        float, typer.Option(help="Seconds from one movement to the next; 0: none by itself.", min=0)
    ] = 0.0,
    digest: Annotated[bool, typer.Option("--digest", help="HTTP digest login instead of WS-UsernameToken.")] = False,
    name: Annotated[str, typer.Option(help="Model.")] = "SIM-CAM",
    as_json: AsJson = False,
) -> None:
    """Run an ONVIF camera or recorder with a changing picture, motion and pull points."""
    from firmware_sim.onvif import OnvifCamera

    camera = OnvifCamera(
        port=port, user=user, password=_password(password_file), digest=digest, sources=sources, clock_s=skew, name=name
    )
    kind = "camera" if sources == 1 else "recorder"
    work = movements(camera, motion) if motion else None
    run_host(camera, lambda line: _obeyed(obey_camera, camera, line), work, f"generic-onvif-{kind}", as_json)


async def movements(camera: OnvifCamera, every_s: float) -> None:
    """Somebody passes by, for half of the time from one to the next."""
    while True:
        for active in (True, False):
            camera.happen("motion", active)
            await asyncio.sleep(every_s / 2)


def pjlink(
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    password_file: PasswordFile = None,
    level: Annotated[int, typer.Option("--class", help="PJLink class, 1 or 2.", min=1, max=2)] = 2,
    warm: Annotated[float, typer.Option(help="Seconds to warm up.", min=0)] = 20.0,
    cool: Annotated[float, typer.Option(help="Seconds to cool down.", min=0)] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Run a projector with PJLink that warms up, cools down and counts lamp hours."""
    from firmware_sim.pjlink import PjlinkProjector

    projector = PjlinkProjector(port=port, level=level, password=_password(password_file), warm_s=warm, cool_s=cool)
    asyncio.run(_run(projector, as_json))


async def _run(projector: PjlinkProjector, as_json: bool) -> None:
    from firmware_sim.control import until_told_to_stop

    try:
        async with projector:
            profile = f"generic-pjlink-{projector.level}"
            secret = " --secret-file FILE" if projector.password else ""
            hint = f"{projector.url} is ready; plantroom read --link {projector.url} --profile {profile}{secret}"
            typer.echo(json.dumps({"link": projector.url, "profile": profile}) if as_json else hint)
            await until_told_to_stop(lambda line: typer.echo(_obeyed(obey_projector, projector, line)))
    except OSError as error:
        raise refused(error, "port") from error


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--password-file {file}: {error}") from error


def _obeyed(obey: Any, device: Any, line: str) -> str:
    try:
        order = json.loads(line)
        found = obey(device, order) if isinstance(order, dict) else None
    except (ValueError, TypeError, KeyError) as error:
        return json.dumps({"ok": False, "error": str(error)})
    return json.dumps({"ok": found is not None, **(found if found is not None else {"error": "unknown order"})})


def obey_camera(camera: OnvifCamera, order: dict[str, Any]) -> dict[str, Any] | None:
    """None for an order that it does not know."""
    op = order.get("op")
    if op in ("motion", "tamper"):
        camera.happen(op, bool(order.get("active", True)))
    elif op == "cross":
        camera.cross()
    elif op == "lose":
        camera.lose_subscriptions()
    elif op == "clock":
        camera.clock_s = float(order["skew_s"])
    elif op == "mood" and order.get("mood") in _MOODS[:4]:
        camera.mood = order["mood"]
    elif op == "stats":
        return {
            "requests": len(camera.asked), "refused_logins": camera.refused_tokens + camera.refused_logins,
            "subscriptions": len(camera.subscriptions), "pictures": camera.pictures, "clock_s": round(camera.clock_s, 1),
        }  # fmt: skip
    else:
        return None
    return {}


def obey_projector(projector: PjlinkProjector, order: dict[str, Any]) -> dict[str, Any] | None:
    """None for an order that it does not know."""
    op = order.get("op")
    if op == "power":
        return {"taken": projector.switch(bool(order["on"]))}
    if op == "error" and order.get("part") in projector.errors and order.get("level") in (0, 1, 2):
        projector.errors[order["part"]] = order["level"]
    elif op == "failed":
        projector.failed = bool(order["failed"])
    elif op == "mood" and order.get("mood") in _MOODS:
        projector.mood = order["mood"]
    elif op == "stats":
        return {
            "commands": len(projector.asked), "connections": projector.connections, "power": projector.power,
            "refused_logins": projector.refused_logins, "input": projector.input,
        }  # fmt: skip
    else:
        return None
    return {}
