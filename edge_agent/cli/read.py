"""`plantroom read`: one device, once, with a profile or as raw registers. Needs no configuration and no agent."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import ConfigError

if TYPE_CHECKING:
    from drivers.base import LinkConfig
    from edge_agent.cli.one_device import OneDevice, Row, Shot
    from edge_agent.model import Device

LinkText = Annotated[
    str | None,
    typer.Option(
        "--link", help="tcp://host:502, rtu+tcp://host:port, serial:/dev/ttyUSB0?baud=9600&parity=N, serial:COM3?..."
    ),
]
Unit = Annotated[int, typer.Option("--unit", "-u", help="Unit id of the device, 1 to 247 (255 on TCP).")]
ProfileId = Annotated[
    str | None, typer.Option("--profile", "-p", help="As eastron-sdm630; see plantroom profile list.")
]
Dirs = Annotated[
    list[Path] | None, typer.Option("--dir", help="Directory of profiles that comes first; may be repeated.")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="A switch of the profile, name=value; may be repeated.")
]
Params = Annotated[list[str] | None, typer.Option("--param", help="A ratio, as ct=40; may be repeated.")]
Instance = Annotated[int | None, typer.Option(help="The n-th of the devices in one address space.", min=1)]
Only = Annotated[list[str] | None, typer.Option("--point", help="Read this point only; may be repeated.")]
Function = Annotated[int | None, typer.Option("--fc", help="Raw read with function code 1, 2, 3 or 4.")]
Register = Annotated[str, typer.Option("--reg", help="First register from 0, decimal or 0x...")]
Count = Annotated[int, typer.Option(help="How many registers or bits.", min=1, max=65536)]
Kind = Annotated[
    str | None, typer.Option("--type", help="u16 s16 u32 s32 u64 s64 f32 f64 bcd16 bcd32 bcd64 sm16 sm32 str")
]
Order = Annotated[str, typer.Option("--word-order", help="ABCD, CDAB, BADC or DCBA.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the device DEVICE from this agent.yaml.")]
DeviceId = Annotated[str | None, typer.Argument(metavar="[DEVICE]", help="A device of the configuration.")]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds to wait for an answer.", min=0.01, max=60)]
AsTrace = Annotated[bool, typer.Option("--trace", help="Show the frames on the wire (on standard error).")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

EXAMPLE = "plantroom read --link tcp://192.168.1.20:502 --unit 1 --profile eastron-sdm630"


def command(
    device: DeviceId = None,
    link: LinkText = None,
    unit: Unit = 1,
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
    config: ConfigFile = None,
    timeout: Timeout = None,
    trace: AsTrace = False,
    as_json: AsJson = False,
) -> None:
    """Read a device once: with a profile, raw (--fc 3 --reg 0 --count 10), or as a configuration describes it.

    Exit code 1 when the device does not answer, or refuses a point.
    """
    target = target_of(
        device, config, link, unit, profile, directory or (), option or (), param or (), instance, point or (),
        fc, reg, count, kind, word_order, timeout,
    )  # fmt: skip
    shot, serial = asyncio.run(_read(target, trace))
    if as_json:
        print(json.dumps(document(target, shot, serial), ensure_ascii=False))
    else:
        show(target, shot, serial)
    if shot.failed:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be read, and over which link."""

    link: LinkConfig
    device: Device
    raw: bool

    @property
    def title(self) -> str:
        what = "" if self.raw else f" as {self.device.profile.name}"
        return f"{self.link.place} unit {self.device.unit}{what}"


async def _read(target: Target, trace: bool) -> tuple[Shot, str | None]:
    async with opened(target, trace) as one:
        await one.prepare()
        return await one.read(), one.serial


@asynccontextmanager
async def opened(target: Target, trace: bool) -> AsyncIterator[OneDevice]:
    """The target's link, open. Raises LinkError."""
    from drivers.registry import load_driver
    from drivers.trace import printer
    from edge_agent.cli.one_device import OneDevice

    driver = load_driver(target.device.protocol)
    tracer = printer(target.link, lambda line: print(line, file=sys.stderr)) if trace else None
    async with driver.open(target.link, tracer) as session:
        yield OneDevice(driver, session, target.link, target.device, raw=target.raw)


def target_of(
    device: str | None,
    config: Path | None,
    link: str | None,
    unit: int,
    profile: str | None,
    directories: Sequence[Path],
    options: Sequence[str],
    params: Sequence[str],
    instance: int | None,
    only: Sequence[str],
    function: int | None,
    reg: str,
    count: int,
    kind: str | None,
    order: str,
    timeout: float | None,
) -> Target:
    """What the options of read and watch name. Raises ConfigError, typer.BadParameter."""
    if (config is None) != (device is None):
        raise typer.BadParameter("--config and DEVICE belong together: plantroom read --config agent.yaml meter-01")
    if config is not None and device is not None:
        target = _of_config(config, device)
    else:
        target = _of_options(
            link, unit, profile, directories, options, params, instance, function, reg, count, kind, order
        )
    if timeout is not None:
        target = replace(target, link=replace(target.link, timeout_s=timeout))
    return _only(target, only)


