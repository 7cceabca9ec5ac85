"""What the commands that talk to the running agent share: where its socket is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_SOCKET = Path("/run/plantroom/agent.sock")

Socket = Annotated[Path | None, typer.Option("--socket", help="The agent's local socket.", envvar="PLANTROOM_SOCKET")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the socket from this agent.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def socket_of(socket: Path | None, config: Path | None) -> Path:
    """The socket that was named, or the configuration's, or the usual one. Raises ConfigError."""
    if socket is not None:
        return socket
    if config is not None:
        from edge_agent.config.load import load_config

        return load_config(config).socket
    return DEFAULT_SOCKET
