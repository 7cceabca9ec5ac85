"""The `plantroom` command: one table of subcommands, each loaded only when it is called.

A row is (import string of a Typer app or a function, one line of help). `plantroom --help` imports none of them. Each package
brings its own Typer app; nothing is registered by importing it.
"""

from __future__ import annotations

import sys
from importlib import import_module

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("edge_agent.cli.demo:command", "Run a whole small campus on this machine and look at it."),
    "run": ("edge_agent.cli.run:command", "Run the agent of a site."),
    "gateway": ("gateway.cli:gateway", "Run the central service: ingest, store, HTTP API and page."),
    "check": ("edge_agent.cli.check:command", "Check a configuration and compute the load of each line."),
    "read": ("edge_agent.cli.read:command", "Read a device once, with a profile or raw registers."),
    "write": ("edge_agent.cli.write:command", "Write a point, after showing what will happen."),
    "release": ("edge_agent.cli.write:release", "Give back a point that is held."),
    "call": ("edge_agent.cli.call:command", "Carry out an operation of a device: open a door, take a picture."),
    "watch": ("edge_agent.cli.watch:command", "Read a device again and again and show what changes."),
    "decode": ("edge_agent.cli.decode:command", "Decode frames of a field protocol."),
    "scan": ("edge_agent.cli.scan:app", "Find devices on a link."),
    "status": ("edge_agent.cli.status:command", "Show what the running agent does."),
    "spool": ("edge_agent.cli.spool:app", "Look into the spool."),
    "audit": ("edge_agent.cli.audit:app", "Show and check the log of everything that was commanded."),
    "reload": ("edge_agent.cli.reload:command", "Make the running agent take up its changed configuration."),
    "profile": ("edge_agent.cli.profile:app", "List, show, check and begin device profiles."),
    "schema": ("edge_agent.cli.schema:command", "Print the JSON Schema of a file that people write."),
    "deadletter": ("gateway.cli:deadletter", "List, show and replay messages that the store refused."),
    "sim": ("firmware_sim.cli:app", "Run simulated devices."),
    "bench": ("edge_agent.cli.bench:command", "Measure, and print ratios."),
}

SERVICES = frozenset({"run"})
"""Commands that live for months: functions of argv that parse with argparse, because typer would stay in their memory (6 MB)."""


def _load(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def invoke(argv: list[str]) -> int:
    """Runs one command line and returns its exit code: 0 ok, 1 found a problem, 2 usage."""
    from edge_agent.cli.shell import run

    return run(COMMANDS, SERVICES, _load, argv)


def main() -> None:
    """Entry point of the `plantroom` command."""
    sys.exit(invoke(sys.argv[1:]))