def _of_options(
    link: str | None,
    unit: int,
    profile: str | None,
    directories: Sequence[Path],
    options: Sequence[str],
    params: Sequence[str],
    instance: int | None,
    function: int | None,
    reg: str,
    count: int,
    kind: str | None,
    order: str,
) -> Target:
    from drivers.base import parse_link
    from edge_agent.cli.one_device import device_of_profile, device_of_registers, numbers, words

    if link is None:
        raise typer.BadParameter(f"--link is missing; for example: {EXAMPLE}")
    if (profile is None) == (function is None):
        raise typer.BadParameter("give either --profile, or --fc for raw registers")
    parsed = parse_link(link, link_id=link.partition("?")[0])
    if parsed.kind != "bacnet" and not 1 <= unit <= 255:
        raise typer.BadParameter(f"unit {unit} is none that answers; use 1 to 247, or 255 on Modbus TCP")
    if profile is not None:
        found = device_of_profile(
            profile,
            unit,
            link=parsed,
            options=words(options, "--option"),
            params=numbers(params, "--param"),
            instance=instance,
            directories=directories,
        )
        return Target(parsed, found, raw=False)
    assert function is not None
    return Target(
        parsed,
        device_of_registers(function, _register(reg), count, _kind(kind), _order(order), unit, link=parsed),
        raw=True,
    )


def _of_config(path: Path, device_id: str) -> Target:
    import difflib

    from edge_agent.config import load_config

    config = load_config(path)
    found = next((device for device in config.devices if device.id == device_id), None)
    if found is None:
        close = difflib.get_close_matches(device_id, [device.id for device in config.devices], n=1)
        raise ConfigError(
            f"no device {device_id!r}",
            where=path.name,
            next_step=f"did you mean {close[0]!r}?" if close else "see its devices",
        )
    link = next((link for link in config.links if link.id == found.link), None)
    if link is None:
        raise ConfigError(
            f"{device_id} is computed from other devices and cannot be read", where=path.name, next_step="read those"
        )
    return Target(link, found, raw=False)


def _only(target: Target, only: Sequence[str]) -> Target:
    if not only:
        return target
    points = {point.id: point for point in target.device.points}
    for name in only:
        if name not in points:
            raise ConfigError(
                f"{target.device.profile.profile} has no point {name!r}",
                where="--point",
                next_step="see plantroom profile show",
            )
    needed = {points[name].scale_from.point for name in only if points[name].scale_from is not None}  # type: ignore[union-attr]
    kept = tuple(
        point if name in only else point.model_copy(update={"internal": True})
        for name, point in points.items()
        if name in only or name in needed
    )
    return replace(target, device=replace(target.device, points=kept))


def _register(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError as error:
        raise typer.BadParameter(f"--reg {text!r} is no number") from error
    if not 0 <= number <= 65535:
        raise typer.BadParameter(f"--reg {text} is outside of 0 to 65535")
    return number


def _kind(text: str | None) -> Any:
    from device_profiles.schema import TYPE_REGISTERS

    if text is not None and text not in (*TYPE_REGISTERS, "str"):
        raise typer.BadParameter(f"--type {text!r} is unknown; known are {' '.join(TYPE_REGISTERS)} str")
    return text


def _order(text: str) -> Any:
    if text.upper() not in ("ABCD", "CDAB", "BADC", "DCBA"):
        raise typer.BadParameter(f"--word-order {text!r} is none of ABCD, CDAB, BADC, DCBA")
    return text.upper()


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
    console.print(table_of(target, shot, serial))
    console.print(f"{len(shot.rows)} points in {shot.requests} requests, {shot.ms:.0f} ms", style="dim")


def table_of(target: Target, shot: Shot, serial: str | None, changed: frozenset[str] = frozenset()) -> Any:
    """A rich table; rows in `changed` stand out."""
    from rich.markup import escape
    from rich.table import Table

    heading = escape(target.title + (f", serial {serial}" if serial else ""))
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("point", "value", "unit", "quality"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    table.add_column("ms", justify="right", style="dim")
    table.add_column("where", style="dim")
    for row in shot.rows:
        bad = row.value is None
        style = "red" if bad else "yellow" if row.status != "Good" else "bold green" if row.point in changed else ""
        quality = "" if row.status == "Good" else row.status + (f": {row.detail}" if row.detail else "")
        table.add_row(
            escape(row.point),
            escape(value_text(row)),
            row.unit or "",
            escape(quality),
            f"{row.ms:.0f}",
            row.ref,
            style=style,
        )
    return table


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
