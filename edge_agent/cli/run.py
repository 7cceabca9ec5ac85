"""`plantroom run`: the agent of a site, in the foreground; systemd or a person ends it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path, typer.Argument(help="The agent's configuration (agent.yaml).")],
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error; overrides the configuration.")
    ] = None,
) -> None:
    """Run the agent of a site until it is told to stop.

    SIGHUP, or `plantroom reload`, takes up a changed configuration without missing a poll of what did not change.
    """
    from device_profiles.logs import configure
    from edge_agent.agent import Agent
    from edge_agent.config import load_config

    loaded = load_config(config)
    log = configure(log_level or loaded.log_level)
    for warning in loaded.warnings:
        log.warning(warning.what, where=warning.where, next_step=warning.next_step)
    if sys.platform == "win32":
        raise typer.BadParameter(
            "the agent runs on Linux; on Windows the read commands work (plantroom read, watch, scan)"
        )
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Agent(loaded, reload=lambda: load_config(config)).run())
