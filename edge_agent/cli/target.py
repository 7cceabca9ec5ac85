"""What `read`, `watch`, `write` and `release` are pointed at: a device of a configuration, or a link with a profile, raw
registers, objects or nodes. Opens nothing but, in `opened`, the target's own link.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from device_profiles.errors import ConfigError
from edge_agent.cli.login import Login

if TYPE_CHECKING:
    from device_profiles.schema import Point
    from drivers.base import LinkConfig, Trace
    from edge_agent.cli.one_device import OneDevice
    from edge_agent.model import Device

RAW = "Without a profile"

LinkText = Annotated[
    str | None,
    typer.Option(
        "--link",
        help="tcp://host:502, rtu+tcp://host:port, serial:/dev/ttyUSB0?baud=9600 (and &parity=N), serial:COM3, "
        "bacnet://192.168.1.10/24 (our address), opc.tcp://host:4840, http://192.168.1.64.",
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        "-u",
        help="Which device on the link: Modbus unit id (1 without it; 255 on TCP), BACnet instance, a meter's number, "
        "a reader's address.",
    ),
]
Prefix = Annotated[str | None, typer.Option(help="What a profile's {prefix} stands for on this device.")]
Objects = Annotated[
    list[str] | None,
    typer.Option(
        "--object", rich_help_panel=RAW, help="BACnet without a profile: an object, as AI:3; may be repeated."
    ),
]
Property = Annotated[
    str, typer.Option("--property", rich_help_panel=RAW, help="The property of --object, as description or units.")
]
Nodes = Annotated[
    list[str] | None,
    typer.Option(
        "--node", rich_help_panel=RAW, help="OPC UA without a profile: a node id, as ns=2;s=X; may be repeated."
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", rich_help_panel=RAW, help="OPC UA without a profile: a browse path; may be repeated."),
]
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
Function = Annotated[
    int | None, typer.Option("--fc", rich_help_panel=RAW, help="Modbus without a profile: function code 1, 2, 3 or 4.")
]
Register = Annotated[str, typer.Option("--reg", rich_help_panel=RAW, help="First register from 0, decimal or 0x...")]
Count = Annotated[int, typer.Option(rich_help_panel=RAW, help="How many registers or bits.", min=1, max=65536)]
Kind = Annotated[
    str | None,
    typer.Option("--type", rich_help_panel=RAW, help="u16 s16 u32 s32 u64 s64 f32 f64 bcd16 bcd32 bcd64 sm16 sm32 str"),
]
Order = Annotated[str, typer.Option("--word-order", rich_help_panel=RAW, help="ABCD, CDAB, BADC or DCBA.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Take the device DEVICE from this agent.yaml.")]
DeviceId = Annotated[str | None, typer.Argument(metavar="DEVICE", help="A device of the configuration.")]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for an answer.", min=0.01, max=60)
]
AsTrace = Annotated[bool, typer.Option("--trace", help="Show the frames on the wire (on standard error).")]

EXAMPLES = {
    "": "plantroom read --link tcp://192.168.1.20:502 --unit 1 --profile eastron-sdm630",
    "bacnet": "plantroom read --link bacnet://192.168.1.10/24 --unit 1001 --object AI:1",
    "opcua": "plantroom read --link opc.tcp://192.168.1.30:4840 --path Plant/Chiller1/SupplyTemperature",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be read, and over which link."""

    link: LinkConfig
    device: Device
    raw: bool

    @property
    def title(self) -> str:
        unit, protocol = self.device.unit, self.device.protocol
        is_alone = protocol in ("opcua", "pjlink") or self.link.kind == "http"
        who = "" if is_alone else f" device {unit}" if self.link.bacnet is not None else f" unit {unit}"
        return self.link.place + who + ("" if self.raw else f" as {self.device.profile.name}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach(Login):
    """The options that say where a device is and by which profile it is read, as they were given."""

    link: LinkText = None
    unit: Unit = None
    prefix: Prefix = None
    profile: ProfileId = None
    directory: Dirs = None
    option: Options = None
    param: Params = None
    instance: Instance = None
    timeout: Timeout = None
    trace: AsTrace = False

    def asked(self, device: str | None, config: Path | None) -> Asked:
        """The same of a device of this configuration; without a device, or with a link, of none."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return Asked(**given, device=device, config=config if self.link is None else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(Reach):
    """The options by which a target is named, as they were given."""

    device: DeviceId = None
    config: ConfigFile = None
    point: Only = None
    fc: Function = None
    reg: Register = "0"
    count: Count = 1
    kind: Kind = None
    word_order: Order = "ABCD"
    objects: Objects = None
    prop: Property = "present-value"
    node: Nodes = None
    path: Paths = None


def tracer(link: LinkConfig, protocol: str = "") -> Trace:
    """Prints the frames of a link on standard error."""
    from drivers.trace import printer

    return printer(link, lambda line: print(line, file=sys.stderr), protocol=protocol)


@asynccontextmanager
async def opened(target: Target, trace: bool) -> AsyncIterator[OneDevice]:
    """The target's link, open. Raises LinkError."""
    from drivers.registry import load_driver
    from edge_agent.cli.one_device import OneDevice

    driver = load_driver(target.device.protocol)
    async with driver.open(target.link, tracer(target.link, target.device.protocol) if trace else None) as session:
        yield OneDevice(driver, session, target.link, target.device, raw=target.raw)


def target_of(asked: Asked) -> Target:
    """The device and its link. Raises ConfigError, typer.BadParameter."""
    if (asked.config is None) != (asked.device is None):
        raise typer.BadParameter("--config and DEVICE belong together: plantroom read --config agent.yaml meter-01")
    if asked.config is not None and asked.device is not None:
        target = _of_config(asked.config, asked.device)
    else:
        target = _of_options(asked)
    if asked.timeout is not None:
        link = replace(target.link, timeout_s=asked.timeout)
        if link.bacnet is not None:
            link = replace(link, bacnet=replace(link.bacnet, apdu_timeout_s=asked.timeout))
        target = replace(target, link=link)
    return _only(target, asked.point or ())


def _of_options(asked: Asked) -> Target:
    from drivers.base import parse_link
    from edge_agent.cli.one_device import device_of_points, device_of_profile, numbers, words
    from edge_agent.cli.target_unit import unit_of

    if asked.link is None:
        raise typer.BadParameter(f"--link is missing; for example: {EXAMPLES['']}")
    link = asked.of_link(parse_link(asked.link, link_id=asked.link.partition("?")[0]))
    ways = [
        asked.profile is not None,
        asked.fc is not None,
        bool(asked.objects),
        bool(asked.node or asked.path),
    ]
    if sum(ways) != 1:
        raise typer.BadParameter(
            "give either --profile, or what to read without one: --fc (Modbus), --object (BACnet), --node or --path "
            f"(OPC UA); for example: {EXAMPLES.get(link.kind, EXAMPLES[''])}"
        )
    if asked.profile is not None:
        found = device_of_profile(
            asked.profile,
            0,
            link=link,
            prefix=asked.prefix,
            options=words(asked.option or (), "--option"),
            params=numbers(asked.param or (), "--param"),
            instance=asked.instance,
            directories=asked.directory or (),
        )
        _check_carries(found.protocol, link, f"profile {asked.profile}")
        found = replace(found, unit=unit_of(asked.unit, found.protocol, link, prefix=asked.prefix))
        return Target(link, asked.of_device(found), raw=False)
    protocol, option = (
        ("modbus", "--fc") if ways[1] else ("bacnet", "--object") if ways[2] else ("opcua", "--node, --path")
    )
    _check_carries(protocol, link, option)
    if "{prefix}" in "".join((*(asked.node or ()), *(asked.path or ()))):
        raise typer.BadParameter("{prefix} is for profiles; write the whole node or path")
    points = _registers(asked) if ways[1] else _objects(asked) if ways[2] else _nodes(asked)
    return Target(link, device_of_points(protocol, points, unit_of(asked.unit, protocol, link), link=link), raw=True)


def _check_carries(protocol: str, link: LinkConfig, what: str) -> None:
    from drivers.link import CARRIERS, SHAPES

    kinds = CARRIERS.get(protocol, ())
    if link.kind not in kinds:
        shapes = [SHAPES[kind] for kind in kinds if kind in SHAPES]
        if protocol == "pjlink":
            shapes = ["tcp://192.168.1.40:4352"]
        raise ConfigError(
            f"{what} is {protocol}, which a link of kind {link.kind} does not carry",
            where="--link",
            next_step=f"write --link as {' or '.join(shapes)}",
        )


def _registers(asked: Asked) -> tuple[Point, ...]:
    from edge_agent.cli.one_device import points_of_registers

    assert asked.fc is not None
    return points_of_registers(asked.fc, _register(asked.reg), asked.count, _kind(asked.kind), _order(asked.word_order))


def _objects(asked: Asked) -> tuple[Point, ...]:
    from drivers.bacnet.names import property_number
    from edge_agent.cli.one_device import points_of_objects

    if property_number(asked.prop) is None:
        raise typer.BadParameter(
            f"--property {asked.prop!r} is none of the standard's; write it as present-value, or give its number"
        )
    return points_of_objects(asked.objects or (), asked.prop)


def _nodes(asked: Asked) -> tuple[Point, ...]:
    from edge_agent.cli.one_device import points_of_nodes

    return points_of_nodes(asked.node or (), asked.path or ())


def _of_config(path: Path, device_id: str) -> Target:
    import difflib

    from edge_agent.config.load import load_config

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
    return Target(found.on(link), found, raw=False)


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
