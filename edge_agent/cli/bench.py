"""`plantroom bench`: measures on this machine and prints ratios of things measured side by side."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer

from device_profiles.logs import configure

BENCHES: dict[str, tuple[str, str]] = {
    "agent": ("edge_agent.bench:bench_agent", "50 devices of 62 points, from the wire to the acknowledgement"),
    "ingest": ("gateway.bench:bench_ingest", "messages to rows in SQLite and in InfluxDB"),
    "line": ("drivers.modbus.bench:bench_line", "requests on a paced serial line against the theoretical rate"),
    "dlt645": ("drivers.dlt645.bench:bench_dlt645", "meters on a 2400 baud line against the theoretical rate"),
    "osdp": ("drivers.osdp.bench:bench_osdp", "32 OSDP readers on four lines at 38400 Bd while cards are presented"),
    "osdp-store": ("edge_agent.bench_osdp:bench_osdp_store", "from a card at one of 32 OSDP readers to its row"),
    "decode": ("drivers.bench_decode:bench_decode", "a megabyte of noise through each frame decoder"),
    "bacnet": ("drivers.bacnet.bench:bench_bacnet_rpm", "50 points by ReadPropertyMultiple beside bacpypes3"),
    "bacnet-fleet": (
        "drivers.bacnet.bench:bench_bacnet_fleet",
        "500 BACnet devices at 30 s, and one that is not there",
    ),
    "bacnet-cov": ("drivers.bacnet.bench_cov:bench_bacnet_cov", "changes of value beside bacpypes3's own handler"),
    "opcua": (
        "drivers.opcua.bench:bench_opcua",
        "20,000 OPC UA changes a second, and reads of 1,000 nodes, beside asyncua's own ways",
    ),
    "plan": ("drivers.modbus.bench:bench_plan", "bytes on the wire against the optimum"),
    "idle": ("edge_agent.bench:bench_idle", "memory and processor at 100 points a second"),
    "live": ("edge_agent.bench:bench_live", "from reading to row at 1,000 points a second"),
}


def command(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(BENCHES)}, or all.")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line a bench; show nothing else.")] = False,
) -> None:
    """Measure. Compare the ratios, not the rates: they belong to this machine in this minute."""
    if name != "all" and name not in BENCHES:
        raise typer.BadParameter(f"{name!r} is no bench; known are {', '.join(BENCHES)}, all")
    configure("error")
    if not as_json:
        print(f"{platform.node()}: {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for chosen in BENCHES if name == "all" else (name,):
        reference, about = BENCHES[chosen]
        if not as_json:
            print(f"{chosen}: {about} ...", file=sys.stderr, flush=True)
        module, _, function = reference.partition(":")
        measure: Callable[[], dict[str, Any]] = getattr(import_module(module), function)
        result = measure()
        print(json.dumps(result) if as_json else f"{chosen}: {json.dumps(result)}", flush=True)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
