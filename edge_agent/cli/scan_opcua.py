"""`plantroom scan opcua`: what an endpoint holds, by browse path and pattern, and profiles proposed from it."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import ConfigError
from edge_agent.cli.login import Login, Mode, PasswordFile, Pki, Policy, User
from edge_agent.cli.target import AsTrace, tracer

if TYPE_CHECKING:
    from drivers.base import LinkConfig, Trace
    from drivers.opcua.browse import Seen, Walked

_SHOWN = 200
"""Rows of a table; --json has them all."""


def opcua(
    link: Annotated[str, typer.Option("--link", help="opc.tcp://host:4840/path")],
    path: Annotated[str | None, typer.Option(help="Begin below this browse path, as ChillerPlant/Chiller1.")] = None,
    pattern: Annotated[str | None, typer.Option(help="Only paths that fit, as '*/Chiller?/*Temperature'.")] = None,
    most: Annotated[int, typer.Option(help="End after so many.", min=1, max=100_000)] = 10_000,
    policy: Policy = None,
    mode: Mode = None,
    user: User = "",
    password_file: PasswordFile = None,
    pki: Pki = None,
    trace: AsTrace = False,
    propose: Annotated[bool, typer.Option("--propose", help="Propose profiles, to be accepted line by line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """List variables and methods of an OPC UA server with type, unit and value. Exit code 1 when there are none."""
    config = _link(link, Login(user=user, password_file=password_file, policy=policy, mode=mode, pki=pki))
    try:
        identity, walked = asyncio.run(_walk(config, path, pattern, most, tracer(config) if trace else None))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if propose:
        _propose(config, identity, walked)
    elif as_json:
        document = {
            "endpoint": config.place,
            "identity": identity,
            "complete": not walked.is_cut,
            "nodes": [_document(one) for one in walked.nodes],
        }
        print(json.dumps(document, ensure_ascii=False))
    else:
        _show(config, identity, walked)
    if not walked.nodes:
        print("plantroom scan: nothing fits. Try another --path or --pattern", file=sys.stderr)
        raise typer.Exit(1)


def _link(link: str, login: Login) -> LinkConfig:
    from drivers.base import parse_link

    config = parse_link(link, link_id=link)
    if config.opcua is None:
        raise ConfigError(f"a {config.kind} link carries no OPC UA", where=link, next_step="use opc.tcp://host:4840")
    config = login.of_link(config)
    assert config.opcua is not None
    return replace(config, opcua=replace(config.opcua, subscribe=False))


async def _walk(
    config: LinkConfig, path: str | None, pattern: str | None, most: int, trace: Trace | None
) -> tuple[dict[str, str], Walked]:
    from rich.console import Console

    from drivers.base import Address
    from drivers.opcua.browse import walk
    from drivers.opcua.driver import OpcUaDriver

    with Console(stderr=True).status(f"browsing {config.place}"):
        async with OpcUaDriver().open(config, trace) as session:
            identity = dict(await session.identify(Address(0)))
            return identity, await walk(session, path=path, pattern=pattern, most=most, details=True)


def _document(one: Seen) -> dict[str, Any]:
    row = {"path": one.path, "node": one.node, "kind": one.kind, "namespace": one.namespace, "type": one.type}
    extra = {"unit": one.unit, "labels": one.labels or None, "writable": one.writable or None, "value": one.value}
    return row | {"status": one.status} | {key: value for key, value in extra.items() if value is not None}


def _show(config: LinkConfig, identity: dict[str, str], walked: Walked) -> None:
    from rich.markup import escape

    from device_profiles.logs import printable
    from edge_agent.cli.tables import Column, fitted, screen

    console = screen(highlight=True)
    who = " ".join(printable(identity[key]) for key in ("vendor", "model", "firmware") if key in identity)
    rows = []
    for one in walked.nodes[:_SHOWN]:
        kind = one.kind if one.kind == "method" else one.type + (" rw" if one.writable else "")
        value = one.labels.get(str(one.value), one.value) if one.status == "Good" else one.status
        shown = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        rows.append([printable(cell) for cell in (one.path, kind, one.unit or "", shown, one.node.rpartition(";")[2])])
    columns = (
        Column("path"), Column("type", spare=2), Column("unit"), Column("value", right=True), Column("node", spare=3),
    )  # fmt: skip
    styles = ["" if one.status == "Good" else "yellow" for one in walked.nodes[:_SHOWN]]
    console.print(f"{config.place} {who}", markup=False, highlight=False, style="italic")
    console.print(fitted(columns, rows, width=console.width, styles=styles))
    spaces = dict.fromkeys(one.node.partition(";")[0] for one in walked.nodes if ";" in one.node)
    console.print("nodes are in " + escape(printable(", ".join(spaces) or "namespace 0")), style="dim")
    more = len(walked.nodes) - _SHOWN
    if more > 0:
        console.print(f"and {more} more; narrow it with --path or --pattern, or take --json", style="dim")
    if walked.is_cut:
        console.print("the server holds more than was looked at; narrow it with --path or --most", style="yellow")


def _propose(config: LinkConfig, identity: dict[str, str], walked: Walked) -> None:
    from device_profiles.propose import propose
    from device_profiles.propose_found import FoundDevice, FoundObject
    from device_profiles.propose_yaml import proposed_profiles

    device = FoundDevice(
        id=config.place,
        name=config.place,
        vendor=identity.get("vendor", ""),
        model=identity.get("model", ""),
        protocol="opcua",
    )
    objects = [
        FoundObject(
            "opcua",
            one.path,
            one.path,
            unit=one.unit,
            states=_texts(one.labels),
            writable=one.writable,
            value=one.value,
        )
        for one in walked.nodes
        if one.kind == "variable" and one.type and not one.type.endswith("[]")
    ]
    print("\n---\n".join(profile.text for profile in proposed_profiles(propose(objects, device=device))), end="")


def _texts(labels: dict[str, str]) -> tuple[str, ...]:
    """The texts from 0 on; nothing where an ordinal between them has none."""
    wanted = [str(n) for n in range(len(labels))]
    return tuple(labels[key] for key in wanted) if set(wanted) == set(labels) else ()
