"""`plantroom demo`: a whole small campus on this machine, and what came of it."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from device_profiles.errors import PlantroomError
from edge_agent.cli.demo_campus import AGENT, SITE, Campus
from edge_agent.cli.tables import many, unit_text

_WIDE = 104
_NARROW = ("state", "points", "age s")
_OTHER_LINES = 4
"""Of the screen: where the page is, title, heading, and the cursor's."""
_HEADLINES = (
    "power_active", "supply_air_temperature", "zone_temperature", "speed_actual", "running", "energy_active_import",
    "heat_energy", "volume", "gate_state", "door_open", "door_open_1", "power_state", "recording", "online", "frequency",
)  # fmt: skip


def command(
    seconds: Annotated[
        float | None, typer.Option(help="Stop after so many seconds; without it, on Ctrl-C.", min=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line; show nothing else.")] = False,
    directory: Annotated[Path | None, typer.Option("--dir", help="Keep configuration, logs and data here.")] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.", min=0, max=65535)] = 0,
    speed: Annotated[float, typer.Option(help="How fast the simulated world runs.", min=0.1, max=1000)] = 1.0,
    plant_room: Annotated[
        bool, typer.Option("--plant-room/--no-plant-room", help="With BACnet and OPC UA devices.")
    ] = True,
    morning: Annotated[
        bool, typer.Option("--morning/--no-morning", help="With meters, readers, doors, cameras and people.")
    ] = True,
) -> None:
    """Run simulated devices, a broker, the agent, ingest, the store and the page; nothing needs to be installed.

    The figures at the end come from the ledger and the store. Exit code 1 when something was lost, stored twice, or not yet
    delivered when the store was waited for no longer.
    """
    with contextlib.ExitStack() as stack:
        folder = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plantroom-demo-")))
        folder = folder.absolute()
        if len(str(folder)) > 80:
            raise PlantroomError(
                f"the path is {len(str(folder))} characters long, a Unix socket's may have 107", where=str(folder),
                next_step="take a shorter --dir",
            )  # fmt: skip
        if not as_json:
            print("starting simulated devices, broker, gateway and agent ... (Ctrl-C stops)", flush=True)
        for number in _SIGNALS:
            signal.signal(number, signal.default_int_handler)
        campus = stack.enter_context(Campus(folder, port=port, speed=speed, plant_room=plant_room, morning=morning))
        stop = _on_signals()
        until = time.monotonic() + (seconds if seconds is not None else float("inf"))
        if as_json or not sys.stdout.isatty():
            if not as_json:
                print(f"page: {campus.page}   (Ctrl-C stops)", flush=True)
            while not stop and time.monotonic() < until:
                time.sleep(0.2)
                campus.check()
        else:
            _show(campus, stop, until)
        report = _report(campus)
    if as_json:
        print(json.dumps(report))
    else:
        latency = report["latency_ms"]
        timing = (
            f"from reading to row p50 {latency['p50']} ms, p99 {latency['p99']} ms"
            if report["stored"]
            else "too short a time"
        )
        print(
            f"{report['devices']} devices, {report['points']} points: {report['readings']} readings, {report['stored']} stored, "
            f"{report['lost']} lost, {report['duplicates']} duplicates; "
            f"{timing}"
        )
        if report["undelivered"]:
            where = f"they wait in {folder / 'agent'}" if directory else "they went with its folder (--dir keeps it)"
            print(f"{many(report['undelivered'], 'message')} not yet delivered when the demo ended: {where}")
    raise typer.Exit(1 if report["lost"] or report["duplicates"] or report["undelivered"] else 0)


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends the demo; SIGHUP: the terminal is gone."""


def _on_signals() -> list[int]:
    """A list that is no longer empty once one of them came."""
    came: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: came.append(number))
    return came


def _get(page: str, path: str) -> Any:
    try:
        with urllib.request.urlopen(page.rstrip("/") + path, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 503 and path == "/healthz":
            return json.load(error)
        raise PlantroomError(f"the gateway answered {error.code}: {error.read(300)!r}", where=path) from error
    except OSError as error:
        raise PlantroomError(f"the gateway does not answer ({error})", where=page + path) from error


def _show(campus: Campus, stop: Sequence[int], until: float) -> None:
    """A live table until a signal or the time is over."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    console.print(f"page: [bold link={campus.page}]{campus.page}[/]   data and logs: {campus.folder}   Ctrl-C stops")
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while not stop and time.monotonic() < until:
            campus.check()
            live.update(_shown(campus, console.width, console.height), refresh=True)
            for _ in range(10):
                if not stop and time.monotonic() < until:
                    time.sleep(0.1)


def _shown(campus: Campus, width: int, height: int) -> Any:
    """The table, or why there is none."""
    try:
        return _table(campus, width, height)
    except PlantroomError as error:
        return f"{error}"


def _table(campus: Campus, width: int, height: int) -> Any:
    """Where the terminal is too small for all devices, branches and then the last ones are left to the page."""
    from rich.table import Table
    from rich.text import Text

    health = _get(campus.page, "/healthz")
    devices = _get(campus.page, "/api/v1/devices")
    latest: dict[str, list[Mapping[str, Any]]] = {}
    for sample in _get(campus.page, "/api/v1/latest"):
        latest.setdefault(sample["device"], []).append(sample)
    table = Table(box=None, pad_edge=False, title_justify="left")
    shown = sorted(devices, key=_natural)
    if len(shown) > height - _OTHER_LINES:
        shown = [device for device in shown if device["parent"] is None][: max(1, height - _OTHER_LINES)]
    rest = f"; {len(shown)} of {len(devices)} devices, all are on the page" if len(shown) < len(devices) else ""
    table.title = f"{health['ingest'].get('stored', 0)} messages stored{rest}"
    is_wide = width >= _WIDE

    def cut(text: str) -> Text:
        """Columns that may wrap are made narrow before the others; their text is cut all the same."""
        return Text(text, no_wrap=True, overflow="ellipsis")

    for name in ("device", "class", *(("link",) if is_wide else ()), "state", "points", "value", "age s"):
        table.add_column(name, justify="right" if name in ("points", "age s") else "left", no_wrap=name in _NARROW)
    now = time.time()
    for device in shown:
        samples = latest.get(device["id"], [])
        head = _headline(samples)
        value = f"{_said(head)}  {head['point']}" if head else "-"
        age = f"{max(0.0, now - max(sample['t'] for sample in samples) / 1000):.0f}" if samples else "-"
        colour = {"ok": "green", "degraded": "yellow", "down": "red"}.get(device["state"], "dim")
        table.add_row(
            cut(device["id"]),
            cut(device["cls"]),
            *((cut(device["addr"]),) if is_wide else ()),
            f"[{colour}]{device['state']}[/]",
            str(device["points"]),
            cut(value),
            age,
        )
    return table


def _natural(device: Mapping[str, Any]) -> list[int | str]:
    """floor-2 before floor-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", device["id"])]


def _headline(samples: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    numbers = [sample for sample in samples if isinstance(sample["value"], int | float)]
    for name in _HEADLINES:
        for sample in numbers:
            if sample["point"] == name:
                return sample
    return numbers[0] if numbers else None


def _said(sample: Mapping[str, Any]) -> str:
    """Seven digits of a counter, four of what moves."""
    value = sample["value"]
    text = sample["label"] or (f"{value:.7g}" if abs(value) >= 1000 else f"{value:.4g}")
    return f"{text} {unit_text(sample['unit'])}".rstrip()


def _report(campus: Campus) -> dict[str, Any]:
    """Stops polling, waits until everything is delivered or 18 s are over, and reads back what the store has."""
    from edge_agent.cli.demo_balance import balance
    from edge_agent.local_api import ask
    from edge_agent.spool.look import looking

    campus.await_all()
    agent = ask(campus.socket, "drain")
    with looking(campus.spool) as look:  # before the ledger is asked: what ingest acknowledges leaves the spool
        waiting = list(look.entries())
    ledger = {epoch["epoch"]: epoch for epoch in _get(campus.page, f"/api/v1/ledger?agent={AGENT}")}
    found = balance(agent["epoch"], agent["last_seq"], ledger, waiting)
    devices = _get(campus.page, f"/api/v1/devices?site={SITE}")
    stored = duplicates = 0
    for samples in _all_samples(campus.page, devices):
        stored += sum(1 for _, value in samples if value is not None)
        duplicates += len(samples) - len({t for t, _ in samples})
    latency = _get(campus.page, "/healthz")["ingest"].get("latency_ms", {})
    return {
        "devices": len(devices),
        "points": sum(device["points"] for device in devices),
        # What an agent that was killed had read is known from the store alone.
        "readings": max(agent["values"], stored) if campus.restarts else agent["values"],
        "stored": stored,
        "lost": found.lost + max(0, agent["values"] - stored - found.undelivered_values),
        "undelivered": found.undelivered,
        "duplicates": duplicates,
        "latency_ms": {"p50": latency.get("p50"), "p99": latency.get("p99")},
        "page": campus.page,
    }


def _all_samples(page: str, devices: Sequence[Mapping[str, Any]]) -> Iterator[list[tuple[int, Any]]]:
    """Every raw sample of every point, as the store gives it back."""
    for device in devices:
        points = _get(page, f"/api/v1/points?site={SITE}&device={device['id']}")
        names = [point["id"] for point in points]
        for at in range(0, len(names), 50):
            asked = ",".join(names[at : at + 50])
            history = _get(page, f"/api/v1/history?site={SITE}&device={device['id']}&points={asked}&from=-7d")
            yield from (series["samples"] for series in history["points"].values())
