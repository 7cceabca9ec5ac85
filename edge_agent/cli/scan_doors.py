"""`plantroom scan uhppote` asks all boards of a network at once; `plantroom scan zkteco` listens for who dials in."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.cli.searching import conclude, end, is_finished, waiting

if TYPE_CHECKING:
    from drivers.base import LinkConfig

_READ = {
    "boards": "plantroom read --link udp://0.0.0.0:60001 --at {at} --unit {serial} --profile uhppote-l04",
    "terminals": "give one a device in agent.yaml with unit: {serial} and profile: zkteco-attendance-push",
}
_NOTHING = {
    "boards": "A broadcast passes no router: scan on the boards' own network, or give it as --link 'udp://0.0.0.0:60001?broadcast=192.168.1.255'",
    "terminals": "Set this box's address and port on the terminal (deploy/devices-that-dial-in.md); let the port in here",
}
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def uhppote(
    link: Annotated[
        str,
        typer.Option("--link", help="Our own address and where to ask: udp://0.0.0.0:60001?broadcast=192.168.1.255"),
    ] = "udp://0.0.0.0:0?broadcast=255.255.255.255&allow=0.0.0.0/0",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for answers.", min=0.05, max=60)] = 2.5,
    as_json: AsJson = False,
) -> None:
    """Find UHPPOTE boards by broadcast. Asks who they are, and changes nothing. Exit code 1 when none is found."""
    from drivers.base import parse_link

    config = parse_link(link, link_id=link.partition("?")[0])
    if config.listen is not None and not config.listen.allow:
        config = replace(config, listen=replace(config.listen, allow=("0.0.0.0/0",)))  # whoever answers is shown
    _log_aside()
    found: list[Mapping[str, str]] = []
    with waiting("waiting for boards", timeout):
        finished = is_finished(_boards(config, timeout, found))
    _show(found, ("serial", "at", "firmware", "made", "mac"), "boards", link, as_json)
    end(found, finished)


def zkteco(
    link: Annotated[
        str, typer.Option("--link", help="Where terminals are set to dial in: http-listen://0.0.0.0:8090")
    ] = "http-listen://0.0.0.0:8090?allow=0.0.0.0/0",
    timeout: Annotated[float, typer.Option(help="Seconds to listen.", min=0.5, max=600)] = 35.0,
    as_json: AsJson = False,
) -> None:
    """Hear which ZKTeco terminals dial in. Takes nothing from them: they keep their records. Exit code 1 when none comes."""
    from drivers.base import parse_link

    config = parse_link(link, link_id=link.partition("?")[0])
    if config.listen is not None and not config.listen.allow:
        config = replace(config, listen=replace(config.listen, allow=("0.0.0.0/0", "::/0")))
    _log_aside()
    found: list[Mapping[str, str]] = []
    with waiting(f"listening at {config.where} for terminals", timeout):
        finished = is_finished(_terminals(config, timeout, found))
    _show(found, ("serial", "at", "DeviceType", "pushver", "requests"), "terminals", link, as_json)
    end(found, finished)


def _log_aside() -> None:
    """Drivers log to standard error, so that what is found stands alone on standard output."""
    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


async def _boards(link: LinkConfig, timeout: float, found: list[Mapping[str, str]]) -> None:
    from drivers.uhppote.driver import UhppoteDriver

    async with UhppoteDriver().open(link) as session:
        async for facts in session.find(timeout):
            found.append(facts)
            found.sort(key=lambda facts: facts["serial"])


async def _terminals(link: LinkConfig, timeout: float, found: list[Mapping[str, str]]) -> None:
    from drivers.zkteco.driver import ZktecoDriver

    async with ZktecoDriver().open(link) as session:
        try:
            await asyncio.sleep(timeout)
        finally:
            found += [
                {"serial": each.who, "at": each.peer, "requests": str(each.count), **each.facts}
                for each in session.listener.admission.strangers.values()
            ]


def _show(found: Sequence[Mapping[str, str]], columns: Sequence[str], what: str, link: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"link": link, what: found}))
    else:
        for facts in found:
            print("  ".join(f"{name} {facts[name]}" for name in columns if name in facts))
        conclude(found, what.removesuffix("s"), link.partition("?")[0], read=_READ[what], nothing=_NOTHING[what])
