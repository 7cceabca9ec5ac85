"""`plantroom profile`: what models of device there are, what one of them says, and a new one to begin with.

list, show ID, lint [PATH...], new, propose. Reads profiles and lists of objects only: no agent, no link.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.errors import ProfileError
from device_profiles.library import SHIPPED, SITE, Library, shown_path
from device_profiles.lint import lint_all, lint_file, lint_paths
from device_profiles.schema import Bacnet, Modbus, OpcUa, Point, Profile
from device_profiles.units import UNITS
from device_profiles.vocabulary import vocabulary

from .propose import propose

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="List, show, check and begin device profiles.",
)

Dirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--dir", help="Directory of profiles that comes before the site's and the shipped ones; may be repeated."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command("list")
def list_profiles(directory: Dirs = None, as_json: Json = False) -> None:
    """Every profile with its class, products and number of points. Exit code 1 when one cannot be loaded."""
    library = Library.default(directory or ())
    rows, broken = [], []
    for profile_id, result in library.each():
        if isinstance(result, ProfileError):
            broken.append((profile_id, result))
        else:
            rows.append((result, shown_path(library.path(profile_id))))
    if as_json:
        document = {
            "profiles": [_summary(profile, file) for profile, file in rows],
            "broken": [str(error) for _, error in broken],
        }
        print(json.dumps(document, ensure_ascii=False))
    else:
        _print_list([profile for profile, _ in rows])
        for _, error in broken:
            print(error, file=sys.stderr)
    if broken:
        raise typer.Exit(1)


@app.command()
def show(
    profile_id: Annotated[str, typer.Argument(metavar="ID", help="As eastron-sdm630; see plantroom profile list.")],
    directory: Dirs = None,
    as_json: Json = False,
) -> None:
    """The points of one profile: where each is, how it is read and in which unit it leaves."""
    library = Library.default(directory or ())
    profile = library.get(profile_id)
    if as_json:
        print(json.dumps(profile.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False))
    else:
        _print_profile(profile, shown_path(library.path(profile_id)))


@app.command()
def lint(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or directories; without any the shipped and the site's profiles.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check profiles: file, line, what is wrong and what to do. Exit code 1 when there are findings."""
    if paths:
        findings = lint_paths(paths)
    else:
        findings = lint_all() + [found for file in _site_files() for found in lint_file(Library.default(), file)]
    if as_json:
        rows = [{"where": found.where, "what": found.what, "next_step": found.next_step} for found in findings]
        print(json.dumps({"findings": rows}, ensure_ascii=False))
    else:
        for finding in findings:
            print(finding)
        if not findings:
            print("no findings", file=sys.stderr)
    if findings:
        raise typer.Exit(1)


@app.command()
def new(
    cls: Annotated[str, typer.Option("--class", prompt="Class of device", help="As electricity_meter.")],
    maker: Annotated[str, typer.Option(prompt="Maker")],
    model: Annotated[str, typer.Option(prompt="Model")],
    protocol: Annotated[
        str, typer.Option(help="modbus; profiles of BACnet and OPC UA begin with plantroom scan ... --propose.")
    ] = "modbus",
    system: Annotated[str | None, typer.Option(help="System it belongs to; the usual one of its class.")] = None,
    source: Annotated[str | None, typer.Option(help="Title of the datasheet.")] = None,
    url: Annotated[str | None, typer.Option(help="Web address of the datasheet.")] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Where to write it; /etc/plantroom/profiles if that exists, else here.")
    ] = None,
) -> None:
    """Begin a profile: writes a file that lints, ready for its registers. Never overwrites."""
    systems = vocabulary().classes.get(cls)
    if systems is None:
        raise typer.BadParameter(
            f"{cls!r} is no class; there are {', '.join(sorted(vocabulary().classes))}", param_hint="--class"
        )
    if system is not None and system not in systems:
        raise typer.BadParameter(f"{system!r} has no {cls}; use {' or '.join(systems)}", param_hint="--system")
    if protocol != "modbus":
        scans = {"bacnet": "scan bacnet --propose", "opcua": "scan opcua --propose"}
        step = f"begin with plantroom {scans.get(protocol, 'profile propose')}, which finds the points by itself"
        raise typer.BadParameter(f"this begins profiles for modbus only; {step}", param_hint="--protocol")
    profile_id = _slug(f"{maker}-{model}")
    folder = directory or (SITE if SITE.is_dir() else Path())
    path = folder / f"{profile_id}.yaml"
    text = _scaffold(profile_id, cls, system or systems[0], f"{maker} {model}", protocol, source, url)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ProfileError("is there already", where=str(path), next_step="edit it, or choose another --dir") from error
    except OSError as error:
        step = "choose a --dir that you may write to"
        raise ProfileError(f"cannot be written: {error.strerror}", where=str(path), next_step=step) from error
    print(path)
    print(f"Add a line a register under points, then: plantroom profile lint {path}", file=sys.stderr)


app.command("propose")(propose)


def _site_files() -> list[Path]:
    return sorted(path for path in Library.default().files.values() if not path.is_relative_to(SHIPPED))


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:64]
    if not slug:
        raise typer.BadParameter(f"{text!r} has neither letter nor digit", param_hint="--maker, --model")
    return slug


