"""`plantroom check`: whether a configuration can work, before it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from edge_agent.config.report import Report

GATEWAY_EXAMINE = "gateway.config:examine"
GATEWAY_CONFIG = "gateway.config:load_config"
"""How a gateway.yaml is read. By name, because the agent's package knows nothing of the gateway's."""
GATEWAY_USER = "ingest"
"""The common name of the gateway's certificate (CONTRACT.md section 2)."""
SHOWN_DEVICES = 40


def command(
    file: Annotated[Path, typer.Argument(help="agent.yaml or gateway.yaml.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Check a configuration: names, profiles, addresses, certificates, ports, and the load of each line.

    Opens no link and no broker. Exit code 1 when something is wrong.
    """
    if _is_gateway(file):
        found = _examine_gateway(file)
        ok = bool(found["ok"])
        print(json.dumps(found)) if as_json else _show_findings(found)
    else:
        from edge_agent.config.report import examine

        report = examine(file)
        ok = not report.problems
        if as_json:
            print(json.dumps(report.as_json()))
        else:
            _show(report)
    raise typer.Exit(0 if ok else 1)


def _is_gateway(file: Path) -> bool:
    """By what is in it; a file that cannot be read as YAML is told of as an agent's."""
    from device_profiles.errors import ConfigError
    from device_profiles.yamlfile import read_yaml

    try:
        keys = read_yaml(file).data.keys()
    except ConfigError:
        return False
    is_agent = bool(keys & {"agent", "devices", "links"})
    return not is_agent and (bool(keys & {"store", "api", "agents", "retention"}) or "gateway" in file.name)


def _examine_gateway(file: Path) -> dict[str, Any]:
    """The gateway's own findings, and those of its certificates."""
    found: dict[str, Any] = _load(GATEWAY_EXAMINE)(file)
    if not found["ok"]:
        return found
    from device_profiles.problems import Problems, finding
    from device_profiles.yamlfile import read_yaml
    from edge_agent.config.certs import check_tls

    mqtt = _load(GATEWAY_CONFIG)(file).mqtt
    problems = Problems(read_yaml(file, shown=found["file"]), strict=True)
    check_tls(mqtt, ("mqtt",), problems, identity=GATEWAY_USER)
    return found | {
        "ok": not problems.count,
        "problems": found["problems"] + [finding(problem) for problem in problems.problems],
        "warnings": found["warnings"] + [finding(warning) for warning in problems.warnings],
    }


def _load(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _show(report: Report) -> None:
    from edge_agent.cli.tables import screen
    from edge_agent.config.report import messages_per_day, published, syncs_per_day

    console = screen()
    config = report.config
    if config is not None:
        least, most = messages_per_day(config.devices)
        console.print(
            f"[bold]{report.file}[/]: agent [bold]{config.agent}[/] of site [bold]{config.site}[/] ({config.tz}), "
            f"{len(config.devices)} devices, {published(config.devices)} points, broker {config.mqtt.host}:{config.mqtt.port}"
        )
        _show_links(console, report)
        _show_devices(console, report)
        console.print(
            f"{least:,} to {most:,} messages a day, at most {syncs_per_day(config, most):,} syncs of the flash a day"
        )
    _show_findings(report.as_json(), console)


def _show_links(console: Console, report: Report) -> None:
    from rich.table import Table

    from edge_agent.line_load import percent

    table = Table(box=None, pad_edge=False)
    for name, justify in (
        ("link", "left"),
        ("wire", "left"),
        ("devices", "right"),
        ("points", "right"),
        ("load", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=name == "link")  # type: ignore[arg-type]
    table.add_column("requests")
    for load in report.loads:
        reads = [
            f"{group.requests} {'at marks of' if group.is_aligned else 'every'} {group.period_s:g} s in {group.seconds:.2g} s"
            for group in load.groups
        ]
        if load.unplanned:
            reads.append(f"{load.unplanned} device{'s' if load.unplanned > 1 else ''} to be located first")
        colour = "red" if load.is_overloaded else "yellow" if load.is_tight else "default"
        about = "" if load.link.is_line else "~"
        table.add_row(
            load.link.id,
            load.link.place,
            str(load.devices),
            str(load.points),
            f"[{colour}]{about}{percent(load.share)}[/]",
            "\n".join(reads),
        )
    console.print(table)


def _show_devices(console: Console, report: Report) -> None:
    from rich.markup import escape
    from rich.table import Table

    assert report.config is not None
    devices = report.config.devices
    table = Table(box=None, pad_edge=False)
    for name in ("device", "name", "link", "unit", "profile", "points", "note"):
        table.add_column(name, justify="right" if name == "points" else "left", no_wrap=name == "device")
    for device in devices[:SHOWN_DEVICES]:
        table.add_row(
            device.id,
            escape(device.name),
            device.link or "-",
            str(device.unit) or "-",
            device.profile.name,
            str(sum(not point.internal for point in device.points)),
            escape(f"disabled: {device.disabled}") if device.disabled else "",
        )
    console.print(table)
    if len(devices) > SHOWN_DEVICES:
        console.print(f"and {len(devices) - SHOWN_DEVICES} more devices; --json has the figures")


def _show_findings(found: Mapping[str, Any], console: Console | None = None) -> None:
    from edge_agent.cli.tables import screen

    console = console or screen()
    _print(console, "yellow", "warning", found["warnings"])
    _print(console, "red", "problem", found["problems"])
    if found["ok"]:
        console.print(f"[green]{found['file']} is good[/]" + _and_warnings(found["warnings"]))
    else:
        count = len(found["problems"])
        console.print(f"[red]{count} problem{'s' if count != 1 else ''} in {found['file']}[/]")


def _and_warnings(warnings: Sequence[Any]) -> str:
    return f", with {len(warnings)} warning{'s' if len(warnings) != 1 else ''}" if warnings else ""


def _print(console: Console, colour: str, word: str, findings: Sequence[Mapping[str, str]]) -> None:
    from rich.markup import escape

    from device_profiles.logs import printable

    for finding in findings:
        where = f"{finding['where']}: " if finding["where"] else ""
        step = f". {finding['next_step']}" if finding["next_step"] else ""
        text = escape(printable(f"{where}{finding['what']}{step}"))
        console.print(f"[{colour}]{word}[/] {text}", soft_wrap=True)
