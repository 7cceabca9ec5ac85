"""Writes the broker's ACL: who may publish and read what (CONTRACT.md section 2), one block an agent, no wildcard site.

An ACL pattern of Mosquitto knows the user (%u) and the client id (%c) but not the site, so that a pattern would have to
allow every site. Hence a file made from the list of agents:

    python deploy/make_acl.py hq/gw-01 hq/gw-02 north/gw-07 > /etc/mosquitto/plantroom.acl && systemctl reload mosquitto
    python deploy/make_acl.py --gateway /etc/plantroom/gateway.yaml > ...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from device_profiles.errors import ConfigError
from device_profiles.findings import validation_findings
from device_profiles.yamlfile import read_yaml
from gateway.config_schema import GatewayFile
from gateway.contract.topics import ROOT, VERSION, Topics

SERVICES = ("ingest", "platform", "reader")
"""Users that are not agents: the common names of their certificates."""


def acl(agents: Iterable[tuple[str, str]], *, root: str = ROOT) -> str:
    """The ACL file for (site, agent) pairs. Raises ConfigError for an id that is not valid or is there twice."""
    every = f"{root}/{VERSION}/+/+"
    lines = [
        "# Made by deploy/make_acl.py; changes are lost the next time. Without a rule everything is denied.",
        "",
        "user ingest",
        f"topic read {every}/up/#",
        f"topic write {every}/down/ack",
        "",
        "user platform",
        f"topic read {every}/up/#",
        f"topic write {every}/down/cmd/+",
        f"topic write {every}/down/config/desired",
        "",
        "user reader",
        f"topic read {every}/up/#",
    ]
    for topics in _topics(agents, root):
        lines += [
            "",
            f"user {topics.agent}",
            f"topic write {topics.up('#')}",
            f"topic read {topics.up('status')}",
            f"topic read {topics.down('#')}",
        ]
    return "\n".join(lines) + "\n"


def _topics(agents: Iterable[tuple[str, str]], root: str) -> list[Topics]:
    seen: dict[str, str] = {}
    result: list[Topics] = []
    for site, agent in sorted(set(agents)):
        if agent in SERVICES:
            raise ConfigError(f"agent {agent!r} has the name of a service", where=site, next_step="rename the agent")
        if agent in seen:
            step = "agent ids are unique over all sites: rename one"
            raise ConfigError(f"agent {agent!r} is at {seen[agent]} and at {site}", where="agents", next_step=step)
        seen[agent] = site
        result.append(Topics(site, agent, root))
    return result


def agents_of(gateway: Path) -> list[tuple[str, str]]:
    """The (site, agent) pairs that a gateway.yaml registers. Raises ConfigError."""
    document = read_yaml(gateway)
    try:
        agents = GatewayFile.model_validate(document.data).agents
    except ValidationError as error:
        raise ConfigError("it is not valid", problems=validation_findings(error, document, GatewayFile)) from error
    if not agents or agents == "any":
        step = "list them: agents: [{site: ..., agent: ...}]"
        raise ConfigError("it registers no agent by name", where=document.where(("agents",)), next_step=step)
    return [(entry.site, entry.agent) for entry in agents]


def _pair(text: str) -> tuple[str, str]:
    site, _, agent = text.partition("/")
    if not agent:
        raise ConfigError(f"{text!r} names no agent", where="command line", next_step="write site/agent")
    return site, agent


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the ACL. Exit code 1 when an id is wrong, 2 for wrong usage."""
    parser = argparse.ArgumentParser(description="Write Mosquitto's ACL for a list of agents.")
    parser.add_argument("agents", nargs="*", metavar="SITE/AGENT")
    parser.add_argument("--gateway", type=Path, help="take the agents from this gateway.yaml")
    parser.add_argument("--root", default=ROOT, help="first levels of every topic (default: %(default)s)")
    options = parser.parse_args(argv)
    try:
        pairs = [_pair(text) for text in options.agents]
        if options.gateway is not None:
            pairs += agents_of(options.gateway)
        if not pairs:
            parser.error("name at least one agent, or --gateway")
        sys.stdout.write(acl(pairs, root=options.root))
    except ConfigError as error:
        print(f"make_acl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