def _scaffold(
    profile_id: str, cls: str, system: str, product: str, protocol: str, source: str | None, url: str | None
) -> str:
    quoted = json.dumps  # a JSON string is a YAML string
    title = source or f"{product} datasheet"
    lines = [
        f"profile: {profile_id}",
        "version: 1",
        f"class: {cls}",
        f"system: {system}",
        f"products: [{quoted(product, ensure_ascii=False)}]",
        f"protocol: {protocol}",
        "table: holding    # what the points take that say nothing else: holding (FC 3) or input (FC 4)",
        "type: u16         # u16 u32 u64 s16 s32 s64 f32 f64 bcd16 bcd32 bcd64 sm16 sm32 bool str",
        "word_order: ABCD  # ABCD high word first, CDAB low word first, BADC and DCBA bytes swapped",
        "poll: 30          # seconds",
        "points: []        # one line a register, numbered from 0 as on the wire, in the datasheet's order and words:",
        '#  - {id: voltage_l1,           reg: 0x0000, scale: 0.1, max: 300, label: "Voltage of A phase, 0.1 V"}',
        '#  - {id: energy_active_import, reg: 0x000A, type: u32, scale: 10, unit: W.h, label: "Forward active energy, 10 Wh"}',
        "source:",
        f"  title: {quoted(title if url else f'{title} (source: unverified)', ensure_ascii=False)}",
    ]
    if url:
        lines.append(f"  url: {quoted(url, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _summary(profile: Profile, file: str) -> dict[str, Any]:
    return {
        "profile": profile.profile,
        "version": profile.version,
        "class": profile.class_,
        "system": profile.system,
        "products": list(profile.products),
        "protocol": profile.protocol,
        "points": _published(profile),
        "devices": profile.instances.count if profile.instances else 1,
        "file": file,
    }


def _print_list(profiles: list[Profile]) -> None:
    rows = [
        (profile.profile, profile.class_, str(_published(profile)), ", ".join(profile.products)) for profile in profiles
    ]
    _print_table(("profile", "class", "points", "products"), rows)


def _published(profile: Profile) -> int:
    return len({point.id for point in profile.points if not point.internal})


def _print_table(names: Sequence[str], rows: Sequence[Sequence[str]], *, dim: Container[int] = ()) -> None:
    """Columns as wide as they need to be: on a narrow terminal the last one wraps, nothing is cut."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for number, row in enumerate([names, *rows]):
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        style = "bold" if number == 0 else "dim" if number - 1 in dim else ""
        console.print(Text(line, style=style))


def _print_profile(profile: Profile, file: str) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.print(f"{profile.name}  {profile.class_} ({profile.system})  {profile.protocol}", style="bold")
    console.print(f"{', '.join(profile.products)}\n{file}\n")
    rows = [
        (point.id, where_text(point), _value_text(point), _read_text(point), point.label) for point in profile.points
    ]
    internal = {number for number, point in enumerate(profile.points) if point.internal}
    _print_table(("point", "where", "value", "read", "the datasheet's words"), rows, dim=internal)
    if profile.instances:
        repeats = ", ".join(profile.instances.points) or "all points"
        console.print(f"\n{profile.instances.count} devices, {profile.instances.stride} registers apart: {repeats}")
    for name, option in profile.options.items():
        console.print(f"\noption {name}: {', '.join(option.values)} (default {option.default})  {option.label}")
    for caveat in profile.caveats:
        console.print(f"\nMind: {' '.join(caveat.text.split())}\n      {caveat.link or ''}")
    console.print(f"\nSource: {profile.source.title}  {profile.source.url or ''}")


_FUNCTION = {"holding": "FC3", "input": "FC4", "coil": "FC1", "discrete": "FC2"}


def where_text(point: Point) -> str:
    """`FC4 0x0034 f32`, `model 101 +14 s16`, `FC3 0x0003 bit 2`, `analog-input:3`, `"{prefix}ZN-T"`, `Plant/Chiller1/Supply`."""
    address = point.address
    if isinstance(address, Bacnet | OpcUa):
        return address.reference or ""
    if not isinstance(address, Modbus):
        return ""
    if point.parts:
        place = f"{_FUNCTION[address.table]} {' '.join(f'{part.reg:#06x}' for part in point.parts)}"
    elif address.model is not None:
        first = address.model[0] if isinstance(address.model, tuple) else address.model
        place = f"model {first} +{address.offset}"
    else:
        place = f"{_FUNCTION[address.table]} {address.reg:#06x}"
    if point.bits is not None:
        return f"{place} bit {point.bits}"
    swapped = point.registers > 1 and point.type != "str" and point.word_order not in (None, "ABCD")
    return f"{place} {point.type}" + (f" {point.word_order}" if swapped else "")


def _value_text(point: Point) -> str:
    """What the raw value is multiplied with, and the unit: `0.01 pt ct kW.h`."""
    factors = [str(point.scale)] if point.scale is not None else []
    factors += [f"10^{point.scale_from.point}"] if point.scale_from else []
    factors += ["+".join(str(part.scale) for part in point.parts)] if point.parts else []
    return " ".join([*factors, *point.ratio, UNITS[point.unit].shown if point.unit else ""]).strip()


def _read_text(point: Point) -> str:
    if point.internal:
        return ""
    marks = (
        [f"{point.align // 60} min mark" if point.align % 60 == 0 else f"{point.align} s mark"] if point.align else []
    )
    return ", ".join([*([f"{point.poll:g} s"] if point.poll else []), *marks])
