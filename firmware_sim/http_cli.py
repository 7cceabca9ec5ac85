"""`plantroom sim rest` and `plantroom sim isapi ...`: simulated devices with an HTTP interface on loopback.

Orders on standard input, one JSON line each, one line back; see `obey` of the simulator.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firmware_sim.cli_errors import refused

if TYPE_CHECKING:
    from firmware_sim.http_host import HttpHost

Port = Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 takes a free one.", min=0, max=65535)]
User = Annotated[str, typer.Option(help="User of the device.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="The password is read from here; without it nobody has to log in.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def rest(
    port: Port = 0,
    user: User = "admin",
    password_file: PasswordFile = None,
    kind: Annotated[str, typer.Option(help="barrier or turnstile.")] = "barrier",
    passes: Annotated[float, typer.Option(help="Seconds from one to the next who comes in; 0: nobody.", min=0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run a barrier or turnstile with a JSON controller (digest login)."""
    from firmware_sim.rest_gate import RestGate, obey, people

    if kind not in ("barrier", "turnstile"):
        raise typer.BadParameter(f"--kind {kind!r} is neither barrier nor turnstile")
    gate = RestGate(port=port, user=user, password=_password(password_file), kind=kind)
    work = people(gate, passes) if passes else None
    run_host(gate, lambda line: obey(gate, line), work, "generic-rest-barrier", as_json)


def _password(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--password-file {file}: {error}") from error


def run_host(
    host: HttpHost,
    obey: Callable[[str], str],
    work: Coroutine[Any, Any, None] | None,
    profile: str,
    as_json: bool,
) -> None:
    """Runs it until it is told to stop. `work` is what happens by itself meanwhile."""
    asyncio.run(_run(host, obey, work, profile, as_json))


async def _run(
    host: HttpHost, obey: Callable[[str], str], work: Coroutine[Any, Any, None] | None, profile: str, as_json: bool
) -> None:
    from firmware_sim.control import until_told_to_stop

    task: asyncio.Task[None] | None = None
    try:
        async with host:
            login = f" --user {host.user} --password-file FILE" if host.password else ""
            hint = f"plantroom read --link {host.url} --profile {profile}{login}"
            ready = {"url": host.url, "user": host.user if host.password else None, "profile": profile}
            typer.echo(json.dumps(ready) if as_json else f"{host.url} is ready; {hint}")
            if work is not None:
                task = asyncio.create_task(work, name="sim-http-work")
            try:
                await until_told_to_stop(lambda line: typer.echo(obey(line)))
            finally:
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
    except OSError as error:
        if work is not None and task is None:
            work.close()
        raise refused(error, "port") from error


isapi = typer.Typer(no_args_is_help=True, help="Run a device of the ISAPI family (digest login) on loopback.")


@isapi.command("terminal")
def terminal(
    port: Port = 0,
    user: User = "admin",
    password_file: PasswordFile = None,
    swipes: Annotated[float, typer.Option(help="Seconds from one card to the next; 0: none.", min=0)] = 0.0,
    records: Annotated[int, typer.Option(help="Records that are in its memory at the start.", min=0, max=100_000)] = 0,
    as_json: AsJson = False,
) -> None:
    """Run an access terminal: a door, cards, a memory of records."""
    from firmware_sim.isapi_terminal import Terminal, obey_terminal

    one = Terminal(port=port, user=user, password=_password(password_file))
    one.is_deaf = True
    for number in range(records):
        one.record(5, 1, cardNo=str(1_000_000 + number % 50))
    one.is_deaf = False
    work = one.cards(swipes) if swipes else None
    run_host(one, lambda line: obey_terminal(one, line), work, "hikvision-ds-k1t", as_json)


@isapi.command("recorder")
def recorder(
    port: Port = 0,
    user: User = "admin",
    password_file: PasswordFile = None,
    channels: Annotated[int, typer.Option(help="Cameras behind it.", min=1, max=256)] = 4,
    as_json: AsJson = False,
) -> None:
    """Run a recorder with cameras and disks."""
    from firmware_sim.isapi import Recorder, obey

    one = Recorder(port=port, user=user, password=_password(password_file), channels=channels)
    run_host(one, lambda line: obey(one, line), None, "hikvision-ds-7x", as_json)


@isapi.command("camera")
def camera(port: Port = 0, user: User = "admin", password_file: PasswordFile = None, as_json: AsJson = False) -> None:
    """Run a camera with motion detection and a changing picture."""
    from firmware_sim.isapi import IsapiHost, obey

    one = IsapiHost(port=port, user=user, password=_password(password_file))
    run_host(one, lambda line: obey(one, line), None, "hikvision-ds-2cd", as_json)


@isapi.command("plates")
def plates(
    port: Port = 0,
    user: User = "admin",
    password_file: PasswordFile = None,
    every: Annotated[float, typer.Option(help="Seconds from one vehicle to the next; 0: none.", min=0)] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run a camera that reads plates."""
    from firmware_sim.isapi import PlateCamera, obey

    one = PlateCamera(port=port, user=user, password=_password(password_file))
    work = one.traffic(every) if every else None
    run_host(one, lambda line: obey(one, line), work, "hikvision-anpr", as_json)
