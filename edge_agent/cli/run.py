"""`plantroom run`: the agent of a site, in the foreground; systemd or a person ends it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from device_profiles.errors import LinkRefused

if TYPE_CHECKING:
    from edge_agent.agent import Agent

_LEVELS = ("debug", "info", "warning", "error")


def command(argv: list[str]) -> int:
    """Runs the agent until it is told to stop. Exit code 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="plantroom run",
        description="Run the agent of a site until it is told to stop. SIGHUP, or plantroom reload, takes up a changed "
        "configuration without missing a poll of what did not change.",
    )
    parser.add_argument("config", type=Path, help="the agent's configuration (agent.yaml)")
    parser.add_argument("--log-level", choices=_LEVELS, help="overrides the configuration")
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    return _run(arguments.config, arguments.log_level)


def _run(path: Path, log_level: str | None) -> int:
    gc.disable()  # importing leaves little to collect and much to look through: a tenth of the time to the first reading
    try:
        agent = _agent(path, log_level)
    finally:
        gc.enable()
    if sys.platform == "win32":
        raise LinkRefused("the agent runs on Linux", next_step="on Windows use plantroom read, watch and scan")
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(agent.run())
    return 0


def _agent(path: Path, log_level: str | None) -> Agent:
    from device_profiles.logs import configure
    from edge_agent.agent import Agent
    from edge_agent.config.load import load_config

    config = load_config(path)
    log = configure(log_level or config.log_level)
    for warning in config.warnings:
        log.warning(warning.what, where=warning.where, next_step=warning.next_step)
    return Agent(config, reload=lambda: load_config(path))
