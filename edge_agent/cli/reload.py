"""`plantroom reload`: makes the running agent take up its changed configuration."""

from __future__ import annotations

import json

from edge_agent.cli.local import AsJson, ConfigFile, Socket, socket_of


def command(socket: Socket = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Make the running agent read its configuration again.

    What did not change goes on without missing a poll. A configuration with errors is refused and the old one stays in force.
    """
    from edge_agent.local_api import ask

    changed = ask(socket_of(socket, config), "reload")
    if as_json:
        print(json.dumps(changed))
        return
    told = [f"{what} {', '.join(names)}" for what, names in changed.items() if names]
    print("; ".join(told) if told else "nothing changed")
