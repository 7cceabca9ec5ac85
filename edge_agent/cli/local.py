"""What the commands that talk to the running agent share: where its socket is, and how it is told to do something."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_SOCKET = Path("/run/plantroom/agent.sock")
_UNDER_WAY = frozenset({"accepted", "running"})
_LOOK_AGAIN_S = 0.5

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


def commanded(socket: Path, command: Mapping[str, Any]) -> dict[str, Any]:
    """What a command of CONTRACT.md section 6 ended as: `{"st", "res", "err", ...}`. Raises PlantroomError."""
    from edge_agent.local_api import ask

    answer: dict[str, Any] = ask(socket, "command", timeout_s=95.0, command=command)
    while answer["st"] in _UNDER_WAY:  # a device, or its read-back, may take its time; the agent's own limits end it
        time.sleep(_LOOK_AGAIN_S)
        answer = ask(socket, "command", id=answer["id"])
    return answer
