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
        typer.echo(f"plantroom sim: {error}. Choose another port", err=True)
        raise typer.Exit(1) from error
