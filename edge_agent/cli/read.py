"""`plantroom read`: one device, once, with a profile or as raw registers, objects or nodes. Needs no configuration, no agent."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_agent.cli.login import At, Login, Mode, PasswordFile, Pki, Policy, SecretFile, User
from edge_agent.cli.target import (
    Asked,
    AsTrace,
    ConfigFile,
    Count,
    DeviceId,
    Dirs,
    Function,
    Instance,
    Kind,
    LinkText,
    Nodes,
    Objects,
    Only,
    Options,
    Order,
    Params,
    Paths,
    Prefix,
    ProfileId,
    Property,
    Register,
    Target,
    Timeout,
    Unit,
    opened,
    target_of,
)

if TYPE_CHECKING:
    from edge_agent.cli.one_device import Row, Shot

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def command(
    device: DeviceId = None,
    link: LinkText = None,
    unit: Unit = None,
    prefix: Prefix = None,
    profile: ProfileId = None,
    directory: Dirs = None,
    option: Options = None,
    param: Params = None,
    instance: Instance = None,
    point: Only = None,
    fc: Function = None,
    reg: Register = "0",
    count: Count = 1,
    kind: Kind = None,
    word_order: Order = "ABCD",
    objects: Objects = None,
    prop: Property = "present-value",
    node: Nodes = None,
    path: Paths = None,
    config: ConfigFile = None,
    user: User = "",
    password_file: PasswordFile = None,
    policy: Policy = None,
    mode: Mode = None,
    pki: Pki = None,
    secret_file: SecretFile = None,
    at: At = "",
    timeout: Timeout = None,
    trace: AsTrace = False,
    as_json: AsJson = False,
) -> None:
    """Read a device once: with a profile, as a configuration describes it, or without either: Modbus registers (--fc 3 --reg 0
    --count 10), BACnet objects (--unit 1001 --object AI:1), OPC UA nodes (--path Plant/Supply).

    Exit code 1 when the device does not answer, or refuses a point.
    """
    target = target_of(
        Asked(
            device=device, config=config, link=link, unit=unit, prefix=prefix, profile=profile, directories=directory,
            options=option, params=param, instance=instance, only=point, function=fc, reg=reg, count=count, kind=kind,
            order=word_order, objects=objects, prop=prop, nodes=node, paths=path, timeout=timeout,
            login=Login(
                user=user, password_file=password_file, policy=policy, mode=mode, pki=pki, secret_file=secret_file, at=at
            ),
        )
    )  # fmt: skip
    shot, serial = asyncio.run(_read(target, trace))
    if as_json:
        print(json.dumps(document(target, shot, serial), ensure_ascii=False))
    else:
        show(target, shot, serial)
    if shot.failed:
        raise typer.Exit(1)


async def _read(target: Target, trace: bool) -> tuple[Shot, str | None]:
    async with opened(target, trace) as one:
        await one.prepare()
        return await one.read(), one.serial


def document(target: Target, shot: Shot, serial: str | None) -> dict[str, Any]:
    """One reading for programs."""
    return {
        "link": target.link.place,
        "unit": target.device.unit,
        "profile": None if target.raw else target.device.profile.name,
        "serial": serial,
        "t": shot.t_ms,
        "ms": round(shot.ms, 2),
        "requests": shot.requests,
        "points": [row.as_json() for row in shot.rows],
    }


def show(target: Target, shot: Shot, serial: str | None) -> None:
    """One reading for people."""
    from rich.console import Console

    console = Console()
    console.print(table_of(target, shot, serial, width=console.width))
    console.print(f"{len(shot.rows)} points in {shot.requests} requests, {shot.ms:.0f} ms", style="dim")


def table_of(
    target: Target, shot: Shot, serial: str | None, changed: frozenset[str] = frozenset(), *, width: int = 120
) -> Any:
    """A rich table; rows in `changed` stand out."""
    from edge_agent.cli.tables import Column, fitted

    rows, styles = [], []
    for row in shot.rows:
        bad = row.value is None
        quality = "" if row.status == "Good" else row.status + (f": {row.detail}" if row.detail else "")
        rows.append((row.point, value_text(row), row.unit or "", quality, f"{row.ms:.0f}", row.ref))
        styles.append(
            "red" if bad else "yellow" if row.status != "Good" else "bold green" if row.point in changed else ""
        )
    columns = (
        Column("point"), Column("value", right=True), Column("unit"), Column("quality"),
        Column("ms", spare=2, right=True, style="dim"), Column("where", spare=1, style="dim"),
    )  # fmt: skip
    heading = target.title + (f", serial {serial}" if serial else "")
    return fitted(columns, rows, width=width, title=heading, styles=styles)


def value_text(row: Row) -> str:
    """The value as people read it: at most 10 digits, whole numbers whole, an enum with its label."""
    from device_profiles.logs import printable

    if row.value is None:
        return "-"
    if isinstance(row.value, bool):
        return "on" if row.value else "off"
    if isinstance(row.value, str):
        return printable(row.value)
    text = f"{row.value:.10g}" if isinstance(row.value, float) else str(row.value)
    return f"{text} ({row.text})" if row.text else text
